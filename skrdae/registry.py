"""Detectors by name: what is registered can be saved, loaded and checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar, dataclass_transform

_Class = TypeVar("_Class", bound=type)

#: The detectors of rows, by the names of their classes.
DETECTORS: dict[str, type] = {}


@dataclass_transform(kw_only_default=True, eq_default=False, field_specifiers=(field,))
def parameters(cls: _Class) -> _Class:
    """Make an estimator's ``__init__`` of the annotated attributes of its class, as a decorator.

    An annotation with a default is a keyword parameter, which ``__init__`` stores as it is, as
    scikit-learn wants it. Parameters are inherited. Attributes that `fit` sets are annotated in
    classes without this decorator, or not at all.
    """
    make: Any = dataclass(kw_only=True, eq=False, repr=False, match_args=False)
    return make(cls)


@dataclass_transform(kw_only_default=True, eq_default=False, field_specifiers=(field,))
def detector(cls: _Class) -> _Class:
    """Make the parameters of a detector and register it, as a decorator.

    From then on :func:`skrdae.save` and :func:`skrdae.load` know the class by its name.

    Raises
    ------
    ValueError
        If another class has the name.
    """
    cls = parameters(cls)
    known = DETECTORS.setdefault(cls.__name__, cls)
    if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
        raise ValueError(
            f"a detector is registered as {cls.__name__} already: {known.__module__}."
            f"{known.__qualname__}. Choose another name."
        )
    DETECTORS[cls.__name__] = cls
    return cls
