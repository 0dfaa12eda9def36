"""Sliding windows over series, and the period that a series has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.signal import detrend

from skrdae._typing import BoolArray, FloatArray, FloatRows

# How many values a piece of work on windows holds at once: a few MB.
_PIECE = 2**20
# A period is believed if the series agrees with itself, shifted by it, at least so much
# (autocorrelation), and preferred to its multiples if they agree hardly better.
_LEAST_AGREEMENT, _NEARLY_BEST = 0.3, 0.9


class Windows:
    """Sliding windows over one or several series, which lie in memory one after another.

    A window is a row of ``size · n_channels`` values, step by step, the channels of a step side by
    side. Windows are views of the series: only those asked for are ever copied.

    Parameters
    ----------
    series : ndarray of shape (n_timesteps, n_channels)
        In C order.
    lengths : sequence of int
        Of the stretches that no window may leave; they add up to n_timesteps.
    size : int
        Steps of a window.
    stride : int
        Steps from the start of one window to that of the next. The last one of a stretch ends where
        the stretch does, however far that is from the one before.

    Attributes
    ----------
    starts : ndarray of shape (n_windows,)
        First step of each window, rising. A stretch shorter than `size` has none.

    Examples
    --------
    >>> import numpy as np
    >>> from skrdae.preprocessing import Windows
    >>> windows = Windows(np.arange(7.0)[:, None], [7], size=3, stride=2)
    >>> windows.rows(slice(None)).tolist()
    [[0.0, 1.0, 2.0], [2.0, 3.0, 4.0], [4.0, 5.0, 6.0]]
    >>> windows.combine(np.array([1.0, 2.0, 9.0]), "mean").tolist()
    [1.0, 1.0, 1.5, 2.0, 5.5, 9.0, 9.0]
    """

    starts: NDArray[np.intp]
    lengths: NDArray[np.intp]
    _all: NDArray[Any]

    def __init__(
        self, series: FloatRows, lengths: Sequence[int], size: int, stride: int = 1
    ) -> None:
        self.series, self.size, self.stride = series, size, stride
        self.lengths = np.asarray(lengths, np.intp)
        self.n_steps, n_channels = series.shape
        starts: list[NDArray[np.intp] | list[int]]
        starts, first = [], 0
        for length in lengths:
            last = length - size
            if last >= 0:
                starts.append(np.arange(first, first + last + 1, stride))
                if last % stride:
                    starts.append([first + last])
            first += length
        self.starts = np.concatenate(starts).astype(np.intp) if starts else np.empty(0, np.intp)
        if len(self.starts):
            step = series.strides[0]
            # Of every step that a window can start at, whether or not one does.
            shape = (self.n_steps - size + 1, size * n_channels)
            self._all = as_strided(series, shape, (step, series.itemsize), writeable=False)

    def __len__(self) -> int:
        return len(self.starts)

    def rows(self, places: slice | NDArray[np.intp]) -> FloatRows:
        """Return windows as rows, (n, size · n_channels), a view where they are evenly spaced.

        Parameters
        ----------
        places : slice or ndarray of int
            Which, in the order of `starts`.
        """
        starts = self.starts[places]
        steps = np.diff(starts)
        if len(steps) and steps[0] > 0 and (steps == steps[0]).all():
            return self._all[starts[0] : starts[-1] + 1 : steps[0]]
        return self._all[starts]

    def blocks(self) -> Iterator[slice]:
        """Yield slices of windows that are few enough to be copied."""
        rows = max(64, _PIECE // (self.size * self.series.shape[1]) // 64 * 64)
        for start in range(0, len(self), rows):
            yield slice(start, start + rows)

    def combine(self, values: FloatArray, how: Literal["mean", "max", "median"]) -> FloatArray:
        """Make a value for each step of those of the windows that cover it.

        Parameters
        ----------
        values : ndarray of shape (n_windows,)
        how : {"mean", "max", "median"}

        Returns
        -------
        ndarray of shape (n_timesteps,)
            NaN where no window covers a step.
        """
        combined = np.full(self.n_steps, np.nan)
        if not len(self):
            return combined
        first, counts = self.covering()
        # Not the most there are here, so that sums do not depend on the rest of the series. One
        # more for the window that ends a stretch.
        most = -(-self.size // self.stride) + 1
        places = np.arange(most)
        rows = max(1, _PIECE // most)
        for start in range(0, self.n_steps, rows):
            part = slice(start, start + rows)
            count = counts[part, None]
            covers = places < count
            found = values[np.where(covers, first[part, None] + places, 0)]
            covered = count[:, 0] > 0
            if how == "mean":  # added up, not differences of running sums: one window's is exact
                made = np.where(covers, found, 0.0).sum(axis=1) / np.maximum(count[:, 0], 1)
            elif how == "max":
                made = np.where(covers, found, -np.inf).max(axis=1)
            else:
                found = np.sort(np.where(covers | (count == 0), found, np.inf), axis=1)
                middle = np.maximum(count - 1, 0)
                lower = np.take_along_axis(found, middle // 2, axis=1)[:, 0]
                upper = np.take_along_axis(found, (middle + 1) // 2, axis=1)[:, 0]
                made = lower + (upper - lower) / 2
            combined[part][covered] = made[covered]
        return combined

    def all_of(self, marked: BoolArray) -> BoolArray:
        """Return for each step whether all windows that cover it are marked.

        Parameters
        ----------
        marked : ndarray of shape (n_windows,), bool

        Returns
        -------
        ndarray of shape (n_timesteps,), bool
            False where no window covers a step.
        """
        first, counts = self.covering()
        before = np.concatenate([[0], np.cumsum(~marked)])
        return (counts > 0) & (before[first + counts] == before[first])

    def covering(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return for each step the first window that covers it, and how many do.

        Returns
        -------
        first, counts : ndarray of shape (n_timesteps,), int
        """
        steps = np.arange(self.n_steps)
        first = np.searchsorted(self.starts, steps - self.size, side="right")
        return first, np.searchsorted(self.starts, steps, side="right") - first

    def n_positions(self) -> NDArray[np.intp]:
        """Return for each step at how many places a window could lie that covers it.

        That is how many windows cover it with a stride of 1.
        """
        ends = np.cumsum(self.lengths)
        place = np.arange(self.n_steps) - np.repeat(ends - self.lengths, self.lengths)
        length = np.repeat(self.lengths, self.lengths)
        most = np.minimum(self.size, np.maximum(length - self.size + 1, 0))
        return np.minimum(np.minimum(place + 1, length - place), most)

    def stretches(self) -> Iterator[tuple[int, int]]:
        """Yield first and last (exclusive) of the windows of each stretch that has any."""
        ends = np.searchsorted(self.starts, np.cumsum(self.lengths))
        for first, stop in zip(np.concatenate([[0], ends]), ends, strict=False):
            if first < stop:
                yield int(first), int(stop)

    def count(self, marked: BoolArray) -> NDArray[np.intp]:
        """Return how many marked steps each window holds; `marked` is boolean, one a step."""
        before = np.concatenate([[0], np.cumsum(marked)])
        return before[self.starts + self.size] - before[self.starts]


