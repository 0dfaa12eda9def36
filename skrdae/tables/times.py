"""Times as tables hold them: in some form of text, as digits, counted since 1970."""

import datetime
import functools
import itertools
import re
import warnings
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from skrdae.tables.columns import is_dates
from skrdae.tables.errors import Option, TableError, shown

if TYPE_CHECKING:
    from pandas import DataFrame, Index, Series

# The form of dates that needs no guessing.
ISO = "ISO8601"
#: Forms of numbers that count from 1970, and their units.
EPOCHS = {"epoch s": "s", "epoch ms": "ms", "epoch us": "us", "epoch ns": "ns"}
# Seconds since 1970 of years that measurements are from: 1980 to 2100.
_FIRST_SECOND, _LAST_SECOND = 315_532_800, 4_102_444_800
# Dates written as nothing but digits, by how many these are. Without leading zeros they are
# numbers, and only those that start with the year can be told from other numbers.
_DIGITS = {8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
_MORE_DIGITS = {6: ("%d%m%y", "%m%d%y", "%y%m%d"), 8: ("%d%m%Y", "%m%d%Y")}
_FIRST_YEAR, _LAST_YEAR = 1900, 2100
# Other forms of digits, which may as well be numbers.
_DIGITS_OF_YEARS = ("%y%m%d", "%y%m%d%H%M%S", "%y%m%d%H%M", "%Y%j")
# Rows that tell whether a column holds times at all.
_FEW_ROWS = 100
_DAYS = (
    *(f"{a}{mark}{b}{mark}{c}" for mark in ".-/ " for a, b, c in ("dmY", "mdY", "Ymd", "dmy")),
    *(f"m{mark}d{mark}y" for mark in ".-/"),
    *(f"y{mark}m{mark}d" for mark in ".-/"),
    *(f"d{mark}{month}{mark}{year}" for mark in "- " for month in "bB" for year in "Yy"),
    *(f"{month} d{comma} Y" for month in "bB" for comma in ("", ",")),
    "Ymd",
)
_HOURS: tuple[str, ...] = (
    "",
    "H:M",
    "H:M:S",
    "H:M:S.f",
    "H:M:S,f",
    "I:M p",
    "I:M:S p",
    "I:Mp",
    "I:M:Sp",
)
_HOURS += ("H.M", "H.M.S", "HM", "HMS", "H")
_BETWEEN = (" ", "T", "  ", ", ", "; ", "-", ":", "_")


def time_texts(table: "DataFrame", names: Sequence[Any]) -> "Series":
    """Return the times of a table as one column: the values of several are put side by side.

    Parameters
    ----------
    table : DataFrame
    names : sequence
        One column of times; or several, as for days and hours, or years, months and days.

    Returns
    -------
    Series
        Its name is theirs.
    """
    if len(names) == 1:
        column = table[names[0]]
        texts = column.dtype == object or hasattr(column.dtype, "na_value")
        return column.map(_stripped) if texts else column
    missing = table[list(names)].isna().any(axis=1)
    parts = [table[name].map(_part) for name in names]
    joined = parts[0].astype(object)
    for part in parts[1:]:
        joined = joined + " " + part
    return joined.mask(missing, None).rename(" ".join(map(str, names)))


def _stripped(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value


def _part(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():  # a whole number, others being missing
        value = int(value)
    text = str(value).strip()
    return text.removesuffix(" 00:00:00") if isinstance(value, datetime.datetime) else text


def time_format(column: "Series", given: str | None = None) -> str | None:
    """Find the form that a column of times is written in.

    Parameters
    ----------
    column : Series
    given : str, optional
        A form of :func:`time.strptime`, or one of `EPOCHS`.

    Returns
    -------
    str or None
        None for dates by type, and for numbers that do not look like times.

    Raises
    ------
    TableError
        If it has none, or if day and month can be told apart in two ways.
    """
    if given is not None or is_dates(column):
        return given
    _refuse_missing(column)
    numbers = _numbers(column)
    if numbers is not None:
        return _form_of_digits(column) or _epoch(numbers)
    if _parsed(column, ISO).notna().all():
        return ISO
    fitting = _chosen(column, _guesses(column))
    if len(fitting) > 1:
        raise TableError(
            f"The times in column {shown(column.name)}, such as {shown(column.iloc[0])}, may be "
            f"written as {' or '.join(map(repr, sorted(fitting)))}: set ",
            Option("time_format"),
            " to the one it is.",
        )
    if fitting:
        return fitting[0]
    raise _not_recognised(column)


def _chosen(column: "Series", forms: list[str]) -> list[str]:
    """Return the forms that times fit; one if it alone puts them in order.

    A month that is taken for a day, or a day for a year, makes times leap.
    """
    found = {form: _parsed(column, form) for form in forms}
    fitting = [form for form, times in found.items() if times.notna().all()]
    ordered = [
        form
        for form in fitting
        if found[form].is_monotonic_increasing or found[form].is_monotonic_decreasing
    ]
    if len(ordered) == 1:
        return ordered
    if ordered and not _may_begin_with_years(column):
        fitting = [form for form in fitting if not form.startswith("%y")]
    return fitting


def are_times(column: "Series") -> bool:
    """Whether the first values of a column of text are times in some form, or hours of a day."""
    texts = column.dropna()[:_FEW_ROWS]
    if len(texts) == 0 or _numbers(texts) is not None:
        return False
    if not texts.astype(str).str.contains(r"\d").all():  # names of months or days
        return False
    if texts.astype(str).str.fullmatch(r"\s*\d{1,2}[:.]\d{2}([:.]\d{2}([.,]\d+)?)?\s*").all():
        return True
    return any(_parsed(texts, form).notna().all() for form in [ISO, *_guesses(texts)])


def _not_recognised(column: "Series") -> TableError:
    """Return an error on times that are not all written in one form that is known."""
    forms = _guesses(column)
    failing = min((_parsed(column, form).isna() for form in [ISO, *forms]), key=lambda f: f.sum())
    say_how = Option("time_format", "%d.%m.%Y %H:%M")
    if failing.all():
        return TableError(
            f"The form of the times in column {shown(column.name)} was not recognised: the first "
            f"is {shown(column.iloc[0])}. Say how they are written, as in ",
            say_how,
            ".",
        )
    row, other = int(np.argmax(failing)), int(np.argmin(failing))
    return TableError(
        f"Column {shown(column.name)} holds {shown(column.iloc[row])} in row {row}, which is not "
        f"written like the time {shown(column.iloc[other])} in row {other} ({int(failing.sum())} "
        f"of {len(column)} are not). Correct them, or say how all are written, as in ",
        say_how,
        ".",
    )


def times(column: "Series", form: str | None) -> "Index":
    """Return a column of times as an index.

    Parameters
    ----------
    column : Series
    form : str or None
        What :func:`time_format` found.

    Returns
    -------
    Index
    """
    import pandas as pd

    _refuse_missing(column)
    if is_dates(column):
        return pd.Index(column)
    numbers = _numbers(column)
    if numbers is None and form in EPOCHS:
        row = int(np.argmax(pd.to_numeric(column.astype(object), errors="coerce").isna()))
        raise _no_time(column, row, "which is no number, as times were in training")
    if numbers is not None and form is None:
        return pd.Index(numbers)
    form = form or ISO  # dates by type, in training, and text here
    if numbers is not None and form in EPOCHS:
        found = pd.to_datetime(numbers, unit=EPOCHS[form], errors="coerce")
    else:
        found = _parsed(column if numbers is None else _digits(column, form), form)
    if found.isna().any():
        row = int(np.argmax(found.isna()))
        raise _no_time(column, row, f"which is no time of the form {form!r}")
    return pd.DatetimeIndex(found).rename(column.name)


def _no_time(column: "Series", row: int, what: str) -> TableError:
    return TableError(
        f"Column {shown(column.name)} holds {shown(column.iloc[row])} in row {row}, {what}."
    )


def _refuse_missing(column: "Series") -> None:
    missing = column.isna()
    if missing.any():
        raise TableError(
            f"Column {shown(column.name)} has no time in {int(missing.sum())} of {len(column)} "
            f"rows, the first of them row {int(np.argmax(missing))}: take these rows out."
        )


def _numbers(column: "Series") -> "Series | None":
    """Return a column as numbers, or None if it holds anything else."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column):
        return column
    if _has_leading_zeros(column):
        return None
    try:
        return pd.to_numeric(column.astype(object))
    except (ValueError, TypeError):
        return None


def _has_leading_zeros(column: "Series") -> bool:
    """Whether digits are no number, as those of 01022024 are not."""
    texts = column.astype(str)
    return bool(texts.str.fullmatch(r"0\d+").any())


def _digits(column: "Series", form: str) -> "Series":
    """Return whole numbers as text, with the leading zeros that the form asks for."""
    texts = column.astype(str).str.removesuffix(".0")
    return texts.str.zfill(len(datetime.datetime(2000, 1, 1).strftime(form)))


def _form_of_digits(column: "Series") -> str | None:
    """Return the form of numbers such as 20220131, if they are all dates."""
    texts = column.astype(str).str.removesuffix(".0")
    form = _DIGITS.get(len(texts.iloc[0])) if len(texts) else None
    if form is None or not texts.str.fullmatch(rf"\d{{{len(texts.iloc[0])}}}").all():
        return None
    found = _parsed(texts, form)
    years = found.dt.year
    likely = found.notna().all() and years.between(_FIRST_YEAR, _LAST_YEAR).all()
    return form if likely else None


def _epoch(numbers: "Series") -> str | None:
    """Return which unit since 1970 numbers are, if they look like it."""
    low, high = float(numbers.min()), float(numbers.max())
    for form, factor in zip(EPOCHS, (1, 1e3, 1e6, 1e9), strict=True):
        if _FIRST_SECOND * factor <= low and high <= _LAST_SECOND * factor:
            return form
    return None


def _guesses(column: "Series") -> list[str]:
    """Return the forms that the first time could be written in."""
    from pandas.tseries.api import guess_datetime_format

    first = str(column.iloc[0])
    if first.isdigit():
        return [form for form in _MORE_DIGITS.get(len(first), ()) if _fits(first, form)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # days that come first
        found = {guess_datetime_format(first, dayfirst=day) for day in (False, True)}
    marks = re.sub(r"\w+", "0", first)
    found |= {form for form in _known_forms()[marks] if _fits(first, form)}
    # Where the year comes first, the month follows, whatever pandas holds possible.
    return sorted(f for f in found if f is not None and not re.match(r"%[Yy]\W*%d", f))


def _may_begin_with_years(column: "Series") -> bool:
    """Whether of 24.01.02, 24.01.03, … the last number changes as days do, not the first."""
    parts = column.astype(str).str.extract(r"^\s*(\d\d)\W(?:\d\d)\W(\d\d)\b")
    return bool(parts.notna().all(axis=None) and parts[0].nunique() <= parts[1].nunique())


def form_not_taken(column: "Series") -> str | None:
    """Return in which form numbers could be dates that are taken for plain numbers, if any."""
    texts = column.astype(str).str.removesuffix(".0")
    for form in _DIGITS_OF_YEARS:
        width = len(datetime.datetime(2024, 12, 31).strftime(form))
        if (texts.str.len() == width).all() and _parsed(texts, form).notna().all():
            return form
    return None


@functools.cache
def _known_forms() -> dict[str, list[str]]:
    """Return all forms by what stands between their digits and letters."""
    known = defaultdict(list)
    for day, between, hour in itertools.product(_DAYS, _BETWEEN, _HOURS):
        form = _form(day) + (between + _form(hour) if hour else "")
        known[re.sub(r"[%\w]+", "0", form)].append(form)
    return known


def _form(letters: str) -> str:
    return "".join(f"%{c}" if c.isalpha() else c for c in letters)


def _fits(text: str, form: str) -> bool:
    try:
        found = datetime.datetime.strptime(text, form)
    except ValueError:
        return False
    if not re.search(r"%[dHm]%", form):
        return True
    # Where digits follow one another without a mark, Python would take 13 for three past one.
    digits, again = (re.findall(r"\d+", t) for t in (text, found.strftime(form)))
    return all(len(a) < 3 or b.startswith(a) for a, b in zip(digits, again, strict=True))


def _parsed(column: "Series", form: str) -> "Series":
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # several offsets from UTC
        try:
            found = pd.to_datetime(column, format=form)
        except (ValueError, TypeError):
            found = None
        if found is None or not is_dates(found):  # objects, of several offsets
            found = pd.to_datetime(column, format=form, errors="coerce", utc=True)
    if getattr(found.dtype, "tz", None) is not None:
        # Beside times with an offset those without one are of a zone that nobody has told. pandas 2
        # takes them for UTC.
        zoned = column.astype(str).str.contains(r":\d\d.*(?:[zZ]|[+-]\d\d:?\d\d)\s*$")
        if zoned.any():
            found = found.where(zoned)
    return found
