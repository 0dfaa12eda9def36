"""Scores of Dask collections, as Dask collections: lazily, chunk by chunk."""

from __future__ import annotations

import copy
from typing import Any

import dask.array as da
import numpy as np
from dask.delayed import delayed
from sklearn.utils.validation import _num_samples, check_is_fitted

from skrdae._validation import snapshot
from skrdae.dask.partitions import check_chunks, is_array, is_frame
from skrdae.dask.series import whole_series


def decision_function(detector: Any, X: Any) -> Any:
    """Return the anomaly score of each row; the higher, the more anomalous.

    Parameters
    ----------
    detector : object
        Fitted: any detector of this package, however it was fitted.
    X : Dask array or DataFrame
        Of shape (n_samples, n_features), in chunks of whole rows. Of a detector of series, such as
        :class:`~skrdae.WindowedDetector`, a list of series: Dask arrays, Dask DataFrames or delayed
        objects.

    Returns
    -------
    Dask array of shape (n_samples,), or Dask Series
        In the chunks of X. Of a list of series, a list with an array or Series for each.

    Raises
    ------
    ValueError, TypeError
        If X is none of these, or the detector has no such method. What is wrong with a chunk is
        told when it is computed.

    Examples
    --------
    >>> import dask.array as da
    >>> import skrdae.dask
    >>> from skrdae import RobustDeepAutoencoder
    >>> X = da.random.default_rng(0).normal(size=(1000, 5), chunks=(200, -1))
    >>> detector = RobustDeepAutoencoder(random_state=0).fit(X[:500].compute())
    >>> scores = skrdae.dask.decision_function(detector, X)
    >>> scores.chunks
    ((200, 200, 200, 200, 200),)
    >>> scores.compute().shape
    (1000,)
    """
    return _mapped(detector, X, "decision_function", np.float64)


def predict(detector: Any, X: Any) -> Any:
    """Return 1 for anomalies and 0 for normal rows.

    Parameters
    ----------
    detector : object
    X : Dask array or DataFrame, or list of series
        See :func:`decision_function`.

    Returns
    -------
    Dask array of shape (n_samples,), int, or Dask Series
    """
    return _mapped(detector, X, "predict", np.int64)


def p_values(detector: Any, X: Any) -> Any:
    """Return the p-value of each row, by a fitted :class:`~skrdae.CalibratedDetector`.

    Parameters
    ----------
    detector : CalibratedDetector
    X : Dask array or DataFrame, or list of series
        See :func:`decision_function`.

    Returns
    -------
    Dask array of shape (n_samples,), or Dask Series
    """
    return _mapped(detector, X, "p_values", np.float64)


def explain(detector: Any, X: Any) -> Any:
    """Return the contribution of each feature to the score of each row.

    Parameters
    ----------
    detector : object
    X : Dask array or DataFrame, or list of series
        See :func:`decision_function`.

    Returns
    -------
    Dask array of the shape of X, or Dask DataFrame with its columns
    """
    return _mapped(detector, X, "explain", np.float64)


def _mapped(detector: Any, X: Any, method: str, dtype: type) -> Any:
    if not hasattr(detector, method):
        advice = ": fit a CalibratedDetector" if method == "p_values" else ""
        raise TypeError(f"{type(detector).__name__} has no {method}{advice}.")
    check_is_fitted(detector)
    call = _Call(method, dtype)
    # As it is now: a later fit or another threshold does not change scores yet to be computed.
    now = delayed(copy.copy(snapshot(detector)), traverse=False)
    if getattr(detector, "_takes_series", False):
        whole_series(X)  # which raises where X is no list of series
        return [_of_series(call, now, series, detector.n_features_in_) for series in X]
    return _of_chunks(call, now, X)


def _of_series(call: _Call, detector: Any, series: Any, n_features: int) -> Any:
    if is_array(series):
        return _of_chunks(call, detector, series.rechunk(-1))
    if is_frame(series):
        return _of_chunks(call, detector, series.repartition(npartitions=1))
    shape = (np.nan, n_features)[: 1 + call.by_feature]
    make: Any = da.from_delayed
    return make(delayed(call)(series, detector), shape=shape, dtype=call.dtype)


def _of_chunks(call: _Call, detector: Any, X: Any) -> Any:
    if is_frame(X):
        return X.map_partitions(call, detector, meta=call.frame_of(X._meta, None))
    if not is_array(X):
        raise TypeError(
            f"X must be a Dask array or a Dask DataFrame; got {type(X).__name__}. For data in "
            "memory use the detector's own methods."
        )
    if X.ndim > 1:
        check_chunks(X)
    n_axes = X.ndim if call.by_feature else 1
    return X.map_blocks(
        call,
        detector,
        drop_axis=list(range(n_axes, X.ndim)),
        dtype=call.dtype,
        meta=np.empty((0,) * n_axes, call.dtype),
    )


class _Call:
    """A method of a detector that takes the chunks of Dask collections.

    The detector is an argument of its own, so that not every chunk's task has a copy of it.
    """

    def __init__(self, method: str, dtype: type) -> None:
        self.method, self.dtype = method, dtype
        self.__name__ = method  # of which Dask makes names of tasks
        self.by_feature = method == "explain"

    def __call__(self, part: Any, detector: Any) -> Any:
        shape = np.shape(part) if self.by_feature else (_num_samples(part),)
        if _num_samples(part):
            found = getattr(detector, self.method)(part)
            # Explanations of windows and images have a shape of their own.
            found = np.asarray(found, self.dtype).reshape(shape)
        else:  # which no detector takes
            found = np.empty(shape, self.dtype)
        return self.frame_of(part, found) if hasattr(part, "iloc") else found

    def frame_of(self, part: Any, values: Any) -> Any:
        """Return values as a Series or a DataFrame like the part; an empty one without values."""
        import pandas as pd

        if values is None:
            part = part.iloc[:0]
            values = np.empty(part.shape if self.by_feature else 0, self.dtype)
        if self.by_feature:
            return pd.DataFrame(values, index=part.index, columns=part.columns)
        return pd.Series(values, index=part.index, name=self.method)
