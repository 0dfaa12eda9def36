"""What a fitted WindowedDetector says of series: scores, labels and contributions of channels."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skrdae._typing import BoolArray, FloatArray, FloatRows, IntArray, SeriesLike
from skrdae._validation import outside, snapshot
from skrdae.detectors.base import BaseTorchDetector
from skrdae.detectors.channels import ChannelDetectors
from skrdae.detectors.judgement import Judgement
from skrdae.detectors.loudest import LoudestChannel
from skrdae.detectors.own_residuals import standing_out
from skrdae.detectors.scored import ScoredDetector
from skrdae.detectors.series import (
    CheckedSeries,
    check_newest,
    check_series,
    check_window_size,
    newest_steps,
)
from skrdae.detectors.steps import flag_steps, step_contributions, step_scores
from skrdae.preprocessing import Windows, spread_places

# So many windows tell what each channel adds to the score of an ordinary one.
_EXPLAINED_WINDOWS = 100


#: Fewer windows than this tell little of what is ordinary.
FEW_WINDOWS = 50


def warn_of_windows(n_windows: int, size: int, scores: FloatArray) -> None:
    """Warn of too few windows, and of steps that no window covers.

    Parameters
    ----------
    n_windows : int
        Of the training series.
    size : int
        Steps of a window.
    scores : ndarray of shape (n_timesteps,)
        NaN for steps that no window covers.
    """
    if n_windows < FEW_WINDOWS:
        warnings.warn(
            f"X has {n_windows} windows of {size} steps, too few to tell what is ordinary: use a "
            "longer series, or a smaller window_size.",
            UserWarning,
            stacklevel=outside(),
        )
    n_uncovered = int(np.isnan(scores).sum())
    if n_uncovered:
        warnings.warn(
            f"No window covers {n_uncovered} of {len(scores)} steps; their score is NaN and their "
            "label 0. (A stride above window_size leaves steps out, and so do series, or stretches "
            "between gaps, that are shorter than a window.)",
            UserWarning,
            stacklevel=outside(),
        )


def explains(windowed: Any) -> bool:
    """Whether a detector in windows tells what each channel adds to its score."""
    held = getattr(windowed, "detector_", None)
    if isinstance(held, ChannelDetectors) and held.joint is None:
        return True
    # Others may mean something else by that name.
    return isinstance(windowed.detector, BaseTorchDetector)


class ScoredWindows(Windows):
    """Windows with their scores, by which steps are flagged."""

    scores: FloatArray

    def __init__(self, series: CheckedSeries, size: int, stride: int) -> None:
        super().__init__(series.values, series.lengths, size, stride)
        self._checked = series
        self.by_row = series.by_row

    def over(self, values: Any) -> ScoredWindows:
        """Return windows at the same places over other values, without scores."""
        return ScoredWindows(replace(self._checked, values=values), self.size, self.stride)


class SeriesScorer(ScoredDetector):
    """Scores and labels of the steps of series, from those of windows.

    The subclass, :class:`WindowedDetector`, has the parameters and fits.
    """

    detector: Any
    detector_: Any
    window_size_: int
    window_scores_: FloatArray
    window_threshold_: float | None
    n_features_in_: int

    #: It reads the index of X, and takes lists of series.
    _takes_series = True
    #: Steps that no window covers have the score NaN, and by right.
    _leaves_steps_out = True
    #: Files of earlier versions do not hold it.
    _index_kind: str | None = None

    _spacing: float | None
    _stride: int
    _aggregate: Literal["mean", "max", "median"]
    _on_gap: Literal["raise", "split"]
    _by_windows: bool
    _ordinary: float
    _ordinary_by_channel: FloatArray | None
    _end_threshold: float
    #: Above which residual a single step stands out, by its place in a window and its channel. None
    #: if that is not known.
    _own_limits: FloatArray | None = None

    def _validated(self, X: SeriesLike) -> ScoredWindows:
        check_is_fitted(self)
        return self._windows(X, self._stride)

    def _windows(self, X: SeriesLike, stride: int) -> ScoredWindows:
        check_is_fitted(self)
        series = self._series(X)
        check_window_size(self.window_size_, series.lengths, fitted=True)
        return ScoredWindows(series, self.window_size_, stride)

    def _newest(self, X: ArrayLike) -> ScoredWindows | None:
        """Return the window that ends with the newest step; None if there is a gap within it."""
        check_is_fitted(self)
        size = self.window_size_
        series = self._series(newest_steps(X, size))
        check_newest(series, size)
        if series.lengths[-1] < size:
            return None
        return ScoredWindows(series, size, 1)

    def _series(self, X: SeriesLike) -> CheckedSeries:
        return check_series(
            self,
            X,
            reset=False,
            on_gap=self._on_gap,
            spacing=self._spacing,
            index_kind=self._index_kind,
        )

    def _score(self, windows: ScoredWindows) -> FloatArray:
        return windows.by_row(self._step_scores(windows))

    def _step_scores(self, windows: ScoredWindows) -> FloatArray:
        windows.scores = self._window_scores(windows)
        return step_scores(windows, windows.scores, self._aggregate, self._ordinary)

    def _window_scores(self, windows: Windows) -> FloatArray:
        scores = np.empty(len(windows))
        for block in windows.blocks():
            scores[block] = np.ravel(self.detector_.decision_function(windows.rows(block)))
        return self._finite(scores)

    def _finite(self, scores: ArrayLike) -> FloatArray:
        scores = np.asarray(scores, np.float64).ravel()
        if not np.isfinite(scores).all():
            raise ValueError(f"{self.detector!r} gives windows scores that are not finite.")
        return scores

    def _labels_of(self, windows: ScoredWindows, scores: FloatArray) -> IntArray:
        if not self._by_windows:  # the threshold was set from outside
            return (scores > self.threshold_).astype(int)
        steps, rest = self._without_single_steps(windows)
        labels = self._flag(rest, self._flagged_windows(rest)) | steps
        return windows.by_row(labels.astype(int))

    def _flagged_windows(self, windows: ScoredWindows) -> BoolArray:
        if self.window_threshold_ is not None:
            return windows.scores > self.window_threshold_
        votes = [self.detector_.predict(windows.rows(block)) for block in windows.blocks()]
        return np.concatenate(votes) == 1

    def _flag(self, windows: ScoredWindows, flagged: BoolArray) -> BoolArray:
        return flag_steps(windows, windows.scores, flagged, self._ordinary, self._end_threshold)

    def _without_single_steps(self, windows: ScoredWindows) -> tuple[BoolArray, ScoredWindows]:
        """Return which steps stand out by themselves, and windows without the single ones."""
        if self._own_limits is None:
            return np.zeros(windows.n_steps, bool), windows
        found, series = standing_out(self.detector_, windows, self._own_limits)
        steps: BoolArray = found.any(axis=1) & (windows.covering()[1] > 0)
        if not found.any():
            return steps, windows
        rest = windows.over(series)
        rest.scores = windows.scores.copy()
        changed = windows.count((rest.series != windows.series).any(axis=1)) > 0
        for block in rest.blocks():
            places = np.arange(len(rest))[block][changed[block]]
            if len(places):
                again = self.detector_.decision_function(rest.rows(places))
                rest.scores[places] = self._finite(again)
        return steps, rest

    def _flag_above_threshold(self) -> None:
        """Let ``threshold_``, set from outside, decide from now on."""
        self._by_windows = False
        self.__dict__.pop("thresholder_", None)

    @property
    def _flagged_share(self) -> float:
        return float(self.labels_[~np.isnan(self.decision_scores_)].mean())

    def _find_ordinary(self, windows: Windows) -> FloatArray:
        """Return what each channel adds to the score of an ordinary window."""
        some = spread_places(len(windows), _EXPLAINED_WINDOWS)
        found: FloatArray = np.median(self._by_channel(windows.rows(some)), axis=0)
        if found.sum() > 0:
            return found * (self._ordinary / found.sum())
        return np.full(len(found), self._ordinary / len(found))

    def _by_channel(self, rows: FloatRows) -> FloatArray:
        """Return what each channel adds to the scores of windows, (n, n_channels)."""
        if isinstance(self.detector_, ChannelDetectors | LoudestChannel):
            return self.detector_.by_channel(rows)
        shares: FloatArray = self.detector_.explain(rows)
        return shares.reshape(len(rows), self.window_size_, -1).sum(axis=1)

    def decision_function(self, X: SeriesLike) -> FloatArray:
        """Return the anomaly score of each step; the higher, the more anomalous.

        Parameters
        ----------
        X : array-like of shape (n_timesteps, n_channels) or (n_timesteps,), or list of such
            As in `fit`, and at least as long as a window. The index has to be of the same kind as
            in training, with steps of the same size. For an array, or an index that is no time,
            equal steps are assumed.

        Returns
        -------
        ndarray of shape (n_timesteps,), float64
            In the order of the rows; those of a list of series one after another. NaN for steps
            that no window covers.
        """
        self = snapshot(self)
        return self._score(self._validated(X))

    @available_if(explains)
    def explain(self, X: SeriesLike) -> FloatArray:
        """Return the contribution of each channel to the score of each step.

        Parameters
        ----------
        X : array-like of shape (n_timesteps, n_channels) or (n_timesteps,), or list of such
            As in :meth:`decision_function`.

        Returns
        -------
        ndarray of shape (n_timesteps, n_channels), float64
            What a channel adds to the score of an ordinary window, and √k times what it adds to the
            windows of the step beyond that, k as in `aggregate`. The contributions to a step add up
            to its ``decision_function``, within the rounding of single precision; that of a channel
            which is quieter than usual may be negative. NaN for steps that no window covers. Only
            for detectors of this package, or with ``channels="separate"``.
        """
        self = snapshot(self)
        windows = self._validated(X)
        scores = self._step_scores(windows)
        by_channel = np.concatenate(
            [self._by_channel(windows.rows(block)) for block in windows.blocks()]
        )
        ordinary = self._ordinary_by_channel
        if ordinary is None:  # of a file of an earlier version
            ordinary = np.full(self.n_features_in_, self._ordinary / self.n_features_in_)
        return windows.by_row(step_contributions(windows, by_channel, scores, ordinary))

    def score_new(self, X: ArrayLike) -> float:
        """Return the score of the newest step alone.

        Use it for data that arrive step by step: it scores the last window only, which costs as
        much as scoring one row.

        Parameters
        ----------
        X : array-like of shape (n_timesteps, n_channels) or (n_timesteps,)
            The series so far, or its end: at least the last `window_size_` steps, oldest first. X
            is always one series here; the entries of a list are its steps.

        Returns
        -------
        float
            The score that ``decision_function`` gives the last step of X (bit for bit, if the
            detector's scores do not depend on the rows scored together). NaN if there is a gap
            within the last window (``on_gap="split"``). It is the score of the last window, so
            compare it with ``window_scores_`` and ``window_threshold_``. Once further steps have
            arrived, more windows contain the step, and ``decision_function`` gives it a different
            score.
        """
        self = snapshot(self)
        newest = self._newest(X)
        return np.nan if newest is None else float(self._window_scores(newest)[0])

    # ------------------------------------------------------------------------------ watching

    def _all_windows(self, X: SeriesLike) -> ScoredWindows:
        """Return the windows that end with each step, whatever the stride."""
        return self._windows(X, 1)

    def _each_as_newest(self, windows: ScoredWindows) -> Judgement:
        """Judge the last step of each window by the score of that window alone."""
        windows.scores = scores = self._window_scores(windows)
        if not self._by_windows:
            return Judgement(scores, (scores > self.threshold_).astype(int))
        flagged = self._flagged_windows(windows) & (scores > self._end_threshold)
        return Judgement(scores, flagged.astype(int))

    def _newest_in_training(self) -> Judgement:
        """Judge in this way the steps of the training series."""
        scores = self.window_scores_
        return Judgement(scores, (scores > self._newest_threshold).astype(int))

    @property
    def _newest_threshold(self) -> float:
        """The score of its last window above which the newest step is flagged, or near it."""
        if not self._by_windows:
            return self.threshold_
        of_windows = self.window_threshold_
        return max(self._end_threshold, -np.inf if of_windows is None else of_windows)
