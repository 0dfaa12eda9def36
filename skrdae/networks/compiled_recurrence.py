"""Recurrences on a CPU as compiled loops: those for which torch has no fused kernel.

A step of a small recurrence is a dozen operations of a few microseconds each, and as many on the
way back; a loop takes the time of the arithmetic. Rows do not depend on each other, to the last
bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from skrdae._compiled import compiled
from skrdae.networks.compiled import HALF, KINDS, ONE, ZERO, dense, tanh

_IDENTITY = KINDS["identity"]


@compiled
def _gru(
    gates: NDArray[np.float32],
    weight: NDArray[np.float32],
    bias: NDArray[np.float32],
    out: NDArray[np.float32],
    kept: NDArray[np.float32],
) -> None:
    """Fill in the states, and what the way back needs: gates, candidates and their linear part.

    Parameters
    ----------
    gates : ndarray of shape (T, n, 3u)
        What the inputs add to reset gate, update gate and candidate.
    weight : ndarray of shape (1, u, 3u)
    bias : ndarray of shape (1, 1, 3u)
    out : ndarray of shape (T, n, u)
    kept : ndarray of shape (T, n, 4u)
    """
    n, u = out.shape[1], out.shape[2]
    h, linear = np.zeros((1, n, u), np.float32), np.empty((1, n, 3 * u), np.float32)
    for t in range(len(out)):
        dense(h, weight, bias, _IDENTITY, linear)
        for i in range(n):
            x, of_h, k, state, made = gates[t, i], linear[0, i], kept[t, i], h[0, i], out[t, i]
            for j in range(2 * u):
                k[j] = HALF * tanh(HALF * (x[j] + of_h[j])) + HALF
            for j in range(u):
                q = tanh(x[2 * u + j] + k[j] * of_h[2 * u + j])
                k[2 * u + j], k[3 * u + j] = q, of_h[2 * u + j]
                state[j] = q + k[u + j] * (state[j] - q)
                made[j] = state[j]


@compiled
def _gru_backward(
    grad: NDArray[np.float32],
    out: NDArray[np.float32],
    kept: NDArray[np.float32],
    weight: NDArray[np.float32],
    of_gates: NDArray[np.float32],
    of_linear: NDArray[np.float32],
) -> None:
    """Fill in the gradients of the gates, and of the linear functions of the states.

    Parameters
    ----------
    grad, out : ndarray of shape (T, n, u)
    kept : ndarray of shape (T, n, 4u)
    weight : ndarray of shape (1, 3u, u)
    of_gates, of_linear : ndarray of shape (T, n, 3u)
    """
    n, u = out.shape[1], out.shape[2]
    carry, stays = np.zeros((1, n, u), np.float32), np.empty((1, n, u), np.float32)
    bias = np.zeros((1, 1, u), np.float32)
    for t in range(len(out) - 1, -1, -1):
        for i in range(n):
            k, g, linear = kept[t, i], of_gates[t, i], of_linear[t, i]
            for j in range(u):
                r, z, q, of_h = k[j], k[u + j], k[2 * u + j], k[3 * u + j]
                s = grad[t, i, j] + carry[0, i, j]
                before = out[t - 1, i, j] if t > 0 else ZERO
                of_q = s * (ONE - z) * (ONE - q * q)
                g[j] = of_q * of_h * r * (ONE - r)
                g[u + j] = s * (before - q) * z * (ONE - z)
                g[2 * u + j] = of_q
                linear[j], linear[u + j], linear[2 * u + j] = g[j], g[u + j], of_q * r
                stays[0, i, j] = s * z
        dense(of_linear[t : t + 1], weight, bias, _IDENTITY, carry)
        carry += stays


def _array(value: torch.Tensor) -> NDArray[np.float32]:
    """Return a tensor as an array in one piece."""
    return value.detach().contiguous().numpy()


class _GRU(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, gates: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
    ) -> torch.Tensor:
        n_steps, n, _ = gates.shape
        u = weight.shape[1]
        out, kept = gates.new_empty(n_steps, n, u), gates.new_empty(n_steps, n, 4 * u)
        _gru(
            _array(gates),
            _array(weight.t()[None]),
            _array(bias[None, None]),
            out.numpy(),
            kept.numpy(),
        )
        ctx.save_for_backward(weight, out, kept)
        return out

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, ...]:
        weight, out, kept = ctx.saved_tensors
        shape = *out.shape[:2], weight.shape[0]
        of_gates, of_linear = out.new_empty(shape), out.new_empty(shape)
        _gru_backward(
            _array(grad),
            _array(out),
            _array(kept),
            _array(weight[None]),
            of_gates.numpy(),
            of_linear.numpy(),
        )
        of_weight = of_linear[1:].flatten(0, 1).t() @ out.detach()[:-1].flatten(0, 1)
        return of_gates, of_weight, of_linear.sum(dim=(0, 1))


def gru(gates: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Return the states of a GRU layer, from zero: (T, n, 3u) → (T, n, u), on a CPU.

    Parameters
    ----------
    gates : Tensor of shape (T, n, 3u)
        What the inputs add to the arguments of reset gate, update gate and candidate.
    weight : Tensor of shape (3u, u)
    bias : Tensor of shape (3u,)
        As of torch's GRU, which this agrees with.
    """
    return _GRU.apply(gates, weight, bias)  # type: ignore[no-untyped-call]  # torch's


