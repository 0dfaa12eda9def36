"""The evidence lower bound of a variational autoencoder."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal, Self

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from skrdae._typing import Record
from skrdae.history import VariationalRecord
from skrdae.networks.variational import MemberVAE
from skrdae.networks.workspace import Workspace
from skrdae.objectives.base import Objective
from skrdae.rows import MemberRows

#: The noise of a Gaussian likelihood starts at one, that of data of unit scale, and follows the
#: errors of the batches at this rate.
FOLLOW = 0.05
#: It is kept above this: the square of a tenth of the scale. A column that is constant, or nearly,
#: would otherwise outweigh all others with its first surprise.
VARIANCE_FLOOR = 1e-2
# Values a member's widest layer has at once in the last pass over the rows.
_PART_SIZE = 2**18


class EvidenceLowerBound(Objective):
    r"""The negative of :math:`E_{q(z|x)}[\log p(x|z)] - \beta\,KL(q(z|x) \| N(0, I))`.

    Each step draws one z for each row. The noise variance of a Gaussian likelihood, one value for
    each feature, is estimated along with the weights. Its loss is multiplied by twice the mean
    variance, so that gradients keep the scale of squared errors, which Adam's ε is made for.

    Parameters
    ----------
    likelihood : {"gaussian", "bernoulli"}
    beta : float
    variance : Tensor of shape (K, 1, d)
        Ones to begin with; changed in place. A Bernoulli likelihood leaves it as it is.

    References
    ----------
    Kingma, D. P. and M. Welling, Auto-Encoding Variational Bayes, ICLR 2014. O. Rybkin et al.,
    Simple and Effective VAE Training with Calibrated Decoders, ICML 2021 (the variance).
    """

    def __init__(
        self, likelihood: Literal["gaussian", "bernoulli"], beta: float, variance: torch.Tensor
    ) -> None:
        self.gaussian, self.beta, self.variance = likelihood == "gaussian", beta, variance

    def noise_size(self, network: Any) -> int:
        return network.latent_dim

    def loss(
        self, part: str, network: Any, x: torch.Tensor, noise: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        n_rows = x.shape[1]
        mean, log_variance = torch.split(network.encoder(x), network.latent_dim, dim=-1)
        decoded = network.decoder(mean + torch.exp(0.5 * log_variance) * noise)
        kl = 0.5 * (mean.square() + torch.exp(log_variance) - 1 - log_variance).sum(dim=(1, 2))
        if not self.gaussian:
            error = binary_cross_entropy_with_logits(decoded, x, reduction="none").sum(dim=(1, 2))
            loss = error + self.beta * kl
        else:
            squares = (decoded - x).square()
            mean_square = squares.detach().mean(dim=1, keepdim=True)
            self.variance.lerp_(noise_variance_of(mean_square), FOLLOW)
            level = self.variance.mean(dim=2, keepdim=True)
            loss = (squares * (level / self.variance)).sum(dim=(1, 2))
            loss = loss + 2 * self.beta * level[:, 0, 0] * kl
            error = squares.sum(dim=(1, 2))
        return loss / n_rows, torch.stack([error.detach(), kl.detach()])

    def record(self, epoch: int, means: Sequence[float]) -> Record:
        error, kl = means
        variance = self.variance.mean().item()
        return dict(VariationalRecord(epoch=epoch, error=error, kl=kl, variance=variance))

    def tensors(self) -> list[torch.Tensor]:
        return [self.variance]

    def of_members(self, members: slice) -> Self:
        other = copy.copy(self)
        other.variance = self.variance[members]
        return other


def noise_variance_of(mean_square: torch.Tensor) -> torch.Tensor:
    """Return the maximum-likelihood estimate of the noise variance, given mean squared errors."""
    return mean_square.clamp(min=VARIANCE_FLOOR)


def noise_variance(network: MemberVAE, rows: MemberRows) -> torch.Tensor:
    """Estimate the noise of each feature from the errors at z = μ.

    Parameters
    ----------
    network : MemberVAE
    rows : MemberRows
        Of the K members, or of one for all.

    Returns
    -------
    Tensor of shape (K, 1, d)
    """
    workspace, n_members = Workspace(network.device), network.n_members
    options: Any = {"dtype": torch.float32, "device": network.device}
    total = torch.zeros(n_members, 1, rows.shape[2], **options)
    layers = [*network.encoder.weights, *network.decoder.weights]
    widest = max(weight.shape[2] for weight in layers)
    for part in rows.parts(max(_PART_SIZE // widest, 1)):
        part = part.expand(n_members, -1, -1)
        mean, _ = network.encode(part, workspace)
        error = network.decode(mean.contiguous(), workspace).sub_(part)
        total += error.square_().sum(dim=1, keepdim=True)
    return noise_variance_of(total / rows.shape[1])
