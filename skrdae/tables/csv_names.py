"""Whether the first line of a CSV file holds names, or values like those below it."""

import re
from collections import Counter
from collections.abc import Collection

from skrdae.tables.csv_rows import few_rows
from skrdae.tables.numerals import is_number

# So many of the values of a column are of one kind if it is of that kind.
_AGREEING = 0.9
# From so many columns on, names that count up are taken for names.
_COUNTED_NAMES = 3
_TIME = re.compile(
    r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T,].*)?|\d{1,2}[- ][A-Za-z]{3,9}[-., ]+\d{2,4}.*"
    r"|\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?( ?[AaPp][Mm])?"
)
_MISSING = {"", "-", "--", "?", ".", "na", "n/a", "nan", "null", "none", "#n/a", "<na>", "n.a."}
_TRUTHS = {"true", "false"}


def kind_of(cell: str) -> str:
    """Return what a cell seems to hold."""
    cell = cell.strip()
    low = cell.lower()
    if low in _MISSING:
        return "missing"
    if is_number(cell) or low in ("inf", "-inf", "infinity"):
        return "number"
    if _TIME.fullmatch(cell):
        return "time"
    return "truth" if low in _TRUTHS else "text"


def has_names(rows: list[list[str]], known_names: Collection[str]) -> tuple[bool, bool]:
    """Return whether the first row holds names, not values like those below; and if that is sure.

    Parameters
    ----------
    rows : list of list of str
    known_names : collection of str
        Names that will be asked for.
    """
    first, below = [cell.strip() for cell in rows[0]], few_rows(rows)[1:]
    for_names, for_values, seen_below = votes(first, below)
    if known_names and {*known_names} <= {*first}:
        return True, True
    if known_names and all(re.fullmatch(r"column_\d+", name) for name in known_names):
        return for_names > for_values, True
    if not below:
        return any(kind_of(cell) == "text" for cell in first), True
    has_fractions = any("." in value or "," in value for row in below for value in row)
    if _count_up(first) and has_fractions:
        return True, False
    if for_names:
        return True, not for_values
    return not (for_values or 0 < len(first) <= 2 * seen_below), True


def votes(first: list[str], below: list[list[str]]) -> tuple[int, int, int]:
    """Count the columns whose first cell is a name, or a value as below, or a text seen below."""
    for_names, for_values, seen_below = 0, 0, 0
    for place, cell in enumerate(first):
        column = [row[place].strip() for row in below if place < len(row)]
        kinds = Counter(kind_of(value) for value in column)
        del kinds["missing"]
        if not kinds:
            continue
        usual, count = kinds.most_common(1)[0]
        if count < _AGREEING * kinds.total():
            continue
        kind = kind_of(cell)
        if usual == "text":
            seen_below += kind == "text" and cell in column
        elif kind == "text":
            for_names += 1
        elif kind != "missing":
            for_values += kind == usual
    return for_names, for_values, seen_below


def _count_up(names: list[str]) -> bool:
    """Whether names are 0, 1, 2, … or 1, 2, 3, …, as those of columns without any often are."""
    counted = names[1:] if names and not names[0].strip() else names
    if len(counted) < _COUNTED_NAMES:
        return False
    return counted in ([str(i + first) for i in range(len(counted))] for first in (0, 1))


def distinct(names: list[str]) -> list[str]:
    """Return names without blanks around them, and with numbers where one is there twice."""
    stripped = [name.strip() or f"Unnamed: {place}" for place, name in enumerate(names)]
    taken, numbers = set(stripped), Counter[str]()
    made = []
    for name in stripped:
        new = name
        while numbers[name] and (new == name or new in taken):
            new = f"{name}.{numbers[name]}"
            numbers[name] += new in taken
        numbers[name] += 1
        taken.add(new)
        made.append(new)
    return made
