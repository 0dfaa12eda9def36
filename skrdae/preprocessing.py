"""Column scaling inside a detector."""

import numpy as np

#: What a ``scaler`` parameter may name; ``None`` leaves the data as they are.
SCALERS = ("robust", "standard", "minmax", None)

# In multiples of the scale, or of the largest training value where the data are left as they
# are: what a network is shown at most. One wild cell must not steer the weights.
_BOUND = 10.0
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

    def __init__(self, method):
        self.method = method

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
        self.bound_ = _BOUND
        if self.method is None:
            largest = float(np.abs(X).max())
            if largest > 1e6:
                raise ValueError(
                    f"X holds values up to {largest:.3g}, too large to train on as they are: set "
                    "scaler='robust', 'standard' or 'minmax', or scale X yourself."
                )
            self.bound_ = max(_BOUND * largest, _BOUND)
            self.center_, self.scale_ = np.zeros(n_features), np.ones(n_features)
            return self
        with np.errstate(over="ignore", invalid="ignore"):
            smallest, largest = X.min(axis=0).astype(np.float64), X.max(axis=0).astype(np.float64)
            # A spread of rounding errors alone is none: what is left of a constant column.
            rounding = 8 * np.finfo(X.dtype).eps * np.maximum(np.abs(smallest), np.abs(largest))
            if self.method == "robust":
                lower, center, upper = np.percentile(X, [25, 50, 75], axis=0)
                scale = (upper - lower) / 1.349
                flat = scale <= rounding
                scale[flat] = X[:, flat].std(axis=0, dtype=np.float64)
            elif self.method == "standard":
                center = X.mean(axis=0, dtype=np.float64)
                scale = X.std(axis=0, dtype=np.float64)
            else:
                center, scale = smallest, largest - smallest
        center, scale = np.asarray(center, np.float64), np.asarray(scale, np.float64)
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

    def transform(self, X):
        """Scale.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_features), float32
        """
        scaled = np.empty(X.shape, np.float32)
        rows = max(1, 2**20 // X.shape[1])  # keeps the double-precision copies small
        with np.errstate(over="ignore"):
            for start in range(0, len(X), rows):
                part = (X[start : start + rows] - self.center_) / self.scale_
                scaled[start : start + rows] = part.clip(-LARGEST, LARGEST)
        return scaled

    def inverse_transform(self, Z):
        """Undo :meth:`transform`, in double precision."""
        return np.asarray(Z, np.float64) * self.scale_ + self.center_

    def __repr__(self):
        return f"ColumnScaler({self.method!r})"
