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
from skrdae.tables.numerals import PLAIN, Numbers, Style, fits, read_numbers

if TYPE_CHECKING:
    from pandas import DataFrame, Series


@dataclass(frozen=True)
class CsvFile:
    """A CSV file in memory.

    Parameters
    ----------
    content : bytes
        In UTF-8.
    form : CsvForm
    na : collection of str, default=()
        Texts that stand for a missing value, besides the usual ones.
    """

    content: bytes
    form: CsvForm
    na: Collection[str] = ()

    def numbers(
        self,
        *,
        decimal: str | None = None,
        thousands: str | None = None,
        text: Collection[str] = (),
        times: Collection[str] = (),
    ) -> Numbers:
        """Return the table, numbers as such.

        Parameters
        ----------
        decimal, thousands : str or None
            How numbers are written; None to find it out.
        text : collection of str
            Columns that are text, even if they look like numbers.
        times : collection of str
            Those of them that may be times counted in numbers.
        """
        if self.form.separator == " ":
            self._refuse_short_rows()
        found = read_numbers(
            self._typed, decimal=decimal, thousands=thousands, text=text, times=times
        )
        if self.form.separator == ";" and decimal is None and thousands is None:
            found.notes += self._noted_points(found)
        # A separator at the ends of the lines begins no column.
        named = zip(self.form.names, self.form.written_names, strict=True)
        unnamed = [name for name, written in named if not written.strip()]
        if not self.form.header:
            unnamed = self.form.names[1:][-1:]
        empty = [name for name in unnamed if found.table[name].isna().all()]
        found.table = found.table.drop(columns=empty)
        return found

    def _noted_points(self, found: Numbers) -> list[str]:
        """Return a note if all points may stand between thousands, where commas are decimal."""
        table = found.table
        types = zip(table.columns, table.dtypes, strict=True)
        names = [name for name, kind in types if kind.kind == "f"]
        if found.style != PLAIN or not all(_whole_thousandths(table[name]) for name in names):
            return []
        written = self._read(dtype=str, usecols=names) if names else table[[]]
        pointed = [t for n in names for t in written[n].dropna() if "." in t]
        if not pointed or not fits(pointed, Style(",", ".")):
            return []
        return [
            f"Numbers such as {pointed[0].strip()} are read with a decimal point; if it stands "
            "between thousands, set --thousands '.' --decimal ','"
        ]

    def written_with(
        self,
        columns: Mapping[str, Any],
        *,
        without: Collection[str] = (),
        decimal: str,
        encoding: str,
    ) -> bytes:
        """Return the file as it is written, with more columns.

        Parameters
        ----------
        columns : mapping of str to array
            The columns that are added, or that take the place of those of their names.
        without : collection of str
            Columns of the file that are left out.
        decimal : str
        encoding : str

        Returns
        -------
        bytes
        """
        form = self.form
        table = self._read(dtype=str, keep_default_na=False)
        table = table.drop(columns=[*without]).assign(**columns)
        names = dict(zip(form.names, form.written_names, strict=True))
        ends = LINE_END.search(self.content)
        line_end = "\n" if ends is None else ends[0].decode()
        text = table.to_csv(
            index=False,
            header=[names.get(name, name) for name in table.columns],
            sep=form.separator,
            decimal=decimal,
            lineterminator=line_end,
            # Where blanks separate, nothing would let the other values move.
            na_rep="NA" if form.separator == " " else "",
        )
        return (self.content[: form.start].decode() + text).encode(encoding)

    def _typed(self, **options: Any) -> "DataFrame":
        """Return the table with numbers as such."""
        import pandas as pd

        if pd.__version__.startswith("2."):
            # To the last bit, as later ones do anyway: a row of CSV scores as that of Parquet.
            options["float_precision"] = "round_trip"
        return self._read(low_memory=False, na_values=[*self.na], **options)

    def _read(self, **options: Any) -> "DataFrame":
        import pandas as pd

        form = self.form
        # A line of names of our own, as many as there are columns: rows may end in a separator.
        names = form.separator.join(map(str, range(len(form.names)))).encode() + b"\n"
        rows = self.content[form.rows_start :]
        if len(form.names) == 1:  # in which a blank line is a missing value
            rows, options = rows.rstrip(), {**options, "skip_blank_lines": False}
        try:
            with warnings.catch_warnings():
                # Rows of more values than there are names: pandas would take other columns.
                warnings.simplefilter("error", pd.errors.ParserWarning)
                return pd.read_csv(
                    io.BytesIO(names + rows),
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

    def _refuse_short_rows(self) -> None:
        """Raise if blanks leave open which value of a row is missing."""
        above = len(LINE_END.findall(self.content[: self.form.rows_start]))
        lines = LINE_END.split(self.content[self.form.rows_start :])
        for place, line in enumerate(lines):
            values = line.split()
            if b'"' in line:
                texts = [" ".join(line.decode().split())]
                values = next(csv.reader(texts, delimiter=" "), [])
            if 0 < len(values) < len(self.form.names):
                raise TableError(
                    f"line {above + place + 1} holds {len(values)} values, fewer than the "
                    f"{len(self.form.names)} columns there are, and blanks do not tell which is "
                    "missing: write NA where a value is missing, or use another separator."
                )

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


def _whole_thousandths(column: "Series") -> bool:
    """Whether numbers have up to three digits before the point and three behind it."""
    values = column.dropna().abs()
    return bool((values < 1000).all() and (values == values.round(3)).all())
