"""The λ path: how each λ is rated, and which is taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike

from skrdae._typing import FloatArray
from skrdae.detectors.lam import multiple_of_median
from skrdae.plotting.base import LINE, ORDINARY, axes, check_fitted, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class LamPathDisplay:
    """Cross-validated scores along λ, their mean and spread over the folds.

    Parameters
    ----------
    lams : ndarray of shape (n_lams,)
    scores : ndarray of shape (n_lams, n_folds)
    lam : float or None
        The λ chosen.
    relative : bool, default=False
        Whether they are multiples of the median norm.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> import numpy as np
    >>> from skrdae import RobustDeepAutoencoderCV
    >>> from skrdae.plotting import LamPathDisplay
    >>> X = np.random.default_rng(0).normal(size=(60, 3))
    >>> search = RobustDeepAutoencoderCV(4, cv=2, n_estimators=1, random_state=0).fit(X)
    >>> LamPathDisplay.from_estimator(search).ax_.get_xlabel()
    'λ / median norm'
    """

    ax_: Axes
    figure_: Figure

    def __init__(
        self,
        lams: FloatArray,
        scores: FloatArray,
        lam: float | None = None,
        relative: bool = False,
    ) -> None:
        self.lams, self.scores, self.lam, self.relative = lams, scores, lam, relative

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Axes | None = None, **options: Any) -> Self:
        """Draw the path of a fitted ``RobustDeepAutoencoderCV``.

        Parameters
        ----------
        estimator : RobustDeepAutoencoderCV
        ax : matplotlib Axes, optional
        **options
            Of :meth:`plot`.

        Returns
        -------
        LamPathDisplay
        """
        scores = check_fitted(estimator, "scores_path_", "it is no fitted RobustDeepAutoencoderCV.")
        multiple = multiple_of_median(estimator.best_lam_)
        lam = estimator.lam_ if multiple is None else multiple
        relative = multiple is not None
        return cls.from_predictions(
            estimator.lams_, scores, lam, relative=relative, ax=ax, **options
        )

    @classmethod
    def from_predictions(
        cls,
        lams: ArrayLike,
        scores: ArrayLike,
        lam: float | None = None,
        *,
        relative: bool = False,
        ax: Axes | None = None,
        **options: Any,
    ) -> Self:
        """Draw a path."""
        path = cls(np.asarray(lams, float), np.asarray(scores, float), lam, relative)
        return path.plot(ax, **options)

    def plot(self, ax: Axes | None = None, *, score_name: str = "score") -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, optional
        score_name : str, default="score"
            What the scores are.

        Returns
        -------
        self
        """
        self.figure_, (self.ax_,) = axes(ax)
        order = np.argsort(self.lams)
        lams, scores = self.lams[order], self.scores[order]
        mean, spread = scores.mean(axis=1), scores.std(axis=1)
        self.ax_.fill_between(lams, mean - spread, mean + spread, alpha=0.2, color=ORDINARY)
        self.ax_.plot(lams, mean, "o-", ms=3, color=ORDINARY, label="mean ± standard deviation")
        name = "λ / median norm" if self.relative else "λ"
        if self.lam is not None:
            self.ax_.axvline(self.lam, color=LINE, ls="--", label=f"{name} = {self.lam:.3g}")
        if np.isfinite(lams).all() and (lams > 0).all():
            self.ax_.set_xscale("log")
            _write_numbers(self.ax_)
        self.ax_.set_xlabel(name)
        self.ax_.set_ylabel(score_name, parse_math=False)
        self.ax_.legend(frameon=False)
        tidy(self.ax_)
        return self


def _write_numbers(ax: Axes) -> None:
    """Write 0.5, 1 and 2 below a logarithmic axis, and no powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = ax.get_xlim()
    for numbers, fewest in (((1,), 4), ((1, 2, 5), 3), (range(1, 10), 3)):
        locator = LogLocator(subs=numbers)
        ticks = np.asarray(locator.tick_values(low, high))
        if np.count_nonzero((ticks >= low) & (ticks <= high)) >= fewest:
            break
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
