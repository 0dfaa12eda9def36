"""Scores that depend on each other: how far, and what a monitor makes of it."""

import numpy as np
import pytest
from optional import Optional
from scipy.signal import lfilter

from skrdae.monitoring import Monitor, ScoreReference
from skrdae.monitoring.dependence import AutocorrelationTime, location_and_spread, roughness

pd = Optional("pandas")


class _Nothing:
    """A detector that is never asked."""


def _autoregressive(n, phi, rng):
    noise = rng.normal(size=n)
    noise[0] /= np.sqrt(1 - phi**2)
    return lfilter([1], [1, -phi], noise) * np.sqrt(1 - phi**2)


def _mean_of(n, length, rng):
    return np.convolve(rng.normal(size=n + length - 1), np.ones(length), "valid") / length**0.5


def _daily(n, period, rng):
    steps = np.arange(n) + rng.integers(period)
    return np.sin(2 * np.pi * steps / period) + 0.5 * rng.normal(size=n)


def _mixed(n, length, rng):
    ripple = np.sin(np.arange(n) / 8 + 6 * rng.random())
    return _mean_of(n, length, rng) + ripple + 0.5 * rng.normal(size=n)


def _times(scores):
    return AutocorrelationTime(*location_and_spread(scores))


def _monitor(reference, **options):
    return Monitor(
        _Nothing(),
        **({"reference": reference, "threshold": np.quantile(reference, 0.98)} | options),
    )


# ------------------------------------------------------------------------------------- theory


@pytest.mark.parametrize(
    ("draw", "parameter", "time"),
    [(_autoregressive, 0.0, 1), (_autoregressive, 0.9, 19), (_mean_of, 30, 30)],
)
def test_the_time_is_that_of_theory(draw, parameter, time):
    rng = np.random.default_rng(0)
    found = [AutocorrelationTime(draw(20_000, parameter, rng)) for _ in range(10)]
    assert 0.9 * time < np.mean([f.overall for f in found]) < 1.4 * time  # rather too long
    assert np.mean([f.of_windows(200) for f in found]) == pytest.approx(time, rel=0.2)
    assert all(f.settled for f in found)


@pytest.mark.parametrize("n_rows", [50, 300, 700])
def test_means_of_windows_vary_as_it_says(n_rows):
    # In a series with a period it depends on how much of the period a window sees.
    rng = np.random.default_rng(1)
    for x in (_autoregressive(60_000, 0.95, rng), _daily(60_000, 100, rng)):
        means = np.lib.stride_tricks.sliding_window_view(x, n_rows).mean(axis=1)
        expected = max(means.var() / (x.var() / n_rows), 1.0)
        assert AutocorrelationTime(x).of_windows(n_rows) == pytest.approx(expected, rel=0.25)


def test_a_spread_that_changes_slowly_counts():
    rng = np.random.default_rng(2)
    scores = np.exp(_autoregressive(20_000, 0.98, rng)) * rng.normal(size=20_000)
    assert AutocorrelationTime(location_and_spread(scores)[0]).overall < 2
    assert _times(scores).overall > 30


def test_what_is_slow_shows_behind_a_short_period():
    # Its half waves end the sum of autocorrelations before the slow ones have come in.
    rng = np.random.default_rng(19)
    ripple = np.sin(2 * np.pi * np.arange(20_000) / 24)
    slow = _mean_of(20_000, 100, rng)
    assert AutocorrelationTime(ripple + 0.5 * rng.normal(size=20_000)).overall < 8
    assert AutocorrelationTime(ripple + slow).overall > 40


def test_a_series_may_be_too_short_for_its_slow_changes():
    rng = np.random.default_rng(20)
    mixed = [rng.normal(size=20_000) + _mean_of(20_000, 150, rng) for _ in range(20)]
    settled = [[_times(x[:n]).settled for x in mixed] for n in (500, 20_000)]
    assert np.mean(settled[0]) < 0.5
    assert np.mean(settled[1]) > 0.9
    known = [ScoreReference(x[:500]).expected_evidence(500).known for x in mixed]
    assert np.mean(known) < 0.3
    found = [(ScoreReference(x[:500]), _times(x[:500])) for x in mixed]
    assert all(r.rows_needed()[1] >= 2000 for r, time in found if not time.settled)
    slow = next(x[:500] for x, yes in zip(mixed, settled[0], strict=True) if not yes)
    with pytest.warns(UserWarning, match="change so slowly that its 500 rows .* 2000 rows"):
        monitor = _monitor(slow, window_size=500)
    assert monitor.update_scores(slow + 9).windows[0].drift_unknown


