import numpy as np
import pytest
import scipy.sparse

from skrdae.training.sparse import SparseRows


@pytest.fixture
def X():
    return scipy.sparse.random(40, 6, 0.3, format="csr", random_state=0, dtype=np.float32)


def _doubled(rows):
    return np.float32(2) * rows


def test_some_of_some_rows_are_those_rows(X):
    dense = 2 * X.toarray()
    places = np.array([30, 4, 7, 7, 12])
    some = SparseRows(X, _doubled).some(places)
    assert len(some) == 5
    assert np.array_equal(some.rows(slice(1, 4)), dense[[4, 7, 7]])
    fewer = some.some(np.array([4, 0]))
    assert np.array_equal(fewer.rows(slice(0, 2)), dense[[12, 30]])
    clipped = fewer.clipped(0.5)
    assert np.array_equal(clipped.rows(np.array([1])), dense[[30]].clip(-0.5, 0.5))
    assert fewer.range() == (dense[[12, 30]].min(), dense[[12, 30]].max())
