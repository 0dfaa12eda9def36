"""Scores and labels of any detector, from one pass over the rows where that can be had."""

from __future__ import annotations

from typing import Any

import numpy as np
from pyod.models.base import BaseDetector
from scipy.sparse import issparse
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from skrdae._typing import FloatArray, MatrixLike
from skrdae.detectors.calibrated import CalibratedDetector
from skrdae.detectors.held_out import row_p_values
from skrdae.detectors.judgement import Judgement
from skrdae.metrics import deciding_step, high_is_normal, scores_or_nan
from skrdae.thresholds import labels_threshold


def judged(detector: Any, X: MatrixLike) -> Judgement:
    """Return what a fitted detector says of rows.

    Parameters
    ----------
    detector : object
        See :func:`skrdae.metrics.anomaly_scores`.
    X : array-like of shape (n_rows, n_features)

    Returns
    -------
    Judgement
        p-values are those of a :class:`CalibratedDetector`.
    """
    last, X = last_step(detector, X)
    if isinstance(last, CalibratedDetector):
        return last._judged(X)
    if hasattr(last, "scores_and_labels"):
        return Judgement(*last.scores_and_labels(X))
    scores = scores_or_nan(last, X)
    if _compares_with_threshold(last):
        return Judgement(scores, (scores > last.threshold_).astype(int))
    anomaly = -1 if high_is_normal(last) else 1
    return Judgement(scores, (np.ravel(last.predict(X)) == anomaly).astype(int))


def scores_of(detector: Any, X: MatrixLike) -> FloatArray:
    """Return the scores alone, as :func:`judged` has them."""
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


def unfitted(detector: Any) -> Any:
    """Return a clone that can be fitted; of a search, one of what it has found.

    Raises
    ------
    TypeError
        If the detector is frozen.
    """
    while hasattr(detector, "best_estimator_") and not isinstance(detector, FrozenEstimator):
        detector = detector.best_estimator_
    found = clone(detector)
    if isinstance(detector, FrozenEstimator) or deciding_step(found) is deciding_step(detector):
        raise TypeError(
            "detector is a FrozenEstimator, which no fit changes: pass the estimator within."
        )
    return found


def _compares_with_threshold(detector: Any) -> bool:
    """Say whether ``predict`` is that of PyOD, which scores the rows and compares."""
    return type(detector).predict is BaseDetector.predict and isinstance(
        detector.contamination, float | int
    )


def judged_in_training(detector: Any) -> Judgement:
    """Return what a fitted detector says of the rows it was fitted to.

    A :class:`CalibratedDetector` says it of rows that were new to it. The steps of series have no
    p-values here.

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
    calibrated = isinstance(last, CalibratedDetector) and not last._takes_series
    return Judgement(
        np.ravel(last.decision_scores_).astype(float),
        np.ravel(last.labels_),
        row_p_values(last.decision_scores_, last.decision_scores_) if calibrated else None,
    )


def has_p_values(detector: Any) -> bool:
    """Say whether a fitted detector gives p-values."""
    return isinstance(deciding_step(detector), CalibratedDetector)


def n_alike(detector: Any) -> float:
    """Return for how many rows one counts in p-values: more than one in a series."""
    return deciding_step(detector)._n_alike


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
        found = judged_in_training(last)
        known = ~np.isnan(found.scores)
        scores, labels = found.scores[known], np.ravel(last.labels_)[known]
        if not np.array_equal(labels, scores > last.threshold_):
            return labels_threshold(scores, labels)
    return last.threshold_


def are_rows(reference: Any) -> bool:
    """Say whether a reference holds rows for the detector, not scores."""
    if isinstance(reference, list | tuple) and any(getattr(x, "ndim", 0) for x in reference):
        return True  # several series
    return issparse(reference) or np.ndim(reference) == 2
