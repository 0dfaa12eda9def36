"""Whether the steps of a series follow each other at even distances, and where they do not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from skrdae._typing import BoolArray, FloatArray
from skrdae.detectors.series_error import SeriesError, Trouble
from skrdae.detectors.time_index import TIMES, TimeIndex

# Two steps are a gap if their distance is off the usual one by more than this share of it.
_TOLERANCE = 0.5
# A series of which more than this share of the steps are gaps has other steps, or none.
_MOST_GAPS = 0.5
# By how much the median of some steps may be off the usual one: a share of it that calendar months
# need, and one that falls with the number of steps.
_RATE_TOLERANCE, _OF_ONE_STEP = 0.15, 0.35
# Of how many steps, at most, a median is looked at: a rate may change within a series.
_STRETCH = 100
# Steps of so many nanoseconds may be months, which are not all as long.
_MONTH = 28 * 86400e9
# Fewer long steps than these may all be gaps.
_FEW = 10


@dataclass(frozen=True, eq=False)
class OneSeries:
    """One of the series in X.

    Attributes
    ----------
    name : str
        What messages call the frame that holds it.
    index : TimeIndex or None
        Of the frame.
    length : int
    rows : ndarray of shape (length,), int, or None
        Its rows in the frame; None for all of them.
    label : object
        What the index calls the series, where the frame holds several.
    """

    name: str
    index: TimeIndex | None
    length: int
    rows: NDArray[np.intp] | None = None
    label: Any = None

    @cached_property
    def steps(self) -> FloatArray:
        """Distances from row to row, in nanoseconds or numbers; empty without an index."""
        return np.empty(0) if self.index is None else self.index.steps(self.rows)

    def stretches(
        self, on_gap: Literal["raise", "split"], usual: float | None, *, from_training: bool
    ) -> list[int]:
        """Return the lengths of what is left when the series is split at its gaps.

        Parameters
        ----------
        on_gap : {"raise", "split"}
        usual : float or None
            The usual step.
        from_training : bool
            Whether that is the step of the training series, not of these.

        Raises
        ------
        SeriesError
            If the rows are not in order, of another rate, or uneven.
        """
        if usual is None or not len(self.steps):
            return [self.length]
        # Where clocks were put back, or records laid end to end, a series can be split. What goes
        # back or stands still most of the time is no series.
        if on_gap == "raise" or usual <= 0:
            self._check_order()
        if usual <= 0:  # because of another series
            return [self.length]
        off = np.abs(self.steps / usual - 1)
        if off.max() < _RATE_TOLERANCE:  # soon told
            return [self.length]
        uneven = off > _TOLERANCE
        self._check_rate(uneven, usual, from_training)
        after = np.flatnonzero(uneven) + 1
        if len(after) and on_gap == "raise":
            first, second = self._entry(after[0] - 1), self._entry(after[0])
            raise self._error(
                f"has {len(after)} gap(s), the first between {first} and {second}; "
                f"{self._told_usual(usual, from_training)}. Put it at even steps, say by "
                f"{self._resampling(usual)}, and fill in what is missing, say by interpolate(); or "
                f"set on_gap='split', which lets no window reach over a gap.{self._if_no_time()}",
                "gap",
                count=len(after),
                first=first,
                second=second,
                usual=self._told_index.in_units(usual),
            )
        return np.diff([0, *after, self.length]).tolist()

    def _check_order(self) -> None:
        back, still = self.steps < 0, self.steps == 0
        of_pandas = hasattr(self._told_index.entries, "duplicated")
        if back.any():
            at = self._entry(int(back.argmax()) + 1)
            remedy = f"Pass {self.name}.sort_index()" if of_pandas else "Sort it by time"
            raise self._error(
                f"is not sorted: {at} comes after something later. {remedy}, or set "
                f"on_gap='split' if the clock was put back there.{self._if_no_time()}",
                "unsorted",
                first=at,
                count=int(back.sum()),
            )
        if still.any():
            at = self._entry(int(still.argmax()))
            remedy = f", say by {self.name}[~{self.name}.index.duplicated()]" if of_pandas else ""
            raise self._error(
                f"holds {at} twice. Keep one of the two{remedy}, or average them."
                f"{self._if_no_time()}",
                "duplicate",
                first=at,
                count=int(still.sum()),
            )

    def _check_rate(self, uneven: BoolArray, usual: float, from_training: bool) -> None:
        """Raise if the steps, or those of a stretch, are others than the usual one."""
        even = np.flatnonzero(~uneven)
        size = min(len(even), _STRETCH)
        place, rate = 0, _other_rate(self.steps, usual, len(self.steps), _FEW)
        if rate is None and size:
            rate = _other_rate(self.steps[even], usual, size, 2)
            place = 0 if rate is None else int(even[rate.start])
        if rate is not None and rate.step <= 0:
            self._check_order()
        if rate is not None:
            since = f", from {self._entry(place)} on" if place else ""
            raise self._error(
                f"goes on in steps of {self._told_index.told(rate.step)}{since}; "
                f"{self._told_usual(usual, from_training)}. Put it at the usual steps, say by "
                f"{self._resampling(usual)}; or fit another detector.{self._if_no_time()}",
                "rate",
                first=self._entry(place),
                found=self._told_index.in_units(rate.step),
                usual=self._told_index.in_units(usual),
            )
        if uneven.mean() > _MOST_GAPS and len(uneven) >= _FEW:
            raise self._error(
                f"does not go on in even steps: of {len(uneven)} steps {int(uneven.sum())} are "
                f"gaps; {self._told_usual(usual, from_training)}. Sort it, or resample it."
                f"{self._if_no_time()}",
                "uneven",
                count=int(uneven.sum()),
                usual=self._told_index.in_units(usual),
            )

    # --------------------------------------------------------------------------------- messages

    @property
    def _told_index(self) -> TimeIndex:
        assert self.index is not None
        return self.index

    def _entry(self, place: int) -> str:
        return self._told_index.entry(int(place if self.rows is None else self.rows[place]))

    def _error(self, words: str, kind: Trouble, **facts: Any) -> SeriesError:
        label = "" if self.label is None else f", series {self.label},"
        return SeriesError(
            f"The index of {self.name}{label} {words}", kind, series=self.name, **facts
        )

    def _told_usual(self, usual: float, from_training: bool) -> str:
        of_training = " in the training series" if from_training else ""
        return f"the usual step is {self._told_index.told(usual)}{of_training}"

    def _resampling(self, usual: float) -> str:
        if self._told_index.kind != TIMES:
            return "reindexing it"
        if self.label is not None or not hasattr(self._told_index.entries, "asi8"):
            return f"resampling to {self._told_index.told(usual)}"
        if usual >= _MONTH:
            return f"{self.name}.asfreq('MS') for months"
        units = ((1e9, "s"), (1e6, "ms"), (1e3, "us"), (1.0, "ns"))
        unit, letter = next(u for u in units if usual % u[0] == 0 or u[0] == 1)
        return f"{self.name}.resample('{usual / unit:.0f}{letter}').mean()"

    def _if_no_time(self) -> str:
        entries = self._told_index.entries
        if hasattr(entries, "asi8") or not hasattr(entries, "duplicated"):
            return ""
        return f" If the index does not tell the time, pass {self.name}.reset_index(drop=True)."


class _Rate(NamedTuple):
    start: int
    step: float


def _other_rate(steps: FloatArray, usual: float, size: int, least_slow: int) -> _Rate | None:
    """Return the first of some stretches whose median step is off the usual one; None if none is.

    The bounds of the median are those of a sign test at three standard deviations, so that jitter
    of single steps, of whatever distribution, makes no other rate.

    Parameters
    ----------
    steps : ndarray of shape (n,)
    usual : float
    size : int
        Of a stretch, at most n.
    least_slow : int
        Steps that it takes to be too slow; fewer may be gaps.
    """
    reach = 1.5 * math.sqrt(size)
    low = max(0, math.floor(size / 2 - reach))
    high = min(size - 1, math.ceil(size / 2 + reach) - 1)
    limit = _RATE_TOLERANCE + _OF_ONE_STEP / size
    starts = [*range(0, len(steps) - size, size), len(steps) - size]
    stretches = sliding_window_view(steps, size)[starts]
    ranked = np.partition(stretches, (low, high), axis=1)
    fast = ranked[:, high] <= (1 - limit) * usual
    slow = (ranked[:, low] >= (1 + limit) * usual) & (size >= least_slow)
    if not (fast | slow).any():
        return None
    place = int((fast | slow).argmax())
    return _Rate(starts[place], float(np.median(stretches[place])))
