"""What the index of a series says about time, in whatever form."""

from __future__ import annotations

import datetime
import re
import sys
from dataclasses import dataclass, replace
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skrdae._columns import has, is_point_in_time
from skrdae._typing import FloatArray
from skrdae.detectors.series_error import SeriesError

#: Kinds of an index. Those of periods are what pandas calls them, "period[M]" for example.
TIMES, NUMBERS = "times", "numbers"
# Nanoseconds of the units of NumPy and pandas.
_UNITS = {"D": 86400e9, "h": 3600e9, "m": 60e9, "s": 1e9, "ms": 1e6, "us": 1e3, "ns": 1.0}

# Objects and text are times if at least this share of them is; the others are then an error.
_LEAST_SHARE = 0.5
_DAY = 86400.0
# So many texts are looked at to tell how they are written.
_SAMPLE = 100
_ISO = re.compile(r"\d{4}-\d\d|\d{8}T\d")
_CLOCK = re.compile(r"(-?\d+ days? \+?)?\d{1,2}:\d\d(:\d\d(\.\d+)?)?")
_COMPACT = {8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
_YEARS = "1900", "2100"  # of the compact forms; other numbers of so many digits are no dates
_DATES = ("%d-%m-%Y", "%m-%d-%Y", "%Y-%m-%d", "%d-%m-%y", "%m-%d-%y", "%d-%b-%Y", "%b-%d,-%Y")
_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")


@dataclass(frozen=True, eq=False)
class TimeIndex:
    """Where the rows of a frame lie in time.

    Attributes
    ----------
    positions : ndarray of shape (n_rows,), int64 or float64
    unit : float
        Nanoseconds of one; 1.0 of numbers and periods.
    kind : str
        "times" (lengths of time, too), "numbers", or a type of periods.
    entries : sequence
        As they were given, for messages.
    groups : ndarray of shape (n_rows,), int, or None
        Which of several series a row belongs to, by the order in which they appear.
    names : sequence
        Of these series.
    """

    positions: NDArray[Any]
    unit: float
    kind: str
    entries: Any
    groups: NDArray[np.intp] | None = None
    names: Any = ()

    def entry(self, row: int) -> str:
        """Return the entry of a row as text."""
        entry = self.entries[int(row)]
        return str(entry.as_py() if has(entry, "as_py") else entry)

    def steps(self, rows: NDArray[np.intp] | None) -> FloatArray:
        """Return the distances between rows, all by default, in nanoseconds or numbers."""
        positions = self.positions if rows is None else self.positions[rows]
        return np.diff(positions).astype(np.float64) * self.unit

    def in_units(self, step: float) -> float:
        """Return a step in seconds, if it is one of time."""
        return step / 1e9 if self.kind == TIMES else step

    def told(self, step: float) -> str:
        """Return a step as text."""
        if self.kind != TIMES:
            return f"{step:g}"
        seconds = step / 1e9
        return f"{seconds / _DAY:g} days" if seconds >= 2 * _DAY else f"{seconds:g} seconds"


def read_index(x: Any, name: str, usual: float | None) -> tuple[Any, TimeIndex | None]:
    """Return a series without a column of times, and what its index says.

    Parameters
    ----------
    x : array-like
        Looked at are the index of pandas, that of the first dimension of xarray, and the first
        column of a table of polars or Arrow if it holds dates.
    name : str
        What messages call it.
    usual : float, optional
        The usual step, which helps to tell days from months in text.

    Returns
    -------
    x : array-like
    index : TimeIndex or None
        None if there is none, or none that tells the time.

    Raises
    ------
    SeriesError
        If entries are missing or unreadable, or it is not clear which level of a MultiIndex is the
        time.
    """
    if has(x, "column_names", "schema") or has(x, "get_columns"):
        return _first_column(x, name)
    index = getattr(x, "index", None)
    if has(x, "dims", "indexes"):
        index = x.indexes.get(x.dims[0])
    pd = sys.modules.get("pandas")
    if pd is None or not isinstance(index, pd.Index):
        return x, None
    if isinstance(index, pd.MultiIndex):
        return x, _read_levels(index, name, usual)
    return x, _read(index, index, name, usual)


def _first_column(x: Any, name: str) -> tuple[Any, TimeIndex | None]:
    """Split a table of polars or Arrow that begins with a column of dates."""
    is_arrow = has(x, "column_names")
    names, types = (x.column_names, x.schema.types) if is_arrow else (x.columns, x.dtypes)
    if len(names) < 2 or not is_point_in_time(types[0]):
        return x, None
    column = x.column(0) if is_arrow else x.to_series(0)
    times = np.asarray(column)
    if np.isnat(times).any():
        raise _missing(name, f"column {names[0]!r}")
    unit = _UNITS[np.datetime_data(times.dtype)[0]]
    rest = x.select([*range(1, len(names))] if is_arrow else names[1:])
    return rest, TimeIndex(times.astype(np.int64), unit, TIMES, column)


def _missing(name: str, place: str = "index") -> SeriesError:
    text = f"The {place} of {name} has missing entries (NaT or NaN): drop those rows."
    return SeriesError(text, "missing", series=name)


def _read_levels(index: Any, name: str, usual: float | None) -> TimeIndex | None:
    """Read a MultiIndex, of which one level is the time and the others name the series."""
    levels = [index.get_level_values(level) for level in range(index.nlevels)]
    found: list[Any] = [_read(level, level, name, usual) for level in levels]
    numbered = [i for i, level in enumerate(found) if level is not None]
    of_time = [i for i in numbered if found[i].kind != NUMBERS] or numbered
    if len(of_time) != 1:
        raise SeriesError(
            f"The index of {name} has {index.nlevels} levels, of which {len(of_time)} may be the "
            "time. Make one of them dates; or pass a list of series, say [part.droplevel(0) for "
            f"_, part in {name}.groupby(level=0)].",
            "levels",
            series=name,
            count=len(of_time),
        )
    (place,) = of_time
    if index.nlevels == 1:
        return found[place]
    if any(level.hasnans for level in levels):
        raise _missing(name)
    groups, names = index.droplevel(place).factorize()
    return replace(found[place], groups=groups, names=names)


def _read(index: Any, entries: Any, name: str, usual: float | None) -> TimeIndex | None:
    """Read an index of one level."""
    pd = sys.modules["pandas"]
    if hasattr(index.dtype, "categories") and index.dtype.categories.dtype.kind in "iufb":
        return None  # kinds of rows, by numbers
    if hasattr(index.dtype, "categories") or hasattr(index.dtype, "pyarrow_dtype"):
        return _read(pd.Index(index.to_numpy()), entries, name, usual)
    if isinstance(index, pd.IntervalIndex):
        return _read(index.left, entries, name, usual)
    if not hasattr(index, "asi8") and index.dtype.kind not in "iuf":
        index = _of_objects(index, name, usual)
        if index is None:
            return None
    if index.hasnans:
        raise _missing(name)
    if isinstance(index, pd.PeriodIndex):
        return TimeIndex(index.asi8, 1.0, str(index.dtype), entries)
    if hasattr(index, "asi8"):
        return TimeIndex(index.asi8, _UNITS[index.unit], TIMES, entries)
    numbers = index.to_numpy(np.float64)
    if not np.isfinite(numbers).all():
        raise _missing(name)
    if index.dtype.kind in "iu" and (np.abs(numbers) < 2.0**62).all():  # differences are exact
        numbers = index.to_numpy(np.int64)
    return TimeIndex(numbers, 1.0, NUMBERS, entries)


def _of_objects(index: Any, name: str, usual: float | None) -> Any:
    """Return text and objects as an index of times or numbers; None if they are neither."""
    pd = sys.modules["pandas"]
    values = index.to_numpy(dtype=object)
    present = values[~index.isna()]
    kinds = list(map(type, present))

    def mostly(*types: type[Any]) -> bool:
        fitting = {kind for kind in set(kinds) if issubclass(kind, types)}
        return sum(kind in fitting for kind in kinds) >= _LEAST_SHARE * len(kinds)

    if not kinds:
        return None
    if mostly(str):
        found = _of_text(values, usual, name)
    elif mostly(datetime.date, np.datetime64):
        found = pd.to_datetime(pd.Index(values, dtype=object), utc=True, errors="coerce")
    elif mostly(datetime.timedelta, np.timedelta64):
        found = pd.to_timedelta(pd.Index(values, dtype=object), errors="coerce")
    elif bool not in kinds and all(issubclass(kind, Real | Decimal) for kind in set(kinds)):
        return pd.Index(values.astype(np.float64))
    elif all(kind.__name__ == "Period" for kind in set(kinds)):
        return pd.PeriodIndex(values)
    elif mostly(datetime.time):
        texts = [v.isoformat() if isinstance(v, datetime.time) else None for v in values]
        found = pd.to_timedelta(pd.Index(texts, dtype=object), errors="coerce")
    else:
        return None
    if found is None:
        return None
    lost = np.asarray(found.isna() & ~index.isna())
    if lost.any():
        row = int(lost.argmax())
        raise SeriesError(
            f"The index of {name} holds times, but {values[row]!r} in row {row} is none: mend it "
            f"or drop the row. ({int(lost.sum())} in all)",
            "unreadable",
            series=name,
            first=str(values[row]),
            count=int(lost.sum()),
        )
    return found


# ------------------------------------------------------------------------------------------ text


def _of_text(values: NDArray[Any], usual: float | None, name: str) -> Any:
    """Return text as an index of times, NaT where it is none; None if most of it is none.

    A number says nothing, but for dates written without separators.
    """
    texts = [v.strip() if isinstance(v, str) else None for v in values]
    present = [text for text in texts if text]
    sample = present[:: max(1, len(present) // _SAMPLE)]
    forms = [f for f in _forms(sample) if _parsed(sample, f).notna().mean() >= _LEAST_SHARE]
    readings = [_parsed(texts, form) for form in forms]
    if not readings:
        return None
    most = max(found.notna().sum() for found in readings)
    best = [found for found in readings if found.notna().sum() == most]
    return _likeliest(best, usual, name)


def _forms(sample: list[str]) -> list[str]:
    """Return the forms that some texts may be written in."""
    if any(map(_ISO.match, sample)):
        return ["ISO8601"]
    if any(map(_CLOCK.fullmatch, sample)):
        return ["clock"]
    digits = [text for text in sample if text.isdecimal() and len(text) in _COMPACT]
    if digits:
        of_dates = _YEARS[0] <= min(digits) <= max(digits) < _YEARS[1]
        return [_COMPACT[len(digits[0])]] if of_dates else []
    separators = {found[1] for text in sample if (found := re.match(r"\w{1,4}([-./ ])\w", text))}
    forms = [d.replace("-", s) + clock for s in separators for d in _DATES for clock in _CLOCKS]
    return [form for form in forms if any(_is_of_form(text, form) for text in sample[:3])]


def _is_of_form(text: str, form: str) -> bool:
    try:
        datetime.datetime.strptime(text, form)
    except ValueError:
        return False
    return True


def _parsed(texts: list[str | None] | list[str], form: str) -> Any:
    pd = sys.modules["pandas"]
    if form == "clock":
        clocks = [text if text and _CLOCK.fullmatch(text) else None for text in texts]
        full = [text + ":00" if text and text.count(":") == 1 else text for text in clocks]
        return pd.to_timedelta(pd.Index(full, dtype=object), errors="coerce")
    return pd.to_datetime(pd.Index(texts, dtype=object), format=form, utc=True, errors="coerce")


def _likeliest(readings: list[Any], usual: float | None, name: str) -> Any:
    """Return the reading with the most even steps, where days and months can change places."""
    steps = [np.diff(np.unique(found.dropna().asi8)) * _UNITS[found.unit] for found in readings]
    if len(readings) == 1 or all(np.array_equal(step, steps[0]) for step in steps):
        return readings[0]

    def unevenness(step: FloatArray) -> list[float]:
        own = float(np.median(step))
        return [float(np.mean(np.abs(step / base - 1) > 0.5)) for base in (usual or own, own)]

    uneven = [unevenness(step) for step in steps]
    best = [i for i, shares in enumerate(uneven) if shares == min(uneven)]
    if len(best) > 1:
        raise SeriesError(
            f"The index of {name} is text with the day or the month first, one as likely as the "
            f"other. Set it to pandas.to_datetime({name}.index, dayfirst=True), or False.",
            "ambiguous",
            series=name,
        )
    return readings[best[0]]
