"""What the robust autoencoders share: X = L + S, whatever the network."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import field, replace
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions

from skrdae._random import member_generators
from skrdae._typing import IntArray, RandomStateLike, Record
from skrdae._validation import listed, outside
from skrdae.chunks import map_chunks
from skrdae.detectors.base import BaseTorchDetector, Learnt, Task
from skrdae.detectors.decomposition import BaseDecomposition
from skrdae.detectors.lam import check_lam, lam_rule
from skrdae.detectors.samples import (
    MAX_SAMPLES,
    member_places,
    rows_a_batch,
    rows_a_member,
    warn_of_reach,
    warn_of_too_few,
)
from skrdae.detectors.streaming import Stream, partial_fit
from skrdae.model import FittedModel
from skrdae.networks.member import MemberModule
from skrdae.networks.stacked import StackedModule
from skrdae.networks.workspace import Workspace
from skrdae.penalties import L21, PENALTIES, GroupPenalty, PenaltyLike, penalty_of
from skrdae.registry import parameters
from skrdae.rows import MemberRows, Rows
from skrdae.scorers.residual import ResidualScorer
from skrdae.scorers.residual_scale import rows_to_measure
from skrdae.training.alternating import Schedule, alternate
from skrdae.training.lam_rule import LamRule
from skrdae.training.schemas import alternating_state

# A network that starts near zero reaches values of about 1 in a training of the usual length. More
# than a tenth of a column's values beyond 5 is never found after a StandardScaler, whatever the
# tails: that would be a mean square above 2.5.
_SHARE, _LARGE = 0.9, 5.0


@parameters
class BaseRobustAutoencoder(BaseDecomposition):
    """Base class of the detectors that split X = L + S with an autoencoder for L.

    A subclass supplies the network: :meth:`_new_module` returns one member, an ordinary
    ``nn.Module`` with ``encode`` and ``decode``, and :meth:`_code_size` the units of its code; or
    :meth:`_new_network` returns a network that stacks its members itself.
    """

    if TYPE_CHECKING:
        n_samples_seen_: int = field(init=False)

    lam: float | str = field(default="auto", kw_only=False)
    penalty: PenaltyLike = "l21"
    max_iter: int = 5
    n_epochs: int = 1
    batch_size: int | Literal["auto"] = "auto"
    lr: float = 1e-3
    tol: float | None = None
    n_estimators: int = 8
    max_samples: float | Literal["auto"] | None = None
    random_state: RandomStateLike = None
    warm_start: bool = False
    checkpoint_path: str | os.PathLike[str] | None = None

    _parameter_constraints = {
        **BaseTorchDetector._parameter_constraints,
        "contamination": [
            *BaseTorchDetector._parameter_constraints["contamination"],
            StrOptions({"auto"}),
        ],
        "lam": [Interval(Real, 0, None, closed="both"), str],  # and by check_lam
        "penalty": [StrOptions(set(PENALTIES)), GroupPenalty],
        "hidden_layer_sizes": "no_validation",  # by check_layer_sizes, which says more
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "n_epochs": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left"), None],
        "max_samples": MAX_SAMPLES,
        "store_decomposition": ["boolean"],
        "warm_start": ["boolean"],
        "checkpoint_path": [str, os.PathLike, None],
    }
    _has_votes = True
    #: What the rows of the history are numbered by.
    _history_counter = "iteration"
    # Parameters that may be larger when a training goes on.
    _lengths = ("max_iter",)
    #: Where a network's last layer cannot go everywhere, its activation.
    output_activation = "identity"

    partial_fit = partial_fit

    # ------------------------------------------------------------------------------ the network

    def _new_module(self, n_features: int) -> torch.nn.Module:
        """Return one member, not trained."""
        raise NotImplementedError(f"{type(self).__name__} has to define _new_module(n_features).")

    def _code_size(self, n_features: int) -> int:
        """Return the units of a member's code."""
        raise NotImplementedError(f"{type(self).__name__} has to define _code_size(n_features).")

    def _new_network(
        self, n_features: int, generators: Sequence[torch.Generator], device: torch.device
    ) -> MemberModule:
        """Return a network with a member for each generator, not trained."""
        code_size = self._code_size(n_features)
        network = StackedModule(lambda: self._new_module(n_features), code_size, generators, device)
        network.check_shapes(n_features)
        return network

    # ------------------------------------------------------------------------------ training

    @property
    def _n_rounds(self) -> int:
        return self.max_iter

    def _check_rows(self, rows: Rows) -> None:
        """Raise if rows are of a kind that does not go with the parameters."""

    def _learn(self, task: Task) -> Learnt:
        self._check_rows(task.rows)
        warn_of_reach(task.rows, self.output_activation, self.scaler)
        self._warn_of_size(task)
        warn_of_too_few(self.max_samples, len(task.rows))
        generators = member_generators(task.seeds)
        network = self._new_network(task.rows.shape[1], generators, task.rows.device)
        rows = self._member_rows(task, generators)
        result = alternate(
            network,
            rows,
            penalty_of(self.penalty),
            self._schedule(task, rows.shape[1]),
            generators,
            task.session,
            self._lam_rule(),
        )
        if not result.converged:
            warnings.warn(
                f"{self.max_iter} iterations did not bring the members below tol={self.tol!r}: "
                "raise max_iter, n_epochs or tol. history_ shows how far they came.",
                ConvergenceWarning,
                stacklevel=outside(),
            )
        return self._scored(task, network, result.lam, result.norms, result.history)

    def _member_rows(self, task: Task, generators: Sequence[torch.Generator]) -> MemberRows:
        """Return the rows that each member is trained on."""
        n_samples = len(task.rows)
        n_rows = rows_a_member(self.max_samples, n_samples)
        places = member_places(n_rows, n_samples, generators)
        return task.rows.of_members(places, len(generators))

    def _warn_of_size(self, task: Task) -> None:
        """Warn of unscaled columns that are too large for so short a training.

        By column, because an image with a wide empty border has small values on average.
        """
        if self.scaler is not None:
            return
        rows = task.rows.take(rows_to_measure(*task.rows.shape)).cpu().numpy()
        sizes = np.quantile(np.abs(rows), _SHARE, axis=0, method="lower")
        large = task.names[sizes > _LARGE].tolist()
        if large:
            warnings.warn(
                f"scaler=None, but {len(large)} of {len(task.names)} columns of X hold values far "
                f"beyond 1 (up to {np.abs(rows).max():.3g}): {listed(large)}. The larger they are, "
                "the less of X the network can reconstruct, and the worse it detects. If all "
                "columns have one unit, divide X by its largest value: pixels from 0 to 255 by "
                "255. If not, leave scaler at its default, 'robust', or scale X yourself.",
                UserWarning,
                stacklevel=outside(),
            )

    def _schedule(self, task: Task, n_rows: int) -> Schedule:
        """How members are trained on so many rows each."""
        return Schedule(
            bound=task.scaler.bound_,
            max_iter=self.max_iter,
            n_epochs=self.n_epochs,
            batch_size=rows_a_batch(self.batch_size, n_rows),
            lr=self.lr,
            tol=self.tol,
        )

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_lam(self.lam)

    def _lam_rule(self) -> LamRule:
        """Return how the members' λ are found."""
        k = self.n_estimators
        if self.lam != "auto":
            return lam_rule([self.lam] * k)
        share = float(self.contamination) if isinstance(self.contamination, Real) else 0.1
        if self._agreed is not None:
            k = self._agreed.n_members
        shares = [share] if k == 1 else share * np.geomspace(0.5, 2, k)
        if self._agreed is not None:
            shares = [shares[self._agreed.member]]
        return LamRule([1 - min(float(s), 0.5) for s in shares], "quantile")

    def _vote_threshold(self, model: FittedModel, learnt: Learnt) -> float | None:
        # One member's ℓ2,1 prox compares the norm, where that is the score, with λ.
        scorer: Any = model.scorer
        one_norm = type(scorer.penalty) is L21 and scorer.scale is None
        one_norm = one_norm and type(scorer) is ResidualScorer
        return learnt.attributes["lam_"] if one_norm and self.n_estimators == 1 else None

    # ------------------------------------------------------------------------------ resuming

    def _lengths_of(self, state: dict[str, Any]) -> dict[str, int]:
        return {"max_iter": len(state["history"])}

    def _check_state(self, state: Any, shape: tuple[int, int], seeds: IntArray) -> None:
        """Raise unless a state is one of a training on rows of a shape, whatever it came from."""
        network = self._new_network(shape[1], member_generators(seeds), torch.device("cpu"))
        n_rows = rows_a_member(self.max_samples, shape[0])
        sizes = {"members": self.n_estimators, "features": shape[1], "samples": n_rows}
        alternating_state(network, shape[1], penalty_of(self.penalty))(state, "state", sizes)

    # ------------------------------------------------------------------------------ streaming

    def _can_stream(self) -> bool:
        # A wrong name is told of by the check of parameters.
        if isinstance(self.penalty, str) and self.penalty not in PENALTIES:
            return True
        if penalty_of(self.penalty).across_rows:
            raise AttributeError(
                f"With penalty={self.penalty!r} there is no partial_fit: its groups reach over all "
                "rows. Choose another penalty."
            )
        return True

    def _train_chunk(self, task: Task, stream: Stream) -> list[Record]:
        if stream.network is None:
            stream.network = self._new_network(
                task.rows.shape[1], stream.generators, task.rows.device
            )
        rule = self._lam_rule()
        if not rule.given and stream.rows is not None:
            # That of the rows remembered, in which a chunk however small or odd has little say.
            rule = LamRule(self._lams_of(task, stream, rule))
        rows = self._member_rows(task, stream.generators)
        # As large as for all rows so far: many small steps would be a longer training.
        n_so_far = rows_a_member(self.max_samples, stream.n_seen + len(task.rows))
        batch_size = rows_a_batch(self.batch_size, n_so_far)
        result = alternate(
            stream.network,
            rows,
            penalty_of(self.penalty),
            replace(self._schedule(task, n_so_far), batch_size=batch_size),
            stream.generators,
            task.session,
            rule,
            adam=stream.adam,
        )
        assert result.adam is not None  # which comes of sparse trainings only
        stream.adam = result.adam()
        stream.extra = result.lam
        return result.history

    def _lams_of(self, task: Task, stream: Stream, rule: LamRule) -> list[float]:
        """Return each member's λ for the rows remembered."""
        penalty, network = penalty_of(self.penalty), stream.network
        rows: Any = stream.rows  # there are some
        scorer: Any = ResidualScorer(task.scaler.bound_, penalty, torch.zeros(0))

        def norms(chunk: torch.Tensor, workspace: Workspace) -> torch.Tensor:
            residual = scorer.residual(network, chunk, workspace)
            return penalty.measures(residual, chunk[None])

        remembered = torch.from_numpy(task.scaler.transform(rows)).to(task.rows.device)
        found = map_chunks(norms, remembered, rows_independent=network.rows_independent)
        return rule.find(found).tolist()

    def _settled(self, task: Task, stream: Stream) -> Learnt:
        return self._scored(task, stream.network, stream.extra, None, stream.history)
