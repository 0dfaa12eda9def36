import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from skrdae import RobustDeepAutoencoder, RobustPCA
from skrdae.penalties import PENALTIES

names = pytest.mark.parametrize("penalty", PENALTIES)


def _fit(X, **options):
    return RobustDeepAutoencoder(**({"random_state": 0} | options)).fit(X)


def _single(X, **options):
    """One member, trained for long enough to reconstruct."""
    settings = {"n_estimators": 1, "max_iter": 10, "n_epochs": 5, "lr": 3e-3}
    return _fit(X, **(settings | options))


def _reconstruction(detector, low_rank):
    """D(E(L)) of a single member with scaler=None."""
    rows = torch.from_numpy(low_rank).float()[None].to(detector.device_)
    with torch.no_grad():
        return detector.network_(rows)[0].double().cpu().numpy()


@names
@pytest.mark.parametrize("n_estimators", [1, 4])
def test_decomposition_adds_up_and_is_row_by_row(penalty, n_estimators, cancer):
    X, _ = cancer
    detector = _fit(X, penalty=penalty, n_estimators=n_estimators, store_decomposition=True)
    low_rank, sparse = detector.decompose(X)
    np.testing.assert_allclose(low_rank + sparse, X, rtol=1e-12)
    assert np.array_equal(detector.low_rank_, low_rank)
    assert np.array_equal(detector.sparse_, sparse)
    some = detector.decompose(X[10:13])
    assert np.array_equal(some[0], low_rank[10:13])
    if penalty != "l21_features":
        assert 0 < (sparse != 0).any(axis=1).mean() < (0.4 if penalty == "l21" else 1.01)
    else:
        assert 0 < (sparse != 0).any(axis=0).sum() < X.shape[1]
    refitted = detector.set_params(store_decomposition=False).fit(X)
    assert not hasattr(refitted, "low_rank_")


def test_decomposition_solves_its_own_equation(digits):
    X, _ = digits
    detector = _single(X, contamination=0.05, scaler=None)
    low_rank, sparse = detector.decompose(X)
    residual = torch.from_numpy(X - _reconstruction(detector, low_rank))[None]
    again = PENALTIES["l21"].prox(residual, detector.model_.scorer.lam.cpu().double())[0].numpy()
    assert np.linalg.norm(again - sparse) < 0.02 * np.linalg.norm(sparse)


def test_lam_is_a_number_of_one_member_and_an_array_of_several(plane):
    assert _fit(plane, lam=2.0, n_estimators=1).lam_ == 2.0
    several = _fit(plane, lam=2.0, n_estimators=3)
    assert several.lam_.tolist() == [2.0, 2.0, 2.0]
    assert several.n_iter_ == len(several.history_) == 5


@pytest.mark.parametrize(("contamination", "scaler"), [(0.1, "robust"), ("auto", None)])
def test_the_scale_of_residuals_is_measured_where_scores_need_it(plane, contamination, scaler):
    detector = _fit(plane, contamination=contamination, scaler=scaler)
    assert (detector.model_.scorer.scale is None) == (scaler is None)


def test_a_sparse_matrix_is_not_decomposed(plane):
    detector = _fit(plane)
    with pytest.raises(TypeError, match=r"decompose gives dense matrices: .*toarray"):
        detector.decompose(csr_array(plane))


def test_the_linear_decomposition_adds_up_too(plane):
    low_rank, sparse = RobustPCA().fit(plane).decompose(plane)
    np.testing.assert_allclose(low_rank + sparse, plane, rtol=1e-12)
