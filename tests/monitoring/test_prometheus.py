import json
import re
import sys
import threading
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.parser import text_string_to_metric_families

from skrdae import RobustDeepAutoencoder
from skrdae.monitoring import Alert, Monitor, PrometheusMetrics, WebhookHandler, dispatch

DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana_dashboard.json"


@pytest.fixture
def scrape(monkeypatch):
    """A registry, served by a real end point, and a function that scrapes it."""
    monkeypatch.setenv("no_proxy", "*")
    registry = CollectorRegistry()
    server, thread = start_http_server(0, "127.0.0.1", registry)

    def values():
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics") as answer:
            text = answer.read().decode()
        return {
            (sample.name, *(v for k, v in sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    yield registry, values
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_scrape_says_what_the_monitors_saw(scrape):
    registry, values = scrape
    X = np.random.default_rng(0).normal(size=(1000, 4))
    detector = RobustDeepAutoencoder(contamination=0.02, random_state=0).fit(X)
    metrics = PrometheusMetrics(registry)
    pumps = Monitor(detector, window_size=100, metrics=metrics, name="pumps")
    fans = Monitor(detector, window_size=100, metrics=metrics, name="fans")
    found = values()
    assert found["skrdae_threshold", "pumps"] == detector.threshold_
    assert found["skrdae_rows_total", "fans"] == 0

    report = pumps.update(X)
    more = pumps.update(X[:250] + 3)
    pumps.update_scores([np.nan, np.nan])
    found = values()
    scores = np.concatenate([report.scores, more.scores])
    labels = np.concatenate([report.labels, more.labels])
    assert found["skrdae_rows_total", "pumps"] == 1250
    assert found["skrdae_flagged_rows_total", "pumps"] == labels.sum()
    last = (report.windows + more.windows)[-1]
    assert found["skrdae_alert_rate", "pumps"] == last.alert_rate
    assert found["skrdae_stability_index", "pumps"] == last.stability_index
    assert found["skrdae_ks_statistic", "pumps"] == last.ks_statistic
    assert found["skrdae_effective_rows", "pumps"] == last.n_effective
    assert found["skrdae_drifting", "pumps"] == last.drifting == 1
    assert found["skrdae_drift_unknown", "pumps"] == found["skrdae_drift_unknown", "fans"] == 0
    assert found["skrdae_alert_rate_high", "pumps"] == last.rate_is_high == 1
    assert found["skrdae_expected_alert_rate", "pumps"] == pumps.expected_rate_
    assert found["skrdae_scoring_seconds_count", "pumps"] == 2
    for q in (0.5, 0.9, 0.99, 0.999):
        above = (scores > np.quantile(report.scores, q)).sum()
        assert found["skrdae_rows_above_total", "pumps", f"{q:g}"] == above
    alerts = report.alerts + more.alerts
    for kind in ("anomalies", "alert_rate", "drift"):
        n = sum(a.kind == kind and not a.resolved for a in alerts)
        assert found.get(("skrdae_alerts_total", kind, "pumps", "false"), 0) == n
    assert found["skrdae_rows_total", "fans"] == 0
    assert fans.n_rows_ == 0

    pumps.recalibrate(contamination=0.1)
    found = values()
    assert found["skrdae_threshold", "pumps"] == pumps.threshold_
    assert found["skrdae_drifting", "pumps"] == 0
    assert found["skrdae_alerts_total", "drift", "pumps", "true"] == 1


def test_undelivered_alerts_show(scrape):
    registry, values = scrape
    X = np.random.default_rng(0).normal(size=(100, 3))
    detector = RobustDeepAutoencoder(random_state=0).fit(X)
    handler = WebhookHandler("http://127.0.0.1:9/none")
    Monitor(detector, handlers=[handler, print], metrics=PrometheusMetrics(registry))
    handler(Alert("pumps", "drift", "x"))
    assert values()["skrdae_undelivered_alerts", "skrdae"] == 1
    handler.close(timeout=0.1)
    assert values()["skrdae_undelivered_alerts", "skrdae"] == 1


def test_alerts_behind_a_handler_that_hangs_show(scrape, monkeypatch):
    registry, values = scrape
    monkeypatch.setattr(dispatch, "_PATIENCE", 0.05)
    X = np.random.default_rng(0).normal(size=(200, 3))
    detector = RobustDeepAutoencoder(random_state=0).fit(X)
    entered, released = threading.Event(), threading.Event()

    def handler(alert):
        entered.set()
        released.wait(60)
        raise RuntimeError("no line")

    monitor = Monitor(detector, handlers=handler, metrics=PrometheusMetrics(registry))
    held = threading.Thread(target=monitor.update, args=(5 * X,))
    held.start()
    assert entered.wait(60)
    monitor.update(5 * X)
    assert values()["skrdae_undelivered_alerts", "skrdae"] == 1
    released.set()
    held.join()
    found = values()
    assert found["skrdae_undelivered_alerts", "skrdae"] == 0
    assert found["skrdae_handler_errors", "skrdae"] == 2


def test_a_drift_that_cannot_be_told_shows(scrape):
    registry, values = scrape
    steps = np.random.default_rng(0).normal(size=5000)
    scores = np.convolve(steps, np.ones(50), "valid")
    detector = RobustDeepAutoencoder(random_state=0).fit(np.c_[steps, steps[::-1]])
    options = {"reference": scores[:4000], "threshold": 15.0, "window_size": 500}
    with pytest.warns(UserWarning, match="too few"):
        monitor = Monitor(detector, metrics=PrometheusMetrics(registry), **options)
    assert values()["skrdae_drift_unknown", "skrdae"] == 0  # there is no window yet
    window = monitor.update_scores(scores[4000:4500]).windows[0]
    found = values()
    assert found["skrdae_drift_unknown", "skrdae"] == window.drift_unknown == 1
    assert found["skrdae_effective_rows", "skrdae"] == window.n_effective
    assert found["skrdae_drifting", "skrdae"] == 0


def test_monitors_of_one_name_are_refused(scrape):
    X = np.random.default_rng(0).normal(size=(100, 3))
    detector = RobustDeepAutoencoder(random_state=0).fit(X)
    metrics = PrometheusMetrics(scrape[0])
    first = Monitor(detector, metrics=metrics)
    with pytest.raises(ValueError, match="name='skrdae' is taken"):
        Monitor(detector, metrics=metrics)
    Monitor(detector, metrics=metrics, name=first.name + " 2")


def test_the_dashboard_asks_for_metrics_that_are_there(scrape):
    registry, values = scrape
    X = np.random.default_rng(0).normal(size=(300, 3))
    detector = RobustDeepAutoencoder(random_state=0).fit(X)
    monitor = Monitor(detector, window_size=100, metrics=PrometheusMetrics(registry))
    monitor.update(X)
    known = {name for name, *_ in values()}
    dashboard = json.loads(DASHBOARD.read_text())
    queries = [t["expr"] for panel in dashboard["panels"] for t in panel.get("targets", [])]
    queries += [v["query"] for v in dashboard["templating"]["list"] if v["type"] == "query"]
    asked = {name for query in queries for name in re.findall(r"skrdae_\w+", query)}
    assert asked - known == set()
    ends = re.compile(r"_(bucket|sum|count|created|total)$")
    shown = {ends.sub("", name) for name in known if name.startswith("skrdae_")}
    assert {ends.sub("", name) for name in asked} == shown


def test_without_the_client_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ImportError, match=r"skrdae\[monitoring\]"):
        PrometheusMetrics()
