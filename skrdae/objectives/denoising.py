"""The error of a network that removes noise of several sizes, and the average of its weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch

from skrdae._typing import Record
from skrdae.history import DenoisingRecord
from skrdae.networks.denoiser import MemberDenoiser
from skrdae.objectives.base import Objective

# The weights after t steps count in their average in proportion to about t to this power: it
# is that of the last tenth of a training, whatever its length.
_POWER = 9


class Denoising(Objective):
    r"""‖x − D(x + σε, σ)‖² / σ², where ε is standard normal and σ one of a few noise levels.

    The rows of a batch, whose order is random, take the levels in turn. The division by σ² gives
    all levels the same weight: without anything to go by the error of a row is about σ²d.

    The noise makes steps uneven, so it is not the last weights that are of use but their average.

    Parameters
    ----------
    network : MemberDenoiser
    levels : Tensor of shape (n_levels,)
        The noise levels, on the device of the network.

    References
    ----------
    Vincent, P., A Connection Between Score Matching and Denoising Autoencoders, Neural Computation
    23(7), 2011. Song, Y. and S. Ermon, Generative Modeling by Estimating Gradients of the Data
    Distribution, NeurIPS 2019 (several levels, and their weights). Karras, T. et al., Analyzing and
    Improving the Training Dynamics of Diffusion Models, CVPR 2024 (the average).
    """

    #: Rows in sparse regions are to be learnt as well as others.
    adam: Mapping[str, Any] = {"eps": 1e-8}

    def __init__(self, network: MemberDenoiser, levels: torch.Tensor) -> None:
        self.network, self.levels = network, levels
        self.averages = [weight.detach().clone() for weight in network.parameters()]
        self.n_steps = levels.new_zeros(network.n_members)

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

    def after_step(self, part: str, n_steps: int) -> None:
        self.n_steps.add_(1)  # a tensor, which a graph reads anew
        share = (_POWER / (self.n_steps + _POWER))[:, None, None]
        for average, weight in zip(self.averages, self.network.parameters(), strict=True):
            # One by one: in a fused operation rounding depends on the place in a tensor.
            average.add_((weight.detach() - average).mul_(share))

    def follows(self, part: str, n_steps: int) -> bool:
        return True

    def record(self, epoch: int, means: Sequence[float]) -> Record:
        return dict(DenoisingRecord(epoch=epoch, error=means[0]))

    def tensors(self) -> list[torch.Tensor]:
        return [*self.averages, self.n_steps]

    def of_members(self, members: slice) -> Self:
        other = copy.copy(self)
        other.averages = [average[members] for average in self.averages]
        other.n_steps = self.n_steps[members]
        return other


def averaged(network: MemberDenoiser, averages: Sequence[torch.Tensor]) -> MemberDenoiser:
    """Return a network with averages in the place of its weights."""
    other = network.select(torch.arange(network.n_members, device=network.device))
    for weight, average in zip(other.parameters(), averages, strict=True):
        weight.copy_(average)
    return other
