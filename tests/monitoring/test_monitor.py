import json
import logging
import threading

import numpy as np
import pytest
from optional import Optional
from pyod.models.hbos import HBOS
from scipy.sparse import csr_matrix
from scipy.stats import ks_2samp, norm
from sklearn.base import clone
from sklearn.ensemble import IsolationForest
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrdae import CalibratedDetector, RobustDeepAutoencoder, VAEDetector, WindowedDetector
from skrdae.metrics import anomaly_scores
from skrdae.monitoring import Alert, LoggingHandler, Monitor, ScoreReference
from skrdae.monitoring.rates import FlagReference

pd = Optional("pandas")


def _rows(n, seed, noise=0.1):
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(0).normal(size=(2, 6))
    return rng.normal(size=(n, 2)) @ mixing + noise * rng.normal(size=(n, 6))


@pytest.fixture(scope="module")
def detector():
    return RobustDeepAutoencoder(contamination=0.01, random_state=0).fit(_rows(1000, 1))


def _monitor(detector, **options):
    reference = detector.decision_function(_rows(2000, 2))
    return Monitor(detector, **({"reference": reference, "window_size": 200} | options))


def _told(report):
    return [(alert.kind, alert.resolved) for alert in report.alerts]


def test_scores_and_labels_are_those_of_the_detector(detector):
    X = _rows(500, 3)
    monitor = Monitor(detector)
    report = monitor.update(X)
    assert np.array_equal(report.scores, detector.decision_function(X))
    assert np.array_equal(report.labels, detector.predict(X))
    assert monitor.threshold_ == detector.threshold_
    assert np.array_equal(monitor.reference_.scores, np.sort(detector.decision_scores_))
    assert monitor.expected_rate_ == pytest.approx(0.01, abs=0.001)


def test_flagged_rows_are_one_alert_a_batch(detector):
    told = []
    monitor = _monitor(detector, handlers=[told.append], name="pumps")
    X = pd.DataFrame(_rows(100, 4), index=[f"p{i}" for i in range(100)])
    X.iloc[[7, 60]] += 30 * np.random.default_rng(5).normal(size=(2, 6))
    report = monitor.update(X)
    assert report.alerts == told
    assert [(a.monitor, a.kind, a.resolved) for a in told] == [("pumps", "anomalies", False)]
    details = told[0].details
    assert details["n_flagged"] == report.labels.sum()
    listed = [(row["row"], row["name"], row["score"]) for row in details["rows"]]
    order = np.argsort(-report.scores)[: len(listed)]
    assert listed == [(int(i), f"p{i}", float(report.scores[i])) for i in order]
    assert {60, 7} == set(order[:2])
    assert f"row p{order[0]}" in told[0].text
    assert monitor.update(_rows(50, 6)[:1]).alerts == []
    assert len(told) == 1


def test_drift_is_told_when_it_begins_and_when_it_ends(detector):
    monitor = _monitor(detector)
    assert not any(w.drifting for w in monitor.update(_rows(2000, 7)).windows)
    worse = monitor.update(_rows(800, 8, noise=1.0))
    assert [w.drifting for w in worse.windows] == [True] * 4
    assert all(type(w.drifting) is bool for w in worse.windows)
    assert [told for told in _told(worse) if told[0] == "drift"] == [("drift", False)]
    assert [told for told in _told(worse) if told[0] == "alert_rate"] == [("alert_rate", False)]
    assert monitor.drifting_
    assert monitor.rate_is_high_
    better = monitor.update(_rows(600, 9))
    assert [told for told in _told(better) if told[0] != "anomalies"] == [
        ("alert_rate", True),
        ("drift", True),
    ]
    assert not monitor.drifting_
    # Scores too low to be normal are a drift as well: a sensor that stands still.
    still = monitor.update(np.repeat(_rows(1, 10), 400, axis=0))
    assert ("drift", False) in _told(still)
    assert ("alert_rate", False) not in _told(still)


