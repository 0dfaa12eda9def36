"""From windows to steps: scores, a threshold, and which steps are to blame.

Stouffer, S. A. et al., The American Soldier, Vol. 1, 1949, has the sum of scores over the root of
their number.
"""

from __future__ import annotations

from numbers import Real
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from skrdae._typing import BoolArray, FloatArray
from skrdae.preprocessing import Windows
from skrdae.thresholds import quantile_threshold

# A step stands out for certain if the lowest score of its windows lies above the median of all
# steps by this many times the distance between the median and the 0.8 quantile.
_STANDS_OUT, _UPPER = 10.0, 0.8
# Fewer steps than this do not tell what stands out among them.
_FEWEST_STEPS = 50
# Where a series ends, an event counts as over once what is still to come adds less than this, on
# average and at most, in shares of the highest excess of a window; or, because windows with one
# spike score differently by where in them it is, in shares of what a step has added so far.
_STILL_TO_COME, _STILL_AT_MOST = 0.05, 0.3
_OF_A_STEP, _OF_A_STEP_AT_MOST = 0.3, 0.6
#: The share of windows flagged, where `contamination` is not a number.
USUAL_SHARE = 0.1


def step_scores(
    windows: Windows,
    scores: FloatArray,
    how: Literal["mean", "max", "median"],
    ordinary: float,
) -> FloatArray:
    """Return the score of each step: that of its windows, multiplied where there are many.

    A step's score is the mean (or maximum, or median) of those of its windows.
    Windows that hold a strange step all score high, and so would every step near an end that they
    alone cover. So the distance of a step's score from that of an ordinary window is multiplied by
    √k for k windows (at most all that fit): the sum of k excesses over √k, which is how Stouffer
    combines k tests. One window alone keeps its score.

    Parameters
    ----------
    windows : Windows
    scores : ndarray of shape (n_windows,)
    how : {"mean", "max", "median"}
    ordinary : float
        The score of an ordinary window.

    Returns
    -------
    ndarray of shape (n_timesteps,)
        NaN where no window covers a step.
    """
    combined = windows.combine(scores, how)
    positions = windows.n_positions()
    several = positions > 1
    combined[several] -= ordinary
    combined[several] *= np.sqrt(positions[several])
    combined[several] += ordinary
    return combined


def step_contributions(
    windows: Windows, by_channel: FloatArray, scores: FloatArray, ordinary: FloatArray
) -> FloatArray:
    """Return what each channel adds to the scores of the steps.

    A channel adds what it adds to an ordinary window, and √k times what its contribution to the
    windows of the step exceeds that by, as in :func:`step_scores`.

    Parameters
    ----------
    windows : Windows
    by_channel : ndarray of shape (n_windows, n_channels)
        What each channel adds to the score of a window.
    scores : ndarray of shape (n_timesteps,)
        Of the steps, from :func:`step_scores`.
    ordinary : ndarray of shape (n_channels,)
        What each channel adds to the score of an ordinary window.

    Returns
    -------
    ndarray of shape (n_timesteps, n_channels)
        A row adds up to the score of its step, and is NaN where there is none.
    """
    factor = np.sqrt(np.maximum(windows.n_positions(), 1))[:, None]
    mean = np.column_stack([windows.combine(column, "mean") for column in by_channel.T])
    # Of a maximum or a median over windows, each channel gets as large a part as of the mean.
    combined = ordinary.sum() + (scores[:, None] - ordinary.sum()) / factor
    total = mean.sum(axis=1, keepdims=True)
    parts = np.where(total > 0, mean / np.where(total > 0, total, 1.0), 1 / len(ordinary))
    found: FloatArray = ordinary + factor * (parts * combined - ordinary)
    return found


def window_threshold(windows: Windows, scores: FloatArray, contamination: float) -> float:
    """Return the score above which windows are flagged.

    It is the (1 − contamination) quantile of the windows' scores. One strange step makes as many
    windows score high as cover it, so that a few of them can push that quantile up among their own
    scores, and then none of them has all of its windows flagged. So it is lowered as far as needed
    for a share `contamination` of the steps to be flagged, but only where these stand out.

    Parameters
    ----------
    windows : Windows
    scores : ndarray of shape (n_windows,)
    contamination : float in (0, 0.5]

    Returns
    -------
    float
    """
    by_windows = quantile_threshold(scores, contamination)
    lowest = lowest_scores(windows, scores)
    stands_out = _limit(windows, lowest)
    positions = windows.n_positions()
    by_steps = quantile_threshold(lowest[positions == positions.max()], contamination)
    return float(min(by_windows, max(by_steps, stands_out)))