def test_only_the_order_of_scores_counts():
    x = _autoregressive(3000, 0.9, np.random.default_rng(3))
    evidence = [ScoreReference(f(x)).expected_evidence(300) for f in (np.exp, np.cbrt, np.sinh)]
    assert evidence[0] == evidence[1] == evidence[2]
    tied = ScoreReference(np.round(x)).expected_evidence(300)
    assert tied.n_effective == pytest.approx(evidence[0].n_effective, rel=0.4)


def test_what_says_nothing():
    for x in (np.zeros(100), np.empty(0), np.ones(1)):
        assert AutocorrelationTime(x).overall == 1.0
        assert AutocorrelationTime(x).of_windows(5) == 1.0
    # Neighbours that differ more than chance are worth one row each, not more.
    assert AutocorrelationTime(np.tile([0.0, 1.0], 100)).overall == 1.0


def test_steps_without_a_score_leave_the_time_of_the_others():
    rng = np.random.default_rng(4)
    x = _autoregressive(40_000, 0.99, rng)  # 199 rows
    scattered = np.where(rng.random(len(x)) < 0.5, np.nan, x)
    in_pieces = np.where(np.arange(len(x)) % 1000 < 500, x, np.nan)
    whole, half, pieces = (ScoreReference(s).n_effective for s in (x, scattered, in_pieces))
    # Every other row says as much as all of them; half of the stretches say half as much, or a
    # little more, because their ends are apart.
    assert half == pytest.approx(whole, rel=0.25)
    assert 0.4 * whole < pieces < 0.9 * whole


def test_roughness():
    rng = np.random.default_rng(5)
    ranks = location_and_spread(rng.exponential(size=5000))[0]
    assert roughness(ranks) == pytest.approx(1 / 3, rel=0.05)
    smooth = location_and_spread(_autoregressive(5000, 0.9, rng))[0]
    assert roughness(smooth) < 1 / 6
    jump = location_and_spread(np.r_[rng.normal(size=3500), rng.normal(9, size=1500)])[0]
    assert roughness(jump) > 1 / 6


# ---------------------------------------------------------------------------------- in a monitor

SERIES = [
    (_autoregressive, 0.9),
    (_autoregressive, 0.98),
    (_autoregressive, 0.995),
    (_mean_of, 48),
    (_mean_of, 300),
    (_daily, 288),
    (_mixed, 100),
]


@pytest.mark.filterwarnings("ignore:.*too few to tell.*:UserWarning")
@pytest.mark.parametrize(("draw", "parameter"), SERIES)
@pytest.mark.parametrize("drift", ["psi", "ks"])
def test_nothing_is_raised_where_nothing_changes(draw, parameter, drift):
    rng = np.random.default_rng(6)
    n_windows = n_false = 0
    for _ in range(4):
        for n_reference in (500, 4000):
            x = np.exp(draw(n_reference + 20_000, parameter, rng))
            for size in (200, 1000):
                monitor = _monitor(x[:n_reference], window_size=size, drift=drift)
                windows = monitor.update_scores(x[n_reference:]).windows
                n_windows += len(windows)
                n_false += sum(w.drifting or w.rate_is_high for w in windows)
                assert not any(w.drifting and w.drift_unknown for w in windows)
    assert n_windows == 960
    assert n_false <= 0.01 * n_windows


@pytest.mark.parametrize("drift", ["psi", "ks"])
@pytest.mark.parametrize(("draw", "parameter"), [SERIES[0], SERIES[3], (_daily, 50)])
def test_a_shift_is_found_where_that_is_possible(draw, parameter, drift):
    rng = np.random.default_rng(7)
    for _ in range(5):
        x = draw(24_000, parameter, rng)
        monitor = _monitor(x[:12_000], window_size=3000, drift=drift)
        before = monitor.update_scores(x[12_000:15_000]).windows
        after = monitor.update_scores(x[15_000:] + x.std()).windows
        assert not any(w.drift_unknown for w in before + after)
        assert not before[0].drifting
        assert any(w.drifting for w in after)


