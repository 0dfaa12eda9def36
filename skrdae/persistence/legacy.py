"""Files of format 1, in which a detector had the parts of its model as attributes of its own."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

# Of detectors, from attributes of format 1 to those of the model and of its scorer; in their order.
_MODEL = {"weights": "_weights", "share": "_share", "by_vote": "_by_vote"}
_RESIDUAL = {"penalty": "_penalty", "lam": "_lam", "norms": "_norms", "scale": "_residual_scale"}
_ELBO = {
    "level": "_level",
    "likelihood": "_likelihood",
    "beta": "_beta",
    "variance": "_variance",
    "draws": "_draws",
}
_SCORERS = {
    "AnoGANDetector": ("MismatchScorer", {"level": "_level", "lam": "_lam"}),
    "LSTMRobustAutoencoder": ("ResidualScorer", _RESIDUAL),
    "RobustDeepAutoencoder": ("ResidualScorer", _RESIDUAL),
    "RobustDeepAutoencoderCV": ("ResidualScorer", _RESIDUAL),
    "RobustPCA": ("ResidualScorer", _RESIDUAL),
    "VAEDetector": ("ElboScorer", _ELBO),
}
# What is not kept any more, or follows from the rest.
_GONE: dict[str, tuple[str, ...]] = dict.fromkeys(
    [*_SCORERS, "WindowedDetector"], ("_classes", "_mu", "_sigma")
)
_GONE["RobustDeepAutoencoderCV"] += ("_chosen", "checkpoint_path", "warm_start")
_GONE["WindowedDetector"] += ("_share",)


class Upgrade:
    """Makes a tree of format 2 of one of format 1, in place; arrays that it drops are removed.

    The result is as trustworthy as the file: it is read and checked like any other.

    Parameters
    ----------
    arrays : dict of ndarray

    Attributes
    ----------
    device : str or None
        Where the first detector was.
    lost_training : bool
        Whether a state of a training is left out, because this version trains otherwise.
    """

    def __init__(self, arrays: dict[str, NDArray[Any]]) -> None:
        self._arrays = arrays
        self.device: str | None = None
        self.lost_training = False

    def apply(self, node: Any) -> None:
        """Change a node and all within it."""
        if isinstance(node, list):
            for entry in node:
                self.apply(entry)
        if not isinstance(node, dict):
            return
        if node.get("is") == "object":
            self._object(node["class"], node["state"])
        for value in node.values():
            self.apply(value)

    def _object(self, name: str, state: dict[str, Any]) -> None:
        if name == "MemberMLP":
            self._drop(state["plain"], "compiled")
        for gone in _GONE.get(name, ()):
            self._drop(state, gone)
        if name == "AnoGANDetector" and "_kept" in state:
            self._drop(state, "_kept")
            self.lost_training = True
        if name in _SCORERS and "network_" in state:
            self._fitted(name, state)

    def _fitted(self, name: str, state: dict[str, Any]) -> None:
        device = state.pop("device_")["name"]
        self.device = self.device or device
        scaler = state.pop("scaler_")
        cls, attributes = _SCORERS[name]
        scorer = {"bound": scaler["state"]["bound_"]}
        scorer |= {new: state.pop(old) for new, old in attributes.items()}
        if name == "AnoGANDetector":
            n_steps, searches = state.pop("_n_search_iter"), state.pop("_searches")
            scorer["n_search_iter"] = n_steps if searches is True else 0
        model = {"scaler": scaler, "network": state.pop("network_"), "scorer": _node(cls, scorer)}
        model |= {new: state.pop(old) for new, old in _MODEL.items()}
        state["model_"] = _node("FittedModel", model)

    def _drop(self, state: dict[str, Any], name: str) -> None:
        """Remove an attribute, which may be missing, and the arrays that it refers to."""
        waiting = [state.pop(name, None)]
        while waiting:
            node = waiting.pop()
            if isinstance(node, list):
                waiting.extend(node)
            elif isinstance(node, dict):
                if node.get("is") in ("array", "tensor"):
                    self._arrays.pop(node["key"], None)
                waiting.extend(node.values())


def _node(cls: str, state: dict[str, Any]) -> dict[str, Any]:
    return {"is": "object", "class": cls, "state": state}
