"""What all stacked networks share: parameters with the member axis first, told apart by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self, TypeVar

import torch
from torch import nn

_Module = TypeVar("_Module", bound=nn.Module)


class MemberModule(nn.Module):
    """A network of K members: of every parameter, the first axis tells whose it is.

    What a subclass sets beside parameters and parts must hold for any number of members.
    """

    #: Whether, on a CPU, a row's value depends on nothing else, to the last bit: parts of the rows
    #: may then be of any size and be worked on side by side, each by one thread.
    rows_independent = False

    @property
    def n_members(self) -> int:
        """K."""
        return next(self.parameters()).shape[0]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def own_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that were added to the module itself, in that order."""
        # From the dictionary, because a ParameterList takes longer to give an entry than a small
        # product takes.
        found: Any = self._parameters.values()
        return list(found)

    def check_device(self, x: torch.Tensor) -> None:
        """Raise a ValueError if rows are on another device than the weights."""
        here = self.own_parameters()[0].device
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
        return _changed(self, lambda value: value[members])

    def part(self, members: slice) -> Self:
        """Return a network of some of the members, whose weights share the memory of these."""
        return _changed(self, lambda value: value.detach()[members])

    def assign(self, members: torch.Tensor, other: MemberModule) -> None:
        """Copy the weights of `other`, a network of as many members, into `members`."""
        for mine, theirs in zip(self.parameters(), other.parameters(), strict=True):
            mine[members] = theirs.to(mine.device)

    def add(self, name: str, value: torch.Tensor) -> None:
        """Add a parameter, of shape (K, …)."""
        _add(self, name, value)


def _add(module: nn.Module, name: str, value: torch.Tensor) -> None:
    # Gradients are written to buffers of the optimiser's, not to the parameters.
    module.register_parameter(name, nn.Parameter(value, requires_grad=False))


def _changed(module: _Module, change: Callable[[torch.Tensor], torch.Tensor]) -> _Module:
    """Return a module with other weights, and all else the same."""
    other = type(module).__new__(type(module))
    nn.Module.__init__(other)
    for name, value in vars(module).items():
        if not name.startswith("_") and name != "training":
            setattr(other, name, value)
    for name, parameter in module._parameters.items():
        if parameter is not None:
            _add(other, name, change(parameter))
    for name, child in module._modules.items():
        if child is not None:
            other.add_module(name, _changed(child, change))
    return other