@pytest.mark.parametrize("n_reference", [50, 1000])
@pytest.mark.parametrize("n_rows", [100, 1000])
def test_chance_hardly_ever_flags_too_many(n_reference, n_rows):
    # One in a thousand; a normal approximation, or the rate taken for exact, gives up to a third.
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(1000):
        scores = rng.lognormal(size=n_reference)
        threshold = np.quantile(scores, 0.97)
        reference = FlagReference(scores > threshold)
        independent = ScoreReference(scores).expected_evidence(n_rows)
        n_flagged = rng.binomial(n_rows, _exceeds(threshold))
        found += reference.too_often(n_flagged, n_rows, independent) is True
    assert found <= 5


def _exceeds(value):
    """The probability that a standard log-normal number is above a value."""
    return float(norm.sf(np.log(value)))


@pytest.mark.parametrize("drift", ["psi", "ks"])
def test_chance_is_hardly_ever_a_drift(drift):
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(20):
        scores = rng.lognormal(size=1000)
        monitor = Monitor(
            _Fitted(), reference=scores, threshold=np.quantile(scores, 0.99),
            window_size=100, drift=drift,
        )  # fmt: skip
        windows = monitor.update_scores(rng.lognormal(size=5000)).windows
        found += sum(w.drifting or w.rate_is_high for w in windows)
    assert found <= 8  # of a thousand windows, one in a thousand by either


class _Fitted:
    def decision_function(self, X):
        return np.asarray(X).sum(axis=1)


def test_windows_do_not_depend_on_the_batches(detector):
    X = np.concatenate([_rows(700, 11), _rows(500, 12, noise=1.0), _rows(433, 13)])
    whole = _monitor(detector).update(X)
    assert len(whole.windows) == 8
    assert [w.first_row for w in whole.windows] == list(range(0, 1600, 200))
    monitor = _monitor(detector)
    reports, places = [], np.random.default_rng(0).choice(len(X), 90, replace=False)
    for part in np.split(X, np.sort(places)):
        if len(part):
            reports.append(monitor.update(part))
    assert [w for r in reports for w in r.windows] == whole.windows
    slow = [a for r in reports for a in r.alerts if a.kind != "anomalies"]
    fast = [a for a in whole.alerts if a.kind != "anomalies"]
    assert [(a.kind, a.resolved, a.text) for a in slow] == [
        (a.kind, a.resolved, a.text) for a in fast
    ]
    assert monitor.n_rows_ == len(X)


def test_figures_are_those_of_the_definitions():
    rng = np.random.default_rng(0)
    reference, scores = rng.normal(size=1000), rng.normal(loc=0.3, size=500)
    found = ScoreReference(reference)
    edges = np.quantile(reference, np.arange(0.1, 0.95, 0.1))
    p = np.bincount((reference[:, None] > edges).sum(axis=1), minlength=10) / 1000
    q = np.bincount((scores[:, None] > edges).sum(axis=1), minlength=10) / 500
    expected = ((q - p) * np.log(q / p)).sum()
    assert found.stability_index(scores) == pytest.approx(expected, rel=0.05)
    statistic, p_value = found.kolmogorov_smirnov(scores, 1 / (1 / 1000 + 1 / 500))
    both = np.sort(np.concatenate([reference, scores]))
    shares = [np.searchsorted(np.sort(s), both, side="right") / len(s) for s in (reference, scores)]
    assert statistic == pytest.approx(np.abs(shares[0] - shares[1]).max())
    assert p_value == pytest.approx(ks_2samp(reference, scores, method="asymp").pvalue, rel=0.5)
    assert p_value < 1e-3
    assert found.stability_limit(100_000) == 0.25
    assert found.stability_limit(50) > 0.5
    for decimals in (0, 1, 9):  # with many ties, and with none
        one, other = reference.round(decimals), scores.round(decimals)
        statistic = ScoreReference(one).kolmogorov_smirnov(other, 1.0)[0]
        assert statistic == pytest.approx(ks_2samp(one, other, method="asymp").statistic)
    # Most scores tied, and bins that nothing falls in.
    tied = ScoreReference(np.r_[np.zeros(900), rng.random(100)])
    assert np.isfinite(tied.stability_index(np.full(50, 9.0)))
    assert tied.stability_index(np.full(50, 9.0)) > 1


