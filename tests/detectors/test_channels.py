"""Series of many channels: a detector for each, and the loudest counts."""

import numpy as np
import pytest
from pyod.models.hbos import HBOS
from pyod.models.knn import KNN
from sklearn.metrics import roc_auc_score

from skrdae import (
    ConvRobustAutoencoder,
    LSTMRobustAutoencoder,
    RobustDeepAutoencoder,
    RobustPCA,
    WindowedDetector,
    load,
    save,
)
from skrdae.detectors.channels import ChannelDetectors

QUICK = RobustDeepAutoencoder(n_estimators=2, contamination=0.01, random_state=0)


def _plant(n_channels, n=900, seed=0):
    """Rhythms, noise, constants, flags and meters, the first of which is a rhythm."""
    rng = np.random.default_rng(seed)
    angles = np.arange(n) / 5
    channels = []
    for place in range(n_channels):
        channels.append(
            [
                np.sin(angles + place) + 0.1 * rng.normal(size=n),
                rng.normal(size=n),
                np.full(n, 7.0),
                (np.arange(n) % 150 < 10).astype(float),
                rng.choice([32.0, 32.0037, 32.9964], size=n, p=[0.62, 0.16, 0.22]),
            ][place % 5]
        )
    return np.column_stack(channels)


@pytest.mark.filterwarnings("ignore:No step of X is flagged", "ignore:.*never change")
@pytest.mark.parametrize("channels", ["both", "separate", "loudest"])
def test_one_of_many_that_fails_is_found_and_named(channels):
    X, new = _plant(20), _plant(20, seed=1)
    new[500:530, 5] += 1.0
    y = np.zeros(900)
    y[500:530] = 1
    options = {"window_size": 20, "trim": 0.0}
    found = WindowedDetector(QUICK, channels=channels, **options).fit(X)
    assert roc_auc_score(y, found.decision_function(new)) > 0.95
    drowned = WindowedDetector(QUICK, channels="joint", **options).fit(X)
    assert roc_auc_score(y, drowned.decision_function(new)) < 0.8
    parts, scores = found.explain(new), found.decision_function(new)
    assert (parts[505:525].argmax(axis=1) == 5).mean() >= 0.95
    np.testing.assert_allclose(parts.sum(axis=1), scores, rtol=1e-6, atol=1e-9)
    assert found.score_new(new) == scores[-1]


@pytest.mark.filterwarnings("ignore:No step of X is flagged", "ignore:.*never change")
@pytest.mark.parametrize("channels", ["both", "loudest"])
@pytest.mark.parametrize("place", [2, 3, 4])
def test_channels_that_hardly_move_do_not_vanish(place, channels):
    X, new = _plant(5), _plant(5, seed=1)
    new[400:420, place] = X[:, place].max() + 2
    found = WindowedDetector(QUICK, window_size=20, channels=channels).fit(X)
    assert found.decision_function(new).argmax() in range(395, 425)
    assert (found.explain(new)[402:418].argmax(axis=1) == place).all()


@pytest.mark.parametrize("channels", ["both", "separate"])
def test_one_channel_alone_is_scored_as_ever(channels):
    X = _plant(1)
    found = WindowedDetector(QUICK, window_size=20, channels=channels).fit(X)
    expected = WindowedDetector(QUICK, window_size=20, channels="joint").fit(X)
    assert np.array_equal(found.decision_scores_, expected.decision_scores_)
    assert np.array_equal(found.explain(X), expected.explain(X))


@pytest.mark.parametrize("channels", ["both", "separate", "loudest"])
def test_it_goes_into_a_file_and_its_windows_vote(channels, tmp_path):
    X = np.delete(_plant(4), 2, axis=1)
    voting = RobustDeepAutoencoder(n_estimators=2, contamination="auto", random_state=0)
    found = WindowedDetector(voting, window_size=20, channels=channels).fit(X)
    assert found.window_threshold_ is None
    save(found, tmp_path / "file")
    after = load(tmp_path / "file")
    assert np.array_equal(after.predict(X), found.predict(X))
    assert np.array_equal(after.explain(X), found.explain(X))


