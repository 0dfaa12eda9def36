import pytest
import torch

from skrdae._random import member_generators
from skrdae.networks.mlp import ACTIVATIONS, MemberAutoencoder
from skrdae.networks.workspace import Workspace
from skrdae.training import minibatch
from skrdae.training.adam import MemberAdam
from skrdae.training.minibatch import CHUNK_ROWS, gather, map_chunks, shuffled_batches


@pytest.mark.parametrize("n_rows", [1, 5, 32, 33, 97])
def test_an_epoch_deals_every_row_once_in_even_batches(n_rows):
    batches = shuffled_batches(n_rows, 32, member_generators([0, 1]), torch.device("cpu"))
    orders = torch.cat(list(batches), dim=1)
    for order in orders:
        assert sorted(order.tolist()) == list(range(n_rows))
    sizes = [b.shape[1] for b in batches]
    assert max(sizes) <= 32
    assert max(sizes) - min(sizes) <= 1


def test_members_have_orders_of_their_own_and_repeat_by_seed():
    def first(seeds):
        return shuffled_batches(50, 50, member_generators(seeds), torch.device("cpu"))[0]

    assert torch.equal(first([0, 1]), first([0, 1]))
    assert not torch.equal(*first([0, 1]))


@pytest.mark.parametrize("n_members", [1, 3])
def test_gather_takes_each_members_own_rows(n_members):
    data = torch.randn(n_members, 20, 4)
    batch = torch.randint(0, 20, (n_members, 6))
    found = gather(data, batch)
    for k in range(n_members):
        assert torch.equal(found[k], data[k][batch[k]])


@pytest.mark.parametrize("n_rows", [1, CHUNK_ROWS - 1, CHUNK_ROWS, CHUNK_ROWS + 1, 200])
def test_map_chunks_shows_one_shape_and_gives_every_row(n_rows):
    shapes = set()

    def function(rows, workspace):
        shapes.add(tuple(rows.shape))
        return torch.stack([rows, 2 * rows], out=place)  # the same place each time

    place = torch.empty(2, CHUNK_ROWS, 3)
    data = torch.randn(n_rows, 3)
    assert torch.equal(map_chunks(function, data), torch.stack([data, 2 * data]))
    assert shapes == {(CHUNK_ROWS, 3)}
    members = torch.randn(4, n_rows, 3)
    assert torch.equal(map_chunks(lambda rows, _: rows.sum(dim=-1), members), members.sum(dim=-1))


@pytest.mark.parametrize("n_rows", [1, 63, 64, 65, 257, 1500])
def test_chunks_side_by_side_give_the_same(n_rows):
    shapes = set()

    def function(rows, workspace):
        shapes.add(tuple(rows.shape))
        return torch.stack([rows, 2 * rows], out=workspace.take("here", 2, *rows.shape))

    data = torch.randn(n_rows, 3)
    threads = torch.get_num_threads()
    found = map_chunks(function, data, apart=True)
    assert torch.equal(found, torch.stack([data, 2 * data]))
    assert all(rows % CHUNK_ROWS == 0 for rows, _ in shapes)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("output", ACTIVATIONS)
@pytest.mark.parametrize("n_members", [1, 3])
def test_compiled_and_stacked_steps_are_the_same(activation, output, n_members):
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(n_members, 77, 5, generator=generator) * 2  # some of it beyond the bound
    found = []
    for train in (minibatch._train_compiled, minibatch._train_stacked):
        generators = member_generators(range(n_members))
        network = MemberAutoencoder(5, (7, 3), activation, output, generators, data.device)
        optimiser = MemberAdam(network, lr=3e-3)
        for n_epochs in (2, 1):  # the optimiser goes on where it was
            train(network, optimiser, data, 3.0, n_epochs, 16, generators, Workspace(data.device))
        assert optimiser.n_steps == 15
        optimiser.step()  # the next step of either is of the same size
        found.append([*network.parameters(), optimiser._mean, optimiser._step])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=2e-5)
