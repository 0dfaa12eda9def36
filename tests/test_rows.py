import numpy as np
import pytest
import torch
from scipy.sparse import csr_array, csr_matrix
from trainings import CPU

from skrdae import rows as module
from skrdae.preprocessing import ColumnScaler
from skrdae.rows import SPARSE_PART, HeldRows, LazyRows, dense, training_rows


@pytest.fixture(scope="module")
def X():
    random = np.random.default_rng(0)
    return csr_array(np.where(random.random((600, 6)) < 0.3, random.random((600, 6)), 0.0))


@pytest.fixture(scope="module")
def scaler(X):
    return ColumnScaler("standard").fit(X.toarray())


@pytest.fixture(scope="module")
def scaled(X, scaler):
    return torch.from_numpy(scaler.transform(X.toarray()))


FORMS = {
    "held": lambda X, scaler: HeldRows(torch.from_numpy(scaler.transform(X.toarray()))),
    "array": lambda X, scaler: LazyRows(X.toarray(), scaler, CPU),
    "CSR": lambda X, scaler: LazyRows(X, scaler, CPU),
    "CSR matrix": lambda X, scaler: LazyRows(csr_matrix(X), scaler, CPU),
}


@pytest.fixture(params=FORMS)
def rows(request, X, scaler):
    return FORMS[request.param](X, scaler)


def _doubled(rows):
    return 2 * rows


def _seen(member_rows):
    """The rows of each member, from parts: (K, n, d)."""
    parts = [part.expand(member_rows.shape[0], -1, -1) for part in member_rows.parts(100)]
    return torch.cat(parts, dim=1)


def test_rows_are_taken_by_places_and_slices(rows, scaled):
    assert rows.shape == (600, 6)
    assert len(rows) == 600
    places = torch.tensor([30, 4, 7, 7, 599])
    assert torch.equal(rows.take(places), scaled[places])
    assert torch.equal(rows.take(slice(5, 9)), scaled[5:9])


def test_blocks_are_all_rows_in_their_order(rows, scaled, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 1)
    assert torch.equal(torch.cat(list(rows.blocks())), scaled)


def test_lazy_rows_come_in_blocks(X, scaler, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 1)
    sizes = [len(block) for block in LazyRows(X, scaler, CPU).blocks()]
    assert sizes == [256, 256, 88]


def test_the_range(rows, scaled):
    assert rows.range() == (float(scaled.min()), float(scaled.max()))


def test_members_see_their_rows_and_what_is_made_of_them(rows, scaled):
    places = torch.tensor([[30, 4, 7, 7, 12], [1, 2, 3, 4, 5]])
    some = rows.of_members(places, 2, _doubled)
    assert some.shape == (2, 5, 6)
    assert torch.equal(_seen(some), 2 * scaled[places])


def test_all_members_see_all_rows(rows, scaled):
    everything = rows.of_members(None, 3)
    assert everything.shape == (3, 600, 6)
    assert torch.equal(_seen(everything), scaled.expand(3, -1, -1))


@pytest.mark.parametrize("places", [None, torch.arange(599, 99, -1).repeat(2, 1)])
def test_the_shares_of_an_epoch_are_its_order_dealt_out_to_batches(rows, scaled, places):
    mine = rows.of_members(places, 2)
    n = mine.shape[1]
    order = np.random.default_rng(0).permutation(n)
    shown, sizes, done = [], [], 0
    for share in mine.shares(1, order, 7):
        assert (share.first, share.n_done) == (sum(map(len, shown)), done)
        shown.append(share.rows[share.order])
        sizes += [len(batch) for batch in np.array_split(share.order, share.n_batches)]
        done += share.n_batches
    own = scaled if places is None else scaled[places[1]]
    assert np.array_equal(np.concatenate(shown), own[torch.from_numpy(order)].numpy())
    assert sizes == [len(batch) for batch in np.array_split(order, 7)]


def test_one_member_of_lazy_rows(X, scaler, scaled):
    places = torch.tensor([[0, 1], [8, 9]])
    mine = LazyRows(X, scaler, CPU).of_members(places, 2, _doubled).member(1)
    assert mine.shape == (1, 2, 6)
    assert torch.equal(mine.take(0, slice(None)), 2 * scaled[[8, 9]])


def test_few_lazy_rows_are_dense_at_once(X, scaler):
    everything = LazyRows(X, scaler, CPU).of_members(None, 3)
    assert max(part.shape[1] for part in everything.parts(10**6)) == SPARSE_PART
    apart = LazyRows(X, scaler, CPU).of_members(torch.arange(600).repeat(3, 1), 3)
    assert max(part.numel() for part in apart.parts(10**6)) <= SPARSE_PART * 6


def test_training_rows_are_held_unless_they_are_sparse(X, scaler, scaled):
    held = training_rows(X.toarray(), scaler, CPU)
    assert isinstance(held, HeldRows)
    assert torch.equal(held.tensor, scaled)
    assert isinstance(training_rows(X, scaler, CPU), LazyRows)
    with pytest.raises(ValueError, match="device='cpu'"):
        training_rows(X, scaler, torch.device("meta"))


def test_rows_that_need_no_change_are_not_copied(X):
    ready = X.toarray().astype(np.float32)
    scaler = ColumnScaler(None).fit(ready)
    assert training_rows(ready, scaler, CPU).tensor.data_ptr() == ready.ctypes.data
    for other in (ready[:, ::-1], ready.astype(np.float64), np.asfortranarray(ready)):
        found = training_rows(other, scaler, CPU).tensor
        assert found.is_contiguous()
        assert np.array_equal(found.numpy(), other.astype(np.float32))
    ready.setflags(write=False)  # which torch does not take
    found = training_rows(ready, scaler, CPU).tensor
    assert found.data_ptr() != ready.ctypes.data


def test_dense():
    X = np.eye(3)
    assert dense(X) is X
    assert np.array_equal(dense(csr_array(X)), X)
