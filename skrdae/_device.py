"""Devices, and the modes of torch that have no say in what is computed on them."""

import contextlib
import functools
import threading
from collections.abc import Iterator
from typing import Any

import torch


class _ExactArithmetic:
    """Holds back, while somebody is inside, the shortcuts that torch's settings allow.

    By default cuDNN rounds the factors of recurrent and convolutional products to ten bits (TF32),
    and may choose kernels whose sums change from call to call. A program can allow the first for
    every product. These settings belong to the whole process, so the first who comes changes them
    and the last who goes puts them back.
    """

    def __init__(self) -> None:
        self._lock, self._n_inside = threading.Lock(), 0
        self._before: list[tuple[Any, str, Any]] = []

    def __enter__(self) -> None:
        with self._lock:
            if not self._n_inside:
                try:
                    for setting in _settings():
                        self._change(*setting)
                except BaseException:
                    self._put_back()
                    raise
            self._n_inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._n_inside -= 1
            if not self._n_inside:
                self._put_back()

    def _change(self, owner: Any, name: str, wanted: Any, harmless: tuple[Any, ...]) -> None:
        value = getattr(owner, name)
        if value in harmless:
            return
        self._before.append((owner, name, value))
        if "none" in harmless:
            setattr(owner, name, "none")
            if getattr(owner, name) == value:  # a more general setting says so
                self._before[-1] = (owner, name, "none")
        setattr(owner, name, wanted)

    def _put_back(self) -> None:
        while self._before:
            setattr(*self._before.pop())


@functools.cache
def _settings() -> list[tuple[Any, str, Any, tuple[Any, ...]]]:
    """Return what to set: its owner and name, the value, and those that may stay."""
    backends: Any = torch.backends
    cudnn, found = backends.cudnn, []
    by_operation = hasattr(cudnn, "rnn")  # from torch 2.9 on
    products = [backends.mkldnn.matmul, backends.mkldnn.rnn] if by_operation else []
    if backends.cuda.is_built():
        found += [(cudnn, "deterministic", True, (True,)), (cudnn, "benchmark", False, (False,))]
        products += [backends.cuda.matmul, cudnn.conv, cudnn.rnn] if by_operation else []
        if not by_operation:
            found += [
                (owner, "allow_tf32", False, (False,)) for owner in (backends.cuda.matmul, cudnn)
            ]
    return found + [(owner, "fp32_precision", "ieee", ("ieee", "none")) for owner in products]


_exact_arithmetic = _ExactArithmetic()


@contextlib.contextmanager
def plain_torch() -> Iterator[None]:
    """Compute in full single precision, without gradients, whatever torch is set to.

    A caller's ``torch.autocast``, ``torch.inference_mode`` or permission of TF32 must not change
    scores.
    """
    with contextlib.ExitStack() as modes:
        if torch.is_inference_mode_enabled():
            modes.enter_context(torch.inference_mode(False))
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                modes.enter_context(torch.autocast(kind, enabled=False))
        modes.enter_context(torch.no_grad())
        modes.enter_context(_exact_arithmetic)
        yield


def device_if_there(device: str | torch.device) -> torch.device:
    """Return a device that a detector was on, or the CPU if this process cannot use it."""
    try:
        return resolve_device(device)
    except ValueError:
        return torch.device("cpu")


def resolve_device(device: str | torch.device) -> torch.device:
    """Return the device that a ``device`` parameter names.

    Parameters
    ----------
    device : str or torch.device
        ``"auto"`` takes CUDA where it is available, then MPS, then the CPU. Anything else is
        what :class:`torch.device` accepts, and has to exist.

    Returns
    -------
    torch.device

    Raises
    ------
    TypeError
        If `device` is neither a string nor a :class:`torch.device`.
    ValueError
        If the string names no device, or one that this machine does not have.
    """
    if not isinstance(device, str | torch.device):
        raise TypeError(
            "device must be 'auto', a string such as 'cpu' or 'cuda:0', or a torch.device; "
            f"got {device!r}."
        )
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cpu")
    try:
        resolved = torch.device(device)
        torch.zeros(1, device=resolved).cpu()
    except Exception as error:  # every backend that is missing raises one of its own
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"device={str(device)!r} is not available here ({reason}). Use device='auto' or 'cpu'."
        ) from error
    return resolved
