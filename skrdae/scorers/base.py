"""What every scorer does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import torch

from skrdae.networks.workspace import Workspace

#: What is made of a network and a few rows, (n, d) or (K, n, d).
NetworkFunction = Callable[[Any, torch.Tensor, Workspace], torch.Tensor]


@dataclass(frozen=True, eq=False)
class Scorer(ABC):
    """Scores rows with the networks of K members.

    Rows are scaled, (n, d). Nothing but the row itself, the network and the fields of the scorer
    has a part in its score.

    Attributes
    ----------
    bound : float
        Networks see values clipped to ±bound.
    """

    bound: float

    #: Where ``contamination="auto"`` has a meaning, a method that says which rows each member finds
    #: anomalous: (network, rows, workspace), (n, d) → (K, n), 1.0 or 0.0.
    votes: ClassVar[NetworkFunction | None] = None

    @abstractmethod
    def scores(self, network: Any, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        """Score rows, (n, d) → (K, n), the higher the more anomalous."""

    @abstractmethod
    def shares(self, network: Any, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        """Split :meth:`scores` over the features, (n, d) → (K, n, d); none is negative."""

    @abstractmethod
    def codes(self, network: Any, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        """Encode rows, (n, d) → (K, n, units)."""

    def decode(self, network: Any, codes: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        """Decode codes to scaled rows, (K, n, units) → (K, n, d)."""
        return network.decode(codes, workspace)

    def code_size(self, network: Any) -> int:
        """Return the number of units of a code."""
        return network.code_size

    def clip(self, rows: torch.Tensor) -> torch.Tensor:
        """Return rows with their values clipped."""
        return rows.clamp(-self.bound, self.bound)

    def to(self, device: torch.device) -> Self:
        """Return the scorer with its tensors on a device."""
        return self._changed(lambda tensor: tensor.to(device))

    def select(self, members: torch.Tensor) -> Self:
        """Return the scorer of some members, by their places."""
        return self._changed(lambda tensor: tensor[members.to(tensor.device)])

    def _changed(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Self:
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        tensors: Any = {k: change(v) for k, v in found.items() if isinstance(v, torch.Tensor)}
        return replace(self, **tensors)
