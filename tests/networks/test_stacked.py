import copy
import gc
import pickle
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn
from trainings import CPU, Module, rows_for

from skrdae._random import member_generators
from skrdae.networks.stacked import StackedModule

SEEDS = [3, 4, 5]


class Various(nn.Module):
    """Layers that draw their initial weights in different ways, and a buffer."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv1d(1, 3, 2)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.recurrent = nn.GRU(4, 2, batch_first=True)
        self.drop = nn.Dropout(0.5)
        self.back = nn.Linear(2, 5)
        self.free = nn.Parameter(torch.randn(2))
        self.register_buffer("shift", torch.full((5,), 0.25))

    def encode(self, x):
        h = self.first((x + self.shift).unsqueeze(1))  # (n, 3, 4)
        h = self.drop(h + self.attention(h, h, h, need_weights=False)[0])
        return self.recurrent(h)[0][:, -1] + self.free

    def decode(self, code):
        return self.back(code)


class Tied(nn.Module):
    """A linear map and its transpose, with a shift that is a buffer, and dropout."""

    def __init__(self):
        super().__init__()
        self.map = nn.Linear(5, 2, bias=False)
        self.drop = nn.Dropout(0.9)
        self.register_buffer("shift", torch.arange(5) / 10)

    def encode(self, rows):
        return self.map(self.drop(rows - self.shift))

    def decode(self, codes):
        return codes @ self.map.weight + self.shift


MODULES = {"plain": Module, "various": Various, "tied": Tied}
modules = pytest.mark.parametrize("make", MODULES.values(), ids=MODULES)


@pytest.fixture(autouse=True)
def ordinary_operations():
    """Let members that run alone do without fused kernels for inference, as stacks do."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    yield
    torch.backends.mha.set_fastpath_enabled(before)


def _stack(make, seeds=SEEDS):
    return StackedModule(make, 2, member_generators(seeds), CPU)


def _members(stack):
    """The members as anybody would run them."""
    return stack.members(keeps=True)


@modules
def test_a_member_equals_the_same_module_alone(make):
    stack, x = _stack(make), torch.stack([size * rows_for("module") for size in (0.5, 1, 2)])
    with torch.no_grad():
        codes, made = stack.encode(x), stack(x)
        assert codes.shape == (3, 50, 2)
        assert torch.equal(stack.decode(codes), made)
        for k, member in enumerate(_members(stack)):
            assert torch.equal(codes[k], member.encode(x[k]))
            assert torch.equal(made[k], member.decode(member.encode(x[k])))
            assert torch.equal(_stack(make, SEEDS[k : k + 1])(x[k : k + 1])[0], made[k])


@modules
def test_gradients_are_those_of_the_module_alone(make):
    stack, x = _stack(make), rows_for("module").expand(3, -1, -1)
    members = _members(stack)
    stack.requires_grad_()
    stack(x).square().sum().backward()
    for k, member in enumerate(members):
        member.requires_grad_()
        member.decode(member.encode(x[k])).square().sum().backward()
        for name, parameter in member.named_parameters():
            stacked = getattr(stack, name.replace(".", "/"))
            torch.testing.assert_close(stacked.grad[k], parameter.grad)


@modules
def test_initial_weights_come_from_the_generator_and_global_random_state_is_untouched(make):
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = _stack(make)
    torch.manual_seed(7)
    second = _stack(make)
    torch.set_rng_state(before[0])
    assert np.array_equal(before[1], np.random.get_state()[1])
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
    assert any(not torch.equal(p[0], p[1]) for p in first.parameters())
    _stack(make)
    assert torch.equal(torch.get_rng_state(), before[0])


def test_a_stack_of_one_is_the_first_of_more():
    for a, b in zip(_stack(Module, [3]).parameters(), _stack(Module).parameters(), strict=True):
        assert torch.equal(a[0], b[0])


