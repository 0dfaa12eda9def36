import numpy as np
import pytest
from optional import Optional
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from skrdae import RobustPCA, WindowedDetector, load, save
from skrdae.tables import EvenSteps, TableEncoder

pd = Optional("pandas")


def _series(index, rng=None):
    values = np.arange(len(index)) if rng is None else rng.normal(size=len(index))
    return pd.DataFrame({"a": np.asarray(values, float), "b": 7.0}, index)


def _even(index):
    return np.ptp(np.diff(index.as_unit("us").asi8)) == 0


def test_what_is_even_stays_as_it_is():
    for index in (
        pd.date_range("2026-03-28", periods=50, freq="h", tz="Europe/Berlin"),
        pd.date_range("2026-01-01 00:00:07", periods=50, freq="5min"),
        pd.to_timedelta(np.arange(50) * 90, unit="s"),
    ):
        X = _series(index, np.random.default_rng(0))
        steps = EvenSteps().fit(X)
        out = steps.transform(X)
        assert out.index.tolist() == index.tolist()
        assert np.array_equal(out, X)
        assert steps.steps_of(X).tolist() == list(range(50))
    X = _series(pd.Index(np.arange(50) * 0.5 + 0.2))
    pd.testing.assert_frame_equal(EvenSteps().fit_transform(X), X)


def test_short_gaps_are_filled_and_longer_ones_stay():
    index = pd.date_range("2026", periods=100, freq="s").delete([20, 41, 42, *range(60, 66)])
    X = _series(index)
    steps = EvenSteps(max_gap=2).fit(X)
    out = steps.transform(X)
    assert steps.step_ == 1.0
    assert len(out) == 100 - 6
    assert out.loc["2026-01-01 00:00:20", "a"] == 19.5
    np.testing.assert_allclose(
        out.loc["2026-01-01 00:00:41":"2026-01-01 00:00:42", "a"], [39.333, 39.667], atol=1e-3
    )
    rows = out.iloc[steps.steps_of(X)]
    assert np.array_equal(rows, X)  # to the last bit
    assert rows.index.equals(index)
    assert len(EvenSteps(max_gap=0).fit_transform(X)) == len(X)
    whole = EvenSteps(max_gap=6).fit_transform(X)
    assert len(whole) == 100
    assert _even(whole.index)


@pytest.mark.parametrize("offset", ["0s", "14s", "29s", "30s"])
def test_clocks_that_jitter_keep_one_row_a_step(offset):
    rng = np.random.default_rng(0)
    late = pd.to_timedelta(rng.normal(0, 3, 2000).clip(-9, 9), unit="s")
    index = pd.date_range("2026", periods=2000, freq="min") + late + pd.Timedelta(offset)
    X = _series(index)
    steps = EvenSteps().fit(X)
    out = steps.transform(X)
    assert steps.step_ == 60.0
    assert _even(out.index)
    assert len(out) == 2000
    assert steps.steps_of(X).tolist() == list(range(2000))
    assert np.abs(out.index - index).max() < pd.Timedelta("30s")


def test_a_step_between_round_ones_is_kept():
    index = pd.to_datetime(np.arange(3000) * 1e6 / 30, unit="us")  # 30 a second
    steps = EvenSteps().fit(_series(index))
    assert steps.step_ == pytest.approx(1 / 30, rel=1e-4)
    assert len(steps.transform(_series(index))) == pytest.approx(3000, abs=1)


def test_rows_of_one_step_are_averaged():
    index = pd.date_range("2026", periods=120, freq="min")
    X = _series(index)
    steps = EvenSteps("1h").fit(X)
    out = steps.transform(X)
    assert out.index.tolist() == [index[0], index[60]]
    assert out["a"].tolist() == [29.5, 89.5]
    assert np.array_equal(steps.steps_of(X), np.repeat([0, 1], 60))
    # In any order; and a new file as the first.
    mixed = X.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(steps.transform(mixed), out)
    assert np.array_equal(steps.steps_of(mixed), steps.steps_of(X)[mixed["a"].astype(int)])
    twice = _series(index.repeat(2))
    assert EvenSteps().fit(twice).step_ == 60.0
    assert EvenSteps().fit_transform(twice)["a"].tolist()[:2] == [0.5, 2.5]


def test_rows_can_count_as_steps():
    X = _series(pd.bdate_range("2026-01-01", periods=30))
    steps = EvenSteps(None).fit(X)
    out = steps.transform(X)
    assert np.array_equal(out, X)
    assert out.index.equals(pd.RangeIndex(30))
    assert steps.steps_of(X).tolist() == list(range(30))


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("5m", "has to be a time with its unit, such as 10s, 5min, 2h or 1d, or auto; got '5m'"),
        ("5", "has to be a time with its unit"),
        (5, "has to be a time with its unit"),
        ("0s", "more than nothing"),
        ("", "has to be a time"),
        (-1.0, "step"),
        (np.nan, "step"),
    ],
)
def test_steps_that_cannot_be(step, words):
    with pytest.raises(ValueError, match=words):
        EvenSteps(step).fit(_series(pd.date_range("2026", periods=9, freq="s")))


def test_series_that_cannot_be():
    with pytest.raises(ValueError, match="has to be a number, or auto"):
        EvenSteps("5min").fit(_series(pd.Index([1, 2, 3])))
    with pytest.raises(ValueError, match="of times or of numbers"):
        EvenSteps().fit(_series(pd.Index(["x", "y", "z"])))
    with pytest.raises(ValueError, match="A single time"):
        EvenSteps().fit(_series(pd.DatetimeIndex(["2026-01-01"] * 3)))
    with pytest.raises(ValueError, match="no rows"):
        EvenSteps().fit(_series(pd.DatetimeIndex([])))
    with pytest.raises(TypeError, match="DataFrame"):
        EvenSteps().fit(np.eye(3))
    with pytest.raises(ValueError, match="max_gap"):
        EvenSteps(max_gap=-1).fit(_series(pd.Index([1, 2])))
    years = _series(pd.DatetimeIndex(["2000-01-01", "2026-01-01"]))
    with pytest.raises(ValueError, match="longer step or a shorter max_gap"):
        EvenSteps("1s", max_gap=10**9).fit_transform(years)
    with pytest.raises(ValueError, match="too far from zero for steps of 1e-200"):
        EvenSteps(1e-200).fit_transform(_series(pd.Index([1.0, 2.0, 3.0])))
    # Two rows far apart are two rows, however short the step.
    assert len(EvenSteps("1us").fit_transform(years)) == 2


def test_a_model_with_even_steps_is_saved(tmp_path):
    rng = np.random.default_rng(0)
    index = pd.date_range("2026", periods=400, freq="s").delete(range(20, 400, 21))
    table = pd.DataFrame({"t": index.astype(str), "a": np.sin(np.arange(len(index)) / 5)})
    table["a"] += 0.1 * rng.normal(size=len(table))
    detector = WindowedDetector(RobustPCA(), window_size=60, on_gap="split")
    model = clone(make_pipeline(TableEncoder("t"), EvenSteps(), detector)).fit(table)
    save(model, tmp_path / "model")
    again = load(tmp_path / "model")
    scores = again.decision_function(table)
    assert np.array_equal(scores, model[-1].decision_scores_)
    assert len(scores) == 400
    assert not np.isnan(scores).any()
