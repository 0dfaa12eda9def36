"""Squared error of a reconstruction, by codes that may have to be sparse."""

from __future__ import annotations

from typing import Any

import torch

from skrdae.objectives.base import Objective


class Reconstruction(Objective):
    """‖x − D(E(x))‖², for rows whose values are clipped to ±bound.

    Parameters
    ----------
    bound : float
    """

    def __init__(self, bound: float) -> None:
        self.bound = bound

    def loss(
        self, part: str, network: Any, x: torch.Tensor, noise: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        x = x.clamp(-self.bound, self.bound)
        error = (network(x) - x).square().sum(dim=(1, 2))
        return error / x.shape[1], error.detach()[None]


class SparseReconstruction(Reconstruction):
    """The same with β ‖E(x)‖₁ added, a penalty on codes that makes most of their units rest.

    Parameters
    ----------
    bound : float
    sparsity : float
        β.

    References
    ----------
    Ng, A., Sparse autoencoder, CS294A lecture notes, Stanford 2011 (there with a target for the
    mean of each unit, which needs units between 0 and 1).
    """

    def __init__(self, bound: float, sparsity: float) -> None:
        super().__init__(bound)
        self.sparsity = sparsity

    def loss(
        self, part: str, network: Any, x: torch.Tensor, noise: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        x = x.clamp(-self.bound, self.bound)
        code = network.encode(x)
        error = (network.decode(code) - x).square().sum(dim=(1, 2))
        loss = error + self.sparsity * code.abs().sum(dim=(1, 2))
        return loss / x.shape[1], error.detach()[None]
