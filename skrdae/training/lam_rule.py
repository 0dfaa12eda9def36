"""How the members' λ are found: given as numbers, or from the norms that the networks leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import torch

from skrdae.penalties.base import GroupPenalty


@dataclass(frozen=True)
class LamRule:
    """How each member's λ is found.

    Attributes
    ----------
    values : sequence of K floats
        One for each member.
    unit : {"data", "median", "quantile"}
        ``"data"``: the values are the λ, and infinity keeps S at zero. The others find λ anew in
        each iteration from the norms of the groups of the member's residual: ``"median"`` is a
        multiple of their median, ``"quantile"`` one of their quantiles.
    """

    values: Sequence[float]
    unit: Literal["data", "median", "quantile"] = "data"

    @property
    def given(self) -> bool:
        """Whether the λ are known before the training."""
        return self.unit == "data"

    def find(self, norms: torch.Tensor) -> torch.Tensor:
        """Return λ for the norms of each member's groups.

        Parameters
        ----------
        norms : Tensor of shape (K, …)

        Returns
        -------
        Tensor of shape (K,)
        """
        if self.unit == "quantile":
            return GroupPenalty.lam_quantile(norms, self.values)
        values = torch.tensor(self.values, dtype=torch.float32, device=norms.device)
        if self.unit == "median":
            values *= GroupPenalty.lam_quantile(norms, [0.5] * len(self.values))
        return values

    def take(self, members: Sequence[int]) -> Self:
        """Return the rule of some members, which may be named several times."""
        return replace(self, values=[self.values[k] for k in members])
