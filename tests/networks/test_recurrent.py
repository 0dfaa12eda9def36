import numpy as np
import pytest
import torch
from torch import nn

from skrdae._device import plain_torch
from skrdae._random import member_generators
from skrdae.chunks import map_chunks
from skrdae.networks.recurrent import CELLS, MemberRecurrentAutoencoder
from skrdae.networks.workspace import Workspace
from skrdae.training.adam import MemberAdam

CPU = torch.device("cpu")
cells = pytest.mark.parametrize("cell", CELLS)


def _network(seeds=(0,), cell="lstm", sizes=(7, 3), n_features=22, n_channels=2):
    return MemberRecurrentAutoencoder(
        n_features, n_channels, sizes, cell, member_generators(seeds), CPU
    )


class _Plain(nn.Module):
    """One member, written as anybody would."""

    def __init__(self, network, member):
        super().__init__()
        kind = {"lstm": nn.LSTM, "gru": nn.GRU}[network.cell]
        self.layers = nn.ModuleList(kind(*shape, batch_first=True) for shape in network.shapes)
        self.readout = nn.Linear(network.shapes[-1][1], network.n_channels)
        self.n_encoder_layers = network.n_encoder_layers
        with torch.no_grad():
            for layer, weights in zip(self.layers, network._layer_weights(member), strict=True):
                for mine, given in zip(layer.parameters(), weights, strict=True):
                    mine.copy_(given)
            self.readout.weight.copy_(network.readout_weight[member].T)
            self.readout.bias.copy_(network.readout_bias[member, 0])

    def forward(self, x):
        h = x
        for layer in self.layers[: self.n_encoder_layers]:
            h, state = layer(h)
        code = (state[0] if isinstance(state, tuple) else state)[-1]
        h = code[:, None].repeat(1, x.shape[1], 1)
        for layer in self.layers[self.n_encoder_layers :]:
            h, _ = layer(h)
        return self.readout(h), code


def _gradients(network, x):
    optimiser = MemberAdam(network, 1e-3)
    grads = optimiser.grads_of(network)
    network.error_gradient(x, grads, Workspace(CPU))
    return grads


