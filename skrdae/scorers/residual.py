"""Scores from what a network cannot reconstruct, and the split X = L + S."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from skrdae.chunks import map_chunks
from skrdae.networks.member import MemberModule
from skrdae.networks.workspace import Workspace
from skrdae.penalties.base import GroupPenalty
from skrdae.rows import Rows
from skrdae.scorers.base import Scorer
from skrdae.scorers.residual_scale import log_terms, residual_scale, rows_to_measure

# Alternations between prox and network in `sparse`. S settles geometrically; ten leave changes far
# below the noise of any training.
_SPLIT_ITER = 10


@dataclass(frozen=True, eq=False)
class ResidualScorer(Scorer):
    """Scores rows by their residual x − D(E(x)), and splits X into L + S.

    Attributes
    ----------
    penalty : GroupPenalty
        Ω. Its prox gives S, and Ω of the residual is the score if there is no `scale`.
    lam : Tensor of shape (K,)
        λ of each member, the threshold of the prox for new rows.
    norms : Tensor of shape (K, 1, d) or None
        The norms of the groups in training, for a penalty whose groups reach over rows.
    scale : Tensor of shape (K, 1, d) or None
        The scale of each feature's residuals. With it, the score is the sum of
        :func:`~skrdae.scorers.residual_scale.log_terms`.
    """

    penalty: GroupPenalty
    lam: torch.Tensor
    norms: torch.Tensor | None = None
    scale: torch.Tensor | None = None

    def residual(
        self,
        network: Any,
        rows: torch.Tensor,
        workspace: Workspace,
        low_rank: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return X − D(E(L)) of every member.

        Parameters
        ----------
        network : MemberModule
        rows : Tensor of shape (n, d)
            X.
        workspace : Workspace
        low_rank : Tensor of shape (K, n, d), optional
            L; by default X.

        Returns
        -------
        Tensor of shape (K, n, d)
            In a buffer of the workspace.
        """
        low_rank = rows if low_rank is None else low_rank
        shown = self.clip(low_rank).expand(network.n_members, *rows.shape)
        out = workspace.take("residual", *shown.shape)
        return torch.sub(rows, network(shown, workspace), out=out)

    def scores(self, network: Any, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        residual = self.residual(network, rows, workspace)
        if self.scale is None:
            return self.penalty.row_values(residual)
        return log_terms(residual, self.scale).sum(dim=-1)

    def shares(self, network: Any, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        residual = self.residual(network, rows, workspace)
        if self.scale is None:
            return self.penalty.row_shares(residual)
        return log_terms(residual, self.scale)

    def votes(self, network: Any, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        """Return 1.0 where S of a row is not zero: (n, d) → (K, n)."""
        sparse = self._prox(self.residual(network, rows, workspace), rows)
        return (sparse != 0).any(dim=-1).to(rows.dtype)

    def _prox(self, residual: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        norms = self.penalty.measures(residual, rows[None]) if self.norms is None else self.norms
        return self.penalty.prox(residual, self.lam, norms)

    def sparse(self, network: Any, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        """Return S of every member with the network as it is: (n, d) → (K, n, d)."""
        sparse = self._prox(self.residual(network, rows, workspace), rows)
        for _ in range(_SPLIT_ITER - 1):
            again = self._prox(self.residual(network, rows, workspace, rows - sparse), rows)
            # A row whose cleaned version the network explains within λ would go back to S = 0
            # and from there to where it was, for ever: it keeps the S it has.
            vanished = (again == 0).all(dim=-1, keepdim=True)
            sparse = torch.where(vanished, sparse, again)
        return sparse

    def codes(self, network: Any, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        """Return the codes of L, the cleaned rows: (n, d) → (K, n, units)."""
        cleaned = self.clip(rows - self.sparse(network, rows, workspace))
        return network.encode(cleaned, workspace)

    def measured(self, network: MemberModule, rows: Rows) -> torch.Tensor:
        """Return the scale of each feature's residuals, measured on a sample of the rows.

        Parameters
        ----------
        network : MemberModule
        rows : Rows
            The training rows. A sparse matrix may be wide, so members are measured one by one.

        Returns
        -------
        Tensor of shape (K, 1, d)
        """
        some = rows.take(rows_to_measure(*rows.shape))
        groups = [network]
        if rows.sparse:
            places = torch.arange(network.n_members, device="cpu")
            groups = [network.select(place) for place in torch.split(places, 1)]
        scales = []
        for members in groups:
            residual = map_chunks(
                partial(self.residual, members), some, rows_independent=network.rows_independent
            )
            scales.append(residual_scale(residual, self.clip(some)))
        return torch.cat(scales).to(rows.device)
