import pickle
import tracemalloc
import warnings

import numpy as np
import pytest
from optional import Optional
from pyod.models.base import BaseDetector
from pyod.models.iforest import IForest
from pyod.models.knn import KNN
from sklearn.base import clone
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError

from skrdae import (
    CalibratedDetector,
    ConvRobustAutoencoder,
    LSTMRobustAutoencoder,
    OutlierAdapter,
    RobustDeepAutoencoder,
    USADDetector,
    WindowedDetector,
)
from skrdae.preprocessing import Windows
from skrdae.thresholds import tune_threshold

pd = Optional("pandas")

PLANTED = {
    "spike": (600, 601),
    "level shift": (600, 650),
    "frequency change": (600, 660),
    "dropout": (600, 640),
}


def _sine(n=1200, period=30, seed=0):
    rng = np.random.default_rng(seed)
    return np.sin(2 * np.pi * np.arange(n) / period) + 0.1 * rng.normal(size=n)


def _planted(kind, seed=0):
    series = _sine(seed=seed)
    start, stop = PLANTED[kind]
    if kind == "spike":
        series[start] += 3
    elif kind == "level shift":
        series[start:stop] += 1.5
    elif kind == "frequency change":
        series[start:stop] = np.roll(_sine(period=13, seed=seed), 3)[start:stop]
    else:
        series[start:stop] = 0
    return series


def _detector(**options):
    options = {"window_size": 30} | options
    return WindowedDetector(RobustDeepAutoencoder(n_estimators=2, random_state=0), **options)


class _Mean(BaseDetector):
    """Scores a row by its mean: an oracle that needs no training."""

    def __init__(self, contamination=0.1):
        self.contamination = contamination

    def fit(self, X, y=None):
        self.decision_scores_ = self.decision_function(X)
        return self

    def decision_function(self, X):
        return X.mean(axis=1)

    def predict(self, X):
        return (self.decision_function(X) > 0).astype(int)

    # As in detectors of this package; PyOD's own know no "auto".
    get_params = IsolationForest.get_params
    set_params = IsolationForest.set_params
    _get_param_names = classmethod(IsolationForest._get_param_names.__func__)


# ------------------------------------------------------------------- what it is for


@pytest.mark.parametrize("kind", PLANTED)
def test_what_is_planted_ranks_first_and_nothing_else_is_flagged(kind):
    start, stop = PLANTED[kind]
    for seed in range(2):
        detector = _detector(window_size=45).fit(_planted(kind, seed))
        assert start <= detector.decision_scores_.argmax() < stop
        # At the very ends a step is in a window or two, and those decide.
        flagged = 45 + np.flatnonzero(detector.labels_[45:-45])
        assert len(flagged)
        assert start - 3 <= flagged[0]
        assert flagged[-1] < stop + 3


@pytest.mark.parametrize("kind", PLANTED)
def test_a_recurrent_network_ranks_it_first_too(kind):
    start, stop = PLANTED[kind]
    series = _planted(kind)
    network = LSTMRobustAutoencoder(max_iter=3, lr=1e-2, random_state=0)
    detector = WindowedDetector(network, window_size="auto", stride=2)
    assert detector.fit(series).window_size_ in (29, 30, 31)
    assert start <= detector.decision_scores_.argmax() < stop


def test_trimming_keeps_what_recurs_from_being_learnt():
    series = _sine(3000)
    anomalous = np.zeros(3000, bool)
    for start in range(200, 2800, 650):  # the same bump, four times
        series[start : start + 25] += 1.0
        anomalous[start : start + 25] = True
    plain, trimmed = (_detector(trim=trim).fit(series) for trim in (0.0, 0.1))
    assert trimmed.score(series, anomalous) >= plain.score(series, anomalous)
    ratio = [
        d.decision_scores_[anomalous].mean() / d.decision_scores_[~anomalous].mean()
        for d in (plain, trimmed)
    ]
    assert ratio[1] > ratio[0]


def test_at_least_half_of_the_windows_are_kept():
    detector = _detector(window_size=100, trim=0.5).fit(_sine(150))
    assert len(detector.detector_.decision_scores_) >= 51 / 2


# ------------------------------------------------------------------- scores and labels


