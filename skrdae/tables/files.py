"""Tables in files."""

import importlib
import lzma
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import DataFrame

#: How the names of Parquet files end.
PARQUET = (".parquet", ".pq")
_BROKEN = (ValueError, EOFError, zlib.error, zipfile.BadZipFile, lzma.LZMAError, tarfile.TarError)


def is_parquet(path: str | PathLike[str]) -> bool:
    """Whether a file is Parquet by its name."""
    return Path(path).suffix.lower() in PARQUET


def read_table(
    path: str | PathLike[str],
    *,
    separator: str = ",",
    decimal: str = ".",
    text: Iterable[str] = (),
) -> "DataFrame":
    """Read a CSV or Parquet file.

    Parameters
    ----------
    path : str or path-like
        Parquet if it ends in .parquet or .pq, else CSV, which may be compressed.
    separator : str, default=","
        Between the values of a CSV file.
    decimal : str, default="."
        Between the digits of its numbers.
    text : collection of str, default=()
        Columns of a CSV file that are text, even if they look like numbers.

    Returns
    -------
    DataFrame

    Raises
    ------
    ImportError
        Without pandas, or pyarrow for Parquet.
    OSError, ValueError
        If the file cannot be read, or holds no table.
    """
    pandas = _pandas_for(path)
    if is_parquet(path):
        return _read_parquet(path)
    options: dict[str, Any] = {"low_memory": False, "decimal": decimal}
    if pandas.__version__.startswith("2."):
        # To the last bit, as later ones do anyway: a row of CSV scores as that of Parquet.
        options["float_precision"] = "round_trip"
    return _read_csv(path, separator, dtype=dict.fromkeys(text, str), **options)


def read_text(path: str | PathLike[str], *, separator: str = ",") -> "DataFrame":
    """Read a CSV file as it is written, all columns as text.

    Parameters
    ----------
    path : str or path-like
    separator : str, default=","

    Returns
    -------
    DataFrame
    """
    return _read_csv(path, separator, dtype=str, keep_default_na=False)


def _read_csv(path: str | PathLike[str], separator: str, **options: Any) -> "DataFrame":
    import pandas as pd

    with Path(path).open("rb"):  # a file, and nothing that pandas would fetch from elsewhere
        pass
    try:
        with warnings.catch_warnings():
            # Rows longer than the line of names: pandas would take names for other columns.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(path, sep=separator, index_col=False, **options)
    except pd.errors.ParserWarning:
        raise ValueError(
            f"{path} has rows with more values than there are names in its first line."
        ) from None
    except _BROKEN as error:  # pandas' own, and what is not UTF-8
        raise ValueError(f"{path} cannot be read as CSV in UTF-8: {error}") from error
    except OSError as error:
        if error.errno is None:  # of a decompressor
            raise ValueError(f"{path} cannot be read as CSV in UTF-8: {error}") from error
        raise
    if table.shape[1] == 1:
        header = str(table.columns[0])
        for other in {";", "\t", "|", ","} - {separator}:
            if other in header:
                raise ValueError(
                    f"{path} seems to be separated by {other!r}: set separator to that."
                )
    return table


def _read_parquet(path: str | PathLike[str]) -> "DataFrame":
    import pandas as pd

    with Path(path).open("rb"):
        pass
    try:
        table = pd.read_parquet(path)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as Parquet: {error}") from error
    names = [name for name in table.index.names if name is not None and name not in table.columns]
    # An index that has a name was a column of the table once.
    return table.reset_index() if names else table.reset_index(drop=True)


def table_bytes(table: "DataFrame", path: str | PathLike[str], *, separator: str = ",") -> bytes:
    """Return a table as the bytes of a CSV or Parquet file, whichever `path` ends in.

    Parameters
    ----------
    table : DataFrame
    path : str or path-like
    separator : str, default=","

    Returns
    -------
    bytes
    """
    if is_parquet(path):
        return table.to_parquet(index=False)
    return table.to_csv(index=False, sep=separator).encode()


def _pandas_for(path: str | PathLike[str]) -> Any:
    try:
        import pandas

        if is_parquet(path):
            importlib.import_module("pyarrow")  # which pandas reads it with
    except ImportError as error:
        raise ImportError(
            f"{path} needs pandas, and pyarrow for Parquet: pip install 'skrdae[tables]'."
        ) from error
    return pandas
