"""Detectors in files that hold numbers and names, and nothing that could run.

A file is one of safetensors: the arrays as they are, and in its header a JSON tree of everything
else. What a tree may name is listed here; a file that names anything else is refused. So a file
from a stranger can be wrong, but cannot do anything.
"""

import hashlib
import json
import warnings
from collections.abc import Callable
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import sklearn
import torch
from numpy.typing import NDArray
from sklearn import model_selection, pipeline, preprocessing
from sklearn.base import BaseEstimator
from torch import nn

from skrdae import metrics
from skrdae._device import resolve_device
from skrdae._files import write_whole
from skrdae.detectors.anogan import AnoGANDetector
from skrdae.detectors.base import BaseTorchDetector
from skrdae.detectors.lstm_robust_autoencoder import LSTMRobustAutoencoder
from skrdae.detectors.outlier_adapter import OutlierAdapter
from skrdae.detectors.robust_autoencoder import RobustDeepAutoencoder
from skrdae.detectors.robust_autoencoder_cv import RobustDeepAutoencoderCV
from skrdae.detectors.robust_pca import RobustPCA
from skrdae.detectors.streaming import Stream
from skrdae.detectors.vae import VAEDetector
from skrdae.detectors.windowed import WindowedDetector
from skrdae.networks.gan import MemberGAN
from skrdae.networks.mlp import MemberAutoencoder, MemberMLP
from skrdae.networks.recurrent import MemberRecurrentAutoencoder
from skrdae.networks.variational import MemberVAE
from skrdae.penalties import PENALTIES
from skrdae.preprocessing import ColumnScaler
from skrdae.tables import EvenSteps, TableEncoder

#: Of the files written. A reader refuses what is newer.
FORMAT = 1
_KEY = "skrdae"
# Functions that watched a training, and a place on somebody's disk.
_LEFT_OUT = {"callbacks", "checkpoint_path"}

_CLASSES: dict[str, type[Any]] = {
    c.__name__: c
    for c in (
        AnoGANDetector,
        LSTMRobustAutoencoder,
        OutlierAdapter,
        RobustDeepAutoencoder,
        RobustDeepAutoencoderCV,
        RobustPCA,
        VAEDetector,
        WindowedDetector,
        ColumnScaler,
        TableEncoder,
        EvenSteps,
        MemberAutoencoder,
        MemberGAN,
        MemberMLP,
        MemberRecurrentAutoencoder,
        MemberVAE,
        Stream,
        *(type(penalty) for penalty in PENALTIES.values()),
        model_selection.KFold,
        model_selection.StratifiedKFold,
        model_selection.ShuffleSplit,
        model_selection.StratifiedShuffleSplit,
        model_selection.TimeSeriesSplit,
        pipeline.Pipeline,
        preprocessing.MaxAbsScaler,
        preprocessing.MinMaxScaler,
        preprocessing.RobustScaler,
        preprocessing.StandardScaler,
    )
}
_SCORERS = {
    name: value
    for name, value in vars(metrics).items()
    if name.endswith("_scorer") and not name.startswith("_")
}


def save(detector: BaseEstimator, path: str | PathLike[str]) -> None:
    """Write a fitted detector to a file.

    The file is safetensors: arrays and JSON, no pickle. It is written beside its place and moved
    there when it is whole, so that a failure leaves what was there before. ``callbacks`` and
    ``checkpoint_path`` are left out.

    Parameters
    ----------
    detector : estimator
        A detector of this package, alone or at the end of a
        :class:`~sklearn.pipeline.Pipeline` after ``StandardScaler``, ``MinMaxScaler``,
        ``MaxAbsScaler``, ``RobustScaler`` or ``TableEncoder``. Detectors may hold others of this
        package.
    path : str or path-like
        Of the file.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the detector is not fitted.
    TypeError
        If it holds something that such a file cannot: a pythresh object, a detector of another
        package, a ``scoring`` of your own. The message says where.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from skrdae import RobustDeepAutoencoder, load, save
    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> detector = RobustDeepAutoencoder(random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(detector, os.path.join(folder, "detector.safetensors"))
    ...     again = load(os.path.join(folder, "detector.safetensors"))
    >>> np.array_equal(again.decision_function(X), detector.decision_function(X))
    True
    """
    save_bytes = _safetensors().numpy.save
    sklearn.utils.validation.check_is_fitted(detector)
    writer = _Writer()
    tree = json.dumps(writer.encode(detector, type(detector).__name__), ensure_ascii=False)
    names = ("skrdae", "torch", "scikit-learn", "numpy")
    header: dict[str, Any] = {
        "format": FORMAT,
        "versions": {name: version(name) for name in names},
        "tree": tree,
    }
    header["digest"] = _digest(header, writer.arrays)
    # In one entry, because the library shuffles several.
    data = save_bytes(writer.arrays, {_KEY: json.dumps(header)})
    write_whole(path, data)


