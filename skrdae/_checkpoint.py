"""Trees of numbers and arrays in files, without pickle."""

import io
import json
import math
import zipfile
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray

from skrdae._files import write_whole
from skrdae._schema import anything, boolean, mapping, parse_json, record, text

_TREE = "tree"
# What objects of JSON stand for.
_DICT = record({"dict": mapping(text, anything)})
_ARRAY = record({"array": text, "tensor": boolean})


def write_tree(path: str | PathLike[str], tree: dict[str, Any]) -> None:
    """Write a tree of dicts, lists, numbers, text and tensors; until it is whole the old stays.

    Parameters
    ----------
    path : str or path-like
    tree : dict
    """
    arrays: dict[str, Any] = {}

    def plain(value: Any) -> Any:
        if isinstance(value, torch.Tensor | np.ndarray):
            key = f"a{len(arrays)}"
            arrays[key] = np.asarray(value)
            return {"array": key, "tensor": isinstance(value, torch.Tensor)}
        if isinstance(value, dict):
            return {"dict": {key: plain(v) for key, v in value.items()}}
        if isinstance(value, list):
            return [plain(v) for v in value]
        return value

    content = json.dumps(plain(tree)).encode()
    file = io.BytesIO()
    np.savez(file, **{_TREE: np.frombuffer(content, np.uint8), **arrays})
    write_whole(path, file.getbuffer())


def read_tree(path: str | PathLike[str]) -> Any:
    """Return what :func:`write_tree` wrote.

    Memory and time are bounded by the length of the file, whatever it says of sizes.

    Raises
    ------
    ValueError
        If the file is none of its, or is damaged.
    OSError
        If it cannot be read.
    """
    data = Path(path).read_bytes()
    try:
        arrays = _arrays_of(data)
        tree = parse_json(arrays.pop(_TREE).tobytes())

        def full(value: Any) -> Any:
            if isinstance(value, list):
                return [full(v) for v in value]
            if not isinstance(value, dict):
                return value
            if "dict" in value:
                _DICT(value, "a dict", {})
                return {key: full(v) for key, v in value["dict"].items()}
            _ARRAY(value, "an array", {})
            found = arrays.pop(value["array"])  # once only
            return torch.from_numpy(found) if value["tensor"] else found

        found = full(tree)
        if arrays:
            raise ValueError("there are arrays that nothing refers to")
    except MemoryError:
        raise
    except Exception as error:  # zipfile, NumPy and JSON each have many of their own
        raise ValueError(f"{path} is no checkpoint, or it is damaged.") from error
    return found


def _arrays_of(data: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays of an archive that :func:`numpy.savez` made."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        # As they are, and not packed, so that none can be larger than the file.
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("an entry is compressed")
        if sum(entry.file_size for entry in entries) > len(data):
            raise ValueError("entries are larger than the file")
        arrays = {e.filename.removesuffix(".npy"): _array_of(archive.read(e)) for e in entries}
        if len(arrays) < len(entries):
            raise ValueError("two entries have one name")
    return arrays


def _array_of(data: bytes) -> NDArray[Any]:
    """Return the array of a file of NumPy's, which says no more than it holds."""
    file = io.BytesIO(data)
    if npy.read_magic(file) != (1, 0):  # others are for names of fields
        raise ValueError("an array has another version")
    shape, by_columns, dtype = npy.read_array_header_1_0(file)
    n_bytes = math.prod(shape) * dtype.itemsize
    n_left = len(data) - file.tell()
    if dtype.kind not in "biuf" or not dtype.isnative or n_bytes != n_left:
        raise ValueError("an array is of another type, or not as long as it says")
    found: NDArray[Any] = np.frombuffer(data, dtype, offset=file.tell())
    found = found.reshape(shape[::-1]).T if by_columns else found.reshape(shape)
    return np.array(found, order="C")
