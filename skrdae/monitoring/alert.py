"""What a monitor has to say, and the plainest way to say it."""

import logging
import uuid
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

AlertKind: TypeAlias = Literal["anomalies", "alert_rate", "drift"]


@dataclass(frozen=True)
class Alert:
    """Something that a monitor noticed.

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
