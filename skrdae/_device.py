"""Devices, and the modes of torch that have no say in what is computed on them."""

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def plain_torch() -> Iterator[None]:
    """Compute as if no gradient, inference mode or automatic mixed precision had been asked for.

    A caller's ``torch.autocast`` or ``torch.inference_mode`` must not change scores.
    """
    with contextlib.ExitStack() as modes:
        if torch.is_inference_mode_enabled():
            modes.enter_context(torch.inference_mode(False))
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                modes.enter_context(torch.autocast(kind, enabled=False))
        modes.enter_context(torch.no_grad())
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