def spread_places(n: int, n_wanted: int) -> NDArray[np.intp]:
    """Return places among n, in order, spread evenly but not at a constant step.

    A constant step could fall in with the period of a series, and then see one phase of it only.
    Here each of as many equal parts of the range gives one place at random, but always the same.

    Parameters
    ----------
    n, n_wanted : int

    Returns
    -------
    ndarray of int
        All n if no more are there than wanted; else about as many as wanted, or a few less.

    Examples
    --------
    >>> from skrdae.preprocessing import spread_places
    >>> spread_places(100, 5).tolist()
    [12, 25, 40, 60, 96]
    """
    if n_wanted >= n:
        return np.arange(n)
    places = np.arange(n_wanted) + np.random.default_rng(0).random(n_wanted)
    return np.unique((places * (n / n_wanted)).astype(np.intp))


def dominant_period(series: FloatRows) -> int | None:
    """Return the period of a series in steps, or None if it has none.

    That is the highest peak of the autocorrelation, the mean over the channels, less their linear
    trends, beyond the lag at which it first falls below zero and up to a third of the length; or an
    earlier peak if that is nearly as high.

    Parameters
    ----------
    series : ndarray of shape (n_timesteps, n_channels)

    Returns
    -------
    int or None

    Examples
    --------
    >>> import numpy as np
    >>> from skrdae.preprocessing import dominant_period
    >>> noise = np.random.default_rng(0).normal(size=(500, 1))
    >>> dominant_period(np.sin(2 * np.pi * np.arange(500) / 25)[:, None] + noise / 3)
    25
    >>> dominant_period(noise) is None
    True
    """
    n = len(series)
    n_fast, total, n_used = next_fast_len(2 * n, real=True), 0.0, 0
    for channel in series.T:
        rounding = 1e-9 * np.abs(channel).max()
        channel = detrend(channel)
        size = np.abs(channel).max()
        if size > rounding:
            power = np.abs(rfft(channel / size, n_fast)) ** 2
            shifted = irfft(power, n_fast)[: n // 3 + 2]
            total, n_used = total + shifted / shifted[0], n_used + 1
    if not n_used or n < 6:
        return None
    # As a mean of products, not a sum: at large lags fewer meet.
    agreement = total / n_used * n / (n - np.arange(n // 3 + 2))
    negative = np.flatnonzero(agreement < 0)
    if not len(negative):
        return None
    inner = agreement[1:-1]
    peaks = np.flatnonzero((inner > agreement[:-2]) & (inner >= agreement[2:])) + 1
    peaks = peaks[(peaks > negative[0]) & (agreement[peaks] >= _LEAST_AGREEMENT)]
    if not len(peaks):
        return None
    return int(peaks[agreement[peaks] >= _NEARLY_BEST * agreement[peaks].max()][0])
