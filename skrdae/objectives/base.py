"""What an objective is to a :class:`~skrdae.training.trainer.Trainer`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import nn

from skrdae._typing import Record


class Objective(ABC):
    """What a training lowers.

    A subclass writes its losses with differentiable operations of torch, for any number of members.
    Kernels registered for a pair of network and objective (:mod:`skrdae.training.kernels`) do the
    same faster.
    """

    #: Settings of Adam that differ from the default: ``betas``, ``eps``.
    adam: Mapping[str, Any] = {}

    def trained(self, network: Any) -> dict[str, nn.Module]:
        """Return the parts of a network that take a step in each batch, in order, by name.

        Each has an optimiser of its own, whose state goes by that name. Parts share no parameter.
        """
        return {"adam": network}

    def noise_size(self, network: Any) -> int:
        """Return how many normal numbers each row of a batch needs."""
        return 0

    @abstractmethod
    def loss(
        self, part: str, network: Any, x: torch.Tensor, noise: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what a part's parameters should lower.

        Parameters
        ----------
        part : str
            A key of :meth:`trained`.
        network : nn.Module
        x : Tensor of shape (K, n, d)
            The rows of a batch. Not to be overwritten.
        noise : Tensor of shape (K, n, noise_size)
            Standard normal.

        Returns
        -------
        loss : Tensor of shape (K,)
            Averaged over the rows. Members do not interact.
        measures : Tensor of shape (n_measures, K)
            For the history, added up over the rows; detached.
        """

    def after_step(self, part: str, n_steps: int) -> None:  # noqa: B027 - most do nothing
        """Do what follows a step of a part, the `n_steps`-th of all."""

    def follows(self, part: str, n_steps: int) -> bool:
        """Return whether :meth:`after_step` does anything after that step."""
        return False

    def record(self, epoch: int, means: Sequence[float]) -> Record:
        """Return the row of the history, from the measures averaged over rows and members."""
        return {"epoch": epoch, "loss": means[0]}

    def tensors(self) -> list[torch.Tensor]:
        """Return what is learnt beside the parameters, the member axis first."""
        return []

    def of_members(self, members: slice) -> Self:
        """Return the objective of some members, which shares the memory of :meth:`tensors`."""
        return self
