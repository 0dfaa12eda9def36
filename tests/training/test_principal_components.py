import numpy as np
import pytest
import torch

from skrdae.training.principal_components import Pursuit
from skrdae.training.rounds import Session, run


def _planted(n, d, rank, share, seed=0):
    rng = np.random.default_rng(seed)
    low_rank = rng.normal(size=(n, rank)) @ rng.normal(size=(rank, d))
    sparse = np.where(rng.random((n, d)) < share, rng.normal(scale=10, size=(n, d)), 0)
    return torch.from_numpy(low_rank), torch.from_numpy(sparse)


def _pursue(X, lam=None, tol=1e-8, max_iter=5000, tell=None):
    pursuit = Pursuit(X, lam=max(X.shape) ** -0.5 if lam is None else lam, tol=tol)
    run(pursuit, max_iter, Session(tell))
    return pursuit


def _objective(low_rank, sparse, lam):
    return (torch.linalg.svdvals(low_rank).sum() + lam * sparse.abs().sum()).item()


@pytest.mark.parametrize(("n", "d", "rank"), [(200, 60, 3), (60, 200, 3), (100, 100, 5)])
def test_it_recovers_low_rank_and_sparse_exactly(n, d, rank):
    low_rank, sparse = _planted(n, d, rank, 0.05)
    result = _pursue(low_rank + sparse)
    assert result.finished
    assert result.components.shape == (d, rank)
    torch.testing.assert_close(result.sparse, sparse, atol=1e-5, rtol=0)
    assert ((result.sparse != 0) == (sparse != 0)).double().mean() > 0.999
    # The directions span the rows of L.
    inside = low_rank @ result.components @ result.components.T
    torch.testing.assert_close(inside, low_rank, atol=1e-5, rtol=0)


@pytest.mark.parametrize("lam", [0.03, 0.1, 0.3])
def test_no_other_split_is_better(lam):
    """The problem is convex: what no small step improves is the solution."""
    generator = torch.Generator().manual_seed(1)
    X = torch.randn(40, 15, generator=generator, dtype=torch.float64)
    result = _pursue(X, lam)
    least = _objective(X - result.sparse, result.sparse, lam)
    assert result.history[-1]["objective"] == pytest.approx(least, rel=1e-6)
    for size in (1e-4, 1e-2, 1.0):
        for _ in range(50):
            step = size * torch.randn(X.shape, generator=generator, dtype=torch.float64)
            # Along the support, off it, and everywhere.
            for part in (result.sparse != 0, result.sparse == 0, torch.ones_like(X)):
                moved = result.sparse + step * part
                assert _objective(X - moved, moved, lam) > least - 1e-5


def test_a_matrix_and_its_transpose_split_alike():
    low_rank, sparse = _planted(80, 30, 2, 0.1, seed=3)
    X = low_rank + sparse
    assert torch.allclose(_pursue(X).sparse, _pursue(X.T.contiguous()).sparse.T, atol=1e-6)


def test_a_larger_lam_makes_the_sparse_part_sparser_and_the_rank_higher():
    X = torch.randn(60, 12, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    results = [_pursue(X, lam, tol=1e-6) for lam in (0.01, 0.08, 0.15, 0.3, 10.0)]
    shares = [(r.sparse != 0).double().mean().item() for r in results]
    ranks = [r.components.shape[1] for r in results]
    assert (np.diff(shares) <= 0).all()
    assert (np.diff(ranks) >= 0).all()
    # At the ends all is sparse, or all is low rank.
    assert ranks[0] == 0
    assert torch.allclose(results[0].sparse, X, atol=3e-5)
    assert shares[-1] == 0
    assert ranks[-1] == 12


def test_zeros_have_nothing_in_them():
    result = _pursue(torch.zeros(5, 3, dtype=torch.float64))
    assert result.finished
    assert not result.sparse.any()
    assert result.components.shape == (3, 0)


def test_each_iteration_is_told_of_and_counted():
    rows = []
    low_rank, sparse = _planted(50, 20, 2, 0.05)
    result = _pursue(low_rank + sparse, 0.1, tol=1e-12, max_iter=7, tell=rows.append)
    assert not result.finished
    assert len(result.history) == 7
    assert rows == result.history
    assert [row["iteration"] for row in rows] == list(range(1, 8))


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_the_size_of_the_numbers_does_not_matter(size):
    low_rank, sparse = _planted(60, 20, 2, 0.05)
    result = _pursue((low_rank + sparse) * size, tol=1e-6)
    assert result.finished
    torch.testing.assert_close(result.sparse / size, sparse, atol=1e-3, rtol=0)
