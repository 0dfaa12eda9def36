"""A detector for each channel of a series, and how their scores of a window become one.

Deng, A. & Hooi, B., Graph Neural Network-Based Anomaly Detection in Multivariate Time Series, AAAI
2021, bring the deviation of each channel to units of its own spread as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skrdae._typing import FloatArray, FloatRows, IntArray
from skrdae.detectors.base import BaseTorchDetector
from skrdae.detectors.window_fits import fitted_to_windows
from skrdae.preprocessing import Windows, spread_places

# A channel's unit is how far this quantile of its scores lies above their median.
_USUAL = 0.9
# But at least this part of the distance of a higher quantile: a flag that is set now and then has
# high scores in few windows, but is no anomaly. With a larger part, anomalies in the training
# series would make themselves the unit.
_RARE, _RARE_PART = 0.99, 0.2
# And at least this part of the median channel's: a channel that the detector knows to the last
# digit is not measured by what little is left of it.
_LEAST_PART = 0.1
_LEAST, _LARGEST, _LARGEST_TOTAL = 1e-12, 1e100, 600.0
# So many windows tell what is usual.
_MEASURED = 1000


class ChannelDetectors:
    """Detectors of windows, one for each channel, and maybe one for all channels together.

    The scores of each channel are brought to a unit: 0 is the median of the training windows, 1 the
    score that a tenth of them exceed. The m scores a of a window, those below 0 counting as 0, are
    joined to √(∏ (1 + a² / m) − 1). What is usual adds little, however many channels there are, and
    a channel far outside its range does not rule.

    Parameters
    ----------
    detectors : list of objects
        A fitted detector for each channel.
    joint : object or None
        One that is fitted to windows of all channels. What it tells of each channel counts as a
        second score of the channel, if it explains its scores; else its score counts as that of one
        more channel.
    n_steps : int
        Steps of a window.

    Attributes
    ----------
    centers, scales : ndarray of shape (n_scores,)
        The scores that become 0, and the distances that become 1.
    """

    centers: FloatArray
    scales: FloatArray

    def __init__(self, detectors: list[Any], joint: Any, n_steps: int) -> None:
        self.detectors, self.joint, self.n_steps = detectors, joint, n_steps

    @property
    def n_features_in_(self) -> int:
        """Values of a window."""
        return self.n_steps * len(self.detectors)

    def decision_function(self, rows: FloatRows) -> FloatArray:
        """Return the scores of windows, (n,); `rows` are of shape (n, n_steps · n_channels)."""
        return self._joined(self._raw(rows))

    def by_channel(self, rows: FloatRows) -> FloatArray:
        """Return what each channel adds to the scores of windows, (n, n_channels)."""
        terms = self._terms(self._raw(rows))
        found: FloatArray = terms.reshape(len(rows), -1, len(self.detectors)).sum(axis=1)
        total = found.sum(axis=1)
        found *= (_score_of(total) / np.where(total > 0, total, 1.0))[:, None]
        return found

    def _joined(self, raw: FloatArray) -> FloatArray:
        return _score_of(self._terms(raw).sum(axis=1))

    def _terms(self, raw: FloatArray) -> FloatArray:
        scores = np.clip((raw - self.centers) / self.scales, 0.0, _LARGEST)
        terms: FloatArray = np.log1p(np.square(scores) / scores.shape[1])
        return terms

    def predict(self, rows: FloatRows) -> IntArray:
        """Return 1 for windows that any of the detectors flags."""
        votes = [d.predict(part) for d, part in zip(self.detectors, self.parts(rows), strict=True)]
        if self.joint is not None:
            votes.append(self.joint.predict(rows))
        return np.any(np.asarray(votes) == 1, axis=0).astype(int)

    def parts(self, rows: FloatRows) -> Iterator[FloatRows]:
        """Yield what windows hold of each channel, (n, n_steps)."""
        n_channels = len(self.detectors)
        for channel in range(n_channels):
            part: Any = rows[:, channel::n_channels]
            yield np.ascontiguousarray(part)

    def learn_units(self, windows: Windows, chosen: NDArray[np.intp]) -> FloatArray:
        """Measure what scores are usual; return the scores of all windows of the training series.

        Parameters
        ----------
        windows : Windows
        chosen : ndarray of int
            The places of the windows that the detectors were fitted to.

        Returns
        -------
        ndarray of shape (n_windows,)
        """
        # Not only of the windows fitted to: what is rare but happens may not be among them.
        raw = self._raw_in_training(windows, spread_places(len(windows), _MEASURED), chosen)
        self.centers, usual, rare = np.quantile(raw, [0.5, _USUAL, _RARE], axis=0)
        scales = np.maximum(usual - self.centers, _RARE_PART * (rare - self.centers))
        self.scales = np.maximum(scales, max(_LEAST_PART * np.median(scales), _LEAST))
        every = np.arange(len(windows))
        blocks = (every[block] for block in windows.blocks())
        return np.concatenate(
            [self._joined(self._raw_in_training(windows, block, chosen)) for block in blocks]
        )

    def _raw_in_training(
        self, windows: Windows, places: NDArray[np.intp], chosen: NDArray[np.intp]
    ) -> FloatArray:
        """Return all scores of windows of the training series, as in the fit where they were in it.

        A detector that looks at neighbours leaves out the window itself in the fit. If the window
        were new, it would be its own nearest neighbour.
        """
        raw = self._raw(windows.rows(places))
        _, here, fitted = np.intersect1d(places, chosen, assume_unique=True, return_indices=True)
        for column, detector in enumerate([*self.detectors, self.joint]):
            if detector is not None and not isinstance(detector, BaseTorchDetector):
                raw[here, column] = np.ravel(detector.decision_scores_)[fitted]
        return raw

    def _raw(self, rows: FloatRows) -> FloatArray:
        """Return all scores that the detectors give windows, in units of their own."""
        scores = [
            np.ravel(detector.decision_function(part))
            for detector, part in zip(self.detectors, self.parts(rows), strict=True)
        ]
        if self.joint is None:
            return np.column_stack(scores)
        return np.column_stack([*scores, by_channel_of(self.joint, rows, self.n_steps)])


def _score_of(total: FloatArray) -> FloatArray:
    """Return scores in the channels' units: that of one score a is a."""
    found: FloatArray = np.sqrt(np.expm1(np.minimum(total, _LARGEST_TOTAL)))
    return found


