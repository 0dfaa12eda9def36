"""Numbers as they are written in one country or another."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from skrdae._typing import BoolArray
from skrdae.tables.columns import misfits
from skrdae.tables.errors import Option, TableError, listed, shown

if TYPE_CHECKING:
    from pandas import DataFrame, Series

# What a space between groups of digits may be: narrow, or one that does not break.
_SPACES = " \u00a0\u202f\u2009"
#: What stands in columns of numbers where there is none, besides what pandas takes for missing.
NOTHING = {"-", "--", "---", "–", "—", "?", ".", "..", "*", "na", "n/a", "n.a.", "nan", "null"}
NOTHING |= {"none", "nil", "missing", "(null)", "k.a.", "\\n"}
# Values that tell a column of numbers from one of texts, before all are looked at.
_FEW, _SAMPLE = 20, 1000
_LONGEST_NOTHING = 12


class Style(NamedTuple):
    """How numbers are written.

    Parameters
    ----------
    decimal : str
        Between whole and fraction.
    thousands : str
        Between groups of three digits; empty for none. A space stands for any kind of space.
    """

    decimal: str = "."
    thousands: str = ""


PLAIN = Style()
#: All that are looked for, the simplest first.
STYLES = [Style(d, t) for t in ("", ",", ".", " ", "'", "’") for d in (".", ",") if d != t]


@dataclass
class Numbers:
    """A table whose numbers were read.

    Parameters
    ----------
    table : DataFrame
    style : Style
        How they are written.
    found : list of Option
        What was found out, as whoever reads the file could have said it.
    notes : list of str
        What else there is to say.
    """

    table: DataFrame
    style: Style
    found: list[Option] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


# ------------------------------------------------------------------------------------- texts


@cache
def _pattern(style: Style) -> re.Pattern[str]:
    whole = "[0-9]+"
    if style.thousands:
        groups = f"[1-9][0-9]{{0,2}}(?:[{re.escape(_marks(style))}][0-9]{{3}})+"
        whole = f"(?:{groups}|[0-9]+)"
    point = re.escape(style.decimal)
    return re.compile(
        rf"[ \t]*[+-]?(?:{whole}(?:{point}[0-9]*)?|{point}[0-9]+)(?:[eE][+-]?[0-9]+)?[ \t]*"
    )


def _marks(style: Style) -> str:
    return _SPACES if style.thousands == " " else style.thousands


def fits(texts: Iterable[str], style: Style) -> bool:
    """Whether all texts are numbers of a style."""
    pattern = _pattern(style)
    return all(pattern.fullmatch(text) for text in texts)


@cache
def _any_pattern() -> re.Pattern[str]:
    return re.compile("|".join(_pattern(style).pattern for style in STYLES))


def is_number(text: str) -> bool:
    """Whether a text is a number of any style."""
    return _any_pattern().fullmatch(text) is not None


@cache
def _to_plain(style: Style) -> dict[int, Any]:
    return str.maketrans({**dict.fromkeys(_marks(style)), style.decimal: "."})


def _value(text: str, style: Style) -> float:
    return float(text.translate(_to_plain(style)))


def has_decimal_commas(column: Series) -> bool:
    """Whether all values are numbers, some of them with a decimal comma and none with a point."""
    commas = misfits(column).any()
    return bool(commas) and fits(map(str, column.dropna()), Style(","))


def are_no_numbers(column: Series) -> BoolArray:
    """Return which values are neither missing nor numbers of any style."""
    found = misfits(column)
    found[found] = [not is_number(str(value)) for value in column[found]]
    return found


# ------------------------------------------------------------------------------------ tables


def read_numbers(
    read: Callable[..., DataFrame],
    *,
    decimal: str | None,
    thousands: str | None,
    text: Collection[str],
    times: Collection[str] = (),
) -> Numbers:
    """Read a table, and make numbers of what is written in the style of some country.

    Parameters
    ----------
    read : callable
        Reads the table, with options of :func:`pandas.read_csv`.
    decimal, thousands : str or None
        The parts of a :class:`Style`; None to find them out. ``thousands="none"`` says that
        nothing stands between groups of digits, also where a point could.
    text : collection of str
        Columns that are text, whatever they look like.
    times : collection of str
        Those of them that may be times counted in numbers; they become numbers if they have
        decimal commas.

    Returns
    -------
    Numbers

    Raises
    ------
    TableError
        If numbers could be read in two ways.
    """
    is_sure = thousands == "none"
    thousands = "" if is_sure else thousands
    if decimal is not None and decimal == thousands:
        raise TableError(
            Option("decimal", decimal), " and ", Option("thousands", decimal), " cannot both be."
        )
    if decimal is None and thousands == ".":
        decimal = ","
    style = Style(decimal or ".", thousands or "")
    allowed = [
        s
        for s in ([*STYLES] if style in STYLES else [style, *STYLES])
        if decimal in (None, s.decimal) and thousands in (None, s.thousands)
    ]
    table = read(dtype=dict.fromkeys(text, str), decimal=style.decimal)
    # Numbers with points, if those are found not to be decimal ones.
    types = zip(table.columns, table.dtypes, strict=True)
    pointed = [name for name, kind in types if name not in text and kind.kind == "f"]
    result = Numbers(table, style)
    left = _may_be_numbers(table, text) + _counted_with_commas(table, times)
    sample = _viable(_foreign(table[:_SAMPLE], left, allowed), allowed)
    if len(sample) == 1 and not sample[0].thousands:  # the first rows leave no doubt
        result.style, allowed = sample[0], [s for s in allowed if s.decimal == sample[0].decimal]
        left = _convert_fast(result, left, read)
    foreign = _foreign(result.table, left, allowed)
    viable = _viable(foreign, allowed)
    if viable:
        _refuse_ambiguous(foreign, viable)
        result.style = viable[0]
    left = _convert(result, left, read)
    if result.style != PLAIN:
        pointed = (pointed if style.decimal == "." else []) + left
        _convert_points(result, pointed, read, is_sure=is_sure)
    if decimal is None and result.style.decimal != ".":
        result.found.append(Option("decimal", result.style.decimal))
    if thousands is None and result.style.thousands:
        result.found.append(Option("thousands", result.style.thousands))
    return result


def _may_be_numbers(table: DataFrame, text: Collection[str]) -> list[str]:
    """Return the columns of text whose first values are numbers of some style, or none at all."""
    import pandas as pd

    names = [
        name
        for name, kind in zip(table.columns, table.dtypes, strict=True)
        if name not in text
        and (pd.api.types.is_object_dtype(kind) or pd.api.types.is_string_dtype(kind))
    ]
    first = _written(table[:_FEW], names)
    return [name for name in names if all(map(is_number, first[name]))]


def _counted_with_commas(table: DataFrame, times: Collection[str]) -> list[str]:
    """Return the columns of times that are numbers, some of them with decimal commas."""
    texts = _written(table, [name for name in times if name in table.columns])
    return [n for n, v in texts.items() if any("," in t for t in v) and fits(v, Style(","))]


def _distinct(table: DataFrame, names: list[str]) -> dict[str, list[str]]:
    """Return the different texts of columns, without missing values."""
    import pandas as pd

    if len(table) > _SAMPLE:
        return {name: list(map(str, table[name].dropna().unique())) for name in names}
    # There may be thousands of columns, and pandas takes long for each.
    cells = table[names].to_numpy(dtype=object)
    there = ~pd.isna(cells)
    columns = zip(names, cells.T, there.T, strict=True)
    return {name: list(dict.fromkeys(map(str, column[held]))) for name, column, held in columns}


def _written(table: DataFrame, names: list[str]) -> dict[str, list[str]]:
    """Return the different texts of columns, without those that stand for nothing."""
    return {
        name: [t for t in texts if len(t) > _LONGEST_NOTHING or t.strip().lower() not in NOTHING]
        for name, texts in _distinct(table, names).items()
    }


def _foreign(table: DataFrame, names: list[str], allowed: list[Style]) -> dict[str, list[str]]:
    """Return the texts of columns that hold numbers, but not plain ones."""
    texts = _written(table, names)
    return {n: v for n, v in texts.items() if not fits(v, PLAIN) and _viable({n: v}, allowed)}


def _viable(foreign: dict[str, list[str]], allowed: list[Style]) -> list[Style]:
    """Return the styles that all texts fit, without marks that none of them has."""
    if not foreign:
        return []
    seen = set[str]().union(*(text for texts in foreign.values() for text in texts))
    likely = [s for s in allowed if not s.thousands or seen & {*_marks(s)}]
    return [s for s in likely if all(fits(texts, s) for texts in foreign.values())]


def _refuse_ambiguous(foreign: dict[str, list[str]], viable: list[Style]) -> None:
    """Raise if numbers of several styles would be different ones."""
    first = viable[0]
    for style in viable[1:]:
        found = {
            name: [text for text in texts if _value(text, style) != _value(text, first)]
            for name, texts in foreign.items()
        }
        names = [name for name, texts in found.items() if texts]
        if names:
            mark = style.thousands or first.thousands
            ways = Option("decimal", mark), Option("thousands", mark)
            raise _could_be_two(names, found[names[0]][0], mark, ways)


def _could_be_two(
    names: list[str], text: str, mark: str, ways: tuple[Option, Option]
) -> TableError:
    several = len(names) > 1
    return TableError(
        f"column{'s' * several} {listed(names)} hold{'s' * (not several)} numbers such as "
        f"{shown(text)}, in which {mark!r} may be the decimal mark or stand between thousands: "
        "set ",
        ways[0],
        " or ",
        ways[1],
        ".",
    )


def _convert_fast(result: Numbers, names: list[str], read: Callable[..., DataFrame]) -> list[str]:
    """Let pandas make numbers of columns; return those that hold something else as well."""
    import pandas as pd

    if not names:
        return []
    again, table = read(decimal=result.style.decimal, usecols=names), result.table
    done = [n for n, t in zip(again, again.dtypes, strict=True) if pd.api.types.is_numeric_dtype(t)]
    # All at once: one at a time takes long where there are thousands.
    result.table = pd.concat([table.drop(columns=done), again[done]], axis=1)[table.columns]
    known = {*done}
    return [name for name in names if name not in known]


def _convert(result: Numbers, names: list[str], read: Callable[..., DataFrame]) -> list[str]:
    """Make numbers of columns of texts that fit the style; return the others."""
    style = result.style
    if not style.thousands and style != PLAIN:
        names = _convert_fast(result, names, read)
    others = []
    for name, texts in _written(result.table, names).items():
        if not texts and result.table[name].isna().all():
            continue
        if fits(texts, style):
            _replace(result, name, result.table[name], texts, style)
        else:
            others.append(name)
    return others


def _replace(result: Numbers, name: str, column: Series, texts: list[str], style: Style) -> None:
    """Put numbers in the place of a column of texts; note which of these count as missing."""
    result.table[name] = _numbers(column, texts, style)
    nothing = sorted({*map(str, column.dropna().unique())} - {*texts})
    if nothing:
        verb = "counts" if len(nothing) == 1 else "count"
        result.notes.append(f"Column {shown(name)}: {listed(nothing)} {verb} as missing.")


def _numbers(column: Series, texts: list[str], style: Style) -> Series:
    import pandas as pd

    known = {text: _value(text, style) for text in texts}
    return pd.Series([known.get(str(value), np.nan) for value in column], column.index, dtype=float)


def _convert_points(
    result: Numbers,
    names: list[str],
    read: Callable[..., DataFrame],
    *,
    is_sure: bool,
) -> None:
    """Read numbers with points anew, in which a point may stand between thousands."""
    style = result.style
    written = read(dtype=str, usecols=names) if names else result.table[[]]
    plain: dict[str, list[str]] = {}
    doubtful: dict[str, str] = {}
    for name, texts in _written(written, names).items():
        pointed = [text for text in texts if "." in text]
        if not pointed or not fits(texts, PLAIN):
            continue
        if fits(texts, style):
            _replace(result, name, written[name], texts, style)
        elif not is_sure and style.decimal != "." and fits(texts, Style(style.decimal, ".")):
            doubtful[name] = pointed[0]
        else:
            plain[name] = texts
    if doubtful:
        # Numbers with decimal commas are there as well, so that no decimal mark suits all.
        ways = Option("thousands", "."), Option("thousands", "none")
        raise _could_be_two([*doubtful], next(iter(doubtful.values())), ".", ways)
    for name, texts in plain.items():
        _replace(result, name, written[name], texts, PLAIN)
    if plain:
        several = len(plain) > 1
        result.notes.append(
            f"Column{'s' * several} {listed(plain)} {'are' if several else 'is'} read with a "
            "decimal point, unlike others of the file."
        )
