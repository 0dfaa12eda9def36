"""How loops are compiled for the CPU."""

import contextlib
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba

_Function = TypeVar("_Function", bound=Callable[..., Any])

# Products and sums may be one instruction; nothing may be reordered, so that a result depends
# neither on where in memory it is made nor on what is made beside it.
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz"}}


def compiled(function: _Function) -> _Function:
    """Compile a function when it is first called; keep the machine code on disk where one may."""
    try:
        dispatcher = numba.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # neither the package's folder nor the user's can be written to
        return numba.njit(**_OPTIONS)(function)
    # numba's types do not name its settings.
    if not numba.config.DISABLE_JIT:  # type: ignore[attr-defined]  # else it is the function itself
        _forget_what_is_old(dispatcher.stats.cache_path)
        _do_without_a_cache(dispatcher)
    return dispatcher


def _do_without_a_cache(dispatcher: Any) -> None:
    """Let a function be compiled anew where machine code cannot be written or read."""
    cache = getattr(dispatcher, "_cache", None)  # numba's own, as of 0.60 to 0.68
    for name in ("save_overload", "load_overload"):
        method = getattr(cache, name, None)
        if method is not None:
            setattr(cache, name, _unless_refused(method))


def _unless_refused(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def tried(*arguments: Any) -> Any:
        with contextlib.suppress(OSError):  # a full disk, say
            return method(*arguments)
        return None

    return tried


@functools.lru_cache
def _forget_what_is_old(folder: str) -> None:
    """Drop the machine code that is older than any source.

    That of a function holds the functions it calls, and numba looks at its own file only.
    """
    package = Path(__file__).parent
    sources = [*package.glob("networks/compiled*.py"), *package.glob("training/kernels/*.py")]
    newest = max(source.stat().st_mtime for source in [Path(__file__), *sources])
    modules = {source.stem for source in sources}
    for index in Path(folder).glob("*.nbi"):
        with contextlib.suppress(OSError):  # another process does the same
            if index.name.partition(".")[0] in modules and index.stat().st_mtime < newest:
                index.unlink()


def inlined(function: _Function) -> _Function:
    """Compile a function into each one that calls it, so that it costs them no call."""
    return numba.njit(inline="always", **_OPTIONS)(function)
