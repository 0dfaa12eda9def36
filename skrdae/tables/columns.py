"""What the columns of a table hold."""

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from skrdae._typing import Booleans, Floats

if TYPE_CHECKING:
    from pandas import Index, Series

# The form of dates that needs no guessing.
ISO = "ISO8601"


def is_numbers(column: "Series") -> bool:
    """Whether a column, of whatever type, holds numbers and nothing else."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column):
        return True
    return not is_dates(column) and not misfits(column).any()


def is_dates(column: "Series") -> bool:
    """Whether a column has a type of dates, or of lengths of time."""
    import pandas as pd

    types = pd.api.types
    return types.is_datetime64_any_dtype(column) or types.is_timedelta64_dtype(column)


def misfits(column: "Series") -> Booleans:
    """Return which values are neither numbers nor missing."""
    return np.isnan(as_floats(column)) & column.notna().to_numpy()


def as_floats(column: "Series") -> Floats:
    """Return a column as float64; NaN where a value is missing or no number."""
    import pandas as pd

    if not pd.api.types.is_numeric_dtype(column):
        # As objects, because of Arrow's texts pandas makes NaN that it does not count as missing.
        column = pd.to_numeric(column.astype(object), errors="coerce")
    return column.to_numpy(dtype=float, na_value=np.nan)


def not_numbers(name: Any, column: "Series", remedy: str) -> str:
    """Return a sentence on a column that should hold numbers."""
    if is_dates(column):
        return f"Column {name!r} holds dates. Make it the time_column, or ignore it."
    wrong = misfits(column)
    first = int(np.argmax(wrong))
    text = (
        f"Column {name!r} is not numeric: {column.iloc[first]!r} in row {first}, and "
        f"{int(wrong.sum())} of {len(column)} values in all. {remedy}"
    )
    if has_decimal_commas(column):
        return f"{text} (They are numbers with decimal commas: set decimal to ','.)"
    return text


def has_decimal_commas(column: "Series") -> bool:
    """Whether all that is no number becomes one with a point in the place of a comma."""
    wrong = column[misfits(column)].astype(str)
    return len(wrong) > 0 and is_numbers(wrong.str.replace(",", ".", n=1, regex=False))


def time_format(column: "Series", given: str | None = None) -> str | None:
    """Find the form that a column of times is written in.

    Parameters
    ----------
    column : Series
    given : str, optional
        A form of :func:`time.strptime`.

    Returns
    -------
    str or None
        None if it is not text.

    Raises
    ------
    ValueError
        If it has none, or if day and month can be told apart in two ways.
    """
    import pandas as pd
    from pandas.tseries.api import guess_datetime_format

    if given is not None or pd.api.types.is_numeric_dtype(column) or is_dates(column):
        return given
    if _parsed(column, ISO).notna().all():
        return ISO
    first = str(column.iloc[0])
    guesses = {guess_datetime_format(first, dayfirst=day) for day in (False, True)} - {None}
    fitting = sorted(guess for guess in guesses if _parsed(column, guess).notna().all())
    if len(fitting) > 1:
        raise ValueError(
            f"The time_column {column.name!r} may be written as {fitting[0]!r} or {fitting[1]!r}: "
            "set time_format to the one it is."
        )
    if fitting:
        return fitting[0]
    row = int(np.argmax(_parsed(column, min(guesses, default=ISO)).isna()))
    raise ValueError(
        f"The time_column {column.name!r} holds {column.iloc[row]!r} in row {row}, which is not a "
        "time like the others. Set time_format, as in '%d.%m.%Y %H:%M', to say how it is written."
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

    missing = column.isna()
    if missing.any():
        row = int(np.argmax(missing))
        raise ValueError(f"The time_column {column.name!r} has no time in row {row}.")
    if pd.api.types.is_numeric_dtype(column):
        return pd.Index(column)
    if is_dates(column):
        return pd.Index(column)
    found = _parsed(column, form or ISO)
    if found.isna().any():
        row = int(np.argmax(found.isna()))
        raise ValueError(
            f"The time_column {column.name!r} holds {column.iloc[row]!r} in row {row}, which is no "
            f"time of the form {form or ISO!r}."
        )
    return pd.DatetimeIndex(found)


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
    return found
