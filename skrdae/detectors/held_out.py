"""p-values of rows and of steps, from scores that detectors gave what they had not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter1d

from skrdae._typing import BoolArray, FloatArray, IntArray
from skrdae.detectors.steps import (
    cut_flanks,
    distances_from_peaks,
    end_events,
    lowest_scores,
    step_scores,
)
from skrdae.detectors.windowed_scores import ScoredWindows
from skrdae.metrics import anomaly_scores

#: The product of, say, 0.29 and 100 is a little less than whole.
ROUNDED = 1 + 1e-12
# To compare all pairs is faster than to sort, if there are few.
_FEW = 16


def _n_at_least(known: FloatArray, values: FloatArray) -> NDArray[np.intp]:
    """Return for each value how many of the known ones are as large or larger."""
    if len(values) < _FEW:
        found: NDArray[np.intp] = (known >= values[:, None]).sum(axis=1)
        return found
    return len(known) - np.searchsorted(np.sort(known), values, side="left")


class ScoredRows:
    """Rows with their scores by each of the clones.

    Parameters
    ----------
    detectors : sequence of detectors
        One for each fold.
    known : ndarray of shape (n_samples,)
        The calibration scores.
    folds : ndarray of shape (n_samples,)
        Which of the detectors gave each of them.
    X : object
        Checked rows.
    """

    def __init__(
        self, detectors: Sequence[Any], known: FloatArray, folds: IntArray, X: Any
    ) -> None:
        self.X = X
        self._known, self._folds = known, folds
        self._by_clone = np.stack([anomaly_scores(one, X) for one in detectors])

    def scores(self) -> FloatArray:
        """Return the mean over the clones."""
        found: FloatArray = self._by_clone.mean(axis=0)
        return found

    def p_values(self) -> FloatArray:
        """Return the p-values, each score compared with the calibration scores of its clone."""
        n_above = np.zeros(self._by_clone.shape[1])
        for number, scores in enumerate(self._by_clone):
            n_above += _n_at_least(self._known[self._folds == number], scores)
        return (1 + n_above) / (1 + len(self._known))

    def labels(self, share: float) -> IntArray:
        """Return 1 for the rows whose p-value is `share` or less."""
        return (self.p_values() <= share * ROUNDED).astype(int)


@dataclass(frozen=True, eq=False)
class HeldOutWindows:
    """Scores of the windows of a series by detectors that have not seen any of their steps.

    Attributes
    ----------
    scores : ndarray of shape (n_windows,)
        In time order.
    lengths : ndarray of shape (n_runs,), int
        Of the runs of windows that follow each other and have one detector.
    folds : ndarray of shape (n_runs,), int
        The number of that detector.
    n_overlapping : int
        How many windows cover a step.
    """

    scores: FloatArray
    lengths: NDArray[np.int64]
    folds: NDArray[np.int64]
    n_overlapping: int

    @property
    def n_alike(self) -> float:
        """For how many windows one counts, because its neighbours share steps with it.

        High scores come in runs, and a new step comes with a run of its own. Half of the windows
        that cover a step is about the length of such a run.
        """
        return (self.n_overlapping + 1) / 2

    def n_places(self) -> int:
        """Return how many steps with all of their windows there are to compare with."""
        return int(np.maximum(self.lengths - self.n_overlapping + 1, 0).sum())

    def lowest_of(self, count: int, fold: int | None) -> FloatArray:
        """Return the lowest scores of all `count` windows that follow each other.

        Parameters
        ----------
        count : int
        fold : int or None
            Only those of this detector.
        """
        runs = np.split(self.scores, np.cumsum(self.lengths)[:-1])
        found = [
            minimum_filter1d(run, count)[count // 2 : count // 2 + len(run) - count + 1]
            for run, number in zip(runs, self.folds, strict=True)
            if fold in (None, number) and len(run) >= count
        ]
        return np.concatenate([np.empty(0), *found])

    def p_values(
        self, lowest: Sequence[FloatArray], counts: NDArray[np.intp], folds: Sequence[int | None]
    ) -> FloatArray:
        """Return p-values of steps: how rarely as many windows have a lowest score as high.

        Parameters
        ----------
        lowest : sequence of ndarray of shape (n_timesteps,)
            The lowest score of the windows that cover a step, by each detector.
        counts : ndarray of shape (n_timesteps,)
            How many windows cover a step.
        folds : sequence of int or None
            The numbers of the detectors; None compares with the scores of all.

        Returns
        -------
        ndarray of shape (n_timesteps,)
            NaN where no window covers a step.
        """
        found = np.full(len(counts), np.nan)
        for count in np.unique(counts[counts > 0]):
            here = counts == count
            n_above, n_known = np.zeros(here.sum()), 0
            for fold, values in zip(folds, lowest, strict=True):
                known = self.lowest_of(int(count), fold)
                n_above += _n_at_least(known, values[here])
                n_known += len(known)
            found[here] = (self.n_alike + n_above) / (self.n_alike + n_known)
        return found


class ScoredSteps:
    """Steps of series with the scores of their windows by one or several detectors.

    Parameters
    ----------
    detectors : sequence of WindowedDetector
    held_out : HeldOutWindows
    windows : ScoredWindows
    folds : sequence of int or None
        The numbers of the detectors, see :meth:`HeldOutWindows.p_values`.
    by_detector : list of ndarray of shape (n_windows,), optional
        Scores of the windows, if they are known.
    """

    def __init__(
        self,
        detectors: Sequence[Any],
        held_out: HeldOutWindows,
        windows: ScoredWindows,
        folds: Sequence[int | None],
        by_detector: list[FloatArray] | None = None,
    ) -> None:
        self._detectors, self._held_out = detectors, held_out
        self._windows, self._folds = windows, folds
        if by_detector is None:
            by_detector = [one._window_scores(windows) for one in detectors]
        self._by_detector = by_detector

    def scores(self) -> FloatArray:
        """Return the mean over the detectors, in the order of the rows."""
        found = [
            step_scores(self._windows, scores, one._aggregate, one._ordinary)
            for one, scores in zip(self._detectors, self._by_detector, strict=True)
        ]
        return self._windows.by_row(np.mean(found, axis=0))

    @cached_property
    def _lowest(self) -> list[FloatArray]:
        return [lowest_scores(self._windows, scores) for scores in self._by_detector]

    @cached_property
    def _p_values(self) -> FloatArray:
        return self._held_out.p_values(self._lowest, self._windows.covering()[1], self._folds)

    def p_values(self) -> FloatArray:
        """Return the p-values, in the order of the rows; NaN for steps that no window covers."""
        return self._windows.by_row(self._p_values)

    def labels(self, share: float) -> IntArray:
        """Return 1 for the steps that are flagged, in the order of the rows.

        Those are the steps whose p-value is `share` or less, but for those that an event beside
        them makes small.
        """
        share = share * ROUNDED
        with np.errstate(invalid="ignore"):
            labels: BoolArray = self._p_values <= share
        if labels.any():
            windows = self._windows
            ordinary = float(np.mean([one._ordinary for one in self._detectors]))
            # A window is flagged if as many of them as cover a step would flag it.
            counts = np.full(len(windows), windows.covering()[1].max())
            flagged = self._held_out.p_values(self._by_detector, counts, self._folds) <= share
            end_events(windows, np.mean(self._by_detector, axis=0), flagged, ordinary, labels)
            self._cut_flanks(labels, share)
        return self._windows.by_row(labels).astype(int)

    def _cut_flanks(self, labels: BoolArray, share: float) -> None:
        lowest, lengths = np.mean(self._lowest, axis=0), self._windows.lengths
        distances = distances_from_peaks(labels, lowest, lengths)
        places = np.flatnonzero(labels)
        # So many windows cover a step beside a peak and do not hold the peak. The peak itself has
        # to be more than what a run of high scores comes to by chance: one window has to tell it.
        counts = np.clip(distances, 1, self._windows.covering()[1])[places]
        of_steps = [values[places] for values in self._lowest]
        strong = np.zeros_like(labels)
        strong[places] = self._held_out.p_values(of_steps, counts, self._folds) <= share
        cut_flanks(labels, strong, distances, lengths)
