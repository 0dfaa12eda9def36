"""Tables for the commands: what file, which columns."""

import re
from argparse import Namespace
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from skrdae.commands.console import CommandError, Console
from skrdae.tables import TableEncoder
from skrdae.tables.columns import is_label, is_unnamed, row_numbers
from skrdae.tables.errors import Option, listed, shown
from skrdae.tables.files import TableFile, read_file

if TYPE_CHECKING:
    from pandas import DataFrame

#: The columns that are added to a table; they are never looked at.
SCORE, LABEL = "skrdae_score", "skrdae_label"
ADDED = re.compile(r"skrdae_(score|label|reason_\d+|share_\d+)")


def read(
    options: Namespace,
    console: Console,
    *,
    text: Collection[str],
    times: Collection[str] = (),
    known_names: Collection[str] = (),
) -> TableFile:
    """Read the table that the options name, without what an earlier call added.

    Parameters
    ----------
    options : argparse.Namespace
        Of the command line.
    console : Console
    text : collection of str
        Columns that are text, even if they look like numbers.
    times : collection of str
        Those of them that may be times counted in numbers.
    known_names : collection of str
        Columns that will be asked for.

    Returns
    -------
    TableFile
    """
    if "://" in options.data and not Path(options.data).exists():
        raise CommandError(
            f"{options.data} is an address, and only files are read: download it, or pipe it in, "
            f"as by curl -s {options.data} | skrdae {options.command} -"
        )
    if options.decimal is not None and options.decimal == options.thousands:
        raise CommandError("--decimal and --thousands cannot be the same mark", 2)
    file = read_file(
        options.data,
        separator=options.separator,
        decimal=options.decimal,
        thousands=options.thousands,
        encoding=options.encoding,
        header=options.header,
        skip_lines=options.skip_lines,
        na=options.na,
        text=text,
        times=times,
        known_names=known_names,
    )
    found = {option.name for option in file.found}
    told = bool(found - {"header", "no_header"})  # of which there is more to say
    console.read_with([option.in_shell() for option in file.found], tell=told)
    if "no_header" in found:
        console.note(
            "the first line holds values like those below it, not names: it is read as a row, as "
            f"by --no-header, and the columns are called {listed(file.table.columns, str)}; "
            "--header takes it for names"
        )
    elif "header" in found:
        console.note(
            "the first line holds numbers, but is taken for names; --no-header reads it as a row"
        )
    for note in file.notes:
        console.note(note)
    if not len(file.table):
        raise CommandError(f"{options.data}: there are names of columns, but no rows")
    added = [name for name in file.table.columns if ADDED.fullmatch(name)]
    return replace(file, table=file.table.drop(columns=added))


def leave_out_row_numbers(options: Namespace, console: Console, table: "DataFrame") -> list[str]:
    """Return the columns that only number the rows, and say so."""
    absent = [name for name in options.keep if name not in table.columns]
    if absent:
        raise CommandError(f"--keep {listed(absent)}: there is no such column")
    kept = {*options.keep, *options.ignore, *options.time_column}
    found: list[str] = row_numbers(table, kept)
    others = {*table.columns} - {*found} - {*options.ignore, *options.time_column}
    if found and not others:
        raise CommandError(
            f"column {listed(found)} only numbers the rows, and there is nothing else to look at; "
            f"{Option('keep', found).in_shell()} looks at it all the same"
        )
    for name in found:
        values = table[name]
        what = (
            "The first column, which has no name," if is_unnamed(name) else f"Column {shown(name)}"
        )
        console.note(
            f"{what} numbers the rows ({values.iloc[0]:g}, {values.iloc[1]:g}, …) and is left out; "
            f"{Option('keep', name).in_shell()} keeps it."
        )
    return found


def note_labels(console: Console, table: "DataFrame") -> None:
    """Tell which columns look as if they held the answer."""
    for name, column in table.items():
        if is_label(name, column):
            console.warn(
                f"Column {shown(name)} looks like a label, and counts like any other column; "
                f"{Option('ignore', str(name)).in_shell()} leaves it out."
            )


def order_of(
    options: Namespace, encoder: TableEncoder | None, table: "DataFrame"
) -> NDArray[np.intp]:
    """Return in which order the rows are taken."""
    if not options.sort:
        return np.arange(len(table))
    if encoder is None or encoder.time_column is None:
        raise CommandError("--sort is for series: there is no --time-column to sort by", 2)
    rows: DataFrame = encoder.transform(table)
    return np.argsort(rows.index, kind="stable")


def note_what_was_done(console: Console, encoder: TableEncoder, table: "DataFrame") -> None:
    """Tell what is in the table that a detector does not see as it is."""
    if encoder.dropped_columns_:
        several = len(encoder.dropped_columns_) > 1
        verb = "s {} hold" if several else " {} holds"
        names = listed(encoder.dropped_columns_)
        console.warn(f"Column{verb.format(names)} text and {'are' if several else 'is'} left out.")
    missing = table[encoder.numeric_columns_].isna().sum()
    for name, n_missing in missing[missing > 0].items():
        console.warn(f"Column {shown(name)}: {n_missing} missing values are filled in.")
    for name, known in encoder.categories_.items():
        n_new = int((~table[name].dropna().map(str).isin(known)).sum())
        n_missing = int(table[name].isna().sum())
        if n_new or n_missing:
            found = [f"{n_missing} values are missing"] if n_missing else []
            found += [f"{n_new} were not there in training"] if n_new else []
            console.warn(
                f"Column {shown(name)}: {' and '.join(found)}; they belong to no category."
            )
