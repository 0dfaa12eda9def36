"""Lines and rows of CSV files."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

#: What lines end with.
LINE_END = re.compile(rb"\r\n|\n|\r")

# What is looked at to find out how a file is written, in bytes, rows and cells.
_SAMPLE, _ROWS, _CELLS = 2**20, 500, 50_000
# Lines that tell whether all are quoted as a whole, and how such a line looks.
_FEW_LINES, _QUOTED = 20, re.compile(rb'"(?:[^"]|"")*"')
# So many of the rows have the usual number of values if a separator is the right one.
_AGREEING = 0.9


class Row(NamedTuple):
    """The cells of a row, the number of lines before it, and of those up to its end."""

    cells: list[str]
    before: int
    end: int


def after_lines(content: bytes, n_lines: int, start: int = 0) -> int:
    """Return where the line after some lines begins."""
    for _ in range(n_lines):
        end = LINE_END.search(content, start)
        start = len(content) if end is None else end.end()
    return start


def sample_of(content: bytes, start: int) -> str:
    """Return the first lines, whole ones: many, or two long ones."""
    stop, place = start + _SAMPLE, start
    for _ in range(2):
        end = LINE_END.search(content, place)
        place = len(content) if end is None else end.end()
    if stop < len(content):
        stop = max(content.rfind(b"\n", start, stop), content.rfind(b"\r", start, stop)) + 1
    return content[start : max(stop, place)].decode("utf-8", "replace")


def first_lines(content: bytes, start: int, line: int) -> Iterator[tuple[int, int, str]]:
    """Yield for each line where it begins, how many come before it, and its text."""
    while start < len(content):
        end = LINE_END.search(content, start)
        stop = len(content) if end is None else end.start()
        yield start, line, content[start:stop].decode("utf-8", "replace")
        start, line = len(content) if end is None else end.end(), line + 1


def rows_of(text: str, separator: str, line: int = 0) -> Iterator[Row]:
    """Yield the first rows of a table that are not empty."""
    lines = re.split(r"\r\n|\n|\r", text)
    if separator == " ":
        for place, blanks in enumerate(lines[:_ROWS]):
            if blanks.strip():
                yield Row(blanks.split(), line + place, line + place + 1)
        return
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    before, n_rows = 0, 0
    try:
        for cells in reader:
            if cells and (len(cells) > 1 or cells[0] or lines[before].strip()):
                n_rows += 1
                yield Row(cells, line + before, line + reader.line_num)
            before = reader.line_num
            if n_rows > _ROWS:
                return
    except csv.Error:  # a value of more than 100,000 characters
        for place, whole in enumerate(lines[:2] if n_rows == 0 else ()):
            yield Row(whole.split(separator), line + place, line + place + 1)


def cells_of(text: str, separator: str) -> list[str]:
    """Return the values in a line."""
    return next(rows_of(text, separator), Row([], 0, 0)).cells


def usual_values(rows: list[Row]) -> int:
    """Return how many values most rows have; what follows a last separator is none."""
    counts = Counter(n_values(row.cells) for row in lower_half(rows))
    return counts.most_common(1)[0][0] if counts else 0


def lower_half(rows: list[Row]) -> list[Row]:
    """Return the lower half of some rows, where there are neither names nor titles."""
    return rows[-(-len(rows) // 2) :] or rows


def n_values(cells: list[str]) -> int:
    """Return how many values a row has, without an empty one behind a last separator."""
    return len(cells) - (len(cells) > 1 and not cells[-1])


def agree(rows: list[Row], usual: int) -> bool:
    """Whether nearly all rows have the usual number of values."""
    agreeing = sum(usual in (len(row.cells), n_values(row.cells)) for row in rows)
    return agreeing >= _AGREEING * len(rows)


def values_of(rows: list[list[str]]) -> list[str]:
    """Return the values of the first rows."""
    return [value for cells in few_rows(rows) for value in cells]


def few_rows(rows: list[list[str]]) -> list[list[str]]:
    """Return the first rows, fewer if they are wide."""
    return rows[: max(10, _CELLS // max(map(len, rows), default=1))]


def without_quotes(content: bytes) -> tuple[bytes, bool]:
    """Return a file without the marks that quote each line as a whole, and whether it had them.

    Some programs write them where they take a line for a single value: ``"a,b"``.
    """
    lines = [line for line in content.split(b"\n", _FEW_LINES) if line.strip()][:_FEW_LINES]
    inner = [_unquoted(line) for line in lines]
    separated = any(all(mark in text for text in inner) for mark in (b",", b";", b"\t"))
    if len(lines) < 2 or not separated or not _are_quoted(lines):
        return content, False
    lines = content.splitlines(keepends=True)
    return (b"".join(map(_unquoted, lines)), True) if _are_quoted(lines) else (content, False)


def _are_quoted(lines: list[bytes]) -> bool:
    """Whether all lines below that of the names are quoted as a whole."""
    return all(_QUOTED.fullmatch(line.strip()) for line in lines[1:] if line.strip())


def _unquoted(line: bytes) -> bytes:
    if not _QUOTED.fullmatch(line.strip()):
        return line
    end = line[len(line.rstrip()) :]
    return line.strip()[1:-1].replace(b'""', b'"') + end
