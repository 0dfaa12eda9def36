"""What all stacked networks share: parameters with the member axis first, told apart by it."""

from __future__ import annotations

from typing import Self

import torch
from torch import nn


class MemberModule(nn.Module):
    """A network of K members: of every parameter, the first axis tells whose it is.

    What a subclass sets beside parameters must hold for any number of members.
    """

    #: Whether parts of the rows may be worked on side by side, and be of any size: on a CPU a row's
    #: value then depends on nothing else, and no part needs more than one thread.
    rows_apart = False

    _parameters: dict[str, nn.Parameter]  # type: ignore[assignment]  # here none is None

    @property
    def n_members(self) -> int:
        """K."""
        return next(iter(self._parameters.values())).shape[0]

    def check_device(self, x: torch.Tensor) -> None:
        """Raise a ValueError if rows are on another device than the weights."""
        here = next(iter(self._parameters.values())).device
        if x.device != here:
            raise ValueError(
                f"The rows are on {x.device}, the weights of the network on {here}: move one of "
                "them, as by rows.to(...)."
            )

    def select(self, members: torch.Tensor) -> Self:
        """Return a network of some of the members, whose weights are copies.

        Parameters
        ----------
        members : LongTensor
            Their places along the member axis.
        """
        other = self.__class__.__new__(self.__class__)
        nn.Module.__init__(other)
        for name, value in vars(self).items():
            if not name.startswith("_") and name != "training":
                setattr(other, name, value)
        for name, value in self._parameters.items():
            other.add(name, value[members])
        return other

    def assign(self, members: torch.Tensor, other: MemberModule) -> None:
        """Copy the weights of `other`, a network of as many members, into `members`."""
        for mine, theirs in zip(self.parameters(), other.parameters(), strict=True):
            mine[members] = theirs.to(mine.device)

    def add(self, name: str, value: torch.Tensor) -> None:
        """Add a parameter, of shape (K, …)."""
        # The gradients are written to buffers of the optimiser's, not to the parameters.
        self.register_parameter(name, nn.Parameter(value, requires_grad=False))
