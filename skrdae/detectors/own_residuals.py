"""Steps that stand out by themselves, whatever the rest of their windows is like.

The score of a window adds up what is strange in all of its steps. In a series that moves a lot, a
single strange step is little beside what the network leaves of ordinary movement. What the network
leaves of the step itself tells it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.ndimage import maximum_filter1d

from skrdae._typing import BoolArray, FloatArray, FloatRows
from skrdae.detectors.base import BaseTorchDetector
from skrdae.detectors.channels import ChannelDetectors
from skrdae.detectors.loudest import LoudestChannel
from skrdae.detectors.steps import runs
from skrdae.preprocessing import Windows

# A step stands out if its residual lies above the median by this many times the distance between
# the median and the 0.8 quantile: 6.7 standard deviations, if residuals are Gaussian.
_STANDS_OUT, _UPPER = 10.0, 0.8
# The unit of a channel is at least this part of the median channel's.
_LEAST_PART, _LEAST = 0.1, 1e-12
# So many windows around a step tell its residual well enough.
_AROUND = 8
# At most so many steps that follow each other are single ones; more are an event of its own shape,
# which the windows tell.
_LONGEST = 3
# The part of the highest residual nearby from which a step counts, and how often what stands out of
# the rest is looked for.
_OF_HIGHEST, _PASSES = 0.9, 10


def own_residuals(detector: Any, windows: Windows, series: FloatRows | None = None) -> FloatArray:
    """Return what a detector leaves of each step: the mean of some windows that cover it.

    Parameters
    ----------
    detector : object
        Fitted to windows: one of this package, or those of channels.
    windows : Windows
    series : ndarray of shape (n_timesteps, n_channels), optional
        Values in place of those of the windows.

    Returns
    -------
    ndarray of shape (n_timesteps, n_channels)
        NaN where no window covers a step. In units of the detector's scores; if they are norms,
        absolute residuals.
    """
    size = windows.size
    values = windows.series if series is None else series
    some = Windows(values, windows.lengths.tolist(), size, max(1, size // _AROUND))
    total, counts = np.zeros(values.shape), np.zeros(windows.n_steps)
    for block in some.blocks():
        starts, residuals = some.starts[block], _of_windows(detector, some.rows(block), size)
        for place in range(size):
            total[starts + place] += residuals[:, place]
            counts[starts + place] += 1
    total[windows.covering()[1] == 0] = np.nan
    return total / np.maximum(counts, 1)[:, None]


def _of_windows(detector: Any, rows: FloatRows, size: int) -> FloatArray:
    """Return what a detector leaves of the steps of windows, (n, size, n_channels)."""
    if isinstance(detector, LoudestChannel):
        detector = detector.joint
    if isinstance(detector, ChannelDetectors):
        parts = [
            _residuals(*pair) for pair in zip(detector.detectors, detector.parts(rows), strict=True)
        ]
        return np.stack(parts, axis=2)
    return _residuals(detector, rows).reshape(len(rows), size, -1)


def _residuals(detector: BaseTorchDetector, rows: FloatRows) -> FloatArray:
    # A norm is split by squares: what a value adds is its square over the norm.
    shares = np.maximum(detector.explain(rows).reshape(len(rows), -1), 0.0)
    found: FloatArray = np.sqrt(shares) * np.sqrt(shares.sum(axis=1, keepdims=True))
    return found


def limits(detector: Any, windows: Windows, share: float) -> FloatArray:
    """Return above which residual a step stands out.

    Parameters
    ----------
    detector : object
    windows : Windows
        Of the training series.
    share : float
        At most this share of the steps stands out, of all channels together. Where more steps are
        far out, that is how the channel is: a switch, for example. Then none stands out.

    Returns
    -------
    ndarray of shape (n_channels,)
    """
    residuals = own_residuals(detector, windows)
    known = residuals[~np.isnan(residuals[:, 0])]
    medians, upper = np.quantile(known, [0.5, _UPPER], axis=0)
    units = upper - medians
    units = np.maximum(units, max(_LEAST_PART * np.median(units), _LEAST))
    found: FloatArray = medians + _STANDS_OUT * units
    marked, _ = standing_out(detector, windows, found, residuals)
    usual = marked.sum(axis=0) > share / len(medians) * len(known)
    found[usual] = np.inf
    return found


def standing_out(
    detector: Any, windows: Windows, limits: FloatArray, residuals: FloatArray | None = None
) -> tuple[BoolArray, FloatRows]:
    """Return which steps stand out by themselves, and the series with a line in place of them.

    A network makes a strange step felt in what it leaves of the steps beside it. So steps count
    whose residual comes near the highest in the windows that hold them; then they are
    replaced by a line between their neighbours, and what stands out of the rest is looked for.

    Parameters
    ----------
    detector : object
        See :func:`own_residuals`.
    windows : Windows
    limits : ndarray of shape (n_channels,)
    residuals : ndarray of shape (n_timesteps, n_channels), optional
        If they are known.

    Returns
    -------
    marked : ndarray of shape (n_timesteps, n_channels), bool
    series : ndarray of shape (n_timesteps, n_channels)
        Where more than three such steps follow each other, they stay.
    """
    marked: BoolArray = np.zeros(windows.series.shape, bool)
    series = windows.series
    for _ in range(_PASSES):
        if residuals is None:
            residuals = own_residuals(detector, windows, series)
        with np.errstate(invalid="ignore"):
            found = (residuals > limits) & ~marked
        if not found.any():
            break
        found &= residuals >= _OF_HIGHEST * _highest(residuals, windows)
        marked |= found
        series, residuals = _bridged(windows, marked), None
    return marked, series


def _highest(residuals: FloatArray, windows: Windows) -> FloatArray:
    """Return the highest residual of the steps that share a window with each step."""
    known = np.nan_to_num(residuals, nan=-np.inf)
    stops = np.cumsum(windows.lengths)
    for start, stop in zip(stops - windows.lengths, stops, strict=True):
        if stop > start:
            part = known[start:stop]
            maximum_filter1d(part, 2 * windows.size - 1, axis=0, output=part, mode="nearest")
    return known


def _bridged(windows: Windows, marked: BoolArray) -> FloatRows:
    """Return the series with a line between neighbours in place of marked steps."""
    series = windows.series.copy()
    stretch = np.repeat(np.arange(len(windows.lengths)), windows.lengths)
    for values, of_channel in zip(series.T, marked.T, strict=True):
        for run in runs(of_channel, windows.lengths):
            beside = [p for p in (run[0] - 1, run[-1] + 1) if 0 <= p < len(series)]
            kept = [p for p in beside if stretch[p] == stretch[run[0]]]
            if len(run) <= _LONGEST and kept:
                values[run] = np.interp(run, kept, values[kept])
    return series
