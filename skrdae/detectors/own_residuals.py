"""Single steps that stand out by their own residual.

The norm of a window adds up the residuals of all of its steps. In a series that moves a lot, one
strange step is little beside the rest, and the score of the window hardly shows it. The residual of
the step itself does.
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
from skrdae.preprocessing import Windows, spread_places

# A step stands out if its residual lies above the median by this many times the distance between
# the median and the 0.8 quantile: 6.7 standard deviations of Gaussian residuals.
_STANDS_OUT, _UPPER = 10.0, 0.8
# The unit of a channel is at least this part of the median channel's.
_LEAST_PART, _LEAST = 0.1, 1e-12
# If more than one step in fifty stands out, they are no anomalies but peaks of the series. A few
# are allowed in any case, so that one spike in a short series does not count as usual.
_LARGEST_SHARE, _FEW = 0.02, 3
# So many windows around a step tell its residual well enough, and so many how residuals differ by
# the place in a window.
_AROUND, _MEASURED = 8, 1000
# Residuals at a place in a window differ from those elsewhere if they are so many times as large.
_LARGER = 1.5
# At most so many steps that follow each other are single ones; more are an event with a shape.
_LONGEST = 3
# The part of the highest residual nearby from which a step counts, and how often the rest is
# searched.
_OF_HIGHEST, _PASSES = 0.9, 10


def own_residuals(
    detector: Any, windows: Windows, units: FloatArray, series: FloatRows | None = None
) -> FloatArray:
    """Return the residual of each step, the mean over some windows that cover it.

    Parameters
    ----------
    detector : object
        Fitted to windows: one of this package, or those of channels.
    windows : Windows
    units : ndarray of shape (size, n_channels)
        What the residuals at each place in a window are divided by.
    series : ndarray of shape (n_timesteps, n_channels), optional
        Values in place of those of the windows.

    Returns
    -------
    ndarray of shape (n_timesteps, n_channels)
        NaN in stretches shorter than a window.
    """
    values = windows.series if series is None else series
    some = _some_windows(windows, values)
    total, counts = np.zeros(values.shape), np.zeros(windows.n_steps)
    for block in some.blocks():
        starts = some.starts[block]
        residuals = _of_windows(detector, some.rows(block), windows.size) / units
        for place in range(windows.size):
            total[starts + place] += residuals[:, place]
            counts[starts + place] += 1
    total[counts == 0] = np.nan
    return total / np.maximum(counts, 1)[:, None]


def _some_windows(windows: Windows, values: FloatRows) -> Windows:
    stride = -(-windows.size // _AROUND)
    return Windows(values, windows.lengths.tolist(), windows.size, stride)


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


def limits(detector: Any, windows: Windows, contamination: float) -> FloatArray:
    """Return above which residual a step stands out, by its place in a window.

    Parameters
    ----------
    detector : object
    windows : Windows
        Of the training series.
    contamination : float
        The largest share of steps that may stand out, of all channels together.

    Returns
    -------
    ndarray of shape (size, n_channels)
        Infinite in channels of which more steps stand out than that, or than one in fifty: there it
        is usual, as in a switch or a series of pulses. Of steps that follow each other, those of
        one window count.
    """
    places = _units_of_places(detector, windows)
    residuals = own_residuals(detector, windows, places)
    known = residuals[windows.covering()[1] > 0]
    medians, upper = np.quantile(known, [0.5, _UPPER], axis=0)
    units = upper - medians
    units = np.maximum(units, max(_LEAST_PART * np.median(units), _LEAST))
    found: FloatArray = places * (medians + _STANDS_OUT * units)
    marked, _ = standing_out(detector, windows, found)
    share = min(contamination, _LARGEST_SHARE) / len(medians)
    # A long event is one thing, however long it lasts.
    counts = np.array(
        [sum(min(len(run), windows.size) for run in runs(m, windows.lengths)) for m in marked.T]
    )
    found[:, counts > max(_FEW, share * len(known))] = np.inf
    return found


def _units_of_places(detector: Any, windows: Windows) -> FloatArray:
    """Return how much larger than elsewhere residuals are at each place in a window, or 1.

    Recurrent networks know least of the first steps, and where a series begins no other window
    covers these. Small differences are chance.
    """
    some = _some_windows(windows, windows.series)
    places = spread_places(len(some), _MEASURED)
    parts = [
        _of_windows(detector, some.rows(part), windows.size)
        for part in np.array_split(places, -(-len(places) // 64))
    ]
    upper = np.quantile(np.concatenate(parts), _UPPER, axis=0)  # (size, n_channels)
    ratios = upper / np.maximum(np.median(upper, axis=0), _LEAST)
    return np.where(ratios > _LARGER, ratios, 1.0)


def standing_out(
    detector: Any, windows: Windows, limits: FloatArray
) -> tuple[BoolArray, FloatRows]:
    """Return which steps stand out, and the series with a line in place of them.

    A network that sees a window as a whole leaves traces of a strange step in the residuals of the
    others. So the steps with the highest residuals of their windows count first. They are replaced
    by a line between their neighbours, and the rest is searched again.

    Parameters
    ----------
    detector : object
        See :func:`own_residuals`.
    windows : Windows
    limits : ndarray of shape (size, n_channels)

    Returns
    -------
    marked : ndarray of shape (n_timesteps, n_channels), bool
    series : ndarray of shape (n_timesteps, n_channels)
        Where more than three such steps follow each other, they stay.
    """
    marked: BoolArray = np.zeros(windows.series.shape, bool)
    series = windows.series
    for _ in range(_PASSES):
        residuals = own_residuals(detector, windows, limits, series)
        with np.errstate(invalid="ignore"):
            found = (residuals > 1) & ~marked
        if not found.any():
            break
        found &= residuals >= _OF_HIGHEST * _highest(residuals, windows)
        marked |= found
        series = _bridged(windows, marked)
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
