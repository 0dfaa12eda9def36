import pickle
import warnings
from itertools import pairwise

import numpy as np
import pytest
from optional import Optional
from pyod.models.base import BaseDetector
from scipy.signal import lfilter
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrdae import CalibratedDetector, OutlierAdapter, RobustDeepAutoencoder, WindowedDetector
from skrdae.thresholds import tune_threshold

pd = Optional("pandas")


class _Energy(BaseDetector):
    """Scores a window by its distance from the mean of those fitted to, which it keeps."""

    def __init__(self, contamination=0.1):
        self.contamination = contamination

    def fit(self, X, y=None):
        self.seen_ = np.array(X)
        self.mean_ = self.seen_.mean(axis=0)
        self.decision_scores_ = self.decision_function(X)
        return self

    def decision_function(self, X):
        return np.sqrt(((np.asarray(X) - self.mean_) ** 2).sum(axis=1))


def _calibrated(size=8, stride=1, cv=3, max_fpr=0.1, **options):
    windowed = WindowedDetector(
        _Energy(), window_size=size, stride=stride, max_windows=None, **options
    )
    return CalibratedDetector(windowed, max_fpr=max_fpr, cv=cv)


def _clones(monkeypatch, series, **options):
    """Fit, and return what is fitted with the clones that it leaves behind."""
    clones, make = [], CalibratedDetector._clone
    monkeypatch.setattr(
        CalibratedDetector,
        "_clone",
        lambda self, seed: clones.append(make(self, seed)) or clones[-1],
    )
    calibrated = _calibrated(**options).fit(series)
    assert clones[0] is calibrated.detector_
    return calibrated, clones[1:]


def _white(n, seed=0):
    return np.random.default_rng(seed).normal(size=n)


def _slow(n, seed=0):
    return lfilter([1], [1, -0.8], _white(n + 100, seed))[100:]


def _length_of_runs(runs, apart):
    """Return how many of the highest 2 % follow each other, on average."""
    limit, lengths = np.quantile(np.concatenate(runs), 0.98), []
    for run in runs:
        last = -np.inf
        for place in np.flatnonzero(np.array(run) > limit):
            if place - last > apart:
                lengths.append(0)
            lengths[-1] += 1
            last = place
    return np.mean(lengths)


