"""The training of members by Adam, batch by batch, whatever the network and the objective."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from skrdae._parallel import in_parallel
from skrdae._typing import Record
from skrdae.networks.member import MemberModule
from skrdae.networks.workspace import Workspace
from skrdae.objectives.base import Objective
from skrdae.rows import HeldMemberRows, MemberRows
from skrdae.training.adam import MemberAdam
from skrdae.training.batches import draw_epoch, gather
from skrdae.training.kernels import epoch_kernel, step_kernel
from skrdae.training.rounds import Training
from skrdae.training.state import copied, fill, generator_states, set_generators


class Trainer:
    """Members of a network with their optimisers and random numbers.

    Parameters
    ----------
    network : MemberModule
        K members; trained in place.
    objective : Objective
    lr : float
    batch_size : int
        Largest number of rows in a step; batches are of equal size within one row.
    generators : list of K torch.Generator
        Give each member's order of rows and noise.
    """

    def __init__(
        self,
        network: MemberModule,
        objective: Objective,
        *,
        lr: float,
        batch_size: int,
        generators: Sequence[torch.Generator],
    ) -> None:
        self.network, self.objective, self.batch_size = network, objective, batch_size
        self.generators, self.device = list(generators), network.device
        self.optimisers = {
            name: MemberAdam(part, lr, **objective.adam)
            for name, part in objective.trained(network).items()
        }
        self.workspace = Workspace(self.device)
        self._step: Callable[[torch.Tensor, torch.Tensor], torch.Tensor | None] | None = None

    @property
    def adam(self) -> MemberAdam:
        """The only optimiser."""
        (optimiser,) = self.optimisers.values()
        return optimiser

    @torch.no_grad()
    def train(self, rows: MemberRows, n_epochs: int = 1) -> torch.Tensor | None:
        """Show every member its rows; return the last epoch's measures, (n_measures, K), if any.

        They are added up over the rows.
        """
        whole_epochs = epoch_kernel(self.network, self.objective)
        if whole_epochs is not None and self.device.type == "cpu":
            return whole_epochs(self, rows, n_epochs)
        measures = None
        for _ in range(n_epochs):
            measures = self._train_by_batches(rows)
        return measures

    def _train_by_batches(self, rows: MemberRows) -> torch.Tensor | None:
        if self._step is None:
            make = step_kernel(self.network, self.objective) or AutogradStep
            self._step = make(self)
        n_rows, size = rows.shape[1], self.objective.noise_size(self.network)
        orders, noise = draw_epoch(self.generators, n_rows, self.batch_size, size, self.device)
        total: torch.Tensor | None = None
        for batch, drawn in zip(orders, noise, strict=True):
            found = self._step(self._batch(rows, batch), drawn)
            if found is not None:
                total = found if total is None else total.add_(found)
        return total

    def _batch(self, rows: MemberRows, batch: torch.Tensor) -> torch.Tensor:
        if isinstance(rows, HeldMemberRows):
            space = self.workspace.take("batch", *batch.shape, rows.shape[2])
            return gather(rows.tensor, batch, out=space)
        parts = [next(rows.shares(k, places.numpy(), 1)) for k, places in enumerate(batch)]
        return torch.stack([torch.from_numpy(part.rows) for part in parts])

    def state(self) -> dict[str, Any]:
        """Return what another trainer needs to go on as this one would."""
        return {
            "tensors": copied(self._tensors()),
            **{name: optimiser.state() for name, optimiser in self.optimisers.items()},
            "generators": generator_states(self.generators),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on as another trainer of such a network would have; see :meth:`state`."""
        fill(self._tensors(), state["tensors"])
        for name, optimiser in self.optimisers.items():
            optimiser.restore(state[name])
        set_generators(self.generators, state["generators"])

    def _tensors(self) -> list[torch.Tensor]:
        parts = self.objective.trained(self.network).values()
        return [*(p for part in parts for p in part.parameters()), *self.objective.tensors()]

    def release(self) -> None:
        """Give every parameter memory of its own, so that it can be stored alone."""
        for optimiser in self.optimisers.values():
            optimiser.release()

    def select(self, members: torch.Tensor, generators: Sequence[torch.Generator]) -> Trainer:
        """Return a trainer of copies of some members, of an objective with nothing of its own."""
        other = object.__new__(Trainer)
        vars(other).update(vars(self))
        other.network, other.generators = self.network.select(members), list(generators)
        other.optimisers = {"adam": self.adam.select(other.network, members)}
        other._step = None
        return other


class AutogradStep:
    """A step by automatic differentiation: member by member on a CPU, all at once elsewhere.

    Member by member, because a product of several matrices may round differently from one.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        n_members = trainer.network.n_members
        self._apart = trainer.device.type == "cpu"
        groups = [slice(k, k + 1) for k in range(n_members)] if self._apart else [slice(n_members)]
        self._groups = [
            (members, trainer.network.part(members), trainer.objective.of_members(members))
            for members in groups
        ]

    def __call__(self, x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        trainer, total = self._trainer, []
        for name, optimiser in trainer.optimisers.items():
            optimiser.zero_grads()

            def work(group: int, name: str = name, optimiser: MemberAdam = optimiser) -> Any:
                members, network, objective = self._groups[group]
                part = objective.trained(network)[name]
                with torch.enable_grad(), optimiser.gradients(part, members):
                    loss, measures = objective.loss(name, network, x[members], noise[members])
                    torch.autograd.backward(loss.sum())
                return measures

            groups = range(len(self._groups))
            found = in_parallel(work, groups) if self._apart else [work(0)]
            total.append(torch.cat(found, dim=1))
            optimiser.step()
            trainer.objective.after_step(name, optimiser.n_steps)
        return torch.cat(total)


class Epochs(Training):
    """A training whose rounds are epochs on the same rows."""

    def __init__(self, trainer: Trainer, rows: MemberRows) -> None:
        self.trainer, self.rows, self.history = trainer, rows, []

    def advance(self) -> Record:
        """Train for an epoch."""
        measures: Any = self.trainer.train(self.rows)
        means = (measures / self.rows.shape[1]).mean(dim=1).tolist()
        return self.trainer.objective.record(len(self.history) + 1, means)

    def state(self) -> dict[str, Any]:
        return {"history": list(self.history), **self.trainer.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.history = list(state["history"])
        self.trainer.restore(state)
