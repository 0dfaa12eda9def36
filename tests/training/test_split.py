import copy

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from trainings import CPU, member_rows, plane, trainer_of

from skrdae.penalties import L21, PENALTIES
from skrdae.preprocessing import ColumnScaler
from skrdae.rows import HeldMemberRows, LazyRows
from skrdae.training import split as module
from skrdae.training.split import HeldSplit, LazySplit, part_rows, split_of

LAM = torch.tensor([1.0, 3.0])
by_name = pytest.mark.parametrize("name", PENALTIES)


@pytest.fixture
def network():
    return trainer_of("autoencoder", [0, 1]).network


@pytest.fixture
def data():
    return plane(700, size=2.0)


@pytest.fixture
def lazy(data):
    """The split of one member's rows that are made when they are asked for."""
    X = csr_array(data.numpy())
    return split_of(LazyRows(X, ColumnScaler(None).fit(X), CPU).of_members(None, 1))


def _norm(values):
    return torch.linalg.vector_norm(values.double(), dim=(1, 2))


@by_name
def test_residual_norms_and_error_are_those_of_their_definitions(name, network, data):
    penalty, split = PENALTIES[name], split_of(member_rows(data, 2))
    assert torch.equal(split.tensor, data.expand(2, -1, -1))  # S is zero
    split.find_residual(network, 1.5, penalty)
    fit = network(data.clamp(-1.5, 1.5).expand(2, -1, -1))
    torch.testing.assert_close(split.tensor, data - fit)
    measures = penalty.measures(data - fit, data)
    torch.testing.assert_close(split.norms, measures, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(split.error, _norm(data - fit).square(), rtol=1e-5, atol=0)


@by_name
def test_shrinking_leaves_the_prox_and_says_how_large_everything_is(name, network, data):
    penalty, split = PENALTIES[name], split_of(member_rows(data, 2))
    whole, before = _norm(data.expand(2, -1, -1)), torch.zeros(2, *data.shape)
    for _ in range(2):
        low_rank = split.tensor.clone()
        split.find_residual(network, 1.5, penalty)
        fit = network(low_rank.clamp(-1.5, 1.5))
        sparse = penalty.prox(data - fit, LAM, penalty.measures(data - fit, data))
        found = split.shrink(penalty, LAM)
        now = fit + sparse
        expected = _norm(sparse), _norm(data - fit - sparse), _norm(now - before)
        before = now
        torch.testing.assert_close(found, torch.stack(expected) / whole, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(split.tensor, data - sparse)


def test_an_infinite_lam_leaves_no_sparse_part(network, data):
    split = split_of(member_rows(data, 2))
    split.find_residual(network, 1.5, L21())
    sparse_share, constraint, _ = split.shrink(L21(), torch.full((2,), torch.inf))
    assert not sparse_share.any()
    assert (constraint > 0).all()
    assert torch.equal(split.tensor, data.expand(2, -1, -1))


def test_the_data_are_left_as_they_are(network, data):
    before, split = data.clone(), split_of(member_rows(data, 2))
    split.find_residual(network, 1.5, L21())
    split.shrink(L21(), LAM)
    assert torch.equal(data, before)
    split.start_again()
    assert torch.equal(split.tensor, data.expand(2, -1, -1))


@pytest.mark.parametrize("shared", [True, False])
def test_a_branch_goes_on_as_its_members_would(shared, network, data):
    rows = member_rows(data, 2) if shared else HeldMemberRows(torch.stack([data, data.flip(0)]))
    split, places = split_of(rows), torch.tensor([1, 1, 0])
    split.find_residual(network, 1.5, L21())
    branch = split.branch(places)
    assert branch.shape == (3, 700, 5)
    of_branch = branch.shrink(L21(), LAM[places])
    assert not torch.equal(branch.tensor, split.tensor[places])  # memory of its own
    torch.testing.assert_close(of_branch, split.shrink(L21(), LAM)[:, places])
    assert torch.equal(branch.tensor, split.tensor[places])


def test_the_number_of_threads_does_not_matter(network, data):
    before, found = torch.get_num_threads(), []
    for n_threads in (1, 3):
        torch.set_num_threads(n_threads)
        split = split_of(member_rows(data, 2))
        split.find_residual(network, 1.5, L21())
        found.append((split.shrink(L21(), LAM), split.error, split.tensor, split.norms))
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_lazy_rows_are_split_as_held_ones_are(network, data, lazy):
    one, lam = network.select(torch.tensor([0])), torch.tensor([1.0])
    held = split_of(member_rows(data, 1))
    assert (type(held), type(lazy)) == (HeldSplit, LazySplit)
    for _ in range(2):
        for split in (held, lazy):
            split.find_residual(one, 1.5, L21())
        torch.testing.assert_close(lazy.norms, held.norms)
        torch.testing.assert_close(lazy.error, held.error, rtol=1e-6, atol=0)
        found, right = lazy.shrink(L21(), lam), held.shrink(L21(), lam)
        torch.testing.assert_close(found[:2], right[:2], rtol=1e-5, atol=1e-7)
        assert found[2].isnan()  # for which every row would have to be kept
        torch.testing.assert_close(torch.cat(list(lazy.parts(64)), dim=1), held.tensor)
        order = np.random.default_rng(0).permutation(700)
        shown = np.concatenate([s.rows[s.order] for s in lazy.shares(0, order, 9)])
        np.testing.assert_allclose(shown, held.tensor[0].numpy()[order], atol=1e-6)


def test_of_a_lazy_sparse_part_only_the_rows_that_are_not_zero_are_kept(network, lazy):
    one = network.select(torch.tensor([0]))
    lazy.find_residual(one, 1.5, L21())
    lam = lazy.norms.flatten().quantile(0.9)
    lazy.shrink(L21(), lam[None])
    assert len(lazy.sparse) == 70
    assert (np.abs(lazy.sparse).sum(axis=1) > 0).all()


def test_passes_over_the_rows_are_for_few_at_once():
    assert [part_rows(d, torch.device("cpu")) for d in (1, 200, 10_000)] == [1024, 655, 256]


def test_of_many_rows_some_are_watched_always_the_same(monkeypatch):
    assert module._watched_rows(1000, 5) is None
    monkeypatch.setattr(module, "_WATCHED", 5 * 100)
    monkeypatch.setattr(module, "_LEAST_WATCHED", 1)
    watched = module._watched_rows(1000, 5)
    assert len(watched) == module.n_watched(1000, 5) == 100
    assert (watched.diff() > 0).all()
    assert torch.equal(watched, module._watched_rows(1000, 5))


def test_a_copy_is_not_disturbed(network, data):
    split = split_of(member_rows(data, 2))
    split.find_residual(network, 1.5, L21())
    other = copy.copy(split).branch(torch.tensor([0, 1]))
    split.shrink(L21(), LAM)
    assert other.rest is None
