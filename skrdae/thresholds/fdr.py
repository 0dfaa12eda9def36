"""Labels by p-values: the false discovery rate."""

from __future__ import annotations

from numbers import Real

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import false_discovery_control
from sklearn.utils import check_scalar
from sklearn.utils.validation import column_or_1d

from skrdae._typing import IntArray


def fdr_labels(p_values: ArrayLike, max_fdr: float = 0.1) -> IntArray:
    """Flag rows so that few of those flagged are normal, by the Benjamini–Hochberg procedure.

    A false-positive rate says how many of the normal rows are flagged. If anomalies are rare, most
    of the rows flagged may still be normal. The false discovery rate is the share of normal rows
    among those flagged (0 if none is), on average over many such sets of rows; this keeps it at
    `max_fdr` or below. The more anomalies there are, the more rows are flagged.

    Parameters
    ----------
    p_values : array-like of shape (n_samples,)
        Of the rows that are looked at together, for example from
        :meth:`CalibratedDetector.p_values <skrdae.CalibratedDetector.p_values>`.
    max_fdr : float in (0, 1), default=0.1
        The false discovery rate allowed.

    Returns
    -------
    ndarray of shape (n_samples,), int
        1 for the rows flagged, 0 for the others.

    Raises
    ------
    ValueError, TypeError
        If `p_values` are not in (0, 1], as scores or labels are not, or `max_fdr` is not in (0, 1).

    Notes
    -----
    With n calibration scores no p-value is below 1 / (n + 1). So nothing is flagged among m rows
    unless at least m / (`max_fdr` · (n + 1)) of them have the smallest p-value: calibrate with many
    rows, or look at fewer at a time.

    References
    ----------
    Y. Benjamini and Y. Hochberg, Controlling the False Discovery Rate, Journal of the Royal
    Statistical Society B 57, 1995. S. Bates et al., Testing for Outliers with Conformal p-values,
    Annals of Statistics 51, 2023: the bound holds for p-values that share a calibration set to
    which the detector was not fitted.

    Examples
    --------
    >>> from skrdae.thresholds import fdr_labels
    >>> fdr_labels([0.001, 0.004, 0.03, 0.2, 0.6, 0.9], max_fdr=0.05)
    array([1, 1, 0, 0, 0, 0])
    """
    max_fdr = check_scalar(
        max_fdr, "max_fdr", Real, min_val=0, max_val=1, include_boundaries="neither"
    )
    p_values = np.asarray(column_or_1d(p_values), np.float64)
    if not ((p_values > 0) & (p_values <= 1)).all():
        wrong = p_values[~((p_values > 0) & (p_values <= 1))][0]
        raise ValueError(
            f"p_values must lie in (0, 1]; one is {wrong:g}. Pass those of p_values(X), not scores "
            "or labels."
        )
    if not len(p_values):
        return np.zeros(0, int)
    # Rounding must not decide between a p-value and the bound that it meets.
    adjusted = false_discovery_control(p_values, method="bh")
    return (adjusted <= max_fdr * (1 + 1e-12)).astype(int)
