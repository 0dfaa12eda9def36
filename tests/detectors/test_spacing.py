"""Whether steps are even, and those of training: gaps, calendars, clocks and rates."""

import pickle

import numpy as np
import pytest
from optional import Optional
from pyod.models.hbos import HBOS
from sklearn.base import BaseEstimator

from skrdae import RobustPCA, WindowedDetector, load, save
from skrdae.detectors.series import check_series
from skrdae.detectors.series_error import SeriesError

pd = Optional("pandas")


def _detector(**options):
    return WindowedDetector(HBOS(), **({"window_size": 12, "trim": 0} | options))


def _check(X, **options):
    return check_series(BaseEstimator(), X, **({"reset": True, "on_gap": "raise"} | options))


def _kind(X, **options):
    """Return the kind of trouble that there is with X."""
    with pytest.raises(SeriesError) as caught:
        _check(X, **options)
    return caught.value.kind


def _series(index):
    return pd.DataFrame({"flow": np.cos(np.arange(len(index)) / 7)}, index=index)


def test_clocks_that_change():
    zone = pd.date_range("2022-10-29", periods=96, freq="30min", tz="Europe/Vienna")
    assert _check(_series(zone)).lengths == [96]
    assert _check(_series(pd.Index([t.isoformat() for t in zone]))).lengths == [96]
    naive = zone.tz_localize(None)
    assert _kind(_series(naive)) == "unsorted"
    assert _check(_series(naive), on_gap="split").lengths == [54, 42]
    spring = pd.date_range("2022-03-26", periods=96, freq="30min", tz="Europe/Vienna")
    assert _kind(_series(spring.tz_localize(None))) == "gap"
    days = pd.date_range("2022-03-01", periods=60, freq="D", tz="Europe/Vienna")
    assert _check(_series(days)).lengths == [60]


@pytest.mark.parametrize("freq", ["MS", "ME", "QS", "YS"])
def test_calendars_are_even(freq):
    index = pd.date_range("2001-01-01", periods=120, freq=freq)
    whole = _check(_series(index))
    assert whole.lengths == [120]
    for start in range(0, 24):
        for stop in range(start + 1, start + 13):
            part = _series(index)[start:stop]
            found = _check(part, reset=True, spacing=whole.spacing, index_kind="times")
            assert found.lengths == [stop - start]


def _at(minutes, n=400, jitter=0.0, seed=0):
    late = jitter * np.random.default_rng(seed).uniform(-0.5, 0.5, n)
    return pd.Timestamp("2023-06-01") + pd.to_timedelta((np.arange(n) + late) * minutes, unit="min")


KNOWN = {"spacing": 600e9, "index_kind": "times"}


