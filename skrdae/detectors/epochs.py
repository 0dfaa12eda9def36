"""What detectors have in common that are trained for a number of epochs."""

from __future__ import annotations

import math
import os
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import field
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from sklearn.utils._param_validation import Interval, StrOptions

from skrdae._random import member_generators
from skrdae._schema import Check
from skrdae._typing import FloatArray, IntArray, MatrixLike, RandomStateLike
from skrdae._validation import check_layer_sizes, snapshot
from skrdae.detectors.base import BaseTorchDetector, Task
from skrdae.detectors.samples import MAX_SAMPLES, member_places, rows_a_member
from skrdae.registry import parameters
from skrdae.rows import MemberRows


@parameters
class EpochsDetector(BaseTorchDetector):
    """Base class of networks that are trained epoch by epoch."""

    if TYPE_CHECKING:
        n_epochs: int = field(init=False)

    hidden_layer_sizes: Sequence[int] = (64,)
    batch_size: int | Literal["auto"] = "auto"
    lr: float = 1e-3
    n_estimators: int = 8
    max_samples: float | Literal["auto"] | None = None
    random_state: RandomStateLike = None
    warm_start: bool = False
    checkpoint_path: str | os.PathLike[str] | None = None

    _parameter_constraints = {
        **BaseTorchDetector._parameter_constraints,
        "hidden_layer_sizes": "no_validation",  # by check_layer_sizes, which says more
        "n_epochs": [Interval(Integral, 1, None, closed="left")],
        "max_samples": MAX_SAMPLES,
        "warm_start": ["boolean"],
        "checkpoint_path": [str, os.PathLike, None],
    }

    _lengths: ClassVar[tuple[str, ...]] = ("n_epochs",)

    # ---------------------------------------------------------------- what a subclass supplies

    @abstractmethod
    def _new_network(
        self, n_features: int, generators: Sequence[torch.Generator], device: torch.device
    ) -> Any:
        """Return a network with a member for each generator, not trained."""

    @abstractmethod
    def _state_check(self, network: Any) -> Check:
        """Return a check of the state of a training."""

    # ------------------------------------------------------------------------------ training

    @property
    def _n_rounds(self) -> int:
        return self.n_epochs

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_layer_sizes(self.hidden_layer_sizes)

    def _two_parts(self, X: MatrixLike) -> tuple[FloatArray, FloatArray]:
        """Return the two parts of each row's score, of scorers that have them."""
        self = snapshot(self)
        X = self._validated(X)
        scorer: Any = self.model_.scorer
        both = self._average(scorer.parts, X)
        return both[:, 0], both[:, 1]

    def _member_rows(
        self,
        task: Task,
        generators: Sequence[torch.Generator],
        *,
        unit_scale: bool = False,
        level: float | None = None,
    ) -> tuple[MemberRows, float]:
        """Return what each network is trained on, and the number that it is divided by.

        With `unit_scale` the networks are trained on data of unit scale, which learning rates and
        Adam's ε are made for: where the scaler did not see to it, the data are divided by one
        number, the root mean variance of the columns. A `level` is that number from before.
        """
        if self._agreed is not None:
            level = self._agreed.level
        n_samples = len(task.rows)
        places = member_places(rows_a_member(self.max_samples, n_samples), n_samples, generators)
        found, bound = 1.0 if level is None else level, task.scaler.bound_
        measures = unit_scale and level is None and task.scaler.method not in ("robust", "standard")

        def change(rows: torch.Tensor) -> torch.Tensor:
            nonlocal found
            rows = rows.clamp(-bound, bound)
            if measures:
                largest = rows.abs().amax()  # keeps the squares of tiny numbers from vanishing
                spread = (rows / largest).var(dim=0, correction=0).mean().sqrt().mul(largest)
                found = spread.item()
                found = found if 0 < found < math.inf else 1.0
            return rows if found == 1 else rows.div_(found)

        return task.rows.of_members(places, len(generators), change), found

    # ------------------------------------------------------------------------------ resuming

    def _lengths_of(self, state: dict[str, Any]) -> dict[str, int]:
        return {"n_epochs": len(state["history"])}

    def _check_state(self, state: Any, shape: tuple[int, int], seeds: IntArray) -> None:
        """Raise unless a state is one of a training on rows of a shape, whatever it came from."""
        network = self._new_network(shape[1], member_generators(seeds), torch.device("cpu"))
        sizes = {"members": self.n_estimators, "features": shape[1]}
        self._state_check(network)(state, "state", sizes)


@parameters
class LatentDetector(EpochsDetector):
    """Base class of those with a code of latent variables."""

    latent_dim: int | Literal["auto"] = "auto"

    _parameter_constraints = {
        **EpochsDetector._parameter_constraints,
        "latent_dim": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
    }

    def _latent_units(self, n_values: int) -> int:
        if self.latent_dim == "auto":
            return max(2, round(math.sqrt(n_values)))
        return int(self.latent_dim)
