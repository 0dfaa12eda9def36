"""Tables in files."""

import importlib
import io
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from skrdae.tables.contents import decoded, read_bytes, refuse_other_kinds, unpacked
from skrdae.tables.csv_form import find_form
from skrdae.tables.csv_rows import without_quotes
from skrdae.tables.csv_table import CsvFile
from skrdae.tables.errors import Option, TableError, listed
from skrdae.tables.numerals import PLAIN, fits

if TYPE_CHECKING:
    from pandas import DataFrame

#: How the names of Parquet files end.
PARQUET = (".parquet", ".pq")
_PARQUET_MARK = b"PAR1"


def is_parquet(path: str | PathLike[str]) -> bool:
    """Whether a file is Parquet by its name."""
    return Path(path).suffix.lower() in PARQUET


@dataclass(frozen=True)
class TableFile:
    """A table, and the file it was read from.

    Parameters
    ----------
    table : DataFrame
    csv : CsvFile or None
        None for Parquet.
    decimal, encoding : str
        Of the CSV file.
    found : list of Option
        What was found out about how it is written, as whoever reads it could have said it.
    notes : list of str
        What else there is to say about how it was read.
    """

    table: "DataFrame"
    csv: CsvFile | None
    decimal: str
    encoding: str
    found: list[Option]
    notes: list[str]


def read_file(
    path: str | PathLike[str],
    *,
    separator: str | None = None,
    decimal: str | None = None,
    thousands: str | None = None,
    encoding: str = "utf-8",
    header: bool | None = None,
    skip_lines: int = 0,
    na: Collection[str] = (),
    text: Collection[str] = (),
    times: Collection[str] = (),
    known_names: Collection[str] = (),
) -> TableFile:
    """Read a CSV or Parquet file, and find out what is not told about how it is written.

    Parameters
    ----------
    path : str or path-like
        ``"-"`` is standard input. What is read is told by its content, not by its name.
    separator, decimal, thousands, header : optional
        As for :func:`read_table`; None to find it out.
    encoding, skip_lines, na, text
        As for :func:`read_table`.
    times : collection of str
        Columns of `text` that become numbers all the same if they hold some with decimal commas,
        as times do that are counted.
    known_names : collection of str
        Names that will be asked for: a first line that holds them is one of names.

    Returns
    -------
    TableFile

    Raises
    ------
    ImportError
        Without pandas, or pyarrow for Parquet.
    OSError, TableError
        If the file cannot be read, or holds no table.
    """
    _import("pandas", path)
    name = "standard input" if path == "-" else str(path)
    try:
        content = unpacked(read_bytes(path))
        if content.startswith(_PARQUET_MARK):
            _import("pyarrow", path)
            return TableFile(_without(na, _parquet(content)), None, ".", "utf-8", [], [])
        refuse_other_kinds(content)
        if is_parquet(path):
            raise TableError("it cannot be read as Parquet, but its name says that it is.")
        content, encoding = decoded(content, encoding)
        content, unquoted = without_quotes(content)
        form = find_form(
            content,
            separator=separator,
            header=header,
            skip_lines=skip_lines,
            known_names=known_names,
        )
        file = CsvFile(content, form, na)
        numbers = file.numbers(decimal=decimal, thousands=thousands, text=text, times=times)
    except TableError as error:
        raise TableError(f"{name}: ", *error.parts) from error
    found, notes = [*form.found, *numbers.found], [*form.notes, *numbers.notes]
    if unquoted:
        notes.insert(0, "Each line is in quotation marks as a whole; they are taken off.")
    return TableFile(numbers.table, file, numbers.style.decimal, encoding, found, notes)


def read_table(
    path: str | PathLike[str],
    *,
    separator: str = ",",
    decimal: str = ".",
    thousands: str = "",
    encoding: str = "utf-8",
    header: bool = True,
    skip_lines: int = 0,
    na: Collection[str] = (),
    text: Iterable[str] = (),
) -> "DataFrame":
    """Read a CSV or Parquet file.

    Parameters
    ----------
    path : str or path-like
        Parquet or CSV, which may be compressed; its content decides, not its name.
    separator : str, default=","
        Between the values of a CSV file; ``" "`` is any number of blanks.
    decimal : str, default="."
        Between whole and fraction of its numbers.
    thousands : str, default=""
        Between groups of three digits; ``"none"`` says that nothing stands there, also where a
        point could.
    encoding : str, default="utf-8"
        How its text is encoded. A byte order mark counts for more.
    header : bool, default=True
        Whether its first line holds names. Without them columns are called column_1, column_2, …
    skip_lines : int, default=0
        Lines before the table. Lines that begin with # are left out anyway.
    na : collection of str, default=()
        Texts that stand for a missing value, besides the usual ones: ``["-999", "ERR"]``.
    text : collection of str, default=()
        Columns that are text, even if they look like numbers.

    Returns
    -------
    DataFrame
        In columns of numbers, ``"-"``, ``"?"`` and other signs for nothing are missing values.

    Raises
    ------
    ImportError
        Without pandas, or pyarrow for Parquet.
    OSError, ValueError
        If the file cannot be read, or holds no table.
    """
    return read_file(
        path,
        separator=separator,
        decimal=decimal,
        thousands=thousands,
        encoding=encoding,
        header=header,
        skip_lines=skip_lines,
        na=na,
        text=list(text),
    ).table


def _parquet(content: bytes) -> "DataFrame":
    import pandas as pd
    from pyarrow import parquet

    try:
        names = parquet.read_schema(io.BytesIO(content)).names
        table = None if len({*names}) < len(names) else pd.read_parquet(io.BytesIO(content))
    except Exception as error:  # pyarrow has many
        raise TableError("it cannot be read as Parquet: it is damaged or cut off.") from error
    if table is None:
        twice = [name for name, count in Counter(names).items() if count > 1]
        raise TableError(f"it holds more than one column {listed(twice)}.")
    names = [name for name in table.index.names if name is not None and name not in table.columns]
    # An index that has a name was a column of the table once.
    table = table.reset_index() if names else table.reset_index(drop=True)
    table.columns = [name if isinstance(name, str) else str(name) for name in table.columns]
    return table


def _without(na: Collection[str], table: "DataFrame") -> "DataFrame":
    """Return a table in which some texts, and the numbers that they are, are missing."""
    numbers = [float(text) for text in na if fits([text], PLAIN)]
    return table.mask(table.isin([*na, *numbers])) if na else table


def table_bytes(table: "DataFrame", path: str | PathLike[str]) -> bytes:
    """Return a table as the bytes of a CSV or Parquet file, whichever `path` ends in.

    Parameters
    ----------
    table : DataFrame
    path : str or path-like

    Returns
    -------
    bytes
    """
    if is_parquet(path):
        return table.to_parquet(index=False)
    return table.to_csv(index=False).encode()


def _import(module: str, path: str | PathLike[str]) -> None:
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{path} needs {module} to be read: pip install 'skrdae[tables]'."
        ) from error