@pytest.mark.parametrize("on_gap", ["raise", "split"])
@pytest.mark.parametrize("jitter", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("minutes", [1, 5, 6, 7, 7.5, 8, 12.5, 13, 14, 15, 16, 20, 30, 60, 1440])
def test_another_rate_is_refused(minutes, jitter, on_gap):
    frame = _series(_at(minutes, jitter=jitter))
    with pytest.raises(
        SeriesError, match="the usual step is 600 seconds in the training"
    ) as caught:
        _check(frame, on_gap=on_gap, **KNOWN)
    assert caught.value.kind == "rate"
    assert caught.value.facts["usual"] == 600
    assert caught.value.facts["found"] == pytest.approx(60 * minutes, rel=0.05)
    # A window's length is enough to see it, or to see gaps.
    newest = frame[-12:]
    if not jitter and (minutes < 8 or minutes > 12.5):
        with pytest.raises(SeriesError) as caught:
            _check(newest, on_gap=on_gap, **KNOWN)
        assert caught.value.kind == "rate"


@pytest.mark.parametrize("on_gap", ["raise", "split"])
def test_a_detector_refuses_another_rate(on_gap):
    detector = _detector(on_gap=on_gap).fit(_series(_at(10, jitter=0.2)))
    assert detector.predict(_series(_at(10, jitter=0.4, seed=1))).shape == (400,)
    for minutes in (5, 7, 13.5, 20):
        other = _series(_at(minutes, jitter=0.1))
        for method in ("decision_function", "predict", "predict_proba", "score_new"):
            with pytest.raises(SeriesError, match=r"the usual step is \d+(\.\d+)? seconds in the"):
                getattr(detector, method)(other)
    assert detector.fit(other).predict(other).shape == (400,)


@pytest.mark.parametrize("on_gap", ["raise", "split"])
@pytest.mark.parametrize("seed", range(5))
def test_jitter_is_no_other_rate(seed, on_gap):
    frame = _series(_at(10, jitter=0.5, seed=seed))
    assert _check(frame, on_gap=on_gap).lengths == [400]
    for n in (2, 3, 4, 5, 8, 13, 50, 200, 400):
        for start in range(seed, 400 - n + 1, 23):
            part = frame[start : start + n]
            assert _check(part, on_gap=on_gap, **KNOWN).lengths == [n]


@pytest.mark.parametrize("share", [0.1, 0.3, 0.45])
def test_gaps_are_no_other_rate(share):
    rng = np.random.default_rng(3)
    steps = np.where(rng.random(600) < share, rng.integers(2, 9, 600), 1)
    index = pd.Timestamp("2023") + pd.to_timedelta(np.cumsum(steps) * 10, unit="min")
    found = _check(_series(index), on_gap="split", **KNOWN)
    assert len(found.lengths) == (steps[1:] > 1).sum() + 1
    # A window or less, however many of its steps are gaps.
    for start in range(0, 590, 11):
        for n in (2, 3, 5):
            part = _series(index[start : start + n])
            found = _check(part, on_gap="split", **KNOWN)
            assert sum(found.lengths) == n


@pytest.mark.parametrize("on_gap", ["raise", "split"])
@pytest.mark.parametrize("share", [0.5, 0.8, 1.3])
def test_a_rate_that_changes_on_the_way_is_found(share, on_gap):
    steps = np.r_[np.full(900, 10.0), np.full(250, 10 * share), np.full(900, 10.0)]
    index = pd.Timestamp("2023") + pd.to_timedelta(np.cumsum(steps), unit="min")
    for options in ({}, KNOWN):
        with pytest.raises(SeriesError, match=r"from 2023-01-0\d .* on; the usual step") as caught:
            _check(_series(index), on_gap=on_gap, **options)
        assert caught.value.kind == "rate"
        assert caught.value.facts["found"] == 600 * share


@pytest.mark.parametrize("on_gap", ["raise", "split"])
def test_a_step_or_two(on_gap):
    detector = _detector(on_gap=on_gap, window_size=2).fit(_series(_at(10)))
    for minutes in (8, 10, 12, 14):
        assert np.isfinite(detector.score_new(_series(_at(minutes, n=2))))
    for minutes in (1, 4, 5):  # no gap is so short
        with pytest.raises(SeriesError, match="the usual step is 600 seconds in the training"):
            detector.score_new(_series(_at(minutes, n=2)))
    for minutes in (6, 14):
        with pytest.raises(SeriesError, match="the usual step is 600 seconds in the training"):
            detector.predict(_series(_at(minutes, n=4)))
    long = _series(_at(35, n=2))
    if on_gap == "split":
        assert np.isnan(detector.score_new(long))
    else:
        with pytest.raises(SeriesError, match="gap"):
            detector.score_new(long)


def test_series_of_a_list_have_one_rate():
    pieces = [_series(_at(10, n=50)), _series(_at(10, n=300)), _series(_at(20, n=90))]
    for order in ([0, 1, 2], [2, 1, 0]):
        with pytest.raises(SeriesError, match=rf"X\[{order.index(2)}\] goes on in steps of 1200"):
            _check([pieces[i] for i in order])
    # The first is too short to tell the usual step.
    short = _series(pd.DatetimeIndex(["2023-06-01 00:00", "2023-06-01 02:00"]))
    assert _check([short, *pieces[:2]], on_gap="split").lengths == [1, 1, 50, 300]


def test_rates_below_a_second_and_in_numbers():
    fast = pd.date_range("2023", periods=500, freq="250us")
    spacing = _check(_series(fast)).spacing
    with pytest.raises(SeriesError, match=r"steps of 0\.0005 seconds.*resample\('250us'\)"):
        _check(_series(fast)[::2], spacing=spacing, index_kind="times")
    with pytest.raises(SeriesError, match=r"steps of 4; the usual step is 2 .*reset_index"):
        _check(_series(pd.RangeIndex(0, 1200, 4)), spacing=2.0, index_kind="numbers")
    nanoseconds = pd.date_range("2023", periods=500, freq="10ns")
    assert _check(_series(nanoseconds)).spacing == 10
    assert _kind(_series(nanoseconds).drop(nanoseconds[40:50])) == "gap"


def test_a_saved_detector_knows_its_steps(tmp_path):
    detector = WindowedDetector(RobustPCA(), window_size=12).fit(_series(_at(10)))
    save(detector, tmp_path / "detector")
    for other in (load(tmp_path / "detector"), pickle.loads(pickle.dumps(detector))):
        assert np.array_equal(other.predict(_series(_at(10))), detector.labels_)
        for index, kind in ((_at(15), "rate"), (pd.RangeIndex(400), "units")):
            with pytest.raises(SeriesError) as caught:
                other.predict(_series(index))
            assert caught.value.kind == kind


def test_what_goes_back_or_stands_still_is_no_series():
    known = KNOWN | {"on_gap": "split"}
    frame = _series(_at(10))
    for options in ({"on_gap": "split"}, known):
        assert _kind(frame[::-1], **options) == "unsorted"
        assert _kind(frame.iloc[np.repeat(np.arange(60), 3)], **options) == "duplicate"
    mixed = frame.iloc[np.random.default_rng(0).permutation(400)]
    assert _kind(mixed, **known) == "uneven"
    # Records laid end to end are a series each.
    assert _check(pd.concat([frame, frame[:100]]), **known).lengths == [400, 100]
