"""What an alert says of a row beside its score: the features that count most, and its p-value."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skrdae._typing import MatrixLike
from skrdae.monitoring.labels import last_step

# Features that are named for a row.
_MOST = 3


def facts_of(detector: Any, X: MatrixLike, rows: NDArray[np.intp]) -> dict[int, dict[str, Any]]:
    """Return the p-values of some rows and the reasons for their scores, where a detector has them.

    Parameters
    ----------
    detector : object
        See :func:`skrdae.metrics.anomaly_scores`.
    X : array-like of shape (n_rows, n_features)
    rows : ndarray of shape (n_listed,)
        Numbers of rows of X.

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
    if hasattr(last, "p_values"):
        p_values = last.p_values(some)
        p_values = p_values[rows] if of_series else p_values
        for row, p_value in zip(facts, p_values, strict=True):
            facts[row]["p_value"] = float(p_value)
    if hasattr(last, "explain"):
        found = np.asarray(last.explain(some), float)
        found = (found[rows] if of_series else found).reshape(len(rows), -1)
        names = getattr(last, "feature_names_in_", None)
        for row, contributions in zip(facts, found, strict=True):
            order = np.argsort(-contributions, kind="stable")[:_MOST]
            facts[row]["reasons"] = [
                {"feature": _told(names, place), "contribution": float(contributions[place])}
                for place in order.tolist()
                if contributions[place] > 0
            ]
    return facts


def _array(X: Any) -> Any:
    return X if hasattr(X, "shape") else np.asarray(X)  # a sparse matrix stays what it is


def _told(names: Any, place: int) -> str:
    return f"feature {place}" if names is None else encodable(names[place])


def encodable(name: object) -> str:
    """Return a name with what UTF-8 cannot encode spelt out."""
    return str(name).encode("utf-8", "backslashreplace").decode()
