"""CalibratedDetector: p-values for any detector, and a rate of false alarms that holds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import Pipeline
from sklearn.utils import ClassifierTags, Tags, _safe_indexing
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.validation import _num_samples

from skrdae._bases import MetaEstimatorMixin
from skrdae._random import member_seeds
from skrdae._typing import FloatArray, IntArray, MatrixLike, RandomStateLike, SeriesLike
from skrdae._validation import check_parameters, refitting
from skrdae.detectors.base import BaseTorchDetector
from skrdae.detectors.calibrated_scores import CalibratedScorer, of_series
from skrdae.detectors.folds import Folds, Splitter, folds_of
from skrdae.detectors.held_out import ROUNDED, HeldOutWindows, ScoredSteps
from skrdae.detectors.outlier_adapter import OutlierAdapter
from skrdae.detectors.series import CheckedSeries, find_window_size
from skrdae.detectors.series_blocks import held_out_parts, held_out_windows, n_steps_wanted
from skrdae.detectors.windowed_scores import warn_of_windows
from skrdae.metrics import anomaly_scores, deciding_step
from skrdae.thresholds import labels_threshold


class CalibratedDetector(MetaEstimatorMixin, CalibratedScorer):
    """Give any detector p-values, and flag new normal rows at a rate that holds.

    The rows that a detector was fitted to score lower than new rows, so that a threshold from their
    scores flags too many. Here each row is scored by a detector that has not seen it: a clone of
    `detector` is fitted to the rows outside of each fold of a cross-validation and scores those
    inside. These are the calibration scores.

    A new row is scored by a detector that is fitted to all rows. Its p-value is (1 + the number of
    calibration scores that are at least as high) / (n + 1), n the number of calibration scores. Of
    new rows from the distribution of X, a share of about α has a p-value of α or less.

    With a :class:`WindowedDetector` the rows are the steps of series, see the notes.

    Parameters
    ----------
    detector : object
        A detector of rows of this package or of PyOD, an outlier detector of scikit-learn, or a
        pipeline that ends in one of these; or a :class:`WindowedDetector`. Clones of it are fitted.
    max_fpr : float, default=0.1
        The share of new normal rows that may be flagged: ``predict`` flags a row whose p-value is
        `max_fpr` or less. It takes effect in `fit`; :meth:`p_values` do not depend on it.
    cv : int, splitter, iterable or None, default=None
        The cross-validation folds. An int is the number of shuffled folds (``None`` means 5); of
        series, the number of blocks of steps that follow each other. Each row has to be in exactly
        one test part. Rows that belong together, such as measurements of one machine, belong into
        one fold: pass ``list(GroupKFold().split(X, groups=groups))``.
    random_state : int, RandomState instance or None, default=None
        Shuffles the rows for a number of folds. If not None, it also decides each `random_state` of
        the clones that is None.

    Attributes
    ----------
    detector_ : object
        The detector, fitted to all of X. It scores new rows.
    decision_scores_ : ndarray of shape (n_samples,)
        The calibration scores: each row of X by the clone that has not seen it.
    threshold_ : float
        Rows that score above it are flagged: their p-value is `max_fpr` or less. Of series the
        p-value of a step decides.
    labels_ : ndarray of shape (n_samples,)
        1 for the rows of X that score above the threshold; of series, for the steps that are
        flagged.
    window_scores_ : ndarray of shape (n_windows,)
        The score of each window by the clone that has not seen it, in time order, without the
        single steps that stand out by themselves. Only of series.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X. Only if they are all strings.

    See Also
    --------
    skrdae.thresholds.fdr_labels : Flag rows by their p-values, so that few of those flagged are
        normal.
    skrdae.thresholds.tune_threshold : A threshold by labels.
    sklearn.calibration.CalibratedClassifierCV : With ``ensemble=False`` it combines fits to folds
        and one to all rows in the same way.

    Notes
    -----
    **What it costs.** A fit for each fold, and one to all rows. New rows are scored once.

    **Exchangeable rows.** The rate holds if the order of old and new normal rows tells nothing: no
    drift, and no rows that depend on each other across folds.

    **Series.** A clone is fitted to the steps that share no window with its block. A step counts by
    the lowest score of the windows that cover it, as in :class:`WindowedDetector`, so that the
    steps around an anomaly are rarely flagged with it. If k windows cover it, it is compared with
    the lowest scores of all k windows that follow each other in a block; k is 1 for the newest
    step. High scores come in runs, because neighbouring windows overlap, and a new step comes with
    a run of its own. So the 1 in the p-value is replaced by the mean length of these runs, or by
    half a window if that is less. A rate α needs half a window over α steps: 2,400 for 1 % and
    windows of 48 steps; `fit` says how many are missing. Near ends and gaps labels end where the
    scores of the windows stop rising, as those of :class:`WindowedDetector` do; p-values do not.
    Single steps that stand out by themselves are taken out of the windows first, as in
    :class:`WindowedDetector`. Their p-value is the share of such steps in the blocks, if that is
    smaller than the one by windows. The rate holds for series that are stationary, if a block is
    much longer than a window, and than a period.

    **Anomalies in X** are among the calibration scores. They make p-values larger, so that fewer
    rows are flagged than `max_fpr` says. Single steps of series that stand out by themselves do not
    change the rate by windows.

    **By chance**, the rate of one fit differs from `max_fpr`, with a standard error of about
    √(max_fpr / n). The rate is lower than `max_fpr` where many scores are equal, and for detectors
    that explain new rows better the more rows they are fitted to; more folds bring it closer.

    ``skrdae.save`` takes it around a detector of this package; others can be pickled.

    References
    ----------
    V. Vovk, Cross-Conformal Predictors, Annals of Mathematics and Artificial Intelligence 74, 2015.
    R. F. Barber, E. Candès, A. Ramdas and R. J. Tibshirani, Predictive Inference with the
    Jackknife+, Annals of Statistics 49, 2021. O. Hennhöfer and C. Preisach, Leave-One-Out-,
    Bootstrap- and Cross-Conformal Anomaly Detectors, ICKG 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from skrdae import CalibratedDetector, RobustDeepAutoencoder
    >>> rng = np.random.default_rng(0)
    >>> plane = rng.normal(size=(2, 6))
    >>> def rows(n):
    ...     return rng.normal(size=(n, 2)) @ plane + 0.1 * rng.normal(size=(n, 6))
    >>> detector = CalibratedDetector(RobustDeepAutoencoder(), random_state=0).fit(rows(1000))
    >>> print(f"{detector.predict(rows(10_000)).mean():.2f}")  # of new rows, all normal
    0.10
    >>> anomalies = 3 * rng.normal(size=(3, 6))  # off the plane
    >>> bool((detector.p_values(anomalies) < 0.01).all())
    True

    A series, and the newest step of another:

    >>> from skrdae import WindowedDetector
    >>> def series(n):
    ...     return np.sin(np.arange(n) / 4) + 0.1 * rng.normal(size=n)
    >>> windowed = WindowedDetector(RobustDeepAutoencoder(), window_size=25)
    >>> detector = CalibratedDetector(windowed, max_fpr=0.01, random_state=0).fit(series(3000))
    >>> new = series(500)
    >>> detector.predict_new(new)
    0
    >>> new[-1] += 3
    >>> detector.predict_new(new), round(detector.p_value_new(new), 4)
    (1, 0.0018)
    """

    n_features_in_: int
    feature_names_in_: NDArray[np.object_]
    classes_: IntArray

    _parameter_constraints = {
        "detector": [HasMethods(["fit", "decision_function"])],
        "max_fpr": [Interval(Real, 0, 1, closed="neither")],
        "cv": ["cv_object"],
        "random_state": ["random_state"],
    }
    _boolean_parameters = ()

    def __init__(
        self,
        detector: Any,
        *,
        max_fpr: float = 0.1,
        cv: Splitter = None,
        random_state: RandomStateLike = None,
    ) -> None:
        self.detector = detector
        self.max_fpr = max_fpr
        self.cv = cv
        self.random_state = random_state

    @property
    def contamination(self) -> float:
        """The share of normal rows that are flagged, `max_fpr`."""
        return self.max_fpr

    # ------------------------------------------------------------------------------ fitting

    def fit(self, X: MatrixLike, y: ArrayLike | None = None) -> Self:
        """Fit the detector to all rows, and a clone for each fold to calibrate it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or series
            Training data, as free of anomalies as they can be had; whatever `detector` takes.
        y : array-like of shape (n_samples,), optional
            Only for a splitter that stratifies.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If a parameter or X is invalid, if X has too few rows for `max_fpr`, if `cv` does not
            score each row once, or as raised by the detector. The estimator is unchanged then.
        """
        with refitting(self) as draft:
            draft._fit(X, y)
        return self

    def _fit(self, X: Any, y: ArrayLike | None) -> None:
        seed = self._begin()
        if of_series(self):
            self._fit_series(X, y, seed)
        else:
            self._fit_rows(X, y, seed)

    def _begin(self) -> int:
        """Check the parameters, forget an earlier fit, and return a seed."""
        self._check_detector()
        check_parameters(self)
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)  # what an earlier fit found
        self._held_out = None
        self.classes_ = np.array([0, 1])
        self._share, self._by_p_value = float(self.max_fpr), True
        given = self.random_state
        return int(given) if isinstance(given, Integral) else int(member_seeds(given, 1)[0])

    def _clone(self, seed: int) -> Any:
        detector: Any = clone(self.detector)
        if self.random_state is not None:
            detector.set_params(**dict.fromkeys(_open_seeds(detector), seed))
        return detector

    def _fit_rows(self, X: MatrixLike, y: ArrayLike | None, seed: int) -> None:
        rows = self._checked(X, reset=True)
        n_samples = _num_samples(rows)
        self._n_flagged(n_samples)  # which raises if there are too few
        folds = self._folds(n_samples, y, seed)
        self.detector_ = self._clone(seed).fit(rows)
        if isinstance(self.detector, Pipeline):
            self._take_names(self.detector_)
        fitted = self._fitted_clones(rows, folds, seed)
        self._calibrate(rows, [test for _, test in folds], fitted)

    def _fitted_clones(self, rows: Any, folds: Folds, seed: int) -> Iterator[Any]:
        """Yield a clone for each fold, fitted to the rows outside of it."""
        for train, _ in folds:
            detector = self._clone(seed)
            last = deciding_step(detector)
            if hasattr(last, "warns_of_constants"):  # the one fitted to all rows has told of them
                last.warns_of_constants = False
            detector.fit(_safe_indexing(rows, train))
            yield detector

    def _calibrate(
        self, rows: Any, tests: Sequence[NDArray[np.intp]], detectors: Iterable[Any]
    ) -> None:
        """Score each row by a detector that has not seen it, and set the threshold.

        Parameters
        ----------
        rows : object
            Checked.
        tests : sequence of ndarray
            The places of the rows that each detector has not seen.
        detectors : iterable
            Fitted.
        """
        n_samples = _num_samples(rows)
        n_flagged = self._n_flagged(n_samples)
        self.decision_scores_ = np.empty(n_samples)
        for detector, test in zip(detectors, tests, strict=True):
            scores = anomaly_scores(detector, _safe_indexing(rows, test))
            self.decision_scores_[test] = self._finite(scores)
        self.threshold_ = float(np.sort(self.decision_scores_)[-n_flagged])
        self.labels_ = (self.decision_scores_ > self.threshold_).astype(int)

    def _fit_series(self, X: SeriesLike, y: ArrayLike | None, seed: int) -> None:
        self.detector_ = self._clone(seed)
        series = self.detector_._checked(X)
        self._take_names(self.detector_)
        n_steps = len(series.values)
        size = find_window_size(self.detector_.window_size, series.values, series.lengths)
        stride = min(self.detector_.stride, n_steps)
        folds, numbers = self._folds_of_steps(series, y)
        parts = list(held_out_parts(series, folds, size, stride))
        options = (series.lengths, numbers, size, stride)
        self._check_steps(held_out_windows(parts, *options), series.lengths, numbers, size)
        self.detector_._learn(series)
        clones, raw, n_standing_out = [], [], 0
        for part in parts:
            detector = self._clone(seed).set_params(window_size=size)
            for name in vars(self).keys() & {"n_features_in_", "feature_names_in_"}:
                setattr(detector, name, getattr(self, name))
            detector._learn(part.training)
            part.windows.scores = detector._window_scores(part.windows)
            clones.append(detector)
            raw.append(part.windows.scores)
            standing_out, rest = detector._without_single_steps(part.windows)
            part.windows.scores = rest.scores
            n_standing_out += int(standing_out[part.own].sum())
        rare = (1 + n_standing_out) / (1 + n_steps)
        self._held_out = held_out_windows(parts, *options, rare)
        scores, labels = np.full(n_steps, np.nan), np.zeros(n_steps, int)
        for part, detector, of_windows in zip(parts, clones, raw, strict=True):
            steps = ScoredSteps(detector, self._held_out, part.windows, of_windows)
            mine = part.places[part.own]
            scores[mine] = steps.scores()[part.own]
            labels[mine] = steps.labels(self.max_fpr)[part.own]
        covered = ~np.isnan(scores)
        self.threshold_ = labels_threshold(scores[covered], labels[covered])
        self.decision_scores_, self.labels_ = series.by_row(scores), series.by_row(labels)
        warn_of_windows(len(self.window_scores_), size, scores)

    def _folds_of_steps(
        self, series: CheckedSeries, y: ArrayLike | None
    ) -> tuple[Folds, NDArray[np.int64]]:
        """Return the folds as places in time order, and the number of that which holds a step."""
        n_steps = len(series.values)
        numbers = np.empty(n_steps, np.int64)
        folds = self._folds(n_steps, y, None)
        if series.order is not None and not isinstance(self.cv, Integral | None):
            place = np.argsort(series.order)  # a splitter has seen the rows
            folds = [(place[train], place[test]) for train, test in folds]
        for number, (_, test) in enumerate(folds):
            numbers[test] = number
        return folds, numbers

    def _check_detector(self) -> None:
        detector = self.detector
        if isinstance(detector, type):
            raise TypeError(
                f"detector must be an object, not the class: write {detector.__name__}()."
            )
        last = deciding_step(detector)
        if isinstance(last, OutlierAdapter) and getattr(last.detector, "_takes_series", False):
            raise TypeError(
                "detector is an OutlierAdapter around a detector of series. Adapt the whole: "
                "OutlierAdapter(CalibratedDetector(WindowedDetector(...)))."
            )
        takes_series = getattr(detector, "_takes_series", False)
        if not takes_series and getattr(last, "_takes_series", False):
            raise TypeError(
                "detector is a pipeline that ends in a detector of series. Calibrate its last "
                "step: make_pipeline(..., CalibratedDetector(WindowedDetector(...)))."
            )
        if isinstance(detector, CalibratedDetector):
            raise TypeError("detector is calibrated already: pass the detector within it.")
        if isinstance(detector, LocalOutlierFactor) and not detector.novelty:
            raise ValueError(
                "detector has to score new rows: write LocalOutlierFactor(novelty=True)."
            )

    def _n_flagged(self, n_samples: int) -> int:
        """Return the place of the threshold among the calibration scores, from the largest on."""
        place = math.floor(self.max_fpr * (n_samples + 1) * ROUNDED)
        if place < 1:
            needed = math.ceil(1 / self.max_fpr / ROUNDED) - 1
            raise ValueError(
                f"max_fpr={self.max_fpr!r} needs at least {needed} samples to calibrate with, the "
                f"smallest p-value being 1 / (n_samples + 1), but X has n_samples={n_samples}. "
                "Pass more, or raise max_fpr."
            )
        return place

    def _check_steps(
        self, held_out: HeldOutWindows, lengths: list[int], numbers: IntArray, size: int
    ) -> None:
        """Raise if there are too few steps to calibrate with."""
        needed = math.ceil(held_out.n_alike_at_most * (1 / self.max_fpr / ROUNDED - 1))
        if held_out.n_places() < needed:
            wanted = n_steps_wanted(needed, lengths, numbers, size, self.detector.stride)
            raise ValueError(
                f"max_fpr={self.max_fpr!r} needs at least {wanted} steps to calibrate with, in "
                f"windows of {size}, but X has {len(numbers)}. (Neighbouring steps share windows "
                "and score alike, so that they count for fewer.) Pass more steps, raise max_fpr, "
                "or choose a smaller window_size."
            )

    def _folds(self, n_samples: int, y: ArrayLike | None, seed: int | None) -> Folds:
        places: Any = np.arange(n_samples)[:, None]  # splitters look at how many there are
        folds = folds_of(self.cv, places, y, stratify=False, seed=seed)
        times = np.bincount(np.concatenate([test for _, test in folds]), minlength=len(places))
        if (times != 1).any():
            row = int(np.flatnonzero(times != 1)[0])
            raise ValueError(
                f"cv has to put each row into one test part; row {row} is in {times[row]} of them."
            )
        for number, (train, test) in enumerate(folds):
            if len(np.intersect1d(train, test)):
                raise ValueError(f"cv has rows in both the training and the test part {number}.")
        return folds

    def _finite(self, scores: FloatArray) -> FloatArray:
        if not np.isfinite(scores).all():
            raise ValueError(
                f"{self.detector!r} gives scores that are not finite, so that they cannot be "
                "calibrated."
            )
        return scores

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        # PyOD's labels 0 and 1 are not the −1 and +1 of scikit-learn's outlier detectors.
        tags.estimator_type = None
        detector = self.detector
        if isinstance(detector, BaseTorchDetector) and detector._fits_sparse:
            tags.input_tags.sparse = True
            # scikit-learn's check of sparse matrices asks whoever has predict_proba for these.
            tags.classifier_tags = ClassifierTags(multi_class=False)
        return tags


def _open_seeds(estimator: Any) -> list[str]:
    """Return the names of the seeds that are None, also those of nested estimators."""
    parameters = estimator.get_params().items()
    return [k for k, v in parameters if k.split("__")[-1] == "random_state" and v is None]
