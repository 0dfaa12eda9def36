"""The check of what is written and of what was read."""

from __future__ import annotations

from typing import Any

import numpy as np

from skrdae.persistence.kinds import instance
from skrdae.persistence.wrappers import ESTIMATORS

_check = instance(*ESTIMATORS)


def check_saved(estimator: Any) -> None:
    """Raise a ValueError unless an estimator is fitted, and all that it holds fits together.

    It reads attributes only, and calls a method only after checking the attributes that the method
    uses. What passes can be used: every array has a size, type and values that a fit could have
    given it.
    """
    with np.errstate(all="ignore"):
        _check(estimator, type(estimator).__name__, {})
