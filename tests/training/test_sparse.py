import numpy as np
import pytest
import scipy.sparse
import torch

from skrdae.training.sparse import SparseRows, range_of


@pytest.fixture
def X():
    return scipy.sparse.random(40, 6, 0.3, format="csr", random_state=0, dtype=np.float32)


def _doubled(rows):
    return np.float32(2) * rows


def test_rows_of_members_are_those_at_their_places(X):
    dense, rows = 2 * X.toarray(), SparseRows(X, _doubled)
    places = torch.tensor([[30, 4, 7, 7, 12], [1, 2, 3, 4, 5]])
    some, others = rows.of_members(places, 2)
    assert len(some) == 5
    assert np.array_equal(some.rows(slice(1, 4)), dense[[4, 7, 7]])
    assert np.array_equal(others.rows(np.array([4, 0])), dense[[5, 1]])
    clipped = some.clipped(0.5)
    assert np.array_equal(clipped.rows(np.array([0])), dense[[30]].clip(-0.5, 0.5))
    assert range_of(some) == (dense[[30, 4, 7, 12]].min(), dense[[30, 4, 7, 12]].max())
    assert rows.of_members(None, 3) == [rows] * 3
