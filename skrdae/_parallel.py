"""Independent pieces of work on a CPU, one thread each."""

import functools
import os
from concurrent.futures import ThreadPoolExecutor

import torch
from threadpoolctl import ThreadpoolController, threadpool_limits


def in_parallel(function, pieces):
    """Apply a function to pieces of work, each on one thread, as many at once as torch has threads.

    Kernels that synchronise their threads at every time step of a recurrence lose more by it than a
    second thread gains, and all the more where something else wants the processor. Whole pieces do
    not wait for each other, and what comes out does not depend on the number of threads. This holds
    for kernels that run on OpenMP's threads; a BLAS may have others, see
    :func:`blas_threads`.

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
def _pool(process, n_threads):
    return ThreadPoolExecutor(n_threads, "skrdae", initializer=_limit_to_one_thread)


def _limit_to_one_thread():
    torch.get_num_threads()  # lets torch set the number first, as it does once in every thread
    # Of OpenMP this limits the calling thread alone, for as long as it lives.
    threadpool_limits(1, user_api="openmp")


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
