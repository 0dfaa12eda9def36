"""The alternation for several λ: what they share is trained once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from skrdae.networks.member import MemberModule
from skrdae.penalties.base import GroupPenalty
from skrdae.rows import HeldMemberRows
from skrdae.training.alternating import Alternation, Schedule
from skrdae.training.lam_rule import LamRule
from skrdae.training.rounds import Session, run


def alternate_path(
    network: MemberModule,
    rows: HeldMemberRows,
    penalty: GroupPenalty,
    schedule: Schedule,
    generators: Sequence[torch.Generator],
    rule: LamRule,
    *,
    n_at_once: int,
) -> Iterator[tuple[slice, MemberModule, torch.Tensor, torch.Tensor | None]]:
    """Make K fits for each of several λ, as ``alternate`` would one after another.

    Until the first prox λ plays no part, so that much is trained once for all. The last prox
    changes no network and is left out. Parameters not named here are those of
    :func:`~skrdae.training.alternating.alternate`.

    Parameters
    ----------
    network : MemberModule
        K members, not trained; left as they are.
    rule : LamRule
        With a value for each λ, not for each member.
    n_at_once : int
        How many λ are trained together.

    Yields
    ------
    slice
        Places in the values of `rule`.
    MemberModule
        The networks trained with those λ, all K of one λ before those of the next.
    Tensor
        As ``lam`` in :class:`~skrdae.training.alternating.AlternatingResult`, for these networks.
    Tensor or None
        As ``norms`` there.
    """
    trunk = Alternation(network, rows, penalty, schedule, generators)
    trunk.train()
    for start in range(0, len(rule.values), n_at_once):
        places = slice(start, min(start + n_at_once, len(rule.values)))
        branch = trunk.branch(rule.take(range(places.start, places.stop)))
        # The norms of groups that reach over rows come with the last prox.
        n_rounds = schedule.max_iter - (not penalty.across_rows)
        run(branch, n_rounds, Session())
        if not (penalty.across_rows or branch.finished):
            if not branch.has_residual:
                branch.trainer.train(branch.split, schedule.n_epochs)
                if not rule.given:
                    branch.find_residual()
            branch.find_lam()
        result = branch.finish()
        yield places, branch.network, result.lam, result.norms


def largest_multiple(
    network: MemberModule,
    rows: HeldMemberRows,
    penalty: GroupPenalty,
    schedule: Schedule,
    generators: Sequence[torch.Generator],
) -> float:
    """Train plain autoencoders; return how many medians the largest of the norms is.

    Returns
    -------
    float
        The most in any iteration of any member: from this multiple of the median on, no prox ever
        leaves anything. Infinite where half of the groups leave nothing.
    """
    training = Alternation(network, rows, penalty, schedule, generators)
    split: Any = training.split
    median = LamRule([1.0] * len(generators), "median")
    largest = 0.0
    for _ in range(schedule.max_iter):
        split.start_again()
        training.train()
        multiples = split.norms.flatten(1).amax(dim=1) / median.find(split.norms)
        largest = max(largest, torch.nan_to_num(multiples, nan=0.0, posinf=math.inf).max().item())
    return largest
