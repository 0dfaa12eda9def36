"""Watching a detector at work: alerts, the rate of alerts, drift of the scores, and who is told."""

from skrdae.monitoring.alert import Alert, LoggingHandler
from skrdae.monitoring.drift import ScoreReference
from skrdae.monitoring.metrics import PrometheusMetrics
from skrdae.monitoring.monitor import Monitor
from skrdae.monitoring.reports import BatchReport, WindowReport
from skrdae.monitoring.webhook import WebhookHandler

__all__ = [
    "Alert",
    "BatchReport",
    "LoggingHandler",
    "Monitor",
    "PrometheusMetrics",
    "ScoreReference",
    "WebhookHandler",
    "WindowReport",
]
