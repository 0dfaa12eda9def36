import numpy as np
import pytest
import torch
from torch import nn

from skrdae.networks.stacked import StackedModule


class Tied(nn.Module):
    """One linear map and its transpose, with a shift that is a buffer, and dropout."""

    def __init__(self, n_features, units):
        super().__init__()
        self.map = nn.Linear(n_features, units, bias=False)
        self.dropout = nn.Dropout(0.9)
        self.register_buffer("shift", torch.arange(n_features) / 10)

    def encode(self, rows):
        return self.map(self.dropout(rows - self.shift))

    def decode(self, codes):
        return codes @ self.map.weight + self.shift


def _stack(n_members=3, seed=0):
    generators = [torch.Generator().manual_seed(seed + k) for k in range(n_members)]
    return StackedModule(lambda: Tied(5, 2), 2, generators, torch.device("cpu"))


@pytest.fixture
def rows():
    return torch.from_numpy(np.random.default_rng(0).normal(size=(3, 7, 5)).astype(np.float32))


def test_a_member_is_the_module_alone(rows):
    stack = _stack()
    for k in range(3):
        module = Tied(5, 2).eval()
        module.load_state_dict({"map.weight": stack.get_parameter("map/weight")[k]}, strict=False)
        with torch.no_grad():
            assert torch.equal(stack.encode(rows)[k], module.encode(rows[k]))
            assert torch.equal(stack(rows)[k], module.decode(module.encode(rows[k])))
    alone = _stack(1, seed=2)
    assert torch.equal(alone(rows[2:]), stack(rows)[2:])
    assert torch.equal(stack.select(torch.tensor([2]))(rows[2:]), alone(rows[2:]))


def test_weights_are_drawn_from_the_generators_alone():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    one = _stack()
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(5)
    assert torch.equal(_stack().get_parameter("map/weight"), one.get_parameter("map/weight"))
    assert not torch.equal(one.get_parameter("map/weight")[0], one.get_parameter("map/weight")[1])


def test_buffers_move_with_the_weights_and_those_of_other_networks_stay(rows):
    stack = _stack()
    part, before = stack.part(slice(0, 1)), stack(rows)
    moved = stack.to(torch.float64)
    assert moved.template[0].shift.dtype == torch.float64
    assert moved(rows.double()).dtype == torch.float64
    assert part.template[0].shift.dtype == torch.float32
    assert torch.equal(part(rows[:1]), before[:1])
