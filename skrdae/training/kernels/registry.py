"""Which networks and objectives have faster code than automatic differentiation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import torch

from skrdae.networks.member import MemberModule
from skrdae.objectives.base import Objective
from skrdae.rows import MemberRows

if TYPE_CHECKING:
    from skrdae.training.trainer import Trainer

#: Does what :meth:`~skrdae.training.trainer.Trainer.train` does, on a CPU.
EpochKernel: TypeAlias = "Callable[[Trainer, MemberRows, int], torch.Tensor | None]"
#: Takes the rows of a batch, which it may overwrite, and its noise; makes the steps of all parts,
#: and returns the measures, if there are any.
Step: TypeAlias = Callable[[torch.Tensor, torch.Tensor], torch.Tensor | None]
#: Returns a trainer's step.
StepKernel: TypeAlias = "Callable[[Trainer], Step]"

_Kernel = TypeVar("_Kernel")
_EPOCHS: dict[tuple[type, type], EpochKernel] = {}
_STEPS: dict[tuple[type, type], StepKernel] = {}


def epochs_of(
    network: type[MemberModule], objective: type[Objective]
) -> Callable[[EpochKernel], EpochKernel]:
    """Register a function for whole epochs of such members on a CPU, as a decorator."""
    return _registered(_EPOCHS, network, objective)


def steps_of(
    network: type[MemberModule], objective: type[Objective]
) -> Callable[[StepKernel], StepKernel]:
    """Register a function that makes the steps of such members on any device, as a decorator."""
    return _registered(_STEPS, network, objective)


def _registered(
    kernels: dict[tuple[type, type], _Kernel], network: type, objective: type
) -> Callable[[_Kernel], _Kernel]:
    def register(kernel: _Kernel) -> _Kernel:
        kernels[network, objective] = kernel
        return kernel

    return register


def epoch_kernel(network: MemberModule, objective: Objective) -> EpochKernel | None:
    """Return what was registered for whole epochs, if anything was.

    Of exactly these classes: a subclass may do something else.
    """
    return _EPOCHS.get((type(network), type(objective)))


def step_kernel(network: MemberModule, objective: Objective) -> StepKernel | None:
    """Return what was registered for steps, if anything was."""
    return _STEPS.get((type(network), type(objective)))
