"""What the detectors of windows have in common that are trained epoch by epoch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any

import torch

from skrdae._random import member_generators
from skrdae._typing import Record
from skrdae.detectors.base import Learnt, Task
from skrdae.detectors.epochs import LatentDetector
from skrdae.detectors.samples import rows_a_batch, warn_of_too_few
from skrdae.detectors.shaped import ChannelWindows
from skrdae.detectors.streaming import Stream, partial_fit, train_epochs
from skrdae.networks.member import MemberModule
from skrdae.objectives.base import Objective
from skrdae.registry import parameters
from skrdae.scorers.base import Scorer
from skrdae.training.rounds import run
from skrdae.training.trainer import Epochs, Trainer


@parameters
class SequenceDetector(ChannelWindows, LatentDetector):
    """Base class of models of windows: a network, an objective and a scorer each."""

    if TYPE_CHECKING:
        n_samples_seen_: int = field(init=False)

    n_epochs: int = 20

    _parameter_constraints = {
        **ChannelWindows._parameter_constraints,
        **LatentDetector._parameter_constraints,
    }
    #: What the rows of the history are numbered by.
    _history_counter = "epoch"

    partial_fit = partial_fit

    # ---------------------------------------------------------------- what a subclass supplies

    @abstractmethod
    def _new_objective(self, network: Any) -> Objective:
        """Return what the training minimises."""

    @abstractmethod
    def _new_scorer(self, task: Task, level: float) -> Scorer:
        """Return what scores; networks see rows divided by `level`."""

    def _level(self, task: Task) -> float | None:
        """Return what rows are divided by for the network, or None for their scale."""
        return None

    # ------------------------------------------------------------------------------ training

    def _trainer(
        self, network: MemberModule, n_rows: int, generators: Sequence[torch.Generator]
    ) -> Trainer:
        return Trainer(
            network,
            self._new_objective(network),
            lr=self.lr,
            batch_size=rows_a_batch(self.batch_size, n_rows),
            generators=generators,
        )

    def _learn(self, task: Task) -> Learnt:
        warn_of_too_few(self.max_samples, len(task.rows))
        generators = member_generators(task.seeds)
        network = self._new_network(task.rows.shape[1], generators, task.rows.device)
        given = self._level(task)
        rows, level = self._member_rows(task, generators, unit_scale=True, level=given)
        trainer = self._trainer(network, rows.shape[1], generators)
        training = Epochs(trainer, rows)
        run(training, self.n_epochs, task.session)
        trainer.release()
        return Learnt(network, self._new_scorer(task, level), {"history_": training.history})

    # ------------------------------------------------------------------------------ streaming

    def _can_stream(self) -> bool:
        return True

    def _train_chunk(self, task: Task, stream: Stream) -> list[Record]:
        before: Any = None if stream.extra is None else self.model_.scorer
        level = self._level(task) if before is None else before.level
        return train_epochs(self, task, stream, unit_scale=True, level=level)

    def _settled(self, task: Task, stream: Stream) -> Learnt:
        scorer = self._new_scorer(task, stream.level)
        return Learnt(stream.network, scorer, {"history_": stream.history})
