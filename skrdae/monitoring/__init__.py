"""Watching a detector at work: alerts, the rate of alerts, drift of the scores, and who is told."""

from skrdae.monitoring.alert import Alert, LoggingHandler
from skrdae.monitoring.batch import BatchReport
from skrdae.monitoring.drift import ScoreReference
from skrdae.monitoring.metrics import PrometheusMetrics
from skrdae.monitoring.monitor import Monitor
from skrdae.monitoring.series_monitor import SeriesMonitor
from skrdae.monitoring.webhook import WebhookHandler
from skrdae.monitoring.window import WindowReport

__all__ = [
    "Alert",
    "BatchReport",
    "LoggingHandler",
    "Monitor",
    "PrometheusMetrics",
    "ScoreReference",
    "SeriesMonitor",
    "WebhookHandler",
    "WindowReport",
]
