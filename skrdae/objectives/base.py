"""What an objective is to a :class:`~skrdae.training.trainer.Trainer`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import nn

from skrdae._typing import Record


class Objective(ABC):
    """What a training minimises.

    A subclass writes its loss with differentiable operations of torch, for any number of members;
    only :meth:`loss` is needed. For some pairs of a network and an objective there are kernels in
    ``skrdae.training.kernels``, which do the same faster.

    Examples
    --------
    The absolute error of a reconstruction:

    >>> import torch
    >>> from skrdae._random import member_generators
    >>> from skrdae.networks.mlp import MemberAutoencoder
    >>> from skrdae.objectives.base import Objective
    >>> from skrdae.rows import HeldRows
    >>> from skrdae.training.trainer import Trainer
    >>> class AbsoluteError(Objective):
    ...     def loss(self, part, network, x, noise):
    ...         error = (network(x) - x).abs().sum(dim=(1, 2))
    ...         return error / x.shape[1], error.detach()[None]
    >>> generators = member_generators([0, 1])  # two members
    >>> network = MemberAutoencoder(6, (4, 2), "tanh", "identity", generators, torch.device("cpu"))
    >>> X = torch.randn(90, 6, generator=torch.Generator().manual_seed(0))
    >>> rows = HeldRows(X).of_members(None, 2)
    >>> trainer = Trainer(
    ...     network, AbsoluteError(), lr=1e-2, batch_size=32, generators=generators
    ... )
    >>> before, after = trainer.train(rows), trainer.train(rows, n_epochs=20)
    >>> before.shape, bool((after < before).all())
    (torch.Size([1, 2]), True)
    """

    #: Settings of Adam that differ from the default: ``betas``, ``eps``.
    adam: Mapping[str, Any] = {}

    def trained(self, network: Any) -> dict[str, nn.Module]:
        """Return the parts of a network that are trained.

        In each batch they take a step one after another, each with an optimiser of its own. A GAN
        has two.

        Parameters
        ----------
        network : MemberModule

        Returns
        -------
        dict of str to nn.Module
            By default the whole network, under the name ``"adam"``. Parts may share parameters, for
            which each optimiser has averages of its own.
        """
        return {"adam": network}

    def noise_size(self, network: Any) -> int:
        """Return how many standard normal numbers :meth:`loss` gets for each row."""
        return 0

    @abstractmethod
    def loss(
        self, part: str, network: Any, x: torch.Tensor, noise: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss of a batch.

        On a GPU it is captured as a part of a CUDA graph and replayed, so it must not read numbers
        from the device, nor draw random numbers other than `noise`.

        Parameters
        ----------
        part : str
            The part that takes a step, a key of :meth:`trained`.
        network : MemberModule
        x : Tensor of shape (K, n, d)
            The rows of a batch. Not to be changed.
        noise : Tensor of shape (K, n, noise_size)
            Standard normal numbers.

        Returns
        -------
        loss : Tensor of shape (K,)
            One number for each member, averaged over the rows. Members do not interact.
        measures : Tensor of shape (n_measures, K)
            For the history: sums over the rows, detached.
        """

    def begin_epoch(self) -> None:  # noqa: B027 - most do nothing
        """Do what comes before each pass over the rows; by default nothing.

        What a loss reads of it has to be among :meth:`tensors`, and to be changed in place: a graph
        reads it where it was when it was captured. Kernels of whole epochs do without it.
        """

    def after_step(self, part: str, n_steps: int) -> None:  # noqa: B027 - most do nothing
        """Do what follows the `n_steps`-th step of a part; by default nothing."""

    def follows(self, part: str, n_steps: int) -> bool:
        """Return whether :meth:`after_step` does anything after that step.

        CUDA graphs are captured apart for steps with and without it.
        """
        return False

    def record(self, epoch: int, means: Sequence[float]) -> Record:
        """Return a row of the history.

        Parameters
        ----------
        epoch : int
            From 1.
        means : list of float
            The measures, averaged over rows and members.

        Returns
        -------
        dict
        """
        return {"epoch": epoch, "loss": means[0]}

    def tensors(self) -> list[torch.Tensor]:
        """Return tensors that are learnt beside the network's parameters, member axis first."""
        return []

    def of_members(self, members: slice) -> Self:
        """Return the objective of some members.

        Override it together with :meth:`tensors`, with whose memory it has to work.
        """
        return self