def load(path: str | PathLike[str], *, device: str | torch.device = "auto") -> Any:
    """Read a detector that :func:`save` wrote.

    Parameters
    ----------
    path : str or path-like
    device : str or torch.device, default="auto"
        Where it scores, as the parameter `device` of the detectors.

    Returns
    -------
    estimator
        It scores as the one that was saved, to the last bit on the same machine and device.

    Raises
    ------
    ValueError
        If the file is not one of :func:`save`'s, is damaged, was written by a later version, or
        names anything that this one does not know. Nothing of a file is ever executed.
    OSError
        If it cannot be read.
    """
    safetensors = _safetensors()
    device = resolve_device(device)
    path = Path(path)
    with path.open("rb"):  # a folder, or no file at all, is an OSError
        pass
    try:
        with safetensors.safe_open(str(path), framework="np") as file:
            metadata = file.metadata() or {}
            keys = list(file.keys())
            arrays = {key: file.get_tensor(key) for key in keys}
        header = json.loads(metadata[_KEY])
        found, digest = header["format"], header.pop("digest")
        is_whole = digest == _digest(header, arrays)
    except Exception as error:  # the library's own, a missing key, JSON
        raise ValueError(
            f"{path} is not a file written by skrdae.save, or it is damaged: {error}"
        ) from error
    if found != FORMAT:
        raise ValueError(
            f"{path} has format {found!r}, written with {header.get('versions')}; this version of "
            f"skrdae reads format {FORMAT}. Install the one that wrote it, or a later one."
        )
    if not is_whole:
        raise ValueError(f"{path} is damaged: its content does not match its checksum.")
    try:
        reader = _Reader(arrays, device)
        detector = reader.decode(json.loads(header["tree"]))
        if not isinstance(detector, BaseEstimator):
            raise TypeError(f"it describes a {type(detector).__name__}")
        written = header["versions"]["scikit-learn"]
    except Exception as error:  # whatever a tree leads to that no writer made
        raise ValueError(f"{path} does not describe a detector: {error!r}") from error
    if reader.saw_sklearn and written != sklearn.__version__:
        warnings.warn(
            f"{path} holds estimators of scikit-learn {written}; here is {sklearn.__version__}. "
            "Check their results.",
            UserWarning,
            stacklevel=2,
        )
    return detector


def _safetensors() -> ModuleType:
    try:
        import safetensors
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(
            "skrdae.save and skrdae.load need safetensors: pip install 'skrdae[export]'."
        ) from error
    return safetensors


