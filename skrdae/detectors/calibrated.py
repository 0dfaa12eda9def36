"""CalibratedDetector: p-values for any detector, and a rate of false alarms that holds."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.utils import Tags
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skrdae._bases import MetaEstimatorMixin
from skrdae._random import member_seeds
from skrdae._typing import FloatArray, FloatRows, IntArray, MatrixLike, RandomStateLike
from skrdae._validation import check_data, check_parameters, refitting, snapshot, warn_of_constants
from skrdae.detectors.folds import Folds, Splitter, folds_of
from skrdae.detectors.scored import ScoredDetector
from skrdae.metrics import anomaly_scores, deciding_step


def _explains(calibrated: Any) -> bool:
    fitted = getattr(calibrated, "detectors_", [calibrated.detector])
    return all(hasattr(detector, "explain") for detector in fitted)


class CalibratedDetector(MetaEstimatorMixin, ScoredDetector):
    """Give any detector p-values, and a threshold with a false-positive rate that holds.

    The scores of the rows that a detector was fitted to are lower than those of new rows, so that a
    threshold from them flags too many. Here each row is scored by a detector that has not seen it:
    a clone of `detector` is fitted to the rows outside of each fold of a cross-validation and
    scores those inside. These scores are the calibration set. A new row is scored by all clones,
    and its score is their mean.

    The p-value of a row with score s is (1 + the number of calibration scores ≥ s) / (n + 1). Of
    new rows that come from the same distribution as X, a share of about α has a p-value of α or
    less, whatever the detector and the distribution.

    Parameters
    ----------
    detector : object
        A detector of this package or of PyOD, an outlier detector of scikit-learn, or a pipeline
        that ends in one of these. Clones of it are fitted.
    max_fpr : float, default=0.1
        The share of new normal rows that may be flagged: ``predict`` flags a row whose p-value is
        `max_fpr` or less.
    cv : int, splitter, iterable or None, default=None
        The cross-validation folds. An int is the number of shuffled folds (``None`` means 5). Each
        row has to be in exactly one test part. Rows that belong together, such as measurements of
        one machine, belong into one fold: pass ``GroupKFold().split(X, groups=groups)`` as a list.
    random_state : int, RandomState instance or None, default=None
        Shuffles the rows for a number of folds. If not None, it also decides the `random_state` of
        the clones, and of what they hold.

    Attributes
    ----------
    detectors_ : list
        The fitted clones, one for each fold.
    decision_scores_ : ndarray of shape (n_samples,)
        The calibration scores: each row of X by the clone that has not seen it.
    threshold_ : float
        The score from which on a p-value is `max_fpr` or less.
    labels_ : ndarray of shape (n_samples,)
        1 for the rows of X that score above the threshold.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X. Only if they are all strings.

    See Also
    --------
    skrdae.thresholds.fdr_labels : Flag rows by their p-values, so that few of those flagged are
        normal.
    skrdae.thresholds.tune_threshold : A threshold by labels.

    Notes
    -----
    **What it costs.** A fit for each fold, and as many scorings of a new row.

    **Exchangeable rows.** The rate holds if the order of old and new normal rows tells nothing: no
    drift, and no rows that depend on each other across folds. Windows of a series that overlap do.

    **Anomalies in X** are among the calibration scores. They make p-values larger, so that fewer
    rows are flagged than `max_fpr` says.

    **By chance**, the rate of one fit differs from `max_fpr`, with a standard error of about
    √(max_fpr / n). Since the mean of several clones varies less than one of them, the rate is a
    little below `max_fpr` for detectors whose scores depend much on chance.

    References
    ----------
    S. Bates, E. Candès, L. Lei, Y. Romano and M. Sesia, Testing for Outliers with Conformal
    p-values, Annals of Statistics 51, 2023. R. F. Barber, E. Candès, A. Ramdas and R. J.
    Tibshirani, Predictive Inference with the Jackknife+, Annals of Statistics 49, 2021. O.
    Hennhöfer and C. Preisach, Leave-One-Out-, Bootstrap- and Cross-Conformal Anomaly Detectors,
    ICKG 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from skrdae import CalibratedDetector, RobustDeepAutoencoder
    >>> rng = np.random.default_rng(0)
    >>> plane = rng.normal(size=(2, 6))
    >>> def rows(n):
    ...     return rng.normal(size=(n, 2)) @ plane + 0.1 * rng.normal(size=(n, 6))
    >>> detector = CalibratedDetector(RobustDeepAutoencoder(), random_state=0).fit(rows(1000))
    >>> print(f"{detector.predict(rows(10_000)).mean():.3f}")  # of new rows, all normal
    0.096
    >>> anomalies = rng.normal(size=(3, 6))
    >>> detector.p_values(anomalies).round(3)
    array([0.001, 0.001, 0.001])
    """

    detectors_: list[Any]
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

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Fit a clone of the detector for each fold, and calibrate.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training data, as free of anomalies as they can be had.
        y : Ignored
            Not used; present by scikit-learn's convention.

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
            draft._fit(X)
        return self

    def _fit(self, X: ArrayLike) -> None:
        self._check_detector()
        check_parameters(self)
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)  # what an earlier fit found
        rows = check_data(self, X, reset=True)
        n_flagged = self._n_flagged(len(rows))
        given = self.random_state
        seed = int(given) if isinstance(given, Integral) else int(member_seeds(given, 1)[0])
        folds = self._folds(rows, seed)
        tells = hasattr(self.detector, "warns_of_constants")
        if tells:  # of columns that are constant in all folds, once
            names = getattr(self, "feature_names_in_", np.arange(self.n_features_in_))
            warn_of_constants(names[np.ptp(rows, axis=0) == 0].tolist(), "Columns")
        scores = np.empty(len(rows))
        detectors: list[Any] = []
        for train, test in folds:
            detector: Any = clone(self.detector)
            if given is not None:
                detector.set_params(**dict.fromkeys(_random_states(detector), seed))
            if tells:
                detector.warns_of_constants = False
            detector.fit(rows[train])
            if tells:
                del detector.warns_of_constants
            scores[test] = self._finite(anomaly_scores(detector, rows[test]))
            detectors.append(detector)
        self.detectors_, self.decision_scores_ = detectors, scores
        self.threshold_ = float(np.sort(scores)[-n_flagged])
        self.labels_ = (scores > self.threshold_).astype(int)
        self.classes_ = np.array([0, 1])
        self._share = float(self.max_fpr)

    def _check_detector(self) -> None:
        detector = self.detector
        if isinstance(detector, type):
            raise TypeError(f"detector must be an object, not the class: {detector.__name__}().")
        if getattr(deciding_step(detector), "_takes_series", False):
            raise TypeError(
                "detector takes series, whose windows overlap, so that no fold is new to a "
                "detector of the others. CalibratedDetector is for detectors of rows."
            )

    def _n_flagged(self, n_samples: int) -> int:
        """Return the place of the threshold among the calibration scores, from the largest on."""
        # The product of, say, 0.29 and 100 is a little less than whole.
        place = math.floor(self.max_fpr * (n_samples + 1) * (1 + 1e-12))
        if place < 1:
            needed = math.ceil(1 / self.max_fpr * (1 - 1e-12)) - 1
            raise ValueError(
                f"max_fpr={self.max_fpr!r} needs at least {needed} samples to calibrate with, the "
                f"smallest p-value being 1 / (n_samples + 1), but X has n_samples={n_samples}. "
                "Pass more, or raise max_fpr."
            )
        return place

    def _folds(self, X: FloatRows, seed: int) -> Folds:
        folds = folds_of(self.cv, X, None, stratify=False, seed=seed)
        times = np.bincount(np.concatenate([test for _, test in folds]), minlength=len(X))
        if (times != 1).any():
            row = int(np.flatnonzero(times != 1)[0])
            raise ValueError(
                f"cv has to put each row into one test part; row {row} is in {times[row]} of them."
            )
        return folds

    def _finite(self, scores: FloatArray) -> FloatArray:
        if not np.isfinite(scores).all():
            raise ValueError(
                f"{self.detector!r} gives scores that are not finite, so that they cannot be "
                "calibrated."
            )
        return scores

    # ------------------------------------------------------------------------------ scoring

    def _validated(self, X: MatrixLike) -> FloatRows:
        check_is_fitted(self, "detectors_")
        return check_data(self, X, reset=False)

    def _score(self, X: FloatRows) -> FloatArray:
        return np.mean([anomaly_scores(detector, X) for detector in self.detectors_], axis=0)

    def _labels_of(self, X: FloatRows, scores: FloatArray) -> IntArray:
        return (scores > self.threshold_).astype(int)

    @property
    def _flagged_share(self) -> float:
        return self._share

    def _flag_above_threshold(self) -> None:
        """Let ``threshold_``, set from outside, decide."""
        self._share = float(self.labels_.mean())

    def decision_function(self, X: MatrixLike) -> FloatArray:
        """Return the anomaly score of each row; the higher, the more anomalous.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), float64
            The mean of the scores of ``detectors_``. On the training data it is lower than
            ``decision_scores_``, because most of the clones have seen them.
        """
        self = snapshot(self)
        return self._score(self._validated(X))

    def p_values(self, X: MatrixLike) -> FloatArray:
        """Return the p-value of each row: how rare a score as high is among normal rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            New rows. Those of the training data are not new to most of the clones, and their
            p-values are too large.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            In [1 / (n + 1), 1], n the number of calibration scores.
        """
        self = snapshot(self)
        scores = self._score(self._validated(X))
        known = np.sort(self.decision_scores_)
        n_above = len(known) - np.searchsorted(known, scores, side="left")
        return (1 + n_above) / (1 + len(known))

    @available_if(_explains)
    def explain(self, X: MatrixLike) -> FloatArray:
        """Return the contribution of each feature to the score of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_features), float64
            The mean of what the clones explain. Only for detectors with an `explain`.
        """
        self = snapshot(self)
        X = self._validated(X)
        found: FloatArray = np.mean([detector.explain(X) for detector in self.detectors_], axis=0)
        return found

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        # PyOD's labels 0 and 1 are not the −1 and +1 of scikit-learn's outlier detectors.
        tags.estimator_type = None
        return tags


def _random_states(estimator: Any) -> list[str]:
    """Return the names of the parameters that are seeds, also those of nested estimators."""
    return [name for name in estimator.get_params() if name.split("__")[-1] == "random_state"]
