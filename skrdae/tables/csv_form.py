"""How a CSV file is written: its separator, whether it has a line of names, what comes before."""

import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from skrdae.tables.errors import Option, TableError, shown
from skrdae.tables.numerals import is_number

#: What stands between values, the usual one first. A space means any number of blanks.
SEPARATORS = (",", ";", "\t", "|", " ")


class _Row(NamedTuple):
    """The cells of a row, the number of lines before it, and of those up to its end."""

    cells: list[str]
    before: int
    end: int


# What is looked at to find out, in bytes, rows and cells.
_SAMPLE, _ROWS, _CELLS = 2**20, 500, 50_000
# So many of the rows have the usual number of values if a separator is the right one.
_AGREEING = 0.9
# By how much the share of numbers has to rise for a comma not to be the separator.
_CLEARLY_MORE = 0.1
# From so many columns on, names that count up are taken for names.
_COUNTED_NAMES = 3
#: What lines end with.
LINE_END = re.compile(rb"\r\n|\n|\r")
_TIME = re.compile(
    r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T,].*)?|\d{1,2}[- ][A-Za-z]{3,9}[-., ]+\d{2,4}.*"
    r"|\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?( ?[AaPp][Mm])?"
)
_MISSING = {"", "-", "--", "?", ".", "na", "n/a", "nan", "null", "none", "#n/a", "<na>", "n.a."}
_TRUTHS = {"true", "false"}


@dataclass(frozen=True)
class CsvForm:
    """How a CSV file is written.

    Parameters
    ----------
    separator : str
        Between values, see `SEPARATORS`.
    header : bool
        Whether the first line holds names.
    names : list of str
        Of the columns, each once.
    written_names : list of str
        As the file has them.
    start, first_line : int
        The byte and the line that the table begins with.
    rows_start : int
        The byte that the first row begins with, below the names.
    found : list of Option
        What was found out, as whoever reads the file could have said it.
    notes : list of str
        What else there is to say.
    """

    separator: str
    header: bool
    names: list[str]
    written_names: list[str]
    start: int
    first_line: int
    rows_start: int
    found: list[Option] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_form(
    content: bytes,
    *,
    separator: str | None = None,
    header: bool | None = None,
    skip_lines: int = 0,
    known_names: Collection[str] = (),
) -> CsvForm:
    """Find out how a CSV file is written.

    Parameters
    ----------
    content : bytes
        The file, in UTF-8.
    separator : str or None
        None looks for it among `SEPARATORS`.
    header : bool or None
        None finds out whether the first line holds names.
    skip_lines : int, default=0
        Lines before the table.
    known_names : collection of str
        Names of columns that will be asked for: a line that holds them is one of names.

    Returns
    -------
    CsvForm

    Raises
    ------
    TableError
        If there is no table, or it begins further below.
    """
    start, line = _after_lines(content, skip_lines), skip_lines
    comments: list[tuple[int, int, str]] = []
    told = None
    for offset, number, text in _first_lines(content, start, line):
        start, line = offset, number
        if text.lower().startswith("sep=") and len(text) == len("sep=;") and told is None:
            told = text[-1]  # what Excel writes
        elif text.startswith("#"):
            comments.append((offset, number, text))
        elif text.strip():
            break
    else:
        start, line = len(content), line + 1
    sample = _sample(content, start)
    chosen = separator or told or _find_separator(sample)
    rows = list(_rows(sample, chosen, line))
    if comments and header is not False and _is_line_of_names(comments[-1][2], rows, chosen):
        start, line, text = comments[-1]
        row = _Row(_cells(_names_in(text), chosen), line, line + 1)
        rows, header = [row, *rows], True
    if not rows or not rows[0].cells:
        raise TableError("it holds no table: there is nothing in it.")
    if skip_lines == 0:
        _refuse_heading(rows, chosen)
    found = []
    if separator is None and chosen != ",":
        found.append(Option("separator", "space" if chosen == " " else chosen))
    first = rows[0].cells
    _refuse_separator(rows, chosen, sample)
    if header is None:
        header = _has_names([row.cells for row in rows], known_names)
        if not header:
            found.append(Option("no_header"))
        elif _counts(first):
            found.append(Option("header"))
    width = max(len(first), _usual(rows))
    written = first if header else [f"column_{place + 1}" for place in range(width)]
    rows_start = start
    if header:
        rows_start = _after_lines(content, rows[0].end - line, start)
    names = _distinct(written)
    notes = [
        f"{shown(was)} is the name of several columns: column {place + 1} is {shown(name)} here."
        for place, (was, name) in enumerate(zip(written, names, strict=True))
        if was.strip() and name != was.strip()
    ]
    return CsvForm(chosen, header, names, written, start, line, rows_start, found, notes)


