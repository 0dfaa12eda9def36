"""Numbers as they are written in one country or another."""

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

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

    table: "DataFrame"
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


def has_decimal_commas(column: "Series") -> bool:
    """Whether all that is no number is one with a decimal comma."""
    wrong = column[misfits(column)]
    return len(wrong) > 0 and fits(map(str, wrong), Style(","))


# ------------------------------------------------------------------------------------ tables


def read_numbers(
    read: "Callable[..., DataFrame]",
    *,
    decimal: str | None,
    thousands: str | None,
    text: Collection[str],
) -> Numbers:
    """Read a table, and make numbers of what is written in the style of some country.

    Parameters
    ----------
    read : callable
        Reads the table, with options of :func:`pandas.read_csv`.
    decimal, thousands : str or None
        The parts of a :class:`Style`; None to find them out.
    text : collection of str
        Columns that are text, whatever they look like.

    Returns
    -------
    Numbers

    Raises
    ------
    TableError
        If numbers could be read in two ways.
    """
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
    pointed = [n for n in table.columns if n not in text and table[n].dtype.kind == "f"]
    result = Numbers(table, style)
    left = [n for n in table.columns if _may_be_numbers(table, n, text)]
    sample = _viable(_foreign(table[:_SAMPLE], left, allowed), allowed)
    if len(sample) == 1 and not sample[0].thousands:  # the first rows leave no doubt
        result.style, allowed = sample[0], [s for s in allowed if s.decimal == sample[0].decimal]
        left = _convert_fast(result, left, read)
    foreign = _foreign(table, left, allowed)
    viable = _viable(foreign, allowed)
    if viable:
        _refuse_ambiguous(foreign, viable)
        result.style = viable[0]
    _convert(result, left, read)
    if result.style != PLAIN:
        pointed = pointed if style.decimal == "." else left
        _convert_points(result, pointed, read)
    if decimal is None and result.style.decimal != ".":
        result.found.append(Option("decimal", result.style.decimal))
    if thousands is None and result.style.thousands:
        result.found.append(Option("thousands", result.style.thousands))
    return result


def _may_be_numbers(table: "DataFrame", name: str, text: Collection[str]) -> bool:
    """Whether a column is text whose first values are numbers of some style, or stand for none."""
    import pandas as pd

    column, types = table[name], pd.api.types
    if name in text or not (types.is_object_dtype(column) or types.is_string_dtype(column)):
        return False
    return all(map(is_number, _written(column.iloc[:_FEW])))


def _written(column: "Series") -> list[str]:
    """Return the different texts of a column, without those that stand for nothing."""
    found = map(str, column.dropna().unique())
    return [t for t in found if len(t) > _LONGEST_NOTHING or t.strip().lower() not in NOTHING]


def _foreign(table: "DataFrame", names: list[str], allowed: list[Style]) -> dict[str, list[str]]:
    """Return the texts of columns that hold numbers, but not plain ones."""
    texts = {name: _written(table[name]) for name in names}
    return {n: v for n, v in texts.items() if not fits(v, PLAIN) and _viable({n: v}, allowed)}


def _viable(foreign: dict[str, list[str]], allowed: list[Style]) -> list[Style]:
    """Return the styles that all texts fit, without marks that none of them has."""
    if not foreign:
        return []
    seen = {c for texts in foreign.values() for text in texts for c in text}
    likely = [s for s in allowed if not s.thousands or seen & {*_marks(s)}]
    return [s for s in likely if all(fits(texts, s) for texts in foreign.values())]


def _refuse_ambiguous(foreign: dict[str, list[str]], viable: list[Style]) -> None:
    """Raise if numbers of several styles would be different ones."""
    for style in viable[1:]:
        for name, texts in foreign.items():
            for text in texts:
                if _value(text, style) != _value(text, viable[0]):
                    raise _could_be_two(name, text, style.thousands or viable[0].thousands)


def _could_be_two(name: str, text: str, mark: str) -> TableError:
    return TableError(
        f"column {shown(name)} holds numbers such as {shown(text)}, in which {mark!r} may be the "
        "decimal mark or stand between thousands: set ",
        Option("decimal", mark),
        " or ",
        Option("thousands", mark),
        ".",
    )


def _convert_fast(result: Numbers, names: list[str], read: "Callable[..., DataFrame]") -> list[str]:
    """Let pandas make numbers of columns; return those that hold something else as well."""
    import pandas as pd

    again = read(decimal=result.style.decimal, usecols=names) if names else result.table[[]]
    left = []
    for name in names:
        if pd.api.types.is_numeric_dtype(again[name]):
            result.table[name] = again[name]
        else:
            left.append(name)
    return left


def _convert(result: Numbers, names: list[str], read: "Callable[..., DataFrame]") -> None:
    """Make numbers of columns of texts that fit the style."""
    table, style = result.table, result.style
    if not style.thousands and style != PLAIN:
        names = _convert_fast(result, names, read)
    for name in names:
        column = table[name]
        texts = _written(column)
        if column.isna().all() or not fits(texts, style):
            continue
        table[name] = _numbers(column, texts, style)
        nothing = sorted({*map(str, column.dropna().unique())} - {*texts})
        if nothing:
            verb = "counts" if len(nothing) == 1 else "count"
            result.notes.append(f"Column {shown(name)}: {listed(nothing)} {verb} as missing.")


def _numbers(column: "Series", texts: list[str], style: Style) -> "Series":
    import pandas as pd

    known = {text: _value(text, style) for text in texts}
    return pd.Series([known.get(str(value), np.nan) for value in column], column.index, dtype=float)


def _convert_points(result: Numbers, names: list[str], read: "Callable[..., DataFrame]") -> None:
    """Read numbers with points anew, in which a point may stand between thousands."""
    table, style = result.table, result.style
    written = read(dtype=str, usecols=names) if names else table[[]]
    for name in names:
        texts = _written(written[name])
        pointed = [text for text in texts if "." in text]
        if not pointed or not fits(texts, PLAIN):
            continue
        if fits(texts, style):
            table[name] = _numbers(written[name], texts, style)
        elif style.decimal != "." and fits(texts, Style(style.decimal, ".")):
            raise _could_be_two(name, pointed[0], ".")
        else:
            table[name] = _numbers(written[name], texts, PLAIN)
            result.notes.append(
                f"Column {shown(name)} is read with a decimal point, unlike others of the file."
            )
