"""Trees of numbers and arrays in files, without pickle."""

import io
import json
import zipfile
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch

from skrdae._files import write_whole

_TREE = "tree"


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

    text = json.dumps(plain(tree)).encode()
    file = io.BytesIO()
    np.savez(file, **{_TREE: np.frombuffer(text, np.uint8), **arrays})
    write_whole(path, file.getbuffer())


def read_tree(path: str | PathLike[str]) -> Any:
    """Return what :func:`write_tree` wrote.

    Raises
    ------
    ValueError
        If the file is none of its, or is damaged.
    OSError
        If it cannot be read.
    """
    data = Path(path).read_bytes()
    if not zipfile.is_zipfile(io.BytesIO(data)):
        raise ValueError(f"{path} is no checkpoint, or it is damaged.")
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            tree = json.loads(arrays[_TREE].tobytes())

            def full(value: Any) -> Any:
                if isinstance(value, list):
                    return [full(v) for v in value]
                if not isinstance(value, dict):
                    return value
                if "dict" in value:
                    return {key: full(v) for key, v in value["dict"].items()}
                found = arrays[value["array"]]
                return torch.from_numpy(found) if value["tensor"] else found

            return full(tree)
    except (ValueError, KeyError, TypeError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no checkpoint, or it is damaged.") from error
