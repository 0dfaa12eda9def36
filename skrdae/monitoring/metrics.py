"""Figures for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakValueDictionary, ref

import numpy as np

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Gauge

    from skrdae.monitoring.batch import BatchReport
    from skrdae.monitoring.drift import ScoreReference


class _Monitor(Protocol):
    """What the metrics are taken from: a :class:`~skrdae.monitoring.Monitor`."""

    name: str
    handlers: tuple[Any, ...]
    reference_: ScoreReference

    @property
    def n_handler_errors_(self) -> int: ...

    @property
    def n_waiting_alerts_(self) -> int: ...


class PrometheusMetrics:
    """What monitors see, as metrics of `prometheus_client`.

    One object serves any number of monitors, which are told apart by the label ``monitor``. To be
    scraped, call ``prometheus_client.start_http_server``, or mount its WSGI or ASGI application.

    Parameters
    ----------
    registry : prometheus_client.CollectorRegistry, optional
        By default the client's own.

    Raises
    ------
    ImportError
        Without prometheus_client.
    ValueError
        By prometheus_client, if the registry holds these metrics already.

    Notes
    -----
    ================================= ========= ==================================================
    metric                            type      meaning
    ================================= ========= ==================================================
    skrdae_rows_total                 counter   rows with a score
    skrdae_flagged_rows_total         counter   of these, flagged
    skrdae_alerts_total               counter   by ``kind`` and whether ``resolved``
    skrdae_handler_errors             gauge     times that a handler raised, and dropped alerts
    skrdae_undelivered_alerts         gauge     waiting for a handler that hangs; of webhooks:
                                                waiting, refused or unconfirmed
    skrdae_rows_above_total           counter   rows above a ``quantile`` of the reference
    skrdae_scoring_seconds            histogram time that the detector took, a batch
    skrdae_threshold                  gauge
    skrdae_expected_alert_rate        gauge     share of the reference that is flagged
    skrdae_alert_rate                 gauge     of the last window
    skrdae_effective_rows             gauge     independent rows that the last window is worth
    skrdae_stability_index            gauge     of the last window
    skrdae_ks_statistic               gauge     of the last window
    skrdae_anomalous                  gauge     1 during an incident of a ``SeriesMonitor``
    skrdae_drifting                   gauge     1 from a window that drifts to one that does not
    skrdae_drift_unknown              gauge     1 if the last window is worth too few rows to tell
    skrdae_alert_rate_high            gauge     1 if too many rows of the last window are flagged
    ================================= ========= ==================================================

    Examples
    --------
    >>> import numpy as np
    >>> from prometheus_client import CollectorRegistry, generate_latest
    >>> from skrdae import RobustDeepAutoencoder
    >>> from skrdae.monitoring import Monitor, PrometheusMetrics
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> detector = RobustDeepAutoencoder(random_state=0).fit(X)
    >>> registry = CollectorRegistry()
    >>> monitor = Monitor(detector, metrics=PrometheusMetrics(registry), name="pumps")
    >>> report = monitor.update(X[:50])
    >>> registry.get_sample_value("skrdae_rows_total", {"monitor": "pumps"})
    50.0
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        try:
            import prometheus_client as client
        except ImportError as error:
            raise ImportError(
                "PrometheusMetrics needs prometheus_client: pip install 'skrdae[monitoring]'."
            ) from error
        options: dict[str, Any]
        options = {"registry": client.REGISTRY if registry is None else registry}
        by_monitor = ("monitor",)

        def gauge(name: str, text: str) -> Gauge:
            return client.Gauge(f"skrdae_{name}", text, by_monitor, **options)

        self._rows = client.Counter("skrdae_rows", "Rows with a score", by_monitor, **options)
        self._flagged = client.Counter("skrdae_flagged_rows", "Rows flagged", by_monitor, **options)
        self._alerts = client.Counter(
            "skrdae_alerts", "Alerts", ("monitor", "kind", "resolved"), **options
        )
        self._above = client.Counter(
            "skrdae_rows_above",
            "Rows above a quantile of the reference",
            ("monitor", "quantile"),
            **options,
        )
        self._seconds = client.Histogram(
            "skrdae_scoring_seconds",
            "Time the detector took, a batch",
            by_monitor,
            buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0),
            **options,
        )
        self._of_monitor = {
            "threshold_": gauge("threshold", "Score above which a row is flagged"),
            "expected_rate_": gauge("expected_alert_rate", "Share of the reference flagged"),
            "anomalous_": gauge("anomalous", "1 during an incident of a SeriesMonitor"),
            "drifting_": gauge("drifting", "1 from a window that drifts to one that does not"),
            "rate_is_high_": gauge("alert_rate_high", "1 if too many rows are flagged"),
        }
        self._monitors: WeakValueDictionary[str, _Monitor] = WeakValueDictionary()
        self._errors = gauge("handler_errors", "Times that a handler raised, and dropped alerts")
        self._undelivered = gauge("undelivered_alerts", "Alerts not known to have arrived")
        self._unknown = gauge("drift_unknown", "1 if the last window is too short to tell a drift")
        self._of_window = {
            "n_effective": gauge("effective_rows", "Independent rows the last window is worth"),
            "alert_rate": gauge("alert_rate", "Share of the last window flagged"),
            "stability_index": gauge("stability_index", "Stability index of the last window"),
            "ks_statistic": gauge("ks_statistic", "Kolmogorov–Smirnov statistic of it"),
        }

    def observe(
        self,
        monitor: _Monitor,
        report: BatchReport | None = None,
        seconds: float | None = None,
    ) -> None:
        """Take note of what a monitor has seen; it calls this itself.

        Parameters
        ----------
        monitor : Monitor
        report : BatchReport, optional
        seconds : float, optional
            That the detector took for the batch.
        """
        name = monitor.name
        for attribute, metric in self._of_monitor.items():
            metric.labels(name).set(getattr(monitor, attribute, 0))
        rows, flagged = self._rows.labels(name), self._flagged.labels(name)
        if report is None:
            if self._monitors.setdefault(name, monitor) is not monitor:
                raise ValueError(f"name={name!r} is taken by another monitor with these metrics.")
            self._ask_at_scrapes(monitor)
            self._unknown.labels(name).set(0)
            return
        known = report.scores[~np.isnan(report.scores)]
        rows.inc(len(known))
        flagged.inc(int(report.labels.sum()))
        for quantile, n_above in monitor.reference_.n_above(known).items():
            self._above.labels(name, f"{quantile:g}").inc(n_above)
        for alert in report.alerts:
            self._alerts.labels(name, alert.kind, str(alert.resolved).lower()).inc()
        for window in report.windows:
            for attribute, metric in self._of_window.items():
                metric.labels(name).set(getattr(window, attribute))
            self._unknown.labels(name).set(window.drift_unknown)
        if seconds is not None:
            self._seconds.labels(name).observe(seconds)

    def _ask_at_scrapes(self, monitor: _Monitor) -> None:
        """Have figures asked for at every scrape that change between batches, too."""
        found = ref(monitor)  # a monitor that nobody holds any more is not kept for its metrics
        webhooks: list[Any] = [h for h in monitor.handlers if hasattr(h, "n_undelivered")]

        def undelivered() -> int:
            there = found()
            waiting = 0 if there is None else there.n_waiting_alerts_
            return waiting + sum(handler.n_undelivered for handler in webhooks)

        def errors() -> int:
            there = found()
            return 0 if there is None else there.n_handler_errors_

        self._undelivered.labels(monitor.name).set_function(undelivered)
        self._errors.labels(monitor.name).set_function(errors)