def _digest(header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> str:
    found = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for key in sorted(arrays):
        array = arrays[key]
        found.update(f"{key} {array.dtype.str} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


class _Writer:
    """Makes a tree of JSON's types, and arrays beside it."""

    def __init__(self) -> None:
        self.arrays: dict[str, NDArray[Any]] = {}

    def encode(self, value: Any, where: str) -> Any:
        if value is None or isinstance(value, bool | str):
            return value
        kind = type(value)
        if kind is int:
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
        for name, scorer in _SCORERS.items():
            if value is scorer:
                return {"is": "scorer", "name": name}
        if _CLASSES.get(kind.__name__) is not kind:
            raise TypeError(
                f"{where} is a {kind.__module__}.{kind.__qualname__}, which a file of skrdae.save "
                "cannot hold. It holds numbers, names, detectors of this package, and Pipeline and "
                "scalers of scikit-learn."
            )
        return {"is": "object", "class": kind.__name__, "state": self._state(value, where)}

    def _array(self, value: NDArray[Any], where: str) -> dict[str, Any]:
        if value.dtype.kind in "OU":
            if not all(isinstance(v, str) for v in value.ravel()):
                raise TypeError(f"{where} is an array of objects, which a file cannot hold.")
            shape, items = list(value.shape), value.ravel().tolist()
            return {"is": "strings", "kind": value.dtype.kind, "shape": shape, "items": items}
        if value.dtype.kind in "mM":
            key = self._keep(value.view(np.int64))
            return {"is": "array", "key": key, "dtype": value.dtype.str}
        if value.dtype.kind not in "biuf" or value.dtype.itemsize > 8:
            raise TypeError(f"{where} is an array of {value.dtype}, which a file cannot hold.")
        return {"is": "array", "key": self._keep(value)}

    def _keep(self, array: NDArray[Any]) -> str:
        key = str(len(self.arrays))
        # In the processor's order of bytes, as it is read again.
        self.arrays[key] = np.array(array, array.dtype.newbyteorder("="), order="C")
        return key

    def _state(self, value: object, where: str) -> dict[str, Any]:
        if not isinstance(value, nn.Module):
            # Functions that watched a training are not part of what came out of it.
            state = {k: None if k in _LEFT_OUT else v for k, v in vars(value).items()}
            return {k: self.encode(v, f"{where}.{k}") for k, v in state.items()}
        plain = {k: v for k, v in vars(value).items() if not k.startswith("_") and k != "training"}
        parts = {"plain": plain, "parameters": value._parameters, "modules": value._modules}
        return {
            part: {k: self.encode(v, f"{where}.{k}") for k, v in members.items()}
            for part, members in parts.items()
        }


class _Reader:
    """Makes of a tree what it describes, and of nothing that it does not list."""

    def __init__(self, arrays: dict[str, NDArray[Any]], device: torch.device) -> None:
        self._arrays, self._device = arrays, device
        self.saw_sklearn = False
        self._kinds: dict[str, Callable[[dict[str, Any]], Any]] = {
            "float": lambda value: float(value["value"]),
            "tuple": lambda value: tuple(self.decode(value["items"])),
            "dict": lambda value: {self.decode(k): self.decode(v) for k, v in value["items"]},
            "array": self._array,
            "scalar": lambda value: self.decode(value["array"])[()],
            "strings": self._strings,
            "tensor": lambda value: self._tensor(value).to(self._device),
            "device": lambda value: self._device,
            "random_state": self._random_state,
            "scorer": lambda value: _SCORERS[value["name"]],
            "object": self._object,
        }

    def decode(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.decode(v) for v in value]
        return self._kinds[value["is"]](value) if isinstance(value, dict) else value

    def _take(self, value: dict[str, Any]) -> NDArray[Any]:
        # Once only, or a small file could ask for any amount of memory.
        return np.array(self._arrays.pop(value["key"]))

    def _array(self, value: dict[str, Any]) -> NDArray[Any]:
        found = self._take(value)
        if "dtype" not in value:
            return found
        dtype = np.dtype(value["dtype"])
        if dtype.kind not in "mM":
            raise ValueError(f"an array of {dtype}")
        return found.view(dtype)

    def _tensor(self, value: dict[str, Any]) -> torch.Tensor:
        return torch.from_numpy(self._take(value))

    def _strings(self, value: dict[str, Any]) -> NDArray[Any]:
        items = [str(v) for v in value["items"]]
        if (
            value["kind"] == "O"
            or sum(map(len, items)) < max(map(len, items), default=0) * len(items) / 64
        ):
            return np.array(items, dtype=object).reshape(value["shape"])
        return np.array(items, dtype=str).reshape(value["shape"])

    def _random_state(self, value: dict[str, Any]) -> np.random.RandomState:
        kind, key, place, has_gauss, gauss = self.decode(value["state"])
        # NumPy believes what it is given here.
        fits = isinstance(key, np.ndarray) and (key.dtype, key.shape) == (np.uint32, (624,))
        if kind != "MT19937" or not fits or not 0 <= place <= 624 or has_gauss not in (0, 1):
            raise ValueError("no state of a random generator")
        random = np.random.RandomState()
        random.set_state((kind, key, int(place), int(has_gauss), float(gauss)))
        return random

    def _object(self, value: dict[str, Any]) -> Any:
        cls: Any = _CLASSES[value["class"]]
        self.saw_sklearn |= cls.__module__.startswith("sklearn.")
        made = cls.__new__(cls)
        if isinstance(made, nn.Module):
            self._fill_module(made, value["state"])
        else:
            vars(made).update({k: self.decode(v) for k, v in value["state"].items()})
        if isinstance(made, pipeline.Pipeline) and made.memory is not None:
            raise ValueError("a pipeline with a cache")
        for name in _LEFT_OUT & {*vars(made)}:
            setattr(made, name, None)
        if isinstance(made, BaseTorchDetector) and made.device not in ("auto", self._device):
            made.device = str(self._device)  # what was asked for, should it be fitted again
        return made

    def _fill_module(self, module: nn.Module, state: dict[str, Any]) -> None:
        nn.Module.__init__(module)
        for name, value in state["plain"].items():
            setattr(module, name, self.decode(value))
        for name, value in state["parameters"].items():
            parameter = nn.Parameter(self._tensor(value).to(self._device), requires_grad=False)
            module.register_parameter(name, parameter)
        for name, value in state["modules"].items():
            module.add_module(name, self.decode(value))
