"""What all stacked networks share: parameters with the member axis first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self, TypeVar

import torch
from torch import nn

_Module = TypeVar("_Module", bound=nn.Module)


class MemberModule(nn.Module):
    """A network of K members of one shape; the first axis of every parameter is the member.

    A subclass adds its parameters by :meth:`add`, or has parts that are `MemberModule` themselves.
    Its other attributes must hold for any number of members, because :meth:`select` copies them.

    Examples
    --------
    >>> import torch
    >>> from skrdae.networks.member import MemberModule
    >>> class Scale(MemberModule):
    ...     def __init__(self, factors):
    ...         super().__init__()
    ...         self.add("factor", factors.reshape(-1, 1, 1))
    ...
    ...     def forward(self, x, workspace=None):
    ...         return x * self.factor
    >>> network = Scale(torch.tensor([1.0, 10.0, 100.0]))
    >>> network.n_members
    3
    >>> network.select(torch.tensor([2, 0]))(torch.ones(2, 1, 2)).tolist()
    [[[100.0, 100.0]], [[1.0, 1.0]]]
    """

    #: Whether, on a CPU, the result for a row does not depend on the number of rows, to the last
    #: bit. If so, chunks may be larger, and several threads may work on different chunks.
    rows_independent = False
    #: Rows of a batch whose gradient is found at once on a CPU, where other threads may work on
    #: others; None for all.
    rows_a_piece: int | None = None

    @property
    def n_members(self) -> int:
        """K."""
        return _first(self).shape[0]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return _first(self).device

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
        """Return a network of some of the members, with copies of their weights.

        Parameters
        ----------
        members : LongTensor
            Their places along the member axis, which may repeat.
        """
        return _changed(self, lambda value: value[members])

    def part(self, members: slice) -> Self:
        """Return a network of some of the members that shares their weights' memory."""
        return _changed(self, lambda value: value.detach()[members])

    def joined(self, others: Sequence[Self]) -> Self:
        """Return a network of the members of this one and of others, in that order.

        Parameters
        ----------
        others : sequence of MemberModule
            Of the same class and shape, on the same device.

        Raises
        ------
        ValueError
            If one has another class or other shapes.
        """
        for other in others:
            if type(other) is not type(self) or _shapes(other) != _shapes(self):
                raise ValueError(
                    f"{type(other).__name__} with weights of {_shapes(other)} does not go with "
                    f"{type(self).__name__} with weights of {_shapes(self)}."
                )
        rest = zip(*(other.parameters() for other in others), strict=True)
        return _changed(self, lambda value: torch.cat([value, *next(rest, ())]))

    def assign(self, members: torch.Tensor, other: MemberModule) -> None:
        """Copy the weights of another network into some of the members.

        Parameters
        ----------
        members : LongTensor
            Places of as many members as `other` has.
        other : MemberModule
            Of the same shape.
        """
        for mine, theirs in zip(self.parameters(), other.parameters(), strict=True):
            mine[members] = theirs.to(mine.device)

    def add(self, name: str, value: torch.Tensor) -> None:
        """Add a parameter of shape (K, …) that autograd does not follow by default."""
        _add(self, name, value)


def _first(module: nn.Module) -> torch.Tensor:
    """Return the first parameter, several times as fast as ``parameters`` yields it."""
    found = next(iter(module._parameters.values()), None)
    if found is None:
        return _first(next(child for child in module._modules.values() if child is not None))
    return found


def _add(module: nn.Module, name: str, value: torch.Tensor) -> None:
    # Gradients are written to buffers of the optimiser's, not to the parameters.
    module.register_parameter(name, nn.Parameter(value, requires_grad=False))


def _shapes(module: nn.Module) -> list[tuple[int, ...]]:
    """Return the shapes of one member's parameters."""
    return [tuple(value.shape[1:]) for value in module.parameters()]


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
