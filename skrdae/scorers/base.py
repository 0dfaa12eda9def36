"""What every scorer does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch

from skrdae.networks.workspace import Workspace

#: A function of a network, a few rows, (n, d), or codes, (K, n, units), and a workspace.
NetworkFunction = Callable[[Any, torch.Tensor, Workspace], torch.Tensor]


@dataclass(frozen=True, eq=False)
class Scorer(ABC):
    """Scores rows, given the networks of K members.

    A subclass is a frozen dataclass. Its fields are what scoring needs beside the network, such as
    λ or the scales of residuals; tensors among them have the member axis first. The score of a row
    depends on that row, the network and the fields only: not on other rows, and not on the
    detector's parameters.

    All methods take the network, scaled rows that are not clipped, of shape (n, d), and a
    :class:`~skrdae.networks.workspace.Workspace`, whose buffers they may use for results.

    Attributes
    ----------
    bound : float
        Networks see values clipped to ±bound; see :meth:`clip`.
    """

    bound: float

    @abstractmethod
    def scores(self, network: Any, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        """Return each member's scores, (n, d) → (K, n); a higher one is more anomalous."""

    @abstractmethod
    def shares(self, network: Any, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        """Split :meth:`scores` over the features, (n, d) → (K, n, d); no part is negative."""

    @abstractmethod
    def codes(self, network: Any, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        """Return the members' codes, (n, d) → (K, n, units)."""

    def decode(self, network: Any, codes: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        """Decode codes to scaled rows, (K, n, units) → (K, n, d)."""
        return network.decode(codes, workspace)

    def code_size(self, network: Any) -> int:
        """Return the number of units of a code."""
        return network.code_size

    def clip(self, rows: torch.Tensor) -> torch.Tensor:
        """Return rows with their values clipped to ±bound."""
        return rows.clamp(-self.bound, self.bound)

    def to(self, device: torch.device) -> Self:
        """Return the scorer with its tensors on a device."""
        return self._changed(lambda tensor: tensor.to(device))

    def select(self, members: torch.Tensor) -> Self:
        """Return the scorer of some members, by a LongTensor of their places."""
        return self._changed(lambda tensor: tensor[members.to(tensor.device)])

    def joined(self, others: Sequence[Self]) -> Self:
        """Return the scorer of the members of this one and of others, in that order.

        Raises
        ------
        ValueError
            If one has another class, or what all members share differs.
        """
        found: dict[str, Any] = {}
        for field in fields(self):
            values: list[Any] = [getattr(scorer, field.name, None) for scorer in (self, *others)]
            first = values[0]
            if all(isinstance(value, torch.Tensor) for value in values):
                found[field.name] = torch.cat(values)
            elif any(type(v) is not type(first) or _told(v) != _told(first) for v in values):
                raise ValueError(f"{field.name} differs: {', '.join(map(repr, values))}")
        return replace(self, **found)

    def _changed(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Self:
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        tensors: Any = {k: change(v) for k, v in found.items() if isinstance(v, torch.Tensor)}
        return replace(self, **tensors)


def _told(value: object) -> object:
    """Return what two values are compared by; penalties have no equality."""
    return vars(value) if hasattr(value, "__dict__") else value
