"""EvenSteps: a series on an even grid of times."""

from __future__ import annotations

import re
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted, validate_data

from skrdae._bases import BaseEstimator, TransformerMixin
from skrdae._typing import FloatArray, IntArray
from skrdae._validation import check_parameters, refitting
from skrdae.tables.errors import Option, TableError

if TYPE_CHECKING:
    from pandas import DataFrame, Index

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
# Steps found by "auto" are whole days, hours, … if they are to within this share of them.
_ROUNDING = 1e-3
# Steps at least so much longer than the usual distance of rows are those of averages.
_AVERAGING = 1.5
# A grid is refused that has more values than this, and ten times those of the table.
_MOST_VALUES = 10_000_000
# Steps are counted from time zero, in whole numbers that are exact.
_LARGEST_NUMBER = 2.0**53
_STEP = Option("step", flag="resample")


class EvenSteps(TransformerMixin, BaseEstimator):
    """Put a series on an even grid of times, for detectors that look at windows.

    Rows are averaged over each step of the grid; a short gap is filled with lines between the rows
    around it, and a longer one stays a gap, at which
    :class:`~skrdae.WindowedDetector` with ``on_gap="split"`` splits the series. So the result has
    another number of rows, see :meth:`steps_of`.

    Parameters
    ----------
    step : str, float or None, default="auto"
        How far apart the steps are: a time such as ``"1s"``, ``"5min"``, ``"2h"`` or ``"1d"``
        (units us, ms, s, min, h, d), or a number for an index of numbers. ``"auto"`` is the usual
        distance of the rows in `fit`. ``None`` counts the rows: each is a step, whatever its time,
        and there are no gaps.
    max_gap : int, default=5
        How many steps in a row without a row are filled in.

    Attributes
    ----------
    step_ : float
        In seconds for an index of times, else in its unit; 1.0 for ``step=None``.
    centred_ : bool
        Whether a step holds the rows around its time, as where there is about one row a step, or
        those from its time on, as where many rows are averaged.
    n_features_in_ : int
        Columns.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Where X has names that are all strings.

    Examples
    --------
    >>> import pandas as pd
    >>> from skrdae.tables import EvenSteps
    >>> seconds = pd.to_datetime([0, 1, 3, 4, 20], unit="s")
    >>> table = pd.DataFrame({"power": [1.0, 2.0, 4.0, 5.0, 9.0]}, seconds)
    >>> EvenSteps("1s").fit_transform(table)["power"].tolist()
    [1.0, 2.0, 3.0, 4.0, 5.0, 9.0]
    """

    step_: float
    centred_: bool
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]

    _parameter_constraints = {
        "step": [str, Interval(Real, 0, None, closed="neither"), None],
        "max_gap": [Interval(Integral, 0, None, closed="left")],
    }
    _boolean_parameters = ()

    def __init__(self, step: str | float | None = "auto", *, max_gap: int = 5) -> None:
        self.step = step
        self.max_gap = max_gap

    def fit(self, X: DataFrame, y: object = None) -> Self:
        """Learn the step.

        Parameters
        ----------
        X : DataFrame
            Of numbers. Its index is the time, in any order.
        y : Ignored
            Not used; present by scikit-learn's convention.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there is no step, or `step` is none for this index.
        """
        with refitting(self) as draft:
            check_parameters(draft)
            _check_frame(X)
            draft.step_, draft.centred_ = draft._learned(X.index)
            validate_data(draft, X, skip_check_array=True)
        return self

    def _learned(self, index: Index) -> tuple[float, bool]:
        """Return the step, and whether rows lie around its times."""
        if self.step is None:
            return 1.0, True
        stamps, unit = _stamps(index)
        distances = np.diff(np.unique(stamps))
        if self.step != "auto":
            step = _told_step(self.step, unit)
        elif len(distances):
            step = _usual_step(distances, unit)
        else:
            raise TableError("A single time tells no usual step: set ", _STEP, ".")
        usual = float(np.median(distances)) / unit if len(distances) else step
        return step, bool(step < _AVERAGING * usual)

    def transform(self, X: DataFrame) -> DataFrame:
        """Return the series on the grid.

        Parameters
        ----------
        X : DataFrame

        Returns
        -------
        DataFrame
            A row for each step that holds rows, or lies in a gap of no more than `max_gap` steps.
        """
        import pandas as pd

        check_is_fitted(self)
        _check_frame(X)
        validate_data(self, X, reset=False, skip_check_array=True)
        values = X.to_numpy(dtype=float)
        if self.step is None:
            return pd.DataFrame(values, columns=X.columns)
        places, step, phase = self._grid_of(X.index)
        steps, row_steps = np.unique(places, return_inverse=True)
        averaged = pd.DataFrame(values).groupby(row_steps).mean().to_numpy()
        grid = self._filled(steps, X.shape[1])
        made = np.column_stack([np.interp(grid, steps, channel) for channel in averaged.T])
        # To the last bit what was averaged, where nothing is filled in.
        made[np.searchsorted(grid, steps)] = averaged
        return pd.DataFrame(made, _index_like(X.index, grid * step + phase), X.columns)

    def steps_of(self, X: DataFrame) -> IntArray:
        """Return in which row of the result each row of a series is.

        Parameters
        ----------
        X : DataFrame

        Returns
        -------
        ndarray of shape (n_rows,)
        """
        check_is_fitted(self)
        if self.step is None:
            return np.arange(len(X))
        places = self._grid_of(X.index)[0]
        return np.searchsorted(self._filled(np.unique(places), X.shape[1]), places)

    def _grid_of(self, index: Index) -> tuple[IntArray, float, float]:
        """Return the number of each row's step; and how long a step is and where one begins."""
        stamps, unit = _stamps(index)
        step = self.step_ * unit
        if unit > 1:
            step = max(1.0, round(step))  # of whole microseconds
        phase = self._phase(stamps, step)
        shifted = stamps - phase + (step / 2 if self.centred_ else 0)
        with np.errstate(over="ignore", invalid="ignore"):
            numbers = np.floor(shifted / step)
        if not (np.abs(numbers) < _LARGEST_NUMBER).all():
            raise TableError(
                f"The times are too far from zero for steps of {self.step_:g}: set a longer ",
                _STEP,
                ".",
            )
        return numbers.astype(np.int64), step, phase

    def _phase(self, stamps: FloatArray, step: float) -> float:
        """Return by how much the grid is shifted for rows to lie in the middle of its steps."""
        if not self.centred_:
            return 0.0
        after = stamps % step
        found, counts = np.unique(after, return_counts=True)
        if 2 * counts.max() >= len(after):
            return float(found[counts.argmax()])
        mean = np.exp(2j * np.pi * after / step).mean()
        turn = float(np.angle(mean)) / (2 * np.pi)
        # Where rows are no more than a quarter of a step off, the grid keeps to round times.
        return 0.0 if abs(turn) <= 0.25 or abs(mean) < 0.1 else turn * step

    def _filled(self, steps: IntArray, n_columns: int) -> IntArray:
        """Return steps that hold rows, and those of short gaps between them."""
        between = np.diff(steps) - 1
        filled = np.where(between <= self.max_gap, between, 0)
        n_steps = len(steps) + float(filled.sum(dtype=float))
        if n_steps * n_columns > max(_MOST_VALUES, 10 * len(steps) * n_columns):
            raise TableError(
                f"The grid would have {n_steps:.0f} steps for {len(steps)} that hold rows: set a "
                "longer ",
                _STEP,
                " or a shorter ",
                Option("max_gap"),
                ".",
            )
        grid = np.repeat(steps, np.append(filled + 1, 1))
        first = np.repeat(np.searchsorted(grid, steps), np.append(filled + 1, 1))
        return grid + np.arange(len(grid)) - first


