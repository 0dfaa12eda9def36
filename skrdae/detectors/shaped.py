"""Rows that have a shape of their own: images, and windows of several channels."""

from __future__ import annotations

import math
from abc import abstractmethod
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils._param_validation import Interval

from skrdae._columns import numbers_only
from skrdae._typing import FloatArray, FloatRows
from skrdae._validation import check_data, snapshot
from skrdae.detectors.base import BaseTorchDetector
from skrdae.registry import parameters


class ShapedRows(BaseTorchDetector):
    """Base class of detectors whose rows are arrays: all methods take them flat or in shape.

    Its network keeps the shape of a row as ``row_shape``, because parameters may change after a
    fit.
    """

    @abstractmethod
    def _check_shape(self, shape: tuple[int, ...], fitted: tuple[int, ...] | None) -> None:
        """Raise a ValueError if X cannot have rows of this shape.

        Parameters
        ----------
        shape : tuple
            Of one row, which may be flat.
        fitted : tuple or None
            The shape of the rows that the detector is fitted to. None in `fit`, where its
            parameters decide.
        """

    def _check_data(self, X: ArrayLike, *, reset: bool) -> FloatRows:
        fitted = None if reset else self.network_.row_shape
        if n_axes(X) > 2:
            X = np.asarray(numbers_only(X))
            self._check_shape(X.shape[1:], fitted)
            X = X.reshape(len(X), math.prod(X.shape[1:]))  # of none, too
        rows = check_data(self, X, reset=reset)
        self._check_shape(rows.shape[1:], fitted)
        return rows

    def _as_given(self, rows: FloatArray, X: ArrayLike) -> FloatArray:
        return rows if n_axes(X) < 3 else rows.reshape(np.shape(X))

    def explain(self, X: ArrayLike) -> FloatArray:
        """Return the contribution of each value to the score of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Or with rows in their shape.

        Returns
        -------
        ndarray of shape (n_samples, …), float64
            With rows in their shape. Non-negative. The contributions to a row add up to its
            ``decision_function``, within the rounding of single precision.
        """
        self = snapshot(self)
        explained = super().explain(X)
        shape = np.shape(X)[1:] if n_axes(X) > 2 else self.network_.row_shape
        return explained.reshape(len(explained), *shape)


@parameters
class ChannelWindows(ShapedRows):
    """Base class of detectors of windows: a row holds the channels of one step after another."""

    n_channels: int = 1

    _parameter_constraints = {
        **BaseTorchDetector._parameter_constraints,
        "n_channels": [Interval(Integral, 1, None, closed="left")],
    }

    def _check_shape(self, shape: tuple[int, ...], fitted: tuple[int, ...] | None) -> None:
        n_channels = int(self.n_channels) if fitted is None else fitted[-1]
        if len(shape) > 2:
            raise ValueError(
                f"X has {len(shape) + 1} axes; windows have three: (n_samples, n_steps, "
                "n_channels)."
            )
        if len(shape) == 2 and shape[1] != n_channels:
            remedy = f": set n_channels={shape[1]}." if fitted is None and shape[1] else "."
            if shape[0] == n_channels:
                remedy = ". X has its channels before its steps: pass np.moveaxis(X, 1, -1)."
            raise ValueError(
                f"X has {shape[1]} channel{'s' * (shape[1] != 1)}, its last axis, but n_channels "
                f"is {n_channels}{remedy}"
            )
        if fitted is not None and len(shape) == 2 and shape[0] != fitted[0]:
            raise ValueError(
                f"X has windows of {shape[0]} steps, but the detector is fitted to windows of "
                f"{fitted[0]}."
            )
        if shape[-1] % n_channels:
            raise ValueError(
                f"X has {shape[-1]} values a row, which n_channels={n_channels} does not divide. "
                "A row holds all channels of a window, step by step."
            )

    def explain(self, X: ArrayLike) -> FloatArray:
        """Return the contribution of each value to the score of each window.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_steps · n_channels)
            Or (n_samples, n_steps, n_channels).

        Returns
        -------
        ndarray of shape (n_samples, n_steps, n_channels), float64
            Non-negative. The contributions to a window add up to its ``decision_function``, within
            the rounding of single precision.
        """
        return super().explain(X)


def n_axes(X: Any) -> int:
    """Return how many axes X has, whether an array or nested lists."""
    if hasattr(X, "ndim"):
        return X.ndim
    depth = 0
    while isinstance(X, list | tuple):
        depth, X = depth + 1, X[0] if X else None
    return depth + getattr(X, "ndim", 0)
