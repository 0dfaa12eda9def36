"""What a scaler has to know of all rows, added up over parts of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from skrdae._typing import FloatArray, FloatRows

# Values that are copied to double precision at once: a few MB.
_PIECE = 2**20


@dataclass(frozen=True, eq=False)
class ColumnMoments:
    """Number, range, mean and squared deviations of rows; those of parts add up.

    Attributes
    ----------
    n_rows : int
    smallest, largest, mean : ndarray of shape (n_features,)
    squares : ndarray of shape (n_features,)
        The sum of the squared deviations from the mean.

    References
    ----------
    Chan, T. F., G. H. Golub and R. J. LeVeque, Algorithms for Computing the Sample Variance, The
    American Statistician 37(3), 1983.

    Examples
    --------
    >>> import numpy as np
    >>> from skrdae.preprocessing import ColumnMoments
    >>> X = np.arange(10.0)[:, None]
    >>> both = ColumnMoments.of(X[:3]) + ColumnMoments.of(X[3:])
    >>> both.n_rows, both.mean.tolist(), both.deviation.tolist() == X.std(axis=0).tolist()
    (10, [4.5], True)
    """

    n_rows: int
    smallest: FloatArray
    largest: FloatArray
    mean: FloatArray
    squares: FloatArray

    @classmethod
    def of(cls, X: FloatRows) -> Self:
        """Return the moments of rows, at least one: an ndarray of shape (n_samples, n_features)."""
        rows = max(1, _PIECE // X.shape[1])
        parts = [cls._of_few(X[start : start + rows]) for start in range(0, len(X), rows)]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total

    @classmethod
    def _of_few(cls, X: FloatRows) -> Self:
        X = X.astype(np.float64)
        mean = X.mean(axis=0)
        with np.errstate(over="ignore"):
            squares = np.square(X - mean).sum(axis=0)
        return cls(len(X), X.min(axis=0), X.max(axis=0), mean, squares)

    @property
    def deviation(self) -> FloatArray:
        """The standard deviation of each column."""
        found: FloatArray = np.sqrt(self.squares / self.n_rows)
        return found

    def __add__(self, other: Self) -> Self:
        n_rows = self.n_rows + other.n_rows
        apart = other.mean - self.mean
        share = other.n_rows / n_rows
        with np.errstate(over="ignore"):
            between = np.square(apart) * (self.n_rows * share)
        return type(self)(
            n_rows,
            np.minimum(self.smallest, other.smallest),
            np.maximum(self.largest, other.largest),
            self.mean + apart * share,
            self.squares + other.squares + between,
        )
