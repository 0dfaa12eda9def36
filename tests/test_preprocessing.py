import numpy as np
import pytest
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

from skrdae.preprocessing import (
    CHANGED,
    SCALERS,
    ColumnScaler,
    Windows,
    dominant_period,
    spread_places,
)


@pytest.mark.parametrize(
    ("method", "reference"),
    [
        ("robust", RobustScaler(unit_variance=True)),
        ("standard", StandardScaler()),
        ("minmax", MinMaxScaler()),
    ],
)
def test_agrees_with_scikit_learn(method, reference, cancer):
    X, _ = cancer
    Z = ColumnScaler(method).fit(X).transform(X)
    assert Z.dtype == np.float32
    # scikit-learn divides by the exact quartiles of the normal distribution, 1.34898.
    np.testing.assert_allclose(Z, reference.fit_transform(X), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", SCALERS)
def test_inverse_undoes(method, cancer):
    X = cancer[0] / 10
    scaler = ColumnScaler(method).fit(X)
    np.testing.assert_allclose(
        scaler.inverse_transform(scaler.transform(X)), X, rtol=1e-4, atol=1e-6
    )


def test_a_column_without_quartile_range_takes_its_deviation():
    X = np.zeros((100, 2))
    X[:5, 0] = 40.0
    X[:, 1] = np.arange(100)
    scaler = ColumnScaler("robust").fit(X)
    assert scaler.scale_[0] == X[:, 0].std()


@pytest.mark.parametrize("method", ["robust", "standard", "minmax"])
@pytest.mark.parametrize("constant", [0.0, 3.0, 0.1 * 3, 1e5 + 0.1, 1e30, 1e-30])
@pytest.mark.parametrize("n_samples", [50, 1000, 100_000])
def test_a_constant_column_becomes_zero(method, constant, n_samples):
    X = np.full((n_samples, 1), constant)
    scaler = ColumnScaler(method).fit(X)
    assert not scaler.transform(X).any()
    assert not scaler.transform(X.astype(np.float32)).any()
    assert scaler.constant_.tolist() == [True]


@pytest.mark.parametrize("method", ["robust", "standard", "minmax"])
@pytest.mark.parametrize("constant", [0.0, 3.0, -1e-9, 1e5 + 0.1, 1e30])
def test_any_change_of_a_constant_column_counts_alike(method, constant):
    X = np.c_[np.full(50, constant), np.arange(50.0)]
    scaler = ColumnScaler(method).fit(X)
    size = abs(constant) or 1.0
    for change in (1e-3 * size, size, -size, 1e6 * size):
        row = np.array([[constant + change, 3.0]])
        scaled = scaler.transform(row)
        assert scaled[0, 0] == np.sign(change) * CHANGED
        # What belongs to the change has its size in the column's own units.
        own = scaler.unscale(scaled, row)
        np.testing.assert_allclose(own, row - scaler.center_, rtol=1e-6)


def test_a_scaler_learns_columns_that_begin_to_change():
    rng = np.random.default_rng(0)
    first, later = rng.normal(size=(50, 3)), rng.normal(size=(80, 3))
    first[:, 1:] = 2.0
    later[:, 2] = 2.0
    scaler = ColumnScaler("standard").fit(first)
    assert scaler.with_changes(first) is scaler
    other = scaler.with_changes(later)
    assert other.constant_.tolist() == [False, False, True]
    assert scaler.constant_.tolist() == [False, True, True]  # as it was
    assert other.scale_[[0, 2]].tolist() == scaler.scale_[[0, 2]].tolist()
    assert np.abs(other.transform(later)[:, 1]).max() < 10


@pytest.mark.parametrize(
    ("values", "shares"),
    [((32.0, 32.0037, 32.9964), (0.62, 0.16, 0.22)), ((5.0, 5.0001, 6.0), (0.8, 0.1, 0.1))],
)
def test_a_column_of_few_values_is_not_measured_by_the_smallest_step(values, shares):
    X = np.random.default_rng(0).choice(values, size=(500, 1), p=shares)
    scaler = ColumnScaler("robust").fit(X)
    assert np.abs(scaler.transform(X)).max() < 20
    assert scaler.scale_[0] < 2 * X.std()


def test_outliers_do_not_move_the_bound_of_a_scale():
    X = np.random.default_rng(0).normal(size=(1000, 1))
    expected = ColumnScaler("robust").fit(X).scale_[0]
    X[:8] *= 1e9  # less than a hundredth
    assert ColumnScaler("robust").fit(X).scale_[0] == pytest.approx(expected, rel=0.1)
    X[8:80] += 6  # a tenth at most
    assert ColumnScaler("robust").fit(X).scale_[0] == pytest.approx(expected, rel=0.3)


@pytest.mark.parametrize("method", ["robust", "standard", "minmax"])
def test_rounding_errors_of_single_precision_are_no_spread(method):
    X = np.full((100, 1), 3.7, dtype=np.float32)
    X[::2] = np.nextafter(X[0], np.float32(4))
    scaler = ColumnScaler(method).fit(X)
    assert scaler.constant_[0]
    assert not scaler.transform(X).any()
    assert not ColumnScaler(method).fit(X.astype(float)).constant_[0]  # told apart in double


def test_far_values_stay_finite_and_ordered():
    scaler = ColumnScaler("standard").fit(np.array([[0.0], [1.0]]))
    Z = scaler.transform(np.array([[1e3], [1e10], [1e300], [-1e300]]))
    assert (np.diff(Z[:3, 0]) > 0).all()
    assert Z[3] == -Z[2]
    assert np.isfinite(np.square(Z).sum())


@pytest.mark.parametrize("method", SCALERS)
def test_a_scaler_is_shown_as_it_is_made(method):
    assert repr(eval(repr(ColumnScaler(method)))) == repr(ColumnScaler(method))
    assert repr(ColumnScaler(method)) == f"ColumnScaler({method!r})"


def test_unscaled_data_that_a_network_cannot_take_are_refused():
    with pytest.raises(ValueError, match="scaler"):
        ColumnScaler(None).fit(np.array([[1e7], [0.0]]))
    assert ColumnScaler(None).fit(np.array([[500.0]])).bound_ == 5000


# ------------------------------------------------------------------------------- windows


@pytest.mark.parametrize("n_channels", [1, 3])
@pytest.mark.parametrize("stride", [1, 2, 5, 13])
def test_windows_are_those_of_the_stretches(n_channels, stride):
    series = np.arange(60.0 * n_channels).reshape(60, n_channels)
    lengths = [25, 4, 9, 22]
    windows = Windows(series, lengths, 9, stride)
    expected, first = [], 0
    for length in lengths:
        last = length - 9
        if last >= 0:
            starts = sorted({*range(0, last + 1, stride), last})
            expected += [series[first + s : first + s + 9].ravel() for s in starts]
        first += length
    assert len(windows) == len(expected)
    assert np.array_equal(windows.rows(slice(None)), expected)
    assert np.array_equal(windows.rows(np.array([3, 0])), np.array(expected)[[3, 0]])
    assert sum(len(windows.rows(block)) for block in windows.blocks()) == len(expected)
    marked = np.arange(60) % 7 == 0
    held = [marked[s : s + 9].sum() for s in windows.starts]
    assert np.array_equal(windows.count(marked), held)


def test_evenly_spaced_windows_are_views_that_cannot_be_written_to():
    series = np.arange(1000.0)[:, None]
    for stride in (1, 5):
        rows = Windows(series, [1000], 20, stride).rows(slice(None))
        assert np.shares_memory(rows, series)
        with pytest.raises(ValueError, match="read-only"):
            rows[0, 0] = 1


@pytest.mark.parametrize("how", ["mean", "max", "median"])
@pytest.mark.parametrize("seed", range(30))
def test_combine_is_over_the_windows_that_cover_a_step(how, seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 30, rng.integers(1, 4)).tolist()
    size, stride = int(rng.integers(1, 9)), int(rng.integers(1, 13))
    n = sum(lengths)
    windows = Windows(np.zeros((n, 1)), lengths, size, stride)
    values = rng.normal(size=len(windows))
    found = windows.combine(values, how)
    for step in range(n):
        mine = values[(windows.starts <= step) & (step < windows.starts + size)]
        if len(mine):
            assert found[step] == pytest.approx(getattr(np, how)(mine), abs=1e-12)
            if len(mine) == 1:
                assert found[step] == mine[0]  # to the last bit
        else:
            assert np.isnan(found[step])


def test_spread_places_see_every_phase_of_every_period():
    for n, n_wanted in ((1000, 64), (20_000, 512), (100, 60)):
        places = spread_places(n, n_wanted)
        assert 0.8 * n_wanted <= len(places) <= n_wanted
        assert (np.diff(places) > 0).all()
        assert np.diff(places).max() < 4 * n / n_wanted
    places = spread_places(20_000, 512)
    for period in range(2, 60):
        share = np.bincount(places % period, minlength=period) / len(places)
        assert share.max() < 2.5 / period + 0.01
        assert share.min() > 0
    assert np.array_equal(spread_places(5, 5), np.arange(5))


@pytest.mark.parametrize("period", [5, 12, 60, 144])
def test_dominant_period(period):
    rng = np.random.default_rng(0)
    steps = np.arange(12 * period)
    for shape in (np.sin, lambda phase: np.sign(np.sin(phase)), lambda phase: np.sin(phase) > 0.8):
        series = shape(2 * np.pi * steps / period) + 0.2 * rng.normal(size=len(steps))
        assert abs(dominant_period(series[:, None]) - period) <= max(1, period // 30)
        pair = np.c_[series * 1e6, np.full(len(steps), 3.0)]  # a constant channel says nothing
        assert dominant_period(pair) == dominant_period(series[:, None])


def test_no_dominant_period():
    rng = np.random.default_rng(0)
    for series in (rng.normal(size=2000), rng.normal(size=2000).cumsum(), np.arange(99.0), [1.0]):
        assert dominant_period(np.asarray(series)[:, None]) is None
    assert dominant_period(np.zeros((50, 2))) is None
    # One whose autocorrelation falls below zero beyond a third of its length only.
    series = np.zeros(15)
    series[[0, 7, 14]] = 1, -1, 1
    centred = series - series.mean()  # it has no trend
    assert np.correlate(centred, centred, "full")[14 : 14 + 7].min() > 0
    assert dominant_period(series[:, None]) is None
