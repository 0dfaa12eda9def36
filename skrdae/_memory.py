"""Matrices that lie in files, for data that may not fit into memory."""

import contextlib
import math
import mmap
import os
import tempfile

import numpy as np
import torch

# Up to this many bytes a matrix is held in memory whatever it is made from: joblib hands arrays of
# a few MB to its workers as files, too.
_SMALL = 2**25


def is_mapped(X: object) -> bool:
    """Return whether an array lies in a file, as an ``np.memmap`` and its views do."""
    while X is not None:
        if isinstance(X, np.memmap | mmap.mmap):
            return True
        X = getattr(X, "base", None)
    return False


def matrix(shape: tuple[int, ...], *, mapped: bool) -> torch.Tensor:
    """Return a float32 tensor on the CPU, its content undefined.

    Parameters
    ----------
    shape : tuple of int
    mapped : bool
        Whether a large one lies in a file without a name in the folder for temporary files, which
        goes when the tensor does. Its pages are then the system's to write out.

    Raises
    ------
    OSError
        If that folder has not enough room.
    """
    size = math.prod(shape)
    if not mapped or 4 * size <= _SMALL:
        return torch.empty(shape, dtype=torch.float32, device="cpu")
    handle, path = tempfile.mkstemp(prefix="skrdae-")
    try:
        _reserve(handle, 4 * size)
        flat = torch.from_file(path, shared=True, size=size, dtype=torch.float32)
    finally:
        os.close(handle)
        with contextlib.suppress(PermissionError):  # on Windows, while it is in use
            os.unlink(path)
    return flat.view(shape)


def _reserve(handle: int, n_bytes: int) -> None:
    # Writing to a page that then finds no room would end the process.
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(handle, 0, n_bytes)
    except OSError as error:
        raise OSError(
            error.errno,
            f"training on a memory-mapped X needs {n_bytes / 2**30:.1f} GiB for a file in "
            f"{tempfile.gettempdir()} and did not get them ({error.strerror}). Set the environment "
            "variable TMPDIR to a folder with more room.",
        ) from error


def matrix_like(data: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """Return a tensor on the device of another one, in a file if that one is."""
    if data.device.type != "cpu":
        return data.new_empty(shape)
    return matrix(shape, mapped=data.untyped_storage().filename is not None)


def take_rows(data: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Return ``data[places]``, in a file if `data` is in one.

    Parameters
    ----------
    data : Tensor
    places : LongTensor of shape (n,)
        Along the first axis.
    """
    return torch.index_select(
        data, 0, places, out=matrix_like(data, (len(places), *data.shape[1:]))
    )