@pytest.mark.parametrize("aggregate", ["mean", "max", "median"])
@pytest.mark.parametrize("stride", [1, 7])
def test_a_step_has_the_scores_of_the_windows_that_cover_it(aggregate, stride):
    series = _planted("level shift")[480:680, None]
    detector = WindowedDetector(
        _Mean(0.3), window_size=30, stride=stride, aggregate=aggregate, max_windows=None, trim=0
    ).fit(series)
    starts = [*range(0, 171, stride)] + ([170] if 170 % stride else [])
    scores = np.array([series[s : s + 30].mean() for s in starts])
    np.testing.assert_allclose(detector.window_scores_, scores, atol=1e-12)
    threshold, ordinary = np.percentile(scores, 70), np.median(scores)
    for step in range(200):
        over = np.array([s <= step < s + 30 for s in starts])
        expected = getattr(np, aggregate)(scores[over])
        # What many windows say counts for more than what few say near an end.
        n_positions = min(step + 1, 200 - step, 30)
        expected = ordinary + (expected - ordinary) * np.sqrt(n_positions)
        assert detector.decision_scores_[step] == pytest.approx(expected, abs=1e-12)
        if 29 <= step <= 170:
            assert detector.labels_[step] == (scores[over] > threshold).all()
    assert 0 < detector.labels_.sum() < 40
    assert np.array_equal(detector.decision_function(series), detector.decision_scores_)
    assert np.array_equal(detector.predict(series), detector.labels_)
    assert np.array_equal(detector.fit_predict(series), detector.labels_)


def test_scores_of_the_training_series_are_those_of_decision_function():
    series = _planted("spike")
    detector = _detector().fit(series)
    assert np.array_equal(detector.decision_function(series), detector.decision_scores_)
    assert np.array_equal(detector.predict(series), detector.labels_)
    # Steps far from either end know nothing of the rest of the series.
    assert np.array_equal(
        detector.decision_function(series[500:700])[29:-29], detector.decision_scores_[529:671]
    )


@pytest.mark.parametrize("stride", [1, 4])
def test_the_newest_step_has_the_score_of_the_batch(stride):
    series = np.c_[_planted("level shift"), _sine(seed=1)]
    detector = _detector(stride=stride).fit(series[:800])
    assert detector.score_new(series[:800]) == detector.window_scores_[-1]
    for stop in range(30, 200, 13):
        batch = detector.decision_function(series[:stop])[-1]
        assert detector.score_new(series[:stop]) == batch
        assert detector.score_new(series[stop - 30 : stop]) == batch
        assert detector.score_new(series[:stop].tolist()) == batch
    frame = pd.DataFrame(series, index=pd.date_range("2024", periods=1200, freq="min"))
    assert detector.fit(frame).score_new(frame[:400]) == detector.decision_function(frame[:400])[-1]
    with pytest.raises(ValueError, match="shorter than the window"):
        detector.score_new(series[:29])


def test_series_of_a_list_are_kept_apart():
    pieces = [_planted("spike")[550:650], _sine(300, seed=1), _sine(40, seed=2)]
    detector = _detector().fit(pieces)
    assert len(detector.window_scores_) == sum(len(p) - 29 for p in pieces)
    apart = np.concatenate([detector.decision_function(p) for p in pieces])
    assert np.array_equal(detector.decision_function(pieces), apart)
    assert np.array_equal(detector.decision_scores_, apart)
    assert detector.decision_scores_.argmax() == 50
    joined = detector.decision_function(np.concatenate(pieces))
    assert not np.array_equal(joined, apart)
    assert np.array_equal(joined[:70], apart[:70])  # only near the borders


def test_votes_of_members_and_pythresh_objects_label_windows():
    IQR = pytest.importorskip("pythresh.thresholds.iqr").IQR

    series = _planted("level shift")
    inner = RobustDeepAutoencoder(lam=4.0, contamination="auto", n_estimators=3, random_state=0)
    detector = WindowedDetector(inner, window_size=30).fit(series)
    votes = detector.detector_.predict(np.lib.stride_tricks.sliding_window_view(series, 30))
    held = Windows(series[:, None], [1200], 30)
    by_votes = held.combine(1 - votes, "max") == 0
    assert 20 < by_votes.sum() < 50
    flagged = np.flatnonzero(detector.labels_)  # and those that stand out by themselves
    assert len(flagged) > 20
    assert set(flagged) <= {*range(600, 650)}
    detector._own_limits = None
    assert np.array_equal(detector.predict(series), by_votes)
    detector.fit(series)
    assert np.array_equal(detector.predict(series), detector.labels_)
    assert detector.window_threshold_ is None

    inner = RobustDeepAutoencoder(contamination=IQR(), random_state=0)
    detector = WindowedDetector(inner, window_size=30).fit(series)
    assert not hasattr(tune_threshold(detector, series, rule="percentile"), "thresholder_")
    flagged = IQR().fit(detector.window_scores_).labels_
    assert np.array_equal(detector.labels_, held.combine(1 - flagged, "max") == 0)
    assert detector.labels_[600:650].sum() > 40


