"""A series watched step by step: incidents, reasons, p-values, a new normal."""

import copy

import numpy as np
import pytest
from optional import Optional

from skrdae import CalibratedDetector, RobustDeepAutoencoder, WindowedDetector
from skrdae.monitoring import Monitor, SeriesMonitor
from skrdae.monitoring.verdict import Judge
from skrdae.thresholds import tune_threshold

pd = Optional("pandas")
SIZE = 20


def _series(n, seed, noise=0.1):
    rng = np.random.default_rng(seed)
    steps = np.arange(n)[:, None] + rng.integers(100)
    return np.sin(steps / 4 + [0, 1]) + noise * rng.normal(size=(n, 2))


def _windowed():
    return WindowedDetector(RobustDeepAutoencoder(n_estimators=2, random_state=0), window_size=SIZE)


@pytest.fixture(scope="module")
def calibrated():
    return CalibratedDetector(_windowed(), max_fpr=0.005, cv=3, random_state=0).fit(
        _series(6000, 0)
    )


def _watched(monitor, series, start=SIZE):
    reports = [monitor.update(series[:stop][-SIZE:]) for stop in range(start, len(series) + 1)]
    return reports, [alert for report in reports for alert in report.alerts]


def test_a_step_is_what_the_detector_says_of_the_newest(calibrated):
    new = _series(200, 1)
    new[150] += 3
    monitor = SeriesMonitor(calibrated)
    reports, _ = _watched(monitor, new)
    for report, stop in zip(reports, range(SIZE, 201), strict=True):
        assert report.scores.tolist() == [calibrated.score_new(new[:stop])]
        assert report.p_values.tolist() == [calibrated.p_value_new(new[:stop])]
        assert report.labels.tolist() == [calibrated.predict_new(new[:stop])]
    plain = _windowed().fit(_series(3000, 0))
    reports, _ = _watched(SeriesMonitor(plain), new)
    plain._own_limits = None  # a window is not searched for single steps
    for report, stop in zip(reports, range(SIZE, 201), strict=True):
        assert report.scores.tolist() == [plain.score_new(new[:stop])]
        assert report.labels.tolist() == [plain.predict(new[stop - SIZE : stop])[-1]]
        assert report.p_values is None


def test_flagged_steps_make_one_incident_that_says_why(calibrated):
    frame = pd.DataFrame(_series(300, 2), columns=["flow", "level"])
    frame.index = pd.date_range("2026-01-01", periods=300, freq="min")
    frame.iloc[[100, 110], 1] += 4  # while windows hold the first, the second comes
    frame.iloc[200, 0] -= 4
    named = CalibratedDetector(_windowed(), max_fpr=0.005, cv=3, random_state=0)
    named.fit(
        pd.DataFrame(_series(6000, 0), columns=["flow", "level"]).set_index(
            pd.date_range("2025-01-01", periods=6000, freq="min")
        )
    )
    monitor = SeriesMonitor(named, name="pump")
    _, alerts = _watched(monitor, frame)
    assert [(alert.kind, alert.resolved) for alert in alerts] == 2 * [
        ("anomalies", False),
        ("anomalies", True),
    ]
    begin, end, other, _ = alerts
    (step,) = begin.details["rows"]
    assert step["name"] == "2026-01-01 01:40:00"
    assert step["row"] == 100 - SIZE + 1
    assert step["p_value"] <= 0.005
    assert step["reasons"][0]["feature"] == "level"
    assert "2026-01-01 01:40:00 is flagged" in begin.text
    assert "most by level" in begin.text
    assert other.details["rows"][0]["reasons"][0]["feature"] == "flow"
    assert end.details["first"] == "2026-01-01 01:40:00"
    assert 110 <= 60 * int(end.details["last"][11:13]) + int(end.details["last"][14:16]) < 130
    assert end.details["rows"][0]["reasons"][0]["feature"] == "level"
    assert not monitor.anomalous_


def test_an_incident_keeps_the_window_that_it_tells_of():
    series, new = _series(600, 0), _series(100, 1)
    new[60, 1] += 4
    detector = _windowed().fit(series)
    monitor, buffer, alerts = SeriesMonitor(detector), np.empty((SIZE, 2)), []
    expected = None
    for stop in range(SIZE, 101):
        buffer[:] = new[stop - SIZE : stop]
        report = monitor.update(buffer)
        alerts += report.alerts
        if report.labels[0] and (expected is None or report.scores[0] > expected[0]):
            expected = report.scores[0], detector.explain(buffer)[-1].max()
    (step,) = alerts[1].details["rows"]
    assert alerts[1].resolved
    assert step["reasons"][0] == {"feature": "feature 1", "contribution": expected[1]}


