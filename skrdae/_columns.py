"""What the columns of a table mean: numbers, or something else that NumPy would cast to numbers."""

from __future__ import annotations

import datetime
import decimal
import numbers
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from scipy.sparse import issparse

_POINTS_IN_TIME = r"datetime|timestamp|date(\b|32|64)"
_TIMES = "dates or times"
#: What the types of NumPy, pandas, polars, Arrow and Python mean that are no numbers, by how their
#: names begin, in lower case.
_MEANINGS = {
    _TIMES: rf"{_POINTS_IN_TIME}|time(\b|32|64)|timedelta|duration|period|month_day_nano",
    "text": r"(large_)?(str(ing)?|utf8)\b|string_view|categorical|enum|[<>|]?[us]\d",
    "complex numbers": r"complex",
    "intervals": r"interval",
    "bytes": r"(large_|fixed_size_)?binary|bytes",
    "lists": r"(large_|fixed_size_)?list|array|struct|map",
    "NaN": r"natype",  # pandas.NA
}
# Columns that a message names at most.
_SHOWN = 10

#: Name and type of a column, and a function that reads its values.
_Column: TypeAlias = tuple[str, Any, Callable[[], Iterable[Any]]]


def numbers_only(X: Any, name: str = "X") -> Any:
    """Return X if its columns hold numbers; nested lists as an array.

    What a column means decides, not what NumPy can cast: to NumPy dates are numbers, too. Booleans,
    decimals, fractions and categories that are numbers count as numbers, as in scikit-learn, which
    is to check the rest: the shape of X, NaN and infinity.

    Parameters
    ----------
    X : array-like or sparse matrix
    name : str, default="X"
        What messages call it.

    Raises
    ------
    TypeError
        If X is a structured array, or a LazyFrame of polars.
    ValueError
        If columns hold dates, times, text or anything else that is no number, or if entries are
        masked. The message names all of these columns.
    """
    if issparse(X):
        return X
    if type(X).__name__ == "RecordBatch":  # which NumPy reads in ways of its own
        X = sys.modules["pyarrow"].Table.from_batches([X])
    if isinstance(X, list | tuple) or (has(X, "__array__") and not _is_of_columns(X)):
        X = _array_of(X)
    if isinstance(X, np.ndarray):
        if X.dtype.names is not None:
            fields = ", ".join(map(repr, X.dtype.names))
            raise TypeError(
                f"{name} is a structured array with the fields {fields}: pass "
                f"pandas.DataFrame({name}) or structured_to_unstructured({name}), which is in "
                "numpy.lib.recfunctions."
            )
        if np.ma.is_masked(X):
            raise ValueError(
                f"{name} contains NaN: some entries are masked. Fill them in, say by "
                f"{name}.filled(0.0)."
            )
    elif has(X, "collect_schema") and not has(X, "to_numpy"):
        raise TypeError(f"{name} is a LazyFrame, which has no rows yet: pass {name}.collect().")
    found: dict[str, list[str]] = {}
    for column, dtype, values in _columns(X):
        meaning = _meaning(dtype, values)
        if meaning is not None:
            found.setdefault(meaning, []).append(f"{column} ({dtype})".strip())
    if found:
        raise ValueError(_message(found, name))
    return X


def is_point_in_time(dtype: object) -> bool:
    """Whether a type of polars or Arrow is one of dates, with or without a time of day."""
    return re.match(_POINTS_IN_TIME, str(dtype).lower()) is not None


def _is_of_columns(X: object) -> bool:
    """Whether it is an array, or a table or column of pandas, polars or Arrow."""
    names = ("iloc", "get_columns", "to_list", "to_pylist", "column_names")
    return isinstance(X, np.ndarray) or any(has(X, name) for name in names)


def _array_of(X: Any) -> Any:
    """Return something as an array; numbers beside text in nested lists stay numbers."""
    try:
        array = np.asarray(X)
    except ValueError:  # rows of several lengths, of which scikit-learn speaks
        return X
    except TypeError:  # types that have none in common
        return np.array(X, dtype=object)
    if array.dtype.kind in "US" and array.ndim <= 2:
        return np.array(X, dtype=object)
    return array