def test_detectors_that_leave_a_row_out_are_asked_for_their_training_scores():
    series = _planted("spike")[500:700]
    detector = WindowedDetector(KNN(), window_size=20, max_windows=None, trim=0).fit(series)
    rows = np.lib.stride_tricks.sliding_window_view(series, 20)
    expected = KNN().fit(rows).decision_scores_
    np.testing.assert_allclose(detector.window_scores_, expected)
    assert not np.allclose(detector.decision_function(series), detector.decision_scores_)


def test_steps_that_no_window_covers_have_no_score():
    series = _sine(205)
    with pytest.warns(UserWarning, match="covers 95 of 205"):
        detector = WindowedDetector(_Mean(), window_size=10, stride=20, trim=0).fit(series)
    bare = np.isnan(detector.decision_scores_)
    expected = (np.arange(205) % 20 >= 10) & (np.arange(205) < 195)
    assert np.array_equal(bare, expected)
    assert not detector.labels_[bare].any()
    assert np.array_equal(np.isnan(detector.predict_proba(series)[:, 1]), bare)
    assert np.isfinite(detector.predict_confidence(series)[~bare]).all()
    assert np.isfinite(detector.threshold_)
    assert detector.score(series, np.arange(205) % 2) < 1


def test_a_threshold_tuned_outside_decides():
    series = _planted("level shift")
    y = np.zeros(1200)
    y[600:650] = 1
    detector = _detector().fit(series)
    tuned = tune_threshold(detector, series, y, "max_f1")
    expected = (detector.decision_scores_ > tuned.threshold_).astype(int)
    assert np.array_equal(tuned.predict(series), expected)
    assert np.array_equal(detector.predict(series), detector.labels_)  # left as it was
    adapted = OutlierAdapter(detector).fit(series[:, None])
    assert np.array_equal(adapted.predict(series[:, None]), 1 - 2 * detector.labels_)


# ------------------------------------------------------------------- as an estimator


def test_it_is_an_ordinary_estimator():
    series = _planted("spike")
    detector = _detector().fit(series)
    copies = clone(detector).fit(series), pickle.loads(pickle.dumps(detector))
    for other in copies:
        assert np.array_equal(other.decision_function(series), detector.decision_scores_)
    assert detector.get_params()["detector__n_estimators"] == 2
    detector.set_params(detector__lam=3.0, stride=5)
    assert detector.detector.lam == 3.0
    assert detector.contamination == 0.1
    assert repr(WindowedDetector(KNN(), stride=3)).startswith("WindowedDetector(")
    assert np.array_equal(detector.classes_, [0, 1])
    frame = pd.DataFrame({"load": series, "other": _sine(seed=3)})
    assert detector.fit(frame).feature_names_in_.tolist() == ["load", "other"]
    with pytest.raises(ValueError, match="feature names"):
        detector.predict(frame[["other", "load"]])
    with pytest.raises(ValueError, match="2 features"):
        detector.fit(frame.to_numpy()).predict(series)
    for method in ("decision_function", "predict", "score_new", "predict_proba"):
        with pytest.raises(NotFittedError):
            getattr(_detector(), method)(series)


def test_parameters_set_after_a_fit_wait_for_the_next():
    series = _planted("spike")
    detector = _detector().fit(series)
    scores, labels = detector.decision_scores_, detector.labels_
    detector.set_params(aggregate="max", window_size=50, detector__contamination=0.4)
    detector.set_params(stride=9)
    assert np.array_equal(detector.decision_function(series), scores)
    assert np.array_equal(detector.predict(series), labels)


def test_a_failed_fit_leaves_it_as_it_was():
    series = _planted("spike")
    detector = _detector().fit(series)
    before = vars(detector).copy()
    for broken in (series[:20], np.r_[series, np.nan], series[:, None, None]):
        with pytest.raises(ValueError, match=r"window|NaN|dim 3"):
            detector.fit(broken)
        assert vars(detector).keys() == before.keys()
        assert all(vars(detector)[key] is before[key] for key in before)


