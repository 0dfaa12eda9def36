"""States of trainings, from which a training continues as if it had not been interrupted.

A state is a dict of tensors, numbers, lists and dicts: what a training needs beside its data, its
parameters and the networks it began with. Tensors are copies, on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn


def copied(tensors: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """Return copies of tensors on the CPU."""
    return [tensor.detach().to("cpu", copy=True) for tensor in tensors]


@torch.no_grad()
def fill(tensors: Iterable[torch.Tensor], values: Iterable[torch.Tensor]) -> None:
    """Copy values into tensors, wherever these are."""
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)


def generator_states(generators: Iterable[torch.Generator]) -> list[torch.Tensor]:
    """Return what sets generators to where they are now."""
    return [generator.get_state() for generator in generators]


def set_generators(generators: Iterable[torch.Generator], states: Iterable[torch.Tensor]) -> None:
    """Set generators to the states of others."""
    for generator, state in zip(generators, states, strict=True):
        generator.set_state(state.cpu())


def weights_of(network: nn.Module) -> list[torch.Tensor]:
    """Return copies of a network's parameters."""
    return copied(network.parameters())


def set_weights(network: nn.Module, weights: Iterable[torch.Tensor]) -> None:
    """Set a network's parameters, which stay where they are in memory."""
    fill(network.parameters(), weights)
