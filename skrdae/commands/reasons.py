"""Which columns make a row anomalous."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skrdae._typing import FloatArray, IntArray
from skrdae.explanation import summed
from skrdae.tables import TableEncoder

#: How many columns are named for a row.
MOST_REASONS = 3


@dataclass(frozen=True)
class Reasons:
    """The columns that count most in the scores of the rows that are flagged.

    Parameters
    ----------
    columns : ndarray of shape (n_steps, n_reasons), of objects
        Names, the one that counts most first; None in rows, or steps of a series, that are not
        flagged.
    shares : ndarray of shape (n_steps, n_reasons)
        Their shares of the score, in [0, 1]; NaN in rows that are not flagged.
    """

    columns: NDArray[np.object_]
    shares: FloatArray

    def of(self, row: int) -> list[dict[str, Any]]:
        """Return the reasons of a row, as JSON has them."""
        pairs = zip(self.columns[row], self.shares[row], strict=True)
        return [{"column": name, "share": float(share)} for name, share in pairs if share > 0]

    def as_columns(self, order: NDArray[np.intp]) -> dict[str, Any]:
        """Return them as columns of a table with these rows, or steps, in this order."""
        columns: dict[str, Any] = {}
        for place in range(self.columns.shape[1]):
            columns[f"skrdae_reason_{place + 1}"] = self.columns[order, place]
            columns[f"skrdae_share_{place + 1}"] = self.shares[order, place]
        return columns


def reasons_of(
    detector: Any, seen: Any, labels: NDArray[Any], names: Iterable[str], origins: IntArray
) -> Reasons:
    """Return why rows are flagged.

    Parameters
    ----------
    detector : detector
        One that has ``explain``.
    seen : DataFrame or ndarray of shape (n_steps, n_features)
        The rows, or the steps of a series, as the detector sees them.
    labels : ndarray of shape (n_steps,)
        1 where a row is flagged.
    names : iterable of str
        Of the columns of the table.
    origins : ndarray of shape (n_features,), int
        The column that each feature comes from.

    Returns
    -------
    Reasons
    """
    every = np.array(list(map(str, names)), dtype=object)
    rows = np.flatnonzero(labels == 1)
    n_reasons = min(MOST_REASONS, len(every))
    columns = np.full((len(labels), n_reasons), None, dtype=object)
    shares = np.full((len(labels), n_reasons), np.nan)
    if len(rows):
        found = summed(_contributions(detector, seen, rows), origins, len(every))
        found /= np.maximum(found.sum(axis=1, keepdims=True), np.finfo(float).tiny)
        best = np.argsort(-found, axis=1, kind="stable")[:, :n_reasons]
        columns[rows] = every[best]
        shares[rows] = np.take_along_axis(found, best, axis=1)
    return Reasons(columns, shares)


def _contributions(detector: Any, seen: Any, rows: NDArray[np.intp]) -> FloatArray:
    """Return what each feature adds to the scores of some rows, or steps; nothing below zero."""
    if getattr(detector, "_takes_series", False):  # steps are scored by windows, not one by one
        return np.maximum(detector.explain(seen)[rows], 0.0)
    flagged = seen.iloc[rows] if hasattr(seen, "iloc") else seen[rows]
    return np.asarray(detector.explain(flagged), float)


def looked_at(encoder: TableEncoder) -> list[Any]:
    """Return the columns that an encoder looks at."""
    return [*encoder.numeric_columns_, *encoder.categories_]
