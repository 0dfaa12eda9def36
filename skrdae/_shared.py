"""Settings that belong to the whole process, changed for as long as any thread needs them."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager


class SharedContext:
    """A context that several threads share: the first to enter changes, the last to leave restores.

    If each thread put back what it had found, a change could stay for good: of two threads the
    second finds what the first has set, and may leave after it.

    Parameters
    ----------
    change : callable
        Returns a context that changes the process's settings and puts them back.
    """

    def __init__(self, change: Callable[[], AbstractContextManager[None]]) -> None:
        self._change, self._lock, self._n_inside = change, threading.Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._n_inside:
                self._changed = self._change()
                self._changed.__enter__()
            self._n_inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._n_inside -= 1
            if not self._n_inside:
                self._changed.__exit__(None, None, None)