def test_a_new_threshold_and_a_new_normal(detector):
    told = []
    monitor = _monitor(detector, handlers=[told.append])
    with pytest.raises(ValueError, match="No window of 200 rows"):
        monitor.recalibrate()
    changed = _rows(600, 14, noise=1.0)
    monitor.update(changed[:450])
    assert monitor.drifting_
    before = detector.threshold_
    report = monitor.recalibrate(contamination=0.05)
    assert _told(report) == [("alert_rate", True), ("drift", True)]
    assert not monitor.drifting_
    since = detector.decision_function(changed[:400])  # both windows drifted
    assert monitor.threshold_ == pytest.approx(np.quantile(since, 0.95))
    assert monitor.expected_rate_ == pytest.approx(0.05, abs=0.005)
    assert detector.threshold_ == before
    after = monitor.update(changed[400:])
    assert [w.drifting for w in after.windows] == [False]
    assert after.windows[0].first_row == 450  # what was pending is not looked at again
    assert monitor.update(_rows(200, 15)).windows[0].drifting  # the old normal is none now
    for wrong in (0, 0.7, "many", True and -1):
        with pytest.raises(ValueError, match="contamination"):
            monitor.recalibrate(contamination=wrong)
    with pytest.raises(ValueError, match="reference"):
        monitor.recalibrate(scores=[1.0, np.nan] * 10)
    assert monitor.drifting_


def test_labels_are_no_scores(detector):
    X = _rows(300, 2)
    labels = detector.predict(X)
    with pytest.raises(ValueError, match=r"reference holds labels \(0 and 1.*decision_function"):
        Monitor(detector, reference=labels)
    monitor = _monitor(detector)
    with pytest.raises(ValueError, match=r"scores holds labels \(-1 and 1"):
        monitor.recalibrate(scores=1 - 2 * labels)


def test_the_detector_can_be_fitted_again(detector):
    rng = np.random.default_rng(0)
    later = 5 + rng.normal(size=(600, 6))
    monitor = Monitor(detector, threshold=1e9, window_size=200)  # of the scores of this fit
    monitor.update(later[:200])
    assert monitor.drifting_
    monitor.refit(later[:400])
    assert not monitor.drifting_
    again = clone(detector).fit(later[:400])
    report = monitor.update(later[400:])
    assert np.array_equal(report.scores, again.decision_function(later[400:]))
    assert np.array_equal(report.labels, again.predict(later[400:]))
    assert not report.windows[0].drifting
    search = GridSearchCV(
        make_pipeline(StandardScaler(), IsolationForest(random_state=0)),
        {"isolationforest__n_estimators": [7]},
        scoring=lambda found, X, y=None: 0.0,
    ).fit(later)
    monitor = Monitor(search, reference=later)
    monitor.refit(later + 9, reference=later + 9)
    assert monitor.detector[-1].n_estimators == 7
    assert monitor.detector[0].mean_ == pytest.approx(later.mean(axis=0) + 9)
    with pytest.raises(TypeError, match=r"FrozenEstimator.*pass the estimator within"):
        Monitor(FrozenEstimator(detector)).refit(later)
    monitor = Monitor(detector)
    with pytest.raises(ValueError, match=r"reference must hold rows or series, not scores"):
        monitor.refit(later, reference=detector.decision_scores_)
    assert monitor.detector is detector


def test_rows_that_a_detector_scores_while_it_is_replaced_are_scored_again(detector):
    rng = np.random.default_rng(0)
    later = 5 + rng.normal(size=(400, 6))
    monitor = Monitor(detector, window_size=200)
    scoring = monitor._of_rows

    def meanwhile(X):
        found = scoring(X)
        monitor._of_rows = scoring
        monitor.refit(later)
        return found

    monitor._of_rows = meanwhile
    report = monitor.update(later)
    assert np.array_equal(report.scores, monitor.detector.decision_function(later))
    assert monitor.n_rows_ == 400