def lowest_scores(windows: Windows, scores: FloatArray) -> FloatArray:
    """Return the lowest score of the windows that cover each step; NaN where there is none."""
    return -windows.combine(-scores, "max")


def _limit(windows: Windows, lowest: FloatArray) -> float:
    """Return above which lowest score a step stands out.

    Near ends and gaps few windows cover a step, and the lowest score of few is a high one. So the
    limit comes from the steps that as many windows as possible cover; of a few of them there is
    none.
    """
    positions = windows.n_positions()
    inside = lowest[positions == positions.max()]
    if len(inside) < _FEWEST_STEPS:
        return np.inf
    median, upper = np.quantile(inside, [0.5, _UPPER])
    return float(median + _STANDS_OUT * (upper - median))


def end_threshold(windows: Windows, scores: FloatArray, contamination: object) -> float:
    """Return the score that a window has to exceed to have steps flagged on its own.

    Elsewhere all windows that cover a step, `windows.size` of them, have to be flagged; at an end
    one may be all there is. So it is the quantile that a share `contamination` over `windows.size`
    of the windows exceeds, of those that hold no step which stands out.

    Parameters
    ----------
    windows : Windows
    scores : ndarray of shape (n_windows,)
    contamination : object
        0.1 is taken for anything but a number.

    Returns
    -------
    float
    """
    share = float(contamination) if isinstance(contamination, Real) else USUAL_SHARE
    lowest = lowest_scores(windows, scores)
    stands_out = _limit(windows, lowest)
    without = windows.count(lowest > stands_out) == 0
    # Of few windows, the highest: with anything lower one of them would exceed it in any case.
    ordinary = scores[without] if without.any() else scores
    return float(np.quantile(ordinary, 1 - share / windows.size, method="higher"))


def flag_steps(
    windows: Windows,
    scores: FloatArray,
    flagged: BoolArray,
    ordinary: float,
    at_ends: float,
) -> BoolArray:
    """Return which steps are flagged, given which windows are.

    A step is flagged if every window that covers it is: one normal window clears all of its steps.
    Near an end of a stretch the windows are missing that could clear a step. There the flagged
    windows that reach the end are read in turn: their scores rise while strange steps come in, and
    the event ends where they rise no further.

    Parameters
    ----------
    windows : Windows
    scores : ndarray of shape (n_windows,)
    flagged : ndarray of shape (n_windows,), bool
    ordinary : float
        The score of an ordinary window.
    at_ends : float
        What the highest score of windows at an end has to exceed, if none of the steps that they
        flag has all of its windows.

    Returns
    -------
    ndarray of shape (n_timesteps,), bool
    """
    return end_events(windows, scores, flagged, ordinary, windows.all_of(flagged), at_ends)


