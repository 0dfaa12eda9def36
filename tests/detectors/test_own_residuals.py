"""Steps that stand out by themselves are flagged, and windows tell of the rest."""

import numpy as np
import pytest
from scipy.signal import lfilter

from skrdae import RobustDeepAutoencoder, RobustPCA, VAEDetector, WindowedDetector
from skrdae.detectors.own_residuals import limits, own_residuals, standing_out
from skrdae.preprocessing import Windows


def _wave(rng, n):
    return np.sin(2 * np.pi * (np.arange(n) + rng.integers(50)) / 50) + 0.1 * rng.normal(size=n)


def _rough(rng, n):
    return lfilter([1], [1, -0.9], rng.normal(size=n + 200))[200:]


def _spiked(series, rng, places):
    series = series.copy()
    series[places] += 4 * series.std() * rng.choice([-1, 1], len(places))
    return series


@pytest.mark.parametrize("n_spikes", [5, 90])
@pytest.mark.parametrize("window_size", [24, 100])
def test_spikes_of_any_number_are_all_that_is_flagged(window_size, n_spikes):
    rng = np.random.default_rng(window_size)
    inner = RobustDeepAutoencoder(contamination=0.05, random_state=0)
    detector = WindowedDetector(inner, window_size=window_size).fit(_wave(rng, 5000))
    places = 40 + rng.permutation(96)[:n_spikes] * 50 + rng.integers(-9, 10, n_spikes)
    series = _spiked(_wave(rng, 5000), rng, places)
    for labels in (detector.predict(series), detector.fit(series).labels_):
        assert labels[places].all()
        assert labels.sum() <= n_spikes + 2


def test_spikes_in_a_rough_series_are_found():
    rng = np.random.default_rng(0)
    inner = RobustDeepAutoencoder(contamination=0.01, random_state=0)
    places = np.arange(100, 5000, 200)
    series = _spiked(_rough(rng, 5000), rng, places)
    detector = WindowedDetector(inner, window_size=24).fit(series)
    assert detector.labels_[places].mean() > 0.85
    assert detector.labels_.sum() - detector.labels_[places].sum() < 25
    detector._own_limits = None  # as in a file of an earlier version
    assert detector.predict(series)[places].mean() < 0.2


@pytest.mark.parametrize("name", ["robust PCA", "VAE"])
def test_a_spike_does_not_hide_a_smaller_one_beside_it(name):
    # Networks that see a window as a whole leave traces of a spike in all of its steps.
    inner = {"robust PCA": RobustPCA(), "VAE": VAEDetector(random_state=0)}[name]
    rng = np.random.default_rng(1)
    detector = WindowedDetector(inner, window_size=40).fit(_wave(rng, 4000))
    series = _wave(rng, 1000)
    series[[500, 509]] += [6, -1.5]
    labels = detector.predict(series)
    assert labels[[500, 509]].all()
    assert labels.sum() <= 4


def test_a_step_counts_by_the_channel_that_it_stands_out_in():
    rng = np.random.default_rng(2)
    series = np.column_stack([_wave(rng, 3000) for _ in range(4)])
    series[1500, 2] += 3
    switch = (np.arange(3000) % 60 < 2) * 1.0  # far out, and usual
    series = np.column_stack([series, switch])
    for channels in ("both", "joint", "loudest"):
        inner = RobustDeepAutoencoder(contamination=0.01, random_state=0)
        detector = WindowedDetector(inner, window_size=30, channels=channels).fit(series)
        assert np.isfinite(detector._own_limits[:, :4]).all()
        marked, filled = standing_out(
            detector.detector_, detector._validated(series), detector._own_limits
        )
        assert np.flatnonzero(marked[:, 2]).tolist() == [1500]
        assert not marked[:, 4].any()
        assert abs(filled[1500, 2] - series[[1499, 1501], 2].mean()) < 1e-12
        assert np.array_equal(
            filled[:, [0, 4]][~marked[:, [0, 4]]], series[:, [0, 4]][~marked[:, [0, 4]]]
        )
        assert detector.labels_[1500] == 1


class _Itself:
    """Leaves all of the windows."""

    def explain(self, rows):
        return np.square(rows) / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)


