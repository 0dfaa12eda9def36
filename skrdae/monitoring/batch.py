"""What a monitor says of a batch of rows."""

from __future__ import annotations

from dataclasses import dataclass, field

from skrdae._typing import FloatArray, IntArray
from skrdae.monitoring.alert import Alert
from skrdae.monitoring.window import WindowReport


@dataclass(frozen=True)
class BatchReport:
    """The result of a batch.

    Attributes
    ----------
    scores : ndarray of shape (n_rows,)
    labels : ndarray of shape (n_rows,)
        1 for the rows that are flagged.
    p_values : ndarray of shape (n_rows,) or None
        Of detectors that give them.
    alerts : list of Alert
        What the handlers are told.
    windows : list of WindowReport
        Of the windows that this batch completed.
    """

    scores: FloatArray
    labels: IntArray
    alerts: list[Alert] = field(default_factory=list)
    windows: list[WindowReport] = field(default_factory=list)
    p_values: FloatArray | None = None
