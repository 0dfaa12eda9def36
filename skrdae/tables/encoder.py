"""TableEncoder: numbers of a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Tags
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from skrdae._bases import BaseEstimator, TransformerMixin
from skrdae._typing import FloatArray
from skrdae._validation import check_parameters, refitting
from skrdae.tables.columns import as_floats, is_dates, is_numbers
from skrdae.tables.errors import TableError, listed, shown
from skrdae.tables.problems import MOST_CATEGORIES, Problems, holds_text, is_mostly_numbers
from skrdae.tables.times import time_format, time_texts, times

if TYPE_CHECKING:
    from pandas import DataFrame

# Of the columns that a table has, how many a message lists.
_MOST_COLUMNS = 20

#: What becomes of missing values.
Missing: TypeAlias = Literal["error", "median", "mean", "interpolate"]


class TableEncoder(TransformerMixin, BaseEstimator):
    """Make numbers of a table: impute, encode, and take the times as index.

    Put before a detector in a :class:`~sklearn.pipeline.Pipeline`; the command line does. Columns
    go by their names: new tables may hold them in any order, and others besides.

    Parameters
    ----------
    time_column : str, list of str or None, default=None
        A column that becomes the index of the result, for
        :class:`~skrdae.WindowedDetector`. Several are joined, as those of days and hours, or of
        years, months and days. Text is read as dates, and so are numbers such as 20260131 and
        those that count seconds, or parts of them, since 1970; other numbers stay numbers.
    time_format : str or None, default=None
        How the times are written, as for :func:`time.strptime`, or ``"epoch s"``, ``"epoch ms"``,
        ``"epoch us"`` or ``"epoch ns"`` for numbers that count since 1970. By default it is found
        out from the table that is fitted to.
    missing : {"error", "median", "mean", "interpolate"}, default="error"
        What to put where a number is missing: that of the column, as it was in `fit`, or a line
        between the rows above and below (where all are missing, the median). Missing text belongs
        to no category.
    categories : {"error", "one-hot", "drop"}, default="error"
        What to do with columns that do not hold numbers: one column for each value that was there
        in `fit`, or leave them out. Neither is done to a column that holds numbers for the most
        part, nor the former to one of times. A new value belongs to none.
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
    fill_values_: FloatArray
    categories_: dict[Any, list[str]]
    dropped_columns_: list[Any]
    time_format_: str | None
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]

    _parameter_constraints = {
        "time_column": [str, list, tuple, None],
        "time_format": [str, None],
        "missing": [StrOptions({"error", "median", "mean", "interpolate"})],
        "categories": [StrOptions({"error", "one-hot", "drop"})],
        "ignore": ["array-like"],
    }
    _boolean_parameters = ()

    def __init__(
        self,
        time_column: str | Sequence[str] | None = None,
        *,
        time_format: str | None = None,
        missing: Missing = "error",
        categories: Literal["error", "one-hot", "drop"] = "error",
        ignore: Collection[str] = (),
    ) -> None:
        self.time_column = time_column
        self.time_format = time_format
        self.missing = missing
        self.categories = categories
        self.ignore = ignore

    def fit(self, X: ArrayLike, y: object = None) -> Self:
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

    def _fit(self, frame: DataFrame) -> None:
        of_time = self._time_columns()
        _check_columns(frame, [*self.ignore, *of_time])
        problems = Problems()
        self.time_format_ = self.time_format
        if of_time:
            try:
                time = time_texts(frame, of_time)
                self.time_format_ = time_format(time, self.time_format)
                times(time, self.time_format_)
            except TableError as error:
                problems.say_first(error)
        numeric: list[Any] = []
        encoded: dict[Any, list[str]] = {}
        dropped: list[Any] = []
        left_out = {*self.ignore, *of_time}
        for name, column in frame.items():
            if name in left_out:
                continue
            if column.isna().all():
                problems.add("empty", name)
            elif is_numbers(column):
                numeric.append(name)
            elif self.categories == "one-hot" and holds_text(column):
                encoded[name] = sorted(set(column.dropna().map(str)))
                if len(encoded[name]) > MOST_CATEGORIES:
                    problems.add("many texts", name, f"{len(encoded[name])}")
            elif self.categories == "drop" and (is_dates(column) or not is_mostly_numbers(column)):
                dropped.append(name)
            else:
                problems.add_text(name, column)
        for name in numeric:
            problems.add_numbers(name, as_floats(frame[name]), missing=self.missing != "error")
        self._check_texts(frame, encoded, problems)
        if not numeric and not encoded:
            raise TableError(
                f"No column is left to look at; the table has {listed(frame.columns)}."
            )
        self.numeric_columns_, self.categories_, self.dropped_columns_ = numeric, encoded, dropped
        self._by_name = hasattr(self, "feature_names_in_")
        names = self._names_out()
        twice = next((name for name, count in Counter(names).items() if count > 1), None)
        if twice is not None:
            raise TableError(
                f"Two columns of the result would be {shown(twice)}: give the columns other names."
            )
        self.fill_values_ = np.full(len(numeric), np.nan)
        if self.missing != "error":
            middle = np.nanmean if self.missing == "mean" else np.nanmedian
            self.fill_values_ = middle(self._numbers(frame), axis=0)

    def transform(self, X: ArrayLike) -> DataFrame | FloatArray:
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
        of_time = self._time_columns()
        _check_columns(frame, [*self.numeric_columns_, *self.categories_, *of_time])
        index, problems = frame.index, Problems(fitted=True)
        if of_time:
            try:
                index = times(time_texts(frame, of_time), self.time_format_)
            except TableError as error:
                problems.say_first(error)
        for name in self.numeric_columns_:
            if is_numbers(frame[name]):
                numbers = as_floats(frame[name])
                problems.add_numbers(name, numbers, missing=self.missing != "error")
            else:
                problems.add_text(name, frame[name])
        self._check_texts(frame, self.categories_, problems)
        values = self._numbers(frame)
        if self.missing == "interpolate":
            values = pd.DataFrame(values).interpolate(limit_direction="both").to_numpy()
        filled = np.where(np.isnan(values), self.fill_values_, values)
        parts = [pd.DataFrame(filled, index, self.numeric_columns_)]
        for name, known in self.categories_.items():
            column = frame[name]
            texts = np.array([str(value) for value in column], dtype=object)
            found = texts[:, None] == np.array(known, dtype=object)
            found[column.isna().to_numpy()] = False
            names = [f"{name}_{value}" for value in known]
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

    def _time_columns(self) -> list[Any]:
        if self.time_column is None:
            return []
        return [self.time_column] if isinstance(self.time_column, str) else [*self.time_column]

    def _frame(self, X: Any, *, reset: bool) -> DataFrame:
        pd = _pandas()
        if hasattr(X, "to_pandas"):  # polars, Arrow
            X = X.to_pandas()
        if _is_frame(X):
            if len(X) == 0 or X.shape[1] == 0:
                raise TableError(f"The table has no {'columns' if len(X) else 'rows'}.")
            twice = X.columns[X.columns.duplicated()].unique()
            if len(twice):
                several = len(twice) > 1
                raise TableError(
                    f"Column{'s' * several} {listed(twice)} {'are' if several else 'is'} there "
                    "more than once: give each column a name of its own."
                )
            if reset:
                validate_data(self, X, skip_check_array=True)
            return X
        X = validate_data(self, X, reset=reset, dtype=None, ensure_all_finite="allow-nan")
        return pd.DataFrame(X)

    def _check_texts(self, frame: DataFrame, names: Iterable[Any], problems: Problems) -> None:
        """Add what is wrong with columns of text; raise if there is any problem."""
        for name in names if self.missing == "error" else ():
            problems.add_missing(name, frame[name].isna().to_numpy())
        problems.check()

    def _numbers(self, frame: DataFrame) -> FloatArray:
        """Return the columns of numbers, NaN where one is missing."""
        if not self.numeric_columns_:
            return np.empty((len(frame), 0))
        return np.column_stack([as_floats(frame[name]) for name in self.numeric_columns_])


def _is_frame(X: object) -> bool:
    return hasattr(X, "iloc") and hasattr(X, "columns")


def _check_columns(frame: DataFrame, names: Iterable[Any]) -> None:
    absent = [name for name in names if name not in frame.columns]
    if absent:
        raise TableError(
            f"The table has no column {listed(absent)}; it has "
            f"{listed(frame.columns, most=_MOST_COLUMNS)}."
        )


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise ImportError("Tables are read with pandas: pip install 'skrdae[tables]'.") from error
    return pandas
