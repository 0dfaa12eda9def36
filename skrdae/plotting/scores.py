"""The distribution of scores, and where the threshold lies in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from skrdae._typing import BoolArray, FloatArray, MatrixLike
from skrdae.plotting.base import FLAGGED, LINE, ORDINARY, axes, check_fitted, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class ScoreDisplay:
    """Histogram of anomaly scores with the threshold.

    Parameters
    ----------
    scores : ndarray of shape (n_samples,)
        NaN is left out.
    threshold : float or None
        Scores above it are drawn as flagged.
    y : ndarray of shape (n_samples,) or None
        0 for normal rows, 1 for anomalies; where given, the two are drawn apart.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> import numpy as np
    >>> from skrdae import RobustDeepAutoencoder
    >>> from skrdae.plotting import ScoreDisplay
    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> display = ScoreDisplay.from_estimator(RobustDeepAutoencoder(random_state=0).fit(X))
    >>> display.ax_.get_xlabel()
    'score'
    """

    ax_: Axes
    figure_: Figure

    def __init__(
        self, scores: FloatArray, threshold: float | None = None, y: NDArray[Any] | None = None
    ) -> None:
        self.scores, self.threshold, self.y = scores, threshold, y

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: MatrixLike | None = None,
        y: ArrayLike | None = None,
        *,
        ax: Axes | None = None,
        **options: Any,
    ) -> Self:
        """Draw the scores of a fitted detector.

        Parameters
        ----------
        estimator : detector
        X : array-like, optional
            Rows to score; the training rows if not given.
        y : array-like of shape (n_samples,), optional
        ax : matplotlib Axes, optional
        **options
            Of :meth:`plot`.

        Returns
        -------
        ScoreDisplay
        """
        check_is_fitted(estimator)
        if X is None:
            scores = check_fitted(estimator, "decision_scores_", "pass the rows to score as X.")
        else:
            scores = estimator.decision_function(X)
        threshold = getattr(estimator, "threshold_", None)
        return cls.from_predictions(scores, threshold, y, ax=ax, **options)

    @classmethod
    def from_predictions(
        cls,
        scores: ArrayLike,
        threshold: float | None = None,
        y: ArrayLike | None = None,
        *,
        ax: Axes | None = None,
        **options: Any,
    ) -> Self:
        """Draw scores."""
        scores, y = np.asarray(scores, float), None if y is None else np.asarray(y)
        if y is not None and y.shape != scores.shape:
            raise ValueError(f"y has shape {y.shape}, scores {scores.shape}.")
        return cls(scores, threshold, y).plot(ax, **options)

    def plot(
        self, ax: Axes | None = None, *, bins: int | str | Sequence[float] = 50, log: bool = True
    ) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, optional
        bins : int, default=50
        log : bool, default=True
            Whether counts are on a logarithmic scale, on which a few anomalies can be seen.

        Returns
        -------
        self
        """
        self.figure_, (self.ax_,) = axes(ax)
        known = np.isfinite(self.scores)
        scores = self.scores[known]
        edges: Any  # matplotlib declares lists only
        try:
            edges = np.histogram_bin_edges(scores, bins)
        except ValueError:  # they differ by their last bits, if at all
            reach = 1e-6 * np.abs(scores).max()
            edges = np.array([scores.min() - reach, scores.max() + reach])
        groups: list[tuple[str | None, BoolArray, str]]
        if self.y is not None:
            groups = [
                ("normal", self.y[known] == 0, ORDINARY),
                ("anomaly", self.y[known] != 0, FLAGGED),
            ]
        elif self.threshold is not None:
            above = scores > self.threshold
            groups = [("not flagged", ~above, ORDINARY), ("flagged", above, FLAGGED)]
        else:
            groups = [(None, np.ones(len(scores), bool), ORDINARY)]
        for label, part, color in groups:
            self.ax_.hist(scores[part], edges, color=color, alpha=0.7, label=label)
        if self.threshold is not None:
            self.ax_.axvline(self.threshold, color=LINE, ls="--", label="threshold")
        if log:
            self.ax_.set_yscale("log")
        self.ax_.set(xlabel="score", ylabel="rows")
        if len(groups) > 1 or self.threshold is not None:
            self.ax_.legend(frameon=False)
        tidy(self.ax_)
        return self
