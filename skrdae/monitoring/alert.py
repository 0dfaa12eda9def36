"""What a monitor has to say, and the plainest way to say it."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from skrdae._typing import FloatArray, IntArray
from skrdae.monitoring.incident import Incident, told
from skrdae.monitoring.reasons import encodable
from skrdae.monitoring.window import WindowReport

# Rows that an alert lists, those with the highest scores.
_LISTED = 10
# What may have begun.
_BEGUN = {
    "anomalies": "the incident",
    "alert_rate": "the high rate of flagged rows",
    "drift": "the drift",
}

#: What a monitor calls with each alert.
Handler: TypeAlias = Callable[["Alert"], object]
AlertKind: TypeAlias = Literal["anomalies", "alert_rate", "drift"]


@dataclass(frozen=True)
class Alert:
    """An event that a monitor reports.

    Parameters
    ----------
    monitor : str
        The monitor's name.
    kind : {"anomalies", "alert_rate", "drift"}
        Rows above the threshold; too many of them; scores that are not distributed as they were.
    text : str
        A sentence for people.
    details : dict
        The figures, of JSON's types.
    resolved : bool
        Whether this is the end of what an earlier alert of this kind began.
    time : str
        When, in UTC, by ISO 8601.
    id : str
        Of this alert alone. A receiver can tell by it what it has had already.

    Examples
    --------
    >>> from skrdae.monitoring import Alert
    >>> Alert("pumps", "drift", "The scores of pumps drift.").resolved
    False
    """

    monitor: str
    kind: AlertKind
    text: str
    details: dict[str, Any] = field(default_factory=dict)
    resolved: bool = False
    time: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def as_dict(self) -> dict[str, Any]:
        """Return the alert as a dict of JSON's types."""
        return asdict(self)


class LoggingHandler:
    """Hand alerts to :mod:`logging`.

    Parameters
    ----------
    logger : str or logging.Logger, default="skrdae.monitoring"
    level : int, default=logging.WARNING
        Of alerts; ends of what began are logged as information.

    Examples
    --------
    >>> import logging, sys
    >>> from skrdae.monitoring import Alert, LoggingHandler
    >>> logger = logging.Logger("alerts")
    >>> logger.addHandler(logging.StreamHandler(sys.stdout))
    >>> LoggingHandler(logger)(Alert("pumps", "drift", "The scores of pumps drift."))
    The scores of pumps drift.
    """

    def __init__(
        self, logger: str | logging.Logger = "skrdae.monitoring", level: int = logging.WARNING
    ) -> None:
        self.logger = logging.getLogger(logger) if isinstance(logger, str) else logger
        self.level = level

    def __call__(self, alert: Alert) -> None:
        """Log an alert; its fields are the record's ``alert``."""
        level = min(self.level, logging.INFO) if alert.resolved else self.level
        self.logger.log(level, "%s", alert.text, extra={"alert": alert.as_dict()})


def listed_rows(scores: FloatArray, labels: IntArray) -> NDArray[np.intp]:
    """Return the rows that an alert lists: those flagged with the highest scores, at most ten."""
    flagged = np.flatnonzero(labels)
    return flagged[np.argsort(-scores[flagged], kind="stable")][:_LISTED]


def of_rows(
    monitor: str,
    scores: FloatArray,
    labels: IntArray,
    threshold: float,
    names: Any,
    facts: Mapping[int, dict[str, Any]],
) -> Alert:
    """Return the alert on the flagged rows of a batch, of which there is at least one.

    Parameters
    ----------
    monitor : str
    scores, labels : ndarray of shape (n_rows,)
    threshold : float
    names : sequence or None
        What the rows are called, where they are called anything.
    facts : dict
        What else is known of rows, by their numbers.

    Returns
    -------
    Alert
    """
    n_flagged = int(np.count_nonzero(labels))
    rows: list[dict[str, Any]]
    rows = [
        {"row": row, "score": float(scores[row])} | facts.get(row, {})
        for row in listed_rows(scores, labels).tolist()
    ]
    if names is not None:
        rows = [{**row, "name": encodable(names[row["row"]])} for row in rows]
    first = rows[0]
    text = (
        f"{monitor}: {n_flagged} of {len(scores)} rows flagged; the highest score is "
        f"{first['score']:.4g} (row {first.get('name', first['row'])})"
    )
    if first["score"] > threshold:  # not always, where a detector flags by vote
        text += f", the threshold {threshold:.4g}"
    text += _most(first)
    details = {
        "n_rows": len(scores),
        "n_flagged": n_flagged,
        "threshold": threshold,
        "rows": rows,
    }
    return Alert(monitor, "anomalies", text, details)


