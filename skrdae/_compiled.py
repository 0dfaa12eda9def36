"""Loops compiled for the CPU, and how many threads the BLAS they call may use."""

import functools

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


def blas_threads(n_threads):
    """Return a context in which every BLAS of the process uses so many threads at most."""
    return _controller("blas").limit(limits=n_threads)


def one_openmp_thread():
    """Return a context in which OpenMP uses one thread for what this thread asks for."""
    return _controller("openmp").limit(limits=1)


@functools.lru_cache
def _controller(user_api):
    # Looking for the libraries takes milliseconds; those meant here are loaded by now.
    return ThreadpoolController().select(user_api=user_api)
