"""Dense networks on a CPU as compiled loops: a layer's value, and the way back through all.

A step of a small network is some thirty operations of a microsecond each; called one by one from
Python they take several times as long. In training the matrix products are the BLAS's, and
everything between them is a pass or two over memory that is in the cache. A layer's value alone,
which is what scoring needs, is made by a product of our own: a BLAS gives a row other last bits in
another place.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from skrdae._compiled import compiled, inlined
from skrdae._typing import IntArray

_IDENTITY, _RELU, _TANH, _SIGMOID = range(4)
#: Activations by name.
KINDS = {"identity": _IDENTITY, "relu": _RELU, "tanh": _TANH, "sigmoid": _SIGMOID}

#: Plain numbers would make everything they meet double precision.
ZERO, HALF, ONE, TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)


class Layers(NamedTuple):
    """Where a member's parameters lie in flat arrays.

    Attributes
    ----------
    sizes : ndarray of int64, shape (n_layers + 1,)
        Units, input first.
    kinds : ndarray of int64, shape (n_layers,)
        Activations; values of :data:`KINDS`.
    starts : ndarray of int64, shape (2 * n_layers,)
        Where weight and bias of each layer begin.
    """

    sizes: IntArray
    kinds: IntArray
    starts: IntArray


# The numerator's and the denominator's coefficients of a rational function, in x².
_P = tuple(
    np.float32(c)
    for c in (
        -2.76076847742355e-16,
        2.00018790482477e-13,
        -8.60467152213735e-11,
        5.12229709037114e-08,
        1.48572235717979e-05,
        6.37261928875436e-04,
        4.89352455891786e-03,
    )
)
_Q = tuple(
    np.float32(c)
    for c in (
        1.19825839466702e-06,
        1.18534705686654e-04,
        2.26843463243900e-03,
        4.89352518554385e-03,
    )
)
_TANH_END = np.float32(7.90531110763549805)  # beyond it, tanh is 1 in single precision


@compiled
def tanh(x: np.float32) -> np.float32:
    """Return the hyperbolic tangent, within 3e-7."""
    # Unlike a call of the mathematical library, this is arithmetic that a loop does on a whole
    # register at once.
    x = min(max(x, -_TANH_END), _TANH_END)
    s = x * x
    p = _P[0]
    p = p * s + _P[1]
    p = p * s + _P[2]
    p = p * s + _P[3]
    p = p * s + _P[4]
    p = p * s + _P[5]
    p = p * s + _P[6]
    q = _Q[0]
    q = q * s + _Q[1]
    q = q * s + _Q[2]
    q = q * s + _Q[3]
    return x * p / q


@inlined
def activate(z: NDArray[np.float32], kind: int) -> None:
    """Put the activation in the place of its argument, a row."""
    if kind == _TANH:
        for j in range(len(z)):
            z[j] = tanh(z[j])
    elif kind == _RELU:
        for j in range(len(z)):
            z[j] = max(z[j], ZERO)
    elif kind == _SIGMOID:
        for j in range(len(z)):
            z[j] = HALF * tanh(HALF * z[j]) + HALF


# How many rows, and how many of the weight's, are worked on before going on to others: few enough
# for the first two levels of cache.
_ROWS, _PANEL = 64, 128


@inlined
def _add_four_products(
    x: NDArray[np.float32],
    i: int,
    w: NDArray[np.float32],
    first: int,
    last: int,
    out: NDArray[np.float32],
) -> None:
    """Add x @ w to four rows of the result from i on, for the weight's rows first to last.

    Sixteen products a number read: fewer rows or columns at a time would wait for memory.
    """
    z0, z1, z2, z3 = out[i], out[i + 1], out[i + 2], out[i + 3]
    x0, x1, x2, x3 = x[i], x[i + 1], x[i + 2], x[i + 3]
    p = first
    while p + 4 <= last:
        a0, b0, c0, d0 = x0[p], x0[p + 1], x0[p + 2], x0[p + 3]
        a1, b1, c1, d1 = x1[p], x1[p + 1], x1[p + 2], x1[p + 3]
        a2, b2, c2, d2 = x2[p], x2[p + 1], x2[p + 2], x2[p + 3]
        a3, b3, c3, d3 = x3[p], x3[p + 1], x3[p + 2], x3[p + 3]
        wa, wb, wc, wd = w[p], w[p + 1], w[p + 2], w[p + 3]
        for j in range(len(z0)):
            a, b, c, d = wa[j], wb[j], wc[j], wd[j]
            z0[j] = z0[j] + a0 * a + b0 * b + c0 * c + d0 * d
            z1[j] = z1[j] + a1 * a + b1 * b + c1 * c + d1 * d
            z2[j] = z2[j] + a2 * a + b2 * b + c2 * c + d2 * d
            z3[j] = z3[j] + a3 * a + b3 * b + c3 * c + d3 * d
        p += 4
    while p < last:
        a0, a1, a2, a3, wa = x0[p], x1[p], x2[p], x3[p], w[p]
        for j in range(len(z0)):
            z0[j] = z0[j] + a0 * wa[j]
            z1[j] = z1[j] + a1 * wa[j]
            z2[j] = z2[j] + a2 * wa[j]
            z3[j] = z3[j] + a3 * wa[j]
        p += 1


@inlined
def _add_product(
    x: NDArray[np.float32],
    i: int,
    w: NDArray[np.float32],
    first: int,
    last: int,
    out: NDArray[np.float32],
) -> None:
    """Do the same for one row, in the same order."""
    z0, x0 = out[i], x[i]
    p = first
    while p + 4 <= last:
        a0, b0, c0, d0 = x0[p], x0[p + 1], x0[p + 2], x0[p + 3]
        wa, wb, wc, wd = w[p], w[p + 1], w[p + 2], w[p + 3]
        for j in range(len(z0)):
            z0[j] = z0[j] + a0 * wa[j] + b0 * wb[j] + c0 * wc[j] + d0 * wd[j]
        p += 4
    while p < last:
        a0, wa = x0[p], w[p]
        for j in range(len(z0)):
            z0[j] = z0[j] + a0 * wa[j]
        p += 1


@compiled
def dense(
    x: NDArray[np.float32],
    weight: NDArray[np.float32],
    bias: NDArray[np.float32],
    kind: int,
    out: NDArray[np.float32],
    n_rows: int,
) -> None:
    """Fill in the value of a layer: activation(x @ weight + bias) of every member.

    A row's value does not depend, to the last bit, on its place or on what it is computed with.

    Parameters
    ----------
    x : ndarray of shape (K, n, in) or (1, n, in), float32
        With one for all members if they see the same.
    weight : ndarray of shape (K, in, out), float32
    bias : ndarray of shape (K, 1, out), float32
    kind : int
        A value of :data:`KINDS`.
    out : ndarray of shape (K, n, out), float32
    n_rows : int
        How many of the n rows are filled in.
    """
    n_out = weight.shape[2]
    for k in range(len(weight)):
        rows, w, z = x[k if len(x) > 1 else 0], weight[k], out[k]
        for start in range(0, n_rows, _ROWS):
            end = min(start + _ROWS, n_rows)
            for i in range(start, end):
                for j in range(n_out):
                    z[i, j] = bias[k, 0, j]
            for first in range(0, len(w), _PANEL):
                last = min(first + _PANEL, len(w))
                i = start
                while i + 4 <= end:
                    _add_four_products(rows, i, w, first, last, z)
                    i += 4
                while i < end:
                    _add_product(rows, i, w, first, last, z)
                    i += 1
            for i in range(start, end):
                activate(z[i], kind)


def as_array(value: torch.Tensor) -> NDArray[np.float32]:
    """Return a tensor as an array in one piece."""
    return value.detach().contiguous().numpy()


@inlined
def block(flat: NDArray[np.float32], start: int, rows: int, columns: int) -> NDArray[np.float32]:
    """Return a part of a flat array as a matrix."""
    return flat[start : start + rows * columns].reshape(rows, columns)


@compiled
def places_of(layers: Layers, rows: int) -> IntArray:
    """Return where each layer's value begins in a space for so many rows, and the space's size."""
    places = np.zeros(len(layers.sizes) + 1, np.int64)
    for layer in range(len(layers.sizes)):
        places[layer + 1] = places[layer] + (rows * layers.sizes[layer] + 15) // 16 * 16
    return places


@compiled
def space_for(size: int) -> NDArray[np.float32]:
    """Return an array that begins where a line of the cache does, its content undefined.

    Otherwise every register's load may touch two lines, and a fit takes a third longer.
    """
    flat = np.empty(size + 16, np.float32)
    start = -(flat.ctypes.data // 4) % 16
    return flat[start : start + size]


@compiled
def forward(
    values: NDArray[np.float32],
    layers: Layers,
    space: NDArray[np.float32],
    places: IntArray,
    rows: int,
) -> None:
    """Fill in every layer's value from the first one's."""
    for layer in range(len(layers.kinds)):
        fan_in, fan_out = layers.sizes[layer], layers.sizes[layer + 1]
        z = block(space, places[layer + 1], rows, fan_out)
        weight = block(values, layers.starts[2 * layer], fan_in, fan_out)
        start = layers.starts[2 * layer + 1]
        bias = values[start : start + fan_out]
        np.dot(block(space, places[layer], rows, fan_in), weight, z)
        for i in range(rows):
            for j in range(fan_out):
                z[i, j] += bias[j]
            activate(z[i], layers.kinds[layer])


@compiled
def backward(
    values: NDArray[np.float32],
    grads: NDArray[np.float32],
    layers: Layers,
    space: NDArray[np.float32],
    slopes: NDArray[np.float32],
    places: IntArray,
    rows: int,
    to_input: bool,
) -> None:
    """Fill in the gradients of the parameters, and of every layer's value but the first one's.

    `slopes` holds the gradient of the last one; with `to_input` the first one's is filled in too.
    """
    for layer in range(len(layers.kinds) - 1, -1, -1):
        fan_in, fan_out = layers.sizes[layer], layers.sizes[layer + 1]
        value = block(space, places[layer + 1], rows, fan_out)
        slope = block(slopes, places[layer + 1], rows, fan_out)
        start = layers.starts[2 * layer + 1]
        bias = grads[start : start + fan_out]
        bias[:] = ZERO
        kind = layers.kinds[layer]
        if kind == _TANH:
            for i in range(rows):
                for j in range(fan_out):
                    s = slope[i, j] * (ONE - value[i, j] * value[i, j])
                    slope[i, j] = s
                    bias[j] += s
        elif kind == _RELU:
            for i in range(rows):
                for j in range(fan_out):
                    s = slope[i, j] if value[i, j] > ZERO else ZERO
                    slope[i, j] = s
                    bias[j] += s
        elif kind == _SIGMOID:
            for i in range(rows):
                for j in range(fan_out):
                    s = slope[i, j] * (value[i, j] * (ONE - value[i, j]))
                    slope[i, j] = s
                    bias[j] += s
        else:
            for i in range(rows):
                for j in range(fan_out):
                    bias[j] += slope[i, j]
        below = block(space, places[layer], rows, fan_in)
        start = layers.starts[2 * layer]
        np.dot(below.T, slope, block(grads, start, fan_in, fan_out))
        if layer > 0 or to_input:
            weight = block(values, start, fan_in, fan_out)
            np.dot(slope, weight.T, block(slopes, places[layer], rows, fan_in))
