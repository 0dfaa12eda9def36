"""What watches a training: a bar, callbacks, and whoever presses Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tqdm.auto import tqdm

from skrdae._typing import Callbacks, Record


class Progress:
    """To be called with each row of a history; says whether to stop.

    Attributes
    ----------
    interrupted : bool
        Whether a KeyboardInterrupt came.
    n_rows : int
        How many rows there were.
    """

    interrupted: bool
    n_rows: int

    def __init__(
        self, callbacks: Sequence[Callable[[Record], object]], bar: tqdm[Any], n_done: int
    ) -> None:
        self.interrupted, self.n_rows = False, n_done
        self._callbacks, self._bar = callbacks, bar

    def __call__(self, row: Record) -> bool:
        """Return True to stop the training."""
        self.n_rows += 1
        numbers = {k: f"{v:.3g}" for k, v in row.items() if isinstance(v, float)}
        self._bar.set_postfix(numbers)
        self._bar.update()
        stop = False
        try:
            for callback in self._callbacks:
                stop |= bool(callback(dict(row)))
        except KeyboardInterrupt:
            if self.interrupted:
                raise
            self.interrupted = True
        return stop or self.interrupted

    def interrupt(self, *signal_and_frame: object) -> None:
        """Stop after this iteration; if asked again, at once."""
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True


def callbacks_of(callbacks: Callbacks) -> Sequence[Callable[[Record], object]]:
    """Return the functions that a ``callbacks`` parameter stands for.

    Raises
    ------
    TypeError
        If it holds anything else.
    """
    found = [] if callbacks is None else callbacks
    found = [found] if callable(found) else found
    if not isinstance(found, list | tuple) or not all(
        callable(c) and not isinstance(c, type) for c in found
    ):
        raise TypeError(
            "callbacks must be a function of a row of the history, a list of such functions, or "
            f"None; got {callbacks!r}."
        )
    return found


@contextlib.contextmanager
def watched(
    callbacks: Callbacks, *, shows: bool, n_rounds: int, n_done: int, name: str
) -> Iterator[Progress]:
    """Give the :class:`Progress` of a training; while it lasts, Ctrl-C asks it to stop."""
    options: dict[str, Any] = {
        "initial": n_done,
        "desc": name,
        "unit": "iter",
        "disable": not shows,
    }
    with tqdm(total=n_rounds, **options) as bar:
        progress = Progress(callbacks_of(callbacks), bar, n_done)
        # Python lets the main thread alone have handlers; others put there are left in peace.
        mine = (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )
        if mine:
            signal.signal(signal.SIGINT, progress.interrupt)
        try:
            yield progress
        finally:
            if mine and signal.getsignal(signal.SIGINT) == progress.interrupt:
                signal.signal(signal.SIGINT, signal.default_int_handler)
