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
    entries = lams.ravel().tolist() if isinstance(lams, np.ndarray) else lams
    texts = [isinstance(entry, str) for entry in entries] if np.iterable(entries) else []
    if any(texts) and not all(texts):
        raise ValueError(
            f"lams must hold numbers, or multiples of the median norm, but not both; got {lams!r}."
        )
    relative = any(texts)
    try:
        if relative:
            multiples = [multiple_of_median(entry) for entry in entries]
            values = np.array([np.nan if m is None else m for m in multiples])
        else:
            values = np.asarray(lams)
            values = values.astype(float) if values.dtype.kind in "iufO" else np.empty(0)
    except (TypeError, ValueError):  # rows of several lengths, or no numbers
        values = np.empty(0)
    if values.ndim != 1 or not len(values):
        raise ValueError(
            f"lams must be a number of λ to try, or a list of at least one; got {lams!r}."
        )
    if np.isnan(values).any() or values.min() < 0:
        raise ValueError(
            "lams must hold numbers ≥ 0, or multiples of the median norm such as '1.5*median'; got "
            f"{lams!r}."
        )
    values = values.astype(np.float64)
    steps = values[1:] > values[:-1], values[1:] < values[:-1]
    if not any(step.all() for step in steps):
        raise ValueError(
            f"lams must be sorted, rising or falling, and hold no value twice; got {lams!r}."
        )
    return values, relative