@cells
def test_values_and_gradients_are_those_of_torch_modules(cell):
    network = _network((0, 1), cell)
    x = torch.randn(2, 150, 22, generator=torch.Generator().manual_seed(0))  # more than one turn
    grads = [g.clone() for g in _gradients(network, x)]
    for member in range(2):
        plain = _Plain(network, member)
        steps = x[member].view(150, 11, 2)
        out, code = plain(steps)
        with torch.no_grad():
            torch.testing.assert_close(network(x)[member], out.flatten(1), rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(network.encode(x)[member], code, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(network.decode(network.encode(x)), network(x))
        (out - steps).square().sum(dim=(1, 2)).mean().backward()
        for layer, flat in zip(plain.layers, grads, strict=False):
            expected = torch.cat([p.grad.flatten() for p in layer.parameters()])
            found = flat[member]
            torch.testing.assert_close(found[: len(expected)], expected, rtol=1e-3, atol=1e-5)
            assert not found[len(expected) :].any()
        torch.testing.assert_close(
            grads[-2][member], plain.readout.weight.grad.T, rtol=1e-3, atol=1e-4
        )
        torch.testing.assert_close(
            grads[-1][member, 0], plain.readout.bias.grad, rtol=1e-3, atol=1e-4
        )


@cells
def test_a_member_of_a_stack_equals_the_member_alone(cell):
    three, one = _network((3, 4, 5), cell, (5, 3)), _network((4,), cell, (5, 3))
    x = torch.randn(3, 40, 22, generator=torch.Generator().manual_seed(0))
    for a, b in zip(three.parameters(), one.parameters(), strict=True):
        assert torch.equal(a[1:2], b)
    with torch.no_grad():
        assert torch.equal(three(x)[1], one(x[1:2])[0])
    for a, b in zip(_gradients(three, x), _gradients(one, x[1:2]), strict=True):
        assert torch.equal(a[1:2], b)


@cells
@pytest.mark.parametrize("sizes", [(1,), (5,), (13, 6), (32, 16)])
@pytest.mark.parametrize("n_channels", [1, 3])
def test_a_window_does_not_depend_on_its_neighbours(cell, sizes, n_channels):
    network = _network((0, 1), cell, sizes, 12 * n_channels, n_channels)
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(150, 12 * n_channels, generator=generator)

    def made(rows):
        with torch.no_grad():
            return map_chunks(lambda part, _: network(part.expand(2, -1, -1)), rows)

    everything = made(rows)
    order = torch.randperm(150, generator=generator)
    assert torch.equal(made(rows[order]), everything[:, order])
    for i in (0, 1, 63, 64, 149):
        assert torch.equal(made(rows[i : i + 1])[:, 0], everything[:, i])


def test_the_weights_of_a_layer_lie_as_cudnn_wants_them():
    # One piece of memory, matrices first, or cuDNN would copy them at every call, and say so.
    network = _network((0, 1))
    for weights in network._layer_weights(1):
        ends = [w.data_ptr() + 4 * w.numel() for w in weights]
        assert [w.data_ptr() for w in weights[1:]] == ends[:-1]
        assert [w.dim() for w in weights] == [2, 2, 1, 1]


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_gates_that_keep_the_state_start_open_and_the_rest_is_drawn(cell):
    network = _network(cell=cell)
    for weights, (_, units) in zip(network._layer_weights(0), network.shapes, strict=True):
        bias = weights[2].view(-1, units)
        assert (bias[1] == 1).all()
        assert not bias[[0, *range(2, len(bias))]].any()
        assert not weights[3].any()
        assert np.unique(weights[1]).size == weights[1].numel()


def test_the_state_of_a_gru_outlasts_some_steps():
    # Its second gate is the share that is kept: with inputs of zero, σ(1) a step or more.
    network = _network(cell="gru")
    weights = [w.detach() for w in network._layer_weights(0)[0]]
    weights[1] = torch.zeros_like(weights[1])
    units = weights[1].shape[1]
    steps = torch.zeros(5, 1, weights[0].shape[1])
    out, _ = torch.gru(steps, torch.ones(1, 1, units), weights, True, 1, 0.0, False, False, False)
    kept = torch.sigmoid(torch.tensor(1.0)) ** torch.arange(1, 6)
    torch.testing.assert_close(out[:, 0, 0], kept)


def test_select_and_assign_move_members():
    network = _network((0, 1, 2))
    x = torch.randn(3, 5, 22)
    with torch.no_grad():
        some = network.select(torch.tensor([2, 0]))
        assert torch.equal(some(x[[2, 0]]), network(x)[[2, 0]])
        network.assign(torch.tensor([1]), network.select(torch.tensor([0])))
        assert torch.equal(network(x[[1, 1, 1]])[1], network(x[[1, 1, 1]])[0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@cells
def test_on_a_gpu_the_same_without_a_warning(cell):
    cpu = _network((0, 1), cell)
    gpu = MemberRecurrentAutoencoder(
        22, 2, (7, 3), cell, member_generators((0, 1)), torch.device("cuda")
    )
    x = torch.randn(2, 30, 22)
    with plain_torch():
        torch.testing.assert_close(gpu(x.cuda()).cpu(), cpu(x), rtol=1e-4, atol=1e-5)
    optimiser = MemberAdam(gpu, 1e-3)
    with plain_torch():
        gpu.error_gradient(x.cuda(), optimiser.grads_of(gpu), Workspace(torch.device("cuda")))
    for found, expected in zip(optimiser.grads_of(gpu), _gradients(cpu, x), strict=True):
        torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-5)


def test_the_number_of_threads_does_not_matter_to_an_lstm():
    network = _network((0, 1), "lstm", (13, 6))
    x = torch.randn(2, 200, 22, generator=torch.Generator().manual_seed(0))
    before, found = torch.get_num_threads(), []
    for n_threads in (1, 2, 3):
        torch.set_num_threads(n_threads)
        with torch.no_grad():
            found.append([network(x), *(g.clone() for g in _gradients(network, x))])
    torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))