def test_what_cannot_be_told_is_said():
    rng = np.random.default_rng(8)
    x = _autoregressive(60_000, 0.98, rng)  # 99 rows
    with pytest.warns(UserWarning, match="window_size to at least [0-9]+") as caught:
        monitor = _monitor(x[:20_000], window_size=500)
    windows = monitor.update_scores(x[20_000:30_000]).windows
    assert all(w.drift_unknown and not w.drifting for w in windows)
    assert all(w.n_effective == pytest.approx(500 / 99, rel=0.5) for w in windows)
    needed = int(str(caught[0].message).split("at least ")[1].split(".")[0])
    assert 0.5 < needed / (99 / (1 / 25 - 99 / 20_000)) < 2.5
    windows = _monitor(x[:20_000], window_size=needed).update_scores(x[20_000:]).windows
    assert not any(w.drift_unknown or w.drifting for w in windows)
    # A reference that is too short is what has to be longer.
    with pytest.warns(UserWarning, match="reference of at least [0-9]+ rows") as caught:
        monitor = _monitor(x[:1000], window_size=1000)
    needed = int(str(caught[0].message).split("reference of at least ")[1].split()[0])
    assert needed > 1500
    # It does not matter then how far off the scores are.
    far = monitor.update_scores(x[20_000:23_000] + 100).windows
    assert all(w.drift_unknown and w.rate_unknown for w in far)


def test_a_table_sorted_by_its_label_looks_like_a_series():
    rng = np.random.default_rng(18)
    scores = np.r_[rng.normal(size=900), rng.normal(4, size=100)]
    with pytest.warns(UserWarning, match="shuffle the reference"):
        _monitor(scores, window_size=1000)
    monitor = _monitor(rng.permutation(scores), window_size=1000)
    assert not monitor.update_scores(rng.permutation(scores)).windows[0].drift_unknown


def test_far_off_is_far_off_in_a_few_rows():
    rng = np.random.default_rng(9)
    x = _autoregressive(30_000, 0.98, rng)
    with pytest.warns(UserWarning, match="too few"):
        monitor = _monitor(x[:20_000], window_size=1000)
    near, far = (monitor.update_scores(x[20_000:21_000] + by).windows[0] for by in (0, 9))
    assert near.drift_unknown
    assert (far.drifting, far.drift_unknown) == (True, False)
    assert far.rate_is_high


def test_what_is_unknown_neither_begins_nor_ends_anything():
    rng = np.random.default_rng(10)
    x = _autoregressive(60_000, 0.98, rng)
    with pytest.warns(UserWarning, match="too few"):
        monitor = _monitor(x[:20_000], window_size=1000)
    report = monitor.update_scores(np.r_[x[20_000:25_000], x[25_000:26_000] + 9])
    assert [a.kind for a in report.alerts if a.kind != "anomalies"] == ["alert_rate", "drift"]
    assert monitor.drifting_
    report = monitor.update_scores(x[26_000:30_000])
    assert all(w.drift_unknown for w in report.windows)
    assert monitor.drifting_
    assert "drift" not in [a.kind for a in report.alerts]


def test_limits_of_ones_own_ask_nobody():
    x = _autoregressive(3000, 0.99, np.random.default_rng(11))
    # No warning, and no window without a verdict.
    monitor = _monitor(x[:2000], window_size=200, drift_limit=0.25, rate_limit=0.05)
    windows = monitor.update_scores(x[2000:]).windows
    assert [w.drifting for w in windows] == [w.stability_index > 0.25 for w in windows]
    assert [w.rate_is_high for w in windows] == [w.alert_rate > 0.05 for w in windows]
    assert not any(w.drift_unknown or w.rate_unknown for w in windows)
    # A p-value of one's own is still one for rows that depend on each other.
    with pytest.warns(UserWarning, match="too few"):
        monitor = _monitor(x[:2000], window_size=200, drift="ks", drift_limit=0.01)
    windows = monitor.update_scores(x[2000:]).windows
    assert all(w.drift_unknown for w in windows)