def test_memory_does_not_grow_with_the_window():
    series = np.random.default_rng(0).normal(size=100_000)
    peaks = []
    for size in (50, 500):  # all windows at once would be 40 and 400 MB
        tracemalloc.start()
        WindowedDetector(_Mean(), window_size=size).fit(series)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert max(peaks) < 60e6
    assert peaks[1] < 1.5 * peaks[0]


# ------------------------------------------------------------------- bad input


def _frame(n=200, **options):
    index = pd.date_range("2024-03-01", periods=n, freq="5min", **options)
    return pd.DataFrame({"a": _sine(n)}, index=index)


def test_gaps_are_an_error_or_borders():
    frame = _frame().drop(_frame().index[80:90]).drop(_frame().index[150:160])
    with pytest.raises(ValueError, match=r"2 gap\(s\), the first between 2024-03-01 06:35:00.*"):
        _detector().fit(frame)
    with pytest.raises(ValueError, match=r"resample.*on_gap='split'"):
        _detector().fit(frame)
    split = _detector(on_gap="split").fit(frame)
    pieces = [frame[:80], frame[80:140], frame[140:]]
    apart = _detector(on_gap="split").fit([p.to_numpy() for p in pieces])
    assert np.array_equal(split.decision_scores_, apart.decision_scores_)
    # Whatever comes later, one rule: the gap is found in what is scored, too.
    assert np.array_equal(split.decision_function(frame), split.decision_scores_)
    with pytest.raises(ValueError, match="gap"):
        _detector().fit(_frame()).predict(frame)
    with pytest.raises(ValueError, match="between its gaps"):
        _detector(on_gap="split", window_size=100).fit(frame)
    # A piece shorter than the window has no score.
    with pytest.warns(UserWarning, match="No window covers 40 of 180"):
        short = _detector(on_gap="split", window_size=50).fit(frame)
    assert np.isnan(short.decision_scores_[140:]).all()
    with pytest.raises(ValueError, match="gap"):
        _detector().fit(_frame()).score_new(frame[60:100])
    # A clock put back is a border as well, and so is an entry that is there twice.
    back = _frame().index.to_series()
    back.iloc[120:] -= pd.Timedelta("1h")
    back.iloc[160:] -= pd.Timedelta("5min")
    turned = _frame().set_index(pd.DatetimeIndex(back))
    found = _detector(on_gap="split").fit(turned)
    pieces = [_frame()[:120], _frame()[120:160], _frame()[160:]]
    apart = _detector(on_gap="split").fit([p.to_numpy() for p in pieces])
    assert np.array_equal(found.decision_scores_, apart.decision_scores_)
    for wrong in (_frame()[::-1], _frame().iloc[np.repeat(np.arange(60), 3)]):
        with pytest.raises(ValueError, match=r"not sorted|twice"):
            _detector(on_gap="split").fit(wrong)
    # A jitter of seconds is none.
    jitter = pd.to_timedelta(np.arange(200) % 7, unit="s")
    assert _detector().fit(_frame().set_index(_frame().index + jitter)).labels_.shape == (200,)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.iloc[::-1], "not sorted"),
        (lambda f: pd.concat([f[:100], f[99:]]), r"holds 2024-03-01 08:15:00 twice.*duplicated"),
        (lambda f: f.set_index(f.index.where(np.arange(200) != 7)), "NaT"),
        (
            lambda f: f.mask((np.arange(200) == 17)[:, None]),
            r"NaN, first at step 17 .*interpolate",
        ),
        (lambda f: f.replace(f.iloc[3, 0], np.inf), "infinity"),
        (lambda f: f[:20], "shorter than the window: window_size is 30, .* 20 steps"),
        (lambda f: f.astype(str) + "x", "contains text in column 'a'"),
        (lambda f: [f, f.iloc[::-1]], r"index of X\[1\] is not sorted"),
        (lambda f: [f, f.rename(columns={"a": "b"})], "feature names"),
        (lambda f: [f.to_numpy(), np.zeros((50, 2))], "2 features"),
        (lambda f: f[:0], "0 sample"),
        (lambda f: [], "Expected 2D|0 sample|empty"),
    ],
)
def test_impossible_series(change, words):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        series = change(_frame())
    with pytest.raises(ValueError, match=words):
        _detector().fit(series)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"window_size": 0}, "window_size"),
        ({"window_size": 2.5}, "window_size"),
        ({"window_size": True}, "window_size"),
        ({"window_size": "day"}, "window_size"),
        ({"stride": 0}, "stride"),
        ({"aggregate": "min"}, "aggregate"),
        ({"max_windows": 0}, "max_windows"),
        ({"trim": 0.7}, "trim"),
        ({"trim": True}, "trim"),
        ({"on_gap": "fill"}, "on_gap"),
        ({"detector": IsolationForest()}, "detector"),
        ({"detector": IForest}, "detector"),
        ({"detector": None}, "detector"),
        ({"detector": LSTMRobustAutoencoder(n_channels=2)}, "set n_channels=1"),
        ({"detector": RobustDeepAutoencoder(lam=-1)}, "lam"),
    ],
)
def test_wrong_parameters_are_named(options, word):
    detector = WindowedDetector(**({"detector": IForest(), "window_size": 30} | options))
    before = vars(detector).copy()
    with pytest.raises((ValueError, TypeError), match=word):
        detector.fit(_sine(200))
    assert vars(detector) == before


