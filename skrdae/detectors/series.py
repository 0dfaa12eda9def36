"""Series as users have them: arrays, frames with an index that tells the time, lists of either."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import validate_data

from skrdae._columns import has, numbers_only
from skrdae._typing import FloatArray, SeriesLike
from skrdae._validation import plain_values
from skrdae.detectors.series_error import SeriesError
from skrdae.detectors.spacing import OneSeries
from skrdae.detectors.time_index import TimeIndex, read_index
from skrdae.preprocessing import dominant_period

_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(frozen=True, eq=False)
class CheckedSeries:
    """Series that have been checked, one after another.

    Attributes
    ----------
    values : ndarray of shape (n_timesteps, n_channels), float64, C order
    lengths : list of int
        Of the stretches that windows may not leave; they add up to n_timesteps.
    n_series : int
    order : ndarray of shape (n_timesteps,), int, or None
        The row of X that each step was; None if the steps have the order of the rows.
    spacing : float or None
        The usual step, in nanoseconds or in the numbers of the index; None without an index.
    index_kind : str or None
        "times", "numbers", or a type of periods.
    """

    values: FloatArray
    lengths: list[int]
    n_series: int
    order: NDArray[np.intp] | None
    spacing: float | None
    index_kind: str | None

    def by_row(self, of_steps: NDArray[_Scalar]) -> NDArray[_Scalar]:
        """Return values of steps, (n_timesteps,), in the order of the rows of X."""
        if self.order is None:
            return of_steps
        of_rows = np.empty_like(of_steps)
        of_rows[self.order] = of_steps
        return of_rows


def check_series(
    estimator: object,
    X: SeriesLike,
    *,
    reset: bool,
    on_gap: Literal["raise", "split"],
    spacing: float | None = None,
    index_kind: str | None = None,
) -> CheckedSeries:
    """Check series, and find the stretches that windows may not leave.

    Parameters
    ----------
    estimator : object
        Learns the number of channels and their names with ``reset=True``, and holds `X` against
        them with ``False``.
    X : array-like of shape (n_timesteps, n_channels) or (n_timesteps,), or list of such
        A list or tuple is one of series if its entries are arrays or frames. A frame with a
        MultiIndex holds several as well.
    reset : bool
    on_gap : {"raise", "split"}
        What to do where the index of a frame leaves out steps or, with ``"split"``, goes back.
    spacing, index_kind : optional
        Those of the training series. Without, the usual step is the median.

    Returns
    -------
    CheckedSeries

    Raises
    ------
    SeriesError
        For missing values; for an index that has missing or unreadable entries, other steps than
        the training series, or another kind; and with ``on_gap="raise"`` for one that is not
        sorted, holds an entry twice, or leaves out steps.
    ValueError, TypeError
        For infinite values, columns that do not hold numbers, and several numbers of channels.
    """
    if isinstance(X, Mapping):
        raise TypeError("X is a mapping: pass list(X.values()) for several series.")
    several = isinstance(X, list | tuple) and len(X) > 0 and all(map(_n_axes, X))
    arrays: list[FloatArray] = []
    found: list[OneSeries] = []
    rows: list[NDArray[np.intp]] = []
    kind, is_ordered, n_rows = index_kind, True, 0
    given: Any = X if several else [X]
    for number, x in enumerate(given):
        name = f"X[{number}]" if several else "X"
        if has(x, "compute"):  # Dask has not done so yet
            x = x.compute()
        x, index = read_index(x, name, spacing)
        arrays.append(_values(estimator, x, reset and number == 0, name))
        if index is not None:
            _check_kind(index.kind, kind, name, from_training=index_kind is not None)
            kind = index.kind
        for series in _series_of(index, len(arrays[-1]), name):
            found.append(series)
            is_ordered &= series.rows is None
            rows.append(n_rows + (np.arange(series.length) if series.rows is None else series.rows))
        n_rows += len(arrays[-1])
    steps = np.concatenate([series.steps for series in found])
    usual = spacing
    if usual is None and len(steps):
        # Not the mean of two in the middle, which may be a step that never occurs.
        usual = float(np.quantile(steps, 0.5, method="lower"))
    lengths: list[int] = []
    for series in found:
        lengths += series.stretches(on_gap, usual, from_training=spacing is not None)
    values = np.concatenate(arrays) if several else arrays[0]
    order = None if is_ordered else np.concatenate(rows)
    values = np.ascontiguousarray(values if order is None else values[order])
    return CheckedSeries(values, lengths, len(found), order, usual, kind)


def _n_axes(x: Any) -> int:
    """Return how many axes something has; 0 for numbers and for nested lists."""
    if has(x, "to_pylist"):  # Arrow
        return 2 if has(x, "column_names") else 1
    return getattr(x, "ndim", len(getattr(x, "shape", ())))


def _values(estimator: object, x: Any, reset: bool, name: str) -> FloatArray:
    # scikit-learn takes longer to check a few steps than it takes to score them.
    plain = None if reset else plain_values(x, estimator)
    if plain is not None:
        return plain
    x = numbers_only(x, name)
    if _n_axes(x) > 2:
        raise ValueError(
            f"{name} has {_n_axes(x)} axes, its shape is {tuple(x.shape)}, but a series is an "
            "array of shape (n_timesteps, n_channels). Pass list(X) if X holds several series, of "
            "shape (n_series, n_timesteps, n_channels). If X holds windows that are cut already, "
            "WindowedDetector is not needed: LSTMRobustAutoencoder takes them as they are, and "
            "other detectors take X.reshape(len(X), -1)."
        )
    if _n_axes(x) == 1:
        named = has(x, "to_frame", "name") and x.name not in (None, "")
        x = x.to_frame() if named else np.asarray(x)[:, np.newaxis]
    array = validate_data(
        estimator, x, reset=reset, dtype=np.float64, order="C", ensure_all_finite="allow-nan"
    )
    missing = np.isnan(array).any(axis=1)
    if missing.any():
        raise SeriesError(
            f"{name} contains NaN, first at step {int(missing.argmax())} ({int(missing.sum())} "
            f"steps in all). Fill them in, say by {name}.interpolate() of a frame or by "
            "scikit-learn's SimpleImputer; or drop these steps from a frame whose index tells the "
            "time, and set on_gap='split'.",
            "NaN",
            series=name,
            first=int(missing.argmax()),
            count=int(missing.sum()),
        )
    return array


def _check_kind(kind: str, known: str | None, name: str, *, from_training: bool) -> None:
    """Raise if an index is of another kind than the one before."""
    if known not in (None, kind):
        before = "that of the training series" if from_training else "that of the series before"
        raise SeriesError(
            f"The index of {name} holds {kind}, and {before} {known}. Give both the same kind of "
            f"index; or pass {name}.to_numpy(), whose rows count as even steps.",
            "units",
            series=name,
            found=kind,
            usual=known,
        )


def _series_of(index: TimeIndex | None, length: int, name: str) -> Iterator[OneSeries]:
    """Yield the series that the rows of a frame belong to."""
    if index is None or index.groups is None:
        yield OneSeries(name, index, length)
        return
    order = np.argsort(index.groups, kind="stable")
    counts = np.bincount(index.groups)
    for label, rows in zip(index.names, np.split(order, np.cumsum(counts)[:-1]), strict=True):
        yield OneSeries(name, index, len(rows), rows, label)


def check_window_size(size: int, lengths: Sequence[int], *, fitted: bool) -> None:
    """Raise if no series is as long as a window.

    Parameters
    ----------
    size : int
    lengths : list of int
    fitted : bool
        Whether the size is that of a fitted detector.
    """
    if max(lengths) < size:
        remedy = f"Pass at least {size} steps." if fitted else "Choose a smaller window_size."
        raise SeriesError(
            f"X is shorter than the window: window_size is {size}, and the longest series has "
            f"{max(lengths)} steps between its gaps. {remedy} (X has the shape (n_timesteps, "
            "n_channels); a list of flat arrays is one of several series.)",
            "short",
            size=size,
            longest=max(lengths),
        )


def find_window_size(size: int | Literal["auto"], values: FloatArray, lengths: list[int]) -> int:
    """Return the number of steps in a window.

    Parameters
    ----------
    size : int or "auto"
        ``"auto"`` is the period of the longest stretch.
    values : ndarray of shape (n_timesteps, n_channels)
    lengths : list of int

    Raises
    ------
    SeriesError
        If no stretch is as long as a window.
    ValueError
        If there is no period.
    """
    if isinstance(size, str):
        longest = int(np.argmax(lengths))
        first = sum(lengths[:longest])
        period = dominant_period(values[first : first + lengths[longest]])
        if period is None:
            raise ValueError(
                "window_size='auto' found no period in X, up to a third of its length: pass a "
                "number of steps, as many as an anomaly needs to show."
            )
        size = period
    check_window_size(size, lengths, fitted=False)
    return int(size)


def newest_steps(X: Any, size: int) -> Any:
    """Return the last steps of a series, whatever holds it.

    Parameters
    ----------
    X : array-like of shape (n_timesteps, n_channels) or (n_timesteps,)
        One series; the entries of a list are its steps.
    size : int
    """
    if hasattr(X, "iloc"):  # whose index may hold numbers, too
        return X.iloc[-size:] if len(X) > size else X
    # What Arrow has need not have a shape.
    sliced = hasattr(X, "shape") or hasattr(X, "to_pylist")
    return X[-size:] if sliced else np.asarray(list(X)[-size:])


def check_newest(series: CheckedSeries, size: int) -> None:
    """Raise unless the newest steps are those of one series, and fill a window.

    Parameters
    ----------
    series : CheckedSeries
        Of the :func:`newest_steps`.
    size : int
    """
    if series.n_series > 1:
        raise SeriesError(
            f"The newest {size} rows of X are of {series.n_series} series: pass one series.",
            "several",
            count=series.n_series,
        )
    check_window_size(size, [len(series.values)], fitted=True)
