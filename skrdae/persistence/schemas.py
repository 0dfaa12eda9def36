"""The check of what is written and of what was read."""

from typing import Any

import numpy as np

from skrdae.persistence.kinds import instance
from skrdae.persistence.wrappers import ESTIMATORS

_check = instance(*ESTIMATORS)


def check_saved(estimator: Any) -> None:
    """Raise a ValueError unless an estimator is fitted, and all that it holds fits together.

    It looks at attributes alone and calls no method before it has seen those that the method goes
    by. What passes it can be used: every array has the size, type and values that a fit would
    have given it, as far as an array can tell.
    """
    with np.errstate(all="ignore"):
        _check(estimator, type(estimator).__name__, {})
