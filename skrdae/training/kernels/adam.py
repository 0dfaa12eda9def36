"""What the compiled epochs share: Adam's step, and the rows of a batch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skrdae._compiled import compiled
from skrdae._typing import IntArray
from skrdae.networks.compiled import ZERO, Layers

# Where averages of gradients are cut off before they become denormal numbers, which are slow.
_TINY = np.float32(1e-30)


class Adam(NamedTuple):
    """A member's parameters and the state of their optimiser.

    Attributes
    ----------
    values, mean, square : ndarray of float32, shape (size,)
        Flat, of all members.
    grads : ndarray of float32, shape (n_pieces, size)
        Of each piece of a batch.
    lr, beta1, beta2, eps : float
    n_done : int
        Steps made before.
    """

    values: NDArray[np.float32]
    grads: NDArray[np.float32]
    mean: NDArray[np.float32]
    square: NDArray[np.float32]
    lr: float
    beta1: float
    beta2: float
    eps: float
    n_done: int


@compiled
def adam_step(adam: Adam, layers: Layers, step: int) -> None:
    """Move a network's parameters by their gradients; `step` counts from 1."""
    for layer in range(len(layers.kinds)):
        fan_in, fan_out = layers.sizes[layer], layers.sizes[layer + 1]
        start = layers.starts[2 * layer]
        move(adam, start, start + fan_in * fan_out, step)
        start = layers.starts[2 * layer + 1]
        move(adam, start, start + fan_out, step)


@compiled
def move(adam: Adam, start: int, end: int, step: int) -> None:
    """Move the parameters in a part of the flat arrays by their gradients."""
    step_size = np.float32(adam.lr / (1.0 - adam.beta1**step))
    root = np.float32(np.sqrt(1.0 - adam.beta2**step))
    of_mean, of_square = np.float32(1.0 - adam.beta1), np.float32(1.0 - adam.beta2)
    keep, eps = np.float32(adam.beta2), np.float32(adam.eps)
    values, grads = adam.values[start:end], adam.grads[0, start:end]
    means, squares = adam.mean[start:end], adam.square[start:end]
    for piece in range(1, len(adam.grads)):
        more = adam.grads[piece, start:end]
        for i in range(end - start):
            grads[i] += more[i]
    for i in range(end - start):
        g = grads[i]
        mean = means[i] + of_mean * (g - means[i])
        square = keep * squares[i] + of_square * (g * g)
        mean = ZERO if abs(mean) <= _TINY else mean
        square = max(square, _TINY)
        means[i], squares[i] = mean, square
        values[i] -= step_size * mean / (np.sqrt(square) / root + eps)


@compiled
def gather(
    data: NDArray[np.float32], order: IntArray, bound: np.float32, out: NDArray[np.float32]
) -> None:
    """Fill in rows by their places, clipped to ±bound."""
    for i in range(len(order)):
        row = data[order[i]]
        for j in range(len(row)):
            out[i, j] = min(max(row[j], -bound), bound)


@compiled
def span(n: int, n_parts: int, part: int) -> tuple[int, int]:
    """Return first and last of n things, dealt out evenly, that are a part's."""
    size, more = n // n_parts, n % n_parts
    first = part * size + min(part, more)
    return first, first + size + (1 if part < more else 0)


@compiled
def most_rows(n_rows: int, n_batches: int) -> int:
    """Return the rows of the largest of some batches."""
    return n_rows // n_batches + (1 if n_rows % n_batches else 0)
