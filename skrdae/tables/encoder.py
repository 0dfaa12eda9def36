"""TableEncoder: numbers of a table."""

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Tags
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from skrdae._bases import BaseEstimator, TransformerMixin
from skrdae._typing import Booleans, Floats, Rows
from skrdae._validation import check_parameters, refitting
from skrdae.tables.columns import (
    as_floats,
    has_decimal_commas,
    is_dates,
    is_numbers,
    misfits,
    not_numbers,
    time_format,
    times,
)

if TYPE_CHECKING:
    from pandas import DataFrame, Series

# One-hot encoding a column of more values than this tells identifiers from each other, not rows.
_MOST_CATEGORIES = 100


class TableEncoder(TransformerMixin, BaseEstimator):
    """Make numbers of a table: impute, encode, and take the times as index.

    Put before a detector in a :class:`~sklearn.pipeline.Pipeline`; the command line does. Columns
    go by their names: new tables may hold them in any order, and others besides.

    Parameters
    ----------
    time_column : str or None, default=None
        A column that becomes the index of the result, for
        :class:`~skrdae.WindowedDetector`. Text is read as dates.
    time_format : str or None, default=None
        How the times are written, as for :func:`time.strptime`. By default it is found out from the
        table that is fitted to.
    missing : {"error", "median", "mean", "interpolate"}, default="error"
        What to put where a number is missing: that of the column, as it was in `fit`, or a line
        between the rows above and below (where all are missing, the median). Missing text belongs
        to no category.
    categories : {"error", "one-hot", "drop"}, default="error"
        What to do with columns that do not hold numbers: one column for each value that was there
        in `fit`, or leave them out (but not a column that holds numbers for the most part). A new
        value belongs to none.
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
    dropped_columns_ : list
        Columns left out because of ``categories="drop"``.
    time_format_ : str or None
        How the times are written.
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

    numeric_columns_: list[Any]
    fill_values_: Floats
    categories_: dict[Any, list[str]]
    dropped_columns_: list[Any]
    time_format_: str | None
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]

    _parameter_constraints = {
        "time_column": [str, None],
        "time_format": [str, None],
        "missing": [StrOptions({"error", "median", "mean", "interpolate"})],
        "categories": [StrOptions({"error", "one-hot", "drop"})],
        "ignore": ["array-like"],
    }
    _boolean_parameters = ()

    def __init__(
        self,
        time_column: str | None = None,
        *,
        time_format: str | None = None,
        missing: Literal["error", "median", "mean", "interpolate"] = "error",
        categories: Literal["error", "one-hot", "drop"] = "error",
        ignore: Collection[str] = (),
    ) -> None:
        self.time_column = time_column
        self.time_format = time_format
        self.missing = missing
        self.categories = categories
        self.ignore = ignore

    def fit(self, X: Rows, y: object = None) -> Self:
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
        with refitting(self) as draft:
            check_parameters(draft)
            draft._fit(draft._frame(X, reset=True))
        return self

    def _fit(self, frame: "DataFrame") -> None:
        ignored = list(self.ignore)
        named = [*ignored, *([] if self.time_column is None else [self.time_column])]
        _check_columns(frame, named)
        self.time_format_ = self.time_format
        if self.time_column is not None:
            column = frame[self.time_column]
            if not column.isna().any():
                self.time_format_ = time_format(column, self.time_format)
            times(column, self.time_format_)
        columns = [name for name in frame.columns if name not in {*named}]
        numeric: list[Any] = []
        encoded: dict[Any, list[str]] = {}
        dropped: list[Any] = []
        for name in columns:
            column = frame[name]
            if column.isna().all():
                raise ValueError(f"Column {name!r} holds no value at all: ignore it.")
            if is_numbers(column):
                numeric.append(name)
            elif self.categories == "one-hot" and not is_dates(column):
                encoded[name] = _categories(name, column)
            elif self.categories == "drop" and (is_dates(column) or not _is_mostly_numbers(column)):
                dropped.append(name)
            else:
                remedy = (
                    "Set categories to 'one-hot' or 'drop', or ignore the column; if it holds "
                    "times, make it the time_column."
                )
                if self.categories == "drop":
                    remedy = "Most of it is numbers, so it is not dropped: mend it, or ignore it."
                raise ValueError(not_numbers(name, column, remedy))
        if not numeric and not encoded:
            raise ValueError(f"Of the columns {list(frame.columns)} none is left to look at.")
        self.numeric_columns_, self.categories_, self.dropped_columns_ = numeric, encoded, dropped
        self._by_name = hasattr(self, "feature_names_in_")
        names = self._names_out()
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(
                f"Two columns of the result would be {twice!r}: give the columns other names."
            )
        self.fill_values_ = np.full(len(numeric), np.nan)
        remedy = "Set missing to 'median', 'mean' or 'interpolate', or ignore the column."
        numbers = self._numbers(frame, remedy)
        for name in encoded:
            self._refuse_missing(name, frame[name].isna(), remedy)
        if self.missing == "mean":
            self.fill_values_ = np.nanmean(numbers, axis=0)
        elif self.missing != "error":
            self.fill_values_ = np.nanmedian(numbers, axis=0)

    def transform(self, X: Rows) -> "DataFrame | Floats":
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
        check_is_fitted(self)
        pd = _pandas()
        frame = self._frame(X, reset=False)
        of_time = [] if self.time_column is None else [self.time_column]
        _check_columns(frame, [*self.numeric_columns_, *self.categories_, *of_time])
        index = times(frame[self.time_column], self.time_format_) if of_time else frame.index
        remedy = "The encoder was fitted with missing='error'."
        numbers = pd.DataFrame(self._numbers(frame, remedy), index, self.numeric_columns_)
        if self.missing == "interpolate":
            numbers = numbers.interpolate(limit_direction="both")
        fill = dict(zip(self.numeric_columns_, self.fill_values_, strict=True))
        parts = [numbers.fillna(fill)]
        for name, values in self.categories_.items():
            column = frame[name]
            self._refuse_missing(name, column.isna(), remedy)
            texts = np.array([str(value) for value in column], dtype=object)
            found = texts[:, None] == np.array(values, dtype=object)
            found[column.isna().to_numpy()] = False
            names = [f"{name}_{value}" for value in values]
            parts.append(pd.DataFrame(found.astype(float), index, names))
        result = pd.concat(parts, axis=1)
        result.columns = self._names_out()
        return result if _is_frame(X) else result.to_numpy()

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
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
        return np.array(self._names_out(), dtype=object)

    def _names_out(self) -> list[str]:
        prefix = "" if self._by_name else "x"
        encoded = [f"{name}_{v}" for name, values in self.categories_.items() for v in values]
        return [f"{prefix}{name}" for name in [*self.numeric_columns_, *encoded]]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.allow_nan = self.missing != "error"
        return tags

    def _frame(self, X: Any, *, reset: bool) -> "DataFrame":
        pd = _pandas()
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

    def _numbers(self, frame: "DataFrame", remedy: str) -> Floats:
        """Return the columns of numbers, NaN where one is missing."""
        columns = []
        for name in self.numeric_columns_:
            column = frame[name]
            if not is_numbers(column):
                raise ValueError(not_numbers(name, column, "It held numbers only in fit."))
            values = as_floats(column)
            self._refuse_missing(name, np.isnan(values), remedy)
            if np.isinf(values).any():
                row = int(np.isinf(values).argmax())
                raise ValueError(f"Column {name!r} contains infinity, first in row {row}.")
            columns.append(values)
        if not columns:
            return np.empty((len(frame), 0))
        return np.column_stack(columns)

    def _refuse_missing(self, name: Any, missing: "Series | Booleans", remedy: str) -> None:
        if self.missing == "error" and missing.any():
            raise ValueError(
                f"Column {name!r} contains NaN: {int(missing.sum())} of {len(missing)} values are "
                f"missing, the first in row {int(np.argmax(missing))}. {remedy}"
            )


def _categories(name: Any, column: "Series") -> list[str]:
    found = sorted({str(value) for value in column.dropna()})
    if len(found) > _MOST_CATEGORIES:
        hint = " (They look like numbers with decimal commas: set decimal to ','.)"
        raise ValueError(
            f"Column {name!r} holds {len(found)} different texts, more than {_MOST_CATEGORIES}: it "
            "hardly says what kind of row this is. Ignore it."
            + (hint if has_decimal_commas(column) else "")
        )
    return found


def _is_mostly_numbers(column: "Series") -> bool:
    """Whether half of what is there are numbers, or would be with another decimal mark."""
    return misfits(column).sum() <= column.notna().sum() / 2 or has_decimal_commas(column)


def _is_frame(X: object) -> bool:
    return hasattr(X, "iloc") and hasattr(X, "columns")


def _check_columns(frame: "DataFrame", names: Iterable[Any]) -> None:
    absent = [name for name in names if name not in frame.columns]
    if absent:
        raise ValueError(
            f"The table has no column {', '.join(map(repr, absent))}; it has "
            f"{', '.join(map(repr, frame.columns))}."
        )


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise ImportError("Tables are read with pandas: pip install 'skrdae[tables]'.") from error
    return pandas
