import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone

from skrdae import RobustDeepAutoencoder, RobustDeepAutoencoderCV, load, save

OPTIONS = {"n_estimators": 2, "hidden_layer_sizes": (12, 10), "random_state": 0}


def _fit(X, **options):
    return RobustDeepAutoencoder(**OPTIONS | {"sparsity": 1.0} | options).fit(X)


def _resting(detector, X):
    return (np.abs(detector.transform(X)) < 0.05).mean()


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid", "identity"])
def test_more_units_rest_the_larger_the_weight(plane, activation):
    options = {"activation": activation, "max_iter": 20, "lr": 1e-2}
    shares = [_resting(_fit(plane, sparsity=weight, **options), plane) for weight in (0, 0.5, 5)]
    assert shares[0] < shares[1] < shares[2]


def test_members_are_those_of_single_fits(plane):
    many, one = (_fit(plane, lam=1.0, n_estimators=n, device="cpu") for n in (3, 1))
    for a, b in zip(many.network_.parameters(), one.network_.parameters(), strict=True):
        assert np.array_equal(a[:1].numpy(), b.numpy())


def test_rows_of_a_sparse_matrix_are_the_same_rows(plane):
    X = np.where(np.abs(plane) > 1, plane, 0.0)
    dense, sparse = _fit(X, scaler=None), _fit(sp.csr_matrix(X), scaler=None)
    np.testing.assert_allclose(sparse.decision_scores_, dense.decision_scores_, rtol=1e-5)
    assert not np.allclose(
        dense.decision_scores_, _fit(X, scaler=None, sparsity=0).decision_scores_
    )


def test_a_training_goes_on_with_its_weight_only(plane, tmp_path):
    whole = _fit(plane, max_iter=4)
    part = _fit(plane, max_iter=2, warm_start=True)
    save(part, tmp_path / "file")
    again = load(tmp_path / "file")
    assert again.sparsity == 1.0
    assert np.array_equal(again.decision_function(plane), part.decision_scores_)
    assert np.array_equal(
        again.set_params(max_iter=4).fit(plane).decision_scores_, whole.decision_scores_
    )
    with pytest.raises(ValueError, match="training with sparsity=1, and here it is 2"):
        part.set_params(sparsity=2.0, max_iter=4).fit(plane)


def test_chunks_go_on_with_their_weight_only(plane):
    detector = RobustDeepAutoencoder(**OPTIONS, sparsity=1.0)
    one = clone(detector).partial_fit(plane)
    assert np.array_equal(one.decision_scores_, clone(detector).fit(plane).decision_scores_)
    detector.partial_fit(plane[:150]).partial_fit(plane[150:])
    with pytest.raises(ValueError, match="trained on with sparsity=1, and it is 0 now"):
        detector.set_params(sparsity=0.0).partial_fit(plane)


def test_the_search_for_lam_trains_with_it(plane):
    options = OPTIONS | {"sparsity": 1.0}
    search = RobustDeepAutoencoderCV([2.0, 4.0], cv=2, **options).fit(plane)
    alone = RobustDeepAutoencoder(search.lam_, **options).fit(plane)
    assert np.array_equal(search.decision_scores_, alone.decision_scores_)


@pytest.mark.parametrize("sparsity", [-1, 1e300, np.nan, np.inf, "auto", None, True])
def test_weights_that_cannot_be(plane, sparsity):
    with pytest.raises((ValueError, TypeError), match="sparsity"):
        _fit(plane, sparsity=sparsity)
