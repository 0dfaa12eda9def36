"""Whether rows follow each other as the steps of a series, and what to do where they do not."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skrdae._typing import BoolArray, FloatArray, IntArray
from skrdae.commands.console import CommandError, Console
from skrdae.commands.results import Scored

if TYPE_CHECKING:
    from pandas import Index

# Two rows are a gap if their distance is off the usual by more than this share of it; and if that
# is so for more than this share of the rows, they are no series.
_TOLERANCE, _MOST_GAPS = 0.5, 0.5
# If so many rows come before the one above, the file begins with the newest.
_NEWEST_FIRST = 0.9
# By how much the usual distance of rows may differ from that in training: a share of it that
# months of the calendar need, and one that falls with the number of rows.
_OTHER_RATE, _OF_ONE_STEP = 0.15, 0.35
_UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "us"))


@dataclass(frozen=True)
class Steps:
    """How rows follow each other.

    Parameters
    ----------
    index : Index
        Their times.
    rows : ndarray of shape (n_rows,)
        Where they are in the file.
    usual : float
        The usual distance, in seconds or, without times, in the unit of the index.
    gaps : ndarray of shape (n_rows - 1,)
        Whether there is a gap after a row.
    first, longest : int
        Where the longest stretch without a gap begins, and how many rows it has.
    """

    index: "Index"
    rows: NDArray[np.intp]
    usual: float
    gaps: BoolArray
    first: int
    longest: int

    def told(self, distance: float) -> str:
        """Return a distance of rows with its unit."""
        return told_step(distance) if hasattr(self.index, "as_unit") else f"{distance:g}"


def told_step(seconds: float) -> str:
    """Return seconds as --resample takes them."""
    for length, unit in _UNITS:
        number = seconds / length
        if number >= 1 and abs(number - round(number)) < 1e-6:
            return f"{round(number)}{unit}"
    return f"{seconds:g}s"


def as_stamps(index: "Index") -> FloatArray:
    """Return times as seconds, and numbers as they are."""
    if hasattr(index, "as_unit"):
        return index.as_unit("us").asi8 / 1e6
    return index.to_numpy(dtype=float)


def steps_in(index: "Index", rows: NDArray[np.intp], usual: float | None = None) -> Steps:
    """Return how rows follow each other; `usual` is their distance where it is known."""
    distances = np.diff(as_stamps(index))
    if usual is None:
        usual = float(np.median(distances)) if len(distances) else 1.0
    gaps = _are_gaps(distances, usual)
    edges = np.concatenate([[0], np.flatnonzero(gaps) + 1, [len(index)]])
    lengths = np.diff(edges)
    place = int(lengths.argmax())
    return Steps(index, rows, usual, gaps, int(edges[place]), int(lengths[place]))


def _are_gaps(distances: FloatArray, usual: float) -> BoolArray:
    if usual == 0:
        return distances != 0
    return np.abs(distances / usual - 1) > _TOLERANCE


def check_sorted(steps: Steps, name: str, *, most: float = 0.0) -> None:
    """Raise if the rows are not in the order of their times.

    Parameters
    ----------
    steps : Steps
    name : str
        Of the column of times.
    most : float, default=0.0
        What share of the rows may go back, as where clocks are put back.

    Raises
    ------
    CommandError
    """
    back = np.diff(as_stamps(steps.index)) < 0
    if len(back) and back.mean() > most:
        place = int(np.argmax(back)) + 1
        newest = ", but the newest first" if back.mean() > _NEWEST_FIRST else ""
        raise CommandError(
            f"the rows are not in the order of their times in column {name}{newest}: "
            f"{steps.index[place]} in row {steps.rows[place]} comes after "
            f"{steps.index[place - 1]}. Use --sort."
        )


def check_order(steps: Steps, name: str, *, remedy: str) -> None:
    """Raise unless most rows follow each other at the usual distance.

    Parameters
    ----------
    steps : Steps
    name : str
        Of the column of times.
    remedy : str
        What can be done about steps that are not even.

    Raises
    ------
    CommandError
    """
    index, rows = steps.index, steps.rows
    if len(index) < 2 or (steps.usual > 0 and steps.gaps.mean() <= _MOST_GAPS):
        return
    check_sorted(steps, name)
    again = np.diff(as_stamps(index)) == 0
    if again.mean() > _MOST_GAPS / 2:
        place = int(np.argmax(again))
        raise CommandError(
            f"{int(again.sum())} of {len(index)} rows have the time of the row before, such as "
            f"{index[place]} in rows {rows[place]} and {rows[place + 1]}. If the file holds "
            f"several series, keep one of them. {remedy}"
        )
    raise CommandError(
        f"the rows do not follow each other in even steps: {int(steps.gaps.sum())} of "
        f"{len(again)} steps are not of {steps.told(steps.usual)}, the usual one. {remedy}"
    )


def check_rate(steps: Steps, known: float) -> None:
    """Raise if the usual distance of rows is not that of training.

    Raises
    ------
    CommandError
    """
    distances = np.diff(as_stamps(steps.index))
    if not len(distances):
        return
    usual = float(np.median(distances))
    if usual > 0 and abs(usual / known - 1) > _OTHER_RATE + _OF_ONE_STEP / len(distances):
        raise CommandError(
            f"the model was fitted to steps of {steps.told(known)}, and these rows are "
            f"{steps.told(usual)} apart. Give it rows of the same distance, or fit another with "
            f"--resample."
        )


def check_window(steps: Steps, size: int, *, fitted: bool = False, resampled: bool = False) -> None:
    """Raise if no stretch between gaps is as long as a window.

    Parameters
    ----------
    steps : Steps
    size : int
        Of a window.
    fitted : bool, default=False
        Whether the window is that of a model.
    resampled : bool, default=False
        Whether the steps are those of an even grid already.

    Raises
    ------
    CommandError
    """
    longest = steps.longest
    if longest >= size:
        return
    places = np.flatnonzero(steps.gaps)
    if not len(places) and fitted:
        raise CommandError(
            f"the model looks at windows of {size} steps, and there are {longest}: give it a file "
            f"of at least {size} rows."
        )
    if not len(places):
        raise CommandError(
            f"a window has {size} steps, more than the {longest} there are: set --window-size to "
            f"{longest} or less."
        )
    what = (
        f"a window has {size} steps, and no more than {longest} follow each other without a gap "
        f"(gaps in the times: {len(places)}, the first after {steps.index[places[0]]})."
    )
    if fitted:
        remedy = "Fill the gaps, or fit a model with --resample or --ignore-gaps."
    elif resampled:
        remedy = (
            f"Fill longer gaps with --max-gap, let windows reach over all of them with "
            f"--ignore-gaps, or set --window-size to {longest} or less."
        )
    else:
        remedy = (
            "Fill short gaps with --resample auto, let windows reach over all gaps with "
            f"--ignore-gaps, or set --window-size to {longest} or less."
        )
    raise CommandError(f"{what} {remedy}")


def warn_of_rows_without_score(
    console: Console, scored: Scored, size: int, *, fitted: bool = False, resampled: bool = False
) -> None:
    """Tell how many rows have no score, why, and what to do."""
    n_without = int(np.isnan(scored.row_scores).sum())
    if not n_without:
        return
    if fitted:
        remedy = "Fill the gaps, or fit a model with --resample or --ignore-gaps."
    elif resampled:
        remedy = "A larger --max-gap fills them, --ignore-gaps lets windows reach over them."
    else:
        remedy = "--resample auto fills short gaps, --ignore-gaps lets windows reach over all."
    console.warn(
        f"{n_without} of {len(scored.order)} rows have no score, because they lie between gaps "
        f"that are closer than a window, {size} steps. {remedy}"
        + ("" if fitted else " A smaller --window-size helps as well.")
    )


def note_resampled(console: Console, rows: Steps, grid: Steps, places: IntArray) -> None:
    """Tell what became of the rows on an even grid."""
    n_steps, n_held = len(grid.index), len(np.unique(places))
    parts = [f"{len(rows.index)} rows are put on {n_steps} steps of {grid.told(grid.usual)}"]
    if len(places) > n_held:
        parts.append(f"{len(places) - n_held} rows share a step with another and are averaged")
    if n_steps > n_held:
        parts.append(f"{n_steps - n_held} steps without a row are interpolated")
    n_gaps = int(grid.gaps.sum())
    if n_gaps:
        parts.append(f"{n_gaps} longer gap{'s' * (n_gaps > 1)} stay{'s' * (n_gaps == 1)}")
    console.note("; ".join(parts) + ".")


def note_gaps(console: Console, steps: Steps) -> None:
    """Tell how many gaps split the series."""
    n_gaps = int(steps.gaps.sum())
    if n_gaps:
        console.note(
            f"{n_gaps} gap{'s' * (n_gaps > 1)} in the times split{'s' * (n_gaps == 1)} the series "
            f"into {n_gaps + 1} stretches."
        )


def note_ignored_gaps(console: Console, rows: Steps) -> None:
    """Tell how many gaps there are that are not looked at."""
    n_gaps = int(rows.gaps.sum())
    if n_gaps:
        console.note(f"{n_gaps} gap{'s' * (n_gaps > 1)} in the times {_is(n_gaps)} ignored.")


def _is(number: int) -> str:
    return "are" if number > 1 else "is"


def series_error(error: Exception, index: Any) -> CommandError | None:
    """Return what a detector finds wrong with a series, in words for a shell.

    Parameters
    ----------
    error : Exception
        One that says its `kind`, and the `facts` that it goes by.
    index : Index
        Times of the rows.

    Returns
    -------
    CommandError or None
        None for any other error.
    """
    kind, facts = getattr(error, "kind", None), getattr(error, "facts", None)
    if not isinstance(kind, str) or not isinstance(facts, dict):
        return None

    def told(name: str) -> str:
        step = facts.get(name)
        if not isinstance(step, float):
            return "another length"
        return told_step(step) if hasattr(index, "as_unit") else f"{step:g}"

    at = f", first at {facts['first']}" if facts.get("first") is not None else ""
    even = "Use --resample in skrdae detect, which puts rows on an even grid, or --ignore-gaps."
    messages = {
        "unsorted": f"the rows are not in the order of their times{at}. Use --sort.",
        "duplicate": f"rows have the same time{at}. {even}",
        "gap": f"there are gaps in the times{at}. {even}",
        "uneven": f"the rows do not follow each other in even steps. {even}",
        "rate": f"the rows are {told('found')} apart{at}, and the usual step is {told('usual')}. "
        f"{even}",
        "units": "the times are of another kind than those the model was fitted to.",
        "short": f"a window has {facts.get('size')} steps, and no more than "
        f"{facts.get('longest')} rows follow each other without a gap. {even}",
    }
    return CommandError(messages.get(kind, f"the times cannot be used as they are{at}. {even}"))
