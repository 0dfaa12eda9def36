"""Stacked multilayer perceptrons: K networks of one shape, one batched product for each layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch

from skrdae.networks.compiled import KINDS, dense
from skrdae.networks.member import MemberModule
from skrdae.networks.workspace import Workspace

_aten = torch.ops.aten


def sigmoid_(x: torch.Tensor) -> torch.Tensor:
    """Put the logistic function in the place of its argument."""
    if x.device.type != "cpu":
        return x.sigmoid_()
    # By way of tanh, whose vectorised and scalar code agree to the last bit; torch.sigmoid's
    # do not, so that a value would depend on its place in the tensor.
    return x.mul_(0.5).tanh_().add_(1).mul_(0.5)


#: name → (in-place function, in-place product of a gradient with the derivative, told from the
#: function's value). Working from values lets a training step keep one tensor a layer.
ACTIVATIONS: dict[
    str,
    tuple[
        Callable[[torch.Tensor], torch.Tensor],
        Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    ],
] = {
    "identity": (lambda x: x, lambda grad, value: grad),
    "relu": (
        torch.relu_,
        lambda grad, value: _aten.threshold_backward.grad_input(grad, value, 0, grad_input=grad),
    ),
    "tanh": (
        torch.tanh_,
        lambda grad, value: _aten.tanh_backward.grad_input(grad, value, grad_input=grad),
    ),
    "sigmoid": (
        sigmoid_,
        lambda grad, value: _aten.sigmoid_backward.grad_input(grad, value, grad_input=grad),
    ),
}

# The same functions for automatic differentiation.
_DIFFERENTIABLE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "identity": lambda x: x,
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}

#: name → least and greatest value.
OUTPUT_RANGES = {
    "identity": (-math.inf, math.inf),
    "relu": (0.0, math.inf),
    "tanh": (-1.0, 1.0),
    "sigmoid": (0.0, 1.0),
}


class MemberMLP(MemberModule):
    """K multilayer perceptrons of the same shape side by side.

    Parameters
    ----------
    sizes : sequence of int
        Units of every layer, input first.
    activations : sequence of str
        Of every layer but the input; keys of ``ACTIVATIONS``.
    generators : list of K torch.Generator
        One a member; the initial weights are drawn from them (Glorot uniform).
    device : torch.device
    """

    rows_independent = True

    def __init__(
        self,
        sizes: Sequence[int],
        activations: Sequence[str],
        generators: Sequence[torch.Generator],
        device: torch.device,
    ) -> None:
        super().__init__()
        self.activations = list(activations)
        for fan_in, fan_out in pairwise(sizes):
            bound = math.sqrt(6 / (fan_in + fan_out))
            weight = torch.stack(
                [
                    torch.rand(fan_in, fan_out, generator=g, dtype=torch.float32, device="cpu")
                    for g in generators
                ]
            ).to(device)
            weight.mul_(2).sub_(1).mul_(bound)
            layer = len(self._parameters) // 2
            self.add(f"weight_{layer}", weight)
            self.add(f"bias_{layer}", weight.new_zeros(len(generators), 1, fan_out))

    @property
    def weights(self) -> list[torch.nn.Parameter]:
        """The weights of each layer, parameters of shape (K, in, out)."""
        return self.own_parameters()[::2]

    @property
    def biases(self) -> list[torch.nn.Parameter]:
        """The biases of each layer, parameters of shape (K, 1, out)."""
        return self.own_parameters()[1::2]

    def forward(self, x: torch.Tensor, workspace: Workspace | None = None) -> torch.Tensor:
        """Return the last layer's value: (K, n, in) → (K, n, out)."""
        return self.values(x, workspace)[-1]

    def values(
        self, x: torch.Tensor, workspace: Workspace | None = None, n_layers: int | None = None
    ) -> list[torch.Tensor]:
        """Return the value of every layer, input first: what `backward_from` needs.

        With a :class:`~skrdae.networks.workspace.Workspace` they lie in its buffers and last
        until the next call with it. `n_layers` stops short of the output.
        """
        return self._layers(x, 0, n_layers or len(self.activations), workspace)

    def _layers(
        self, x: torch.Tensor, start: int, stop: int, workspace: Workspace | None
    ) -> list[torch.Tensor]:
        self.check_device(x)
        values, weights, biases = [x], self.weights, self.biases
        if torch.is_grad_enabled() and (x.requires_grad or weights[0].requires_grad):
            for layer in range(start, stop):
                x = torch.baddbmm(biases[layer], x, weights[layer])
                values.append(x := _DIFFERENTIABLE[self.activations[layer]](x))
            return values
        n_rows, for_loops = x.shape[1], _is_for_loops(x)
        # Rows that only fill up a chunk have no use.
        n_used = n_rows if workspace is None else min(n_rows, workspace.n_used)
        for layer in range(start, stop):
            weight, bias, kind = weights[layer], biases[layer], self.activations[layer]
            shape = (len(weight), n_rows, weight.shape[2])
            if workspace is None:
                out = x.new_empty(shape)
            else:
                out = workspace.take(("value", layer), *shape)
            if for_loops:
                one = x[:1] if x.stride(0) == 0 else x
                shown = one.contiguous().numpy()
                dense(shown, weight.numpy(), bias.numpy(), KINDS[kind], out.numpy(), n_used)
                if n_used < n_rows:
                    out[:, n_used:].zero_()
            else:
                ACTIVATIONS[kind][0](_affine(x, weight, bias, out))
            values.append(out)
            x = out
        return values

    def transposed_weights(self) -> list[torch.Tensor]:
        """Return a copy of each weight, transposed and in one piece: (K, out, in)."""
        return [weight.transpose(1, 2).contiguous() for weight in self.weights]

    def backward_from(
        self,
        values: Sequence[torch.Tensor],
        grad: torch.Tensor,
        grads: Sequence[torch.Tensor] | None,
        workspace: Workspace,
        *,
        to_input: bool = False,
        transposed: Sequence[torch.Tensor] | None = None,
    ) -> Any:
        """Back-propagate a loss's gradient.

        Parameters
        ----------
        values : list of Tensor
            What :meth:`values` returned, up to the layer whose gradient is given.
        grad : Tensor of shape (K, n, out)
            Gradient with respect to the last of `values`; overwritten.
        grads : list of Tensor, or None
            Where the gradients of the parameters are written, in their order. ``None`` leaves them
            out.
        workspace : Workspace
        to_input : bool, default=False
            Return the gradient with respect to the input.
        transposed : list of Tensor, optional
            What :meth:`transposed_weights` returned, for a loop that leaves the weights as they
            are. By default they are transposed at each call.

        Returns
        -------
        Tensor of shape (K, n, in), or None
        """
        weights = self.weights
        # Where a product adds rows up faster than a sum does.
        ones = None if grad.device.type == "cpu" else grad.new_ones(1, 1, grad.shape[1])
        for layer in reversed(range(len(values) - 1)):
            grad = ACTIVATIONS[self.activations[layer]][1](grad, values[layer + 1])
            if grads is not None:
                torch.bmm(values[layer].transpose(1, 2), grad, out=grads[2 * layer])
                of_bias = grads[2 * layer + 1]
                if ones is None:
                    torch.sum(grad, dim=1, keepdim=True, out=of_bias)
                else:
                    torch.bmm(ones.expand(len(grad), -1, -1), grad, out=of_bias)
            if layer or to_input:
                out = workspace.take(("grad", layer), *values[layer].shape)
                weight = weights[layer].transpose(1, 2) if transposed is None else transposed[layer]
                grad = _product(grad, weight, out)
        return grad if to_input else None


