"""The loudest channel of a window: by what a joint detector makes of it, and by how rough it is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skrdae._typing import FloatArray, FloatRows, IntArray
from skrdae.detectors.base import BaseTorchDetector
from skrdae.detectors.channels import by_channel_of
from skrdae.detectors.window_fits import fitted_to_windows
from skrdae.preprocessing import Windows

# The unit is how far this quantile of the training windows lies from their median. But at least
# this part of how far the farthest lies: a command that is given now and then is no anomaly.
_USUAL, _FARTHEST_PART = 0.99, 0.2
# And at least this part of the median unit.
_LEAST_PART, _LEAST = 0.1, 1e-12
# Roughness is not told apart below this part of the channel's usual one.
_STILL = 1e-6
# Values and scores are as far from 0 as this at most, so that squares are finite.
_LARGEST, _LARGEST_RATIO = 1e100, 1e300


class LoudestChannel:
    """A detector of windows of all channels, and how rough each channel is.

    What the detector tells of each channel is brought to a unit: 0 is the median of the training
    windows, 1 what a hundredth of them exceed. So is the roughness of each channel, the logarithm
    of its mean squared step from one value to the next, for which both sides count: a sensor that
    is stuck is smoother than usual. The score of a window is the largest of these numbers.

    Parameters
    ----------
    joint : object
        A detector that is fitted to windows of all channels. If it does not explain its scores,
        they count as a whole.
    n_steps, n_channels : int
        Of a window.

    Attributes
    ----------
    centers, below, above : ndarray of shape (n_scores,)
        What becomes 0, and the distances on either side of it that become 1.
    typical : ndarray of shape (n_channels,)
        The mean squared step of the median training window; the mean of those above 0 if that is 0.
    """

    centers: FloatArray
    below: FloatArray
    above: FloatArray
    typical: FloatArray

    def __init__(self, joint: Any, n_steps: int, n_channels: int) -> None:
        self.joint, self.n_steps, self.n_channels = joint, n_steps, n_channels

    @property
    def n_features_in_(self) -> int:
        """Values of a window."""
        return self.n_steps * self.n_channels

    def decision_function(self, rows: FloatRows) -> FloatArray:
        """Return the scores of windows, (n,); `rows` are of shape (n, n_steps · n_channels)."""
        found: FloatArray = self._in_units(self._raw(rows)).max(axis=1)
        return found

    def by_channel(self, rows: FloatRows) -> FloatArray:
        """Return what each channel adds to the scores of windows, (n, n_channels).

        The shares of the score go by the squares of the numbers of which it is the largest.
        """
        found = self._in_units(self._raw(rows))
        squares = np.square(found).reshape(len(rows), -1, self.n_channels).sum(axis=1)
        total = squares.sum(axis=1, keepdims=True)
        shares = np.divide(squares, total, out=np.zeros_like(squares), where=total > 0)
        return shares * found.max(axis=1, keepdims=True)

    def predict(self, rows: FloatRows) -> IntArray:
        """Return 1 for windows that the joint detector flags."""
        return np.asarray(self.joint.predict(rows))

    def learn_units(self, windows: Windows, chosen: NDArray[np.intp]) -> FloatArray:
        """Measure what is usual; return the scores of all windows of the training series.

        Parameters
        ----------
        windows : Windows
        chosen : ndarray of int
            The places of the windows that the detector was fitted to.

        Returns
        -------
        ndarray of shape (n_windows,)
        """
        self.typical = _typical(
            np.concatenate(
                [self._mean_squared_steps(windows.rows(block)) for block in windows.blocks()]
            )
        )
        raw = np.concatenate([self._raw(windows.rows(block)) for block in windows.blocks()])
        if not isinstance(self.joint, BaseTorchDetector):
            # One that looks at neighbours leaves out the window itself in the fit.
            raw[chosen, 0] = np.ravel(self.joint.decision_scores_)
        low, self.centers, high = np.quantile(raw, [1 - _USUAL, 0.5, _USUAL], axis=0)
        self.above = self._unit(high - self.centers, raw.max(axis=0) - self.centers)
        self.below = self._unit(self.centers - low, self.centers - raw.min(axis=0))
        found: FloatArray = self._in_units(raw).max(axis=1)
        return found

    def _unit(self, usual: FloatArray, farthest: FloatArray) -> FloatArray:
        unit = np.maximum(usual, _FARTHEST_PART * farthest)
        for part in (slice(0, -self.n_channels), slice(-self.n_channels, None)):
            unit[part] = np.maximum(unit[part], _LEAST_PART * np.median(unit[part]))
        return np.maximum(unit, _LEAST)

    def _in_units(self, raw: FloatArray) -> FloatArray:
        found = raw - self.centers
        # What the detector makes of a channel counts if it is more than usual.
        told = found[:, : -self.n_channels]
        np.maximum(told, 0.0, out=told)
        found = np.where(found < 0, -found / self.below, found / self.above)
        return np.minimum(found, _LARGEST)

    def _raw(self, rows: FloatRows) -> FloatArray:
        """Return all numbers in units of their own."""
        told = by_channel_of(self.joint, rows, self.n_steps)
        return np.column_stack([told, self._roughness(rows)])

    def _roughness(self, rows: FloatRows) -> FloatArray:
        """Return the logarithm of the mean squared step of each channel, (n, n_channels)."""
        with np.errstate(over="ignore"):
            ratios = np.minimum(self._mean_squared_steps(rows) / self.typical, _LARGEST_RATIO)
        found: FloatArray = np.log(ratios + _STILL)
        return found

    def _mean_squared_steps(self, rows: FloatRows) -> FloatArray:
        values = rows.reshape(len(rows), self.n_steps, self.n_channels)
        if self.n_steps == 1:
            return np.zeros((len(rows), self.n_channels))
        steps = np.diff(np.clip(values, -_LARGEST, _LARGEST), axis=1)
        found: FloatArray = np.square(steps).mean(axis=1)
        return found


def _typical(steps: FloatArray) -> FloatArray:
    """Return the usual of mean squared steps of windows, (n_channels,), above 0."""
    median = np.median(steps, axis=0)
    # A channel that changes now and then only.
    n_positive = np.maximum((steps > 0).sum(axis=0), 1)
    found = np.where(median > 0, median, steps.sum(axis=0) / n_positive)
    return np.where(found > 0, found, 1.0)


def fitted_to_loudest(
    detector: Any, windows: Windows, chosen: NDArray[np.intp]
) -> tuple[LoudestChannel, FloatArray]:
    """Fit a clone of a detector to some windows; return the scores of all too.

    Parameters
    ----------
    detector : object
        See :class:`WindowedDetector`.
    windows : Windows
    chosen : ndarray of int
        The places of the windows to fit to.

    Returns
    -------
    LoudestChannel
    scores : ndarray of shape (n_windows,)
    """
    joint = fitted_to_windows(detector, windows, chosen)
    found = LoudestChannel(joint, windows.size, windows.series.shape[1])
    return found, found.learn_units(windows, chosen)
