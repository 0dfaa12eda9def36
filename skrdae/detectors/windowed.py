"""WindowedDetector: a series in, a score for each time step out."""

from __future__ import annotations

import warnings
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from skrdae._bases import BaseDetector, MetaEstimatorMixin
from skrdae._typing import BoolArray, FloatArray, FloatRows, IntArray, SeriesLike, Thresholder
from skrdae._validation import (
    check_labels,
    check_labels_given,
    check_parameters,
    outside,
    refitting,
    snapshot,
    warn_of_constants,
)
from skrdae.detectors.base import BaseTorchDetector
from skrdae.detectors.calibrated import CalibratedDetector
from skrdae.detectors.outlier_adapter import OutlierAdapter
from skrdae.detectors.scored import ScoredDetector
from skrdae.detectors.series import CheckedSeries, check_series, check_window_size
from skrdae.detectors.series_error import SeriesError
from skrdae.detectors.steps import (
    end_threshold,
    flag_steps,
    step_contributions,
    step_scores,
    window_threshold,
)
from skrdae.preprocessing import ColumnScaler, Windows, dominant_period, spread_places
from skrdae.thresholds import labels_threshold, thresholder_threshold

#: Fewer windows than this tell little of what is ordinary.
FEW_WINDOWS = 50
# So many windows tell what each channel adds to the score of an ordinary one.
_EXPLAINED_WINDOWS = 100


def _explains(windowed: Any) -> bool:
    # Others may mean something else by that name.
    return isinstance(windowed.detector, BaseTorchDetector)


class _ScoredWindows(Windows):
    """Windows with their scores, by which steps are flagged."""

    scores: FloatArray

    def __init__(self, series: CheckedSeries, size: int, stride: int) -> None:
        super().__init__(series.values, series.lengths, size, stride)
        self.by_row = series.by_row


