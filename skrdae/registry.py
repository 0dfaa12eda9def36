"""Detectors by name: what is registered can be saved, loaded and checked."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any, TypeVar, dataclass_transform

_Class = TypeVar("_Class", bound=type)

_FIELDS = "__dataclass_fields__"
#: The detectors of rows, by the names of their classes.
DETECTORS: dict[str, type] = {}


@dataclass_transform(kw_only_default=True, eq_default=False, field_specifiers=(field,))
def parameters(cls: _Class) -> _Class:
    """Make an estimator's ``__init__`` from the annotated attributes of its class.

    It is a decorator for base classes; :func:`detector` does the same for detectors. An annotation
    with a default is a keyword parameter, which ``__init__`` stores as it is, as scikit-learn wants
    it. Parameters are inherited. Attributes that `fit` sets must not be annotated like this:
    annotate them under ``if TYPE_CHECKING:``.

    Parameters
    ----------
    cls : type

    Returns
    -------
    type
        The same class, with an ``__init__``.
    """
    make: Any = dataclass(kw_only=True, eq=False, repr=False, match_args=False)
    made = make(cls)
    # A signature begins with the class's own parameters; that of a dataclass with inherited ones.
    inherited = {name for base in cls.__mro__[1:] for name in getattr(base, _FIELDS, ())}
    init, own = made.__init__, set(cls.__annotations__) - inherited
    found = list(inspect.signature(init).parameters.values())
    found.sort(key=lambda p: (p.kind is p.KEYWORD_ONLY) * (1 + (p.name not in own)))
    init.__signature__ = inspect.signature(init).replace(parameters=found)
    return made


@dataclass_transform(kw_only_default=True, eq_default=False, field_specifiers=(field,))
def detector(cls: _Class) -> _Class:
    """Make a detector's ``__init__`` from its annotated attributes, and register the class.

    It is a decorator. An annotation with a default is a keyword parameter, as in
    :func:`dataclasses.dataclass`; parameters are inherited. From then on :func:`skrdae.save` and
    :func:`skrdae.load` know the class by its name.

    Parameters
    ----------
    cls : type
        A subclass of :class:`~skrdae.detectors.base.BaseTorchDetector`.

    Returns
    -------
    type
        The same class, with an ``__init__``.

    Raises
    ------
    ValueError
        If another class is registered under the same name.

    Examples
    --------
    >>> from skrdae import RobustDeepAutoencoder
    >>> from skrdae.registry import detector
    >>> @detector
    ... class LongRobustAutoencoder(RobustDeepAutoencoder):
    ...     max_iter: int = 20  # another default for an inherited parameter
    ...     patience: int = 3  # a parameter of its own
    >>> LongRobustAutoencoder(lam=2.0, patience=5)
    LongRobustAutoencoder(lam=2.0, patience=5)
    >>> LongRobustAutoencoder().max_iter
    20
    """
    cls = parameters(cls)
    known = DETECTORS.setdefault(cls.__name__, cls)
    # A script that is imported, too, is two modules.
    modules = {known.__module__, cls.__module__}
    if known.__qualname__ != cls.__qualname__ or len(modules - {"__main__"}) > 1:
        raise ValueError(
            f"a detector is registered as {cls.__name__} already: {known.__module__}."
            f"{known.__qualname__}. Choose another name."
        )
    DETECTORS[cls.__name__] = cls
    return cls
