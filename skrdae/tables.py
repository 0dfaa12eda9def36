"""Tables as people have them: text among the numbers, missing values, a column of times."""

import warnings
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from skrdae._validation import check_parameters, unchanged_on_failure

# One-hot encoding a column of more values than this tells identifiers from each other, not rows.
_MOST_CATEGORIES = 100
#: How the names of Parquet files end.
PARQUET = (".parquet", ".pq")


class TableEncoder(TransformerMixin, BaseEstimator):
    """Make numbers of a table: impute, encode, and take the times as index.

    Put before a detector in a :class:`~sklearn.pipeline.Pipeline`; the command line does. Columns
    go by their names: new tables may hold them in any order, and others besides.

    Parameters
    ----------
    time_column : str or None, default=None
        A column that becomes the index of the result, for
        :class:`~skrdae.WindowedDetector`. Text is read as dates.
    missing : {"error", "median", "mean", "interpolate"}, default="error"
        What to put where a number is missing: that of the column, as it was in `fit`, or a line
        between the rows above and below (where all are missing, the median). Missing text belongs
        to no category.
    categories : {"error", "one-hot", "drop"}, default="error"
        What to do with columns that do not hold numbers: one column for each value that was there
        in `fit`, or leave them out. A new value belongs to none.
    ignore : sequence of str, default=()
        Columns to leave out.

    Attributes
    ----------
    numeric_columns_ : list
        Names of the columns of numbers.
    fill_values_ : ndarray of shape (n_numeric_columns,)
        What is put in; NaN with ``missing="error"``.
    categories_ : dict of str to list of str
        The values of each column that is one-hot encoded.
    n_features_in_ : int
        Columns of the table.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Where X has names that are all strings.

    Examples
    --------
    >>> import pandas as pd
    >>> from skrdae.tables import TableEncoder
    >>> table = pd.DataFrame({"litres": [2.0, None, 4.0], "valve": ["open", "shut", "open"]})
    >>> TableEncoder(missing="median", categories="one-hot").fit_transform(table)
       litres  valve_open  valve_shut
    0     2.0         1.0         0.0
    1     3.0         0.0         1.0
    2     4.0         1.0         0.0
    """

    _parameter_constraints = {
        "time_column": [str, None],
        "missing": [StrOptions({"error", "median", "mean", "interpolate"})],
        "categories": [StrOptions({"error", "one-hot", "drop"})],
        "ignore": ["array-like"],
    }
    _boolean_parameters = ()

    def __init__(self, time_column=None, *, missing="error", categories="error", ignore=()):
        self.time_column = time_column
        self.missing = missing
        self.categories = categories
        self.ignore = ignore

    def fit(self, X, y=None):
        """Learn which columns there are, what to fill in, and the categories.

        Parameters
        ----------
        X : DataFrame, or array-like of shape (n_samples, n_columns)
        y : Ignored
            Not used; present by scikit-learn's convention.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a column is missing, holds no value at all, or something that the parameters do not
            say how to treat. The message names it.
        """
        with unchanged_on_failure(self):
            check_parameters(self)
            self._fit(self._frame(X, reset=True))
        return self

    def _fit(self, frame):
        import pandas as pd

        ignored = [str(name) for name in self.ignore]
        named = [*ignored, *([] if self.time_column is None else [self.time_column])]
        _check_columns(frame, named)
        if self.time_column is not None:
            _times(frame[self.time_column])
        left_out = {*named}
        columns = [name for name in frame.columns if name not in left_out]
        numeric, encoded = [], {}
        for name in columns:
            column = frame[name]
            if column.isna().all():
                raise ValueError(f"Column {name!r} holds no value at all: ignore it.")
            if pd.api.types.is_numeric_dtype(column) or _is_numbers(column):
                numeric.append(name)
            elif self.categories == "one-hot" and not pd.api.types.is_datetime64_any_dtype(column):
                encoded[name] = sorted({str(value) for value in column.dropna()})
                if len(encoded[name]) > _MOST_CATEGORIES:
                    raise ValueError(
                        f"Column {name!r} holds {len(encoded[name])} different texts, more than "
                        f"{_MOST_CATEGORIES}: it hardly says what kind of row this is. Ignore it."
                    )
            elif self.categories != "drop":
                raise ValueError(_not_numbers(name, column))
        if not numeric and not encoded:
            raise ValueError(f"Of the columns {list(frame.columns)} none is left to look at.")
        self.numeric_columns_, self.categories_ = numeric, encoded
        self._by_name = hasattr(self, "feature_names_in_")
        self.fill_values_ = np.full(len(numeric), np.nan)
        numbers = self._numbers(frame)
        for name in encoded:
            self._refuse_missing(name, frame[name].isna())
        if self.missing == "mean":
            self.fill_values_ = np.nanmean(numbers, axis=0)
        elif self.missing != "error":
            self.fill_values_ = np.nanmedian(numbers, axis=0)

    def transform(self, X):
        """Return the numbers of a table.

        Parameters
        ----------
        X : DataFrame, or array-like of shape (n_samples, n_columns)

        Returns
        -------
        DataFrame of pandas, or ndarray of shape (n_samples, n_columns_out)
            The former if X is one. float64, without a missing value; the index is the time, or
            that of X.

        Raises
        ------
        ValueError
            If a column that `fit` saw is missing, or a value is not what it should be.
        """
        import pandas as pd

        check_is_fitted(self)
        frame = self._frame(X, reset=False)
        times = [] if self.time_column is None else [self.time_column]
        _check_columns(frame, [*self.numeric_columns_, *self.categories_, *times])
        index = _times(frame[self.time_column]) if times else frame.index
        numbers = pd.DataFrame(self._numbers(frame), index, self.numeric_columns_)
        if self.missing == "interpolate":
            numbers = numbers.interpolate(limit_direction="both")
        fill = dict(zip(self.numeric_columns_, self.fill_values_, strict=True))
        parts = [numbers.fillna(fill)]
        for name, values in self.categories_.items():
            column = frame[name]
            self._refuse_missing(name, column.isna())
            texts = np.array([str(value) for value in column], dtype=object)
            found = texts[:, None] == np.array(values, dtype=object)
            found[column.isna().to_numpy()] = False
            names = [f"{name}_{value}" for value in values]
            parts.append(pd.DataFrame(found.astype(float), index, names))
        result = pd.concat(parts, axis=1)
        return result if _is_frame(X) else result.to_numpy()

    def get_feature_names_out(self, input_features=None):
        """Return the names of the columns of the result.

        Parameters
        ----------
        input_features : Ignored
            The names are those seen in `fit`.

        Returns
        -------
        ndarray of str objects
        """
        check_is_fitted(self)
        encoded = [f"{name}_{v}" for name, values in self.categories_.items() for v in values]
        prefix = "" if self._by_name else "x"
        plain = [f"{prefix}{name}" for name in self.numeric_columns_]
        return np.array(plain + [f"{prefix}{name}" for name in encoded], dtype=object)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.allow_nan = self.missing != "error"
        return tags

    def _frame(self, X, *, reset):
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError(
                "Tables are read with pandas: pip install 'skrdae[tables]'."
            ) from error
        if hasattr(X, "to_pandas"):  # polars, Arrow
            X = X.to_pandas()
        if _is_frame(X):
            if len(X) == 0 or X.shape[1] == 0:
                raise ValueError(f"The table has {len(X)} rows and {X.shape[1]} columns.")
            twice = X.columns[X.columns.duplicated()]
            if len(twice):
                raise ValueError(f"Column {twice[0]!r} is there twice.")
            if reset:
                validate_data(self, X, skip_check_array=True)
            return X
        X = validate_data(self, X, reset=reset, dtype=None, ensure_all_finite="allow-nan")
        return pd.DataFrame(X)

    def _numbers(self, frame):
        """Return the columns of numbers, NaN where one is missing."""
        columns = []
        for name in self.numeric_columns_:
            column = frame[name]
            if not _is_numbers(column):
                raise ValueError(_not_numbers(name, column))
            values = _as_floats(column)
            self._refuse_missing(name, np.isnan(values))
            if np.isinf(values).any():
                row = int(np.isinf(values).argmax())
                raise ValueError(f"Column {name!r} contains infinity, first in row {row}.")
            columns.append(values)
        if not columns:
            return np.empty((len(frame), 0))
        return np.column_stack(columns)

    def _refuse_missing(self, name, missing):
        if self.missing == "error" and missing.any():
            raise ValueError(
                f"Column {name!r} contains NaN: {int(missing.sum())} of {len(missing)} values are "
                f"missing, the first in row {int(np.argmax(missing))}. Set missing to 'median', "
                "'mean' or 'interpolate', or ignore the column."
            )