def of_step(monitor: str, step: dict[str, Any], threshold: float) -> Alert:
    """Return the alert on a flagged step that begins an incident.

    Parameters
    ----------
    monitor : str
    step : dict
        See :class:`~skrdae.monitoring.incident.Incident`.
    threshold : float

    Returns
    -------
    Alert
    """
    text = f"{monitor}: step {told(step)} is flagged, {_how_high(step)}{_most(step)}"
    details = {"n_rows": 1, "n_flagged": 1, "threshold": threshold, "rows": [step]}
    return Alert(monitor, "anomalies", text, details)


def of_end(monitor: str, incident: Incident, threshold: float) -> Alert:
    """Return the alert on the end of an incident.

    Parameters
    ----------
    monitor : str
    incident : Incident
    threshold : float

    Returns
    -------
    Alert
    """
    first, last, highest = incident.first, incident.last, incident.highest
    n_rows = last["row"] - first["row"] + 1
    text = (
        f"{monitor}: no step is flagged any more; {incident.n_flagged} of {n_rows} steps from "
        f"{told(first)} to {told(last)} were, step {told(highest)} with the highest score, "
        f"{_how_high(highest)}{_most(highest)}"
    )
    details = {
        "n_rows": n_rows,
        "n_flagged": incident.n_flagged,
        "threshold": threshold,
        "first": told(first),
        "last": told(last),
        "rows": [highest],
    }
    return Alert(monitor, "anomalies", text, details, resolved=True)


def _how_high(step: dict[str, Any]) -> str:
    p_value = f" (p-value {step['p_value']:.2g})" if "p_value" in step else ""
    return f"score {step['score']:.4g}{p_value}"


def _most(row: dict[str, Any]) -> str:
    names = [reason["feature"] for reason in row.get("reasons", ())]
    return f"; most by {', '.join(names)}" if names else ""


def of_rate(monitor: str, window: WindowReport, usual: float) -> Alert:
    """Return the alert on a window that begins, or ends, a high rate of flagged rows.

    Parameters
    ----------
    monitor : str
    window : WindowReport
    usual : float
        Share of the reference that is flagged.

    Returns
    -------
    Alert
    """
    text = (
        f"{monitor}: {window.n_flagged} of the last {window.n_rows} rows are flagged; {usual:.2%} "
        "are usual"
    )
    return Alert(monitor, "alert_rate", text, asdict(window), resolved=not window.rate_is_high)


def of_drift(monitor: str, window: WindowReport) -> Alert:
    """Return the alert on a window that begins, or ends, a drift.

    Parameters
    ----------
    monitor : str
    window : WindowReport

    Returns
    -------
    Alert
    """
    text = (
        f"{monitor}: the scores of the last {window.n_rows} rows "
        f"{'have drifted' if window.drifting else 'are as they were again'} (stability index "
        f"{window.stability_index:.2f}, Kolmogorov–Smirnov statistic {window.ks_statistic:.2f})"
    )
    return Alert(monitor, "drift", text, asdict(window), resolved=not window.drifting)


def of_new_normal(monitor: str, kind: AlertKind, why: str, threshold: float) -> Alert:
    """Return the alert on what is resolved because something else is normal now.

    Parameters
    ----------
    monitor : str
    kind : {"anomalies", "alert_rate", "drift"}
    why : str
        What has been done.
    threshold : float
        The new one.

    Returns
    -------
    Alert
    """
    text = f"{monitor}: {_BEGUN[kind]} has ended: {why}, the threshold is {threshold:.4g} now"
    return Alert(monitor, kind, text, {"threshold": threshold}, resolved=True)
