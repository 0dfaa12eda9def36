"""WindowedDetector: a series in, a score for each time step out."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, StrOptions

from skrdae._bases import BaseDetector, MetaEstimatorMixin
from skrdae._typing import FloatArray, IntArray, SeriesLike, Thresholder
from skrdae._validation import check_parameters, outside, refitting, warn_of_constants
from skrdae.detectors.base import BaseTorchDetector
from skrdae.detectors.calibrated import CalibratedDetector
from skrdae.detectors.channels import fitted_by_channel
from skrdae.detectors.loudest import fitted_to_loudest
from skrdae.detectors.outlier_adapter import OutlierAdapter
from skrdae.detectors.own_residuals import limits
from skrdae.detectors.series import CheckedSeries, check_series, find_window_size
from skrdae.detectors.steps import USUAL_SHARE, end_threshold, step_scores, window_threshold
from skrdae.detectors.window_fits import fitted_to_windows
from skrdae.detectors.windowed_scores import ScoredWindows, SeriesScorer, explains, warn_of_windows
from skrdae.preprocessing import Windows, spread_places
from skrdae.thresholds import labels_threshold, thresholder_threshold

# Of two, a joint detector does not lose one, and its labels are cleaner where anomalies are many.
_MANY_CHANNELS = 3


class WindowedDetector(MetaEstimatorMixin, SeriesScorer):
    """Turn any detector of rows into a detector for time series, by sliding windows.

    The detector is fitted to the windows of a series, one window a row. The score of a time step
    combines the scores of all windows that cover it. A step is flagged for one of two reasons:

    - It stands out by itself: its residual, in any channel, is far above those of other steps (only
      with detectors of this package). Up to three such steps that follow each other are replaced by
      a line between their neighbours before the windows are judged.
    - *Every* window that covers it is flagged. This keeps the steps around an anomaly from being
      flagged with it, although they share windows with it. Near ends and gaps fewer windows cover a
      step; there, flags end where the scores of the windows stop rising.

    Parameters
    ----------
    detector : object
        A detector of this package or of PyOD. It is cloned and fitted to rows of window_size ·
        n_channels values (all channels of the first step, then all of the second, and so on). Its
        `contamination` is the share of the windows to flag, apart from single steps that stand out,
        and the largest share of these. If that would flag no step because the anomalies fill too
        many windows, it is the share of the steps. An object such as
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
    channels : {"auto", "joint", "separate", "both", "loudest"}, default="auto"
        How several channels are scored; of one channel all but ``"loudest"`` do the same.
        ``"joint"`` fits one detector to windows of all channels. A sensor that fails among many
        that do not is drowned in their noise then. ``"separate"`` fits a detector to each channel.
        A channel's scores are brought to a unit: 0 is the median of its training windows, and 1
        what a tenth of them exceed (more, if a hundredth exceed five times that). The m scores a of
        a window are joined to √(∏ (1 + a² / m) − 1), where a is 0 if negative: quiet channels add
        little, however many there are, and one channel alone does not rule.
        ``"both"`` adds a joint detector, for anomalies in how channels go together: what it makes
        of each channel is brought to a unit and joined in the same way. This fits one detector more
        than there are channels. With ``contamination="auto"`` a window is flagged if any channel's
        detector flags it.
        ``"loudest"`` fits one joint detector, and looks besides at how rough each channel is: its
        mean squared step from one value to the next. A stuck sensor is calmer than usual, and a
        noisy one rougher. What the detector makes of each channel, and its roughness on either
        side, is brought to a unit: 1 is what a hundredth of the training windows exceed. The score
        of a window is the largest of these. With ``contamination="auto"`` the detector's members
        vote on the windows, and roughness counts in the scores alone.
        ``"auto"`` is ``"both"`` for three channels or more and a detector of this package, unless
        it knows of channels itself (by a parameter `n_channels` or `image_shape`). Else it is
        ``"joint"``.

    Attributes
    ----------
    detector_ : object
        The fitted clone. With several channels that are not scored jointly alone, an object with
        the list `detectors`, the clones for the channels, and `joint`, that for all of them or
        None; with ``"loudest"`` an object with `joint` alone.
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
    the ordinary windows exceed. A monitor judges each step in this way, as the newest.

    A step stands out by itself if its residual, the mean over some eight windows that cover it,
    lies above the median of the training series by ten times the distance between the median and
    the 0.8 quantile. If scores are norms and residuals Gaussian, that is 6.7 standard deviations. A
    channel of which more steps stand out than the share `contamination`, or 0.02 if that is less,
    divided by the number of channels, has such peaks by nature; it is judged by windows only. (Of a
    long event, as many steps count as a window has.) Scores do not change, and ``predict_proba``
    and confidence go by scores alone. ``predict`` takes up to half as long again for the search,
    and two or three times as long if many steps stand out.

    For alarms at a rate that holds, also on single new steps, wrap the whole in a
    :class:`CalibratedDetector`.

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
        "channels": [StrOptions({"auto", "joint", "separate", "both", "loudest"})],
    }
    _boolean_parameters = ()

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
        channels: str = "auto",
    ) -> None:
        self.detector = detector
        self.window_size = window_size
        self.stride = stride
        self.aggregate = aggregate
        self.max_windows = max_windows
        self.trim = trim
        self.on_gap = on_gap
        self.channels = channels

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
        self._learn(self._checked(X))
        self._warn_of_labels()

    def _checked(self, X: SeriesLike) -> CheckedSeries:
        """Forget an earlier fit, and check the parameters and X."""
        if isinstance(self.detector, OutlierAdapter):
            raise TypeError(
                "detector is an OutlierAdapter, whose scores and labels have scikit-learn's signs. "
                "Pass the detector within it, and adapt the whole if you need those signs: "
                "OutlierAdapter(WindowedDetector(...))."
            )
        if isinstance(self.detector, CalibratedDetector):
            raise TypeError(
                "detector is a CalibratedDetector, whose p-values do not hold for windows, because "
                "they overlap. Calibrate the whole: CalibratedDetector(WindowedDetector(...))."
            )
        check_parameters(self)
        for name in [n for n in vars(self) if n.endswith("_") and not n.startswith("_")]:
            delattr(self, name)  # what an earlier fit found
        series = check_series(self, X, reset=True, on_gap=self.on_gap)
        self._check_channels()
        names = getattr(self, "feature_names_in_", np.arange(self.n_features_in_))
        warn_of_constants(names[np.ptp(series.values, axis=0) == 0].tolist(), "Channels")
        return series

    def _learn(self, series: CheckedSeries) -> None:
        """Fit to series that have been checked."""
        self._spacing, self._index_kind = series.spacing, series.index_kind
        self.window_size_ = find_window_size(self.window_size, series.values, series.lengths)
        windows = ScoredWindows(series, self.window_size_, self.stride)
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
        self._ordinary_by_channel = self._find_ordinary(windows) if explains(self) else None
        self.decision_scores_ = step_scores(windows, scores, self.aggregate, self._ordinary)
        self._set_threshold(windows)
        self.decision_scores_ = windows.by_row(self.decision_scores_)
        self.labels_ = windows.by_row(self.labels_)

    def _check_channels(self) -> None:
        expected = getattr(self.detector, "n_channels", None)
        # One, the default, becomes what there are.
        if expected not in (None, 1, self.n_features_in_):
            raise ValueError(
                f"X has {self.n_features_in_} channels, but the detector's n_channels is "
                f"{expected!r}: set n_channels={self.n_features_in_}."
            )

    def _fit_detector(self, windows: Windows, places: NDArray[np.intp]) -> FloatArray:
        """Fit a clone to some windows; return the scores of all."""
        n_wanted = len(places) if self.max_windows is None else self.max_windows
        chosen = places[spread_places(len(places), n_wanted)]
        how = self.channels
        if how == "auto":
            how = _how_channels(self.detector, self.n_features_in_)
        if how == "loudest":
            self.detector_, scores = fitted_to_loudest(self.detector, windows, chosen)
            return self._finite(scores)
        if how != "joint" and self.n_features_in_ > 1:
            joint = how == "both"
            self.detector_, scores = fitted_by_channel(self.detector, windows, chosen, joint=joint)
            return self._finite(scores)
        self.detector_ = fitted_to_windows(self.detector, windows, chosen)
        scores = np.empty(len(windows))
        if len(chosen) < len(windows):
            scores[:] = self._window_scores(windows)
        # What a detector says of the rows it was fitted to is not always what it would say of them
        # as new ones: one that looks at neighbours leaves out the row itself.
        scores[chosen] = self._finite(self.detector_.decision_scores_)
        return scores

    def _set_threshold(self, windows: ScoredWindows) -> None:
        contamination = self.detector.contamination
        self._own_limits = self._find_own_limits(windows)
        steps, rest = self._without_single_steps(windows)
        self.window_threshold_ = None
        if isinstance(contamination, Real):
            self.window_threshold_ = window_threshold(rest, rest.scores, float(contamination))
        elif not isinstance(contamination, str):
            of_object = thresholder_threshold(contamination, self.window_scores_)
            self.thresholder_, self.window_threshold_ = of_object
        flagged = self._flagged_windows(rest)
        self._end_threshold = end_threshold(rest, rest.scores, contamination)
        if "thresholder_" in vars(self) and self.window_threshold_ is not None:
            # It may be for rarer alarms than that.
            self._end_threshold = max(self._end_threshold, self.window_threshold_)
        self.labels_ = (self._flag(rest, flagged) | steps).astype(int)
        covered = ~np.isnan(self.decision_scores_)
        found = self.decision_scores_[covered]
        self.threshold_ = labels_threshold(found, self.labels_[covered])

    def _find_own_limits(self, windows: ScoredWindows) -> FloatArray | None:
        if not isinstance(self.detector, BaseTorchDetector):
            return None
        contamination = self.detector.contamination
        share = float(contamination) if isinstance(contamination, Real) else USUAL_SHARE
        return limits(self.detector_, windows, share)

    def _warn_of_labels(self) -> None:
        """Warn where the labels say little."""
        warn_of_windows(len(self.window_scores_), self.window_size_, self.decision_scores_)
        if not self.labels_.any() and not hasattr(self, "thresholder_"):
            warnings.warn(
                "No step of X is flagged: none stands out, or has all windows above the threshold. "
                "That is as it should be if X holds no anomaly; if it does, look at the highest "
                "decision_scores_, or raise the detector's contamination.",
                UserWarning,
                stacklevel=outside(),
            )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        # PyOD's labels 0 and 1 are not the −1 and +1 of scikit-learn's outlier detectors.
        tags.estimator_type = None
        return tags


def _how_channels(detector: Any, n_channels: int) -> Literal["joint", "both"]:
    """Return what ``channels="auto"`` means."""
    knows_channels = hasattr(detector, "n_channels") or hasattr(detector, "image_shape")
    judged_alone = isinstance(detector, BaseTorchDetector) and not knows_channels
    return "both" if judged_alone and n_channels >= _MANY_CHANNELS else "joint"