def test_windows_of_convolutions_are_lines_of_steps():
    series = np.column_stack([_sine(120), _sine(120)])
    brief = ConvRobustAutoencoder(channels=(2,), code_size=2, max_iter=1, random_state=0)
    for X, shape in ((series[:, :1], (1, 16, 1)), (series, (1, 16, 2))):
        windowed = WindowedDetector(brief, window_size=16).fit(X)  # 16 is a square number
        assert windowed.detector_.image_shape_ == shape
        assert windowed.detector.image_shape is None
    for given in ((16, 2), (4, 8)):
        detector = clone(brief).set_params(image_shape=given)
        assert WindowedDetector(detector, window_size=16).fit(series).detector_.image_shape == given


def test_no_period_is_an_error():
    noise = np.random.default_rng(0).normal(size=500)
    with pytest.raises(ValueError, match="no period"):
        _detector(window_size="auto").fit(noise)


# ------------------------------------------------------------------- what was overlooked once


def test_steps_without_a_score_are_the_least_anomalous_to_scorers():
    from skrdae.metrics import anomaly_scores, average_precision_scorer, roc_auc_scorer

    frame = _frame(300).drop(_frame(300).index[100:110]).drop(_frame(300).index[120:125])
    y = np.arange(len(frame)) % 50 == 7
    with pytest.warns(UserWarning, match="No window covers 10"):
        detector = _detector(on_gap="split").fit(frame)
    bare = np.isnan(detector.decision_scores_)
    scores = anomaly_scores(detector, frame)
    assert np.array_equal(scores[~bare], detector.decision_scores_[~bare])
    assert (scores[bare] == scores.min()).all()
    assert roc_auc_scorer(detector, frame, y) == detector.score(frame, y)
    assert 0 < average_precision_scorer(detector, frame, y) < 1
    tuned = tune_threshold(detector, frame, rule="percentile", value=95)
    assert not tuned.predict(frame)[bare].any()
    labels = detector.predict_with_rejection(frame)
    assert (labels[bare] == -2).all()
    assert detector._flagged_share * (~bare).sum() == pytest.approx(detector.labels_.sum())


def test_rejection_where_nothing_is_flagged():
    series = np.sin(np.arange(300) / 4)
    detector = _detector().fit(series)
    assert not detector.labels_[30:-30].any()
    labels, stats = detector.predict_with_rejection(series, return_stats=True)
    assert set(labels) <= {-2, 0, 1}
    assert np.isfinite(stats).all()


def test_a_buffer_of_numbers_or_steps_is_one_series():
    from collections import deque

    series = _planted("spike")
    detector = _detector().fit(list(series))
    assert np.array_equal(detector.decision_scores_, _detector().fit(series).decision_scores_)
    newest = detector.score_new(series[-30:])
    assert detector.score_new(deque(series, maxlen=40)) == newest
    two = np.c_[series, series[::-1]]
    detector = _detector().fit(two)
    assert detector.score_new(deque(two)) == detector.score_new(two)  # a deque of flat arrays
    # A list of flat arrays is one of several series.
    with pytest.raises(ValueError, match="flat arrays is one of several series"):
        _detector().fit(list(two))