def end_events(
    windows: Windows,
    scores: FloatArray,
    flagged: BoolArray,
    ordinary: float,
    labels: BoolArray,
    at_ends: float = -np.inf,
) -> BoolArray:
    """Clear the labels of steps near ends that come after an event, or before it.

    Parameters
    ----------
    windows : Windows
    scores : ndarray of shape (n_windows,)
    flagged : ndarray of shape (n_windows,), bool
    ordinary : float
    labels : ndarray of shape (n_timesteps,), bool
        Changed in place.
    at_ends : float
        See :func:`flag_steps`.

    Returns
    -------
    ndarray of shape (n_timesteps,), bool
        `labels`.
    """
    lag = -(-windows.size // windows.stride)
    for first, stop in windows.stretches():
        mine = slice(first, stop)
        starts, found, high = windows.starts[mine], flagged[mine], scores[mine]
        # Steps before `left` and after `right` lack windows that would begin earlier or later.
        left, right = starts[0] + windows.size - 1, starts[-1]
        if found[-1]:
            run = _run_length(found[::-1])
            begin = starts[-run]
            sure = max(begin + windows.size - 1, left) <= right or high[-run:].max() > at_ends
            event = _event_length(high[-run:] - ordinary, lag) if sure else 0
            last = starts[-run:][event - 1] + windows.size - 1 if event else right
            labels[max(last, right) + 1 : starts[-1] + windows.size] = False
        if found[0]:
            run = _run_length(found)
            end = starts[run - 1]
            sure = min(end, right) >= left or high[:run].max() > at_ends
            event = _event_length(high[:run][::-1] - ordinary, lag) if sure else 0
            begin = starts[:run][-event] if event else left
            labels[starts[0] : min(begin, left)] = False
    return labels


def distances_from_peaks(
    labels: BoolArray, lowest: FloatArray, lengths: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Return how far each flagged step is from the highest one of its run; 0 for the others.

    Parameters
    ----------
    labels : ndarray of shape (n_timesteps,), bool
    lowest : ndarray of shape (n_timesteps,)
        The lowest score of the windows that cover a step.
    lengths : ndarray of int
        Of the stretches.
    """
    found = np.zeros(len(labels), np.intp)
    for run in runs(labels, lengths):
        found[run] = np.abs(run - run[lowest[run].argmax()])
    return found


def cut_flanks(
    labels: BoolArray,
    strong: BoolArray,
    distances: NDArray[np.intp],
    lengths: NDArray[np.intp],
) -> BoolArray:
    """Clear the labels of steps beside an event that are flagged because of it.

    All windows that hold a strange step score high, so that of the windows which cover the step
    beside it one alone can clear that step. If this one happens to score a little higher than
    usual, the step is flagged as well. So a run of flagged steps ends with the last strong one, if
    its peak is strong.

    Parameters
    ----------
    labels : ndarray of shape (n_timesteps,), bool
        Changed in place.
    strong : ndarray of shape (n_timesteps,), bool
        The steps that would be flagged by the windows without the peak of the run alone; and the
        peaks that would be flagged by one window.
    distances : ndarray of shape (n_timesteps,), int
        From :func:`distances_from_peaks`.
    lengths : ndarray of int
        Of the stretches.

    Returns
    -------
    ndarray of shape (n_timesteps,), bool
        `labels`.
    """
    for run in runs(labels, lengths):
        if strong[run][distances[run] == 0].any():
            kept = run[strong[run]]
            labels[run[0] : kept[0]] = labels[kept[-1] + 1 : run[-1] + 1] = False
    return labels


def runs(labels: BoolArray, lengths: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Return the places of flagged steps that follow each other."""
    places = np.flatnonzero(labels)
    if not len(places):
        return []
    stretch = np.repeat(np.arange(len(lengths)), lengths)[places]
    return np.split(places, np.flatnonzero((np.diff(places) > 1) | (np.diff(stretch) > 0)) + 1)


def _run_length(marked: BoolArray) -> int:
    """Return how many entries are True before the first that is not."""
    return len(marked) if marked.all() else int(np.argmin(marked))


def _event_length(excess: NDArray[np.float64], lag: int) -> int:
    """Return after how many windows nothing more is added by the steps that come in.

    Parameters
    ----------
    excess : ndarray of shape (n,)
        Of the scores of windows over the ordinary one, in the order in which steps come in.
    lag : int
        After so many windows a step is left behind.

    Returns
    -------
    int
        At least 1.
    """
    # Squares, because norms add up by squares. A window holds what came in since the window `lag`
    # before it; summed with that one's, and so on, all that ever came in.
    energy = np.square(np.maximum(excess, 0.0))
    padded = np.zeros(-(-len(energy) // lag) * lag)
    padded[: len(energy)] = energy
    total = padded.reshape(-1, lag).cumsum(axis=0).ravel()[: len(energy)]
    to_come = np.cumsum(total[::-1])[::-1] / np.arange(len(total), 0, -1) - total
    highest, of_a_step = energy.max(), total / np.arange(1, len(total) + 1)
    over = to_come <= np.maximum(_STILL_TO_COME * highest, _OF_A_STEP * of_a_step)
    at_most = np.maximum(_STILL_AT_MOST * highest, _OF_A_STEP_AT_MOST * of_a_step)
    over &= total.max() - total <= at_most
    return int(np.argmax(over)) + 1
