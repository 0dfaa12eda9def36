"""Warnings of one thread, recorded while other threads go on with theirs.

``warnings.catch_warnings`` changes the whole process: of two threads that overlap, the second
to leave puts back what the first had set, for good.
"""

import contextlib
import threading
import warnings
from collections.abc import Iterator
from typing import Any

from skrdae._shared import SharedContext

_here = threading.local()


class _Recording:
    """In the place of a filter's pattern: matches any message of a thread that records."""

    def match(self, text: str) -> bool:
        return getattr(_here, "found", None) is not None


@contextlib.contextmanager
def _told_apart() -> Iterator[None]:
    with warnings.catch_warnings():
        show = warnings.showwarning

        def showwarning(message: Any, category: Any, *where: Any, **options: Any) -> None:
            found: list[tuple[type[Warning], str]] | None = getattr(_here, "found", None)
            if found is None:
                show(message, category, *where, **options)
            else:
                found.append((category, str(message)))

        warnings.showwarning = showwarning
        warnings.simplefilter("always")  # which tells Python that the filters are others
        filters: Any = warnings.filters
        filters[0] = ("always", _Recording(), Warning, None, 0)
        yield


_threads = SharedContext(_told_apart)


@contextlib.contextmanager
def recorded() -> Iterator[list[tuple[type[Warning], str]]]:
    """Give a list to which the warnings of this thread are added, instead of being shown."""
    before = getattr(_here, "found", None)
    with _threads:
        _here.found = []
        try:
            yield _here.found
        finally:
            _here.found = before
