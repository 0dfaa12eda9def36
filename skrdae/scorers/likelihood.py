"""Scores by the likelihood of each value, whose mean and variance a network gives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from skrdae.networks.sequential import LEAST_VARIANCE
from skrdae.networks.workspace import Workspace
from skrdae.scorers.generative import UnitScorer


@dataclass(frozen=True, eq=False)
class LikelihoodScorer(UnitScorer):
    """Scores windows by −log p(x|z) at the mean of q(z|x), up to a constant.

    The constant is such that no value has a negative part in the score.
    """

    def shares(self, network: Any, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        found = network.infer(self.shown(network, rows))
        mean, log_variance = found.mean.flatten(2), found.log_variance.flatten(2)
        if log_variance.device.type != "mps":
            # In double precision, because what is rounded to single afterwards does not show which
            # of a kernel's code paths, that round exp differently, a value took.
            log_variance = log_variance.double()
        twice = 2 * torch.exp(log_variance)
        error = (self.in_units(rows) - mean).square_().div_(twice.float())
        spread = (log_variance - math.log(LEAST_VARIANCE)).mul_(0.5).clamp_(min=0)
        return error.add_(spread.float())

    def scores(self, network: Any, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        return self.shares(network, rows, workspace).sum(dim=-1)

    def codes(self, network: Any, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        return network.encode(self.shown(network, rows))

    def decode(self, network: Any, codes: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        return network.decode(codes).mul_(self.level)