@pytest.mark.parametrize("stride", [1, 3])
def test_p_values_by_the_definition(stride, monkeypatch):
    size, cv, n = 8, 3, 300
    series, new = _white(n), _white(90, seed=1)
    calibrated, clones = _clones(monkeypatch, series, size=size, stride=stride, cv=cv)
    n_overlapping = -(-size // stride)
    borders = np.linspace(0, n, cv + 1).astype(int)
    lowest_of = {count: [[] for _ in range(cv)] for count in range(1, n_overlapping + 2)}
    for fold, (first, stop) in enumerate(pairwise(borders)):
        # All windows that hold a step of the block, of which those count that start in it.
        low, high = max(first - size + 1, 0), min(stop + size - 1, n)
        starts = np.unique([*range(low, high - size + 1, stride), high - size])
        starts = starts[(starts >= first) & (starts < stop)]
        scores = clones[fold].detector_.decision_function(
            np.stack([series[start : start + size] for start in starts])
        )
        for count, found in lowest_of.items():
            found[fold] = [
                scores[i : i + count].min() for i in range(max(len(scores) - count + 1, 0))
            ]
    starts = np.unique([*range(0, len(new) - size + 1, stride), len(new) - size])
    windows = np.stack([new[start : start + size] for start in starts])
    scores = calibrated.detector_.detector_.decision_function(windows)
    right = []
    for step in range(len(new)):
        covering = (starts <= step) & (step < starts + size)
        runs = lowest_of[covering.sum()]
        known = np.concatenate(runs)
        n_above = (known >= scores[covering].min()).sum()
        n_alike = min(_length_of_runs(runs, n_overlapping), (n_overlapping + 1) / 2)
        right.append((n_alike + n_above) / (n_alike + len(known)))
    np.testing.assert_allclose(calibrated.p_values(new), right, rtol=1e-12)


def test_a_block_is_scored_by_a_clone_that_saw_none_of_its_windows(monkeypatch):
    series = np.arange(200.0)  # a step is its own name
    calibrated, clones = _clones(monkeypatch, series, size=6, cv=4, trim=0)
    for fold, detector in enumerate(clones):
        own = np.arange(50 * fold, 50 * fold + 50)
        seen = np.unique(detector.detector_.seen_)
        assert not np.isin(own, seen).any()
        assert {min(abs(own[0] - seen).min(), abs(own[-1] - seen).min())} == {6}
    assert np.isfinite(calibrated.decision_scores_).all()


@pytest.mark.parametrize("draw", [_white, _slow])
def test_new_normal_steps_are_flagged_at_the_rate_asked_for(draw):
    levels, rates, newest = np.array([0.05, 0.1]), [], []
    for seed in range(10):
        calibrated = _calibrated(size=12, cv=4).fit(draw(2000, seed))
        new = draw(4000, 100 + seed)
        rates.append((calibrated.p_values(new)[:, None] <= levels).mean(axis=0))
        ends = [new[stop - 12 : stop] for stop in range(12, 4000, 20)]
        newest.append((calibrated.p_values(ends)[::12, None] <= levels).mean(axis=0))
        assert calibrated.labels_.mean() == pytest.approx(0.1, abs=0.03)
        assert calibrated.predict(new).mean() <= rates[-1][1]
    for found in (rates, newest):
        ratio = np.mean(found, axis=0) / levels
        assert (ratio > 1 / 1.5).all()
        assert (ratio < 1.5).all()


def _wave(n, seed, n_channels=None):
    wave = np.sin(np.arange(n) / 4)
    wave = wave if n_channels is None else wave[:, None] * np.ones(n_channels)
    return wave + 0.1 * np.random.default_rng(seed).normal(size=wave.shape)


def test_spikes_are_flagged_and_their_neighbours_are_not():
    inner = RobustDeepAutoencoder(hidden_layer_sizes=(64, 12), n_estimators=1, random_state=0)
    windowed = WindowedDetector(inner, window_size=24)
    calibrated = CalibratedDetector(windowed, max_fpr=0.005, random_state=0).fit(_wave(4000, 0))
    series, at = _wave(2000, 1), np.arange(40, 2000, 80)
    normal = calibrated.predict(series)
    series[at] += 3
    found = calibrated.predict(series)
    assert found[at].all()
    assert found.sum() <= len(at) + normal.sum() + 2
    assert (calibrated.p_values(series)[at] < 0.005).all()
    for place in (0, 1, 7, 20, 279, 292, 298, 299):  # near ends, too
        series = _wave(300, 2)
        series[place] += 3
        flagged = np.flatnonzero(calibrated.predict(series))
        assert place in flagged
        assert abs(flagged - place).max() <= 3
    # Spikes in the training series are flagged, and leave the rate as it is.
    series, at = _wave(4000, 3), np.arange(100, 4000, 400)
    series[at] += 3
    careful = CalibratedDetector(windowed, max_fpr=0.01, random_state=0).fit(series)
    assert careful.labels_[at].all()
    assert careful._held_out.p_standing_out == 11 / 4001
    assert careful.labels_.mean() < 0.015
    assert careful.predict(_wave(2000, 4)).mean() < 0.015


def test_a_step_that_stands_out_is_flagged_where_windows_do_not_tell_it():
    def rough(n, seed):
        return lfilter([1], [1, -0.9], np.random.default_rng(seed).normal(size=n + 100))[100:]

    inner = RobustDeepAutoencoder(n_estimators=2, random_state=0)
    windowed = WindowedDetector(inner, window_size=30)
    calibrated = CalibratedDetector(windowed, max_fpr=0.02, cv=3).fit(rough(4000, 0))
    series, at = rough(2000, 1), np.arange(40, 2000, 120)
    series[at] += 4 * series.std()
    found = calibrated.predict(series)
    assert found[at].mean() > 0.85
    assert found.mean() - found[at].sum() / 2000 < 0.03
    rare = calibrated._held_out.p_standing_out
    assert rare < 0.005
    assert (calibrated.p_values(series)[at] <= rare).mean() > 0.85
    # A rate below the share of steps that stand out among normal ones does not flag them.
    calibrated._share = rare / 2
    assert calibrated.predict(series)[at].mean() < 0.5
    calibrated.detector_._own_limits = None  # as in a file of an earlier version
    calibrated._share = 0.02
    assert calibrated.predict(series)[at].mean() < 0.7


def test_the_newest_step():
    calibrated = _calibrated(max_fpr=0.05).fit(_wave(800, 0, n_channels=2))
    series = _wave(100, 2, n_channels=2)
    assert calibrated.predict_new(series) == 0
    series[-1] += 4
    for given in (series, series[-8:], series[-8:].tolist()):
        assert calibrated.p_value_new(given) == calibrated.p_values(series)[-1] <= 0.05
        assert calibrated.score_new(given) == calibrated.decision_function(series)[-1]
        assert calibrated.predict_new(given) == calibrated.predict(series)[-1] == 1
    with pytest.raises(ValueError, match="shorter than the window"):
        calibrated.p_value_new(series[:7])
    with pytest.raises(ValueError, match="features"):
        calibrated.predict_new(series[:, :1])
    assert not hasattr(CalibratedDetector(_Energy()), "predict_new")


def test_it_is_a_detector_of_series_like_others():
    series, y = _wave(900, 0, n_channels=2), np.zeros(900, int)
    y[[300, 700]] = 1
    series[y == 1] += 3
    inner = RobustDeepAutoencoder(n_estimators=1, max_iter=2)
    windowed = WindowedDetector(inner, window_size="auto")
    calibrated = CalibratedDetector(windowed, cv=3, random_state=0).fit(series)
    assert calibrated.detector_.window_size_ == 25
    assert calibrated.window_scores_.shape == (876,)
    assert calibrated.score(series, y) > 0.9
    np.testing.assert_allclose(
        calibrated.explain(series).sum(axis=1), calibrated.decision_function(series), rtol=1e-4
    )
    again = pickle.loads(pickle.dumps(calibrated))
    assert np.array_equal(again.p_values(series), calibrated.p_values(series))
    tuned = tune_threshold(calibrated, series, y, "max_fpr", value=0.02)
    assert tuned.predict(series)[y == 0].mean() <= 0.02
    other = CalibratedDetector(windowed, cv=3, random_state=0).fit(series)
    assert np.array_equal(other.decision_scores_, calibrated.decision_scores_)
    adapter = OutlierAdapter(_calibrated()).fit(series)
    assert (adapter.predict(series)[y == 1] == -1).all()


def test_several_series_gaps_and_the_order_of_rows():
    values = _wave(600, 0, n_channels=2)
    index = pd.date_range("2024", periods=300, freq="h", name="time")
    parts = {name: pd.DataFrame(values[i : i + 300], index) for name, i in (("a", 0), ("b", 300))}
    frame = pd.concat(parts, names=["machine", "time"])
    mixed = frame.sort_index(level="time")
    ordered, found = _calibrated().fit(frame), _calibrated().fit(mixed)
    b = mixed.index.get_level_values("machine") == "b"
    assert np.array_equal(found.decision_scores_[b], ordered.decision_scores_[300:])
    assert np.array_equal(found.labels_[b], ordered.labels_[300:])
    assert np.array_equal(found.p_values(mixed)[b], ordered.p_values(frame)[300:])
    # A fold for each machine, by rows as they are given.
    folds = [(np.flatnonzero(~b), np.flatnonzero(b)), (np.flatnonzero(b), np.flatnonzero(~b))]
    by_machine = _calibrated(cv=folds).fit(mixed)
    alone = WindowedDetector(_Energy(), window_size=8, max_windows=None).fit(parts["a"])
    found = alone.decision_function(parts["b"])
    assert np.array_equal(by_machine.decision_scores_[b], found)
    split = _calibrated(on_gap="split").fit(parts["a"].drop(index[100:104]))
    gap = parts["b"].drop(index[[20, 25]])
    p_values = split.p_values(gap)
    assert np.isnan(p_values[20:24]).all()
    assert np.isfinite(np.delete(p_values, range(20, 24))).all()
    assert not split.predict(gap)[20:24].any()
    assert np.isnan(split.p_value_new(gap[:26]))
    assert split.predict_new(gap[:26]) == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_fpr": 0.003}, r"max_fpr=0.003 needs at least \d+ steps.*windows of 8.*X has 400"),
        ({"max_fpr": 0.0}, "max_fpr"),
        ({"max_fpr": 1}, "max_fpr"),
        ({"detector__window_size": 180}, "cv leaves nothing to fit to in fold 0"),
        ({"detector__window_size": 500}, "shorter than the window"),
        ({"detector__stride": 0}, "stride"),
        ({"cv": 1}, "cv"),
        ({"cv": [(np.arange(400), np.arange(400))]}, "both"),
        ({"detector": make_pipeline(StandardScaler(), WindowedDetector(_Energy()))}, "last"),
        ({"detector": CalibratedDetector(_Energy())}, "calibrated already"),
        (
            {"detector": OutlierAdapter(WindowedDetector(_Energy()))},
            r"OutlierAdapter\(CalibratedDetector\(WindowedDetector",
        ),
        ({"detector__detector": CalibratedDetector(_Energy())}, "Calibrate the whole"),
    ],
)
def test_bad_parameters_are_named_and_change_nothing(options, words):
    series = _wave(400, 0)
    calibrated = _calibrated().fit(series)
    scores = calibrated.decision_scores_
    with pytest.raises((ValueError, TypeError), match=words):
        calibrated.set_params(**options).fit(series)
    assert calibrated.decision_scores_ is scores
    assert calibrated.p_values(series).shape == (400,)


