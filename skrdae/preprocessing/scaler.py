"""Column scaling inside a detector."""

from __future__ import annotations

import copy
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix, issparse

from skrdae._memory import is_mapped
from skrdae._parallel import in_parallel
from skrdae._typing import BoolArray, FloatArray, FloatRows, FloatRowsOrSparse, Scaling
from skrdae.preprocessing.moments import ColumnMoments

#: What a ``scaler`` parameter may name; ``None`` leaves the data as they are.
SCALERS = ("robust", "standard", "minmax", None)

# How many values of data in a file are worked on at once: a few MB.
_PIECE = 2**20
# The same for columns: a few MB, which is a column at least.
_COLUMNS = 2**19
# Of data in a file the scales are told from some rows, this many at least.
_LEAST_ROWS = 2**16

# No scale is less than these shares of the standard deviation: that which the middle eight tenths
# of the values stand for if they are normal, and that of the values without the outer hundredths,
# which are moved inwards. Quartiles say little of a column of few different values.
_LEAST_OF_CENTRAL, _LEAST_OF_DEVIATION = 0.8 / 0.6616, 0.2

#: Values are kept under this size, so that sums of their squares stay finite in single precision.
LARGEST = 1e15
#: The largest scaled size of a change in a column that was constant in training.
CHANGED = 1e3


