"""What the columns of a table hold."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from skrdae._typing import BoolArray, FloatArray

if TYPE_CHECKING:
    from pandas import DataFrame, Series

# What columns are called that number the rows.
_COUNTING_NAMES = {"index", "idx", "row", "rows", "nr", "nr.", "no", "no.", "num", "number", "#"}
_COUNTING_NAMES |= {"id", "rowid", "row_id", "rownum", "row_number", "row number", "rownumber"}
# What columns are called that say which rows are anomalous.
_LABEL_NAMES = {"label", "labels", "target", "y", "class", "anomaly", "outlier", "fraud", "attack"}
_LABEL_NAMES |= {"anomalous", "abnormal", "normal", "fault", "faulty", "ground_truth", "truth"}
_LABEL_NAMES |= {"is_normal", "y_true", "malicious", "intrusion"}
# In so many rows no measurement goes on by exactly one each time, whatever its name.
_SURELY_COUNTED = 10


def is_numbers(column: Series) -> bool:
    """Whether a column, of whatever type, holds numbers and nothing else."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column):
        return True
    return not is_dates(column) and not misfits(column).any()


def is_dates(column: Series) -> bool:
    """Whether a column has a type of dates, or of lengths of time."""
    import pandas as pd

    types = pd.api.types
    return types.is_datetime64_any_dtype(column) or types.is_timedelta64_dtype(column)


def misfits(column: Series) -> BoolArray:
    """Return which values are neither numbers nor missing."""
    return np.isnan(as_floats(column)) & column.notna().to_numpy()


def as_floats(column: Series) -> FloatArray:
    """Return a column as float64; NaN where a value is missing or no number."""
    import pandas as pd

    if not pd.api.types.is_numeric_dtype(column):
        # As objects, because of Arrow's texts pandas makes NaN that it does not count as missing.
        values = column.astype(object)
        try:
            column = pd.to_numeric(values, errors="coerce")
        except TypeError:  # lists, dicts: not even texts
            scalars = values.map(lambda value: value if np.isscalar(value) else None)
            column = pd.to_numeric(scalars, errors="coerce")
    return column.to_numpy(dtype=float, na_value=np.nan)


def row_numbers(table: DataFrame, kept: Collection[Any] = ()) -> list[Any]:
    """Return the names of the columns that do nothing but number the rows.

    That is a first column without a name that holds a different whole number in each row, as an
    index does; a column called "index", "id" or the like that counts from 0 or 1; and any column
    that goes on by one, or goes back by one, from each row of at least ten to the next.

    Parameters
    ----------
    table : DataFrame
    kept : collection
        Columns that are not looked at.

    Returns
    -------
    list

    Examples
    --------
    >>> import pandas as pd
    >>> from skrdae.tables.columns import row_numbers
    >>> table = pd.DataFrame({"Unnamed: 0": [0, 1, 3], "id": [1, 2, 3], "power": [5, 6, 7]})
    >>> row_numbers(table)
    ['Unnamed: 0', 'id']
    """
    import pandas as pd

    found = []
    for place, (name, column) in enumerate(table.items()):
        if name in kept or len(table) < 2 or not pd.api.types.is_numeric_dtype(column):
            continue
        values = as_floats(column)
        if not np.isfinite(values).all():
            continue
        steps = np.diff(values)
        counts = bool((steps == 1).all() or (steps == -1).all())
        if place == 0 and is_unnamed(name):
            whole = (values % 1 == 0).all() and values.min() >= 0
            counts |= whole and (column.is_unique or np.mean(steps == 1) >= 0.9)
        elif str(name).strip().lower() in _COUNTING_NAMES:
            counts &= values.min() in (0, 1) or len(table) >= _SURELY_COUNTED
        else:
            counts &= len(table) >= _SURELY_COUNTED
        if counts:
            found.append(name)
    return found


def is_label(name: object, column: Series) -> bool:
    """Whether a column looks as if it said which rows are anomalous: by its name and two values.

    Examples
    --------
    >>> import pandas as pd
    >>> from skrdae.tables.columns import is_label
    >>> is_label("is_anomaly", pd.Series([0, 0, 1]))
    True
    """
    bare = re.sub(r"[\s-]+", "_", str(name).strip().lower())
    known = bare in _LABEL_NAMES or bare.removeprefix("is_") in _LABEL_NAMES
    return known and column.nunique() <= 2


def is_unnamed(name: object) -> bool:
    """Whether a column has no name, or that which pandas gives to those that have none."""
    return str(name).strip() == "" or str(name).startswith(("Unnamed: ", "__index_level_"))
