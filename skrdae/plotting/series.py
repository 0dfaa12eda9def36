"""A series with its scores and what is flagged in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from skrdae._typing import FloatArray
from skrdae.metrics import high_is_normal, scores_or_nan
from skrdae.plotting.base import FLAGGED, LINE, ORDINARY, ManyAxes, axes, shorten_dates, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: More panels than this make a figure that nobody can read, and that matplotlib cannot draw.
MOST_CHANNELS = 100
# Heights of panels, in inches.
_ONLY_CHANNEL, _CHANNEL, _SCORES, _MARGIN = 1.8, 0.95, 1.3, 0.5


class SeriesDisplay:
    """The channels of a series, their scores below, detections in red in all panels.

    Parameters
    ----------
    series : ndarray of shape (n_timesteps, n_channels)
    scores : ndarray of shape (n_timesteps,)
        NaN where there is none.
    labels : ndarray of shape (n_timesteps,)
        1 for the steps that are flagged.
    threshold : float or None
        Drawn as a line among the scores.
    lowest : ndarray of shape (n_timesteps,) or None
        The lowest score of the windows that cover each step. It is drawn in a panel of its own.
    window_threshold : float or None
        Drawn as a line in that panel.
    names : sequence of str or None
        Names of the channels; "channel 0" and so on by default.
    time : ndarray of shape (n_timesteps,) or None
        Times of the steps; their numbers by default.

    Attributes
    ----------
    ax_ : list of matplotlib Axes
        One for each channel, then the scores, then, where there is one, the panel of the windows.
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
    >>> [ax.get_title(loc="left") for ax in SeriesDisplay.from_estimator(detector, series).ax_]
    ['channel 0', 'score', 'lowest score of the windows over a step']
    """

    ax_: list[Axes]
    figure_: Figure

    def __init__(
        self,
        series: FloatArray,
        scores: FloatArray,
        labels: NDArray[Any],
        threshold: float | None = None,
        time: NDArray[Any] | None = None,
        *,
        lowest: FloatArray | None = None,
        window_threshold: float | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        self.series, self.scores, self.labels = series, scores, labels
        self.threshold, self.time = threshold, time
        self.lowest, self.window_threshold, self.names = lowest, window_threshold, names

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: ArrayLike, *, ax: ManyAxes | None = None, **options: Any
    ) -> Self:
        """Draw a series, its scores and the threshold that decides which steps are flagged.

        A :class:`~skrdae.WindowedDetector` flags a step if all windows that cover it score above
        ``window_threshold_``, or if it stands out by itself. The last panel shows the windows' part
        of it: their lowest score and the threshold. Steps near an end or a gap, where windows are
        missing, are held to a stricter rule, so that some above the line are not flagged. After
        :func:`~skrdae.thresholds.tune_threshold`, and for all other detectors, ``threshold_``
        decides, and the line is drawn among the scores. Where members vote
        (``contamination="auto"``) there is no threshold and no line.

        Parameters
        ----------
        estimator : WindowedDetector, or any detector whose rows are steps
        X : array-like of shape (n_timesteps,) or (n_timesteps, n_channels), or DataFrame
            One series. The index of a DataFrame is the time, and its columns name the channels.
        ax : sequence of matplotlib Axes, optional
            As in :meth:`plot`.
        **options
            Of :meth:`plot`.

        Returns
        -------
        SeriesDisplay

        Raises
        ------
        ValueError
            If X holds several series, or more than 100 channels.
        """
        check_is_fitted(estimator)
        index, names = getattr(X, "index", None), getattr(X, "columns", None)
        series: Any
        time = None if index is None or callable(index) else np.asarray(index)
        if hasattr(estimator, "window_scores_"):
            checked = estimator._series(X)
            if checked.n_series > 1:
                raise ValueError(
                    f"X holds {checked.n_series} series, and SeriesDisplay draws one: pass one of "
                    "them."
                )
            windows = estimator._validated(X)
            scores = estimator._score(windows)
            labels = estimator._labels_of(windows, scores)
            threshold, lowest, window_threshold = estimator.threshold_, None, None
            if estimator._by_windows:
                threshold, window_threshold = None, estimator.window_threshold_
            if window_threshold is not None:
                lowest = windows.by_row(-windows.combine(-windows.scores, "max"))
            # As it was read, whatever kind of table it came in.
            series = np.column_stack([checked.by_row(channel) for channel in checked.values.T])
            names = getattr(estimator, "feature_names_in_", names)
        else:
            scores, series, lowest, window_threshold = scores_or_nan(estimator, X), X, None, None
            is_flagged = -1 if high_is_normal(estimator) else 1
            labels = (np.asarray(estimator.predict(X)) == is_flagged).astype(int)
            threshold = getattr(estimator, "threshold_", None)
        return cls.from_predictions(
            series,
            scores,
            labels,
            threshold,
            time=time,
            lowest=lowest,
            window_threshold=window_threshold,
            names=None if names is None else [str(name) for name in names],
            ax=ax,
            **options,
        )

    @classmethod
    def from_predictions(
        cls,
        series: ArrayLike,
        scores: ArrayLike,
        labels: ArrayLike,
        threshold: float | None = None,
        *,
        time: ArrayLike | None = None,
        lowest: ArrayLike | None = None,
        window_threshold: float | None = None,
        names: Sequence[str] | None = None,
        ax: ManyAxes | None = None,
        **options: Any,
    ) -> Self:
        """Draw a series, scores and labels; the parameters are those of the class.

        Where `names` is not given, the columns of a DataFrame name the channels.
        """
        if names is None and hasattr(series, "columns"):
            names = [str(name) for name in series.columns]
        series = np.asarray(series, float)
        series = series[:, None] if series.ndim == 1 else series
        scores, labels = np.asarray(scores, float), np.asarray(labels)
        if not len(series) == len(scores) == len(labels):
            raise ValueError(
                f"series, scores and labels must be of one length; got {len(series)}, "
                f"{len(scores)} and {len(labels)}."
            )
        of_windows = None if lowest is None else np.asarray(lowest, float)
        if of_windows is not None and len(of_windows) != len(series):
            raise ValueError(
                f"lowest must have a value for each of the {len(series)} steps; got "
                f"{len(of_windows)}."
            )
        n_channels = series.shape[1]
        if names is not None and len(names) != n_channels:
            raise ValueError(f"series has {n_channels} channels, but there are {len(names)} names.")
        if n_channels > MOST_CHANNELS:
            raise ValueError(
                f"series has {n_channels} channels, and SeriesDisplay draws at most "
                f"{MOST_CHANNELS}: pass some of them to SeriesDisplay.from_predictions."
            )
        display = cls(
            series,
            scores,
            labels,
            threshold,
            None if time is None else np.asarray(time),
            lowest=of_windows,
            window_threshold=window_threshold,
            names=names,
        )
        return display.plot(ax, **options)

    def plot(self, ax: ManyAxes | None = None, *, lw: float = 0.8) -> Self:
        """Draw.

        Parameters
        ----------
        ax : sequence of matplotlib Axes, optional
            As many as ``ax_`` has. Or two: the first shows all channels, the second the scores,
            and the panel of the windows is left out.
        lw : float, default=0.8
            Width of lines.

        Returns
        -------
        self
        """
        n_channels = self.series.shape[1]
        channels, below = [[i] for i in range(n_channels)], 1 if self.lowest is None else 2
        if ax is not None and np.size(np.asanyarray(ax)) == 2:
            channels, below = [list(range(n_channels))], 1
        heights = [_ONLY_CHANNEL if n_channels == 1 else _CHANNEL] * n_channels + [_SCORES] * below
        self.figure_, self.ax_ = axes(
            ax,
            len(channels) + below,
            stacked=True,
            **({"height_ratios": heights} if ax is None else {}),
            figsize=(9, sum(heights) + _MARGIN),
        )
        time = np.arange(len(self.series)) if self.time is None else self.time
        names = self.names or [f"channel {i}" for i in range(n_channels)]
        for axis, shown in zip(self.ax_, channels, strict=False):
            for i in shown:
                color = ORDINARY if len(shown) == 1 else None
                axis.plot(time, self.series[:, i], color=color, lw=lw, label=names[i])
            _name(axis, names[shown[0]] if len(shown) == 1 else "series")
            if len(shown) > 1 and self.names is not None:
                _legend(axis)
        panels = [("score", self.scores, self.threshold)]
        if below == 2 and self.lowest is not None:
            title = "lowest score of the windows over a step"
            panels.append((title, self.lowest, self.window_threshold))
        for axis, (title, values, limit) in zip(self.ax_[-below:], panels, strict=True):
            axis.plot(time, values, color=ORDINARY, lw=lw)
            _name(axis, title)
            if limit is not None:
                axis.axhline(limit, color=LINE, ls="--", lw=1, label="threshold")
                _legend(axis)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], self.labels == 1, [0]]).astype(int)))
        for start, stop in edges.reshape(-1, 2):
            for axis in self.ax_:
                end = min(stop, len(time) - 1)  # where the next step begins
                axis.axvspan(time[start], time[end], color=FLAGGED, alpha=0.25, lw=1)
        self.ax_[-1].set_xlabel("time" if self.time is not None else "step")
        for axis in self.ax_:
            axis.margins(x=0.01)
            tidy(axis)
            shorten_dates(axis)
        return self


def _name(axis: Axes, title: str) -> None:
    # What is in a name is no formula.
    axis.set_title(title, loc="left", fontsize="small", pad=3, parse_math=False)


def _legend(axis: Axes) -> None:
    """Put the legend above the panel, where it hides nothing."""
    place: Any = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0.1}
    _, labels = axis.get_legend_handles_labels()
    legend = axis.legend(frameon=False, fontsize="small", ncols=min(len(labels), 8), **place)
    for text in legend.get_texts():
        text.set_parse_math(False)
