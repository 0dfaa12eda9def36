"""CSV files, read in the form that was found, and written in it again."""

import contextlib
import csv
import io
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skrdae.tables.csv_form import CsvForm
from skrdae.tables.csv_rows import LINE_END
from skrdae.tables.errors import TableError
from skrdae.tables.numerals import Numbers, read_numbers

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class CsvFile:
    """A CSV file in memory.

    Parameters
    ----------
    content : bytes
        In UTF-8.
    form : CsvForm
    """

    content: bytes
    form: CsvForm

    def numbers(
        self,
        *,
        decimal: str | None = None,
        thousands: str | None = None,
        text: Collection[str] = (),
    ) -> Numbers:
        """Return the table, numbers as such.

        Parameters
        ----------
        decimal, thousands : str or None
            How numbers are written; None to find it out.
        text : collection of str
            Columns that are text, even if they look like numbers.
        """
        found = read_numbers(self._typed, decimal=decimal, thousands=thousands, text=text)
        # A separator at the ends of the lines begins no column.
        named = zip(self.form.names, self.form.written_names, strict=True)
        unnamed = [name for name, written in named if not written.strip()]
        if not self.form.header:
            unnamed = self.form.names[1:][-1:]
        empty = [name for name in unnamed if found.table[name].isna().all()]
        found.table = found.table.drop(columns=empty)
        return found

    def written_with(
        self, columns: Mapping[str, Any], order: Any, *, decimal: str, encoding: str
    ) -> bytes:
        """Return the file as it is written, with more columns.

        Parameters
        ----------
        columns : mapping of str to array
            The columns that are added, or that take the place of those of their names.
        order : array of int
            Of the rows, as the columns have them.
        decimal : str
        encoding : str

        Returns
        -------
        bytes
        """
        form = self.form
        table = self._read(dtype=str, keep_default_na=False).iloc[order].assign(**columns)
        names = dict(zip(form.names, form.written_names, strict=True))
        ends = LINE_END.search(self.content)
        line_end = "\n" if ends is None else ends[0].decode()
        text = table.to_csv(
            index=False,
            header=[names.get(name, name) for name in table.columns],
            sep=form.separator,
            decimal=decimal,
            lineterminator=line_end,
        )
        return (self.content[: form.start].decode() + text).encode(encoding)

    def _typed(self, **options: Any) -> "DataFrame":
        """Return the table with numbers as such."""
        import pandas as pd

        if pd.__version__.startswith("2."):
            # To the last bit, as later ones do anyway: a row of CSV scores as that of Parquet.
            options["float_precision"] = "round_trip"
        return self._read(low_memory=False, **options)

    def _read(self, **options: Any) -> "DataFrame":
        import pandas as pd

        form = self.form
        # A line of names of our own, as many as there are columns: rows may end in a separator.
        names = form.separator.join(map(str, range(len(form.names)))).encode() + b"\n"
        try:
            with warnings.catch_warnings():
                # Rows of more values than there are names: pandas would take other columns.
                warnings.simplefilter("error", pd.errors.ParserWarning)
                return pd.read_csv(
                    io.BytesIO(names + self.content[form.rows_start :]),
                    sep=r"\s+" if form.separator == " " else form.separator,
                    names=form.names,
                    header=0,
                    index_col=False,
                    skipinitialspace=True,
                    encoding="utf-8",
                    **options,
                )
        except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
            raise self._explained() from error

    def _explained(self) -> TableError:
        """Return an error that says which line is not as it should be."""
        form, width = self.form, len(self.form.names)
        lines = list(io.StringIO(self.content[form.rows_start :].decode(), newline=""))
        above = len(LINE_END.findall(self.content[: form.rows_start]))
        blanks = form.separator == " "
        last = done = 0
        with contextlib.suppress(csv.Error):
            reader = csv.reader(lines, delimiter="\t" if blanks else form.separator)
            for cells in reader:
                values = cells[0].split() if blanks and cells else cells
                while len(values) > width and not values[-1]:
                    values = values[:-1]
                if len(values) > width:
                    mark = "blank" if blanks else repr(form.separator)
                    return TableError(
                        f"line {above + done + 1} holds {len(values)} values, more than the "
                        f"{width} columns there are. Correct it, or put values that hold a {mark} "
                        "in quotation marks."
                    )
                last, done = done, reader.line_num
        if "".join(lines[last:]).count('"') % 2:
            return TableError(f"a quotation mark in line {above + last + 1} is never closed.")
        return TableError(f"it cannot be read as CSV beyond line {above + done}.")
