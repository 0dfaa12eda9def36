"""Which steps of a series are flagged, and where the scores are highest."""

import numpy as np
import pytest
from pyod.models.base import BaseDetector
from pyod.models.pca import PCA
from sklearn.ensemble import IsolationForest

from skrdae import RobustDeepAutoencoder, RobustPCA, VAEDetector, WindowedDetector
from skrdae.detectors.steps import _event_length, flag_steps, step_scores, window_threshold
from skrdae.preprocessing import Windows


class _Norm(BaseDetector):
    """Scores a row by its norm: an oracle that needs no training."""

    def __init__(self, contamination=0.1):
        self.contamination = contamination

    def fit(self, X, y=None):
        self.decision_scores_ = self.decision_function(X)
        return self

    def decision_function(self, X):
        return np.linalg.norm(X, axis=1)

    get_params = IsolationForest.get_params
    set_params = IsolationForest.set_params
    _get_param_names = classmethod(IsolationForest._get_param_names.__func__)


DETECTORS = {
    "robust autoencoder": RobustDeepAutoencoder(random_state=0),
    "robust PCA": RobustPCA(),
    "VAE": VAEDetector(random_state=0),
    "PyOD PCA": PCA(random_state=0),
}


def _wave(n, period, seed=0, noise=0.1):
    rng = np.random.default_rng(seed)
    return np.sin(2 * np.pi * np.arange(n) / period) + noise * rng.normal(size=n)


def _spikes(n, period, n_spikes, seed=0):
    """Return a wave with spikes of several sizes and both signs, and where they are."""
    rng = np.random.default_rng(seed)
    series = _wave(n, period, seed)
    at = np.linspace(2 * period, n - 2 * period, n_spikes).astype(int)
    series[at] += rng.uniform(2.5, 5, n_spikes) * rng.choice([-1, 1], n_spikes)
    return series, at


# ------------------------------------------------------------------- how many there are


@pytest.mark.parametrize("contamination", [0.1, 0.02])
@pytest.mark.parametrize("n_spikes", [1, 6, 25, 50])
def test_spikes_are_found_however_many_there_are(n_spikes, contamination):
    series, at = _spikes(4000, 40, n_spikes, seed=n_spikes)
    detector = RobustDeepAutoencoder(n_estimators=2, contamination=contamination, random_state=0)
    found = WindowedDetector(detector, window_size=32).fit(series).labels_
    assert found[at].all()
    assert found.sum() <= n_spikes + 12


def test_spikes_are_found_with_several_channels_and_strides():
    series, at = _spikes(4000, 40, 25)
    two = np.c_[series, _wave(4000, 40, seed=1)]
    for stride in (1, 4):
        detector = WindowedDetector(
            RobustDeepAutoencoder(n_estimators=2, random_state=0), window_size=32, stride=stride
        ).fit(two)
        assert detector.labels_[at].all()
        assert detector.labels_.sum() <= 25 * (1 + 2 * (stride - 1)) + 12


def test_long_events_are_found_however_many_there_are():
    series, anomalous = _wave(6000, 50), np.zeros(6000, bool)
    for start in range(300, 5700, 600):  # nine of 60 steps, 9 % of all
        series[start : start + 60] += 1.5
        anomalous[start : start + 60] = True
    detector = RobustDeepAutoencoder(n_estimators=2, random_state=0)
    found = WindowedDetector(detector, window_size=50).fit(series).labels_.astype(bool)
    assert found[anomalous].mean() > 0.9
    assert found[~anomalous].mean() < 0.005
    assert found.mean() <= 0.1


def test_a_clean_series_has_hardly_a_flag_and_a_share_of_flagged_windows():
    detector = WindowedDetector(RobustDeepAutoencoder(random_state=0), window_size=40)
    with pytest.warns(UserWarning, match="No step of X is flagged"):
        detector.fit(_wave(4000, 40))
    above = detector.window_scores_ > detector.window_threshold_
    assert above.mean() == pytest.approx(0.1, abs=0.01)
    assert detector.predict(_wave(4000, 40, seed=1)).mean() < 0.002


def test_no_more_steps_are_flagged_than_the_contamination_says():
    series, at = _spikes(4000, 40, 60)
    found = WindowedDetector(_Norm(0.01), window_size=32).fit(series).labels_
    assert 20 <= found[at].sum() <= 40
    assert found.sum() <= 41


