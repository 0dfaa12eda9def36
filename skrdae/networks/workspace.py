"""Buffers that a loop uses again and again, instead of asking the system for memory."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Hashable
from typing import Self, TypeAlias

import torch


class Workspace:
    """Named float32 buffers that grow as needed and are handed out in any shape.

    A new tensor of a megabyte costs page faults, which take longer than the arithmetic done on it.
    A buffer belongs to whoever took its name last: if it is taken again, its old content is lost.
    A workspace serves one thread.

    Parameters
    ----------
    device : torch.device

    Attributes
    ----------
    n_used : int
        How many rows of a chunk are real, those at its beginning. The others fill it up, and nobody
        reads their results.

    Examples
    --------
    >>> import torch
    >>> from skrdae.networks.workspace import Workspace
    >>> workspace = Workspace(torch.device("cpu"))
    >>> first = workspace.take("residual", 2, 3).fill_(1.0)
    >>> second = workspace.take("residual", 3, 2)  # the same memory
    >>> second.sum().item()
    6.0
    """

    n_used = sys.maxsize
    _flat: dict[Hashable, torch.Tensor]
    _views: dict[tuple[Hashable, tuple[int, ...]], torch.Tensor]
    _parts: dict[Hashable, Self]

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._flat, self._views, self._parts = {}, {}, {}

    def take(self, name: Hashable, *shape: int) -> torch.Tensor:
        """Return a tensor of a shape, whose content is undefined."""
        view = self._views.get((name, shape))
        if view is None:
            size = math.prod(shape)
            flat = self._flat.get(name)
            if flat is None or flat.numel() < size:
                flat = self._flat[name] = torch.empty(
                    size, dtype=torch.float32, device=self._device
                )
                self._views = {k: v for k, v in self._views.items() if k[0] != name}
            view = self._views[name, shape] = flat[:size].view(shape)
        return view

    def part(self, name: Hashable) -> Self:
        """Return a workspace with names of its own, for a part of a network."""
        if name not in self._parts:
            self._parts[name] = type(self)(self._device)
        self._parts[name].n_used = self.n_used
        return self._parts[name]


#: A function of a few rows, (n, d) or (K, n, d), and a workspace.
RowFunction: TypeAlias = Callable[[torch.Tensor, Workspace], torch.Tensor]
