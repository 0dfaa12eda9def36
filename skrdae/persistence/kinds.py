"""What a file may name, and how the attributes of what it names are checked.

:data:`KINDS` is filled by the modules beside this one. A class that is not in it can neither be
written nor read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import nn

import skrdae.metrics as metrics  # not by way of the lazy package
from skrdae._schema import (
    LARGEST_OF_DATA,
    Check,
    Sizes,
    anything,
    array,
    check_names,
    choice,
    either,
    misfit,
    one_line,
    record,
)
from skrdae.detectors.base import BaseTorchDetector
from skrdae.penalties import PENALTIES
from skrdae.registry import DETECTORS
from skrdae.thresholds import PeaksOverThreshold

#: Making one takes longer than reading it. Ordinary files have some dozens.
MOST_ARRAYS, MOST_OBJECTS = 50_000, 1000
# Characters in the name of a column. With each category it becomes the name of another column.
_LONGEST_NAME = 1000
# Numbers can be chosen so that a dict of them is slow. This does not work with small numbers, and
# does not matter with few.
_SMALL, _FEW = 2**16, 10_000


class Kind(NamedTuple):
    """What the attributes of a class's instances may be.

    Attributes
    ----------
    fields : dict of checks
        Of what is always there; of an estimator, its parameters.
    fitted : dict of checks
        Of what an estimator has from `fit` on: all of it or nothing.
    extra : dict of checks
        Of what may be there besides.
    whole : callable
        What the attributes have to do with each other, checked when each is right in itself.
    settings : callable
        The estimator's own check of its parameters.
    later : dict of callables
        How to make attributes that files of earlier versions do not have, from those that they
        have; of scikit-learn's classes, what files of its other versions do not have.
    """

    fields: Mapping[str, Check] = {}
    fitted: Mapping[str, Check] = {}
    extra: Mapping[str, Check] = {}
    whole: Check = anything
    settings: Callable[[Any], object] = bool
    later: Mapping[str, Callable[[dict[str, Any]], Any]] = {}


class _Kinds(dict[type, Kind]):
    """The kinds by class; makes the classes known by name."""

    def __setitem__(self, cls: type, kind: Kind) -> None:
        super().__setitem__(cls, kind)
        CLASSES[cls.__name__] = cls


#: What a file may name.
CLASSES: dict[str, type] = {}
KINDS = _Kinds()
SCORERS = {
    name: value
    for name, value in vars(metrics).items()
    if name.endswith("_scorer") and not name.startswith("_")
}

# What set_output leaves on an estimator.
_OUTPUT = {
    "_sklearn_output_config": record(
        {"transform": choice(None, "default", "pandas", "polars")},
    )
}


# What networks have that no file holds; the template is made anew, see `templates`.
_NOT_OF_NETWORKS = {"training", "template"}


def attributes(value: Any) -> dict[str, Any]:
    """Return the attributes of an object; of a network, those beside weights and parts."""
    if is_dataclass(value) and not isinstance(value, BaseEstimator | nn.Module):
        # Not `vars`: a model that was unpickled unpacks itself when it is asked, and what others
        # keep for speed is made anew.
        return {field.name: getattr(value, field.name) for field in fields(value)}
    found = vars(value)
    if not isinstance(value, nn.Module):
        return found
    return {k: v for k, v in found.items() if not k.startswith("_") and k not in _NOT_OF_NETWORKS}


def is_detector(cls: type) -> bool:
    """Whether a class is a detector of rows that is registered."""
    return DETECTORS.get(cls.__name__) is cls and issubclass(cls, BaseTorchDetector)


def check_number(n: int, what: str, most: int) -> None:
    """Raise if there are more of something than a detector has."""
    if n > most:
        raise ValueError(f"it has {n} {what}, more than the {most} that a file may have")


def check_known(cls: type, names: Collection[str], where: str) -> None:
    """Raise unless all names are those of attributes that instances of a class may have."""
    kind = KINDS[cls]
    check_names(names, (), {*kind.fields, *kind.fitted, *kind.extra, *_OUTPUT}, where)


def _wanted(cls: type) -> str:
    return "a registered detector" if cls is BaseTorchDetector else f"a {cls.__name__}"


def instance(*classes: type, fitted: bool = True) -> Check:
    """Return a check of an object and all that it holds.

    Parameters
    ----------
    *classes : type
        Of which it may be, not of their subclasses; ``BaseTorchDetector`` stands for every
        detector of rows that is registered.
    fitted : bool, default=True
        Whether an estimator has to be.
    """

    def check(value: Any, where: str, sizes: Sizes) -> None:
        known_here = BaseTorchDetector in classes and is_detector(type(value))
        if type(value) not in classes and not known_here:
            misfit(where, value, " or ".join(sorted(map(_wanted, classes))))
        kind, found = KINDS[type(value)], attributes(value)
        # An estimator counts its own members and features.
        is_estimator = isinstance(value, BaseEstimator)
        sizes = {} if is_estimator else sizes
        is_fitted = not found.keys().isdisjoint(kind.fitted)
        if kind.fitted and fitted and not is_fitted:
            raise ValueError(f"{where} is not fitted")
        required = {**kind.fields, **(kind.fitted if is_fitted else {})}
        known = {
            **required,
            **(kind.extra if is_fitted or not kind.fitted else {}),
            **(_OUTPUT if is_estimator else {}),
        }
        check_names(found, required, known, where)
        for name, one in known.items():
            if name in found:
                one(found[name], f"{where}.{name}", sizes)
        try:
            kind.settings(value)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{where} has a wrong parameter: {one_line(error)}") from error
        if is_fitted or not kind.fitted:
            kind.whole(value, where, sizes)

    return check


def of_data(
    dtypes: type | Collection[type],
    *shape: int | str,
    low: float = -LARGEST_OF_DATA,
    **options: bool,
) -> Check:
    """Return a check of an array of numbers in the units of somebody's data."""
    return array(dtypes, *shape, low=low, high=LARGEST_OF_DATA, **options)


