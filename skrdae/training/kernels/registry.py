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

#: A function that does what :meth:`~skrdae.training.trainer.Trainer.train` does, on a CPU.
EpochKernel: TypeAlias = "Callable[[Trainer, MemberRows, int], torch.Tensor | None]"
#: A function of the rows of a batch, which it may overwrite, and of its noise. It makes a step of
#: every part of the network, and returns the measures, if there are any.
Step: TypeAlias = Callable[[torch.Tensor, torch.Tensor], torch.Tensor | None]
#: A function that returns the step of a trainer.
StepKernel: TypeAlias = "Callable[[Trainer], Step]"

_Kernel = TypeVar("_Kernel")
_EPOCHS: dict[tuple[type, type], EpochKernel] = {}
_STEPS: dict[tuple[type, type], StepKernel] = {}


def epochs_of(
    network: type[MemberModule], objective: type[Objective]
) -> Callable[[EpochKernel], EpochKernel]:
    """Register a function that trains for whole epochs on a CPU; a decorator.

    The function takes a :class:`~skrdae.training.trainer.Trainer`, its rows and the number of
    epochs, does what :meth:`~skrdae.training.trainer.Trainer.train` does, and returns the measures
    of the last epoch.

    Parameters
    ----------
    network : type
        A subclass of :class:`~skrdae.networks.member.MemberModule`.
    objective : type
        A subclass of :class:`~skrdae.objectives.base.Objective`.
    """
    return _registered(_EPOCHS, network, objective)


def steps_of(
    network: type[MemberModule], objective: type[Objective]
) -> Callable[[StepKernel], StepKernel]:
    """Register a function that makes steps on any device; a decorator.

    The function takes a :class:`~skrdae.training.trainer.Trainer` and returns another function,
    which takes the rows and the noise of a batch, (K, n, d) and (K, n, noise_size), makes one step
    of every part of the network, and returns the measures or None. On a GPU it is captured as a
    CUDA graph: it must not wait for the device, as by reading a number from it.

    Parameters
    ----------
    network : type
        A subclass of :class:`~skrdae.networks.member.MemberModule`.
    objective : type
        A subclass of :class:`~skrdae.objectives.base.Objective`.
    """
    return _registered(_STEPS, network, objective)


def _registered(
    kernels: dict[tuple[type, type], _Kernel], network: type, objective: type
) -> Callable[[_Kernel], _Kernel]:
    def register(kernel: _Kernel) -> _Kernel:
        kernels[network, objective] = kernel
        return kernel

    return register


def epoch_kernel(network: MemberModule, objective: Objective) -> EpochKernel | None:
    """Return the function that is registered for whole epochs, or None.

    A kernel of a base class does not count, because a subclass may compute something else.
    """
    return _EPOCHS.get((type(network), type(objective)))


def step_kernel(network: MemberModule, objective: Objective) -> StepKernel | None:
    """Return the function that is registered for steps, or None."""
    return _STEPS.get((type(network), type(objective)))
