"""Scores of models whose codes have a prior: variational autoencoders and GANs."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

import torch

from skrdae.networks.mlp import sigmoid_
from skrdae.networks.variational import bernoulli_error, gaussian_kl, gaussian_spread
from skrdae.networks.workspace import Workspace
from skrdae.preprocessing import LARGEST
from skrdae.scorers.base import Scorer


@dataclass(frozen=True, eq=False)
class UnitScorer(Scorer):
    """Base class of scorers whose networks see rows in units of their own.

    Attributes
    ----------
    level : float
        The networks see rows divided by it, so that they have unit scale.
    """

    level: float

    def in_units(self, rows: torch.Tensor) -> torch.Tensor:
        """Return rows in the units that the networks see."""
        return rows.div(self.level).clamp_(-LARGEST, LARGEST)

    def shown(self, network: Any, rows: torch.Tensor) -> torch.Tensor:
        """Return what the K networks see of rows: (n, d) → (K, n, d)."""
        return self.in_units(self.clip(rows)).expand(network.n_members, *rows.shape)


@dataclass(frozen=True, eq=False)
class GenerativeScorer(UnitScorer):
    """What the scorers of variational autoencoders and GANs have in common."""

    def code_size(self, network: Any) -> int:
        return network.latent_dim

    @abstractmethod
    def parts(self, network: Any, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        """Return the two parts of each score, which add up to it: (n, d) → (K, n, 2)."""


@dataclass(frozen=True, eq=False)
class ElboScorer(GenerativeScorer):
    """Scores rows by −log p(x|z) + β KL(q(z|x) ‖ N(0, I)), at z = μ or averaged over draws.

    Attributes
    ----------
    likelihood : {"gaussian", "bernoulli"}
    beta : float
        Weight β of the divergence.
    variance : Tensor of shape (K, 1, d)
        Noise of a Gaussian likelihood.
    draws : Tensor of shape (K, n_samples, latent_dim)
        Standard normal, the same for every row, so that a row's score does not depend on other
        rows. With n_samples = 0 the score is taken at z = μ. Otherwise it is the mean error over
        the draws, without the divergence.
    """

    likelihood: Literal["gaussian", "bernoulli"]
    beta: float
    variance: torch.Tensor
    draws: torch.Tensor

    def _error_at(
        self, network: Any, z: torch.Tensor, rows: torch.Tensor, workspace: Workspace
    ) -> torch.Tensor:
        """−log p(x|z) of each entry, up to a constant: (K, n, latent_dim) → (K, n, d)."""
        decoded = network.decode(z, workspace)
        if self.likelihood == "gaussian":
            error = torch.sub(self.in_units(rows), decoded, out=decoded)
            return error.square_().div_(2 * self.variance)
        inside = rows.clamp(0, 1)
        return bernoulli_error(decoded, inside).add_((rows - inside).square())

    def _error_and_divergence(
        self, network: Any, rows: torch.Tensor, workspace: Workspace
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Errors (K, n, d) and β × divergence (K, n) of rows; the score is their sum."""
        mean, log_variance = network.encode(self.shown(network, rows), workspace)
        mean = mean.contiguous()
        n_samples = self.draws.shape[1]
        if n_samples == 0:
            divergence = gaussian_kl(mean, log_variance).sum(dim=-1).mul_(self.beta)
            return self._error_at(network, mean, rows, workspace), divergence
        spread: Any = gaussian_spread(log_variance)
        total: Any = 0.0
        for sample in range(n_samples):
            z = torch.addcmul(mean, spread, self.draws[:, sample : sample + 1])
            error = self._error_at(network, z, rows, workspace)
            total = error + total
        return total / n_samples, mean.new_zeros(mean.shape[:2])

    def scores(self, network: Any, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        error, divergence = self._error_and_divergence(network, rows, workspace)
        return error.sum(dim=-1).add_(divergence)

    def parts(self, network: Any, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        error, divergence = self._error_and_divergence(network, rows, workspace)
        return torch.stack([error.sum(dim=-1), divergence], dim=-1)

    def shares(self, network: Any, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        error, divergence = self._error_and_divergence(network, rows, workspace)
        space = workspace.part("encoder")
        values = network.encoder.values(self.shown(network, rows), space)
        mean, log_variance = network.moments(values[-1])
        grad = torch.cat([mean, torch.expm1(log_variance).mul_(0.5)], dim=-1)
        grad = network.encoder.backward_from(values, grad, None, space, to_input=True)
        # The divergence belongs to z. A feature's part in it is taken to first order.
        part = grad.mul_(values[0]).abs_().add_(torch.finfo(grad.dtype).tiny)
        part.div_(part.amax(dim=-1, keepdim=True))
        part.div_(part.sum(dim=-1, keepdim=True))
        return error.add_(part.mul_(divergence[..., None]))

    def codes(self, network: Any, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        return network.encode(self.shown(network, rows), workspace)[0]

    def decode(self, network: Any, codes: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        decoded = network.decode(codes, workspace)
        return sigmoid_(decoded) if self.likelihood == "bernoulli" else decoded * self.level
