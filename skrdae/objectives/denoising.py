"""The error of a network that removes noise of several sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from skrdae._typing import Record
from skrdae.history import DenoisingRecord
from skrdae.objectives.base import Objective


class Denoising(Objective):
    r"""‖x − D(x + σε, σ)‖² / σ², where ε is standard normal and σ one of a few noise levels.

    The rows of a batch, whose order is random, take the levels in turn. The division by σ² gives
    all levels the same weight: without anything to go by the error of a row is about σ²d.

    Parameters
    ----------
    levels : Tensor of shape (n_levels,)
        The noise levels, on the device of the network.

    References
    ----------
    Vincent, P., A Connection Between Score Matching and Denoising Autoencoders, Neural Computation
    23(7), 2011. Song, Y. and S. Ermon, Generative Modeling by Estimating Gradients of the Data
    Distribution, NeurIPS 2019 (several levels, and their weights).
    """

    #: Rare rows are to be learnt as well as others: see "Training" in the page on the design.
    adam: Mapping[str, Any] = {"eps": 1e-8}

    def __init__(self, levels: torch.Tensor) -> None:
        self.levels = levels

    def noise_size(self, network: Any) -> int:
        return network.n_features

    def loss(
        self, part: str, network: Any, x: torch.Tensor, noise: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        n_rows = x.shape[1]
        repeats = -(-n_rows // len(self.levels))
        sigma = self.levels.repeat(repeats)[:n_rows, None]
        error = (network.denoise(x + sigma * noise, sigma) - x).square()
        total = (error / sigma.square()).sum(dim=(1, 2))
        return total / n_rows, total.detach()[None]

    def record(self, epoch: int, means: Sequence[float]) -> Record:
        return dict(DenoisingRecord(epoch=epoch, error=means[0]))
