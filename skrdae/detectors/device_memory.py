"""Running out of a device's memory: an error that says what to change, and keeps nothing there."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable
from typing import Any, TypeVar

import torch

_Method = TypeVar("_Method", bound=Callable[..., Any])
# torch.OutOfMemoryError, under the name that all supported versions have.
_OutOfMemory = torch.cuda.OutOfMemoryError
# Sentences of torch's message that say how much was asked for; the others are about its allocator.
_SENTENCES = 3


def fits_in_memory(method: _Method) -> _Method:
    """Make a method that fits say what to change if the device runs out of memory; a decorator.

    The method raises a ``torch.OutOfMemoryError`` then, and nothing of what it had on the device
    is alive any more.
    """
    return _telling(method, _advice_on_fitting)


def scores_in_memory(method: _Method) -> _Method:
    """Do the same for a method of a fitted detector; a decorator."""
    return _telling(method, _advice_on_scoring)


def _telling(method: _Method, advice: Callable[[Any], str]) -> _Method:
    @functools.wraps(method)
    def told(*args: Any, **kwargs: Any) -> Any:  # errors of a wrong call come from the method
        try:
            return method(*args, **kwargs)
        except RuntimeError as error:
            reason = _reason(error)
            if reason is None:
                raise
        # Not in the handler: the traceback of an error's context keeps all that its frames hold.
        gc.collect()  # a trainer and its steps know each other
        torch.cuda.empty_cache()  # for other processes; does nothing where CUDA is not in use
        failure: Any = _OutOfMemory(f"{type(args[0]).__name__} {advice(args[0])} ({reason}.)")
        failure.reason = reason  # for the method that called this one
        raise failure

    return told  # type: ignore[return-value]  # it takes and returns the same


def _reason(error: BaseException | None) -> str | None:
    """Return why the device had no memory, or None if an error has another cause."""
    while error is not None:  # the end of a CUDA graph's capture may fail after the allocation
        if isinstance(error, _OutOfMemory):
            sentences = str(error).partition("\n")[0].split(". ")[:_SENTENCES]
            return getattr(error, "reason", ". ".join(sentences).rstrip("."))
        error = error.__context__
    return None


def _advice_on_fitting(detector: Any) -> str:
    sizes = [
        f"{name} (now {value!r})"
        for name, value in detector.get_params(deep=False).items()
        if name in ("batch_size", "n_estimators")
    ]
    lower = f"Lower {' or '.join(sizes)}, free" if sizes else "Free"
    return (
        f"ran out of memory on device={str(detector.device)!r} and is as it was before. {lower} "
        "memory on the device, or set device='cpu'."
    )


def _advice_on_scoring(detector: Any) -> str:
    return (
        f"ran out of memory on {str(detector.device_)!r}. Free memory on the device, or fit the "
        f"detector with fewer n_estimators (now {len(detector.model_.weights)}), or with "
        "device='cpu'."
    )
