import pytest
import torch

from skrdae._random import member_generators
from skrdae.networks.mlp import ACTIVATIONS, MemberAutoencoder, MemberMLP
from skrdae.networks.workspace import Workspace

CPU = torch.device("cpu")


class _DoubleWorkspace(Workspace):
    def take(self, name, *shape):
        return super().take(name, *shape).double()


def _network(seeds, activation="tanh", output="identity", sizes=(7, 3), n_features=11):
    return MemberAutoencoder(n_features, sizes, activation, output, member_generators(seeds), CPU)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("output", ACTIVATIONS)
def test_gradients_are_those_of_autograd(activation, output):
    network = _network([0, 1, 2], activation, output).double()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 20, 11, generator=generator, dtype=torch.float64)
    grads = [torch.empty_like(p) for p in network.parameters()]
    values = network.values(x)
    network.backward_from(values, 2 * (values[-1] - x), grads, _DoubleWorkspace(CPU))

    plain = {
        "identity": lambda z: z,
        "relu": torch.relu,
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
    }
    parameters = [p.detach().clone().requires_grad_() for p in (*network.weights, *network.biases)]
    weights, biases = parameters[:4], parameters[4:]
    h = x
    for layer in range(4):
        h = plain[output if layer == 3 else activation](h @ weights[layer] + biases[layer])
    torch.testing.assert_close(values[-1], h.detach())
    expected = torch.autograd.grad((h - x).square().sum(), parameters)
    for found, right in zip([*grads[::2], *grads[1::2]], expected, strict=True):
        torch.testing.assert_close(found, right)


def test_the_first_members_of_a_larger_stack_are_those_of_a_smaller_one():
    two, five = _network([3, 4]), _network([3, 4, 5, 6, 7])
    for a, b in zip(two.parameters(), five.parameters(), strict=True):
        assert torch.equal(a, b[:2])


def test_select_and_assign_move_members():
    network = _network([0, 1, 2])
    x = torch.randn(3, 5, 11)
    some = network.select(torch.tensor([2, 0]))
    assert torch.equal(some(x[[2, 0]]), network(x)[[2, 0]])
    other = _network([8, 9, 10])
    other.assign(torch.tensor([2, 0]), some)
    assert torch.equal(other(x)[[0, 2]], network(x)[[0, 2]])
    some.weights[0].zero_()  # a copy: the source keeps its weights
    assert network.weights[0].all()


def test_decode_of_encode_is_forward():
    network = _network([0])
    x = torch.randn(1, 5, 11)
    assert network.encode(x).shape == (1, 5, 3)
    assert torch.equal(network.decode(network.encode(x)), network(x))


def test_a_workspace_changes_no_value():
    network, workspace = _network([0, 1]), Workspace(CPU)
    generator = torch.Generator().manual_seed(0)
    for n_rows in (40, 7, 50):  # buffers shrink and grow
        x = torch.randn(2, n_rows, 11, generator=generator)
        assert torch.equal(network(x, workspace), network(x))
        assert torch.equal(network.encode(x, workspace), network.encode(x))


def test_gradient_with_respect_to_the_input_and_no_other():
    network = MemberMLP([5, 7, 3], ["tanh", "identity"], member_generators([0, 1]), CPU).double()
    x = torch.randn(2, 6, 5, dtype=torch.float64, requires_grad=True)
    weights, biases = network.weights, network.biases
    out = torch.tanh(x @ weights[0] + biases[0]) @ weights[1] + biases[1]
    (expected,) = torch.autograd.grad(out.pow(3).sum(), x)
    values = network.values(x.detach())
    grad = 3 * values[-1] ** 2
    found = network.backward_from(values, grad, None, _DoubleWorkspace(CPU), to_input=True)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_gradient_of_an_input_depends_on_no_other_row(activation):
    network = MemberMLP([5, 70, 3], [activation, "identity"], member_generators([0, 1]), CPU)
    x = torch.randn(2, 64, 5, generator=torch.Generator().manual_seed(0))

    def gradient(rows):
        values = network.values(rows)
        grad = values[-1].clone()
        return network.backward_from(values, grad, None, Workspace(CPU), to_input=True).clone()

    expected = gradient(x)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(1))
    assert torch.equal(gradient(x[:, order]), expected[:, order])
    for rows in (1, 3, 17):
        assert torch.equal(gradient(x[:, :rows]), expected[:, :rows])
    double = network.double()  # by torch's products
    values = double.values(x.double())
    right = double.backward_from(
        values, values[-1].clone(), None, _DoubleWorkspace(CPU), to_input=True
    )
    torch.testing.assert_close(expected, right.float(), rtol=1e-4, atol=1e-5)
