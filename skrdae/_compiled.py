"""Loops compiled for the CPU, and how many threads the BLAS they call may use."""

import contextlib
import functools
import threading

import numba
from threadpoolctl import ThreadpoolController

# Products and sums may be one instruction; nothing may be reordered, so that a result depends
# neither on where in memory it is made nor on what is made beside it.
_OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz"}}


def compiled(function):
    """Compile a function when it is first called; keep the machine code on disk where one may."""
    try:
        return numba.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # neither the package's folder nor the user's can be written to
        return numba.njit(**_OPTIONS)(function)


def inlined(function):
    """Compile a function into each one that calls it, so that it costs them no call."""
    return numba.njit(inline="always", **_OPTIONS)(function)


class _BlasLimit:
    """The limit on the threads of every BLAS in the process, while somebody wants one.

    Several threads of the process may each want one. The first one's holds until the last one is
    gone, and only then the number is what it was: each putting back what it found would leave, in
    the wrong order, the limit for ever.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._n_users, self._limiter = 0, None

    @contextlib.contextmanager
    def __call__(self, n_threads):
        with self._lock:
            self._n_users += 1
            if self._n_users == 1:
                self._limiter = _controller("blas").limit(limits=n_threads)
        try:
            yield
        finally:
            with self._lock:
                self._n_users -= 1
                if self._n_users == 0:
                    self._limiter.restore_original_limits()


def one_openmp_thread():
    """Return a context in which OpenMP uses one thread for what this thread asks for."""
    return _controller("openmp").limit(limits=1)


@functools.lru_cache
def _controller(user_api):
    # Looking for the libraries takes milliseconds; those meant here are loaded by now.
    return ThreadpoolController().select(user_api=user_api)


#: A context in which every BLAS of the process uses so many threads at most.
blas_threads = _BlasLimit()
