"""Two autoencoders with one encoder, trained against each other: USAD."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import nn

from skrdae._typing import Record
from skrdae.history import TwoDecodersRecord
from skrdae.objectives.base import Objective


class TwoDecodersLoss(Objective):
    r"""The losses of USAD in epoch n, for the encoder E and its decoders :math:`D_1, D_2`.

    .. math::

        \tfrac1n \|W - AE_1\|^2 + (1 - \tfrac1n) \|W - AE_2(AE_1)\|^2
        \quad\text{over } E, D_1;\qquad
        \tfrac1n \|W - AE_2\|^2 - (1 - \tfrac1n) \|W - AE_2(AE_1)\|^2
        \quad\text{over } E, D_2,

    where :math:`AE_i = D_i(E(W))` and :math:`AE_2(AE_1) = D_2(E(AE_1))`. In each batch E and
    :math:`D_1` take a step first, then E and :math:`D_2`, by an optimiser of its own.

    Parameters
    ----------
    epoch : Tensor of shape (K,)
        n, zero before the first epoch; changed in place.

    References
    ----------
    Audibert, J. et al., USAD: UnSupervised Anomaly Detection on Multivariate Time Series, KDD 2020.
    """

    def __init__(self, epoch: torch.Tensor) -> None:
        self.epoch = epoch

    def trained(self, network: Any) -> dict[str, nn.Module]:
        return {
            "first": nn.ModuleList([network.encoder, network.first]),
            "second": nn.ModuleList([network.encoder, network.second]),
        }

    def begin_epoch(self) -> None:
        self.epoch.add_(1)

    def loss(
        self, part: str, network: Any, x: torch.Tensor, noise: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        code = network.encoder(x)
        first = network.first(code)
        both = _error(x, network.second(network.encoder(first)))
        share = 1 / self.epoch
        if part == "first":
            own = _error(x, first)
            loss = share * own + (1 - share) * both
            measures = [own, both]
        else:
            own = _error(x, network.second(code))
            loss = share * own - (1 - share) * both
            measures = [own]
        return loss / x.shape[1], torch.stack(measures).detach()

    def record(self, epoch: int, means: Sequence[float]) -> Record:
        first, both, second = means
        return dict(
            TwoDecodersRecord(epoch=epoch, first_error=first, second_error=second, both_error=both)
        )

    def tensors(self) -> list[torch.Tensor]:
        return [self.epoch]

    def of_members(self, members: slice) -> Self:
        other = copy.copy(self)
        other.epoch = self.epoch[members]
        return other


def _error(x: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
    """Return each member's squared error, summed over the rows: (K,)."""
    return (x - made).square().sum(dim=(1, 2))
