"""Column scaling inside a detector; sliding windows over series."""

import numpy as np
from numpy.lib.stride_tricks import as_strided
from scipy.fft import irfft, next_fast_len, rfft
from scipy.signal import detrend
from scipy.sparse import issparse

from skrdae._memory import is_mapped
from skrdae._parallel import in_parallel

#: What a ``scaler`` parameter may name; ``None`` leaves the data as they are.
SCALERS = ("robust", "standard", "minmax", None)

# How many values a piece of work on windows holds at once: a few MB.
_PIECE = 2**20
# The same for work on columns: a few MB, which is a column at least.
_COLUMNS = 2**19
# Of data in a file the scales are told from some rows, this many at least.
_LEAST_ROWS = 2**16
# A period is believed if the series agrees with itself, shifted by it, at least so much
# (autocorrelation), and preferred to its multiples if they agree hardly better.
_LEAST_AGREEMENT, _NEARLY_BEST = 0.3, 0.9

#: Values are kept under this size, so that sums of their squares stay finite in single precision.
LARGEST = 1e15


class ColumnScaler:
    """Shift and scale each column: ``(X - center_) / scale_`` in single precision.

    Parameters
    ----------
    method : {"robust", "standard", "minmax"} or None
        ``"robust"`` takes the median and the interquartile range over 1.349, which for normal
        data is the standard deviation; a column whose quartiles coincide takes its standard
        deviation. ``"standard"`` takes mean and standard deviation, ``"minmax"`` minimum and
        range, ``None`` 0 and 1. A constant column has scale 1.
    bound : float, default=10.0
        Where values are clipped before a network sees them, in multiples of the scale, or of the
        largest training value where the data are left as they are: one wild cell must not steer
        the weights.

    Attributes
    ----------
    center_, scale_ : ndarray of shape (n_features,)
    bound_ : float
        Scaled values beyond ±``bound_`` are clipped before a network sees them. Residuals are
        still taken from the unclipped values, so that a far outlier keeps its distance.

    Examples
    --------
    >>> import numpy as np
    >>> from skrdae.preprocessing import ColumnScaler
    >>> X = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]])
    >>> ColumnScaler("minmax").fit(X).transform(X).tolist()
    [[0.0, 0.0], [0.5, 0.0], [1.0, 0.0]]
    """

    def __init__(self, method, bound=10.0):
        self.method = method
        self.bound = bound

    def fit(self, X):
        """Find centre and scale of each column.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a column's spread is too large for double precision, or, with ``method=None``, a
            value is too large for a network.
        """
        n_features = X.shape[1]
        self.bound_ = self.bound
        if self.method is None:
            largest = float(max(X.max(), -X.min()))
            if largest > 1e6:
                raise ValueError(
                    f"X holds values up to {largest:.3g}, too large to train on as they are: set "
                    "scaler='robust', 'standard' or 'minmax', or scale X yourself."
                )
            self.bound_ = self.bound * max(largest, 1.0)
            self.center_, self.scale_ = np.zeros(n_features), np.ones(n_features)
            return self
        smallest, largest, rounding, center, scale = self._measured(X)
        unusable = ~(np.isfinite(center) & np.isfinite(scale))
        if unusable.any():
            raise ValueError(
                f"Column {int(np.flatnonzero(unusable)[0])} of X spreads too widely to be scaled "
                "in double precision: divide it by a constant, or take its logarithm."
            )
        # Not told from the scale, which for a mean taken over many rows holds rounding errors.
        constant = largest - smallest <= rounding
        center = np.where(constant, smallest, center)
        self.center_, self.scale_ = center, np.where(constant | (scale <= 0), 1.0, scale)
        return self

    def _measured(self, X):
        """Return what :meth:`_measure` does, for any number of columns and rows."""
        if issparse(X):
            return self._measure_sparse(X)
        n_wanted = max(_PIECE * 16 // X.shape[1], _LEAST_ROWS)
        if is_mapped(X) and len(X) > n_wanted:
            # Column by column the file would be read again and again.
            places = np.sort(np.random.default_rng(0).choice(len(X), n_wanted, replace=False))
            return self._corrected(self._measured(X[places]), X)
        # A few columns at a time, because each takes a copy.
        at_once = max(1, _COLUMNS // len(X))
        starts = range(0, X.shape[1], at_once)
        blocks = in_parallel(lambda start: self._measure(X[:, start : start + at_once]), starts)
        return np.concatenate(blocks, axis=1)

    def _corrected(self, found, X):
        """Replace what :meth:`_measure` told from some rows, but for quantiles, by that of all."""
        smallest, largest, _, center, scale = found
        shift, sums, squares = center.copy(), 0.0, 0.0
        rows = max(1, _PIECE // X.shape[1])
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, len(X), rows):
                block = X[start : start + rows]
                np.minimum(smallest, block.min(axis=0), out=smallest)
                np.maximum(largest, block.max(axis=0), out=largest)
                block = np.subtract(block, shift, dtype=np.float64)
                sums, squares = sums + block.sum(axis=0), squares + np.square(block).sum(axis=0)
            mean = sums / len(X)
            deviation = np.sqrt(np.maximum(squares / len(X) - mean**2, 0.0))
            rounding = 8 * np.finfo(X.dtype).eps * np.maximum(np.abs(smallest), np.abs(largest))
            if self.method == "robust":
                scale = np.where(scale <= rounding, deviation, scale)
            elif self.method == "standard":
                center, scale = shift + mean, deviation
            else:
                center, scale = smallest, largest - smallest
        return np.array([smallest, largest, rounding, center, scale])

    def _measure_sparse(self, X):
        """Do what :meth:`_measure` does, of a CSR matrix."""
        n_rows = X.shape[0]
        X = X.tocsc().astype(np.float64)
        X.sum_duplicates()
        filled = np.diff(X.indptr)
        smallest, largest = (f(axis=0).toarray().ravel() for f in (X.min, X.max))
        mean = np.asarray(X.sum(axis=0)).ravel() / n_rows
        columns = np.repeat(np.arange(X.shape[1]), filled)
        with np.errstate(over="ignore", invalid="ignore"):
            squares = np.bincount(columns, np.square(X.data - mean[columns]), X.shape[1])
            deviation = np.sqrt((squares + (n_rows - filled) * np.square(mean)) / n_rows)
        rounding = 8 * np.finfo(np.float64).eps * np.maximum(np.abs(smallest), np.abs(largest))
        if self.method == "minmax":
            center, scale = smallest, largest - smallest
        elif self.method == "standard":
            center, scale = mean, deviation
        else:
            # Where less than a quarter is filled, all quartiles are zero.
            center, scale = np.zeros(X.shape[1]), deviation
            for column in np.flatnonzero(filled >= n_rows / 4):
                found = self._measure(X[:, [column]].toarray())
                center[column], scale[column] = found[3, 0], found[4, 0]
        return np.array([smallest, largest, rounding, center, scale])

    def _measure(self, X):
        """Return minimum, maximum, rounding error, centre and scale of each column."""
        with np.errstate(over="ignore", invalid="ignore"):
            if self.method == "robust":
                # Sorted first, which is done by whole registers and so faster than selecting.
                columns = np.array(X.T, order="C")  # a copy, even of one column
                columns.sort(axis=1)
                # Copies, because the quantiles may move what they are told from.
                smallest, largest = columns[:, 0].copy(), columns[:, -1].copy()
                lower, center, upper = np.percentile(
                    columns, [25, 50, 75], axis=1, overwrite_input=True
                )
            else:
                smallest, largest = X.min(axis=0), X.max(axis=0)
            smallest, largest = smallest.astype(np.float64), largest.astype(np.float64)
            # A spread of rounding errors alone is none: what is left of a constant column.
            rounding = 8 * np.finfo(X.dtype).eps * np.maximum(np.abs(smallest), np.abs(largest))
            if self.method == "robust":
                scale = (upper - lower) / 1.349
                flat = scale <= rounding
                scale[flat] = X[:, flat].std(axis=0, dtype=np.float64)
            elif self.method == "standard":
                center = X.mean(axis=0, dtype=np.float64)
                scale = X.std(axis=0, dtype=np.float64)
            else:
                center, scale = smallest, largest - smallest
        return np.array([smallest, largest, rounding, center, scale], np.float64)

    def transform(self, X, out=None):
        """Scale.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
        out : ndarray of shape (n_samples, n_features), float32, optional
            Where to write the result.

        Returns
        -------
        ndarray of shape (n_samples, n_features), float32
        """
        scaled = np.empty(X.shape, np.float32) if out is None else out
        rows = max(1, 2**16 // X.shape[1])  # double-precision copies that stay in the cache

        def scale(start):
            part = X[start : start + rows]
            with np.errstate(over="ignore"):
                if self.method is not None:
                    part = np.subtract(part, self.center_, dtype=np.float64)
                    np.divide(part, self.scale_, out=part)
                place = scaled[start : start + rows]
                np.clip(part, -LARGEST, LARGEST, out=place, casting="same_kind")

        in_parallel(scale, range(0, len(X), rows))
        return scaled

    def inverse_transform(self, Z):
        """Undo :meth:`transform`, in double precision."""
        return np.asarray(Z, np.float64) * self.scale_ + self.center_

    def __repr__(self):
        return f"ColumnScaler({self.method!r})"


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

    def __init__(self, series, lengths, size, stride=1):
        self.series, self.size, self.stride = series, size, stride
        self.n_steps, n_channels = series.shape
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

    def __len__(self):
        return len(self.starts)

    def rows(self, places):
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

    def blocks(self):
        """Yield slices of windows that are few enough to be copied."""
        rows = max(64, _PIECE // (self.size * self.series.shape[1]) // 64 * 64)
        for start in range(0, len(self), rows):
            yield slice(start, start + rows)

    def combine(self, values, how):
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
        first, counts = self._covering()
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

    def all_of(self, marked):
        """Return for each step whether all windows that cover it are marked.

        Parameters
        ----------
        marked : ndarray of shape (n_windows,), bool

        Returns
        -------
        ndarray of shape (n_timesteps,), bool
            False where no window covers a step.
        """
        first, counts = self._covering()
        before = np.concatenate([[0], np.cumsum(~marked)])
        return (counts > 0) & (before[first + counts] == before[first])

    def _covering(self):
        """Return for each step the first window that covers it, and how many do."""
        steps = np.arange(self.n_steps)
        first = np.searchsorted(self.starts, steps - self.size, side="right")
        return first, np.searchsorted(self.starts, steps, side="right") - first

    def count(self, marked):
        """Return how many marked steps each window holds; `marked` is boolean, one a step."""
        before = np.concatenate([[0], np.cumsum(marked)])
        return before[self.starts + self.size] - before[self.starts]


def spread_places(n, n_wanted):
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


def dominant_period(series):
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
