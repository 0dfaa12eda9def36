"""Devices, and the modes of torch that have no say in what is computed on them."""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import torch

from skrdae._shared import SharedContext


@contextlib.contextmanager
def _exact() -> Iterator[None]:
    """Hold back the shortcuts that torch's settings, which are the process's, allow.

    By default cuDNN rounds the factors of recurrent and convolutional products to ten bits (TF32),
    and may choose kernels whose sums change from call to call. A program can allow the first for
    every product.
    """
    with contextlib.ExitStack() as changed:
        for owner, name, wanted, harmless in _settings():
            value = getattr(owner, name)
            if value in harmless:
                continue
            if "none" in harmless:
                setattr(owner, name, "none")
                if getattr(owner, name) == value:  # a more general setting says so
                    value = "none"
            changed.callback(setattr, owner, name, value)
            setattr(owner, name, wanted)
        yield


exact_arithmetic = SharedContext(_exact)


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
        modes.enter_context(exact_arithmetic)
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
