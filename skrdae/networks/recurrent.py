"""Stacked recurrent autoencoders: LSTM or GRU, a fused kernel for all steps of a layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

import torch
from torch import nn
from torch.nn.functional import pad

from skrdae._parallel import in_parallel
from skrdae.networks.member import MemberModule
from skrdae.networks.workspace import Workspace

_T = TypeVar("_T")

#: name → gates of a unit.
CELLS = {"lstm": 4, "gru": 3}

# Windows that a piece of work holds on a CPU, scored and trained on. What an LSTM's steps leave
# behind for the way back then stays in the cache; the GRU has no fused kernel there but a loop of
# small calls, for which larger pieces are better.
_SCORED_ROWS = {"lstm": 32, "gru": 64}
_TRAINED_ROWS = {"lstm": 64, "gru": 256}
# Batches of an LSTM that are at least twice as large are split, whatever the threads there are.
_WORTH_A_THREAD = 16
# Parameters of a member start at multiples of this many numbers, because products depend, in their
# last bits, on how their operands are aligned.
_ALIGNMENT = 16
# Products of fewer multiplications are plain loops. Larger ones have a multiple of _BLOCK columns,
# and of rows, where these are few.
_TINY, _BLOCK, _FEW_ROWS = 400, 4, 12


class MemberRecurrent(MemberModule):
    """What recurrent networks have in common: layers whose parameters are one stretch of memory.

    Attributes
    ----------
    cell : {"lstm", "gru"}
    n_steps, n_channels : int
        Of a window.
    shapes : list of tuple
        Inputs and units of each layer; the first parameters are those of the layers.
    """

    cell: Literal["lstm", "gru"]
    n_steps: int
    n_channels: int
    shapes: list[tuple[int, int]]

    @property
    def row_shape(self) -> tuple[int, int]:
        """Steps and channels of a window."""
        return self.n_steps, self.n_channels

    @property
    def _fused(self) -> bool:
        """Whether all steps of a layer are one kernel, of one thread, on a CPU."""
        return self.cell == "lstm"

    def _add_layers(self, generators: Sequence[torch.Generator], device: torch.device) -> None:
        for layer, shape in enumerate(self.shapes):
            self.add(f"layer_{layer}", _initial(*shape, self.cell, generators).to(device))

    def _layer_weights(self, member: int) -> list[list[torch.Tensor]]:
        """Return the weights of each layer of a member, views of its parameters."""
        layers = [weight[member] for weight in self.own_parameters()[: len(self.shapes)]]
        if self.device.type == "cuda":  # where cuDNN takes only what begins its memory as it is
            layers = [layer.clone() for layer in layers]
        return [
            _parts(flat, *shape, self.cell) for flat, shape in zip(layers, self.shapes, strict=True)
        ]

    def _run(
        self, sequence: torch.Tensor, weights: list[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Run one layer: (T, n, in) → (T, n, units), and the last state, (n, units)."""
        units = weights[1].shape[1]
        start = sequence.new_zeros(1, sequence.shape[1], units)
        options = True, 1, 0.0, torch.is_grad_enabled(), False, False
        if self.cell == "lstm":
            out, last, _ = torch.lstm(sequence, (start, start), weights, *options)
        else:
            out, last = torch.gru(sequence, start, weights, *options)
        return out, last[0]

    def _sequence(self, rows: torch.Tensor) -> torch.Tensor:
        """Turn windows, (n, T·c), to a sequence, (T, n, c)."""
        sequence = torch.unflatten(rows, 1, (self.n_steps, self.n_channels))
        return sequence.transpose(0, 1).contiguous()

    def _map(
        self, function: Callable[[int, torch.Tensor], torch.Tensor], x: torch.Tensor
    ) -> torch.Tensor:
        """Apply a function of a member's place and rows: (K, n, …) → (K, n, …)."""
        self.check_device(x)
        n_rows = self.rows_a_piece or _SCORED_ROWS[self.cell]
        made = self._in_pieces(function, x, -(-x.shape[1] // n_rows))
        return torch.unflatten(torch.cat(made), 0, x.shape[:2])

    def _in_pieces(
        self, function: Callable[[int, torch.Tensor], _T], x: torch.Tensor, n_pieces: int
    ) -> list[_T]:
        """Apply a function of a member's place and rows to parts of the rows; return a list."""
        if x.device.type != "cpu":
            n_pieces = 1
        pieces = [(k, part) for k, rows in enumerate(x) for part in rows.tensor_split(n_pieces)]
        traced = torch.is_grad_enabled()  # which is a thread's own affair

        def work(piece: tuple[int, torch.Tensor]) -> _T:
            with torch.set_grad_enabled(traced):
                return function(*piece)

        # The products that torch's GRU calls have threads of their own.
        apart = x.device.type == "cpu" and self._fused
        return in_parallel(work, pieces) if apart else list(map(work, pieces))


class MemberRecurrentAutoencoder(MemberRecurrent):
    """K recurrent encoder-decoders of the same shape side by side.

    The encoder reads a window step by step; the state its last layer ends in is the code. The
    decoder reads the code once for each step, and a linear layer makes of its states the window.

    Parameters
    ----------
    n_features : int
        Values of a window, step by step, the channels of a step side by side.
    n_channels : int
        It divides `n_features`.
    hidden_layer_sizes : tuple of int
        Units of the encoder's layers, the last of which is the size of the code. The decoder
        mirrors them.
    cell : {"lstm", "gru"}
    generators : list of K torch.Generator
        One a member; the initial weights are drawn from them (Glorot uniform; the gates that keep
        the state, the LSTM's forget gates and the GRU's update gates, start with a bias of 1, so
        that a state outlasts a window's steps).
    device : torch.device
    """

    readout_weight: nn.Parameter
    readout_bias: nn.Parameter

    def __init__(
        self,
        n_features: int,
        n_channels: int,
        hidden_layer_sizes: Sequence[int],
        cell: Literal["lstm", "gru"],
        generators: Sequence[torch.Generator],
        device: torch.device,
    ) -> None:
        super().__init__()
        self.cell, self.n_channels = cell, n_channels
        self.n_steps = n_features // n_channels
        sizes = list(hidden_layer_sizes)
        self.n_encoder_layers = len(sizes)
        self.shapes = layer_shapes(n_channels, sizes, sizes[-1])
        self._add_layers(generators, device)
        readout = [glorot(g, 1, sizes[0], n_channels) for g in generators]
        weight = torch.cat(readout).to(device)
        self.add("readout_weight", weight)
        self.add("readout_bias", weight.new_zeros(len(generators), 1, n_channels))

    @property
    def weights(self) -> list[nn.Parameter]:
        """Every parameter, the member axis first."""
        return self.own_parameters()

    @property
    def code_size(self) -> int:
        """Units of the code."""
        return self.shapes[self.n_encoder_layers - 1][1]

    def _encode(self, sequence: torch.Tensor, layers: list[list[torch.Tensor]]) -> torch.Tensor:
        for weights in layers[: self.n_encoder_layers]:
            sequence, code = self._run(sequence, weights)
        return code

    def _decode(self, code: torch.Tensor, layers: list[list[torch.Tensor]]) -> torch.Tensor:
        sequence = code.expand(self.n_steps, *code.shape)
        for weights in layers[self.n_encoder_layers :]:
            sequence, _ = self._run(sequence, weights)
        return sequence

    def _read_out(self, states: torch.Tensor, member: int) -> torch.Tensor:
        """Make values of the decoder's states: (T, n, units) → (T, n, c)."""
        weight, bias = self.readout_weight[member, None], self.readout_bias[member]
        flat = states.reshape(1, -1, states.shape[2])
        return product(flat, weight)[0].add_(bias).view(*states.shape[:2], -1)

    def forward(self, x: torch.Tensor, workspace: Workspace | None = None) -> torch.Tensor:
        """Return what the members make of windows: (K, n, T·c) → (K, n, T·c)."""
        return self.decode(self.encode(x))

    def encode(self, x: torch.Tensor, workspace: Workspace | None = None) -> torch.Tensor:
        """Return the codes: (K, n, T·c) → (K, n, units)."""
        return self._map(
            lambda k, rows: self._encode(self._sequence(rows), self._layer_weights(k)), x
        )

    def decode(self, code: torch.Tensor, workspace: Workspace | None = None) -> torch.Tensor:
        """Return the windows that codes stand for: (K, n, units) → (K, n, T·c)."""

        def windows(k: int, rows: torch.Tensor) -> torch.Tensor:
            made = self._read_out(self._decode(rows, self._layer_weights(k)), k)
            return made.transpose(0, 1).flatten(1)

        return self._map(windows, code)

    def error_gradient(
        self,
        x: torch.Tensor,
        grads: Sequence[torch.Tensor],
        workspace: Workspace,
    ) -> None:
        """Write the gradient of a window's squared error, averaged over the windows.

        Parameters
        ----------
        x : Tensor of shape (K, n, T·c)
            What to reconstruct.
        grads : list of Tensor
            Where the gradients of `weights` are written.
        workspace : Workspace
        """
        n_rows = x.shape[1]
        n_pieces = -(-n_rows // _TRAINED_ROWS[self.cell])
        if self.cell == "lstm" and n_rows >= 2 * _WORTH_A_THREAD:
            n_pieces = max(n_pieces, 2)
        found = self._in_pieces(lambda k, rows: self._gradient(k, rows, 2 / n_rows), x, n_pieces)
        for total in grads:
            total.zero_()
        per_member = len(found) // len(x)
        for place, parts in enumerate(found):
            for total, part in zip(grads, parts, strict=True):
                total[place // per_member].add_(part)

    def _gradient(self, member: int, rows: torch.Tensor, scale: float) -> list[torch.Tensor]:
        """Return the gradient of `scale` times half the squared errors, a tensor a parameter."""
        found = [torch.zeros_like(value[member]) for value in self.weights]
        layers, leaves = self._layer_weights(member), []
        for weights, flat, shape in zip(layers, found, self.shapes, strict=False):
            for i, total in enumerate(_parts(flat, *shape, self.cell)):
                weights[i] = weights[i].detach().requires_grad_()
                weights[i].grad = total  # to which backward adds
            leaves += weights
        sequence = self._sequence(rows)
        with torch.enable_grad():
            states = self._decode(self._encode(sequence, layers), layers)
        # The linear layer by hand: its product with few columns is slow both ways.
        grad = self._read_out(states.detach(), member).sub_(sequence).mul_(scale)
        flat = grad.view(-1, self.n_channels)
        found[-2].addmm_(states.detach().flatten(0, 1).T, flat)
        found[-1].copy_(flat.sum(dim=0, keepdim=True))
        back = flat @ self.readout_weight[member].T
        torch.autograd.backward(states, back.view_as(states), inputs=leaves)
        return found


def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return a @ b: (1, rows, units) @ (1, units, c) → (1, rows, c).

    On a CPU a row's result does not depend on its place: what a BLAS would treat by other kernels,
    because it is left over from its blocks, is filled up with zeros.
    """
    rows, columns = a.shape[1], b.shape[2]
    if a.device.type != "cpu" or rows * a.shape[2] * columns < _TINY:
        return torch.bmm(a, b)
    more_rows = -rows % _BLOCK if rows < _FEW_ROWS else 0
    more_columns = -columns % _BLOCK
    if more_rows:
        a = pad(a, (0, 0, 0, more_rows))
    if more_columns:
        b = pad(b, (0, more_columns))
    return torch.bmm(a, b)[:, :rows, :columns].contiguous()


def layer_shapes(
    n_channels: int, hidden_layer_sizes: Sequence[int], decoder_inputs: int
) -> list[tuple[int, int]]:
    """Return inputs and units of each layer, those of the decoder after the encoder's."""
    sizes = list(hidden_layer_sizes)
    encoder = list(zip([n_channels, *sizes[:-1]], sizes, strict=True))
    return encoder + list(zip([decoder_inputs, *sizes[:0:-1]], sizes[::-1], strict=True))


def layer_size(n_inputs: int, units: int, cell: str) -> int:
    """Return how many numbers a member's layer takes, one after another."""
    n_numbers = sum(math.prod(shape) for shape in _sizes(n_inputs, units, cell))
    return n_numbers + -n_numbers % _ALIGNMENT


def _sizes(n_inputs: int, units: int, cell: str) -> tuple[tuple[int, ...], ...]:
    gates = CELLS[cell] * units
    return (gates, n_inputs), (gates, units), (gates,), (gates,)


def _parts(flat: torch.Tensor, n_inputs: int, units: int, cell: str) -> list[torch.Tensor]:
    """Return views of one member's layer: weights of inputs and states, and two biases."""
    parts, start = [], 0
    for shape in _sizes(n_inputs, units, cell):
        size = math.prod(shape)
        parts.append(flat[start : start + size].view(shape))
        start += size
    return parts


def _initial(
    n_inputs: int, units: int, cell: str, generators: Sequence[torch.Generator]
) -> torch.Tensor:
    """Draw the weights of a layer, one after another as cuDNN wants them: (K, numbers)."""
    size = layer_size(n_inputs, units, cell)
    flat = torch.zeros(len(generators), size, dtype=torch.float32, device="cpu")
    for row, generator in zip(flat, generators, strict=True):
        inputs, states, bias, _ = _parts(row, n_inputs, units, cell)
        inputs.copy_(glorot(generator, CELLS[cell], units, n_inputs).flatten(0, 1))
        states.copy_(glorot(generator, CELLS[cell], units, units).flatten(0, 1))
        bias[units : 2 * units] = 1.0  # the second of the gates, which keeps the state
    return flat


def glorot(generator: torch.Generator, n: int, a: int, b: int) -> torch.Tensor:
    """Draw n matrices of shape (a, b)."""
    bound = math.sqrt(6 / (a + b))
    drawn = torch.rand(n, a, b, generator=generator, dtype=torch.float32, device="cpu")
    return drawn.mul_(2).sub_(1).mul_(bound)