def read_table(path, *, separator=","):
    """Read a CSV or Parquet file.

    Parameters
    ----------
    path : str or path-like
        Parquet if it ends in .parquet or .pq, else CSV, which may be compressed.
    separator : str, default=","
        Between the values of a CSV file.

    Returns
    -------
    DataFrame

    Raises
    ------
    ImportError
        Without pandas, or pyarrow for Parquet.
    OSError, ValueError
        If the file cannot be read, or holds no table.
    """
    try:
        import pandas as pd

        if Path(path).suffix in PARQUET:
            return _read_parquet(path)
    except ImportError as error:
        raise ImportError(
            f"{path} is read with pandas, and pyarrow for Parquet: pip install 'skrdae[tables]'."
        ) from error
    try:
        # To the last bit, so that a row of a CSV file scores as that of a Parquet file.
        table = pd.read_csv(path, sep=separator, low_memory=False, float_precision="round_trip")
    except ValueError as error:  # pandas' own, and what is not UTF-8
        raise ValueError(f"{path} is no CSV file in UTF-8: {error}") from error
    header = str(table.columns[0])
    for other in {";", "\t", "|", ","} - {separator}:
        if table.shape[1] == 1 and other in header:
            raise ValueError(f"{path} seems to be separated by {other!r}: set separator to that.")
    return table


