import pytest
import torch

from skrdae._random import member_generators
from skrdae.training.batches import (
    DrawnAhead,
    draw_epoch,
    draw_noise,
    draw_order,
    gather,
    n_batches_of,
    normal,
    same_generator,
    sizes_of,
)


@pytest.mark.parametrize("n_rows", [1, 5, 32, 33, 97])
def test_an_epoch_deals_every_row_once_in_even_batches(n_rows):
    n_batches = n_batches_of(n_rows, 32)
    orders, noise = draw_epoch(member_generators([0, 1]), n_rows, n_batches, 3)
    for order in orders:
        assert sorted(order.tolist()) == list(range(n_rows))
    assert noise.shape == (2, n_rows, 3)
    sizes = sizes_of(n_rows, n_batches)
    assert len(sizes) == n_batches
    assert sum(sizes) == n_rows
    assert max(sizes) <= 32
    assert max(sizes) - min(sizes) <= 1
    assert sizes == [len(part) for part in torch.arange(n_rows).tensor_split(n_batches)]


def test_members_have_orders_of_their_own_and_repeat_by_seed():
    def first(seeds):
        return draw_epoch(member_generators(seeds), 50, 1, 0)[0]

    assert torch.equal(first([0, 1]), first([0, 1]))
    assert not torch.equal(*first([0, 1]))


def test_an_epoch_at_once_draws_what_it_draws_batch_by_batch():
    together, by_turns = member_generators([3, 3])
    orders, noise = draw_epoch([together], 50, 4, 2)
    assert torch.equal(orders[0], draw_order(by_turns, 50))
    for part in noise[0].split(sizes_of(50, 4)):
        assert torch.equal(part, torch.randn(part.shape, generator=by_turns))
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


def test_what_is_drawn_ahead_is_what_would_be_drawn():
    sizes = 50, 4, 2
    expected = draw_epoch(by_turns := member_generators([3, 4]), *sizes)
    generators = member_generators([3, 4])
    ahead = DrawnAhead(generators, *sizes)
    assert all(
        torch.equal(g.get_state(), other.get_state())
        for g, other in zip(generators, member_generators([3, 4]), strict=True)
    )
    assert ahead.take(generators, 50, 4, 1) is None
    assert ahead.take(generators[:1], *sizes) is None
    assert all(map(torch.equal, ahead.take(generators, *sizes), expected))
    assert all(map(torch.equal, *([g.get_state() for g in gs] for gs in (generators, by_turns))))
    # Somebody has drawn from one of them since.
    ahead = DrawnAhead(generators, *sizes)
    torch.rand(1, generator=generators[1])
    assert ahead.take(generators, *sizes) is None