# -------------------------------------------------------------------------------- parameters


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str | np.generic)


def simple(value: Any, where: str, sizes: Sizes) -> None:
    """Check that a value is None, a number, text, or a list, tuple or array of such."""
    if isinstance(value, list | tuple):
        for place, entry in enumerate(value):
            simple(entry, f"{where}[{place}]", sizes)
    elif isinstance(value, np.ndarray):
        # If one axis is empty, another may have any length, and looping over it would not end.
        if value.ndim > 1 and not value.size:
            misfit(where, value, "an array with entries, or of one axis")
    elif not _is_plain(value):
        misfit(where, value, "a number, text, or a list of such")


def of_type(kind: type) -> Check:
    """Return a check of a value's type alone."""

    def check(value: Any, where: str, sizes: Sizes) -> None:
        if not isinstance(value, kind):
            misfit(where, value, f"a {kind.__name__}")

    return check


def _scorer(value: Any, where: str, sizes: Sizes) -> None:
    if not any(value is scorer for scorer in SCORERS.values()):
        misfit(where, value, "a scorer of skrdae.metrics")


PARAMETERS = {
    # A file holds None, whatever they were.
    "callbacks": anything,
    "checkpoint_path": anything,
    "contamination": either(simple, instance(PeaksOverThreshold, fitted=False)),
    "device": either(of_type(torch.device), of_type(str)),
    "penalty": either(instance(*map(type, PENALTIES.values())), choice(*PENALTIES)),
    "random_state": either(of_type(np.random.RandomState), simple),
    "scoring": either(_scorer, simple),
}


def parameters(cls: Any, **checks: Check) -> dict[str, Check]:
    """Return checks of the parameters of an estimator's class.

    They look at types only; the class's own check looks at values.
    """
    known = PARAMETERS | checks
    return {name: known.get(name, simple) for name in cls._get_param_names()}


# ------------------------------------------------------------------------------ names of columns


def check_columns(names: Collection[Any], where: str) -> None:
    """Raise unless values can be names of columns, and a dict of them can be made quickly."""
    if all(type(name) is str and len(name) <= _LONGEST_NAME for name in names):
        return
    small = max(_SMALL, 2 * len(names))
    n_odd = 0
    for name in names:
        parts = name if type(name) is tuple else (name,)
        if not all(map(_is_plain, parts)):
            misfit(f"a name in {where}", name, "text or a number")
        if any(isinstance(part, str) and len(part) > _LONGEST_NAME for part in parts):
            raise ValueError(f"{where} holds a name of more than {_LONGEST_NAME} characters")
        is_text = all(isinstance(part, str) for part in parts)
        n_odd += not (is_text or (type(name) is int and 0 <= name < small))
    if n_odd > _FEW:
        raise ValueError(f"{where} holds {n_odd} names that are neither text nor small numbers")


def column_names(length: str) -> Check:
    """Return a check of an array of names that are text, and of a length with a name."""

    def check(value: Any, where: str, sizes: Sizes) -> None:
        is_text = isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype == object
        if not is_text or not all(isinstance(name, str) for name in value):
            misfit(where, value, "an array of text")
        if sizes.setdefault(length, len(value)) != len(value):
            misfit(where, value, f"one of {sizes[length]} names")
        check_columns(value, where)

    return check