def _is_for_loops(x: torch.Tensor) -> bool:
    """Return whether compiled loops make the products of these rows, and not torch."""
    return x.device.type == "cpu" and x.dtype == torch.float32


def _affine(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, out: torch.Tensor
) -> torch.Tensor:
    """Return x @ weight + bias: (K, n, in) → (K, n, out)."""
    if len(weight) > 1:
        return torch.bmm(x, weight, out=out).add_(bias)
    torch.addmm(bias[0], x[0], weight[0], out=out[0])  # one kernel
    return out


def _product(x: torch.Tensor, weight: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """Put x @ weight into `out`: (K, n, in) @ (K, in, out) → (K, n, out)."""
    if not _is_for_loops(x):
        return torch.bmm(x, weight, out=out)
    bias = weight.new_zeros(len(weight), 1, weight.shape[2])
    shown = x.contiguous().numpy(), weight.contiguous().numpy(), bias.numpy()
    dense(*shown, KINDS["identity"], out.numpy(), x.shape[1])
    return out


class MemberAutoencoder(MemberMLP):
    """K autoencoders of the same shape side by side.

    Parameters
    ----------
    n_features : int
        Units of the first and the last layer.
    hidden_layer_sizes : tuple of int
        Units of the encoder's layers, bottleneck last. The decoder mirrors them.
    activation : str
        Of the hidden layers, the bottleneck included; a key of ``ACTIVATIONS``.
    output_activation : str
        Of the last layer.
    generators : list of K torch.Generator
    device : torch.device
    """

    def __init__(
        self,
        n_features: int,
        hidden_layer_sizes: Sequence[int],
        activation: str,
        output_activation: str,
        generators: Sequence[torch.Generator],
        device: torch.device,
    ) -> None:
        encoder = [n_features, *hidden_layer_sizes]
        sizes = encoder + encoder[-2::-1]
        activations = [activation] * (len(sizes) - 2) + [output_activation]
        super().__init__(sizes, activations, generators, device)
        self.n_encoder_layers = len(hidden_layer_sizes)

    @property
    def n_features(self) -> int:
        """Units of the first and the last layer."""
        return self.weights[0].shape[1]

    @property
    def code_size(self) -> int:
        """Units of the bottleneck."""
        return self.weights[self.n_encoder_layers - 1].shape[2]

    def encode(self, x: torch.Tensor, workspace: Workspace | None = None) -> torch.Tensor:
        """Return the bottleneck's codes: (K, n, d) → (K, n, units)."""
        return self._layers(x, 0, self.n_encoder_layers, workspace)[-1]

    def decode(self, code: torch.Tensor, workspace: Workspace | None = None) -> torch.Tensor:
        """Return the data that codes stand for: (K, n, units) → (K, n, d)."""
        return self._layers(code, self.n_encoder_layers, len(self.activations), workspace)[-1]

    def error_gradient(
        self,
        x: torch.Tensor,
        grads: Sequence[torch.Tensor],
        workspace: Workspace,
    ) -> None:
        """Write the gradient of a row's squared error, averaged over the rows.

        Parameters
        ----------
        x : Tensor of shape (K, n, d)
            What to reconstruct.
        grads : list of Tensor
            As in :meth:`backward_from`.
        workspace : Workspace
        """
        values = self.values(x, workspace)
        grad = torch.sub(values[-1], x, out=workspace.take("grad", *x.shape))
        grad.mul_(2 / x.shape[1])
        self.backward_from(values, grad, grads, workspace)
