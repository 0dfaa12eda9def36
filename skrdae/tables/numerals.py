"""Numbers as they are written in one country or another."""

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from skrdae.tables.columns import misfits
from skrdae.tables.errors import Option, TableError, shown

if TYPE_CHECKING:
    from pandas import DataFrame, Series

# What a space between groups of digits may be: narrow, or one that does not break.
_SPACES = " \u00a0\u202f\u2009"
#: What stands in columns of numbers where there is none, besides what pandas takes for missing.
NOTHING = {"-", "--", "---", "–", "—", "?", ".", "..", "*", "na", "n/a", "n.a.", "nan", "null"}
NOTHING |= {"none", "nil", "missing", "(null)", "k.a.", "\\n"}
# Values that tell a column of numbers from one of texts, before all are looked at.
_FEW = 20


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
    table: "DataFrame",
    texts_of: "Callable[[list[str]], DataFrame]",
    *,
    decimal: str | None,
    thousands: str | None,
    text: Collection[str],
) -> Numbers:
    """Make numbers of what is written in the style of some country.

    Parameters
    ----------
    table : DataFrame
        Of numbers that are written plainly, and of texts.
    texts_of : callable
        Returns columns as they are written.
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
    texts = {n: _written(table[n]) for n in table.columns if n not in text and _is_text(table[n])}
    given = Style(decimal or ".", thousands or "")
    allowed = [
        style
        for style in {*STYLES, given}
        if decimal in (None, style.decimal) and thousands in (None, style.thousands)
    ]
    allowed.sort(key=lambda s: STYLES.index(s) if s in STYLES else -1)
    result = Numbers(table.copy(deep=False), given)
    foreign = {n: values for n, values in texts.items() if _is_foreign(values, allowed)}
    viable = [s for s in allowed if foreign and all(fits(v, s) for v in foreign.values())]
    if viable:
        _refuse_ambiguous(foreign, viable)
        result.style = _of_other_columns(table, texts_of, viable)
        if decimal is None and result.style.decimal != ".":
            result.found.append(Option("decimal", result.style.decimal))
        if thousands is None and result.style.thousands:
            result.found.append(Option("thousands", result.style.thousands))
    _convert_texts(result, texts)
    if result.style != PLAIN:
        _convert_numbers(result, texts_of, text)
    return result


def _is_text(column: "Series") -> bool:
    import pandas as pd

    types = pd.api.types
    return types.is_object_dtype(column) or types.is_string_dtype(column)


def _written(column: "Series") -> list[str]:
    """Return the different texts of a column, without those that stand for nothing."""
    found = column.dropna().astype(str).unique()
    return [text for text in found if text.strip().lower() not in NOTHING]


def _is_foreign(texts: list[str], allowed: list[Style]) -> bool:
    """Whether texts are numbers, but not plain ones."""
    if not texts or not all(map(is_number, texts[:_FEW])):
        return False
    return not fits(texts, PLAIN) and any(fits(texts, style) for style in allowed)


def _refuse_ambiguous(foreign: dict[str, list[str]], viable: list[Style]) -> None:
    """Raise if numbers of several styles would be different ones."""
    for name, texts in foreign.items():
        first = [_value(text, viable[0]) for text in texts]
        for style in viable[1:]:
            if first != [_value(text, style) for text in texts]:
                mark = style.thousands or viable[0].thousands
                raise TableError(
                    f"column {shown(name)} holds numbers such as {shown(texts[0])}, in which "
                    f"{mark!r} may be the decimal mark or stand between thousands: set ",
                    Option("decimal", mark),
                    " or ",
                    Option("thousands", mark),
                    ".",
                )


def _of_other_columns(
    table: "DataFrame", texts_of: "Callable[[list[str]], DataFrame]", viable: list[Style]
) -> Style:
    """Return the style that columns with points fit as well, or else the simplest."""
    if len(viable) > 1:
        floats = [n for n in table.columns if table[n].dtype.kind == "f"]
        texts = [_written(column) for _, column in texts_of(floats).items()] if floats else []
        for style in viable:
            if all(fits(values, style) for values in texts):
                return style
    return viable[0]


def _convert_texts(result: Numbers, texts: dict[str, list[str]]) -> None:
    for name, values in texts.items():
        column = result.table[name]
        if not fits(values, result.style) or column.isna().all():
            continue
        result.table[name] = _converted(column, result.style)
        nothing = sorted({*column.dropna().astype(str)} - {*values})
        if nothing:
            listed = ", ".join(map(shown, nothing))
            result.notes.append(f"Column {shown(name)}: {listed} counts as missing.")


def _converted(column: "Series", style: Style) -> "Series":
    import pandas as pd

    def number(value: object) -> float:
        if pd.isna(value) or str(value).strip().lower() in NOTHING:
            return np.nan
        return _value(str(value), style)

    return pd.Series([number(value) for value in column], column.index, dtype=float)


def _convert_numbers(
    result: Numbers, texts_of: "Callable[[list[str]], DataFrame]", text: Collection[str]
) -> None:
    """Read numbers with points anew, in which a point may stand between thousands."""
    table, style = result.table, result.style
    names = [n for n in table.columns if n not in text and table[n].dtype.kind == "f"]
    written = texts_of(names) if names else table[[]]
    for name in names:
        values = _written(written[name])
        if all("." not in value for value in values):
            continue
        if fits(values, style):
            table[name] = _converted(written[name], style)
        elif style.decimal != "." and fits(values, Style(style.decimal, ".")):
            raise TableError(
                f"column {shown(name)} holds numbers such as {shown(values[0])}, in which the "
                "point may be the decimal mark or stand between thousands: set ",
                Option("decimal", "."),
                " or ",
                Option("thousands", "."),
                ".",
            )
        else:
            result.notes.append(
                f"Column {shown(name)} is read with a decimal point, unlike others of the file."
            )
