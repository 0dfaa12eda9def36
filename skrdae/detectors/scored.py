"""Labels, probabilities, confidence and rejection: what follows from scores, for any detector."""

from __future__ import annotations

from numbers import Real
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import erf
from scipy.stats import binom
from sklearn.metrics import roc_auc_score
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
)

from skrdae._bases import BaseDetector, BaseEstimator
from skrdae._typing import FloatArray, IntArray, MatrixLike
from skrdae._validation import check_labels_given, snapshot


class ScoredDetector(BaseDetector):
    """PyOD's methods upon scores, without its loops and divisions by zero.

    A subclass supplies ``_validated``, ``_score``, ``_labels_of`` and ``_flagged_share``, and sets
    ``decision_scores_`` and ``labels_`` when it is fitted. What has no score, NaN, gets NaN.
    """

    decision_scores_: FloatArray
    threshold_: float
    labels_: IntArray

    _classes = 2  # PyOD's number of predict_proba's columns

    # PyOD's base class overrides these with versions that fail scikit-learn's checks.
    get_params = BaseEstimator.get_params
    set_params = BaseEstimator.set_params
    __repr__ = BaseEstimator.__repr__
    _get_param_names: Any = vars(BaseEstimator)["_get_param_names"]

    def _validated(self, X: Any) -> Any:
        """Return checked data, for a detector that is fitted."""
        raise NotImplementedError

    def _score(self, X: Any) -> FloatArray:
        """Score checked data."""
        raise NotImplementedError

    def _labels_of(self, X: Any, scores: FloatArray) -> IntArray:
        """Label checked data with these scores."""
        raise NotImplementedError

    @property
    def _flagged_share(self) -> float:
        """The contamination as a number."""
        raise NotImplementedError

    @property
    def _leaves_steps_out(self) -> bool:
        """Whether steps that no window covers have the score NaN, and by right."""
        return False

    def scores_and_labels(self, X: MatrixLike) -> tuple[FloatArray, IntArray]:
        """Return :meth:`decision_function` and :meth:`predict` at the cost of one of them.

        Parameters
        ----------
        X : array-like
            Data, as for :meth:`decision_function`.

        Returns
        -------
        scores : ndarray of shape (n_samples,), float64
        labels : ndarray of shape (n_samples,), int
        """
        self = snapshot(self)
        X = self._validated(X)
        scores = self._score(X)
        return scores, self._labels_of(X, scores)

    def score(self, X: MatrixLike, y: ArrayLike | None = None) -> float:
        """Return the area under the ROC curve of the scores.

        A step of a series that has no score counts as the least anomalous.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or series
        y : array-like of shape (n_samples,)
            Labels, as numbers or booleans: 0 for normal rows, anything else for anomalies.

        Returns
        -------
        float
            NaN, with an ``UndefinedMetricWarning``, if y holds one class only.

        Raises
        ------
        ValueError
            If there is no y, as in a search that is fitted without labels and given no
            ``scoring``.
        """
        y = check_labels_given(y, f"{type(self).__name__}.score")
        scores = self.decision_function(X)
        y = column_or_1d(check_array(y, ensure_2d=False, dtype="numeric", input_name="y"))
        check_consistent_length(scores, y)
        if set(np.unique(y)) == {-1, 1}:
            raise ValueError(
                "y holds -1 and 1; here 0 is normal and anything else an anomaly. Of "
                "scikit-learn's outlier labels pass y == -1."
            )
        if self._leaves_steps_out:
            scores = np.nan_to_num(scores, nan=np.nanmin(scores))
        return float(roc_auc_score(y != 0, scores))

    def predict(self, X: MatrixLike, return_confidence: bool = False) -> Any:
        """Return 1 for anomalies and 0 for normal rows.

        Parameters
        ----------
        X : array-like
            Data, as for :meth:`decision_function`.
        return_confidence : bool, default=False
            Also return :meth:`predict_confidence`.

        Returns
        -------
        labels : ndarray of shape (n_samples,), int
        confidence : ndarray of shape (n_samples,)
            Only with ``return_confidence=True``.
        """
        self = snapshot(self)
        scores, labels = self.scores_and_labels(X)
        return (labels, self._confidence(scores, labels)) if return_confidence else labels

    def fit_predict(self, X: MatrixLike, y: ArrayLike | None = None) -> IntArray:
        """Fit, and return the labels of the training data (``labels_``)."""
        return self.fit(X, y).labels_

    def predict_proba(
        self,
        X: MatrixLike,
        method: Literal["linear", "unify"] = "linear",
        return_confidence: bool = False,
    ) -> Any:
        """Return the probabilities of being normal and of being anomalous.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        method : {"linear", "unify"}, default="linear"
            ``"linear"`` scales the scores so that the lowest training score becomes 0 and the
            highest 1. ``"unify"`` uses the normal distribution with mean and standard deviation of
            the training scores (Kriegel et al., Interpreting and Unifying Outlier Scores, SDM
            2011). Both are clipped to [0, 1].
        return_confidence : bool, default=False
            Also return :meth:`predict_confidence`.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, 2)
        confidence : ndarray of shape (n_samples,)
            Only with ``return_confidence=True``.
        """
        if method not in ("linear", "unify"):
            raise ValueError(f"method must be 'linear' or 'unify'; got {method!r}.")
        self = snapshot(self)
        X = self._validated(X)
        scores = self._score(X)
        if method == "linear":
            origin: float = np.nanmin(self.decision_scores_)
            width: float = np.nanmax(self.decision_scores_) - origin
        else:
            known = self.decision_scores_[~np.isnan(self.decision_scores_)]
            origin, width = float(known.mean()), float(known.std()) * np.sqrt(2)
        if width > 0:
            anomalous = (scores - origin) / width
            anomalous = (erf(anomalous) if method == "unify" else anomalous).clip(0, 1)
        else:  # all training scores are equal: whatever exceeds them is new
            anomalous = np.where(np.isnan(scores), np.nan, scores > origin)
        probabilities = np.column_stack([1 - anomalous, anomalous])
        if return_confidence:
            return probabilities, self._confidence(scores, self._labels_of(X, scores))
        return probabilities

    def predict_confidence(self, X: MatrixLike) -> FloatArray:
        """Return the probability that a slightly different training set would give the same label.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
            In [0, 1].

        References
        ----------
        Perini, L., V. Vercruyssen and J. Davis, Quantifying the Confidence of Anomaly Detectors in
        Their Example-Wise Predictions, ECML PKDD 2020.
        """
        self = snapshot(self)
        return self._confidence(*self.scores_and_labels(X))

    def _confidence(self, scores: FloatArray, labels: IntArray) -> FloatArray:
        known = np.sort(self.decision_scores_[~np.isnan(self.decision_scores_)])
        n = len(known)
        below = np.searchsorted(known, scores, side="right")
        posterior = (1 + below) / (2 + n)
        # Rounded down as PyOD does it, but not below a whole number of flagged rows.
        n_expected = int(n * self._flagged_share + 1e-9)
        flagged = 1 - binom.cdf(n - n_expected, n, posterior)
        confidence = np.where(labels == 1, flagged, 1 - flagged)
        return np.where(np.isnan(scores), np.nan, confidence)

    def predict_with_rejection(
        self,
        X: MatrixLike,
        T: float = 32,
        return_stats: bool = False,
        delta: float = 0.1,
        c_fp: float = 1,
        c_fn: float = 1,
        c_r: float | None = None,
    ) -> Any:
        """Return labels, with −2 for rows whose confidence is too low.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        T : int, default=32
            Labels with a confidence, scaled to [0, 1], of ``1 − 2·exp(−T)`` or less are rejected.
        return_stats : bool, default=False
            Also return the expected rejection rate and upper bounds for the rate and the cost.
        delta : float in (0, 1), default=0.1
            The bound of the rate holds with probability 1 − delta.
        c_fp, c_fn, c_r : float
            Costs of a false alarm, a missed anomaly and a rejection. ``c_r=None`` (or, as in PyOD,
            a negative number) means the contamination.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
        stats : list of three floats
            Only with ``return_stats=True``.

        References
        ----------
        Perini, L. and J. Davis, Unsupervised Anomaly Detection with Rejection, NeurIPS 2023.
        """
        if not (isinstance(delta, Real) and 0 < delta < 1):
            raise ValueError(f"delta must be a number in (0, 1); got {delta!r}.")
        if not (isinstance(T, Real) and T > 0):
            raise ValueError(f"T must be a positive number; got {T!r}.")
        self = snapshot(self)
        labels, confidence = self.predict(X, return_confidence=True)
        # Confidence in "anomalous", whichever the label.
        flagged = np.where(labels == 1, confidence, 1 - confidence)
        confident = 2 * np.abs(flagged - 0.5) > 1 - 2 * np.exp(-T)  # never where it is NaN
        labels[~confident] = -2
        if not return_stats:
            return labels
        c_r = -1 if c_r is None else c_r
        return labels, list(self.compute_rejection_stats(T, delta, c_fp, c_fn, c_r))

    def compute_rejection_stats(
        self,
        T: float = 32,
        delta: float = 0.1,
        c_fp: float = 1,
        c_fn: float = 1,
        c_r: float = -1,
        verbose: bool = False,
    ) -> tuple[float, float, float]:
        """Return the three statistics of :meth:`predict_with_rejection`; see PyOD."""
        self = snapshot(self)
        check_is_fitted(self)
        scores = self.decision_scores_[~np.isnan(self.decision_scores_)]
        # PyOD's equation has no root where nothing is flagged.
        stand_in = _Scored(max(self._flagged_share, 1 / len(scores)), scores)
        return stand_in.compute_rejection_stats(T, delta, c_fp, c_fn, c_r, verbose)


class _Scored(BaseDetector):
    """What PyOD's rejection statistics read: scores and a numeric contamination."""

    def __init__(self, contamination: float, scores: FloatArray) -> None:
        self.contamination, self.decision_scores_ = contamination, scores
        self.threshold_ = self.labels_ = True

    def fit(self, X: Any, y: Any = None) -> Self:  # pragma: no cover - the base class asks for it
        return self

    def decision_function(
        self, X: Any
    ) -> FloatArray:  # pragma: no cover - the base class asks for it
        return self.decision_scores_
