"""What each feature adds to a score: bars for a row, a strip for a series."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_is_fitted

from skrdae._typing import FloatArray
from skrdae.plotting.base import FLAGGED, ORDINARY, ManyAxes, axes, shorten_dates, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class ExplanationDisplay:
    """The features that count most in the scores of rows, or the channels in those of a series.

    One row is drawn as bars, the longest on top; several as a strip for each feature, whose colour
    is its contribution. Features are in the order of their largest contribution. What those left
    out add to a single row is the last bar.

    Parameters
    ----------
    contributions : ndarray of shape (n_samples, n_features)
        As ``explain`` returns them; NaN for steps that have no score. The pixels of images, and the
        values of windows, are taken one after another.
    names : sequence of str or None
        Names of the features; "feature 0" and so on by default.
    time : ndarray of shape (n_samples,) or None
        Times of steps; by default their numbers.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> import numpy as np
    >>> from skrdae import RobustDeepAutoencoder
    >>> from skrdae.plotting import ExplanationDisplay
    >>> X = np.random.default_rng(0).normal(size=(200, 4))
    >>> X[7, 2] = 12
    >>> detector = RobustDeepAutoencoder(random_state=0).fit(X)
    >>> display = ExplanationDisplay.from_estimator(detector, X[[7]])
    >>> display.ax_.get_yticklabels()[-1].get_text()  # on top
    'feature 2'
    """

    ax_: Axes
    figure_: Figure

    def __init__(
        self,
        contributions: FloatArray,
        names: Sequence[str] | None = None,
        time: NDArray[Any] | None = None,
    ) -> None:
        self.contributions, self.names, self.time = contributions, names, time

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: ArrayLike, *, ax: ManyAxes | None = None, **options: Any
    ) -> Self:
        """Draw what a fitted detector explains of rows or of a series.

        Parameters
        ----------
        estimator : detector with ``explain``
        X : array-like of shape (n_samples, n_features), or a series
            The columns of a DataFrame name the features, and its index is the time of a series.
        ax : matplotlib Axes, optional
        **options
            Of :meth:`plot`.

        Returns
        -------
        ExplanationDisplay

        Raises
        ------
        TypeError
            If the estimator has no ``explain``.
        ValueError
            If X holds several series.
        """
        if not hasattr(estimator, "explain"):
            held = getattr(estimator, "detector", estimator)
            raise TypeError(f"{type(held).__name__} has no explain: there is nothing to draw.")
        check_is_fitted(estimator)
        of_series = hasattr(estimator, "window_scores_")
        if of_series and estimator._series(X).n_series > 1:
            raise ValueError("X holds several series: pass one of them.")
        contributions = estimator.explain(X)
        names = getattr(estimator, "feature_names_in_", None)
        time = _time_of(X) if of_series else None
        return cls.from_predictions(contributions, names=names, time=time, ax=ax, **options)

    @classmethod
    def from_predictions(
        cls,
        contributions: ArrayLike,
        *,
        names: Sequence[str] | None = None,
        time: ArrayLike | None = None,
        ax: ManyAxes | None = None,
        **options: Any,
    ) -> Self:
        """Draw contributions; the parameters are those of the class.

        Where `names` is not given, the columns of a DataFrame name the features.
        """
        if names is None and hasattr(contributions, "columns"):
            names = list(contributions.columns)
        found = np.asarray(contributions, float)
        if found.ndim > 2 and found.size:  # images, and windows with their channels
            found = found.reshape(len(found), -1)
        if found.ndim != 2 or not found.size:
            raise ValueError(
                "contributions must have the shape (n_samples, n_features), as explain returns "
                f"them, and hold some; got {found.shape}."
            )
        if names is not None and len(names) != found.shape[1]:
            raise ValueError(
                f"contributions are of {found.shape[1]} features, but there are {len(names)} names."
            )
        times = None if time is None else np.asarray(time)
        if times is not None and len(times) != len(found):
            raise ValueError(f"time must have {len(found)} entries; got {len(times)}.")
        told = None if names is None else [str(name) for name in names]
        return cls(found, told, times).plot(ax, **options)

    def plot(self, ax: ManyAxes | None = None, *, n_features: int = 10) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, optional
        n_features : int, default=10
            How many features are drawn at most.

        Returns
        -------
        self
        """
        check_scalar(n_features, "n_features", Integral, min_val=1)
        found = self.contributions
        names = self.names or [f"feature {place}" for place in range(found.shape[1])]
        largest = np.where(np.isnan(found), -np.inf, found).max(axis=0)
        order = np.argsort(-largest, kind="stable")[:n_features]
        height = 0.8 + 0.3 * (len(order) + 1)
        self.figure_, (self.ax_,) = axes(ax, figsize=(8 if len(found) > 1 else 6, height))
        shown = [names[place] for place in order]
        if len(found) == 1:
            self._bars(found[0], order, shown)
        else:
            self._strips(found[:, order].T, shown)
        for label in self.ax_.get_yticklabels():
            label.set_parse_math(False)  # what is in a name is no formula
        return self

    def _bars(self, found: FloatArray, order: NDArray[np.intp], names: list[str]) -> None:
        values = found[order].tolist()
        n_left = len(found) - len(order)
        if n_left:
            names = [*names, f"{n_left} others"]
            values.append(found.sum() - sum(values))
        colors = [FLAGGED] + [ORDINARY] * (len(values) - 1)
        self.ax_.barh(range(len(values))[::-1], values, color=colors)
        self.ax_.set_yticks(range(len(values)), names[::-1])
        self.ax_.set_xlabel("contribution to the score")
        tidy(self.ax_)

    def _strips(self, found: FloatArray, names: list[str]) -> None:
        n_samples = found.shape[1]
        time: Any = np.arange(n_samples) if self.time is None else self.time
        values = np.ma.masked_invalid(found)
        largest = float(np.abs(values).max()) or 1.0
        # White is nothing; what lowers a score, as a quiet channel does, is blue.
        ends = (-largest, "RdBu_r") if values.min() < 0 else (0.0, "Reds")
        options: Any = {"vmin": ends[0], "vmax": largest, "cmap": ends[1], "shading": "nearest"}
        mesh = self.ax_.pcolormesh(time, np.arange(len(names)), values, **options)
        self.ax_.set_yticks(range(len(names)), names)
        self.ax_.invert_yaxis()
        self.ax_.set_xlabel("row" if self.time is None else "time")
        shorten_dates(self.ax_)
        self.figure_.colorbar(mesh, ax=self.ax_, label="contribution")


def _time_of(series: Any) -> NDArray[Any] | None:
    """Return the times of a series that matplotlib can draw, if it has any."""
    index = getattr(series, "index", None)
    if index is None or callable(index):
        return None
    time = np.asarray(index.to_timestamp() if hasattr(index, "to_timestamp") else index)
    return time if time.dtype.kind in "Miuf" else None