@pytest.mark.parametrize("seed", range(20))
def test_the_threshold_is_never_above_the_quantile_of_the_windows(seed):
    rng = np.random.default_rng(seed)
    windows = Windows(np.zeros((500, 1)), [200, 300], 20, stride=int(rng.integers(1, 5)))
    scores = rng.lognormal(sigma=rng.uniform(0.1, 2), size=len(windows))
    scores[rng.random(len(windows)) < rng.uniform(0, 0.5)] += 10
    for contamination in (0.01, 0.1, 0.4):
        found = window_threshold(windows, scores, contamination)
        assert found <= np.quantile(scores, 1 - contamination)
        # Steps near ends, which few windows cover, are judged in another way.
        inside = windows.n_positions() == windows.n_positions().max()
        below = scores > np.quantile(scores, 1 - contamination)
        by_quantile = windows.all_of(below)[inside].sum()
        lowered = windows.all_of(scores > found)[inside].sum()
        assert by_quantile <= lowered <= max(by_quantile, contamination * 500 + 1)


@pytest.mark.parametrize("every", [50, 100])
def test_gaps_cost_no_flags(every):
    found = {}
    for length in (2000, every):
        flagged = n_false = 0
        for seed in range(5):
            rng = np.random.default_rng(seed)
            series = rng.normal(size=2000)
            at = rng.choice(2000, 20, replace=False)
            series[at] += 15
            pieces = np.split(series, range(length, 2000, length))
            labels = WindowedDetector(_Norm(0.02), window_size=20).fit(pieces).labels_
            flagged += labels[at].sum()
            n_false += labels.sum() - labels[at].sum()
        found[length] = flagged, n_false
    assert found[every][0] > 0.8 * found[2000][0] > 0
    assert found[every][1] < 1.2 * found[2000][1]


@pytest.mark.parametrize("contamination", [0.02, 0.1, 0.3])
def test_one_window_flags_as_seldom_as_the_threshold_of_ends_says(contamination):
    rng = np.random.default_rng(0)
    detector = WindowedDetector(_Norm(contamination), window_size=20, max_windows=None)
    detector.fit(rng.normal(size=20_000))
    single = np.array([detector.predict(rng.normal(size=20)).any() for _ in range(1000)])
    assert single.mean() == pytest.approx(contamination / 20, abs=0.01)


def test_of_few_windows_none_is_flagged_for_being_the_highest():
    flagged = 0
    for seed in range(20):
        series = np.random.default_rng(seed).normal(size=39)
        with pytest.warns(UserWarning, match="X has 20 windows"):
            detector = WindowedDetector(_Norm(0.1), window_size=20).fit(series)
        flagged += detector.labels_.mean()
    assert flagged / 20 < 0.1


def test_few_windows_are_warned_of():
    with pytest.warns(UserWarning, match="X has 31 windows of 30 steps, too few"):
        WindowedDetector(_Norm(), window_size=30).fit(np.r_[_wave(59, 20), 5.0])