def test_a_handler_that_fails_stops_nothing(detector, caplog):
    told = []

    def broken(alert):
        raise RuntimeError("no line")

    monitor = _monitor(detector, handlers=[broken, told.append])
    for seed in range(3):
        monitor.update(_rows(20, seed, noise=3.0))
    assert len(told) == 3
    assert monitor.n_handler_errors_ == 3
    assert [r.exc_info[0] for r in caplog.records] == [RuntimeError] * 3


def test_rows_that_cannot_be_scored_count_as_not_seen(detector):
    monitor = _monitor(detector)
    monitor.update(_rows(30, 0))
    for wrong in (np.full((3, 6), np.nan), np.zeros((3, 5))):
        with pytest.raises(ValueError, match=r"NaN|features"):
            monitor.update(wrong)
    with pytest.raises(ValueError, match="finite"):
        monitor.update_scores([1.0, np.inf])
    with pytest.raises(ValueError, match="one dimension"):
        monitor.update_scores([[1.0]])
    assert monitor.n_rows_ == 30
    report = monitor.update_scores([np.nan, 1e9])
    assert report.labels.tolist() == [0, 1]
    assert monitor.n_rows_ == 31


def test_any_detector_can_be_watched():
    X = _rows(600, 1)
    X[:6] += 10
    pipeline = make_pipeline(StandardScaler(), VAEDetector(random_state=0))
    for found in (HBOS(), pipeline):
        found.fit(X)
        report = Monitor(found, window_size=600).update(X)
        assert report.labels[:6].all(), found
        assert report.labels.mean() == pytest.approx(0.1, abs=0.02)
        assert not report.windows[0].drifting
    forest = IsolationForest(random_state=0, contamination=0.05).fit(X)
    with pytest.raises(ValueError, match=r"IsolationForest has no decision_scores_.*reference"):
        Monitor(forest)
    reference = anomaly_scores(forest, X)
    for options in ({}, {"threshold": 0.0}):
        report = Monitor(forest, reference=reference, **options).update(X)
        assert np.array_equal(report.labels, (forest.predict(X) == -1).astype(int))


def test_a_series_step_by_step():
    series = np.sin(np.arange(900) / 4) + 0.05 * np.random.default_rng(0).normal(size=900)
    inner = RobustDeepAutoencoder(n_estimators=1, random_state=0)
    detector = WindowedDetector(inner, window_size=25).fit(series[:600])
    series[800:805] = 3.0
    options = {
        "reference": detector.window_scores_,
        "threshold": np.quantile(detector.window_scores_, 0.999),
        "window_size": 50,
    }
    # Windows of 50 steps share most of what they see.
    with pytest.warns(UserWarning, match="a window of 50 rows [0-9.]+"):
        monitor = Monitor(detector, **options)
    found = []
    for step in range(700, 900):
        report = monitor.update_scores([detector.score_new(series[: step + 1])])
        found += [step] * bool(report.labels[0])
    assert found[0] == 800
    assert set(range(801, 806)) <= set(found)
    assert monitor.n_rows_ == 200


def test_steps_without_a_score_are_not_made_up():
    stamps = pd.date_range("2026-01-01", periods=300, freq="5min")
    rng = np.random.default_rng(0)
    series = pd.DataFrame({"flow": np.sin(np.arange(300) / 4) + rng.normal(size=300)}, index=stamps)
    inner = RobustDeepAutoencoder(n_estimators=1, random_state=0)
    detector = WindowedDetector(inner, window_size=25, on_gap="split").fit(series)
    holed = series.drop(series.index[[60, 80]])[:150]
    report = Monitor(detector, window_size=50, drift_limit=1.0).update(holed)
    assert np.array_equal(np.isnan(report.scores), np.isnan(detector.decision_function(holed)))
    assert np.isnan(report.scores).sum() == 19
    assert sum(w.n_rows for w in report.windows) == 100
    # Neither do they count in a reference.
    scores = detector.decision_function(holed)
    holes = Monitor(detector, reference=scores, threshold=1.0, window_size=50, drift_limit=1.0)
    assert np.array_equal(holes.reference_.scores, np.sort(scores[~np.isnan(scores)]))