def test_as_many_steps_as_asked_for_are_enough():
    with pytest.raises(ValueError, match="needs at least") as told:
        _calibrated(max_fpr=0.005).fit(_white(600))
    needed = int(str(told.value).split("at least ")[1].split()[0])
    with pytest.raises(ValueError, match="needs at least"):
        _calibrated(max_fpr=0.005).fit(_white(needed - 1))
    calibrated = _calibrated(max_fpr=0.005).fit(_white(needed))
    new = _white(100, seed=1)
    new[50] += 50
    assert np.flatnonzero(calibrated.predict(new)).tolist() == [50]
    with pytest.raises(NotFittedError):
        _calibrated().p_value_new(new)


@pytest.mark.parametrize("size", [7, 48])
@pytest.mark.parametrize(("stride", "cv"), [(1, 3), (1, 8), (5, 4)])
@pytest.mark.parametrize(("max_fpr", "n"), [(0.05, 400), (0.01, 400), (0.01, 700)])
def test_the_first_number_of_steps_told_is_enough(size, stride, cv, max_fpr, n):
    calibrated = _calibrated(size, stride, cv, max_fpr)
    try:
        calibrated.fit(_white(n))
    except ValueError as error:
        needed = int(str(error).split("at least ")[1].split()[0])
        assert n < needed < 20 * n
        calibrated.fit(_white(needed))


def test_steps_left_out_and_few_windows_are_told_of():
    with pytest.warns(UserWarning, match="No window covers 95 of 300 steps"):
        left_out = _calibrated(10, 15, max_fpr=0.3).fit(_white(300))
    assert np.isnan(left_out.decision_scores_).sum() == 95
    with pytest.warns(UserWarning, match="X has 43 windows of 8 steps, too few"):
        _calibrated(max_fpr=0.5).fit(_white(50))


def test_constant_channels_are_told_of_once_and_labels_not_at_all():
    series = np.column_stack([_wave(500, 0), np.ones(500)])
    inner = RobustDeepAutoencoder(n_estimators=1, max_iter=1, random_state=0)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        CalibratedDetector(WindowedDetector(inner, window_size=8), cv=3).fit(series)
    assert len(told) == 1
    assert "constant" in str(told[0].message)