class WindowedDetector(MetaEstimatorMixin, ScoredDetector):
    """Turn any detector of rows into a detector for time series, by sliding windows.

    The detector is fitted to the windows of a series, one window a row. The score of a time step
    combines the scores of all windows that cover it. A step is flagged if *every* window that
    covers it is flagged. This keeps the steps around a single anomaly from being flagged with it,
    although they share windows with it. Near ends and gaps fewer windows cover a step; there, flags
    end where the scores of the windows stop rising.

    Parameters
    ----------
    detector : object
        A detector of this package or of PyOD. It is cloned and fitted to rows of window_size ·
        n_channels values (all channels of the first step, then all of the second, and so on). Its
        `contamination` is the share of the windows to flag. If that would flag no step because the
        anomalies fill too many windows, it is the share of the steps. An object such as
        :class:`~skrdae.thresholds.PeaksOverThreshold` is given the scores of the windows. In the
        clone, ``score_function="auto"`` becomes ``"norm"``, because all steps of a window have the
        same unit; an `n_channels` of 1 becomes the number of channels; and ``image_shape=None``
        becomes ``(1, window_size, n_channels)``: a line of steps, which
        :class:`ConvRobustAutoencoder` would otherwise take for a square if their number is a square
        number.
    window_size : int or "auto", default=144
        Number of steps in a window. ``"auto"`` is the dominant period of the series; if it has
        none, `fit` raises an error.
    stride : int, default=1
        Number of steps from one window to the next. The last window always ends with the series.
    aggregate : {"mean", "max", "median"}, default="mean"
        How the scores of the windows that cover a step are combined. The distance of the result
        from the median of `window_scores_` is then multiplied by √k, because the agreement of many
        windows is stronger evidence than one window alone. k is the number of windows that can
        cover the step: `window_size_`, fewer near ends and gaps, and 1 for the first and the last
        step.
    max_windows : int or None, default=400
        Largest number of windows that the detector is fitted to, spread evenly over the series.
        Windows that overlap add little information, and a detector that sees the same anomaly in a
        hundred windows learns it. ``None`` takes all windows. All windows are scored in any case.
    trim : float, default=0.05
        The detector is fitted twice, so that the anomalies influence the second fit less. The share
        `trim` of the steps that score highest in the first fit is marked, and the second fit leaves
        out the windows that hold more marked steps than the median window. 0 fits once.
    on_gap : {"raise", "split"}, default="raise"
        What to do if the index of X skips steps. ``"raise"`` raises an error. ``"split"`` cuts the
        series there, and where the index goes back (when a clock is put back, for example), so that
        no window contains a gap. Steps between two gaps that are closer than a window have no score
        then. Steps of another size than in training are an error in both cases.

    Attributes
    ----------
    detector_ : object
        The fitted clone.
    window_size_ : int
    decision_scores_ : ndarray of shape (n_timesteps,)
        Scores of the training series, in the order of the rows (those of a list of series one after
        another). The higher, the more anomalous; NaN for steps that no window covers.
    labels_ : ndarray of shape (n_timesteps,)
        1 for the steps that are flagged, 0 for the others.
    window_scores_ : ndarray of shape (n_windows,)
        The detector's scores of the windows.
    window_threshold_ : float or None
        Windows with a higher score are flagged. None if the members of the detector vote
        (``contamination="auto"``).
    threshold_ : float
        The threshold on ``decision_scores_`` that comes closest to the labels.
    thresholder_ : object
        The detector's `contamination`, a copy fitted to ``window_scores_``. Only if that is an
        object.
    classes_ : ndarray of shape (2,)
        The classes of the columns of ``predict_proba``: 0 (normal) and 1 (anomalous).
    n_features_in_ : int
        Channels.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X. Only if they are all strings.

    Notes
    -----
    Windows are views of the series. For the fit, at most `max_windows` of them are copied; for
    scoring, a few megabytes (but at least 64 windows) at a time. With ``max_windows=None`` the
    detector gets all windows as one read-only view.

    Only one window contains the newest step of a series. For such a window alone to flag a step,
    its score has to exceed a higher threshold, which a share `contamination` / ``window_size_`` of
    the ordinary windows exceed. For alarms on single new steps, compare :meth:`score_new` with a
    high quantile of ``window_scores_``.

    Examples
    --------
    >>> import numpy as np
    >>> from skrdae import RobustDeepAutoencoder, WindowedDetector
    >>> rng = np.random.default_rng(0)
    >>> series = np.sin(np.arange(1000) / 4) + 0.1 * rng.normal(size=1000)
    >>> series[600] += 4  # a spike
    >>> detector = WindowedDetector(RobustDeepAutoencoder(random_state=0), window_size="auto")
    >>> detector.fit(series).window_size_
    25
    >>> int(detector.decision_scores_.argmax())
    600
    """

    detector: Any
    detector_: Any
    window_size_: int
    decision_scores_: FloatArray
    labels_: IntArray
    window_scores_: FloatArray
    window_threshold_: float | None
    threshold_: float
    thresholder_: Thresholder
    classes_: IntArray
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]

    _parameter_constraints = {
        "detector": [BaseDetector],
        "window_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "stride": [Interval(Integral, 1, None, closed="left")],
        "aggregate": [StrOptions({"mean", "max", "median"})],
        "max_windows": [Interval(Integral, 1, None, closed="left"), None],
        "trim": [Interval(Real, 0, 0.5, closed="both")],
        "on_gap": [StrOptions({"raise", "split"})],
    }
    _boolean_parameters = ()
    #: It reads the index of X, and takes lists of series.
    _takes_series = True
    #: Steps that no window covers have the score NaN, and by right.
    _leaves_steps_out = True
    #: Files of earlier versions do not hold it.
    _index_kind: str | None = None

    def __init__(
        self,
        detector: BaseDetector,
        *,
        window_size: int | Literal["auto"] = 144,
        stride: int = 1,
        aggregate: Literal["mean", "max", "median"] = "mean",
        max_windows: int | None = 400,
        trim: float = 0.05,
        on_gap: Literal["raise", "split"] = "raise",
    ) -> None:
        self.detector = detector
        self.window_size = window_size
        self.stride = stride
        self.aggregate = aggregate
        self.max_windows = max_windows
        self.trim = trim
        self.on_gap = on_gap

    @property
    def contamination(self) -> Any:
        """The detector's: the share of the windows that are flagged."""
        return self.detector.contamination

    # ------------------------------------------------------------------------------ fitting

    def fit(self, X: SeriesLike, y: ArrayLike | None = None) -> Self:
        """Fit a clone of the detector to the windows of a series.

        Parameters
        ----------
        X : array-like of shape (n_timesteps, n_channels) or (n_timesteps,), or list of such
            A list of arrays or DataFrames holds several series; no window contains steps of two of
            them. The index of a DataFrame is the time if it holds dates, text that can be parsed as
            dates, periods, timedeltas or numbers; its steps have to be of equal size, see `on_gap`.
            A DataFrame with a MultiIndex holds several series: one level is the time, the others
            name the series, whose rows may be interleaved. The first column of a polars or Arrow
            table is its index if it holds dates.
        y : Ignored
            Not used; present by scikit-learn's convention.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If a parameter or X is invalid. The estimator is unchanged then. Problems of a series
            are reported as :class:`~skrdae.detectors.series_error.SeriesError`, a ValueError.
        """
        with refitting(self) as draft:
            draft._fit(X)
        return self

    def _fit(self, X: SeriesLike) -> None:
        if isinstance(self.detector, OutlierAdapter):
            raise TypeError(
                "detector is an OutlierAdapter, whose scores and labels have scikit-learn's signs. "
                "Pass the detector within it, and adapt the whole if you need those signs: "
                "OutlierAdapter(WindowedDetector(...))."
            )
        if isinstance(self.detector, CalibratedDetector):
            raise TypeError(
                "detector is a CalibratedDetector, whose p-values do not hold for windows, because "
                "they overlap. Pass the detector within it."
            )
        check_parameters(self)
        for name in [n for n in vars(self) if n.endswith("_") and not n.startswith("_")]:
            delattr(self, name)  # what an earlier fit found
        series = check_series(self, X, reset=True, on_gap=self.on_gap)
        self._spacing, self._index_kind = series.spacing, series.index_kind
        self._check_channels()
        names = getattr(self, "feature_names_in_", np.arange(self.n_features_in_))
        warn_of_constants(names[np.ptp(series.values, axis=0) == 0].tolist(), "Channels")
        self.window_size_ = self._find_window_size(series.values, series.lengths)
        windows = _ScoredWindows(series, self.window_size_, self.stride)
        self.classes_ = np.array([0, 1])
        # What scoring needs, as it was in this fit.
        self._stride = min(self.stride, len(series.values))
        self._aggregate, self._on_gap = self.aggregate, self.on_gap
        self._by_windows = True

        everything = np.arange(len(windows))
        scores = self._fit_detector(windows, everything)
        if self.trim > 0:
            steps = windows.combine(scores, self.aggregate)
            high = steps > np.nanquantile(steps, 1 - self.trim)
            held = windows.count(high)
            kept = np.flatnonzero(held <= np.median(held))
            if len(kept) < len(windows):
                scores = self._fit_detector(windows, kept)
        self.window_scores_ = windows.scores = scores
        self._ordinary = float(np.median(scores))
        self._ordinary_by_channel = self._find_ordinary(windows) if _explains(self) else None
        self.decision_scores_ = step_scores(windows, scores, self.aggregate, self._ordinary)
        self._set_threshold(windows)
        self._warn_of_labels(windows)
        n_uncovered = int(np.isnan(self.decision_scores_).sum())
        if n_uncovered:
            warnings.warn(
                f"No window covers {n_uncovered} of {len(self.decision_scores_)} steps; their "
                "score is NaN and their label 0. (A stride above window_size leaves steps out, and "
                "so do series, or stretches between gaps, that are shorter than a window.)",
                UserWarning,
                stacklevel=outside(),
            )
        self.decision_scores_ = windows.by_row(self.decision_scores_)
        self.labels_ = windows.by_row(self.labels_)

    def _warn_of_labels(self, windows: Windows) -> None:
        """Warn where the labels say little."""
        if len(windows) < FEW_WINDOWS:
            warnings.warn(
                f"X has {len(windows)} windows of {self.window_size_} steps, too few to tell what "
                "is ordinary: use a longer series, or a smaller window_size.",
                UserWarning,
                stacklevel=outside(),
            )
        if not self.labels_.any() and not hasattr(self, "thresholder_"):
            warnings.warn(
                "No step of X is flagged: none has all of its windows above the threshold. If "
                "there are anomalies in X, look at the highest decision_scores_, or raise the "
                "detector's contamination.",
                UserWarning,
                stacklevel=outside(),
            )

    def _check_channels(self) -> None:
        expected = getattr(self.detector, "n_channels", None)
        # One, the default, becomes what there are.
        if expected not in (None, 1, self.n_features_in_):
            raise ValueError(
                f"X has {self.n_features_in_} channels, but the detector's n_channels is "
                f"{expected!r}: set n_channels={self.n_features_in_}."
            )

    def _find_window_size(self, series: FloatArray, lengths: list[int]) -> int:
        size = self.window_size
        if isinstance(size, str):
            longest = int(np.argmax(lengths))
            first = sum(lengths[:longest])
            period = dominant_period(series[first : first + lengths[longest]])
            if period is None:
                raise ValueError(
                    "window_size='auto' found no period in X, up to a third of its length: pass a "
                    "number of steps, as many as an anomaly needs to show."
                )
            size = period
        check_window_size(size, lengths, fitted=False)
        return int(size)

    def _fit_detector(self, windows: Windows, places: NDArray[np.intp]) -> FloatArray:
        """Fit a clone to some windows; return the scores of all."""
        n_wanted = len(places) if self.max_windows is None else self.max_windows
        chosen = places[spread_places(len(places), n_wanted)]
        self.detector_ = clone(self.detector)
        automatic = [k for k, v in self.detector_.get_params().items() if _is_auto_score(k, v)]
        self.detector_.set_params(**dict.fromkeys(automatic, "norm"))
        if hasattr(self.detector_, "n_channels"):
            self.detector_.set_params(n_channels=self.n_features_in_)
        if getattr(self.detector_, "image_shape", ()) is None:
            line = (1, self.window_size_, self.n_features_in_)
            self.detector_.set_params(image_shape=line)
        # What fit returns is not used: with some of PyOD's it is None.
        if isinstance(self.detector_, BaseTorchDetector):
            self.detector_.warns_of_constants = False  # of steps of windows; see _fit
            self.detector_.fit(windows.rows(chosen))
            del self.detector_.warns_of_constants
            self._scale_constants(self.detector_, windows.series)
        else:
            self.detector_.fit(windows.rows(chosen))
        scores = np.empty(len(windows))
        if len(chosen) < len(windows):
            scores[:] = self._window_scores(windows)
        # What a detector says of the rows it was fitted to is not always what it would say of them
        # as new ones: one that looks at neighbours leaves out the row itself.
        scores[chosen] = self._finite(self.detector_.decision_scores_)
        return scores

    def _find_ordinary(self, windows: Windows) -> FloatArray:
        """Return what each channel adds to the score of an ordinary window."""
        some = spread_places(len(windows), _EXPLAINED_WINDOWS)
        found: FloatArray = np.median(self._by_channel(windows.rows(some)), axis=0)
        if found.sum() > 0:
            return found * (self._ordinary / found.sum())
        return np.full(len(found), self._ordinary / len(found))

    def _by_channel(self, rows: FloatRows) -> FloatArray:
        """Return what each channel adds to the scores of windows, (n, n_channels)."""
        shares: FloatArray = self.detector_.explain(rows)
        return shares.reshape(len(rows), self.window_size_, -1).sum(axis=1)

    @staticmethod
    def _scale_constants(detector: BaseTorchDetector, series: FloatRows) -> None:
        """Give steps that did not change in the windows fitted to the scale of their channel.

        What changes in the series now and then is not as strange as what never does.
        """
        scaler = detector.scaler_
        steps = np.flatnonzero(scaler.constant_)
        if not len(steps):
            return
        by_channel = ColumnScaler(scaler.method, scaler.bound).fit(series)
        channels = steps % series.shape[1]
        changing = ~by_channel.constant_[channels]
        scaler = scaler.with_columns(
            steps[changing], scale_=by_channel.scale_[channels[changing]], constant_=False
        )
        detector.model_ = replace(detector.model_, scaler=scaler)

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

    def _set_threshold(self, windows: _ScoredWindows) -> None:
        scores, contamination = self.window_scores_, self.detector.contamination
        self.window_threshold_ = None
        if isinstance(contamination, Real):
            self.window_threshold_ = window_threshold(windows, scores, float(contamination))
        elif not isinstance(contamination, str):
            self.thresholder_, self.window_threshold_ = thresholder_threshold(contamination, scores)
        flagged = self._flagged_windows(windows)
        self._end_threshold = end_threshold(windows, scores, contamination)
        if "thresholder_" in vars(self) and self.window_threshold_ is not None:
            # It may be for rarer alarms than that.
            self._end_threshold = max(self._end_threshold, self.window_threshold_)
        self.labels_ = self._flag(windows, flagged)
        covered = ~np.isnan(self.decision_scores_)
        found = self.decision_scores_[covered]
        self.threshold_ = labels_threshold(found, self.labels_[covered])

    # ------------------------------------------------------------------------------ scoring

    def _validated(self, X: SeriesLike) -> _ScoredWindows:
        check_is_fitted(self)
        series = self._series(X)
        check_window_size(self.window_size_, series.lengths, fitted=True)
        return _ScoredWindows(series, self.window_size_, self._stride)

    def _series(self, X: SeriesLike) -> CheckedSeries:
        return check_series(
            self,
            X,
            reset=False,
            on_gap=self._on_gap,
            spacing=self._spacing,
            index_kind=self._index_kind,
        )

    def _score(self, windows: _ScoredWindows) -> FloatArray:
        return windows.by_row(self._step_scores(windows))

    def _step_scores(self, windows: _ScoredWindows) -> FloatArray:
        windows.scores = self._window_scores(windows)
        return step_scores(windows, windows.scores, self._aggregate, self._ordinary)

    def _labels_of(self, windows: _ScoredWindows, scores: FloatArray) -> IntArray:
        if not self._by_windows:  # the threshold was set from outside
            return (scores > self.threshold_).astype(int)
        return windows.by_row(self._flag(windows, self._flagged_windows(windows)))

    def _flagged_windows(self, windows: _ScoredWindows) -> BoolArray:
        if self.window_threshold_ is not None:
            return windows.scores > self.window_threshold_
        votes = [self.detector_.predict(windows.rows(block)) for block in windows.blocks()]
        return np.concatenate(votes) == 1

    def _flag(self, windows: _ScoredWindows, flagged: BoolArray) -> IntArray:
        labels = flag_steps(windows, windows.scores, flagged, self._ordinary, self._end_threshold)
        return labels.astype(int)

    def _flag_above_threshold(self) -> None:
        """Let ``threshold_``, set from outside, decide from now on."""
        self._by_windows = False
        self.__dict__.pop("thresholder_", None)

    @property
    def _flagged_share(self) -> float:
        return float(self.labels_[~np.isnan(self.decision_scores_)].mean())

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

    @available_if(_explains)
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
            for detectors of this package.
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
        check_is_fitted(self)
        size = self.window_size_
        steps: Any = X
        # What Arrow has need not have a shape.
        sliced = hasattr(X, "shape") or hasattr(X, "to_pylist")
        if hasattr(X, "iloc"):  # whose index may hold numbers, too
            newest = steps.iloc[-size:]
        else:
            newest = steps[-size:] if sliced else np.asarray(list(steps)[-size:])
        series = self._series(newest)
        if series.n_series > 1:
            raise SeriesError(
                f"The newest {size} rows of X are of {series.n_series} series: pass one series.",
                "several",
                count=series.n_series,
            )
        check_window_size(size, [len(series.values)], fitted=True)
        if series.lengths[-1] < size:
            return np.nan
        return float(self._window_scores(Windows(series.values, series.lengths, size))[0])

    def score(self, X: SeriesLike, y: ArrayLike | None = None) -> float:
        """Return the area under the ROC curve of the scores.

        A step without a score counts as the least anomalous.

        Parameters
        ----------
        X : array-like of shape (n_timesteps, n_channels) or (n_timesteps,), or list of such
        y : array-like of shape (n_timesteps,)
            1 for anomalous steps, 0 for the others.

        Returns
        -------
        float

        Raises
        ------
        ValueError
            If there is no y, or it holds anything but 0 and 1.
        """
        y = check_labels_given(y, "WindowedDetector.score")
        scores, y = self.decision_function(X), check_labels(y)
        check_consistent_length(scores, y)
        return float(roc_auc_score(y, np.nan_to_num(scores, nan=np.nanmin(scores))))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        # PyOD's labels 0 and 1 are not the −1 and +1 of scikit-learn's outlier detectors.
        tags.estimator_type = None
        return tags


def _is_auto_score(name: str, value: object) -> bool:
    """Whether a parameter, maybe of a nested estimator, is a score_function left open."""
    return name.split("__")[-1] == "score_function" and isinstance(value, str) and value == "auto"