def by_channel_of(joint: Any, rows: FloatRows, n_steps: int) -> FloatArray:
    """Return what a detector of all channels says of each, (n, n_channels), or of all, (n, 1)."""
    if not isinstance(joint, BaseTorchDetector):
        return np.reshape(joint.decision_function(rows), (-1, 1))
    shares: FloatArray = joint.explain(rows).reshape(len(rows), n_steps, -1).sum(axis=1)
    return shares


def fitted_by_channel(
    detector: Any, windows: Windows, chosen: NDArray[np.intp], *, joint: bool
) -> tuple[ChannelDetectors, FloatArray]:
    """Fit a clone of a detector to each channel of some windows; return the scores of all too.

    Parameters
    ----------
    detector : object
        See :class:`WindowedDetector`.
    windows : Windows
    chosen : ndarray of int
        The places of the windows to fit to.
    joint : bool
        Whether to fit one to all channels together as well.

    Returns
    -------
    ChannelDetectors
    scores : ndarray of shape (n_windows,)
    """
    detectors = []
    for channel in windows.series.T:
        own = Windows(
            np.ascontiguousarray(channel)[:, None],
            windows.lengths.tolist(),
            windows.size,
            windows.stride,
        )
        detectors.append(fitted_to_windows(detector, own, chosen))
    together = fitted_to_windows(detector, windows, chosen) if joint else None
    found = ChannelDetectors(detectors, together, windows.size)
    return found, found.learn_units(windows, chosen)
