"""From a detector to a tree of JSON's types, and arrays beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from skrdae.model import FittedModel
from skrdae.persistence.kinds import CLASSES, MOST_OBJECTS, SCORERS, attributes, check_known
from skrdae.registry import DETECTORS

# Functions that watched a training, and a place on somebody's disk.
LEFT_OUT = {"callbacks", "checkpoint_path"}
# Values within each other. A reader counts up to three lists and objects for each.
_DEEPEST = 30


class Writer:
    """Makes a tree; the arrays are in ``arrays``, and ``device`` is that of the first model."""

    def __init__(self) -> None:
        self.arrays: dict[str, NDArray[Any]] = {}
        self.device: str | None = None
        self._depth = self._n_objects = 0

    def encode(self, value: Any, where: str) -> Any:
        """Return what stands for a value in the tree.

        Raises
        ------
        TypeError
            If nothing does.
        """
        self._depth += 1
        if self._depth > _DEEPEST:
            raise TypeError(f"{where[:200]} … is nested too deeply for a file.")
        found = self._encode(value, where)
        self._depth -= 1
        return found

    def _encode(self, value: Any, where: str) -> Any:
        if value is None or isinstance(value, bool | str):
            return value
        kind = type(value)
        if kind is int:
            if not -(2**63) <= value < 2**64:
                raise TypeError(f"{where} is a whole number of more than 64 bits.")
            return value
        if kind is float:
            return value if np.isfinite(value) else {"is": "float", "value": repr(value)}
        if kind is list:
            return [self.encode(v, f"{where}[{i}]") for i, v in enumerate(value)]
        if kind is tuple:
            return {"is": "tuple", "items": self.encode(list(value), where)}
        if kind is dict:
            items = [
                [self.encode(k, where), self.encode(v, f"{where}[{k!r}]")] for k, v in value.items()
            ]
            return {"is": "dict", "items": items}
        if isinstance(value, np.generic):
            return {"is": "scalar", "array": self._array(np.asarray(value), where)}
        if isinstance(value, np.ndarray):
            return self._array(value, where)
        if isinstance(value, torch.Tensor):
            return {"is": "tensor", "key": self._keep(value.detach().cpu().numpy())}
        if isinstance(value, torch.device):
            return {"is": "device", "name": str(value)}
        if isinstance(value, np.random.RandomState):
            state = list(value.get_state())
            return {"is": "random_state", "state": self.encode(state, where)}
        for name, scorer in SCORERS.items():
            if value is scorer:
                return {"is": "scorer", "name": name}
        if CLASSES.get(kind.__name__) is not kind:
            if DETECTORS.get(kind.__name__) is kind:
                raise ValueError(
                    f"{where} is called {kind.__name__} as another class that files hold: give it "
                    "another name."
                )
            raise TypeError(
                f"{where} is a {kind.__module__}.{kind.__qualname__}, which a file of skrdae.save "
                f"cannot hold. {_way_out(value)}"
            )
        if isinstance(value, FittedModel):
            self.device = self.device or str(value.device)
        self._n_objects += 1
        if self._n_objects > MOST_OBJECTS:
            raise TypeError(f"{where} is one of more than {MOST_OBJECTS} objects, too many.")
        return {"is": "object", "class": kind.__name__, "state": self._state(value, where)}

    def _array(self, value: NDArray[Any], where: str) -> dict[str, Any]:
        if value.dtype.kind in "OU":
            if not all(isinstance(v, str) for v in value.ravel()):
                raise TypeError(f"{where} is an array of objects, which a file cannot hold.")
            shape, items = list(value.shape), value.ravel().tolist()
            return {"is": "strings", "kind": value.dtype.kind, "shape": shape, "items": items}
        if value.dtype.kind not in "biuf" or value.dtype.itemsize > 8:
            raise TypeError(f"{where} is an array of {value.dtype}, which a file cannot hold.")
        return {"is": "array", "key": self._keep(value)}

    def _keep(self, array: NDArray[Any]) -> str:
        key = str(len(self.arrays))
        # In the processor's order of bytes, as it is read again.
        self.arrays[key] = np.array(array, array.dtype.newbyteorder("="), order="C")
        return key

    def _state(self, value: object, where: str) -> dict[str, Any]:
        found = attributes(value)
        try:
            check_known(type(value), found, where)
        except ValueError as error:
            raise TypeError(f"A file of skrdae.save cannot hold all attributes: {error}.") from None
        # Functions that watched a training are not part of what came out of it.
        plain = {
            k: None if k in LEFT_OUT else self.encode(v, f"{where}.{k}") for k, v in found.items()
        }
        if not isinstance(value, nn.Module):
            return plain
        parts: dict[str, Any] = {"parameters": value._parameters, "modules": value._modules}
        return {"plain": plain} | {
            part: {k: self.encode(v, f"{where}.{k}") for k, v in members.items()}
            for part, members in parts.items()
        }


def _way_out(value: object) -> str:
    """Return what can be done about an object that a file cannot hold."""
    if hasattr(value, "best_estimator_"):
        return "Save what the search has found: save(search.best_estimator_)."
    holds = (
        "It holds numbers, names, detectors of this package or registered by "
        "skrdae.registry.detector, and Pipeline and scalers of scikit-learn."
    )
    if hasattr(value, "transform") and not hasattr(value, "decision_function"):
        holds += (
            " Use TableEncoder, which turns the columns of a table into numbers and can be saved, "
            "or write the whole with joblib.dump."
        )
    return holds