def test_threads_lose_no_row_and_tell_everything_once(detector):
    told = []
    monitor = _monitor(detector, handlers=[told.append])
    X = [_rows(97, seed, noise=1.0) for seed in range(40)]
    reports = [None] * 40

    def work(first):
        for i in range(first, 40, 8):
            reports[i] = monitor.update(X[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert monitor.n_rows_ == 97 * 40
    windows = [w for r in reports for w in r.windows]
    assert sorted(w.first_row for w in windows) == list(range(0, 97 * 40 - 199, 200))
    alerts = [a for r in reports for a in r.alerts]
    assert len({a.id for a in told}) == len(told) == len(alerts)
    assert sum(a.kind == "drift" for a in told) == 1
    n_flagged = sum(a.details["n_flagged"] for a in told if a.kind == "anomalies")
    assert n_flagged == sum(r.labels.sum() for r in reports)
    for i in range(40):
        assert np.array_equal(reports[i].scores, detector.decision_function(X[i]))


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"window_size": 10}, ValueError, "window_size must be at least 50"),
        ({"window_size": 0.5}, TypeError, "window_size"),
        ({"drift": "chi2"}, ValueError, "drift"),
        ({"drift_limit": 0}, ValueError, "drift_limit"),
        ({"rate_limit": 2}, ValueError, "rate_limit"),
        ({"handlers": ["slack"]}, TypeError, "handlers"),
        ({"drift": "ks", "drift_limit": 5}, ValueError, "p-value"),
        ({"drift_limit": True}, ValueError, "drift_limit"),
        ({"name": None}, TypeError, "name"),
        ({"name": ""}, TypeError, "name"),
        ({"name": "pump \udcff"}, ValueError, "name must not hold .*udcff"),
        ({"name": "pump\n1"}, ValueError, "name must not hold"),
        ({"name": "pump\0"}, ValueError, "name must not hold"),
        ({"metrics": "prometheus"}, TypeError, "metrics"),
        ({"threshold": "high"}, ValueError, "threshold"),
        ({"threshold": [1.0]}, ValueError, "threshold"),
        ({"reference": [1.0, 2.0]}, ValueError, "at least 10"),
        ({"reference": [1.0, np.inf] * 10}, ValueError, "finite"),
        ({"reference": [np.nan] * 20}, ValueError, "at least 10"),
        ({"reference": [1.0] * 20}, ValueError, "one score only"),
        ({"threshold": np.nan}, ValueError, "threshold"),
    ],
)
def test_wrong_arguments(detector, options, error, words):
    with pytest.raises(error, match=words):
        _monitor(detector, **options)


def test_what_is_not_fitted():
    with pytest.raises(ValueError, match="no decision_scores_: pass reference"):
        Monitor(RobustDeepAutoencoder())


def test_limits_of_ones_own(detector):
    X = _rows(400, 16)
    strict = _monitor(detector, drift_limit=1e-6, rate_limit=1e-6).update(X)
    assert all(w.drifting for w in strict.windows)
    loose = _monitor(detector, drift_limit=1e6, rate_limit=0.999).update(_rows(400, 16, noise=1.0))
    assert not any(w.drifting or w.rate_is_high for w in loose.windows)


def test_logging(caplog):
    caplog.set_level(logging.INFO)
    handler = LoggingHandler("plant.alerts", logging.ERROR)
    handler(Alert("pumps", "drift", "100 % of it"))
    handler(Alert("pumps", "drift", "over", resolved=True))
    assert [(r.name, r.levelname, r.message) for r in caplog.records] == [
        ("plant.alerts", "ERROR", "100 % of it"),
        ("plant.alerts", "INFO", "over"),
    ]
    assert caplog.records[0].alert["monitor"] == "pumps"


