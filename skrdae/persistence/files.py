"""``save`` and ``load``."""

from __future__ import annotations

import hashlib
import json
import warnings
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import sklearn
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from skrdae._device import device_if_there, resolve_device
from skrdae._files import write_whole
from skrdae._schema import check_text, one_line, parse_json, shortened, text
from skrdae._version import __version__
from skrdae.persistence.detectors import learn_detectors
from skrdae.persistence.kinds import MOST_ARRAYS, check_number
from skrdae.persistence.legacy import Upgrade
from skrdae.persistence.reading import Reader
from skrdae.persistence.wrappers import check_saved
from skrdae.persistence.writing import Writer

#: Of the files written. A reader refuses what is newer.
FORMAT = 2
# Of the files that are read.
_FORMATS = (1, FORMAT)
_KEY = "skrdae"
# The header of a file of safetensors may be this long, and its length stands before it.
_LONGEST_HEADER, _PREFIX = 100_000_000, 8


def save(detector: BaseEstimator, path: str | PathLike[str]) -> None:
    """Write a fitted detector to a file.

    The file is safetensors: arrays and JSON, no pickle. It is written beside its place and moved
    there when it is whole, so that a failure leaves what was there before. ``callbacks`` and
    ``checkpoint_path`` are left out.

    Parameters
    ----------
    detector : estimator
        A detector of this package, or one of yours that is registered with
        ``skrdae.registry.detector`` and derives from ``BaseRobustAutoencoder``; alone or at the
        end of a
        :class:`~sklearn.pipeline.Pipeline` after ``StandardScaler``, ``MinMaxScaler``,
        ``MaxAbsScaler``, ``RobustScaler``, ``TableEncoder`` or ``EvenSteps``. A detector inside a
        ``WindowedDetector`` or an ``OutlierAdapter`` has to be one of these, too.
    path : str or path-like
        Of the file.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the detector is not fitted.
    TypeError
        If it holds something that such a file cannot: a pythresh object, a detector of another
        package, a ``scoring`` of your own, an attribute of your own. The message says where.
    ValueError
        If its attributes do not fit together, so that :func:`load` would refuse the file: one was
        changed after the fit, or a parameter was set to something that it may not be; of a
        detector of your own, to something that stands for another network.
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
    learn_detectors()
    sklearn.utils.validation.check_is_fitted(detector)
    writer = Writer()
    tree = json.dumps(writer.encode(detector, type(detector).__name__), ensure_ascii=False)
    try:
        check_saved(detector)
        check_text(tree)
        check_number(len(writer.arrays), "arrays", MOST_ARRAYS)
    except ValueError as error:
        raise ValueError(f"This detector cannot be saved: {str(error).rstrip('.')}.") from error
    names = ("torch", "scikit-learn", "numpy")
    header: dict[str, Any] = {
        "format": FORMAT,
        "versions": {"skrdae": __version__} | {name: version(name) for name in names},
        "device": writer.device or "cpu",
        "tree": tree,
    }
    header["digest"] = _digest(header, writer.arrays)
    # In one entry, because the library shuffles several.
    data = save_bytes(writer.arrays, {_KEY: json.dumps(header)})
    if int.from_bytes(data[:_PREFIX], "little") > _LONGEST_HEADER:
        raise ValueError("The names and other texts of the detector are too long for a file.")
    write_whole(path, data)


def load(path: str | PathLike[str], *, device: str | torch.device = "auto") -> Any:
    """Read a detector that :func:`save` wrote.

    Parameters
    ----------
    path : str or path-like
    device : str or torch.device, default="auto"
        The device to score on. ``"auto"`` is the device it was saved on, if that is available, else
        the CPU.

    Returns
    -------
    estimator
        The detector. On the same machine and device its scores are bit for bit those of the
        detector that was saved.

    Raises
    ------
    ValueError
        If the file is not one of :func:`save`'s, is damaged, was written by a later version, names
        anything that is not known here (import the module of a detector of your own first), or
        holds attributes that do not fit together. Nothing of a file is ever executed, and reading
        one takes memory and time in proportion to its length.
    OSError
        If it cannot be read.

    Warns
    -----
    UserWarning
        If it holds estimators of another version of scikit-learn, or what ``warm_start`` of an
        ``AnoGANDetector`` of version 0.1 would have gone on from.
    """
    safetensors = _safetensors()
    chosen = None if device == "auto" else resolve_device(device)
    path = Path(path)
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(f"{path} is no file but a pipe or a device.")
    with path.open("rb"):  # a folder, or no file at all, is an OSError
        pass
    try:
        with safetensors.safe_open(str(path), framework="np") as file:
            metadata = file.metadata() or {}
            keys = list(file.keys())
            check_number(len(keys), "arrays", MOST_ARRAYS)
            arrays = {key: file.get_tensor(key) for key in keys}
        header = parse_json(metadata.pop(_KEY))
        found, digest = header["format"], header.pop("digest")
        is_whole = digest == _digest(header, arrays)
    except MemoryError:
        raise
    except Exception as error:  # the library's own, a missing key, JSON
        raise ValueError(
            f"{path} is not a file written by skrdae.save, or it is damaged: {one_line(error)}"
        ) from error
    if type(found) is not int or found not in _FORMATS:
        raise ValueError(
            f"{path} has format {_told(found)}, written with {_told(header.get('versions'))}; this "
            f"version of skrdae reads formats {_FORMATS[0]} and {FORMAT}. Install the one that "
            "wrote it, or a later one."
        )
    if not is_whole:
        raise ValueError(f"{path} is damaged: its content does not match its checksum.")
    try:
        written = _sklearn_of(header)
        changed = written != sklearn.__version__
        tree = parse_json(header.pop("tree"))
        upgrade = Upgrade(arrays)
        if found < FORMAT:
            upgrade.apply(tree)
        place = upgrade.device if found < FORMAT else header["device"]
        text(place or "cpu", "the device", {})
        here = device_if_there(place or "cpu") if chosen is None else chosen
        learn_detectors()
        reader = Reader(arrays, here, other_sklearn=changed)
        detector = reader.read(tree)
        check_saved(detector)
    except MemoryError:
        raise
    except Exception as error:  # whatever a tree leads to that no writer made
        told = one_line(error) if isinstance(error, ValueError) else _told(error)
        raise ValueError(f"{path} does not describe a detector: {told}") from error
    if reader.saw_sklearn and changed:
        warnings.warn(
            f"{path} holds estimators of scikit-learn {_told(written)}; here is "
            f"{sklearn.__version__}. Check their results.",
            UserWarning,
            stacklevel=2,
        )
    if upgrade.lost_training:
        warnings.warn(
            f"{path} holds a training of AnoGANDetector by an earlier version of skrdae, which "
            "cannot go on here: with warm_start=True the next fit begins anew.",
            UserWarning,
            stacklevel=2,
        )
    return detector


def _sklearn_of(header: dict[str, Any]) -> str:
    """Return the version of scikit-learn that a file was written with."""
    versions = header.get("versions")
    found = versions.get("scikit-learn") if isinstance(versions, dict) else None
    text(found, "the version of scikit-learn", {})
    return str(found)


def _told(value: object) -> str:
    return shortened(value if isinstance(value, str) else repr(value), 200)


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
        array = np.ascontiguousarray(arrays[key])
        found.update(f"{key} {arrays[key].dtype.str} {arrays[key].shape}".encode())
        if array.size:  # a view of bytes, not a copy
            found.update(array.reshape(-1).view(np.uint8).data)
    return found.hexdigest()