# ------------------------------------------------------------------- ends and gaps


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("window_size", [24, 60])
def test_a_spike_near_an_end_is_all_that_is_flagged_there(name, window_size):
    detector = WindowedDetector(DETECTORS[name], window_size=window_size)
    series = _wave(4000, 50)
    series[1000] += 4
    detector.fit(series)
    flagged, before = [], []
    for seed, distance in enumerate((1, 3, window_size // 3, window_size - 5)):
        for near_start in (False, True):
            new = _wave(300, 50, seed=seed + 1)
            at = distance if near_start else 299 - distance
            new[at] += 4
            labels = detector.predict(new)
            assert labels[at] == 1
            # Scores of PyOD's PCA depend on where in a window the spike is.
            off = 5 if name.startswith("PyOD") else 0
            assert abs(detector.decision_function(new).argmax() - at) <= off
            flagged.append(labels.sum())
            before.append(distance + 1)  # what one window at a time would flag
    assert np.mean(flagged) < 0.4 * np.mean(before)


def test_spikes_near_gaps_are_all_that_is_flagged_there():
    rng = np.random.default_rng(0)
    pieces = [_wave(int(rng.integers(90, 200)), 50, seed=i) for i in range(30)]
    at = []
    for piece in pieces:
        at.append(
            int(rng.integers(0, 25))
            if rng.random() < 0.5
            else len(piece) - 1 - int(rng.integers(0, 25))
        )
        piece[at[-1]] += 4
    detector = WindowedDetector(
        RobustDeepAutoencoder(n_estimators=2, random_state=0), window_size=40
    )
    detector.fit(pieces)
    ends = np.cumsum([len(p) for p in pieces])
    places = np.array(at) + ends - [len(p) for p in pieces]
    assert detector.labels_[places].mean() > 0.9
    assert detector.labels_.sum() < 4 * len(pieces)
    scores = np.split(detector.decision_scores_, ends[:-1])
    assert np.mean([s.argmax() == a for s, a in zip(scores, at, strict=True)]) > 0.9


def test_what_lasts_to_the_end_is_flagged_to_the_end():
    detector = WindowedDetector(RobustDeepAutoencoder(random_state=0), window_size=40)
    series = _wave(4000, 50)
    series[1000:1030] += 1.5
    detector.fit(series)
    for length in (5, 30, 100, 250):
        new = _wave(500, 50, seed=length)
        new[-length:] += 1.5
        labels = detector.predict(new)
        assert labels[-length:].sum() >= 0.85 * length - 1
        assert labels[: -length - 5].sum() <= 2
        labels = detector.predict(new[::-1])
        assert labels[:length].sum() >= 0.85 * length - 1


def test_an_event_that_is_over_before_the_end_is_not_flagged_to_the_end():
    detector = WindowedDetector(RobustDeepAutoencoder(random_state=0), window_size=40)
    series = _wave(4000, 50)
    series[1000:1030] += 1.5
    detector.fit(series)
    new = _wave(500, 50, seed=1)
    new[465:475] += 1.5  # 25 steps before the end
    labels = detector.predict(new)
    assert labels[465:475].sum() >= 8
    assert labels[478:].sum() == 0


def test_windows_flagged_by_chance_flag_no_step_at_an_end():
    series = _wave(5000, 50)
    series[1000] += 4
    detector = WindowedDetector(RobustDeepAutoencoder(random_state=0), window_size=50).fit(series)
    ends = [detector.predict(_wave(50 + n, 50, seed=n)) for n in range(1, 60)]
    assert np.mean([labels.any() for labels in ends]) < 0.1  # a tenth of single windows is above


def test_one_window_alone_is_flagged_as_a_whole_or_not_at_all():
    series = _wave(2000, 50)
    series[1000:1015] = series[1000]  # no step of it is strange by itself
    detector = WindowedDetector(RobustDeepAutoencoder(random_state=0), window_size=50).fit(series)
    assert detector.predict(series[980:1030]).all()
    assert not detector.predict(series[300:350]).any()
    assert (
        detector.decision_function(series[300:350]) == detector.score_new(series[300:350])
    ).all()


def test_the_highest_score_of_a_flat_series_is_where_it_is_not():
    for at in (3, 60, 500, 990, 999):
        series = np.zeros(1000)
        series[at] = 1.0
        detector = WindowedDetector(RobustPCA(), window_size=50).fit(series)
        assert np.flatnonzero(detector.labels_).tolist() == [at]
        assert detector.decision_scores_.argmax() == at


@pytest.mark.parametrize("seed", range(50))
def test_flags_at_ends_are_a_part_of_those_of_all_windows(seed):
    rng = np.random.default_rng(seed)
    lengths = [int(n) for n in rng.integers(5, 60, size=6)]
    windows = Windows(np.zeros((sum(lengths), 1)), lengths, 10, stride=int(rng.integers(1, 4)))
    scores = np.convolve(rng.lognormal(size=len(windows)), np.ones(5), "same")
    flagged = scores > np.quantile(scores, 0.6)
    labels = flag_steps(
        windows, scores, flagged, float(np.median(scores)), float(np.quantile(scores, 0.9))
    )
    every = windows.all_of(flagged)
    assert not (labels & ~every).any()
    first = 0
    for length in lengths:  # where no window is missing, nothing is taken back
        if length >= 20:
            mine = windows.starts[(windows.starts >= first) & (windows.starts < first + length)]
            inner = slice(mine[0] + 9, mine[-1] + 1)
            assert np.array_equal(labels[inner], every[inner])
        first += length


@pytest.mark.parametrize("stride", [1, 3])
def test_scores_grow_with_the_root_of_how_many_windows_there_could_be(stride):
    windows = Windows(np.zeros((12, 1)), [7, 2, 3], 3, stride)
    scores = np.random.default_rng(0).normal(size=len(windows))
    mean = windows.combine(scores, "mean")
    found = step_scores(windows, scores, "mean", 1.0)
    root = np.sqrt([1, 2, 3, 3, 3, 2, 1, np.nan, np.nan, 1, 1, 1])
    np.testing.assert_allclose(found, 1 + (mean - 1) * root)
    assert found[6] == scores[windows.starts == 4]  # to the last bit


@pytest.mark.parametrize(
    ("energy", "length"),
    [
        # One spike, by where in the windows it is.
        ([0.67, 0.66, 0.68, 0.78, 0.8, 0.68, 0.85, 0.83, 0.85, 1.0, 0.73, 0.7, 0.75, 0.84], 1),
        ([0.54, 0.62, 0.67, 0.56, 0.64, 0.68, 0.65, 0.74, 0.66, 0.73, 0.63, 0.62, 0.71], 1),
        ([0.5, 1.0, 0.9, 0.95, 1.0, 0.9, 0.92], 2),
        (np.minimum(np.arange(1, 41) / 20, 1.0), 19),
    ],
)
def test_an_event_near_an_end_ends_where_scores_rise_no_further(energy, length):
    assert _event_length(np.sqrt(energy), 60) == length