def _read_parquet(path):
    import pandas as pd

    try:
        table = pd.read_parquet(path)
    except ValueError as error:
        raise ValueError(f"{path} is no Parquet file: {error}") from error
    # An index that has a name was a column of the table once.
    return table.reset_index(drop=table.index.names == [None])


def write_table(table, path):
    """Return a table as the bytes of a CSV or Parquet file, whichever `path` ends in.

    Parameters
    ----------
    table : DataFrame
    path : str or path-like

    Returns
    -------
    bytes
    """
    if Path(path).suffix in PARQUET:
        return table.to_parquet(index=False)
    return table.to_csv(index=False).encode()


def _is_frame(X):
    return hasattr(X, "iloc") and hasattr(X, "columns")


def _check_columns(frame, names):
    absent = [name for name in names if name not in frame.columns]
    if absent:
        raise ValueError(
            f"The table has no column {', '.join(map(repr, absent))}; it has "
            f"{', '.join(map(repr, frame.columns))}."
        )


def _is_numbers(column):
    """Whether a column, of whatever type, holds numbers and nothing else."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column):
        return True
    if pd.api.types.is_datetime64_any_dtype(column) or pd.api.types.is_timedelta64_dtype(column):
        return False
    return not _misfits(column).any()


def _misfits(column):
    return np.isnan(_as_floats(column)) & column.notna().to_numpy()


def _as_floats(column):
    """Return a column as float64; NaN where a value is missing or no number."""
    import pandas as pd

    if not pd.api.types.is_numeric_dtype(column):
        # As objects, because of Arrow's texts pandas makes NaN that it does not count as missing.
        column = pd.to_numeric(column.astype(object), errors="coerce")
    return column.to_numpy(dtype=float, na_value=np.nan)


def _not_numbers(name, column):
    import pandas as pd

    advice = "Set categories to 'one-hot' or 'drop', or ignore the column."
    if pd.api.types.is_datetime64_any_dtype(column):
        return f"Column {name!r} holds dates. Make it the time_column, or ignore it."
    misfits = _misfits(column) if not pd.api.types.is_timedelta64_dtype(column) else column.notna()
    first = int(np.argmax(misfits))
    return (
        f"Column {name!r} is not numeric: {column.iloc[first]!r} in row {first}, and "
        f"{int(misfits.sum())} of {len(column)} values in all. {advice} (If it holds times, make "
        "it the time_column.)"
    )


def _times(column):
    """Return a column of times as an index."""
    import pandas as pd

    missing = column.isna()
    if missing.any():
        row = int(np.argmax(missing))
        raise ValueError(f"The time_column {column.name!r} has no time in row {row}.")
    if pd.api.types.is_numeric_dtype(column):
        return pd.Index(column)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on a form that pandas cannot name
        try:
            return pd.DatetimeIndex(pd.to_datetime(column))
        except ValueError:  # several offsets from UTC, or no dates
            dates = pd.to_datetime(column, errors="coerce", utc=True)
    if dates.isna().any():
        row = int(np.argmax(dates.isna()))
        raise ValueError(
            f"The time_column {column.name!r} holds {column.iloc[row]!r} in row {row}, which is "
            "not a time like the others."
        )
    return pd.DatetimeIndex(dates)
