"""The latent variables of OmniAnomaly on a CPU as compiled loops: their chain, and their flows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from skrdae._compiled import compiled
from skrdae.networks.compiled import ONE, TWO, ZERO, as_array, tanh


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
            as_array(inputs),
            as_array(weight),
            as_array(noise),
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
            as_array(grads[0]),
            as_array(grads[1]),
            as_array(weight),
            as_array(noise),
            as_array(slope),
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
    return _Chain.apply(inputs, weight, noise, least)


@compiled
def _flows(
    z: NDArray[np.float32],
    weight: NDArray[np.float32],
    bias: NDArray[np.float32],
    scale: NDArray[np.float32],
    wanted: NDArray[np.float32],
    moved: NDArray[np.float32],
    log_det: NDArray[np.float32],
    bends: NDArray[np.float32],
) -> None:
    """Fill in z after all flows, the logarithm of their determinant, and how far each bends."""
    d = z.shape[1]
    for i in range(len(z)):
        at = moved[i]
        at[:] = z[i]
        log_det[i] = ZERO
        for k in range(len(weight)):
            inner = bias[k, 0]
            for j in range(d):
                inner += at[j] * weight[k, j]
            bend = tanh(inner)
            bends[i, k] = bend
            log_det[i] += np.log1p((ONE - bend * bend) * wanted[k, 0])
            for j in range(d):
                at[j] += bend * scale[k, j]


@compiled
def _flows_backward(
    of_moved: NDArray[np.float32],
    of_log_det: NDArray[np.float32],
    weight: NDArray[np.float32],
    scale: NDArray[np.float32],
    wanted: NDArray[np.float32],
    moved: NDArray[np.float32],
    bends: NDArray[np.float32],
    of_z: NDArray[np.float32],
    of_weight: NDArray[np.float64],
    of_bias: NDArray[np.float64],
    of_scale: NDArray[np.float64],
    of_wanted: NDArray[np.float64],
) -> None:
    """Fill in the gradient of z, and add those of the parameters."""
    d = of_z.shape[1]
    for i in range(len(of_z)):
        at, s = moved[i].copy(), of_z[i]
        s[:] = of_moved[i]
        for k in range(len(weight) - 1, -1, -1):
            bend = bends[i, k]
            slope = ONE - bend * bend
            of_log = of_log_det[i] / (ONE + slope * wanted[k, 0])
            of_wanted[k, 0] += of_log * slope
            of_bend = -TWO * bend * wanted[k, 0] * of_log
            for j in range(d):
                at[j] -= bend * scale[k, j]  # what the flow was given
                of_bend += s[j] * scale[k, j]
                of_scale[k, j] += s[j] * bend
            of_inner = of_bend * slope
            of_bias[k, 0] += of_inner
            for j in range(d):
                of_weight[k, j] += of_inner * at[j]
                s[j] += of_inner * weight[k, j]


class _Flows(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, z: torch.Tensor, *parameters: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        flat = z.detach().flatten(0, 1)
        moved, log_det = torch.empty_like(flat), flat.new_empty(len(flat))
        bends = flat.new_empty(len(flat), len(parameters[0]))
        weight, bias, scale, wanted = map(as_array, parameters)
        made = moved.numpy(), log_det.numpy(), bends.numpy()
        _flows(as_array(flat), weight, bias, scale, wanted, *made)
        ctx.save_for_backward(*parameters, moved, bends)
        return moved.view_as(z), log_det.view(*z.shape[:2], 1)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, ...]:
        *parameters, moved, bends = (saved.detach() for saved in ctx.saved_tensors)
        weight, _, scale, wanted = map(as_array, parameters)
        of_z = torch.empty_like(moved)
        # In double precision, because there are many rows to add up.
        found = [torch.zeros_like(p, dtype=torch.float64) for p in parameters]
        of_weight, of_bias, of_scale, of_wanted = (total.numpy() for total in found)
        _flows_backward(
            as_array(grads[0].flatten(0, 1)),
            as_array(grads[1].flatten()),
            weight,
            scale,
            wanted,
            moved.numpy(),
            bends.numpy(),
            of_z.numpy(),
            of_weight,
            of_bias,
            of_scale,
            of_wanted,
        )
        return of_z.view_as(grads[0]), *(total.float() for total in found)


def flows(
    z: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    scale: torch.Tensor,
    wanted: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Return z after planar flows, on a CPU, and the logarithm of their determinant: (T, n, 1).

    A flow moves z by :math:`\hat u \tanh(w^\top z + b)`; see
    :func:`~skrdae.networks.sequential.planar_flow`.

    Parameters
    ----------
    z : Tensor of shape (T, n, d)
    weight, scale : Tensor of shape (flows, d)
        w and :math:`\hat u`.
    bias, wanted : Tensor of shape (flows, 1)
        b and :math:`w^\top \hat u`.
    """
    return _Flows.apply(z, weight, bias, scale, wanted)
