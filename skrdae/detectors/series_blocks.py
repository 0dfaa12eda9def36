"""Blocks of a series that are held out, with what is left to fit to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from skrdae._typing import BoolArray, IntArray
from skrdae.detectors.folds import Folds
from skrdae.detectors.held_out import HeldOutWindows
from skrdae.detectors.series import CheckedSeries
from skrdae.detectors.windowed_scores import ScoredWindows


@dataclass(frozen=True, eq=False)
class HeldOutPart:
    """The steps of one fold.

    Attributes
    ----------
    training : CheckedSeries
        The steps that share no window with those of the fold.
    windows : ScoredWindows
        All windows that hold a step of the fold.
    places : ndarray of int
        The places in the whole series of the steps of `windows`.
    own : ndarray of bool
        Which of these belong to the fold.
    """

    training: CheckedSeries
    windows: ScoredWindows
    places: NDArray[np.intp]
    own: BoolArray


def held_out_parts(
    series: CheckedSeries, folds: Folds, size: int, stride: int
) -> Iterator[HeldOutPart]:
    """Yield what is held out in each fold.

    Parameters
    ----------
    series : CheckedSeries
    folds : sequence of pairs of ndarray
        Training and test places of steps.
    size, stride : int
        Of the windows.

    Raises
    ------
    ValueError
        If a fold leaves nothing to fit to.
    """
    for number, (train, test) in enumerate(folds):
        own = np.zeros(len(series.values), bool)
        own[test] = True
        held = _with_neighbours(own, series.lengths, size - 1)
        left = np.zeros(len(own), bool)
        left[train] = True
        training, _ = _taken(series, left & ~held)
        longest = max(training.lengths, default=0)
        if longest < size:
            raise ValueError(
                f"cv leaves nothing to fit to in fold {number}: a window has {size} steps, and the "
                f"longest stretch that shares no window with the steps held out has {longest}. "
                "Pass a longer series, or choose a smaller window_size; a splitter has to keep "
                "neighbouring steps together."
            )
        held_series, places = _taken(series, held)
        windows = ScoredWindows(held_series, size, stride)
        yield HeldOutPart(training, windows, places, own[places])


def held_out_windows(
    parts: list[HeldOutPart],
    lengths: list[int],
    folds: IntArray,
    size: int,
    stride: int,
    p_standing_out: float = 1.0,
) -> HeldOutWindows:
    """Return the scores of all windows by the clone that has not seen their first step.

    Parameters
    ----------
    parts : list of HeldOutPart
        Their windows have scores, or they count as 0.
    lengths : list of int
        Of the stretches.
    folds : ndarray of shape (n_timesteps,), int
    size, stride : int
    p_standing_out : float
        See :class:`HeldOutWindows`.
    """
    found, starts = [], []
    for part in parts:
        mine = part.own[part.windows.starts]
        scores = getattr(part.windows, "scores", np.zeros(len(part.windows)))
        found.append(scores[mine])
        starts.append(part.places[part.windows.starts[mine]])
    first = np.concatenate(starts)
    order = np.argsort(first)
    stretch = np.repeat(np.arange(len(lengths)), lengths)
    run = np.cumsum(np.diff(stretch, prepend=0) + np.abs(np.diff(folds, prepend=folds[0])) > 0)
    _, counts = np.unique(run[first[order]], return_counts=True)
    return HeldOutWindows(
        np.concatenate(found)[order],
        counts.astype(np.int64),
        -(-size // stride),
        p_standing_out,
    )


def n_steps_wanted(
    n_places: int, lengths: list[int], folds: IntArray, size: int, stride: int
) -> int:
    """Return of how many steps a series has so many with all of their windows in one fold.

    Parameters
    ----------
    n_places : int
        How many of these are wanted.
    lengths : list of int
        Of the stretches of a series that is too short.
    folds : ndarray of shape (n_timesteps,), int
        Of its steps.
    size, stride : int
        Of the windows.
    """
    found = np.asarray(lengths)
    stretch = np.repeat(np.arange(len(found)), found)
    begins = (np.diff(stretch, prepend=-1) != 0) | (np.diff(folds, prepend=-1) != 0)
    n_runs = int((begins & (found >= size)[stretch]).sum())
    # A run of windows has places for all of them but those that the first place takes.
    n_windows = n_places + n_runs * (-(-size // stride) - 1)
    n_starts = int(np.maximum(found - size + 1, 0).sum())
    return len(folds) + n_windows * stride - n_starts


def _with_neighbours(marked: BoolArray, lengths: list[int], reach: int) -> BoolArray:
    """Mark the steps up to `reach` from marked ones too, within their stretches."""
    ends = np.cumsum(lengths)
    first, stop = np.repeat(ends - lengths, lengths), np.repeat(ends, lengths)
    places, before = np.arange(len(marked)), np.concatenate([[0], np.cumsum(marked)])
    low, high = np.maximum(places - reach, first), np.minimum(places + reach + 1, stop)
    return before[high] > before[low]


def _taken(series: CheckedSeries, marked: BoolArray) -> tuple[CheckedSeries, NDArray[np.intp]]:
    """Return the marked steps as series, and their places."""
    places = np.flatnonzero(marked)
    stretch = np.repeat(np.arange(len(series.lengths)), series.lengths)[places]
    cuts = np.flatnonzero((np.diff(places) > 1) | (np.diff(stretch) > 0)) + 1
    lengths = np.diff([0, *cuts, len(places)]).tolist() if len(places) else []
    values = np.ascontiguousarray(series.values[places])
    return replace(series, values=values, lengths=lengths, n_series=1, order=None), places