def test_steps_without_a_score_end_nothing(calibrated):
    monitor = SeriesMonitor(calibrated)
    limit = monitor.threshold_
    monitor.update_scores([limit + 9])
    assert monitor.anomalous_
    assert not monitor.update_scores(np.full(500, np.nan)).alerts
    assert not monitor.update_scores(np.full(SIZE - 1, limit - 1)).alerts
    assert [a.resolved for a in monitor.update_scores([limit - 1]).alerts] == [True]
    gap = [limit + 9, np.nan, limit + 9]
    (begin,), (end,) = (monitor.update_scores(s).alerts for s in (gap, np.full(SIZE, limit - 1)))
    first = 1 + 500 + SIZE
    assert begin.details["rows"][0]["row"] == first
    assert "2 of 3 steps" in end.text
    assert end.details["last"] == str(first + 2)
    split = WindowedDetector(RobustDeepAutoencoder(random_state=0), window_size=5, on_gap="split")
    split.fit(pd.Series(np.sin(np.arange(200.0))))
    gap = pd.Series(np.arange(5.0), index=[0, 1, 2, 7, 8])
    assert np.isnan(SeriesMonitor(split).update(gap).scores).all()


def test_drift_is_told_and_a_new_normal_ends_its_alarms(calibrated):
    monitor = SeriesMonitor(calibrated, window_size=600)
    _, alerts = _watched(monitor, np.r_[_series(620, 4), _series(1800, 3, noise=0.14)])
    assert monitor.drifting_
    assert [a.kind for a in alerts if not a.resolved].count("drift") == 1
    assert len([a for a in alerts if a.kind == "anomalies"]) > 1
    with pytest.warns(UserWarning, match="too few"):  # that is a short reference
        report = monitor.recalibrate()
    assert "drift" in {a.kind for a in report.alerts}
    assert all(a.resolved for a in report.alerts)
    assert not monitor.anomalous_
    assert len(monitor.reference_.scores) == 1800  # of all windows since it began
    reports, _ = _watched(monitor, _series(620, 6, noise=0.14))
    assert not monitor.drifting_
    assert np.mean([report.labels for report in reports]) < 0.02
    p_values = np.array([report.p_values for report in reports])
    assert 0.3 < p_values.mean() < 0.7  # they follow


def _rows_of(end):
    return range(int(end.details["first"]), int(end.details["last"]) + 1)


def test_a_regime_that_is_learnt_raises_alarms_at_the_rate_asked_for(calibrated):
    learnt, new = (_series(n, seed) * [1, 0.5] + [2, 0] for n, seed in ((3000, 9), (1000, 10)))
    new[800, 1] += 2
    monitor, twin = SeriesMonitor(calibrated), SeriesMonitor(calibrated)
    before = calibrated.score_new(new)
    _watched(monitor, np.r_[_series(50, 11), learnt[:200]])
    assert monitor.anomalous_
    was = dict(vars(monitor))
    with pytest.raises(ValueError, match="NaN"):
        monitor.refit(np.r_[learnt, np.full((1, 2), np.nan)])
    with pytest.raises(ValueError, match="needs at least"):
        monitor.refit(learnt[:500])
    assert vars(monitor) == was
    report = monitor.refit(learnt)
    assert [(a.kind, a.resolved) for a in report.alerts] == [("anomalies", True)]
    assert "the incident has ended: the detector has been fitted again" in report.alerts[0].text
    assert calibrated.score_new(new) == before  # the one that was passed stays as it is
    reports, alerts = _watched(monitor, new)
    flagged = np.concatenate([report.labels for report in reports])
    place = 800 - SIZE + 1
    assert flagged[place] == 1
    assert flagged[:place].mean() < 0.015
    assert 0.35 < np.mean([report.p_values for report in reports[:place]]) < 0.65
    row = 250 - SIZE + 1 + place
    (end,) = (a for a in alerts if a.resolved and row in _rows_of(a))
    assert end.details["rows"][0]["reasons"][0]["feature"] == "feature 1"
    twin.refit(learnt)
    assert twin.update(new).p_values == reports[-1].p_values


