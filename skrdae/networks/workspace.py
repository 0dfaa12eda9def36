"""Memory that a loop takes again and again instead of asking the system for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import Self, TypeAlias

import torch


class Workspace:
    """Named buffers that grow as needed and are handed out in any shape.

    A fresh tensor of a megabyte costs page faults that take longer than the arithmetic done on
    it. A buffer belongs to whoever took its name last: take it again and the old content is
    gone. A workspace serves one thread.
    """

    _flat: dict[Hashable, torch.Tensor]
    _views: dict[tuple[Hashable, tuple[int, ...]], torch.Tensor]
    _parts: dict[Hashable, Self]

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._flat, self._views, self._parts = {}, {}, {}

    def take(self, name: Hashable, *shape: int) -> torch.Tensor:
        """Return a tensor of a shape, its content undefined."""
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
        """Return the workspace of a part, whose names are its own."""
        if name not in self._parts:
            self._parts[name] = type(self)(self._device)
        return self._parts[name]


#: What is made of a few rows, (n, d) or (K, n, d), with buffers of a workspace.
RowFunction: TypeAlias = Callable[[torch.Tensor, Workspace], torch.Tensor]
