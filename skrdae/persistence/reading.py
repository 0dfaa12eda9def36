"""From a tree of JSON's types, and arrays beside it, to a detector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from skrdae._schema import check_names, misfit, number, text, whole
from skrdae.detectors.base import BaseTorchDetector
from skrdae.persistence.kinds import (
    CLASSES,
    KINDS,
    MOST_OBJECTS,
    SCORERS,
    Kind,
    check_columns,
    check_known,
    check_number,
)
from skrdae.persistence.writing import LEFT_OUT

# Lists and objects within each other.
_DEEPEST = 100
# An array of fixed-width text takes four bytes for each character of the longest entry, in every
# entry. It is made only if that is at most so many times the text itself.
_WIDTH = 4


class Reader:
    """Makes of a tree what it describes, and of nothing that ``kinds`` does not list.

    The result can still be anything that known names can describe. Check it before using it.

    Parameters
    ----------
    arrays : dict of ndarray
    device : torch.device
    other_sklearn : bool
        Whether another version of scikit-learn wrote it.
    """

    def __init__(
        self, arrays: dict[str, NDArray[Any]], device: torch.device, *, other_sklearn: bool
    ) -> None:
        self._arrays, self._device, self._other_sklearn = arrays, device, other_sklearn
        self.saw_sklearn = False
        self._depth = self._n_objects = 0
        #: kind of a node → the keys beside "is", and what makes of their values what it stands for
        self._kinds: dict[str, tuple[tuple[str, ...], Callable[..., Any]]] = {
            "float": (("value",), _not_finite),
            "tuple": (("items",), lambda items: tuple(self._entries(items))),
            "dict": (("items",), self._dict),
            "array": (("key",), self._take),
            "scalar": (("array",), self._scalar),
            "strings": (("kind", "shape", "items"), _strings),
            "tensor": (("key",), self._tensor),
            "device": (("name",), self._here),
            "random_state": (("state",), self._random_state),
            "scorer": (("name",), lambda name: _known(SCORERS, name)),
            "object": (("class", "state"), self._object),
        }

    def read(self, tree: Any) -> Any:
        """Return what a tree describes, which has to refer to every array."""
        found = self._decode(tree)
        if self._arrays:
            raise ValueError(f"nothing refers to {len(self._arrays)} of its arrays")
        return found

    def _decode(self, value: Any) -> Any:
        if isinstance(value, list):
            return self._entries(value)
        if not isinstance(value, dict):
            return value
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError("it is nested too deeply")
        keys, make = _known(self._kinds, value.pop("is", None))
        if tuple(value) != keys:  # in the order in which they are written
            check_names(value, keys, keys, "a node")
        found = make(*(value[key] for key in keys))
        self._depth -= 1
        return found

    def _entries(self, items: list[Any]) -> list[Any]:
        self._depth += 1
        if self._depth > _DEEPEST or not isinstance(items, list):
            raise ValueError("it is nested too deeply, or has no list where one should be")
        found = [self._decode(v) for v in items]
        self._depth -= 1
        return found

    def _dict(self, items: list[Any]) -> dict[Any, Any]:
        pairs = self._entries(items)
        if not all(type(pair) is list and len(pair) == 2 for pair in pairs):
            raise ValueError("a dict has entries that are no pairs")
        # Before they are put in a table, which some numbers would make slow.
        check_columns([key for key, _ in pairs], "a dict")
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a dict has a key twice")
        return found

    def _take(self, key: str) -> NDArray[Any]:
        # Once only, or a small file could ask for any amount of memory.
        return np.require(self._arrays.pop(key), requirements=("C", "A", "W"))

    def _scalar(self, array: Any) -> Any:
        found = self._decode(array)
        if not isinstance(found, np.ndarray) or found.ndim:
            raise ValueError("a number is an array")
        return found[()]

    def _here(self, name: str) -> torch.device:
        text(name, "the name of a device", {})
        return self._device

    def _tensor(self, key: str) -> torch.Tensor:
        return torch.from_numpy(self._take(key)).to(self._device)

    def _random_state(self, state: list[Any]) -> np.random.RandomState:
        kind, key, place, has_gauss, gauss = self._entries(state)
        # NumPy believes what it is given here.
        fits = isinstance(key, np.ndarray) and (key.dtype, key.shape) == (np.uint32, (624,))
        whole(0, 624)(place, "the place of a random generator", {})
        whole(0, 1)(has_gauss, "has_gauss of a random generator", {})
        number()(gauss, "the normal number kept by a random generator", {})
        if kind != "MT19937" or not fits:
            raise ValueError("a random generator has no state of one")
        random = np.random.RandomState()
        random.set_state((kind, key, int(place), int(has_gauss), float(gauss)))
        return random

    def _object(self, name: str, state: dict[str, Any]) -> Any:
        if name not in CLASSES:
            misfit(
                "a class",
                name,
                "one that is known (of a detector of your own, import the module that defines it "
                "first)",
            )
        cls: Any = CLASSES[name]
        self._n_objects += 1
        check_number(self._n_objects, "objects", MOST_OBJECTS)
        is_sklearn = cls.__module__.startswith("sklearn.")
        self.saw_sklearn |= is_sklearn
        made = cls.__new__(cls)
        if isinstance(made, nn.Module):
            self._fill_module(made, **state)
            return made
        check_known(cls, state, name)
        vars(made).update({k: self._decode(v) for k, v in state.items()})
        if self._other_sklearn or not is_sklearn:
            _fill_in(vars(made), KINDS[cls])
        for left_out in LEFT_OUT & {*vars(made)}:
            setattr(made, left_out, None)
        if isinstance(made, BaseTorchDetector) and made.device not in ("auto", self._device):
            made.device = str(self._device)  # what was asked for, should it be fitted again
        return made

    def _fill_module(
        self,
        module: nn.Module,
        plain: dict[str, Any],
        parameters: dict[str, Any],
        modules: dict[str, Any],
    ) -> None:
        nn.Module.__init__(module)
        check_known(type(module), plain, type(module).__name__)
        for name, value in plain.items():
            setattr(module, name, self._decode(value))
        for name, value in parameters.items():
            found = self._decode(value)
            module.register_parameter(name, nn.Parameter(found, requires_grad=False))
        for name, value in modules.items():
            module.add_module(name, self._decode(value))


def _fill_in(attributes: dict[str, Any], kind: Kind) -> None:
    """Make the attributes that a file of another version does not have."""
    missing = kind.later.keys() - attributes.keys()
    if attributes.keys().isdisjoint(kind.fitted):
        missing -= kind.fitted.keys()
    for name in missing:
        attributes[name] = kind.later[name](attributes)


def _known(names: dict[str, Any], name: object) -> Any:
    if not isinstance(name, str) or name not in names:
        misfit("a name", name, "one that is known")
    return names[name]


def _not_finite(value: str) -> float:
    return _known({"nan": np.nan, "inf": np.inf, "-inf": -np.inf}, value)


def _strings(kind: str, shape: list[int], items: list[str]) -> NDArray[Any]:
    if shape != [len(items)] or not all(type(item) is str for item in items):
        raise ValueError("an array of text has other entries than it says")
    longest, total = max(map(len, items), default=0), sum(map(len, items))
    narrow = longest * len(items) <= _WIDTH * total
    return np.array(items, dtype=str if kind == "U" and narrow else object)
