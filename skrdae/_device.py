"""Resolve the ``device`` parameter to a :class:`torch.device`."""

import torch


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
