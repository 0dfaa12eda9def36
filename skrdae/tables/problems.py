"""What is wrong with the columns of a table, said in one message."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from skrdae._typing import BoolArray, FloatArray
from skrdae.tables.columns import is_dates, misfits
from skrdae.tables.errors import Option, Part, PythonTerm, TableError, listed, shown
from skrdae.tables.numerals import are_no_numbers, has_decimal_commas
from skrdae.tables.times import are_times

if TYPE_CHECKING:
    from pandas import Series

_Parts: TypeAlias = list[Part]
# Makes a sentence of the names of columns, and of whether a model looks at them already.
_Remedy: TypeAlias = Callable[[list[Any], bool], _Parts]
#: More different texts tell identifiers from each other, not kinds of rows.
MOST_CATEGORIES = 100
# Of a column of codes, some of which are digits.
_LEAST_TEXT = 0.05
# How many columns an option is written out for.
_MOST_NAMED = 5


def _ignoring(names: list[Any]) -> Option:
    return Option("ignore", list(map(str, names)) if len(names) <= _MOST_NAMED else None)


def _leave_out(names: list[Any], fitted: bool) -> _Parts:
    """Return the end of a sentence: nothing can be left out that a model looks at."""
    if fitted:
        return ["."]
    return [f", or leave the column{'s' * (len(names) > 1)} out with ", _ignoring(names), "."]


def _or_leave_out(remedy: str) -> _Remedy:
    return lambda names, fitted: [remedy, *_leave_out(names, fitted)]


def _text(names: list[Any], fitted: bool) -> _Parts:
    if fitted:
        return ["In training there were numbers only."]
    one_hot, drop = Option("categories", "one-hot"), Option("categories", "drop")
    parts: _Parts = ["Use ", one_hot, " for a column of 0 and 1 for each text, or leave text out "]
    return [*parts, "with ", drop, " or ", _ignoring(names), "."]


def _times(names: list[Any], fitted: bool) -> _Parts:
    if fitted:
        return ["In training there were numbers only."]
    parts: _Parts = ["For a series use ", Option("time_column", str(names[0]))]
    return [*parts, " (columns of days and hours: both)", *_leave_out(names, fitted)]


def _missing(names: list[Any], fitted: bool) -> _Parts:
    if fitted:
        return [
            "The model was fitted without ",
            Option("missing"),
            ": fit it again with that option, or fill them in.",
        ]
    ways = [Option("missing", way) for way in ("median", "mean", "interpolate")]
    parts: _Parts = ["Fill them in with ", ways[0], ", ", ways[1], " or ", ways[2]]
    return [*parts, *_leave_out(names, fitted)]


# What is said of one column, of several, and what can be done about it.
_KINDS: dict[str, tuple[str, str, _Remedy]] = {
    "text": ("is not numeric", "are not numeric", _text),
    "mixed": (
        "is not numeric throughout",
        "are not numeric throughout",
        _or_leave_out("Correct what is no number"),
    ),
    "heading": (
        "holds numbers in all rows but the first",
        "hold numbers in all rows but the first",
        lambda names, fitted: ["Take that row out of the file."],
    ),
    "decimal commas": (
        "holds numbers with decimal commas",
        "hold numbers with decimal commas",
        lambda names, fitted: [
            "Set ",
            Option("decimal", ","),
            PythonTerm(" where the file is read"),
            ".",
        ],
    ),
    "two marks": (
        "holds numbers written in several ways",
        "hold numbers written in several ways",
        _or_leave_out("Write them all with one decimal mark"),
    ),
    "marks": (
        "holds numbers with signs or units",
        "hold numbers with signs or units",
        _or_leave_out("Take these out of the file"),
    ),
    "times": ("holds times", "hold times", _times),
    "many texts": (
        f"holds more than {MOST_CATEGORIES} different texts",
        f"hold more than {MOST_CATEGORIES} different texts",
        _or_leave_out("So many do not tell kinds of rows apart: group them"),
    ),
    "empty": ("holds no value", "hold no value", _or_leave_out("Fill in what is missing")),
    "missing": ("lacks values", "lack values", _missing),
    "infinite": ("contains infinity", "contain infinity", _or_leave_out("Correct it")),
}


class Problems:
    """Collects what is wrong with columns, and raises one error about all of it.

    Parameters
    ----------
    fitted : bool
        Whether the columns are those of a new table, of which nothing is learnt any more.
    """

    def __init__(self, *, fitted: bool = False) -> None:
        self._fitted = fitted
        self._found: dict[str, list[tuple[Any, str]]] = defaultdict(list)
        self._first: _Parts = []

    def say_first(self, error: TableError) -> None:
        """Begin the message with an error."""
        self._first = [*error.parts]

    def add(self, kind: str, name: Any, detail: str = "") -> None:
        """Add a column with a problem of some kind."""
        self._found[kind].append((name, detail))

    def add_text(self, name: Any, column: Series) -> None:
        """Add a column that does not hold numbers, but should."""
        kind, detail = _what_it_holds(column)
        self.add(kind, name, detail)

    def add_numbers(self, name: Any, values: FloatArray, *, missing: bool = False) -> None:
        """Add a column of numbers that is not as it should be; `missing` allows that to be."""
        infinite = np.isinf(values)
        if infinite.any():
            self.add("infinite", name, f"first in row {infinite.argmax()}")
        if not missing:
            self.add_missing(name, np.isnan(values))

    def add_missing(self, name: Any, missing: BoolArray) -> None:
        """Add a column that lacks values, if it does."""
        if missing.any():
            share = f"{int(missing.sum())} of {len(missing)}"
            detail = f"{share} missing, first in row {missing.argmax()}"
            self.add("missing", name, detail)

    def check(self) -> None:
        """Raise a TableError if there is anything."""
        parts = [*self._first]
        for kind, (one, several, remedy) in _KINDS.items():
            found = self._found.get(kind)
            if not found:
                continue
            names = [name for name, _ in found]
            details = (f"{shown(n)} ({detail})" if detail else shown(n) for n, detail in found)
            told = listed(details, str)
            verb = several if len(found) > 1 else one
            parts += [" " * bool(parts), f"Column{'s' * (len(found) > 1)} {told} {verb}"]
            parts += [PythonTerm(" (NaN)" if kind == "missing" else ""), ". "]
            parts += remedy(names, self._fitted)
        if parts:
            raise TableError(*parts)


def is_mostly_numbers(column: Series) -> bool:
    """Whether half of what is there are numbers, or would be with another decimal mark."""
    most = column.notna().sum() / 2
    return bool(misfits(column).sum() <= most or are_no_numbers(column).sum() <= most)


def holds_text(column: Series) -> bool:
    """Whether a column holds text that is neither numbers in some form nor times.

    Codes may be text although most are digits, but not if hardly any is anything else.
    """
    kind = _what_it_holds(column)[0]
    share = are_no_numbers(column).sum() / max(column.notna().sum(), 1)
    return kind == "text" or (kind == "mixed" and share >= _LEAST_TEXT)


def _what_it_holds(column: Series) -> tuple[str, str]:
    """Return what kind of text a column holds, and an example."""
    if is_dates(column):
        return "times", shown(column.dropna().iloc[0])
    wrong = misfits(column)
    row = int(np.argmax(wrong))
    value = column.iloc[row]
    example = f"{shown(value)} in row {row}"
    if has_decimal_commas(column):
        return "decimal commas", example
    if wrong.sum() == 1 and row == 0 and column.notna().sum() > 2:
        return "heading", shown(value)
    if is_mostly_numbers(column):
        others = are_no_numbers(column)
        if not others.any():
            return "two marks", example
        row, number = int(np.argmax(others)), int(others.sum())
        return "mixed", f"{shown(column.iloc[row])} in row {row}; {number} of {len(column)} values"
    if _is_marked(column):
        return "marks", example
    if are_times(column):
        return "times", shown(value)
    return "text", f"{example}; {int(wrong.sum())} of {len(column)} values"


def _is_marked(column: Series) -> bool:
    """Whether all values are a number with the same text before or after it."""
    found = column.dropna().astype(str).str.extract(r"^\s*([^\w\s.,+-]*)\s*([+-]?[\d.,]+)\s*(\D*)$")
    return bool(found[1].notna().all() and (found[[0, 2]].nunique() == 1).all())
