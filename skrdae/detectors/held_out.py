"""p-values of rows and of steps, from scores that detectors gave what they had not seen."""

from __future__ import annotations

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

#: The product of, say, 0.29 and 100 is a little less than whole.
ROUNDED = 1 + 1e-12
# This share of the lowest scores is high.
_HIGH = 0.02


def _n_at_least(known: FloatArray, values: FloatArray) -> NDArray[np.intp]:
    """Return for each value how many of the known ones, sorted, are as large or larger."""
    return len(known) - np.searchsorted(known, values, side="left")


def row_p_values(known: FloatArray, scores: FloatArray) -> FloatArray:
    """Return the p-values of rows with these scores, given the calibration scores."""
    found: FloatArray = (1 + _n_at_least(np.sort(known), scores)) / (1 + len(known))
    return found


@dataclass(frozen=True, eq=False)
class HeldOutWindows:
    """Scores of the windows of a series by clones that have not seen any of their steps.

    Attributes
    ----------
    scores : ndarray of shape (n_windows,)
        In time order, without what stands out by itself.
    lengths : ndarray of shape (n_runs,), int
        Of the runs of windows that follow each other and were scored by one clone.
    n_overlapping : int
        How many windows cover a step.
    p_standing_out : float
        How often one of their steps stands out by itself, with 1 added to both counts.
    """

    scores: FloatArray
    lengths: NDArray[np.int64]
    n_overlapping: int
    p_standing_out: float = 1.0

    @property
    def n_alike_at_most(self) -> float:
        """For how many windows one counts at most, because its neighbours share steps with it.

        High scores come in runs, and a new step comes with a run of its own. Half of the windows
        that cover a step is about the length of the longest.
        """
        return (self.n_overlapping + 1) / 2

    def n_places(self) -> int:
        """Return how many steps with all of their windows there are to compare with."""
        return int(np.maximum(self.lengths - self.n_overlapping + 1, 0).sum())

    def known(self, count: int) -> tuple[FloatArray, float]:
        """Return with what steps that `count` windows cover are compared.

        Returns
        -------
        lowest : ndarray
            The lowest scores of all `count` windows that follow each other, sorted.
        n_alike : float
            For how many of them one counts: the mean length of the runs of high ones, which is one
            over the extremal index (estimated by runs; Smith & Weissman, JRSS B 56, 1994).
        """
        runs = [
            minimum_filter1d(run, count)[count // 2 : count // 2 + len(run) - count + 1]
            for run in np.split(self.scores, np.cumsum(self.lengths)[:-1])
            if len(run) >= count
        ]
        lowest = np.sort(np.concatenate([np.empty(0), *runs]))
        if not len(lowest):
            return lowest, self.n_alike_at_most
        limit = np.quantile(lowest, 1 - _HIGH)
        places = [np.flatnonzero(run > limit) for run in runs]
        n_high = sum(map(len, places))
        # Those that share no step belong to two runs.
        n_runs = sum((np.diff(p, prepend=-np.inf) > self.n_overlapping).sum() for p in places)
        n_alike = n_high / n_runs if n_runs else np.inf
        return lowest, min(n_alike, self.n_alike_at_most)

    @cached_property
    def _known_of_one(self) -> tuple[FloatArray, float]:
        return self.known(1)

    def p_values(self, lowest: FloatArray, counts: NDArray[np.intp]) -> FloatArray:
        """Return p-values of steps: how rarely as many windows have a lowest score as high.

        Parameters
        ----------
        lowest : ndarray of shape (n_timesteps,)
            The lowest score of the windows that cover a step.
        counts : ndarray of shape (n_timesteps,)
            How many windows cover a step.

        Returns
        -------
        ndarray of shape (n_timesteps,)
            NaN where no window covers a step.
        """
        found = np.full(len(counts), np.nan)
        for count in np.unique(counts[counts > 0]):
            here = counts == count
            # The newest step is looked up again and again.
            known, n_alike = self._known_of_one if count == 1 else self.known(int(count))
            n_above = _n_at_least(known, lowest[here])
            found[here] = (n_alike + n_above) / (n_alike + len(known))
        return found


class ScoredSteps:
    """Steps of series with the scores of their windows.

    Parameters
    ----------
    detector : WindowedDetector
    held_out : HeldOutWindows
        With which to compare.
    windows : ScoredWindows
    scores : ndarray of shape (n_windows,), optional
        Scores of the windows, if they are known.
    """

    def __init__(
        self,
        detector: Any,
        held_out: HeldOutWindows,
        windows: ScoredWindows,
        scores: FloatArray | None = None,
    ) -> None:
        self._detector, self._held_out = detector, held_out
        windows.scores = detector._window_scores(windows) if scores is None else scores
        self._windows = windows

    @cached_property
    def _found(self) -> tuple[BoolArray, ScoredWindows]:
        """Which steps stand out by themselves, and the windows without them."""
        found: tuple[BoolArray, ScoredWindows] = self._detector._without_single_steps(self._windows)
        return found

    @property
    def _scores(self) -> FloatArray:
        return self._found[1].scores

    def scores(self) -> FloatArray:
        """Return the scores, in the order of the rows."""
        one = self._detector
        found = step_scores(self._windows, self._windows.scores, one._aggregate, one._ordinary)
        return self._windows.by_row(found)

    @cached_property
    def _lowest(self) -> FloatArray:
        return lowest_scores(self._windows, self._scores)

    @cached_property
    def _p_values(self) -> FloatArray:
        return self._held_out.p_values(self._lowest, self._windows.covering()[1])

    def p_values(self) -> FloatArray:
        """Return the p-values, in the order of the rows; NaN for steps that no window covers."""
        single = np.where(self._found[0], self._held_out.p_standing_out, 1.0)
        return self._windows.by_row(np.minimum(self._p_values, single))  # NaN stays

    def labels(self, share: float) -> IntArray:
        """Return 1 for the steps that are flagged, in the order of the rows.

        Those are the steps whose p-value is `share` or less, but for those that an event beside
        them makes small. Steps stand out by themselves whatever is beside them.
        """
        share = share * ROUNDED
        with np.errstate(invalid="ignore"):
            labels: BoolArray = self._p_values <= share
        if labels.any():
            windows = self._windows
            # A window is flagged if as many of them as cover a step would flag it.
            counts = np.full(len(windows), windows.covering()[1].max())
            flagged = self._held_out.p_values(self._scores, counts) <= share
            end_events(windows, self._scores, flagged, self._detector._ordinary, labels)
            self._cut_flanks(labels, share)
        if self._held_out.p_standing_out <= share:
            labels |= self._found[0]
        return self._windows.by_row(labels).astype(int)

    def _cut_flanks(self, labels: BoolArray, share: float) -> None:
        lengths = self._windows.lengths
        distances = distances_from_peaks(labels, self._lowest, lengths)
        places = np.flatnonzero(labels)
        # So many windows cover a step beside a peak and do not hold the peak. The peak itself has
        # to be more than what a run of high scores comes to by chance: one window has to tell it.
        counts = np.clip(distances, 1, self._windows.covering()[1])[places]
        strong = np.zeros_like(labels)
        strong[places] = self._held_out.p_values(self._lowest[places], counts) <= share
        cut_flanks(labels, strong, distances, lengths)
