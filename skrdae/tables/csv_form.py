"""How a CSV file is written: its separator, whether it has a line of names, what comes before."""

import re
from collections.abc import Collection
from dataclasses import dataclass, field

from skrdae.tables.csv_names import distinct, has_names, kind_of, votes
from skrdae.tables.csv_rows import (
    Row,
    after_lines,
    agree,
    cells_of,
    first_lines,
    lower_half,
    n_values,
    rows_of,
    sample_of,
    usual_values,
    values_of,
)
from skrdae.tables.errors import Option, TableError, listed, shown
from skrdae.tables.numerals import is_number

#: What stands between values, the usual one first. A space means any number of blanks.
SEPARATORS = (",", ";", "\t", "|", " ")

# By how much the share of numbers has to rise for a comma not to be the separator.
_CLEARLY_MORE = 0.1


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
    start, line = after_lines(content, skip_lines), skip_lines
    comments: list[tuple[int, int, str]] = []
    told = None
    for offset, number, text in first_lines(content, start, line):
        start, line = offset, number
        if text.lower().startswith("sep=") and len(text) == len("sep=;") and told is None:
            told = text[-1]  # what Excel writes
        elif text.startswith("#"):
            comments.append((offset, number, text))
        elif text.strip():
            break
    else:
        start, line = len(content), line + 1
    sample = sample_of(content, start)
    chosen = separator or told or find_separator(sample)
    rows = list(rows_of(sample, chosen, line))
    if comments and header is not False and _is_line_of_names(comments[-1][2], rows, chosen):
        start, line, text = comments[-1]
        row = Row(cells_of(_names_in(text), chosen), line, line + 1)
        rows, header = [row, *rows], True
    if not rows or not rows[0].cells:
        raise TableError("it holds no table: there is nothing in it.")
    if skip_lines == 0:
        _refuse_heading(rows, chosen)
        _refuse_lines_above_names(rows)
    found = []
    if separator is None and chosen != ",":
        found.append(Option("separator", "space" if chosen == " " else chosen))
    first = rows[0].cells
    _refuse_separator(rows, chosen, sample)
    if header is None:
        header, is_sure = has_names([row.cells for row in rows], known_names)
        if not header:
            found.append(Option("no_header"))
        elif not is_sure:
            found.append(Option("header"))
    width = max(len(first), usual_values(rows))
    written = first if header else [f"column_{place + 1}" for place in range(width)]
    rows_start = start
    if header:
        rows_start = after_lines(content, rows[0].end - line, start)
    names = distinct(written)
    notes = [
        f"{shown(was)} is the name of several columns: column {place + 1} is {shown(name)} here."
        for place, (was, name) in enumerate(zip(written, names, strict=True))
        if was.strip() and name != was.strip()
    ]
    return CsvForm(chosen, header, names, written, start, line, rows_start, found, notes)


def find_separator(text: str) -> str:
    """Return what separates the values: a comma, unless something else clearly does."""
    rows = list(rows_of(text, ","))
    if usual_values(rows) == 2 and len(rows[0].cells) == 1 and _is_one_column(rows[1:]):
        return ";"  # which nothing is separated by
    # Whether the first line has as many values as others, and what share of these is no text.
    likely: dict[str, tuple[bool, float]] = {}
    for separator in SEPARATORS:
        rows = list(rows_of(text, separator))
        usual = usual_values(rows)
        if usual < 2 or not agree(lower_half(rows), usual):
            continue
        values = values_of([row.cells for row in lower_half(rows)])
        share = sum(kind_of(value) != "text" for value in values) / len(values)
        first = agree(rows[:1], usual)
        # Blanks are in prose, too, and between day and hour.
        if separator != " " or (not likely and share > 0.5 and first):
            likely[separator] = first, share
    if not likely:
        return ","
    best = max(likely, key=lambda s: likely[s])
    first, share = likely.get(",", (False, -1.0))
    if best == "," and (others := [s for s in likely if s != "," and likely[s] == likely[","]]):
        best = others[0]
    for other in likely:
        if other != "," and likely[other][0] >= first and _is_within_numbers(text, other):
            return other
    return "," if first == likely[best][0] and share >= likely[best][1] - _CLEARLY_MORE else best


def _is_within_numbers(text: str, separator: str) -> bool:
    """Whether commas below the first line are all between digits, and each line has the other."""
    lines = [line for line in re.split(r"\r\n|\n|\r", text) if line.strip()][1:]
    return all(separator in s and not re.search(r"(?<!\d),|,(?!\d)", s) for s in lines)


def _is_one_column(rows: list[Row]) -> bool:
    """Whether commas are those of numbers such as 1,5."""
    return all(kind_of(",".join(row.cells)) in ("number", "missing") for row in rows)


def _names_in(comment: str) -> str:
    return re.sub(r"^#+\s+", "", comment)


def _is_line_of_names(comment: str, rows: list[Row], separator: str) -> bool:
    """Whether the last line that begins with # belongs to the table."""
    if n_values(cells_of(_names_in(comment), separator)) != usual_values(rows):
        return False
    return not rows or not votes(rows[0].cells, [row.cells for row in rows[1:]])[0]


def _refuse_separator(rows: list[Row], chosen: str, sample: str) -> None:
    """Raise if something else separates the values."""
    other = find_separator(sample) if usual_values(rows) < 2 else chosen
    if other != chosen and usual_values(list(rows_of(sample, other))) > 1:
        raise TableError(
            f"the values seem to be separated by {other!r}: set ", Option("separator", other), "."
        )


def _refuse_heading(rows: list[Row], chosen: str) -> None:
    """Raise if the table begins below its first lines."""
    usual, first, line = usual_values(rows), rows[0].cells, rows[0].before
    if len(first) >= usual or usual < 2:
        return
    if 1 < n_values(first) == n_values(rows[1].cells):  # a line below has too many values
        return
    place = next(i for i, row in enumerate(rows) if n_values(row.cells) == usual)
    below = [row.cells for row in lower_half(rows)]
    while place + 1 < len(rows) and votes(rows[place + 1].cells, below)[0]:
        place += 1  # what has as many parts by chance
    if not agree(rows[place:], usual):
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


def _refuse_lines_above_names(rows: list[Row]) -> None:
    """Raise if several lines of as many values as the table has hold text above its numbers."""
    below, place = [row.cells for row in lower_half(rows)], 0
    while 2 * place < len(rows) - 2 and votes(rows[place + 1].cells, below)[0]:
        place += 1
    # A single line may as well hold units, and what is there twice is no name but an error, or the
    # state of a machine that starts.
    cells = rows[place].cells
    if place < 2 or votes(cells, below)[1] or len({*cells}) < len(cells):
        return
    n_lines, heading = rows[place].before, ", ".join(cell for cell in rows[0].cells if cell)
    raise TableError(
        f"the table seems to begin in line {n_lines + 1}, with the names "
        f"{listed(rows[place].cells)}, below {shown(heading)}: leave out what is above it with ",
        Option("skip_lines", n_lines),
        ".",
    )


def _are_decimals(rows: list[Row]) -> bool:
    """Whether each two values may be a number with a decimal comma."""
    pairs = (",".join(row.cells[i : i + 2]) for row in rows for i in range(0, len(row.cells), 2))
    return all(is_number(pair) for pair in pairs)