def _check_frame(X: object) -> None:
    if not hasattr(X, "index") or not hasattr(X, "columns"):
        raise TypeError("X must be a DataFrame of pandas, whose index tells the time.")
    if len(X.index) == 0:
        raise TableError("The table has no rows.")


def _stamps(index: Index) -> tuple[Any, float]:
    """Return times as whole microseconds, or numbers as they are; and the units of a second."""
    import pandas as pd

    if hasattr(index, "as_unit"):
        return index.as_unit("us").asi8, 1e6
    if not pd.api.types.is_numeric_dtype(index):
        raise TableError("The index has to be of times or of numbers.")
    return index.to_numpy(dtype=float), 1.0


def _index_like(index: Index, stamps: Any) -> Index:
    import pandas as pd

    if not hasattr(index, "as_unit"):
        return pd.Index(stamps, name=index.name)
    if index.dtype.kind == "m":
        return pd.to_timedelta(stamps, unit="us").rename(index.name)
    made = pd.to_datetime(stamps, unit="us").rename(index.name)
    return made if index.tz is None else made.tz_localize("UTC").tz_convert(index.tz)


def _usual_step(distances: FloatArray, unit: float) -> float:
    """Return the step that most rows keep to, in seconds or in the unit of the index."""
    usual = float(np.median(distances))
    # Clocks that are not exact: what counts is how many steps there are in all.
    n_steps = np.maximum(np.round(distances / usual), 1)
    even = np.abs(distances / usual - n_steps) < 0.25
    step = float(distances[even].sum() / n_steps[even].sum()) / unit
    if unit > 1:
        for whole in (86400.0, 3600.0, 60.0, 1.0, 0.1, 0.01, 0.001):
            rounded = round(step / whole) * whole
            if abs(rounded - step) <= _ROUNDING * step:
                return rounded
    return step


def _told_step(step: Any, unit: float) -> float:
    """Return a step as a number."""
    if unit == 1 and not isinstance(step, str):
        return float(step)
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?|\.\d+)?\s*([a-z]*)\s*", str(step))
    number, name = (found[1], found[2]) if found else (None, "")
    if unit > 1 and name in _SECONDS:
        length = float(number or 1) * _SECONDS[name]
    elif unit == 1 and number is not None and not name:
        length = float(number)
    else:
        known = "a time with its unit, such as 10s, 5min, 2h or 1d" if unit > 1 else "a number"
        raise TableError(_STEP, f" has to be {known}, or auto; got {step!r}.")
    if not length > 0:
        raise TableError(_STEP, f" has to be more than nothing; got {step!r}.")
    return length
