"""Scores from how far a row is from what a generator makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from skrdae.networks.workspace import Workspace
from skrdae.scorers.generative import GenerativeScorer
from skrdae.scorers.latent_search import Mismatch, search


@dataclass(frozen=True, eq=False)
class MismatchScorer(GenerativeScorer):
    """Scores rows by (1 − λ)‖x − G(z)‖₁ + λ‖f(x) − f(G(z))‖₁ at a code z.

    f are the features of the discriminator's last hidden layer. A joint discriminator sees both
    rows with z, f(x, z) and f(G(z), z).

    Attributes
    ----------
    lam : float
        λ in [0, 1].
    n_search_iter : int
        Steps of the search for z, which starts at the encoder's code, or at zero if there is no
        encoder. With 0, z is the encoder's code, as it has to be with a joint discriminator.
    """

    lam: float
    n_search_iter: int

    def _found(
        self, network: Any, rows: torch.Tensor, workspace: Workspace
    ) -> tuple[Mismatch, torch.Tensor]:
        """Find codes: the mismatch to rows (n, d), and z of shape (K, n, latent_dim)."""
        shown = self.shown(network, rows)
        if network.encoder is None:
            z = rows.new_zeros(*shown.shape[:2], network.latent_dim)
        else:
            z = network.encoder(shown, workspace.part("encoder"))
        mismatch = Mismatch(network, self.in_units(rows), shown, z, self.lam, workspace)
        return mismatch, search(mismatch, z, self.n_search_iter) if self.n_search_iter else z

    def scores(self, network: Any, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        mismatch, z = self._found(network, rows, workspace)
        return mismatch.objective(*mismatch.at(z))

    def shares(self, network: Any, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        mismatch, z = self._found(network, rows, workspace)
        residual, by_feature = mismatch.at(z)
        score = mismatch.objective(residual, by_feature)
        # Where there is no residual there is no score either.
        share = residual.abs_().add_(torch.finfo(residual.dtype).tiny)
        share.div_(share.amax(dim=-1, keepdim=True))
        return share.mul_((score / share.sum(dim=-1))[..., None])

    def parts(self, network: Any, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        mismatch, z = self._found(network, rows, workspace)
        residual, by_feature = mismatch.at(z)
        return torch.stack(
            [
                (1 - self.lam) * residual.abs().sum(dim=-1),
                self.lam * by_feature.abs().sum(dim=-1),
            ],
            dim=-1,
        )

    def codes(self, network: Any, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        if self.n_search_iter:
            return self._found(network, rows, workspace)[1]
        return network.encoder(self.shown(network, rows), workspace.part("encoder"))

    def decode(self, network: Any, codes: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        return network.generator(codes).mul_(self.level)
