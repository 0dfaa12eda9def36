import pytest
import torch

from skrdae._random import member_generators
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