def test_any_detector_explains_what_is_separate():
    X = _plant(2)
    X[300:310, 1] += 9
    separate = WindowedDetector(HBOS(), window_size=20, channels="separate").fit(X)
    assert (separate.explain(X)[302:308].argmax(axis=1) == 1).all()
    both = WindowedDetector(HBOS(), window_size=20, channels="both").fit(X)
    assert not hasattr(both, "explain")
    assert 295 < both.decision_scores_.argmax() < 315


@pytest.mark.filterwarnings("ignore:No step of X is flagged")
@pytest.mark.parametrize("channels", ["both", "separate"])
def test_a_window_is_not_its_own_neighbour(channels):
    X, new = np.random.default_rng(0).normal(size=(2, 300, 3))
    found = WindowedDetector(KNN(n_neighbors=1), window_size=10, channels=channels).fit(X)
    assert (found.detector_.scales > 0.01).all()
    assert found.predict(new).mean() < 0.1


def test_other_ways_are_refused():
    with pytest.raises(ValueError, match="'channels' parameter"):
        WindowedDetector(QUICK, channels="quietest").fit(_plant(2))


@pytest.mark.parametrize("n_channels", [1, 4])
def test_a_stuck_sensor_and_a_noisy_one_are_loud(n_channels):
    def plant(seed):
        rng = np.random.default_rng(seed)
        rhythms = np.sin(np.arange(1500)[:, None] / 40 + np.arange(n_channels))
        return rhythms + 0.1 * rng.normal(size=(1500, n_channels))

    X, new = plant(0), plant(1)
    new[500:560, -1] = new[499, -1]
    new[1000:1060, -1] += 0.2 * np.random.default_rng(2).normal(size=60)
    found = WindowedDetector(QUICK, window_size=20, channels="loudest").fit(X)
    scores = [found.score_new(new[stop - 20 : stop]) for stop in (560, 1060)]
    normal = [found.score_new(plant(3)[stop - 20 : stop]) for stop in range(20, 1500, 10)]
    assert min(scores) > max(normal)
    parts = found.explain(new)
    assert (parts[[540, 1040]].argmax(axis=1) == n_channels - 1).all()
    np.testing.assert_allclose(parts.sum(axis=1), found.decision_function(new), rtol=1e-6)


def test_what_is_rough_is_learnt_within_series_and_is_finite():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    options = {"window_size": 10, "channels": "loudest"}
    found = WindowedDetector(QUICK, **options).fit([X, X + 1e6])
    np.testing.assert_allclose(found.detector_.typical, 2.0, rtol=0.25)
    new = X[:10].copy()
    new[-1, 0] = 1e200
    rows = new.reshape(1, -1)
    assert np.isfinite(found.detector_._roughness(rows)).all()
    rare = X.copy()
    rare[:, 1] = 0.0
    rare[100, 1] = 5.0
    found = WindowedDetector(QUICK, **options).fit(rare)
    assert found.detector_.typical[1] > 1


@pytest.mark.parametrize(
    ("detector", "n_channels", "alone"),
    [
        (RobustPCA(), 2, False),
        (RobustPCA(), 3, True),
        (HBOS(), 3, False),
        (LSTMRobustAutoencoder(n_estimators=1, max_iter=1, random_state=0), 3, False),
        (ConvRobustAutoencoder(n_estimators=1, max_iter=1, random_state=0), 3, False),
    ],
)
def test_by_default_channels_are_judged_alone_where_they_are_many(detector, n_channels, alone):
    X = np.random.default_rng(0).normal(size=(120, n_channels))
    windowed = WindowedDetector(detector, window_size=8).fit(X)
    assert isinstance(windowed.detector_, ChannelDetectors) == alone
    if alone:
        assert windowed.detector_.joint is not None
