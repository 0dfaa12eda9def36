"""Scores of USAD: the errors of the first autoencoder, and of both, one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from skrdae.networks.workspace import Workspace
from skrdae.scorers.generative import UnitScorer


@dataclass(frozen=True, eq=False)
class TwoDecodersScorer(UnitScorer):
    """Scores windows by α‖W − AE₁‖² + (1 − α)‖W − AE₂(AE₁)‖², in units of what networks see.

    Attributes
    ----------
    alpha : float
        α in [0, 1].
    """

    alpha: float

    def _squares(
        self, network: Any, rows: torch.Tensor, workspace: Workspace
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (W − AE₁)² and (W − AE₂(AE₁))²: (n, d) → two of (K, n, d)."""
        shown, whole = self.shown(network, rows), self.in_units(rows)
        encoder = workspace.part("encoder")
        first = network.first(network.encoder(shown, encoder), workspace.part("first"))
        both = network.second(network.encoder(first, encoder), workspace.part("second"))
        # Of rows that are not clipped.
        near, far = (torch.sub(whole, made, out=made).square_() for made in (first, both))
        return near, far

    def errors(self, network: Any, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        """Return both errors of each window: (n, d) → (K, n, 2)."""
        near, far = self._squares(network, rows, workspace)
        return torch.stack([near.sum(dim=-1), far.sum(dim=-1)], dim=-1)

    def weighted(self, errors: torch.Tensor) -> torch.Tensor:
        """Return the two parts of the scores, which add up to them: (…, 2) → (…, 2)."""
        return errors * errors.new_tensor([self.alpha, 1 - self.alpha])

    def combined(self, errors: torch.Tensor) -> torch.Tensor:
        """Return the scores: (…, 2) → (…)."""
        near, far = self.weighted(errors).unbind(dim=-1)
        return near + far

    def parts(self, network: Any, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        """Return the two parts of each score, which add up to it: (n, d) → (K, n, 2)."""
        return self.weighted(self.errors(network, rows, workspace))

    def scores(self, network: Any, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        return self.combined(self.errors(network, rows, workspace))

    def shares(self, network: Any, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        near, far = self._squares(network, rows, workspace)
        return near.mul_(self.alpha).add_(far.mul_(1 - self.alpha))

    def codes(self, network: Any, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        return network.encoder(self.shown(network, rows), workspace.part("encoder"))

    def decode(self, network: Any, codes: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        return network.first(codes, workspace.part("first")).mul_(self.level)

    def code_size(self, network: Any) -> int:
        return network.latent_dim
