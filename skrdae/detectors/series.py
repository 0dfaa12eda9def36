"""Series as users have them: arrays, frames with time stamps, lists of either."""

from numbers import Integral

import numpy as np
from sklearn.utils.validation import validate_data


def check_series(estimator, X, *, reset, on_gap):
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
        What to do where the index of a frame leaves out steps.

    Returns
    -------
    series : ndarray of shape (n_timesteps, n_channels), float64, C order
    lengths : list of int
        They add up to n_timesteps.

    Raises
    ------
    ValueError
        For missing or infinite values, several numbers of channels, and time stamps that are
        missing, unsorted, twice there, or, with ``on_gap="raise"``, unevenly spaced.
    """
    several = isinstance(X, list | tuple) and len(X) and all(hasattr(x, "shape") for x in X)
    arrays, lengths = [], []
    for number, x in enumerate(X if several else [X]):
        name = f"X[{number}]" if several else "X"
        array = _values(estimator, x, reset and number == 0, name)
        arrays.append(array)
        lengths.extend(_stretches(x, len(array), name, on_gap))
    return np.ascontiguousarray(np.concatenate(arrays) if several else arrays[0]), lengths


def _values(estimator, x, reset, name):
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
            "SimpleImputer, or leave these steps out and set on_gap='split'."
        )
    return array


def _stretches(x, length, name, on_gap):
    """Return the lengths of what is left of a series when it is split at its gaps."""
    stamps = getattr(getattr(x, "index", None), "asi8", None)
    if stamps is None:  # no frame, or one whose rows are merely numbered
        return [length]
    index = x.index
    if index.hasnans:
        raise ValueError(f"The index of {name} has missing time stamps (NaT): drop those rows.")
    spacing = np.diff(stamps)
    if len(spacing) == 0:
        return [length]
    if (spacing < 0).any():
        at = index[int((spacing < 0).argmax()) + 1]
        raise ValueError(
            f"The index of {name} is not sorted: {at} comes after a later time stamp. Pass "
            f"{name}.sort_index()."
        )
    if (spacing == 0).any():
        at = index[int((spacing == 0).argmax())]
        raise ValueError(
            f"The index of {name} holds {at} twice. Keep one of the two, say by "
            f"{name}[~{name}.index.duplicated()], or average them."
        )
    usual = np.median(spacing)
    uneven = np.abs(spacing / usual - 1) > 0.5
    if not uneven.any():
        return [length]
    after = np.flatnonzero(uneven) + 1
    if on_gap == "raise":
        like = int(np.abs(spacing - usual).argmin())
        step = index[like + 1] - index[like]
        rule = f"'{step.total_seconds():g}s'" if hasattr(step, "total_seconds") else "step"
        raise ValueError(
            f"The index of {name} has {len(after)} gap(s), the first between {index[after[0] - 1]} "
            f"and {index[after[0]]}; its usual step is {step}. Resample it, say by "
            f"{name}.resample({rule}).mean().interpolate(), or set on_gap='split', which lets no "
            "window reach over a gap."
        )
    return np.diff([0, *after, length]).tolist()


def check_window_size(size, lengths):
    """Raise if `size` is no number of steps, or no series is as long as a window.

    Parameters
    ----------
    size : int
    lengths : list of int
    """
    if not isinstance(size, Integral) or isinstance(size, bool):
        raise TypeError(f"window_size must be a number of steps or 'auto'; got {size!r}.")
    if size < 1:
        raise ValueError(f"window_size must be at least 1; got {size!r}.")
    if max(lengths, default=0) < size:
        raise ValueError(
            f"X is shorter than the window: window_size is {size}, and the longest series has "
            f"{max(lengths, default=0)} steps between its gaps. Choose a smaller window_size."
        )
