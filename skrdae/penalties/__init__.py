"""Penalties Ω on the sparse part S: their value, their proximal operator, their largest λ."""

from typing import Literal, TypeAlias

from skrdae.penalties.base import GroupPenalty
from skrdae.penalties.l1 import L1
from skrdae.penalties.l20 import L20
from skrdae.penalties.l21 import L21, L21Features

__all__ = [
    "L1",
    "L20",
    "L21",
    "PENALTIES",
    "GroupPenalty",
    "L21Features",
    "PenaltyLike",
    "penalty_of",
]

#: What a detector's ``penalty`` parameter takes.
PenaltyLike: TypeAlias = Literal["l21", "l20", "l1", "l21_features"] | GroupPenalty

#: The penalties by the name that a detector's ``penalty`` parameter gives them.
PENALTIES: dict[str, GroupPenalty] = {
    "l1": L1(),
    "l21": L21(),
    "l21_features": L21Features(),
    "l20": L20(),
}


def penalty_of(penalty: str | GroupPenalty) -> GroupPenalty:
    """Return the penalty that a detector's ``penalty`` parameter names, or is."""
    return PENALTIES[penalty] if isinstance(penalty, str) else penalty
