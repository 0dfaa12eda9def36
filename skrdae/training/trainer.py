"""The training of members by Adam, batch by batch, whatever the network and the objective."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from skrdae._parallel import in_parallel
from skrdae._typing import Record
from skrdae.networks.member import MemberModule
from skrdae.networks.workspace import Workspace
from skrdae.objectives.base import Objective
from skrdae.rows import MemberRows
from skrdae.training.adam import MemberAdam
from skrdae.training.batches import DrawnAhead, draw_epoch, n_batches_of, sizes_of
from skrdae.training.kernels import epoch_kernel, step_kernel
from skrdae.training.rounds import Training
from skrdae.training.state import copied, fill, generator_states, set_generators
from skrdae.training.steps import EagerSteps, steps_for


class Trainer:
    """Trains the members of a network by Adam, batch by batch.

    On a CPU it uses the compiled epochs that are registered for the network and the objective, on
    other devices their steps; without either, automatic differentiation. The numbers of an epoch
    are drawn at once, so that all of these see the same order and noise.

    Parameters
    ----------
    network : MemberModule
        K members; trained in place.
    objective : Objective
    lr : float
        Learning rate of Adam.
    batch_size : int
        Largest number of rows in a step; batches are of equal size within one row.
    generators : list of K torch.Generator
        Each member's order of rows and noise are drawn from its own.

    Attributes
    ----------
    optimisers : dict of str to MemberAdam
        One for each part of :meth:`~skrdae.objectives.base.Objective.trained`.

    See Also
    --------
    Epochs : The same with a history, callbacks and states.
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
        self.optimisers: dict[str, MemberAdam] = {}
        for name, part in objective.trained(network).items():
            others = self.optimisers.values()
            self.optimisers[name] = MemberAdam(part, lr, others=others, **objective.adam)
        self.workspace = Workspace(self.device)
        self._steps: EagerSteps | None = None
        self._ahead: DrawnAhead | None = None

    @property
    def adam(self) -> MemberAdam:
        """The only optimiser."""
        (optimiser,) = self.optimisers.values()
        return optimiser

    @torch.no_grad()
    def train(self, rows: MemberRows, n_epochs: int = 1) -> torch.Tensor | None:
        """Train every member on its rows.

        Parameters
        ----------
        rows : MemberRows
        n_epochs : int, default=1
            Passes over the rows.

        Returns
        -------
        Tensor of shape (n_measures, K), or None
            The measures of :meth:`~skrdae.objectives.base.Objective.loss` in the last epoch, summed
            over the rows. None if a kernel leaves them out.
        """
        whole_epochs = epoch_kernel(self.network, self.objective)
        if whole_epochs is not None and self.device.type == "cpu":
            return whole_epochs(self, rows, n_epochs)
        measures = None
        for _ in range(n_epochs):
            measures = self._train_by_batches(rows)
        return measures

    def _train_by_batches(self, rows: MemberRows) -> torch.Tensor | None:
        self.objective.begin_epoch()
        if self._steps is None or self._steps.rows is not rows:
            make = step_kernel(self.network, self.objective) or AutogradStep
            self._steps = steps_for(self, rows, make)
        n_rows, size = rows.shape[1], self.objective.noise_size(self.network)
        n_batches = n_batches_of(n_rows, self.batch_size)
        ahead, self._ahead = self._ahead, None
        drawn = ahead.take(self.generators, n_rows, n_batches, size) if ahead else None
        orders, noise = drawn or draw_epoch(self.generators, n_rows, n_batches, size)
        return self._steps.epoch(orders, noise, sizes_of(n_rows, n_batches))

    def draw_ahead(self, rows: MemberRows) -> None:
        """Draw what the next epoch on some rows needs while a GPU still works on this one."""
        if self.device.type != "cpu":
            n_rows, size = rows.shape[1], self.objective.noise_size(self.network)
            n_batches = n_batches_of(n_rows, self.batch_size)
            self._ahead = DrawnAhead(self.generators, n_rows, n_batches, size)

    def after_batch(self) -> None:
        """Do what follows a batch and is no part of a captured step; see `MemberAdam.flush`."""
        for optimiser in self.optimisers.values():
            optimiser.flush()

    def variant(self) -> Hashable:
        """Return a key of the next step: steps with different keys need graphs of their own."""
        return tuple(
            self.objective.follows(name, optimiser.n_steps + 1)
            for name, optimiser in self.optimisers.items()
        )

    def counts(self) -> list[int]:
        """Return the numbers of steps made."""
        return [optimiser.n_steps for optimiser in self.optimisers.values()]

    def set_counts(self, counts: Sequence[int]) -> None:
        """Set the numbers of steps made; a capture counts steps that it only records."""
        for optimiser, n_steps in zip(self.optimisers.values(), counts, strict=True):
            optimiser.n_steps = n_steps

    def count_step(self) -> None:
        """Count a step that was replayed."""
        self.set_counts([n_steps + 1 for n_steps in self.counts()])

    def state(self) -> dict[str, Any]:
        """Return what another trainer needs to continue as this one would."""
        return {
            "tensors": copied(self._tensors()),
            **{name: optimiser.state() for name, optimiser in self.optimisers.items()},
            "generators": generator_states(self.generators),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from the :meth:`state` of another trainer of such a network."""
        fill(self._tensors(), state["tensors"])
        for name, optimiser in self.optimisers.items():
            optimiser.restore(state[name])
        set_generators(self.generators, state["generators"])

    def _tensors(self) -> list[torch.Tensor]:
        parts = self.objective.trained(self.network).values()
        found = {id(p): p for part in parts for p in part.parameters()}  # once if they share it
        return [*found.values(), *self.objective.tensors()]

    def release(self) -> None:
        """Give every parameter memory of its own, so that it can be stored alone."""
        self._steps = None  # which knows the trainer
        for optimiser in self.optimisers.values():
            optimiser.release()

    def select(self, members: torch.Tensor, generators: Sequence[torch.Generator]) -> Trainer:
        """Return a trainer of copies of some members.

        It is for one optimiser and objectives without tensors of their own.

        Parameters
        ----------
        members : LongTensor
            Their places, which may repeat.
        generators : list of torch.Generator
            One for each.
        """
        other = object.__new__(Trainer)
        vars(other).update(vars(self))
        other.network, other.generators = self.network.select(members), list(generators)
        other.optimisers = {"adam": self.adam.select(other.network, members)}
        other._steps = other._ahead = None
        return other


class AutogradStep:
    """A step by automatic differentiation: member by member on a CPU, all at once elsewhere.

    Member by member, because a product of several matrices may round differently from one. If the
    network says how many rows are a piece, a batch's pieces are worked on side by side, too, and
    their gradients are added up in order.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer, network = trainer, trainer.network
        n_members = network.n_members
        self._apart = trainer.device.type == "cpu"
        groups = [slice(k, k + 1) for k in range(n_members)] if self._apart else [slice(n_members)]
        self._rows_a_piece = (network.rows_a_piece if self._apart else None) or trainer.batch_size
        # Each piece has parameters of its own, as autograd sees them, in the same memory.
        self._groups = [
            [
                (members, network.part(members), trainer.objective.of_members(members))
                for _ in range(-(-trainer.batch_size // self._rows_a_piece))
            ]
            for members in groups
        ]

    def __call__(self, x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        trainer, measured = self._trainer, []
        n_pieces = -(-x.shape[1] // self._rows_a_piece)
        batch = x.tensor_split(n_pieces, dim=1), noise.tensor_split(n_pieces, dim=1)
        places = [(group, piece) for group in self._groups for piece in range(n_pieces)]
        for name, optimiser in trainer.optimisers.items():
            optimiser.zero_grads()
            work = partial(self._gradients, name, optimiser, batch)
            made = in_parallel(work, places) if self._apart else list(map(work, places))
            found: list[torch.Tensor] = []
            for (group, piece), (measures, grads) in zip(places, made, strict=True):
                if piece == 0:
                    found.append(measures)
                else:
                    found[-1] = found[-1] + measures
                    optimiser.add_grads(group[piece][0], grads)
            measured.append(torch.cat(found, dim=1))
            optimiser.step()
            trainer.objective.after_step(name, optimiser.n_steps)
        return torch.cat(measured)

    def _gradients(
        self,
        name: str,
        optimiser: MemberAdam,
        batch: tuple[Sequence[torch.Tensor], Sequence[torch.Tensor]],
        place: tuple[Any, int],
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Find the measures and the gradients of some members and a piece of a batch."""
        group, piece = place
        members, network, objective = group[piece]
        part = objective.trained(network)[name]
        x, noise = (pieces[piece][members] for pieces in batch)
        with torch.enable_grad(), optimiser.gradients(part, members, piece > 0) as grads:
            found = objective.loss(name, network, x, noise)
            loss, measures = _checked(found, network.n_members, objective)
            loss = loss.sum()
            if len(batch[0]) > 1:
                loss = loss * (x.shape[1] / sum(rows.shape[1] for rows in batch[0]))
            torch.autograd.backward(loss)
        return measures, grads


def _checked(found: Any, n_members: int, objective: Objective) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what a loss returned, if it has the right shapes."""
    pair: Any = found if isinstance(found, tuple) and len(found) == 2 else (None, None)
    shapes = [tuple(getattr(tensor, "shape", ())) for tensor in pair]
    if shapes[0] != (n_members,) or len(shapes[1]) != 2 or shapes[1][1] != n_members:
        raise TypeError(
            f"{type(objective).__name__}.loss must return a loss for each member, of shape "
            f"({n_members},), and measures for the history, of shape (n_measures, {n_members}); it "
            f"returned {'shapes ' + str(shapes) if pair[0] is not None else type(found).__name__}."
        )
    return pair


class Epochs(Training):
    """A training whose rounds are epochs on the same rows.

    Parameters
    ----------
    trainer : Trainer
    rows : MemberRows
    """

    def __init__(self, trainer: Trainer, rows: MemberRows) -> None:
        self.trainer, self.rows, self.history = trainer, rows, []

    def advance(self) -> Record:
        """Train for an epoch."""
        measures: Any = self.trainer.train(self.rows)  # objectives of epochs have some
        self.trainer.draw_ahead(self.rows)  # before the measures are waited for
        means = (measures / self.rows.shape[1]).mean(dim=1).tolist()
        return self.trainer.objective.record(len(self.history) + 1, means)

    def state(self) -> dict[str, Any]:
        return {"history": list(self.history), **self.trainer.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.history = list(state["history"])
        self.trainer.restore(state)
