"""OutlierAdapter: PyOD's detectors with the polarity of scikit-learn's."""

from __future__ import annotations

from numbers import Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pyod.models.base import BaseDetector
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_random_state, get_tags
from sklearn.utils.validation import check_is_fitted

from skrdae._bases import BaseEstimator, MetaEstimatorMixin, OutlierMixin
from skrdae._typing import FloatArray, IntArray, RandomStateLike
from skrdae._validation import check_data, refitting, snapshot
from skrdae.thresholds import labels_threshold


class OutlierAdapter(OutlierMixin, MetaEstimatorMixin, BaseEstimator):
    """Give a detector the labels and signs of scikit-learn's outlier detectors.

    In PyOD and in this package anomalies have the label 1 and high scores; in scikit-learn they
    have the label −1 and low scores. The adapter converts one into the other, so that a detector
    can be used wherever an ``IsolationForest`` can. It passes scikit-learn's checks of outlier
    detectors.

    Parameters
    ----------
    detector : object
        A detector of this package or of PyOD; a clone of it is fitted. To use a detector that is
        fitted already, with a tuned threshold for example, pass it in a ``FrozenEstimator``. With a
        :class:`WindowedDetector`, every method takes series.
    random_state : int, RandomState instance or None, default=None
        If not None, it is set as the `random_state` of the clone, if that has such a parameter.

    Attributes
    ----------
    detector_ : object
        The fitted clone, which has all other attributes.
    offset_ : float
        ``decision_function`` is ``score_samples`` minus this offset, which is
        −``detector_.threshold_``.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X. Only if they are all strings.

    Notes
    -----
    ``predict`` and ``fit_predict`` return the labels of the detector. As usual in scikit-learn,
    they are −1 exactly where ``decision_function`` is negative. The exception is a detector whose
    members vote (``contamination="auto"`` with several members): its labels may differ for scores
    close to the threshold.

    Examples
    --------
    >>> import numpy as np
    >>> from skrdae import OutlierAdapter, RobustDeepAutoencoder
    >>> X = np.r_[np.random.default_rng(0).normal(size=(99, 3)), [[7.0, -7.0, 7.0]]]
    >>> detector = RobustDeepAutoencoder(contamination=0.01, random_state=0)
    >>> np.flatnonzero(OutlierAdapter(detector).fit_predict(X) == -1).tolist()
    [99]
    """

    detector_: Any
    offset_: float
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]

    def __init__(
        self, detector: BaseDetector | FrozenEstimator, *, random_state: RandomStateLike = None
    ) -> None:
        self.detector = detector
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Fit a clone of the detector.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,), optional
            Labels. Passed to a detector whose tags say that it needs them, such as
            ``RobustDeepAutoencoderCV`` with a `scoring` that uses labels.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If `detector` is not a PyOD detector.
        ValueError, TypeError
            As raised by the detector. The adapter is unchanged then.
        """
        frozen = isinstance(self.detector, FrozenEstimator)
        detector = self.detector.estimator if frozen else self.detector
        if not isinstance(detector, BaseDetector):
            hint = ", not the class" if isinstance(detector, type) else ""
            raise TypeError(
                f"detector must be a detector of this package or of PyOD{hint}; got {detector!r}. "
                "scikit-learn's own have this polarity already; of a pipeline wrap the last step."
            )
        if self.random_state is not None:
            check_random_state(self.random_state)  # raises if it is none
        with refitting(self) as draft:
            draft._fit(X, y, detector, frozen)
        return self

    def _fit(self, X: ArrayLike, y: ArrayLike | None, detector: Any, frozen: bool) -> None:
        takes_series = getattr(detector, "_takes_series", False)
        if not takes_series:
            X = check_data(self, X, reset=True)
        if frozen:
            check_is_fitted(detector, "decision_scores_")
        else:
            detector = self._fitted_clone(X, y)
        if takes_series:  # it has checked X
            for name in ("n_features_in_", "feature_names_in_"):
                self.__dict__.pop(name, None)
                if hasattr(detector, name):
                    setattr(self, name, getattr(detector, name))
        self.detector_ = detector
        self.offset_ = -_threshold_of(detector)

    @property
    def _leaves_steps_out(self) -> bool:
        return getattr(self.detector_, "_leaves_steps_out", False)

    def _checked(self, X: ArrayLike) -> ArrayLike:
        """Return X as an array; a series as it is, for its index tells the time."""
        check_is_fitted(self)
        if getattr(self.detector_, "_takes_series", False):
            return X
        return check_data(self, X, reset=False)

    def _fitted_clone(self, X: ArrayLike, y: ArrayLike | None) -> Any:
        detector: Any = clone(self.detector)
        if self.random_state is not None and "random_state" in detector.get_params():
            detector.set_params(random_state=self.random_state)
        # PyOD's own warn of any y. What fit returns is not used: with some of them it is None.
        tagged = isinstance(detector, BaseEstimator)
        if tagged and get_tags(detector).target_tags.required:
            detector.fit(X, y)
        else:
            detector.fit(X)
        return detector

    def score_samples(self, X: ArrayLike) -> FloatArray:
        """Return the scores of the detector times −1; the lower, the more anomalous.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), float64
        """
        self = snapshot(self)
        X = self._checked(X)
        return -np.asarray(self.detector_.decision_function(X), np.float64).ravel()

    def decision_function(self, X: ArrayLike) -> FloatArray:
        """Return ``score_samples(X) - offset_``: negative for anomalies.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), float64
        """
        self = snapshot(self)
        return self.score_samples(X) - self.offset_

    def predict(self, X: ArrayLike) -> IntArray:
        """Return −1 for anomalies and 1 for normal rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), int
        """
        self = snapshot(self)
        X = self._checked(X)
        return _turned(self.detector_.predict(X))

    def fit_predict(self, X: ArrayLike, y: ArrayLike | None = None) -> IntArray:
        """Fit, and return −1 for anomalies in X and 1 for normal rows.

        These are the detector's ``labels_``. They may differ from ``predict(X)`` for detectors
        based on neighbours, which do not count a training row as its own neighbour in the fit.
        """
        self.fit(X, y)
        frozen = isinstance(self.detector, FrozenEstimator)  # fitted to other rows
        return self.predict(X) if frozen else _turned(self.detector_.labels_)


def _threshold_of(detector: Any) -> float:
    """Return the score above which a fitted detector flags."""
    scores, labels = np.ravel(detector.decision_scores_), np.ravel(detector.labels_)
    if isinstance(detector.threshold_, Real) and np.array_equal(
        labels, scores > detector.threshold_
    ):
        return float(detector.threshold_)
    # With a pythresh object PyOD's threshold is in other units than its scores.
    return labels_threshold(scores, labels)


def _turned(labels: ArrayLike) -> IntArray:
    """Turn 0 and 1 into 1 and −1."""
    return 1 - 2 * np.asarray(labels).ravel().astype(int)
