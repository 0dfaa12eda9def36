"""Scores and labels of any detector, from one pass over the rows where that can be had."""

from __future__ import annotations

from typing import Any

import numpy as np
from pyod.models.base import BaseDetector
from scipy.sparse import issparse
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from skrdae._typing import FloatArray, IntArray, MatrixLike
from skrdae.metrics import deciding_step, high_is_normal, scores_or_nan
from skrdae.thresholds import labels_threshold


def scores_and_labels(detector: Any, X: MatrixLike) -> tuple[FloatArray, IntArray]:
    """Return what a fitted detector says of rows.

    Parameters
    ----------
    detector : object
        See :func:`skrdae.metrics.anomaly_scores`.
    X : array-like of shape (n_rows, n_features)

    Returns
    -------
    scores : ndarray of shape (n_rows,)
        The higher the more anomalous; NaN where the detector gives none.
    labels : ndarray of shape (n_rows,)
        1 for anomalies, 0 for the others.
    """
    last, X = last_step(detector, X)
    if hasattr(last, "scores_and_labels"):
        return last.scores_and_labels(X)
    scores = scores_or_nan(last, X)
    if _compares_with_threshold(last):
        return scores, (scores > last.threshold_).astype(int)
    anomaly = -1 if high_is_normal(last) else 1
    return scores, (np.ravel(last.predict(X)) == anomaly).astype(int)


def scores_of(detector: Any, X: MatrixLike) -> FloatArray:
    """Return the scores alone, as :func:`scores_and_labels` has them."""
    return scores_or_nan(detector, X)


def last_step(detector: Any, X: MatrixLike) -> tuple[Any, MatrixLike]:
    """Return the detector that decides in the end, and the rows as it is given them."""
    while True:
        if isinstance(detector, Pipeline):
            if len(detector.steps) > 1:
                X = detector[:-1].transform(X)
            detector = detector.steps[-1][1]
        elif hasattr(detector, "best_estimator_"):
            detector = detector.best_estimator_
        elif isinstance(detector, FrozenEstimator):
            detector = detector.estimator
        else:
            return detector, X


def _compares_with_threshold(detector: Any) -> bool:
    """Say whether ``predict`` is that of PyOD, which scores the rows and compares."""
    return type(detector).predict is BaseDetector.predict and isinstance(
        detector.contamination, float | int
    )


def training_scores_and_labels(detector: Any) -> tuple[FloatArray, IntArray]:
    """Return what a fitted detector says of the rows it was fitted to.

    Raises
    ------
    ValueError
        If it does not keep that.
    """
    last = deciding_step(detector)
    for attribute in ("decision_scores_", "labels_"):
        if not hasattr(last, attribute):
            raise ValueError(
                f"{type(last).__name__} has no {attribute}: pass reference (or fit it, if that is "
                "still to be done)."
            )
    return np.ravel(last.decision_scores_).astype(float), np.ravel(last.labels_)


def flagging_threshold(detector: Any) -> float:
    """Return the score above which a fitted detector flags, or what comes closest to it.

    Raises
    ------
    ValueError
        If it has none.
    """
    last = deciding_step(detector)
    if high_is_normal(last):
        return 0.0
    if not hasattr(last, "threshold_"):
        raise ValueError(
            f"{type(last).__name__} has no threshold_: pass threshold (or fit it, if that is still "
            "to be done)."
        )
    if isinstance(last, BaseDetector) and not isinstance(last.contamination, float | int | str):
        # PyOD's threshold is in other units then.
        scores, labels = training_scores_and_labels(last)
        known = ~np.isnan(scores)
        if not np.array_equal(labels[known], scores[known] > last.threshold_):
            return labels_threshold(scores[known], labels[known])
    return last.threshold_


def are_rows(reference: Any) -> bool:
    """Say whether a reference holds rows for the detector, not scores."""
    if isinstance(reference, list | tuple) and any(getattr(x, "ndim", 0) for x in reference):
        return True  # several series
    return issparse(reference) or np.ndim(reference) == 2