def test_residuals_are_those_of_steps_and_only_single_steps_are_bridged():
    rng = np.random.default_rng(3)
    series = rng.uniform(0.5, 1, (800, 1))
    series[[0, 100, 101, 250], 0] = 40.0, 30.0, 35.0, 50.0
    series[300:306] = 45.0  # an event of its own shape
    series[799] = 60.0
    windows = Windows(series, [250, 550], 20)  # step 250 begins a series
    np.testing.assert_allclose(own_residuals(_Itself(), windows, np.ones((20, 1))), series)
    found = limits(_Itself(), windows, 0.1)
    marked, filled = standing_out(_Itself(), windows, found)
    assert np.flatnonzero(marked).tolist() == [0, 100, 101, 250, *range(300, 306), 799]
    expected = series.copy()
    expected[[0, 250, 799]] = expected[[1, 251, 798]]
    expected[100:102, 0] = np.interp([100, 101], [99, 102], series[[99, 102], 0])
    np.testing.assert_allclose(filled, expected)
    # If so many steps are far out, that is how the series is.
    assert np.isinf(limits(_Itself(), windows, 0.01)).all()


def test_what_a_network_knows_least_of_is_measured_by_the_place_in_a_window():
    class Recurrent(_Itself):
        def explain(self, rows):
            return super().explain(rows * np.r_[20.0, np.ones(19)])  # knows nothing at first

    rng = np.random.default_rng(6)
    training = Windows(rng.uniform(0.5, 1, (2000, 1)), [2000], 20)
    found = limits(Recurrent(), training, 0.1)
    pieces = Windows(rng.uniform(0.5, 1, (2000, 1)), [40] * 50, 20)
    assert not standing_out(Recurrent(), pieces, found)[0].any()
    pieces.series[40] = 50.0
    assert np.flatnonzero(standing_out(Recurrent(), pieces, found)[0]).tolist() == [40]


@pytest.mark.parametrize("kind", ["pulses", "counts"])
def test_peaks_that_belong_to_a_series_are_not_flagged(kind):
    rng = np.random.default_rng(7)
    series = {
        "pulses": 3.0 * (np.arange(3000) % 24 == 7) + 0.1 * rng.normal(size=3000),
        "counts": rng.poisson(0.1, 3000) + 0.0,
    }[kind]
    detector = WindowedDetector(RobustDeepAutoencoder(random_state=0), window_size=30).fit(series)
    assert np.isinf(detector._own_limits).all()
    assert detector.labels_.mean() < 0.01


def test_a_long_event_does_not_hide_spikes():
    rng = np.random.default_rng(10)
    series = rng.uniform(0.5, 1, (2000, 1))
    series[500:600] += 30
    series[[300, 1500]] = 20.0
    windows = Windows(series, [2000], 20)
    found = limits(_Itself(), windows, 0.1)
    marked, filled = standing_out(_Itself(), windows, found)
    assert np.flatnonzero(marked).tolist() == [300, *range(500, 600), 1500]
    assert np.array_equal(filled[500:600], series[500:600])


def test_one_spike_in_a_short_series_of_many_channels_is_no_usual_thing():
    rng = np.random.default_rng(8)
    series = rng.normal(size=(300, 12))
    series[200, 3] = 15
    inner = RobustPCA(contamination=0.01)
    detector = WindowedDetector(inner, window_size=10, channels="separate").fit(series)
    assert detector.labels_[200] == 1


def test_spikes_between_windows_do_not_flag_others():
    rng = np.random.default_rng(9)
    detector = WindowedDetector(RobustPCA(contamination=0.02), window_size=10, stride=30)
    with pytest.warns(UserWarning, match="No window covers"):
        detector.fit(_wave(rng, 3000))
    series = _wave(rng, 1500)
    series[np.arange(20, 1400, 60)] += 10  # no window covers these
    assert detector.predict(series).sum() <= 1


def test_steps_without_a_window_and_other_series_do_not_matter():
    rng = np.random.default_rng(4)
    pieces = [_wave(rng, 300), _wave(rng, 10), _wave(rng, 200)]
    pieces[0][150] += 4
    pieces[2][3] -= 4
    detector = WindowedDetector(RobustPCA(contamination=0.05), window_size=20).fit(_wave(rng, 3000))
    labels = detector.predict(pieces)
    assert np.flatnonzero(labels).tolist() == [150, 313]
    alone = np.concatenate([detector.predict(pieces[0]), np.zeros(10), detector.predict(pieces[2])])
    assert np.array_equal(labels, alone)


def test_a_threshold_set_from_outside_decides_alone():
    rng = np.random.default_rng(5)
    series = _spiked(_wave(rng, 2000), rng, np.array([700]))
    detector = WindowedDetector(RobustPCA(contamination=0.05), window_size=20).fit(series)
    detector.threshold_, detector._by_windows = np.inf, False
    assert not detector.predict(series).any()
