"""What the recurrent variational autoencoders have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skrdae._schema import Check
from skrdae.detectors.base import Task
from skrdae.detectors.sequences import SequenceDetector
from skrdae.registry import parameters
from skrdae.scorers.likelihood import LikelihoodScorer
from skrdae.training.schemas import sequence_state


@parameters
class RecurrentVAEDetector(SequenceDetector):
    """Base class of models with a latent variable for each step, scored by their likelihood."""

    hidden_layer_sizes: Sequence[int] = (32,)
    n_epochs: int = 10
    lr: float = 3e-3
    n_estimators: int = 1

    def _new_scorer(self, task: Task, level: float) -> LikelihoodScorer:
        return LikelihoodScorer(task.scaler.bound_, level)

    def _state_check(self, network: Any) -> Check:
        return sequence_state(network)
