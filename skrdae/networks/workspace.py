"""Memory that a loop takes again and again instead of asking the system for it."""

import math

import torch


class Workspace:
    """Named buffers that grow as needed and are handed out in any shape.

    A fresh tensor of a megabyte costs page faults that take longer than the arithmetic done on
    it. A buffer belongs to whoever took its name last: take it again and the old content is
    gone. A workspace serves one thread.
    """

    def __init__(self, device):
        self._device = device
        self._flat = {}

    def take(self, name, *shape):
        """Return a tensor of a shape, its content undefined."""
        size = math.prod(shape)
        flat = self._flat.get(name)
        if flat is None or flat.numel() < size:
            flat = self._flat[name] = torch.empty(size, device=self._device)
        return flat[:size].view(shape)
