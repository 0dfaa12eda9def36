"""What a monitor says of a window of rows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WindowReport:
    """How a window of consecutive rows compares with the reference.

    Attributes
    ----------
    first_row : int
        Of the window, counted from the first row that the monitor saw.
    n_rows, n_flagged : int
    n_effective : float
        Independent rows that the window is worth: fewer than `n_rows` where the scores of
        neighbouring rows depend on each other, as those of a series do.
    alert_rate : float
        Share of the rows that are flagged.
    stability_index : float
        See :meth:`ScoreReference.stability_index`.
    ks_statistic, ks_p_value : float
        Of the Kolmogorov–Smirnov test, for as many rows as window and reference are worth.
    drifting : bool
        Whether the scores have drifted.
    drift_unknown : bool
        Whether that cannot be told: the window or the reference is worth so few independent rows
        that chance would hide a shift of one standard deviation. `drifting` is False then, and
        `drifting_` of the monitor stays as it was: no alert begins or ends.
    rate_is_high : bool
        Whether rows are flagged too often.
    rate_unknown : bool
        Whether that cannot be told: the window or the reference is worth so few independent rows
        that chance might flag the whole window. `rate_is_high` is False then, and `rate_is_high_`
        of the monitor stays as it was.
    """

    first_row: int
    n_rows: int
    n_flagged: int
    n_effective: float
    alert_rate: float
    stability_index: float
    ks_statistic: float
    ks_p_value: float
    drifting: bool
    drift_unknown: bool
    rate_is_high: bool
    rate_unknown: bool
