"""Squared error of a reconstruction."""

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
