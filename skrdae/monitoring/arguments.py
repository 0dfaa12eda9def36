"""What a monitor's arguments may be."""

from __future__ import annotations

import unicodedata
from numbers import Integral, Real

import numpy as np

from skrdae._typing import FloatArray


def is_number(value: object) -> bool:
    """Say whether a value is a finite number.

    Parameters
    ----------
    value : object

    Returns
    -------
    bool
    """
    # Infinity times zero is NaN, which differs from itself.
    return isinstance(value, Real) and not isinstance(value, bool) and value * 0 == 0


def check_no_labels(name: str, scores: FloatArray) -> None:
    """Raise if labels stand where scores should be.

    Parameters
    ----------
    name : str
        Of the argument.
    scores : ndarray

    Raises
    ------
    ValueError
        If there are two values alone, and they are those of labels.
    """
    found = np.unique(scores)
    if found.tolist() in ([0.0, 1.0], [-1.0, 1.0]):
        raise ValueError(
            f"{name} holds labels ({found[0]:.0f} and {found[1]:.0f} alone) in place of scores: "
            "pass what decision_function returns, not what predict does."
        )


def check_arguments(
    window_size: int, drift: str, drift_limit: float | None, rate_limit: float | None, name: str
) -> None:
    """Raise if an argument of a monitor is not as it should be.

    Parameters
    ----------
    window_size, drift, drift_limit, rate_limit, name
        See :class:`Monitor`.

    Raises
    ------
    ValueError, TypeError
        It names the argument, what is allowed, and what came.
    """
    # Integral is for NumPy's; mypy does not know that int is one.
    if not isinstance(window_size, int | Integral) or isinstance(window_size, bool):
        raise TypeError(f"window_size must be a number of rows; got {window_size!r}.")
    if window_size < 50:
        raise ValueError(f"window_size must be at least 50; got {window_size}.")
    if drift not in ("psi", "ks"):
        raise ValueError(f"drift must be 'psi' or 'ks'; got {drift!r}.")
    for parameter, value in (("drift_limit", drift_limit), ("rate_limit", rate_limit)):
        if value is not None and not (is_number(value) and value > 0):
            raise ValueError(f"{parameter} must be a number above 0; got {value!r}.")
    if rate_limit is not None and rate_limit >= 1:
        raise ValueError(f"rate_limit must be a share below 1; got {rate_limit!r}.")
    if drift == "ks" and drift_limit is not None and drift_limit >= 1:
        raise ValueError(f"drift_limit is a p-value, below 1; got {drift_limit!r}.")
    if not isinstance(name, str) or not name:
        raise TypeError(f"name must be a text; got {name!r}.")
    wrong = [c for c in name if unicodedata.category(c) in ("Cc", "Cs")]
    if wrong:
        raise ValueError(
            "name must not hold control characters or surrogates, which logs, metrics and requests "
            f"cannot carry; got {wrong[0]!r} in {name!r}."
        )
