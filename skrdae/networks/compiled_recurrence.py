"""Recurrent layers on a CPU as compiled loops, for values and for gradients.

A step of a small layer is a dozen operations of a few microseconds each, and as many on the way
back; a loop takes the time of the arithmetic. Rows do not depend on each other, to the last bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from skrdae._compiled import compiled, inlined
from skrdae._parallel import one_blas_thread
from skrdae.networks.compiled import KINDS, ONE, activate, as_array, dense

_IDENTITY, _TANH, _SIGMOID = (KINDS[name] for name in ("identity", "tanh", "sigmoid"))
# Numbers of a unit that the way back needs. An LSTM's are its gates, in torch's order, and its
# memory; a GRU's are its gates, its candidate, and the part of that which is linear in the state.
_KEPT = {"lstm": 5, "gru": 4}

# The loops of a row are many and simple, over slices from their beginning: of others the compiler
# makes no vector code.


@inlined
def _lstm_cell(
    of_x: NDArray[np.float32],
    of_h: NDArray[np.float32],
    kept: NDArray[np.float32],
    memory: NDArray[np.float32],
    h: NDArray[np.float32],
) -> None:
    """Move the memory and the state of a row on by a step."""
    u = len(h)
    i, f, q = kept[:u], kept[u : 2 * u], kept[2 * u : 3 * u]
    o, made = kept[3 * u : 4 * u], kept[4 * u :]
    for j in range(4 * u):
        kept[j] = of_x[j] + of_h[j]
    activate(kept[: 2 * u], _SIGMOID)
    activate(q, _TANH)
    activate(o, _SIGMOID)
    for j in range(u):
        memory[j] = f[j] * memory[j] + i[j] * q[j]
    for j in range(u):
        made[j] = memory[j]
    for j in range(u):
        h[j] = memory[j]
    activate(h, _TANH)
    for j in range(u):
        h[j] *= o[j]


@inlined
def _gru_cell(
    of_x: NDArray[np.float32],
    of_h: NDArray[np.float32],
    kept: NDArray[np.float32],
    h: NDArray[np.float32],
) -> None:
    """Move the state of a row on by a step."""
    u = len(h)
    r, z, q, linear = kept[:u], kept[u : 2 * u], kept[2 * u : 3 * u], kept[3 * u :]
    x_of_q, h_of_q = of_x[2 * u :], of_h[2 * u :]
    for j in range(2 * u):
        kept[j] = of_x[j] + of_h[j]
    activate(kept[: 2 * u], _SIGMOID)
    for j in range(u):
        linear[j] = h_of_q[j]
    for j in range(u):
        q[j] = x_of_q[j] + r[j] * h_of_q[j]
    activate(q, _TANH)
    for j in range(u):
        h[j] = q[j] + z[j] * (h[j] - q[j])


@compiled
def _states(
    lstm: bool,
    x: NDArray[np.float32],
    of_inputs: NDArray[np.float32],
    bias: NDArray[np.float32],
    of_states: NDArray[np.float32],
    other: NDArray[np.float32],
    out: NDArray[np.float32],
    kept: NDArray[np.float32],
) -> None:
    """Fill in the states, and what the way back needs.

    Parameters
    ----------
    lstm : bool
        Otherwise a GRU.
    x : ndarray of shape (T, n, in)
    of_inputs, bias : ndarray of shape (1, in, gates · u) and (1, 1, gates · u)
    of_states, other : ndarray of shape (1, u, gates · u) and (1, 1, gates · u)
    out : ndarray of shape (T, n, u)
    kept : ndarray of shape (T, n, kept · u), or (1, n, kept · u) if there is no way back
    """
    n, u = out.shape[1], out.shape[2]
    h, memory = np.zeros((1, n, u), np.float32), np.zeros((n, u), np.float32)
    of_x = np.empty((1, n, of_inputs.shape[2]), np.float32)
    of_h = np.empty_like(of_x)
    for t in range(len(out)):
        dense(x[t : t + 1], of_inputs, bias, _IDENTITY, of_x, x.shape[1])
        dense(h, of_states, other, _IDENTITY, of_h, h.shape[1])
        k = kept[min(t, len(kept) - 1)]
        for i in range(n):
            if lstm:
                _lstm_cell(of_x[0, i], of_h[0, i], k[i], memory[i], h[0, i])
            else:
                _gru_cell(of_x[0, i], of_h[0, i], k[i], h[0, i])
        out[t] = h[0]


@inlined
def _lstm_cell_backward(
    s: NDArray[np.float32],
    kept: NDArray[np.float32],
    before: NDArray[np.float32],
    carry: NDArray[np.float32],
    grad: NDArray[np.float32],
) -> None:
    """Fill in the gradient of a row's gates; move that of its memory a step back.

    `s` is the gradient of the state, `before` the memory of the step before.
    """
    u = len(s)
    i, f, q = kept[:u], kept[u : 2 * u], kept[2 * u : 3 * u]
    o, memory = kept[3 * u : 4 * u], kept[4 * u :]
    of_i, of_f, of_q, of_o = grad[:u], grad[u : 2 * u], grad[2 * u : 3 * u], grad[3 * u :]
    for j in range(u):
        of_o[j] = memory[j]
    activate(of_o, _TANH)
    for j in range(u):
        carry[j] += s[j] * o[j] * (ONE - of_o[j] * of_o[j])
    for j in range(u):
        of_o[j] = s[j] * of_o[j] * o[j] * (ONE - o[j])
    for j in range(u):
        of_i[j] = carry[j] * q[j] * i[j] * (ONE - i[j])
    for j in range(u):
        of_q[j] = carry[j] * i[j] * (ONE - q[j] * q[j])
    for j in range(u):
        of_f[j] = carry[j] * before[j] * f[j] * (ONE - f[j])
    for j in range(u):
        carry[j] *= f[j]


@inlined
def _gru_cell_backward(
    s: NDArray[np.float32],
    kept: NDArray[np.float32],
    before: NDArray[np.float32],
    stays: NDArray[np.float32],
    grad: NDArray[np.float32],
    linear: NDArray[np.float32],
) -> None:
    """Fill in the gradients of a row's gates, and of what is linear in the state.

    `s` is the gradient of the state, `before` the state before, `stays` what of `s` passes by the
    gates.
    """
    u = len(s)
    r, z, q, of_h = kept[:u], kept[u : 2 * u], kept[2 * u : 3 * u], kept[3 * u :]
    of_r, of_z, of_q, h_of_q = grad[:u], grad[u : 2 * u], grad[2 * u :], linear[2 * u :]
    for j in range(u):
        of_q[j] = s[j] * (ONE - z[j]) * (ONE - q[j] * q[j])
    for j in range(u):
        of_z[j] = s[j] * (before[j] - q[j]) * z[j] * (ONE - z[j])
    for j in range(u):
        stays[j] = s[j] * z[j]
    for j in range(u):
        h_of_q[j] = of_q[j] * r[j]
    for j in range(u):
        of_r[j] = h_of_q[j] * of_h[j] * (ONE - r[j])
    for j in range(2 * u):
        linear[j] = grad[j]


@compiled
def _gradients(
    lstm: bool,
    grad: NDArray[np.float32],
    out: NDArray[np.float32],
    kept: NDArray[np.float32],
    of_inputs: NDArray[np.float32],
    of_states: NDArray[np.float32],
    of_gates: NDArray[np.float32],
    of_linear: NDArray[np.float32],
    of_x: NDArray[np.float32],
) -> None:
    """Fill in the gradients of the gates, of the linear functions of the states, and of x.

    Parameters
    ----------
    lstm : bool
        `of_gates` and `of_linear` are one array for an LSTM. Otherwise it is a GRU.
    grad, out : ndarray of shape (T, n, u)
    kept : ndarray of shape (T, n, kept · u)
    of_inputs, of_states : ndarray of shape (gates · u, in) and (gates · u, u)
    of_gates, of_linear : ndarray of shape (T, n, gates · u)
    of_x : ndarray of shape (T, n, in), or (0, n, in) if nobody needs it
    """
    n, u = out.shape[1], out.shape[2]
    carry, stays = np.zeros((n, u), np.float32), np.zeros((n, u), np.float32)
    start = np.zeros(u, np.float32)
    for t in range(len(out) - 1, -1, -1):
        for i in range(n):
            s, more = carry[i], grad[t, i]
            for j in range(u):
                s[j] += more[j]
            if lstm:
                before = kept[t - 1, i, 4 * u :] if t > 0 else start
                _lstm_cell_backward(s, kept[t, i], before, stays[i], of_gates[t, i])
            else:
                before = out[t - 1, i] if t > 0 else start
                _gru_cell_backward(s, kept[t, i], before, stays[i], of_gates[t, i], of_linear[t, i])
        if len(of_x):
            np.dot(of_gates[t], of_inputs, of_x[t])
        np.dot(of_linear[t], of_states, carry)
        if not lstm:
            carry += stays


class _Layer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        cell: str,
        x: torch.Tensor,
        of_inputs: torch.Tensor,
        of_states: torch.Tensor,
        bias: torch.Tensor,
        other: torch.Tensor,
    ) -> torch.Tensor:
        n_steps, n, _ = x.shape
        u = of_states.shape[1]
        way_back = any(ctx.needs_input_grad)
        out = x.new_empty(n_steps, n, u)
        kept = x.new_empty(n_steps if way_back else 1, n, _KEPT[cell] * u)
        _states(
            cell == "lstm",
            as_array(x),
            as_array(of_inputs.t()[None]),
            as_array(bias[None, None]),
            as_array(of_states.t()[None]),
            as_array(other[None, None]),
            out.numpy(),
            kept.numpy(),
        )
        if way_back:
            ctx.cell = cell
            ctx.save_for_backward(x, of_inputs, of_states, out, kept)
        return out

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, of_inputs, of_states, out, kept = (saved.detach() for saved in ctx.saved_tensors)
        lstm = ctx.cell == "lstm"
        of_gates = x.new_empty(*x.shape[:2], len(of_states))
        of_linear = of_gates if lstm else torch.empty_like(of_gates)
        of_x = torch.empty_like(x) if ctx.needs_input_grad[1] else x.new_empty(0, *x.shape[1:])
        with one_blas_thread:
            _gradients(
                lstm,
                as_array(grad),
                out.numpy(),
                kept.numpy(),
                as_array(of_inputs),
                as_array(of_states),
                of_gates.numpy(),
                of_linear.numpy(),
                of_x.numpy(),
            )
        flat, linear = of_gates.flatten(0, 1), of_linear[1:].flatten(0, 1)
        of_bias = flat.sum(dim=0)
        return (
            None,
            of_x if len(of_x) else None,
            (x.flatten(0, 1).t() @ flat).t(),  # the other way round it takes ten times as long
            linear.t() @ out[:-1].flatten(0, 1),
            of_bias,
            of_bias if lstm else of_linear.sum(dim=(0, 1)),
        )


def run_layer(cell: str, x: torch.Tensor, weights: list[torch.Tensor]) -> torch.Tensor:
    """Return the states of a recurrent layer, from zero: (T, n, in) → (T, n, units), on a CPU.

    Parameters
    ----------
    cell : {"lstm", "gru"}
    x : Tensor of shape (T, n, in)
    weights : list of Tensor
        Of inputs and of states, (gates · units, in) and (gates · units, units), and their biases:
        as of torch's layers, which this agrees with.
    """
    return _Layer.apply(cell, x, *weights)