class ColumnScaler:
    """Shift and scale each column: ``(X - center_) / scale_`` in single precision.

    Parameters
    ----------
    method : {"robust", "standard", "minmax"} or None
        ``"robust"`` takes the median and the interquartile range over 1.349, which for normal
        data is the standard deviation. Where the quartiles lie close together because the column
        holds few different values, the spread of the middle 80 % of the values, or that of 98 %,
        bounds the scale from below; a column whose quartiles coincide takes its standard
        deviation. ``"standard"`` takes mean and standard deviation, ``"minmax"`` minimum and
        range, ``None`` 0 and 1.
    bound : float, default=10.0
        The network's input is clipped to ±`bound` times the scale (with ``method=None``, times the
        largest training value), so that a single extreme value does not dominate the weights.

    Attributes
    ----------
    center_, scale_ : ndarray of shape (n_features,)
    constant_ : ndarray of shape (n_features,), bool
        Columns that are constant in the training data; all False with ``method=None``. A deviation
        from the constant is divided by the resolution of single precision and clipped to ±1000, so
        nearly any other value is scaled to ±1000, whatever its unit.
    bound_ : float
        Scaled values are clipped to ±``bound_`` in the input of the network. Residuals are computed
        from the unclipped values, so that extreme outliers keep their high scores.

    Examples
    --------
    >>> import numpy as np
    >>> from skrdae.preprocessing import ColumnScaler
    >>> X = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]])
    >>> ColumnScaler("minmax").fit(X).transform(X).tolist()
    [[0.0, 0.0], [0.5, 0.0], [1.0, 0.0]]
    """

    center_: FloatArray
    scale_: FloatArray
    constant_: BoolArray
    bound_: float

    def __init__(self, method: Scaling, bound: float = 10.0) -> None:
        self.method = method
        self.bound = bound

    def fit(self, X: FloatRowsOrSparse, moments: ColumnMoments | None = None) -> Self:
        """Find centre and scale of each column.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
        moments : ColumnMoments, optional
            Of all rows, if X is a sample of them. Then only quantiles are those of the sample.

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
            ends = (X.max(), -X.min())
            if moments is not None:
                ends = (moments.largest.max(), -moments.smallest.min())
            largest = float(max(ends))
            if largest > 1e6:
                raise ValueError(
                    f"X holds values up to {largest:.3g}, too large to train on as they are: set "
                    "scaler='robust', 'standard' or 'minmax', or scale X yourself."
                )
            self.bound_ = self.bound * max(largest, 1.0)
            self.center_, self.scale_ = np.zeros(n_features), np.ones(n_features)
            self.constant_ = np.zeros(n_features, bool)
            return self
        found = self._measured(X)
        if moments is not None:
            found = self._of_all(
                found, X, moments.smallest, moments.largest, moments.mean, moments.deviation
            )
        smallest, largest, rounding, center, scale = found
        unusable = ~(np.isfinite(center) & np.isfinite(scale))
        if unusable.any():
            raise ValueError(
                f"Column {int(np.flatnonzero(unusable)[0])} of X spreads too widely to be scaled "
                "in double precision: divide it by a constant, or take its logarithm."
            )
        # Not told from the scale, which for a mean taken over many rows holds rounding errors.
        self.constant_ = constant = (largest - smallest <= rounding) | (scale <= 0)
        self.center_ = np.where(constant, smallest, center)
        # Rounding errors that are there already stay below one unit.
        resolution = np.maximum(_resolution(smallest), 2 * (largest - smallest))
        self.scale_ = np.where(constant, resolution, scale)
        return self

    def with_changes(self, X: FloatRows) -> Self:
        """Return a scaler that knows the columns too that were constant and change in X.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            Rows that come after those of `fit`.

        Returns
        -------
        ColumnScaler
            This one where none changes, else a copy.
        """
        places = np.flatnonzero(self.constant_)
        places = places[(self.transform(X)[:, places] != 0).any(axis=0)]
        if not len(places):
            return self
        # With a row as they were before, or a column of one new value would be constant again.
        rows = np.concatenate([self.center_[None, places], X[:, places]])
        found = type(self)(self.method, self.bound).fit(rows)
        return self.with_columns(
            places, center_=found.center_, scale_=found.scale_, constant_=found.constant_
        )

    def with_columns(self, places: NDArray[np.intp], **values: NDArray[Any] | bool) -> Self:
        """Return a copy with other values of some attributes at some columns."""
        other = copy.copy(self)
        for name, found in values.items():
            whole = getattr(self, name).copy()
            whole[places] = found
            setattr(other, name, whole)
        return other

    def _measured(self, X: FloatRowsOrSparse) -> FloatArray:
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

    def _corrected(self, found: FloatArray, X: FloatRows) -> FloatArray:
        """Replace what :meth:`_measure` told from some rows, but for quantiles, by that of all."""
        smallest, largest = found[:2]
        shift, sums, squares = found[3].copy(), 0.0, 0.0
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
        return self._of_all(found, X, smallest, largest, shift + mean, deviation)

    def _of_all(
        self,
        found: FloatArray,
        X: FloatRows,
        smallest: FloatArray,
        largest: FloatArray,
        mean: FloatArray,
        deviation: FloatArray,
    ) -> FloatArray:
        """Return what :meth:`_measure` found in some rows, with what is known of all."""
        center, scale = found[3:]
        with np.errstate(over="ignore", invalid="ignore"):
            rounding = 8 * np.finfo(X.dtype).eps * np.maximum(np.abs(smallest), np.abs(largest))
            if self.method == "robust":
                scale = np.where(scale <= rounding, deviation, scale)
            elif self.method == "standard":
                center, scale = mean, deviation
            else:
                center, scale = smallest, largest - smallest
        return np.array([smallest, largest, rounding, center, scale])

    def _measure_sparse(self, X: csr_matrix) -> FloatArray:
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

    def _measure(self, X: FloatRows) -> FloatArray:
        """Return minimum, maximum, rounding error, centre and scale of each column."""
        smallest: NDArray[Any]
        largest: NDArray[Any]
        with np.errstate(over="ignore", invalid="ignore"):
            if self.method == "robust":
                # Sorted first, which is done by whole registers and so faster than selecting.
                columns: NDArray[Any] = np.array(X.T, order="C")  # a copy, even of one column
                columns.sort(axis=1)
                # Copies, because the quantiles may move what they are told from.
                smallest, largest = columns[:, 0].copy(), columns[:, -1].copy()
                least = _least_scale(columns)
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
                scale = np.maximum(scale, least)
                scale[flat] = X[:, flat].std(axis=0, dtype=np.float64)
            elif self.method == "standard":
                center = X.mean(axis=0, dtype=np.float64)
                scale = X.std(axis=0, dtype=np.float64)
            else:
                center, scale = smallest, largest - smallest
        return np.array([smallest, largest, rounding, center, scale], np.float64)

    def transform(
        self, X: FloatRows, out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
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
        any_constant = bool(self.constant_.any())

        def scale(start: int) -> None:
            part = X[start : start + rows]
            with np.errstate(over="ignore"):
                if self.method is not None:
                    part = np.subtract(part, self.center_, dtype=np.float64)
                    np.divide(part, self.scale_, out=part)
                if any_constant:
                    changed = part[:, self.constant_].clip(-CHANGED, CHANGED)
                    part[:, self.constant_] = np.where(np.abs(changed) < 1, 0.0, changed)
                place = scaled[start : start + rows]
                np.clip(part, -LARGEST, LARGEST, out=place, casting="same_kind")

        in_parallel(scale, range(0, len(X), rows))
        return scaled

    def transform_on(self, X: torch.Tensor) -> torch.Tensor:
        """Scale rows on a device with double precision, to the last bit as :meth:`transform` does.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features), float32 or float64

        Returns
        -------
        Tensor of shape (n_samples, n_features), float32
        """
        if self.method is not None:
            center, scale = (torch.from_numpy(a).to(X.device) for a in (self.center_, self.scale_))
            X = X.double().sub_(center).div_(scale)
        if self.constant_.any():
            places = torch.from_numpy(np.flatnonzero(self.constant_)).to(X.device)
            changed = X[:, places].clamp(-CHANGED, CHANGED)
            X = X.index_copy(1, places, changed.masked_fill(changed.abs() < 1, 0.0))
        return X.clamp(-LARGEST, LARGEST).float()

    def inverse_transform(self, Z: ArrayLike) -> FloatArray:
        """Undo :meth:`transform`, in double precision."""
        return np.asarray(Z, np.float64) * self.scale_ + self.center_

    def unscale(self, part: ArrayLike, X: FloatRows) -> FloatArray:
        """Return a part of scaled rows in their own units.

        Parameters
        ----------
        part : array-like of shape (n_samples, n_features)
            What is added up to ``transform(X)`` with something else.
        X : ndarray of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_features), float64
        """
        # Larger than the scale where the scaled value was clipped.
        limit = np.where(self.constant_, CHANGED, LARGEST)
        unit = np.maximum(self.scale_, np.abs(X - self.center_) / limit)
        return np.asarray(part, np.float64) * unit

    def __repr__(self) -> str:
        return f"ColumnScaler({self.method!r})"


def _least_scale(columns: NDArray[Any]) -> FloatArray:
    """Return what the scale of columns should be at least, (d, n) → (d,); rows are sorted."""
    n = columns.shape[1]
    tail, outer = (min(-(-n // share), (n - 1) // 2) for share in (10, 100))
    central = columns[:, tail : n - tail].std(axis=1, dtype=np.float64)
    inside = columns.clip(columns[:, [outer]], columns[:, [n - 1 - outer]])
    deviation = inside.std(axis=1, dtype=np.float64)
    return np.maximum(_LEAST_OF_CENTRAL * central, _LEAST_OF_DEVIATION * deviation)


def _resolution(values: FloatArray) -> FloatArray:
    """Return the distance at which single precision tells numbers from others."""
    single = np.finfo(np.float32)
    return np.maximum(np.abs(values) * single.eps, single.tiny)
