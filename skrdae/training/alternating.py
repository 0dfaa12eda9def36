"""Alternating minimisation for X = L + S: train on L, then shrink what is left over to S."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from skrdae._typing import Record
from skrdae.history import IterationRecord
from skrdae.networks.member import MemberModule
from skrdae.objectives.base import Objective
from skrdae.objectives.reconstruction import Reconstruction
from skrdae.penalties.base import GroupPenalty
from skrdae.rows import LazyMemberRows, MemberRows
from skrdae.training.batches import same_generator
from skrdae.training.lam_rule import LamRule
from skrdae.training.rounds import Session, Training, run
from skrdae.training.split import split_of
from skrdae.training.state import (
    copied,
    generator_states,
    set_generators,
    set_weights,
    weights_of,
)
from skrdae.training.trainer import Trainer


@dataclass(frozen=True)
class Schedule:
    """The settings of an alternating training.

    Attributes
    ----------
    bound : float
        L is clipped to ±bound before the network sees it.
    max_iter, n_epochs, batch_size : int
    lr : float
    tol : float or None
        A member stops when its constraint or its change (see
        :class:`~skrdae.history.IterationRecord`) is below `tol`.
    objective : Objective, optional
        What the network is trained on L with; by default the squared error,
        :class:`~skrdae.objectives.reconstruction.Reconstruction`.
    """

    bound: float
    max_iter: int
    n_epochs: int
    batch_size: int
    lr: float
    tol: float | None = None
    objective: Objective | None = None


@dataclass
class AlternatingResult:
    """What :func:`alternate` found.

    Attributes
    ----------
    lam : Tensor of shape (K,)
        Each member's λ at its last iteration.
    norms : Tensor or None
        The norms of the groups at the last iteration, for a penalty whose groups reach over rows:
        by them the prox treats new rows as it did these.
    converged : bool
        Whether every member met a criterion, or somebody put an end to it.
    history : list of dict
        The rows of :class:`IterationRecord`. As many as the member that took the most.
    adam : callable or None
        Returns the state of the optimiser, if members shared one.
    """

    lam: torch.Tensor
    norms: torch.Tensor | None
    converged: bool
    history: list[Record]
    adam: Callable[[], dict[str, Any]] | None = None


class Alternation(Training):
    r"""Minimises :math:`\|L - D(E(L))\|_F^2 + \lambda\,\Omega(S)` subject to X = L + S.

    Each iteration trains the network on L = X − S for some epochs, without starting it anew, and
    then takes for S the prox of X − D(E(L)). The first S is zero. Members never meet: one that has
    converged leaves and the others go on as if it had not been there.

    Parameters
    ----------
    network : MemberModule
        K members; their weights are set when they have finished.
    rows : MemberRows
        X. Lazy rows are those of one member.
    penalty : GroupPenalty
        Ω.
    schedule : Schedule
    generators : list of K torch.Generator
    rule : LamRule, optional
        How λ is found. Needed from the first prox on.

    References
    ----------
    Zhou, C. and R. C. Paffenroth, Anomaly Detection with Robust Deep Autoencoders, KDD 2017.
    """

    def __init__(
        self,
        network: MemberModule,
        rows: MemberRows,
        penalty: GroupPenalty,
        schedule: Schedule,
        generators: Sequence[torch.Generator],
        rule: LamRule | None = None,
    ) -> None:
        self.network, self.penalty, self.schedule = network, penalty, schedule
        self.history, self.has_residual = [], False
        self.members = torch.arange(len(generators), device=rows.device)
        self.trainer = Trainer(
            network.select(self.members),
            schedule.objective or Reconstruction(schedule.bound),
            lr=schedule.lr,
            batch_size=schedule.batch_size,
            generators=generators,
        )
        self.split = split_of(rows)
        self.rule = rule
        self.final_lam = torch.zeros(len(generators), dtype=torch.float32, device=rows.device)
        # λ is None until the first prox if it comes from the norms, as are norms until members
        # leave.
        self.lam = rule.find(self.final_lam) if rule is not None and rule.given else None
        self._penalty_value: torch.Tensor | float = 0.0  # Ω(S)
        self.final_norms: torch.Tensor | None = None

    def train(self) -> None:
        """Train the networks on L, and find the residual that they leave."""
        self.trainer.train(self.split, self.schedule.n_epochs)
        self.find_residual()

    def find_residual(self) -> None:
        """Find the residual of the networks as they are."""
        self.split.find_residual(self.trainer.network, self.schedule.bound, self.penalty)
        self.has_residual = True

    def find_lam(self) -> torch.Tensor:
        """Return λ, found anew if it depends on the residual."""
        rule: Any = self.rule  # there is one by now
        if self.lam is None or not rule.given:
            self.lam = rule.find(self.split.norms)
        return self.lam

    def advance(self) -> Record:
        """Train the networks, and shrink what they leave to S."""
        if not self.has_residual:
            self.train()
        self.has_residual = False
        # With λ = ∞ or at the start, S and its penalty are zero.
        charge: torch.Tensor | float = 0.0
        if self.lam is not None:
            charge = torch.nan_to_num(self.lam * self._penalty_value).cpu()
        split = self.split
        lam = self.find_lam()
        self._penalty_value = self.penalty.value_after_prox(split.norms, lam)
        sparse_share, constraint, change = split.shrink(self.penalty, lam)
        record = IterationRecord(
            iteration=len(self.history) + 1,
            objective=(split.error + charge).mean().item(),
            sparse_share=sparse_share.mean().item(),
            constraint=constraint.mean().item(),
            change=change.mean().item(),
            lam=lam.mean().item(),
            n_training=len(self.members),
        )
        if self.schedule.tol is not None:
            done = torch.minimum(constraint, change) < self.schedule.tol
            self.finished = bool(done.all())
            if bool(done.any()) and not self.finished:
                self._leave(done)
                self._keep(~done)
        return dict(record)

    def _leave(self, leaving: torch.Tensor) -> None:
        """Store the weights, λ and norms of the members that leave, given by a mask."""
        places = self.members[leaving]
        self.network.assign(places, self.trainer.network.select(leaving))
        assert self.lam is not None  # after a prox
        self.final_lam[places] = self.lam[leaving]
        if self.penalty.across_rows:
            norms = self.split.norms
            if self.final_norms is None:
                self.final_norms = norms.new_zeros(len(self.final_lam), *norms.shape[1:])
            self.final_norms[places] = norms[leaving]

    def _keep(self, mask: torch.Tensor) -> None:
        """Drop the members outside the mask."""
        kept = mask.nonzero().flatten()
        self._take_members(kept)
        self.members = self.members[kept]
        if self.rule is not None:
            self.rule = self.rule.take(kept.tolist())

    def _take_members(self, places: torch.Tensor) -> None:
        """Go on with copies of some members, which may be named several times."""
        generators = [same_generator(self.trainer.generators[k]) for k in places.tolist()]
        places = places.to(self.members.device)
        self.trainer = self.trainer.select(places, generators)
        split: Any = self.split  # held, because those of lazy rows have one member
        self.split = split.branch(places)
        if self.lam is not None:
            self.lam = self.lam[places]
        if isinstance(self._penalty_value, torch.Tensor):
            self._penalty_value = self._penalty_value[places]

    def finish(self) -> AlternatingResult:
        """Return what was found, with the weights of all members in the network."""
        self._leave(torch.ones(len(self.members), dtype=torch.bool, device="cpu"))
        self.trainer.release()
        converged = self.schedule.tol is None or self.stopped or self.finished
        return AlternatingResult(self.final_lam, self.final_norms, converged, self.history)

    def branch(self, rule: LamRule) -> Alternation:
        """Return an alternation that continues from the residual with all members for each λ."""
        other = copy.copy(self)
        n_lams = len(rule.values)
        places = torch.arange(len(self.members), device="cpu").repeat(n_lams)
        other._take_members(places)
        other.members = torch.arange(len(places), device=self.members.device)
        other.network = other.trainer.network.select(other.members)
        other.history = []
        other.rule = rule.take([i for i in range(n_lams) for _ in range(len(self.members))])
        other.final_lam = self.final_lam.repeat(n_lams)
        other.lam = other.rule.find(other.final_lam) if rule.given else None
        return other

    def state(self) -> dict[str, Any]:
        split: Any = self.split  # held, because lazy rows have no state
        norms = [] if self.final_norms is None else [self.final_norms]
        penalty_value = torch.as_tensor(self._penalty_value)
        lam: Any = self.lam  # there is one after a round
        return {
            "iteration": len(self.history),
            "history": list(self.history),
            "all_done": self.finished,
            "weights": weights_of(self.network),
            "found": copied([self.final_lam, *norms]),
            "norms": copied([split.norms] if self.penalty.across_rows else []),
            "stack": {
                "members": self.members.cpu(),
                "weights": weights_of(self.trainer.network),
                "adam": self.trainer.adam.state(),
                "generators": generator_states(self.trainer.generators),
                "tensors": copied([split.tensor, split.rest, lam, penalty_value]),
            },
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        split: Any = self.split
        device, stack = self.members.device, state["stack"]
        self.history, self.finished = list(state["history"]), state["all_done"]
        set_weights(self.network, state["weights"])
        self.final_lam, *norms = (t.to(device, copy=True) for t in state["found"])
        self.final_norms = norms[0] if norms else None
        mask = torch.isin(self.members.cpu(), stack["members"].cpu())
        if not bool(mask.all()):
            self._keep(mask)
        split = self.split
        set_weights(self.trainer.network, stack["weights"])
        self.trainer.adam.restore(stack["adam"])
        set_generators(self.trainer.generators, stack["generators"])
        matrix, *others = stack["tensors"]
        split.tensor.copy_(matrix)
        split.rest, self.lam, self._penalty_value = (t.to(device, copy=True) for t in others)
        for norms_of_split in state["norms"]:
            split.norms = norms_of_split.to(device, copy=True)


def alternate(
    network: MemberModule,
    rows: MemberRows,
    penalty: GroupPenalty,
    schedule: Schedule,
    generators: Sequence[torch.Generator],
    session: Session,
    rule: LamRule,
    *,
    adam: Mapping[str, Any] | None = None,
) -> AlternatingResult:
    """Train K members in place; see :class:`Alternation`.

    Members of lazy rows follow one another, so that one has its S in memory at a time.

    Parameters
    ----------
    session : Session
    rule : LamRule
        How λ is found.
    adam : dict, optional
        State of the optimiser to begin with.
    """
    if isinstance(rows, LazyMemberRows):
        return _one_after_another(network, rows, penalty, schedule, generators, session, rule)
    training = Alternation(network, rows, penalty, schedule, generators, rule)
    if adam is not None:
        training.trainer.adam.restore(adam)
    run(training, schedule.max_iter, session)
    result = training.finish()
    result.adam = training.trainer.adam.state
    return result


def _one_after_another(
    network: MemberModule,
    rows: LazyMemberRows,
    penalty: GroupPenalty,
    schedule: Schedule,
    generators: Sequence[torch.Generator],
    session: Session,
    rule: LamRule,
) -> AlternatingResult:
    results = []
    for k, generator in enumerate(generators):
        place = torch.tensor([k], device="cpu")
        member = network.select(place)
        mine = rule.take([k])
        training = Alternation(member, rows.member(k), penalty, schedule, [generator], mine)
        run(training, schedule.max_iter, session)
        if training.stopped:  # no member goes on for longer
            schedule = replace(schedule, max_iter=len(training.history))
        results.append(training.finish())
        network.assign(place, member)
    means = [
        {name: float(np.mean([row[name] for row in each])) for name in each[0]}
        | {"iteration": each[0]["iteration"], "n_training": len(generators)}
        for each in zip(*(result.history for result in results), strict=False)
    ]
    return AlternatingResult(torch.cat([r.lam for r in results]), None, True, means)
