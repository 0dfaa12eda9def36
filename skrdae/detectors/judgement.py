"""What a detector says of rows or steps, from one pass over them."""

from __future__ import annotations

from dataclasses import dataclass

from skrdae._typing import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Judgement:
    """Scores, labels and p-values of rows, or of steps of a series.

    Attributes
    ----------
    scores : ndarray of shape (n,)
        The higher, the more anomalous; NaN where there is none.
    labels : ndarray of shape (n,)
        1 for anomalies, 0 for the others.
    p_values : ndarray of shape (n,) or None
        None for detectors that have none.
    """

    scores: FloatArray
    labels: IntArray
    p_values: FloatArray | None = None