@compiled
def _chain(
    inputs: NDArray[np.float32],
    weight: NDArray[np.float32],
    noise: NDArray[np.float32],
    least: np.float32,
    z: NDArray[np.float32],
    deviation: NDArray[np.float32],
    slope: NDArray[np.float32],
) -> None:
    """Fill in z, its deviation, and the derivative of that by its argument."""
    n_steps, n, d = z.shape
    for i in range(n):
        before, both = np.zeros(d, np.float32), np.empty(2 * d, np.float32)
        for t in range(n_steps):
            for j in range(2 * d):
                both[j] = inputs[t, i, j]
                for m in range(d):
                    both[j] += before[m] * weight[m, j]
            for j in range(d):
                a = both[d + j]
                small = np.exp(-abs(a))
                deviation[t, i, j] = max(a, ZERO) + np.log1p(small) + least
                slope[t, i, j] = (ONE if a >= ZERO else small) / (ONE + small)
                before[j] = both[j] + deviation[t, i, j] * noise[t, i, j]
                z[t, i, j] = before[j]


@compiled
def _chain_backward(
    of_z: NDArray[np.float32],
    of_deviation: NDArray[np.float32],
    weight: NDArray[np.float32],
    noise: NDArray[np.float32],
    slope: NDArray[np.float32],
    of_inputs: NDArray[np.float32],
) -> None:
    """Fill in the gradient of the inputs."""
    n_steps, n, d = of_z.shape
    for i in range(n):
        carry = np.zeros(d, np.float32)
        for t in range(n_steps - 1, -1, -1):
            grad = of_inputs[t, i]
            for j in range(d):
                s = of_z[t, i, j] + carry[j]
                grad[j] = s
                grad[d + j] = (s * noise[t, i, j] + of_deviation[t, i, j]) * slope[t, i, j]
            for m in range(d):
                carry[m] = ZERO
                for j in range(2 * d):
                    carry[m] += weight[m, j] * grad[j]


class _Chain(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, inputs: torch.Tensor, weight: torch.Tensor, noise: torch.Tensor, least: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        z, deviation, slope = (torch.empty_like(noise) for _ in range(3))
        _chain(
            _array(inputs),
            _array(weight),
            _array(noise),
            np.float32(least),
            z.numpy(),
            deviation.numpy(),
            slope.numpy(),
        )
        ctx.save_for_backward(weight, noise, z, slope)
        return z, deviation

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        weight, noise, z, slope = ctx.saved_tensors
        of_inputs = z.new_empty(*z.shape[:2], 2 * z.shape[2])
        _chain_backward(
            _array(grads[0]),
            _array(grads[1]),
            _array(weight),
            _array(noise),
            _array(slope),
            of_inputs.numpy(),
        )
        of_weight = z.detach()[:-1].flatten(0, 1).t() @ of_inputs[1:].flatten(0, 1)
        return of_inputs, of_weight, None, None


def chain(
    inputs: torch.Tensor, weight: torch.Tensor, noise: torch.Tensor, least: float
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Return :math:`z_t = \mu_t + \sigma_t \varepsilon_t`, on a CPU, and the deviations.

    :math:`\mu_t` and the argument of :math:`\sigma_t = \mathrm{softplus}(\cdot)` + `least` are the
    two halves of :math:`a_t + z_{t-1} W`; before the first step z is zero.

    Parameters
    ----------
    inputs : Tensor of shape (T, n, 2d)
        a.
    weight : Tensor of shape (d, 2d)
        W.
    noise : Tensor of shape (T, n, d)
        ε, in one piece.
    least : float

    Returns
    -------
    z, deviation : Tensor of shape (T, n, d)
    """
    return _Chain.apply(inputs, weight, noise, least)  # type: ignore[no-untyped-call]  # torch's
