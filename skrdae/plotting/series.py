"""A series with its scores and what is flagged in it."""

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from skrdae._typing import Floats, Rows
from skrdae.plotting.base import FLAGGED, LINE, ORDINARY, ManyAxes, axes, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class SeriesDisplay:
    """A series above, its scores below, detections in red in both.

    Parameters
    ----------
    series : ndarray of shape (n_timesteps, n_channels)
    scores : ndarray of shape (n_timesteps,)
        NaN where there is none.
    labels : ndarray of shape (n_timesteps,)
    threshold : float or None
    time : ndarray of shape (n_timesteps,) or None
        Of the steps; their numbers by default.

    Attributes
    ----------
    ax_ : list of two matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> import numpy as np
    >>> from skrdae import RobustDeepAutoencoder, WindowedDetector
    >>> from skrdae.plotting import SeriesDisplay
    >>> series = np.sin(np.arange(300) / 5)
    >>> series[200:205] += 3
    >>> inner = RobustDeepAutoencoder(n_estimators=1, random_state=0)
    >>> detector = WindowedDetector(inner, window_size=20).fit(series)
    >>> len(SeriesDisplay.from_estimator(detector, series).ax_)
    2
    """

    ax_: "list[Axes]"
    figure_: "Figure"

    def __init__(
        self,
        series: Floats,
        scores: Floats,
        labels: NDArray[Any],
        threshold: float | None = None,
        time: NDArray[Any] | None = None,
    ) -> None:
        self.series, self.scores, self.labels = series, scores, labels
        self.threshold, self.time = threshold, time

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Rows, *, ax: "ManyAxes | None" = None, **options: Any
    ) -> Self:
        """Draw a series as a fitted ``WindowedDetector`` sees it.

        Parameters
        ----------
        estimator : WindowedDetector, or any detector whose rows are steps
        X : array-like of shape (n_timesteps,) or (n_timesteps, n_channels), or DataFrame
            The index of a DataFrame is the time.
        ax : sequence of two matplotlib Axes, optional
        **options
            Of :meth:`plot`.

        Returns
        -------
        SeriesDisplay
        """
        check_is_fitted(estimator)
        time = np.asarray(X.index) if hasattr(X, "index") and not callable(X.index) else None
        scores, labels = estimator.decision_function(X), estimator.predict(X)
        threshold = getattr(estimator, "threshold_", None)
        return cls.from_predictions(X, scores, labels, threshold, time=time, ax=ax, **options)

    @classmethod
    def from_predictions(
        cls,
        series: Rows,
        scores: ArrayLike,
        labels: ArrayLike,
        threshold: float | None = None,
        *,
        time: ArrayLike | None = None,
        ax: "ManyAxes | None" = None,
        **options: Any,
    ) -> Self:
        """Draw a series, scores and labels."""
        series = np.asarray(series, float)
        series = series[:, None] if series.ndim == 1 else series
        scores, labels = np.asarray(scores, float), np.asarray(labels)
        if not len(series) == len(scores) == len(labels):
            raise ValueError(
                f"series, scores and labels must be of one length; got {len(series)}, "
                f"{len(scores)} and {len(labels)}."
            )
        times = None if time is None else np.asarray(time)
        return cls(series, scores, labels, threshold, times).plot(ax, **options)

    def plot(self, ax: "ManyAxes | None" = None, *, lw: float = 0.8) -> Self:
        """Draw.

        Parameters
        ----------
        ax : sequence of two matplotlib Axes, optional
        lw : float, default=0.8
            Width of lines.

        Returns
        -------
        self
        """
        self.figure_, self.ax_ = axes(ax, 2, stacked=True, figsize=(9, 4))
        time = np.arange(len(self.series)) if self.time is None else self.time
        above, below = self.ax_
        for channel in self.series.T:
            above.plot(time, channel, color=ORDINARY if self.series.shape[1] == 1 else None, lw=lw)
        below.plot(time, self.scores, color=ORDINARY, lw=lw)
        if self.threshold is not None:
            below.axhline(self.threshold, color=LINE, ls="--", lw=1)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], self.labels == 1, [0]]).astype(int)))
        for start, stop in edges.reshape(-1, 2):
            for axis in self.ax_:
                end = min(stop, len(time) - 1)  # where the next step begins
                axis.axvspan(time[start], time[end], color=FLAGGED, alpha=0.25, lw=1)
        above.set_ylabel("series")
        below.set(ylabel="score", xlabel="time")
        for axis in self.ax_:
            tidy(axis)
            if self.time is not None:
                axis.tick_params(axis="x", rotation=30)
        return self