def test_an_index_of_numbers_is_time():
    frame = _frame().reset_index(drop=True)
    expected = _detector().fit(frame).decision_scores_
    halves = _detector().fit(frame.set_index(frame.index * 0.5))
    assert np.array_equal(halves.decision_scores_, expected)
    holed = frame.drop(range(80, 90))
    with pytest.raises(ValueError, match=r"1 gap\(s\), the first between 79 and 90; the usual"):
        _detector().fit(holed)
    split = _detector(on_gap="split").fit(holed).decision_scores_
    apart = _detector().fit([frame[:80].to_numpy(), frame[90:].to_numpy()]).decision_scores_
    assert np.array_equal(split, apart)
    with pytest.raises(ValueError, match="not sorted"):
        _detector().fit(frame[::-1])
    named = frame.set_index(frame.index.astype(str))  # says nothing of time
    assert np.array_equal(_detector().fit(named).decision_scores_, expected)


def test_the_usual_step_is_that_of_the_training_series():
    frame = _frame(300)
    detector = _detector(window_size=5).fit(frame)
    with pytest.raises(ValueError, match="the usual step is 300 seconds"):
        detector.predict(frame[::12])  # hourly
    pair = _frame(300).iloc[[0, 1, 2, 3, 60]]
    with pytest.raises(ValueError, match="gap"):
        detector.score_new(pair)
    split = _detector(window_size=5, on_gap="split").fit(frame)
    assert np.isnan(split.score_new(pair))
    assert np.isnan(split.decision_function(frame.iloc[[*range(20), 60]])[-1])


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_times_of_arrow_tell_gaps_as_well(zone):
    frame = _frame(tz=zone).drop(_frame(tz=zone).index[80:90])
    arrow = frame.set_axis(
        frame.index.astype(f"timestamp[us{', ' + zone if zone else ''}][pyarrow]")
    )
    with pytest.raises(ValueError, match=r"1 gap\(s\), the first between 2024-03-01 06:35:00"):
        _detector().fit(arrow)
    split = _detector(on_gap="split").fit(frame)
    assert np.array_equal(
        _detector(on_gap="split").fit(arrow).decision_scores_, split.decision_scores_
    )


@pytest.mark.parametrize("on_gap", ["raise", "split"])
def test_a_series_of_one_step_says_nothing_of_the_usual_one(on_gap):
    frame = _frame()
    with pytest.warns(UserWarning, match="No window covers 1 of 200"):
        detector = _detector(window_size=5, on_gap=on_gap).fit([frame[:1], frame[1:]])
    alone = _detector(window_size=5, on_gap=on_gap).fit(frame[1:])
    assert np.isnan(detector.decision_scores_[0])
    assert np.array_equal(detector.decision_scores_[1:], alone.decision_scores_)
    with pytest.raises(ValueError, match="300 seconds"):
        detector.predict(frame[::12])
    # Nor does it know a gap, where a window is as short.
    detector = _detector(window_size=1, on_gap=on_gap).fit(frame)
    assert detector.score_new(frame[-1:]) == detector.decision_scores_[-1]


def test_scores_that_are_not_finite_are_refused():
    class Broken(_Mean):
        def decision_function(self, X):
            return np.full(len(X), np.inf)

    for max_windows in (None, 20):
        with pytest.raises(ValueError, match="not finite"):
            WindowedDetector(Broken(), window_size=30, max_windows=max_windows).fit(_sine(200))


def test_a_trend_hides_no_period():
    series = _sine(900) + np.arange(900) * 0.1
    assert _detector(window_size="auto").fit(series).window_size_ in (29, 30, 31)


def test_the_channels_of_a_network_are_those_of_the_series():
    X = np.random.default_rng(0).normal(size=(150, 3))
    inner = USADDetector(n_estimators=1, n_epochs=1, random_state=0)
    windowed = WindowedDetector(inner, window_size=8).fit(X)
    assert windowed.detector_.n_channels == 3
    assert windowed.detector.n_channels == 1
    told = clone(windowed).set_params(detector__n_channels=3).fit(X)
    assert np.array_equal(told.decision_scores_, windowed.decision_scores_)


def test_calibrated_detectors_are_not_for_windows():
    X = np.random.default_rng(0).normal(size=(150, 2))
    with pytest.raises(TypeError, match="overlap"):
        WindowedDetector(CalibratedDetector(KNN()), window_size=8).fit(X)