def test_alerts_are_of_jsons_types(detector):
    import json

    monitor = _monitor(detector)
    alerts = monitor.update(pd.DataFrame(_rows(400, 17, noise=1.0))).alerts
    alerts += monitor.recalibrate().alerts
    assert {a.kind for a in alerts} == {"anomalies", "alert_rate", "drift"}
    for alert in alerts:
        assert json.loads(json.dumps(alert.as_dict(), allow_nan=False)) == alert.as_dict()


# ------------------------------------------------------------------------------ reasons


def test_an_alert_says_why_and_how_rare():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(300, 4)), columns=["a", "b", "c", "d"])
    detector = RobustDeepAutoencoder(n_estimators=2, contamination=0.01, random_state=0)
    batch = table.iloc[:50].copy()
    batch.iloc[7, 2] = 25.0
    scaled = make_pipeline(StandardScaler().set_output(transform="pandas"), detector)
    for model in (clone(detector), scaled):
        (alert,) = Monitor(model.fit(table), window_size=50).update(batch).alerts[:1]
        row = alert.details["rows"][0]
        assert row["row"] == 7
        assert row["reasons"][0]["feature"] == "c"
        assert "; most by c" in alert.text
        assert "p_value" not in row
        contributions = [reason["contribution"] for reason in row["reasons"]]
        assert contributions == sorted(contributions, reverse=True)
        json.dumps(alert.as_dict())
    calibrated = CalibratedDetector(detector, max_fpr=0.01, random_state=0).fit(table.to_numpy())
    (alert,) = Monitor(calibrated, window_size=50).update(batch.to_numpy()).alerts[:1]
    row = alert.details["rows"][0]
    assert row["p_value"] == pytest.approx(1 / 301)
    assert row["reasons"][0]["feature"] == "feature 2"


@pytest.mark.filterwarnings("ignore:skrdae. (By how much neighbouring|The) scores")
def test_reasons_of_series_sparse_rows_and_detectors_without_any():
    rng = np.random.default_rng(0)
    series = np.sin(np.arange(400)[:, None] / 4 + np.arange(3)) + 0.1 * rng.normal(size=(400, 3))
    inner = RobustDeepAutoencoder(n_estimators=1, random_state=0)
    windowed = WindowedDetector(inner, window_size=12).fit(series)
    new = series[:100].copy()
    new[50:70, 1] = 4.0
    (alert,) = Monitor(windowed, window_size=100).update(new).alerts[:1]
    assert alert.details["rows"][0]["reasons"][0]["feature"] == "feature 1"
    calibrated = CalibratedDetector(windowed, cv=2, random_state=0).fit(series)
    (alert,) = Monitor(calibrated, window_size=100).update(new).alerts[:1]
    for row in alert.details["rows"]:
        assert row["p_value"] == calibrated.p_values(new)[row["row"]]
    X = csr_matrix(np.where(rng.random((300, 5)) < 0.3, rng.normal(size=(300, 5)), 0))
    sparse = RobustDeepAutoencoder(
        n_estimators=1, contamination=0.1, device="cpu", random_state=0
    ).fit(X)
    (alert,) = Monitor(sparse, window_size=100).update(X[:90]).alerts[:1]
    assert all(row["reasons"] for row in alert.details["rows"])
    forest = IsolationForest(random_state=0).fit(series)
    (alert,) = Monitor(forest, reference=series, window_size=100).update(new * 9).alerts[:1]
    assert "reasons" not in alert.details["rows"][0]


def test_rows_that_cannot_be_explained_are_told_of_all_the_same(caplog):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    detector = RobustDeepAutoencoder(n_estimators=1, contamination=0.1, random_state=0).fit(X)

    def fails(X):
        raise RuntimeError("no reasons today")

    detector.explain = fails
    monitor = Monitor(detector, window_size=100)
    (alert,) = monitor.update(X[:90]).alerts[:1]
    assert "reasons" not in alert.details["rows"][0]
    assert monitor.n_rows_ == 90
    assert "could not be explained" in caplog.text
