"""λ as a parameter: a number, or a multiple of the median norm such as ``"1.5*median"``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from skrdae._typing import FloatArray
from skrdae.training.lam_rule import LamRule

_MULTIPLE = re.compile(r"(?:([^*]+)\*)?\s*median\s*")


def multiple_of_median(lam: object) -> float | None:
    """Return 1.5 for ``"1.5*median"``, and None for anything that is no such string."""
    match = _MULTIPLE.fullmatch(lam) if isinstance(lam, str) else None
    if match is None:
        return None
    try:
        multiple = float(match[1] or 1)
    except ValueError:
        return None
    return multiple if 0 <= multiple < np.inf else None


def lam_rule(lams: Sequence[float | str]) -> LamRule:
    """Return the rule of a λ for each member: either numbers, or multiples of the median."""
    multiples = [multiple for lam in lams if (multiple := multiple_of_median(lam)) is not None]
    return LamRule(multiples, "median") if multiples else LamRule([float(lam) for lam in lams])


def as_multiple(multiple: float) -> str:
    """Return the string that stands for a multiple of the median."""
    return f"{float(multiple)!r}*median"


def check_lam(lam: object) -> None:
    """Raise if a string is neither ``"auto"`` nor a multiple of the median."""
    if isinstance(lam, str) and lam != "auto" and multiple_of_median(lam) is None:
        raise ValueError(
            "lam must be a number ≥ 0, 'auto', or a multiple of the median norm such as "
            f"'1.5*median'; got {lam!r}."
        )


def lams_of(lams: Any) -> tuple[FloatArray, bool]:
    """Return the values of a list of λ, and whether they are multiples of the median."""
    try:
        values = np.asarray(lams)
    except ValueError:  # rows of several lengths
        values = np.empty(0)
    relative = values.ndim == 1 and values.dtype.kind in "UO" and len(values) > 0
    if relative:
        multiples = [multiple_of_median(value) for value in values.tolist()]
        values = np.array([np.nan if m is None else m for m in multiples])
    if values.ndim != 1 or not len(values) or values.dtype.kind not in "iuf":
        raise ValueError(
            f"lams must be a number of λ to try, or a list of at least one; got {lams!r}."
        )
    if np.isnan(values).any() or values.min() < 0:
        raise ValueError(
            "lams must hold numbers ≥ 0, or multiples of the median norm such as '1.5*median', but "
            f"not both; got {lams!r}."
        )
    values = values.astype(np.float64)
    steps = values[1:] > values[:-1], values[1:] < values[:-1]
    if not any(step.all() for step in steps):
        raise ValueError(
            f"lams must be sorted, rising or falling, and hold no value twice; got {lams!r}."
        )
    return values, relative
