"""Scores from how far a network that removes noise moves a row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from skrdae.chunks import map_chunks
from skrdae.networks.denoiser import MemberDenoiser
from skrdae.networks.workspace import Workspace
from skrdae.rows import Rows
from skrdae.scorers.generative import UnitScorer
from skrdae.scorers.residual_scale import rows_to_measure

# A level at which the network leaves ordinary rows where they are has this for a scale.
_LEAST_SCALE = 1e-6


@dataclass(frozen=True, eq=False)
class DenoisingScorer(UnitScorer):
    """Scores rows by the largest ‖D(x, σ) − x‖ / s of the noise levels σ.

    Attributes
    ----------
    noise_levels : tuple of float
        In units of what the networks see.
    scale : Tensor of shape (K, 1, n_levels)
        s, how far ordinary rows are moved.
    """

    noise_levels: tuple[float, ...]
    scale: torch.Tensor

    def _moved(
        self, network: Any, rows: torch.Tensor, sigma: float, workspace: Workspace
    ) -> torch.Tensor:
        """Return D(x, σ) − x: (n, d) → (K, n, d), in a buffer. The network sees rows clipped."""
        made = network.denoise(self.shown(network, rows), rows.new_full((1, 1), sigma), workspace)
        return made.sub_(self.in_units(rows))

    def distances(self, network: Any, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        """Return ‖D(x, σ) − x‖ at each level: (n, d) → (K, n, n_levels)."""
        moved = [
            self._moved(network, rows, sigma, workspace).norm(dim=-1) for sigma in self.noise_levels
        ]
        return torch.stack(moved, dim=-1)

    def scores(self, network: Any, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        return self.distances(network, rows, workspace).div_(self.scale).amax(dim=-1)

    def shares(self, network: Any, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        squares = [self._moved(network, rows, s, workspace).square() for s in self.noise_levels]
        square = torch.stack(squares, dim=-2)  # shape: (K, n, n_levels, d)
        distance = square.sum(dim=-1).sqrt_()
        score, level = (distance / self.scale).max(dim=-1, keepdim=True)
        place = level[..., None].expand(-1, -1, 1, square.shape[-1])
        square = square.gather(-2, place).squeeze(-2)
        # A row that is not moved has a score of zero.
        whole = square.sum(dim=-1, keepdim=True).clamp_(min=torch.finfo(square.dtype).tiny)
        return square.mul_(score / whole)

    def codes(self, network: Any, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        """Return the rows without noise of the smallest size: (n, d) → (K, n, d)."""
        sigma = rows.new_full((1, 1), min(self.noise_levels))
        return network.denoise(self.shown(network, rows), sigma, workspace)

    def decode(self, network: Any, codes: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        return codes * self.level

    def code_size(self, network: Any) -> int:
        return network.n_features

    def measured(self, network: MemberDenoiser, rows: Rows) -> torch.Tensor:
        """Return the median of each level's distances, measured on a sample of the rows.

        Parameters
        ----------
        network : MemberDenoiser
        rows : Rows
            The training rows.

        Returns
        -------
        Tensor of shape (K, 1, n_levels)
        """
        some = rows.take(rows_to_measure(*rows.shape))
        apply, independent = partial(self.distances, network), network.rows_independent
        distances = map_chunks(apply, some, rows_independent=independent)
        scale = distances.median(dim=1, keepdim=True).values
        return scale.clamp_(min=_LEAST_SCALE)
