"""What is wrong with a series, for programs as well as for people."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

Trouble: TypeAlias = Literal[
    "NaN",
    "missing",
    "unreadable",
    "ambiguous",
    "levels",
    "unsorted",
    "duplicate",
    "gap",
    "uneven",
    "rate",
    "units",
    "short",
    "several",
    "",
]


class SeriesError(ValueError):
    """A series cannot be cut into windows.

    Attributes
    ----------
    kind : str
        - "NaN": values are missing.
        - "missing", "unreadable", "ambiguous": entries of the index are missing, are no times, or
          may have the day or the month first.
        - "levels": it is not clear which level of a MultiIndex is the time.
        - "unsorted", "duplicate", "gap": the index goes back, stands still, or leaves out steps.
        - "uneven": most steps are off the usual one, each in its own way.
        - "rate": the steps are others than those of the training series.
        - "units": the index holds times and that of the training series does not, or the reverse.
        - "short": no stretch is as long as a window.
        - "several": several series where one is expected.
    facts : dict
        What the message tells: "series", how it calls the series; "count", of how many rows or
        steps; "first" and "second", entries of the index, or a row; "usual" and "found", steps in
        seconds or in the numbers of the index; "size" and "longest", in steps.
    """

    kind: Trouble
    facts: dict[str, Any]

    def __init__(self, message: str, kind: Trouble = "", **facts: Any) -> None:
        super().__init__(message)
        self.kind, self.facts = kind, facts