@modules
def test_select_part_and_assign_move_members(make):
    stack, x = _stack(make), torch.randn(3, 20, 5)
    with torch.no_grad():
        right = stack(x)
        some = stack.select(torch.tensor([2, 0]))
        assert torch.equal(some(x[[2, 0]]), right[[2, 0]])
        some.requires_grad_(False)
        for parameter in some.parameters():
            parameter.zero_()  # copies
        assert torch.equal(stack(x), right)
        part = stack.part(slice(1, 2))
        assert torch.equal(part(x[1:2])[0], right[1])
        stack.assign(torch.tensor([1]), stack.select(torch.tensor([0])))
        assert torch.equal(stack(x[[0, 0, 0]])[1], stack(x[[0, 0, 0]])[0])
        assert torch.equal(part(x[:1])[0], right[0])  # shares the memory
    assert (stack.n_members, some.n_members, part.n_members) == (3, 2, 1)
    assert (some.code_size, part.code_size) == (2, 2)


@modules
def test_threads_do_not_disturb_each_other(make):
    stack, x = _stack(make), torch.randn(3, 100, 5)
    before, interval = torch.get_num_threads(), sys.getswitchinterval()
    torch.set_num_threads(1)
    with torch.no_grad():
        right = stack(x)

    def made(_):
        with torch.no_grad():
            return stack(x)

    sys.setswitchinterval(1e-6)
    torch.set_num_threads(3)
    try:
        with ThreadPoolExecutor(3) as pool:
            found = [made(None) for _ in range(20)] + list(pool.map(made, range(60)))
    finally:
        sys.setswitchinterval(interval)
        torch.set_num_threads(before)
    assert all(torch.equal(each, right) for each in found)


@modules
def test_copies_and_pickles_are_the_same_network(make):
    stack, x = _stack(make), torch.randn(3, 20, 5)
    with torch.no_grad():
        right = stack(x)
        for other in (copy.deepcopy(stack), pickle.loads(pickle.dumps(stack))):
            assert torch.equal(other(x), right)


def test_buffers_move_with_the_weights_and_those_of_other_networks_stay():
    stack, rows = _stack(Tied), torch.randn(3, 7, 5)
    with torch.no_grad():
        part, before = stack.part(slice(0, 1)), stack(rows)
        moved = stack.to(torch.float64)
        assert moved.template[0].shift.dtype == torch.float64
        assert moved(rows.double()).dtype == torch.float64
        assert part.template[0].shift.dtype == torch.float32
        assert torch.equal(part(rows[:1]), before[:1])


def test_nothing_is_kept_of_a_network_that_is_gone():
    stack = _stack(Module)
    with torch.no_grad():
        stack(torch.randn(3, 4, 5))
    template = weakref.ref(stack.template[0])
    del stack
    gc.collect()
    assert template() is None


def test_modules_of_members_are_copies_named_like_the_module():
    stack, x = _stack(Module), torch.randn(4, 5)
    members = stack.modules_of_members()
    with torch.no_grad():
        right = stack(x.expand(3, -1, -1))
        for k, member in enumerate(members):
            assert torch.equal(member(x), right[k])
            assert repr(member).startswith("Module(")
        for parameter in members[0].parameters():
            parameter.zero_()
        assert torch.equal(stack(x.expand(3, -1, -1)), right)


def test_rows_on_another_device_than_the_weights_are_an_error():
    with pytest.raises(ValueError, match="rows are on meta, the weights of the network on cpu"):
        _stack(Module)(torch.empty(3, 4, 5, device="meta"))


def test_wrong_shapes_and_modules_without_weights_are_told():
    stack = StackedModule(Module, 3, member_generators([0]), CPU)
    with pytest.raises(ValueError, match=r"Module.encode gives an array of shape \(2, 2\)"):
        stack.check_shapes(stack.members()[0].decode(torch.zeros(1, 2)).shape[1])
    with pytest.raises(ValueError, match="no parameters"):
        StackedModule(nn.Identity, 3, member_generators([0]), CPU)


def test_numbers_drawn_like_a_tensor_come_from_the_generator():
    class Like(Module):
        def __init__(self):
            super().__init__()
            self.free = nn.Parameter(torch.randn_like(self.decoder.weight))
            self.other = nn.Parameter(torch.empty(3).log_normal_())

    before, found = torch.get_rng_state(), _stack(Like)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    for a, b in zip(found.parameters(), _stack(Like).parameters(), strict=True):
        assert torch.equal(a, b)


def test_tied_weights_are_refused():
    class Twice(Module):
        def __init__(self):
            super().__init__()
            self.again = self.decoder

    with pytest.raises(ValueError, match="one parameter under two names"):
        _stack(Twice)
