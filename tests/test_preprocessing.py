import numpy as np
import pytest
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

from skrdae.preprocessing import SCALERS, ColumnScaler


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
    assert scaler.scale_[0] == 1


@pytest.mark.parametrize("method", ["robust", "standard", "minmax"])
def test_rounding_errors_of_single_precision_are_no_spread(method):
    X = np.full((100, 1), 3.7, dtype=np.float32)
    X[::2] = np.nextafter(X[0], np.float32(4))
    assert ColumnScaler(method).fit(X).scale_[0] == 1
    assert ColumnScaler(method).fit(X.astype(float)).scale_[0] < 1e-5  # told apart in double


def test_far_values_stay_finite_and_ordered():
    scaler = ColumnScaler("standard").fit(np.array([[0.0], [1.0]]))
    Z = scaler.transform(np.array([[1e3], [1e10], [1e300], [-1e300]]))
    assert (np.diff(Z[:3, 0]) > 0).all()
    assert Z[3] == -Z[2]
    assert np.isfinite(np.square(Z).sum())


def test_unscaled_data_that_a_network_cannot_take_are_refused():
    with pytest.raises(ValueError, match="scaler"):
        ColumnScaler(None).fit(np.array([[1e7], [0.0]]))
    assert ColumnScaler(None).fit(np.array([[500.0]])).bound_ == 5000