def test_windows_tell_what_a_shuffled_reference_hides(caplog):
    rng = np.random.default_rng(12)
    n_false = 0
    for _ in range(5):
        x = _autoregressive(14_000, 0.95, rng)
        monitor = _monitor(rng.permutation(x[:4000]), window_size=500)
        caplog.clear()
        windows = monitor.update_scores(x[4000:]).windows
        n_false += sum(w.drifting for w in windows)
        assert np.mean([w.drift_unknown for w in windows]) > 0.8
        said = [r.message for r in caplog.records if "far more alike" in r.message]
        assert len(said) == 1  # once, not for each window
    assert n_false <= 1


@pytest.mark.parametrize("size", [200, 1000])
def test_what_happens_within_windows_is_seen(size):
    # It makes distant rows of a window alike, but not neighbours.
    rng = np.random.default_rng(13)
    reference = rng.normal(size=4000)
    third = np.arange(size) < size // 3
    changes = {
        "a third": lambda w: w + 3 * third,
        "a rise": lambda w: w + np.linspace(0, 2, size),
        "in turns": lambda w: w + 2 * (np.arange(size) // 50 % 2),
        "nothing moves": lambda w: np.full(size, 0.3),
        "hardly anything moves": lambda w: 0.01 * w,
    }
    for drift in ("psi", "ks"):
        for name, change in changes.items():
            monitor = _monitor(reference, window_size=size, drift=drift)
            found = [monitor.update_scores(change(rng.normal(size=size))) for _ in range(3)]
            assert all(report.windows[0].drifting for report in found), (drift, name)
        monitor = _monitor(reference, window_size=size, drift=drift)
        assert not any(w.drifting for w in monitor.update_scores(rng.normal(size=9 * size)).windows)


def test_flags_in_runs_are_one_event():
    # Scores that do not depend on each other, but for events of 100 rows.
    rng = np.random.default_rng(14)

    def scores(n):
        events = np.zeros(n)
        for start in range(rng.integers(4000), n - 100, 4000):
            events[start : start + 100] = 9
        return rng.normal(size=n) + events

    n_high = 0
    for _ in range(20):
        monitor = _monitor(scores(20_000), threshold=5.0, window_size=500)
        n_high += sum(w.rate_is_high for w in monitor.update_scores(scores(25_000)).windows)
    assert n_high <= 10  # of 1,000, of which a fifth hold an event of 25 times the usual rate
    assert monitor.update_scores(rng.normal(9, size=500)).windows[0].rate_is_high


def test_a_verdict_depends_on_window_and_reference_alone():
    x = _autoregressive(9000, 0.9, np.random.default_rng(15))
    whole = _monitor(x[:4000], window_size=1000).update_scores(x[4000:])
    monitor, reports = _monitor(x[:4000], window_size=1000), []
    for row in x[4000:]:
        reports += monitor.update_scores([row, np.nan]).windows
    assert reports == whole.windows
    alone = _monitor(x[:4000], window_size=1000).update_scores(x[6000:7000]).windows[0]
    assert alone.__dict__ | {"first_row": 2000} == whole.windows[2].__dict__


def test_a_reference_with_gaps():
    x = _autoregressive(5000, 0.9, np.random.default_rng(16))
    holed = pd.Series(np.where(np.arange(5000) % 400 < 40, np.nan, x))
    reference = Monitor(_Nothing(), reference=holed, threshold=2.0).reference_
    assert len(reference.scores) == 4480
    assert reference.n_effective == pytest.approx(4480 / 19, rel=0.4)


def test_a_new_normal_of_one_short_window_is_warned_of():
    x = _autoregressive(40_000, 0.98, np.random.default_rng(17))
    monitor = _monitor(x[:20_000], window_size=3500)
    monitor.update_scores(x[20_000:24_000] + 3)
    assert monitor.drifting_
    with pytest.warns(UserWarning, match="reference of at least"):
        report = monitor.recalibrate()
    assert {"drift", "alert_rate"} >= {a.kind for a in report.alerts if a.resolved}
    assert not monitor.drifting_
    monitor.recalibrate(scores=x[:20_000] + 3)  # long enough
    assert not monitor.update_scores(x[24_000:30_000] + 3).windows[0].drift_unknown
