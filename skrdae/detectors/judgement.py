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
    labels : ndarray of shape (n,) or None
        1 for anomalies, 0 for the others. None if only the scores are known.
    p_values : ndarray of shape (n,) or None
        None if there are none.
    """

    scores: FloatArray
    labels: IntArray | None = None
    p_values: FloatArray | None = None
