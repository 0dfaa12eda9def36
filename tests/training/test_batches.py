import pytest
import torch
from trainings import CPU

from skrdae._random import member_generators
from skrdae.training.batches import (
    draw_epoch,
    draw_noise,
    draw_order,
    gather,
    n_batches_of,
    normal,
    same_generator,
)


@pytest.mark.parametrize("n_rows", [1, 5, 32, 33, 97])
def test_an_epoch_deals_every_row_once_in_even_batches(n_rows):
    batches, noise = draw_epoch(member_generators([0, 1]), n_rows, 32, 3, CPU)
    for order in torch.cat(list(batches), dim=1):
        assert sorted(order.tolist()) == list(range(n_rows))
    sizes = [batch.shape[1] for batch in batches]
    assert len(sizes) == n_batches_of(n_rows, 32)
    assert max(sizes) <= 32
    assert max(sizes) - min(sizes) <= 1
    assert [part.shape for part in noise] == [(2, size, 3) for size in sizes]


def test_members_have_orders_of_their_own_and_repeat_by_seed():
    def first(seeds):
        return draw_epoch(member_generators(seeds), 50, 50, 0, CPU)[0][0]

    assert torch.equal(first([0, 1]), first([0, 1]))
    assert not torch.equal(*first([0, 1]))


def test_an_epoch_at_once_draws_what_it_draws_batch_by_batch():
    together, by_turns = member_generators([3, 3])
    (batches, noise) = draw_epoch([together], 50, 16, 2, CPU)
    order = draw_order(by_turns, 50)
    assert torch.equal(torch.cat(list(batches), dim=1)[0], order)
    for part in noise:
        drawn = torch.randn(part.shape[1:], generator=by_turns)
        assert torch.equal(part[0], drawn)
    assert torch.equal(together.get_state(), by_turns.get_state())


def test_no_noise_leaves_the_generator_alone():
    (generator,) = member_generators([0])
    before = generator.get_state()
    assert draw_noise(generator, 50, 4, 0).shape == (50, 0)
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize("shared", [True, False])
def test_gather_takes_each_members_own_rows(n_members, shared):
    data = torch.randn(n_members, 20, 4)
    data = data[:1].expand(n_members, -1, -1) if shared else data
    batch = torch.randint(0, 20, (n_members, 6))
    space = torch.empty(n_members, 6, 4)
    for found in (gather(data, batch), gather(data, batch, out=space)):
        for k in range(n_members):
            assert torch.equal(found[k], data[k][batch[k]])
    assert torch.equal(space, found)


def test_normal_numbers_are_each_members_own():
    first = normal(member_generators([0, 1]), torch.empty(2, 5, 3))
    second = normal(member_generators([1, 0]), torch.empty(2, 5, 3))
    assert torch.equal(first, second.flip(0))
    assert not torch.equal(*first)


def test_the_same_generator_draws_the_same_and_leaves_the_other_where_it_is():
    (generator,) = member_generators([0])
    drawn = torch.randn(5, generator=same_generator(generator))
    assert torch.equal(drawn, torch.randn(5, generator=generator))