def test_channels_may_come_and_go_with_a_new_fit(calibrated):
    monitor = SeriesMonitor(_windowed().fit(_series(1500, 0)))
    three = np.c_[_series(1500, 1), _series(1500, 2)[:, 0]]
    with pytest.raises(ValueError, match=r"3 features.*2 features"):
        monitor.update(three)
    assert monitor.n_rows_ == 0
    monitor.refit(three)
    assert monitor.update(three).scores.shape == (1,)
    assert monitor.detector.n_features_in_ == 3


def test_a_reference_is_a_series_or_scores_of_windows(calibrated):
    later, new = _series(3000, 5), _series(60, 4)
    of_series = SeriesMonitor(calibrated, reference=later)
    assert len(of_series.reference_.scores) == 3000 - SIZE + 1
    assert calibrated.score_new(later) in of_series.reference_.scores
    of_scores = SeriesMonitor(calibrated, reference=calibrated.window_scores_)
    default = SeriesMonitor(calibrated)
    assert np.array_equal(of_scores.reference_.scores, default.reference_.scores)
    assert of_scores.threshold_ == default.threshold_
    for monitor in (of_series, of_scores):
        assert monitor.update(new).p_values.tolist() == [calibrated.p_value_new(new)]


def test_p_values_of_rows_are_what_drift_is_told_from():
    rng = np.random.default_rng(0)

    def rows(n, scale=1.0):
        return scale * rng.normal(size=(n, 10))

    # With few rows to fit to, clones differ, and the mean of what they say is no score of one.
    detector = RobustDeepAutoencoder(n_estimators=2, random_state=0)
    detector = CalibratedDetector(detector, random_state=0).fit(rows(400))
    monitor = Monitor(detector, window_size=400, drift="ks")
    report = monitor.update(rows(2000))
    assert report.p_values.shape == (2000,)
    assert not any(window.drifting for window in report.windows)
    assert all(window.drifting for window in monitor.update(rows(800, 1.3)).windows)
    monitor.recalibrate()
    again = monitor.update(rows(800, 1.3))
    assert 0.4 < again.p_values.mean() < 0.6 < 1 - report.p_values.min()
    listed = again.alerts[0].details["rows"][0]
    assert listed["p_value"] == again.p_values.min()


def test_scores_tell_drift_where_p_values_of_the_reference_are_all_the_same():
    scores, later = np.random.default_rng(0).normal(size=(2, 600))
    judge = Judge(scores, scores > 3, "psi", None, None, np.ones(600))
    p_values = np.full(600, 0.5)
    assert not judge.report(0, later, later > 3, p_values).drifting
    assert judge.report(0, later + 1, later > 2, p_values).drifting


def test_a_threshold_set_from_outside_counts(calibrated):
    tuned = tune_threshold(_windowed().fit(_series(3000, 0)), _series(800, 7), rule="mean_std")
    monitor = SeriesMonitor(tuned)
    assert monitor.threshold_ == tuned.threshold_
    with_limit = SeriesMonitor(calibrated, threshold=1e-9)
    assert with_limit.update(_series(SIZE, 8)).labels.tolist() == [1]


def test_a_reference_is_scored_at_every_step():
    detector, later = _windowed().set_params(stride=5), _series(500, 5)
    detector.fit(_series(600, 0))
    with pytest.raises(ValueError, match=r"5 steps apart.*pass reference"):
        SeriesMonitor(detector)
    monitor = SeriesMonitor(detector, reference=later)
    assert len(monitor.reference_.scores) == 500 - SIZE + 1
    assert detector.score_new(later[:-3]) in monitor.reference_.scores


def test_a_detector_that_flags_all_has_a_threshold(calibrated):
    flags_all = copy.copy(calibrated)
    flags_all._share = 1.0
    assert SeriesMonitor(flags_all).threshold_ == calibrated.window_scores_.min()


def test_a_detector_of_rows_is_refused():
    X = np.random.default_rng(0).normal(size=(200, 3))
    for detector in (
        RobustDeepAutoencoder(random_state=0),
        CalibratedDetector(RobustDeepAutoencoder(n_estimators=1), random_state=0),
    ):
        with pytest.raises(TypeError, match=r"WindowedDetector.*use Monitor"):
            SeriesMonitor(detector.fit(X))
