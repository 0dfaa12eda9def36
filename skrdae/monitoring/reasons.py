"""What an alert says of a row beside its score: the features that count most, and its p-value."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skrdae._typing import FloatArray, MatrixLike
from skrdae.monitoring.labels import last_step

# Features that are named for a row.
_MOST = 3


def facts_of(
    detector: Any, X: MatrixLike, rows: NDArray[np.intp], p_values: FloatArray | None = None
) -> dict[int, dict[str, Any]]:
    """Return the p-values of some rows and the reasons for their scores, where a detector has them.

    Parameters
    ----------
    detector : object
        See :func:`skrdae.metrics.anomaly_scores`.
    X : array-like of shape (n_rows, n_features)
    rows : ndarray of shape (n_listed,)
        Numbers of rows of X.
    p_values : ndarray of shape (n_rows,), optional

    Returns
    -------
    dict
        By the number of a row: ``p_value``, and ``reasons``, the three features with the largest
        contributions to the score, each with ``feature`` and ``contribution``.
    """
    last, seen = last_step(detector, X)
    facts: dict[int, dict[str, Any]] = {row: {} for row in rows.tolist()}
    if not len(rows):
        return facts
    of_series = getattr(last, "_takes_series", False)
    some: Any = seen
    if not of_series:  # a step of a series is nothing without its neighbours
        some = some.iloc[rows] if hasattr(some, "iloc") else _array(some)[rows]
    if p_values is not None:
        for row in facts:
            facts[row]["p_value"] = float(p_values[row])
    if hasattr(last, "explain"):
        found = np.asarray(last.explain(some), float)
        found = (found[rows] if of_series else found).reshape(len(rows), -1)
        for row, contributions in zip(facts, found, strict=True):
            facts[row]["reasons"] = _largest(last, contributions)
    return facts


def reasons_of_newest(detector: Any, X: ArrayLike) -> list[dict[str, Any]]:
    """Return the reasons for the score of the last of the newest steps, [] without `explain`.

    Parameters
    ----------
    detector : object
        A detector of series.
    X : array-like of shape (window_size_, n_channels) or (window_size_,)
        Its last window.

    Returns
    -------
    list
        See :func:`facts_of`.
    """
    return _largest(detector, detector.explain(X)[-1]) if hasattr(detector, "explain") else []


def _largest(detector: Any, contributions: FloatArray) -> list[dict[str, Any]]:
    names = getattr(detector, "feature_names_in_", None)
    order = np.argsort(-contributions, kind="stable")[:_MOST]
    return [
        {"feature": _told(names, place), "contribution": float(contributions[place])}
        for place in order.tolist()
        if contributions[place] > 0
    ]


def _array(X: Any) -> Any:
    return X if hasattr(X, "shape") else np.asarray(X)  # a sparse matrix stays what it is


def _told(names: Any, place: int) -> str:
    return f"feature {place}" if names is None else encodable(names[place])


def encodable(name: object) -> str:
    """Return a name with what UTF-8 cannot encode spelt out."""
    return str(name).encode("utf-8", "backslashreplace").decode()
