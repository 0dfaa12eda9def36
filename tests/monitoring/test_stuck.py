"""Windows that are stuck or change smoothly, which look as if the reference had been shuffled."""

import numpy as np
import pytest
from scipy.signal import lfilter

from skrdae import OutlierAdapter, RobustDeepAutoencoder, WindowedDetector
from skrdae.metrics import anomaly_scores, roc_auc_scorer
from skrdae.monitoring import Monitor
from skrdae.monitoring.dependence import location_and_spread, mean_difference, repeated, roughness

pd = pytest.importorskip("pandas")


class _Nothing:
    """A detector that is never asked."""


def _autoregressive(n, phi, rng):
    noise = rng.normal(size=n)
    noise[0] /= np.sqrt(1 - phi**2)
    return lfilter([1], [1, -phi], noise) * np.sqrt(1 - phi**2)


def _monitor(reference, **options):
    return Monitor(
        _Nothing(), reference=reference, threshold=np.quantile(reference, 0.99), **options
    )


def test_a_shuffle_is_as_rough_as_pairs_drawn_at_random():
    rng = np.random.default_rng(0)
    for x in (rng.normal(size=4000), rng.poisson(1.0, size=4000)):
        ranks = location_and_spread(x)[0]
        assert mean_difference(ranks) == pytest.approx(roughness(ranks), rel=0.05)


def test_repeated():
    x = np.random.default_rng(1).normal(size=500)
    assert repeated(x) == 0
    assert repeated(np.r_[x, np.full(500, 2.0)]) == pytest.approx(0.5, abs=0.01)
    assert repeated(np.full(500, 3.0) * (1 + 1e-8 * x)) == 1  # as another batch scores a row
    assert repeated(np.linspace(0, 1, 500)) == 0


STUCK = {
    "two scores": lambda w: np.repeat([0.3, 0.6], [len(w) // 2, len(w) - len(w) // 2]),
    "many scores": lambda w: np.repeat(w[:10], len(w) // 10),
    "the last part": lambda w: np.where(np.arange(len(w)) < 0.3 * len(w), w, 0.3),
    "a part in the middle": lambda w: np.where(abs(np.arange(len(w)) / len(w) - 0.5) < 0.3, 1.0, w),
    "a line": lambda w: np.linspace(0, 20, len(w)),
    "a line downwards": lambda w: -np.linspace(0, 20, len(w)),
}


@pytest.mark.parametrize("change", STUCK)
@pytest.mark.parametrize("drift", ["psi", "ks"])
@pytest.mark.parametrize("phi", [0.0, 0.8])
def test_what_is_stuck_is_a_drift(change, drift, phi):
    rng = np.random.default_rng(2)
    for size in (1000, 2000):
        x = _autoregressive(20_000 + size, phi, rng)
        monitor = _monitor(x[:20_000], window_size=size, drift=drift)
        report = monitor.update_scores(STUCK[change](x[20_000:]))
        assert (report.windows[0].drifting, report.windows[0].drift_unknown) == (True, False)
        assert "drift" in [alert.kind for alert in report.alerts]


def test_nearly_all_rows_flagged_is_too_often_however_they_depend():
    rng = np.random.default_rng(3)
    reference = rng.normal(size=3000)
    smooth = 2.7 + 0.3 * np.sin(np.arange(1000) / 300)
    monitor = _monitor(reference, window_size=1000)
    window = monitor.update_scores(smooth).windows[0]
    assert window.drift_unknown  # within the range, and of one piece
    assert (window.rate_is_high, window.rate_unknown) == (True, False)
    assert monitor.rate_is_high_


def test_what_may_be_a_shuffled_reference_is_said_to_be(caplog):
    monitor = _monitor(np.random.default_rng(4).normal(size=3000), window_size=1000)
    assert monitor.update_scores(np.linspace(-1, 2, 1000)).windows[0].drift_unknown
    assert "either the rows are stuck or change smoothly, or the reference was not" in caplog.text


def test_scores_that_always_repeat_are_no_drift():
    rng = np.random.default_rng(5)
    held = np.repeat(rng.normal(size=6000), 4)  # a sensor that is read more often than it measures
    for reference in (held[:12_000], rng.permutation(held[:12_000])):
        windows = _monitor(reference, window_size=1000).update_scores(held[12_000:]).windows
        assert not any(w.drifting for w in windows)


@pytest.mark.parametrize("phi", [0.9, 0.98, 0.995])
def test_a_shuffled_reference_raises_nothing(phi):
    rng = np.random.default_rng(6)
    n_windows = n_false = n_high = 0
    for _ in range(4):
        x = _autoregressive(30_000, phi, rng)
        for size in (200, 1000):
            monitor = _monitor(rng.permutation(x[:10_000]), window_size=size)
            windows = monitor.update_scores(x[10_000:]).windows
            n_windows += len(windows)
            n_false += sum(w.drifting for w in windows)
            n_high += sum(w.rate_is_high for w in windows)
    assert n_windows == 480
    assert n_false <= 4
    assert n_high <= 4


@pytest.mark.filterwarnings("ignore:.*too few to tell.*:UserWarning")
def test_steps_without_a_score_within_an_adapter():
    rng = np.random.default_rng(7)
    times = pd.date_range("2025-03-01", periods=1500, freq="min")
    series = pd.DataFrame(rng.normal(size=(1500, 2)), index=times, columns=["p", "q"])
    inner = RobustDeepAutoencoder(n_estimators=1, random_state=0)
    windowed = WindowedDetector(inner, window_size=20, on_gap="split")
    adapter = OutlierAdapter(windowed).fit(series[:900])
    arriving = series[1000:].drop(times[1100:1150]).drop(times[1155:1200])
    monitor = Monitor(adapter, reference=series[900:1000], window_size=100)
    report = monitor.update(arriving)
    alone = Monitor(adapter.detector_, reference=series[900:1000], window_size=100)
    expected = alone.update(arriving)
    np.testing.assert_array_equal(np.isnan(report.scores), np.isnan(expected.scores))
    np.testing.assert_array_equal(report.labels, expected.labels)
    assert np.isnan(report.scores).sum() == 5
    assert monitor.n_rows_ == len(arriving) - 5
    by_hand = Monitor(adapter, reference=series[900:1000], threshold=0.0, window_size=100)
    assert by_hand.update(arriving).windows[0].n_rows == 100
    scores = anomaly_scores(adapter, arriving)
    assert (scores[np.isnan(report.scores)] == scores.min()).all()
    y = rng.random(len(arriving)) < 0.1
    assert roc_auc_scorer(adapter, arriving, y) == roc_auc_scorer(adapter.detector_, arriving, y)