# --------------------------------------------------------------------------- lines and rows


def _after_lines(content: bytes, n_lines: int, start: int = 0) -> int:
    """Return where the line after some lines begins."""
    for _ in range(n_lines):
        end = LINE_END.search(content, start)
        start = len(content) if end is None else end.end()
    return start


def _sample(content: bytes, start: int) -> str:
    """Return the first lines, whole ones: many, or two long ones."""
    stop, place = start + _SAMPLE, start
    for _ in range(2):
        end = LINE_END.search(content, place)
        place = len(content) if end is None else end.end()
    if stop < len(content):
        stop = max(content.rfind(b"\n", start, stop), content.rfind(b"\r", start, stop)) + 1
    return content[start : max(stop, place)].decode("utf-8", "replace")


def _first_lines(content: bytes, start: int, line: int) -> Iterator[tuple[int, int, str]]:
    """Yield for each line where it begins, how many come before it, and its text."""
    while start < len(content):
        end = LINE_END.search(content, start)
        stop = len(content) if end is None else end.start()
        yield start, line, content[start:stop].decode("utf-8", "replace")
        start, line = len(content) if end is None else end.end(), line + 1


def _rows(text: str, separator: str, line: int = 0) -> Iterator[_Row]:
    """Yield the first rows of a table that are not empty."""
    lines = re.split(r"\r\n|\n|\r", text)
    if separator == " ":
        for place, blanks in enumerate(lines[:_ROWS]):
            if blanks.strip():
                yield _Row(blanks.split(), line + place, line + place + 1)
        return
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    before, n_rows = 0, 0
    try:
        for cells in reader:
            if cells and (len(cells) > 1 or cells[0] or lines[before].strip()):
                n_rows += 1
                yield _Row(cells, line + before, line + reader.line_num)
            before = reader.line_num
            if n_rows > _ROWS:
                return
    except csv.Error:  # a value of more than 100,000 characters
        for place, whole in enumerate(lines[:2] if n_rows == 0 else ()):
            yield _Row(whole.split(separator), line + place, line + place + 1)


def _cells(text: str, separator: str) -> list[str]:
    return next(_rows(text, separator), _Row([], 0, 0)).cells


def _usual(rows: list[_Row]) -> int:
    """Return how many values most rows have; what follows a last separator is none."""
    counts = Counter(_n_values(row.cells) for row in _lower(rows))
    return counts.most_common(1)[0][0] if counts else 0


