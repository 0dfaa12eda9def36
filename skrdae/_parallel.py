"""Independent pieces of work on a CPU, one thread each."""

import contextlib
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import torch
from threadpoolctl import ThreadpoolController

from skrdae._shared import SharedContext

_Piece = TypeVar("_Piece")
_Result = TypeVar("_Result")


def in_parallel(function: Callable[[_Piece], _Result], pieces: Sequence[_Piece]) -> list[_Result]:
    """Apply a function to pieces of work, each on one thread, as many at once as torch has threads.

    Kernels that synchronise their threads at every time step of a recurrence lose more by it than a
    second thread gains, and all the more where something else wants the processor. Whole pieces do
    not wait for each other, and what comes out does not depend on the number of threads. This holds
    for kernels that run on OpenMP's threads; a BLAS may have others, see
    :data:`one_blas_thread`.

    Parameters
    ----------
    function : callable
        Takes a piece. It must not call this function.
    pieces : sequence

    Returns
    -------
    list
        The results, in the order of the pieces.
    """
    n_threads = torch.get_num_threads()
    if n_threads == 1:
        return [function(piece) for piece in pieces]
    if len(pieces) == 1:
        with one_openmp_thread():
            return [function(pieces[0])]
    return list(_pool(os.getpid(), n_threads).map(function, pieces))


# For each process, because a fork leaves the threads behind.
@functools.lru_cache(maxsize=1)
def _pool(process: int, n_threads: int) -> ThreadPoolExecutor:
    _controller("openmp")  # before there are threads that would look for the libraries at once
    return ThreadPoolExecutor(n_threads, "skrdae", initializer=_limit_to_one_thread)


def _limit_to_one_thread() -> None:
    torch.get_num_threads()  # lets torch set the number first, as it does once in every thread
    # Of OpenMP this limits the calling thread alone, for as long as it lives.
    _controller("openmp").limit(limits=1)


@contextlib.contextmanager
def _one_blas_thread() -> Iterator[None]:
    # Where the number is one it is somebody else's to put back.
    libraries = _controller("blas").lib_controllers
    before = [(b, b.num_threads) for b in libraries if b.num_threads != 1]
    _set_threads((library, 1) for library, _ in before)
    try:
        yield
    finally:
        _set_threads(before)


def _set_threads(numbers: Iterable[tuple[Any, int]]) -> None:
    for library, number in numbers:
        # threadpoolctl would let nobody else change what one thread has set.
        clear = getattr(library, "clear_controlling_thread", lambda **_: None)
        clear(force=True)
        library.set_num_threads(number)
        clear(force=True)


#: A context in which every BLAS of the process uses one thread.
one_blas_thread = SharedContext(_one_blas_thread)


def one_openmp_thread() -> AbstractContextManager[object]:
    """Return a context in which OpenMP uses one thread for what this thread asks for."""
    return _controller("openmp").limit(limits=1)


@functools.lru_cache
def _controller(user_api: str) -> ThreadpoolController:
    # Looking for the libraries takes milliseconds; those meant here are loaded by now.
    return ThreadpoolController().select(user_api=user_api)