def has(X: object, *attributes: str) -> bool:
    """Whether objects of this type have such attributes; columns of a frame are none of them."""
    return all(hasattr(type(X), name) for name in attributes)


def _columns(X: Any) -> Iterator[_Column]:
    """Yield the columns that may hold something else than numbers."""
    if isinstance(X, np.ndarray):
        if X.dtype.kind not in "OmMUS":  # complex arrays are for scikit-learn to refuse
            return
        if X.ndim < 2:
            yield "", X.dtype, partial(getattr, X, "flat")
            return
        for j in range(X.shape[-1]):
            yield f"column {j}", X.dtype, partial(getattr, X[..., j], "flat")
    elif has(X, "iloc", "columns"):  # pandas, and what follows it
        dtypes = list(X.dtypes)
        others = {dtype for dtype in set(dtypes) if not _is_plain(dtype)}
        for j in [j for j, dtype in enumerate(dtypes) if dtype in others] if others else ():
            values = partial(X.iloc.__getitem__, (slice(None), j))
            yield f"column {X.columns[j]!r}", dtypes[j], values
    elif has(X, "column_names", "schema"):  # Arrow
        for name, dtype in zip(X.column_names, X.schema.types, strict=True):
            yield f"column {name!r}", dtype, list
    elif has(X, "get_columns"):  # polars
        for name, column in zip(X.columns, X.get_columns(), strict=True):
            yield f"column {name!r}", column.dtype, column.to_list
    elif has(X, "dtype", "to_list"):  # a Series of pandas or polars
        yield "", X.dtype, X.to_list
    elif has(X, "type", "to_pylist"):  # an array of Arrow
        yield "", X.type, X.to_pylist


def _is_plain(dtype: object) -> bool:
    return isinstance(dtype, np.dtype) and dtype.kind in "biuf"


def _meaning(dtype: Any, values: Callable[[], Iterable[Any]]) -> str | None:
    """Return what a column means if it does not hold numbers."""
    categories: Any = getattr(dtype, "categories", None)
    if hasattr(categories, "dtype"):
        dtype, values = categories.dtype, partial(iter, categories)
    text = re.sub(r"^(dictionary<values=|sparse\[)", "", str(dtype).lower())
    if not text.startswith("object"):
        return _meaning_of(text)
    # None as well for objects that NumPy refuses to cast.
    meanings = {_meaning_of_objects(kind) for kind in set(map(type, values()))}
    return next((meaning for meaning in _MEANINGS if meaning in meanings), None)


def _meaning_of(text: str) -> str | None:
    return next((name for name, form in _MEANINGS.items() if re.match(form, text)), None)


def _meaning_of_objects(kind: type[Any]) -> str | None:
    if issubclass(kind, numbers.Real | decimal.Decimal) and not issubclass(kind, np.timedelta64):
        return None
    # NaT is a datetime.
    if issubclass(kind, datetime.date | datetime.time | datetime.timedelta):
        return _TIMES
    if issubclass(kind, str):
        return "text"
    return _meaning_of(kind.__name__.lower())


def _message(found: dict[str, list[str]], name: str) -> str:
    """Return a sentence for each meaning, and what to do."""
    sentences = []
    for meaning, columns in found.items():
        more = f" and {len(columns) - _SHOWN} more" if len(columns) > _SHOWN else ""
        place = f"in {', '.join(columns[:_SHOWN])}{more}" if columns[0][0] != "(" else columns[0]
        sentences.append(f"{name} contains {meaning} {place}.")
    if _TIMES in found:
        sentences.append(
            "Drop dates and times. WindowedDetector takes them as the index of a DataFrame, or as "
            "the first column of a table of polars or Arrow."
        )
    if "text" in found:
        sentences.append(
            "Convert text first: numbers by X.astype(float), times by pandas.to_datetime."
        )
    sentences.append(
        "skrdae.tables.TableEncoder turns text, categories and missing values into numbers."
    )
    return " ".join(sentences)
