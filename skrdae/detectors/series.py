"""Series as users have them: arrays, frames with time stamps, lists of either."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from sklearn.utils.validation import validate_data

from skrdae._typing import Floats, Rows

# Of an index in units of time, how long one is in nanoseconds.
_UNITS: dict[str | None, float] = {"s": 1e9, "ms": 1e6, "us": 1e3, "ns": 1.0}
# Two steps are a gap if their distance is off the usual by more than this share of it.
_TOLERANCE = 0.5
# A series of which more than this share of the steps are gaps is none.
_MOST_GAPS = 0.5


def check_series(
    estimator: object,
    X: Rows | Sequence[Rows],
    *,
    reset: bool,
    on_gap: Literal["raise", "split"],
    spacing: float | None = None,
) -> tuple[Floats, list[int], float | None]:
    """Return series as one array, with the lengths of the stretches that windows may not leave.

    Parameters
    ----------
    estimator : object
        Learns the number of channels and their names with ``reset=True``, and holds `X` against
        them with ``False``.
    X : array-like of shape (n_timesteps, n_channels) or (n_timesteps,), or list of such
        A list or tuple is one of series if its entries are arrays or frames.
    reset : bool
    on_gap : {"raise", "split"}
        What to do where the index of a frame leaves out steps or, with ``"split"``, goes back.
    spacing : float, optional
        The usual distance of steps, where it is known; else it is the median.

    Returns
    -------
    series : ndarray of shape (n_timesteps, n_channels), float64, C order
    lengths : list of int
        They add up to n_timesteps.
    spacing : float or None
        The distance that was taken for the usual one; None without an index.

    Raises
    ------
    ValueError
        For missing or infinite values, several numbers of channels, and an index that has missing
        entries or, with ``on_gap="raise"``, is not sorted, holds one twice, or is uneven.
    """
    several = isinstance(X, list | tuple) and len(X) and all(getattr(x, "ndim", 0) for x in X)
    arrays: list[Floats] = []
    lengths: list[int] = []
    parts: Any = X if several else [X]
    for number, x in enumerate(parts):
        name = f"X[{number}]" if several else "X"
        array = _values(estimator, x, reset and number == 0, name)
        pieces, spacing = _stretches(x, len(array), name, on_gap, spacing)
        arrays.append(array)
        lengths.extend(pieces)
    series = np.concatenate(arrays) if several else arrays[0]
    return np.ascontiguousarray(series), lengths, spacing


def _values(estimator: object, x: Any, reset: bool, name: str) -> Floats:
    if getattr(x, "ndim", None) == 1 or (isinstance(x, list) and x and np.isscalar(x[0])):
        x = x.to_frame() if hasattr(x, "to_frame") else np.asarray(x)[:, np.newaxis]
    array = validate_data(
        estimator, x, reset=reset, dtype=np.float64, order="C", ensure_all_finite="allow-nan"
    )
    missing = np.isnan(array).any(axis=1)
    if missing.any():
        raise ValueError(
            f"{name} contains NaN, first at step {int(missing.argmax())} ({int(missing.sum())} "
            "steps in all). Fill them in, say by X.interpolate() of a frame or by scikit-learn's "
            "SimpleImputer; or drop these steps from a frame whose index tells the time, and set "
            "on_gap='split'."
        )
    return array


def _stretches(
    x: Any, length: int, name: str, on_gap: Literal["raise", "split"], usual: float | None
) -> tuple[list[int], float | None]:
    """Return the lengths of what is left of a series when it is split at its gaps."""
    index: Any = getattr(x, "index", None)
    kind = getattr(getattr(index, "dtype", None), "kind", None)
    if kind in ("m", "M") and not hasattr(index, "asi8"):
        index = type(index)(index.to_numpy())  # Arrow's times become those of pandas
    stamps = _stamps(index)
    if stamps is None:
        return [length], usual
    if index.hasnans:
        raise ValueError(f"The index of {name} has missing entries (NaT or NaN): drop those rows.")
    spacing = np.diff(stamps)
    if len(spacing) == 0:
        return [length], usual
    if usual is None:
        usual = float(np.median(spacing))
    # Where clocks were put back, or records laid end to end, a series can be split. What goes back
    # or stands still most of the time is no series.
    strict = on_gap == "raise" or usual <= 0
    if strict and (spacing < 0).any():
        at = index[int((spacing < 0).argmax()) + 1]
        raise ValueError(
            f"The index of {name} is not sorted: {at} comes after something later. Pass "
            f"{name}.sort_index(), or set on_gap='split' if the clock was put back there."
        )
    if strict and (spacing == 0).any():
        at = index[int((spacing == 0).argmax())]
        raise ValueError(
            f"The index of {name} holds {at} twice. Keep one of the two, say by "
            f"{name}[~{name}.index.duplicated()], or average them."
        )
    uneven = np.abs(spacing / usual - 1) > _TOLERANCE
    after = np.flatnonzero(uneven) + 1
    if on_gap == "split" and uneven.mean() > _MOST_GAPS:
        raise ValueError(
            f"The index of {name} does not go on in even steps: of {len(uneven)} steps "
            f"{len(after)} are not of {_told_step(usual, index)}, the usual one (of the training "
            "series, where there was one before). Sort it, or resample it."
        )
    if len(after) and on_gap == "raise":
        of_time, step = _is_of_time(index), _told_step(usual, index)
        even = f"{name}.resample('{usual / 1e9:.0f}s').mean()" if of_time else "reindexing it"
        raise ValueError(
            f"The index of {name} has {len(after)} gap(s), the first between {index[after[0] - 1]} "
            f"and {index[after[0]]}; the usual step is {step}. Put it at even steps, say by "
            f"{even}, and fill in what is missing, say by interpolate(); or set on_gap='split', "
            "which lets no window reach over a gap."
        )
    return np.diff([0, *after, length]).tolist(), usual


def _is_of_time(index: Any) -> bool:
    return hasattr(index[-1] - index[0], "total_seconds")


def _told_step(usual: float, index: Any) -> str:
    return f"{usual / 1e9:g} seconds" if _is_of_time(index) else f"{usual:g}"


def _stamps(index: Any) -> Floats | None:
    """Return what an index says of time as numbers, or None if it says nothing."""
    numbers = getattr(index, "asi8", None)  # dates, periods, durations
    if numbers is not None:
        return numbers * _UNITS.get(getattr(index, "unit", None), 1.0)
    if getattr(getattr(index, "dtype", None), "kind", None) in ("i", "u", "f"):
        return np.asarray(index, np.float64)
    return None


def check_window_size(size: int, lengths: Sequence[int]) -> None:
    """Raise if no series is as long as a window.

    Parameters
    ----------
    size : int
    lengths : list of int
    """
    if max(lengths) < size:
        raise ValueError(
            f"X is shorter than the window: window_size is {size}, and the longest series has "
            f"{max(lengths)} steps between its gaps. Choose a smaller window_size. (A list of flat "
            "arrays is one of several series.)"
        )
