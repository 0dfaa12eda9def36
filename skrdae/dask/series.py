"""Fits of detectors of series: whole series are sampled, because a part of one is another one."""

from __future__ import annotations

from typing import Any

import numpy as np
from dask.delayed import Delayed, delayed
from distributed import Client
from sklearn.base import clone
from sklearn.utils.validation import _num_samples

from skrdae._typing import IntArray
from skrdae.dask.cluster import results
from skrdae.dask.partitions import SAMPLE_ROWS, SAMPLE_VALUES, is_array, is_frame, named
from skrdae.detectors.calibrated import CalibratedDetector


def whole_series(X: Any) -> list[Any]:
    """Return each of a list of series as one delayed object.

    Raises
    ------
    TypeError
        If X is no list of Dask arrays, Dask DataFrames or delayed objects.
    """
    if not isinstance(X, list | tuple):
        raise TypeError(
            "A detector of series takes a list of series, each a Dask array, a Dask DataFrame or a "
            f"delayed object, because a chunk of a series is another series; got "
            f"{type(X).__name__}."
        )
    return [_whole(series, number) for number, series in enumerate(X)]


def _whole(series: Any, number: int) -> Any:
    if is_array(series):
        return series.rechunk(-1).to_delayed().ravel()[0]
    if is_frame(series):
        return series.repartition(npartitions=1).to_delayed()[0]
    if isinstance(series, Delayed):
        return series
    raise TypeError(
        f"X[{number}] is a {type(series).__name__}: a series must be a Dask array, a Dask "
        "DataFrame or a delayed object, as dask.delayed(series) is."
    )


def measure(detector: Any, series: Any, number: int) -> tuple[tuple[int, int], Any]:
    """Check a series, and return how many steps and channels it has."""
    probe: Any = clone(detector.detector if isinstance(detector, CalibratedDetector) else detector)
    with named(f"Series {number} of X"):
        probe._checked(series)
    return (_num_samples(series), probe.n_features_in_), ()


def fetch(series: Any) -> tuple[Any, Any]:
    """Return a series as it is."""
    return series, ()


def fit_series(client: Client, detector: Any, X: Any, sample_size: int | None) -> Any:
    """Fit a detector of series to a random sample of a list of series.

    Parameters
    ----------
    client : distributed.Client
    detector : object
        A WindowedDetector, or a CalibratedDetector around one.
    X : list of Dask collections
    sample_size : int or None
        Steps of all series of the sample together, at most, but for one series at least.
    """
    parts = whole_series(X)
    if not parts:
        raise ValueError("X is empty: it has to hold one series at least.")
    tasks = [delayed(measure)(detector, part, number) for number, part in enumerate(parts)]
    found = np.array(results(client, tasks))
    lengths, widths = found.T
    if (widths != widths[0]).any():
        number = int(np.flatnonzero(widths != widths[0])[0])
        raise ValueError(
            f"Series {number} of X has {widths[number]} channels, and series 0 has {widths[0]}."
        )
    if sample_size is None:
        sample_size = max(1, min(SAMPLE_ROWS, SAMPLE_VALUES // int(widths[0])))
    chosen = sample_of_series(lengths, sample_size)
    sample = results(client, [delayed(fetch)(parts[number]) for number in chosen])
    return clone(detector).fit(sample if len(sample) > 1 else sample[0])


def sample_of_series(lengths: IntArray, sample_size: int) -> IntArray:
    """Return the numbers of series, in order, that are as many steps together, at most."""
    order = np.random.default_rng(0).permutation(len(lengths))
    n_chosen = int((np.cumsum(lengths[order]) <= sample_size).sum())
    return np.sort(order[: max(1, n_chosen)])