def _lower(rows: list[_Row]) -> list[_Row]:
    """Return the lower half of some rows, where there are neither names nor titles."""
    return rows[-(-len(rows) // 2) :] or rows


def _n_values(cells: list[str]) -> int:
    return len(cells) - (len(cells) > 1 and not cells[-1])


def _agree(rows: list[_Row], usual: int) -> bool:
    """Whether nearly all rows have the usual number of values."""
    agreeing = sum(usual in (len(row.cells), _n_values(row.cells)) for row in rows)
    return agreeing >= _AGREEING * len(rows)


# ---------------------------------------------------------------------------- the separator


def _find_separator(text: str) -> str:
    """Return what separates the values: a comma, unless something else clearly does."""
    rows = list(_rows(text, ","))
    if _usual(rows) == 2 and len(rows[0].cells) == 1 and _is_one_column(rows[1:]):
        return ";"  # which nothing is separated by
    # Whether the first line has as many values as others, and what share of these is no text.
    likely: dict[str, tuple[bool, float]] = {}
    for separator in SEPARATORS:
        rows = list(_rows(text, separator))
        usual = _usual(rows)
        if usual < 2 or not _agree(_lower(rows), usual):
            continue
        values = _values([row.cells for row in _lower(rows)])
        share = sum(_kind(value) != "text" for value in values) / len(values)
        first = _agree(rows[:1], usual)
        # Blanks are in prose, too, and between day and hour.
        if separator != " " or (not likely and share > 0.5 and first):
            likely[separator] = first, share
    if not likely:
        return ","
    best = max(likely, key=lambda s: likely[s])
    first, share = likely.get(",", (False, -1.0))
    return "," if first == likely[best][0] and share >= likely[best][1] - _CLEARLY_MORE else best


def _is_one_column(rows: list[_Row]) -> bool:
    """Whether commas are those of numbers such as 1,5."""
    return all(_kind(",".join(row.cells)) in ("number", "missing") for row in rows)


def _values(rows: list[list[str]]) -> list[str]:
    """Return the values of some rows, a limited number even if they are wide."""
    few = rows[: max(10, _CELLS // max(map(len, rows), default=1))]
    return [value for cells in few for value in cells]


# ------------------------------------------------------------------------- the line of names


def _kind(cell: str) -> str:
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


def _has_names(rows: list[list[str]], known_names: Collection[str]) -> bool:
    """Whether the first row holds names, and not values like those below it."""
    first = [cell.strip() for cell in rows[0]]
    if known_names:
        if {*known_names} <= {*first}:
            return True
        if all(re.fullmatch(r"column_\d+", name) for name in known_names):
            for_names, for_values, _ = _votes(first, rows[1:])
            return for_names > for_values
    below = rows[1 : max(10, _CELLS // max(1, len(first)))]
    if not below:
        return any(_kind(cell) == "text" for cell in first)
    if _counts(first) and any("." in value or "," in value for row in below for value in row):
        return True
    for_names, for_values, seen_below = _votes(first, below)
    return for_names > 0 or not (for_values or 0 < len(first) <= 2 * seen_below)


def _votes(first: list[str], below: list[list[str]]) -> tuple[int, int, int]:
    """Count the columns whose first cell is a name, or a value as below, or a text seen below."""
    for_names, for_values, seen_below = 0, 0, 0
    for place, cell in enumerate(first):
        column = [row[place].strip() for row in below if place < len(row)]
        kinds = Counter(_kind(value) for value in column)
        del kinds["missing"]
        if not kinds:
            continue
        usual, count = kinds.most_common(1)[0]
        if count < _AGREEING * kinds.total():
            continue
        kind = _kind(cell)
        if usual == "text":
            seen_below += kind == "text" and cell in column
        elif kind == "text":
            for_names += 1
        elif kind != "missing":
            for_values += kind == usual
    return for_names, for_values, seen_below


def _counts(names: list[str]) -> bool:
    """Whether names are 0, 1, 2, … or 1, 2, 3, …, as those of columns without any often are."""
    counted = names[1:] if names and not names[0].strip() else names
    if len(counted) < _COUNTED_NAMES:
        return False
    return counted in ([str(i + first) for i in range(len(counted))] for first in (0, 1))


def _names_in(comment: str) -> str:
    return re.sub(r"^#+\s+", "", comment)


def _is_line_of_names(comment: str, rows: list[_Row], separator: str) -> bool:
    """Whether the last line that begins with # belongs to the table."""
    if _n_values(_cells(_names_in(comment), separator)) != _usual(rows):
        return False
    return not rows or not _votes(rows[0].cells, [row.cells for row in rows[1:]])[0]


def _refuse_separator(rows: list[_Row], chosen: str, sample: str) -> None:
    """Raise if something else separates the values."""
    other = _find_separator(sample) if _usual(rows) < 2 else chosen
    if other != chosen and _usual(list(_rows(sample, other))) > 1:
        raise TableError(
            f"the values seem to be separated by {other!r}: set ", Option("separator", other), "."
        )


def _refuse_heading(rows: list[_Row], chosen: str) -> None:
    """Raise if the table begins below its first lines."""
    usual, first, line = _usual(rows), rows[0].cells, rows[0].before
    if len(first) >= usual or usual < 2:
        return
    if 1 < _n_values(first) == _n_values(rows[1].cells):  # a line below has too many values
        return
    place = next(i for i, row in enumerate(rows) if _n_values(row.cells) == usual)
    below = [row.cells for row in _lower(rows)]
    while place + 1 < len(rows) and _votes(rows[place + 1].cells, below)[0]:
        place += 1  # what has as many parts by chance
    if not _agree(rows[place:], usual):
        return
    n_lines = rows[place].before
    if chosen == "," and usual == 2 * len(first) and _are_decimals(rows[1:]):
        raise TableError(
            "a comma stands both between the values and within numbers, as in "
            f"{shown(','.join(rows[1].cells))}: write the file with another separator."
        )
    if place == 1 and len(first) > 1:
        raise TableError(
            f"line {line + 1} holds {len(first)} names, and the lines below it {usual} values: add "
            "the name that is missing, or leave the line out with ",
            Option("skip_lines", n_lines),
            ".",
        )
    raise TableError(
        f"the table begins in line {n_lines + 1}, below {shown(', '.join(first))}: leave out what "
        "is above it with ",
        Option("skip_lines", n_lines),
        ".",
    )


def _are_decimals(rows: list[_Row]) -> bool:
    """Whether each two values may be a number with a decimal comma."""
    pairs = (",".join(row.cells[i : i + 2]) for row in rows for i in range(0, len(row.cells), 2))
    return all(is_number(pair) for pair in pairs)


def _distinct(names: list[str]) -> list[str]:
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
