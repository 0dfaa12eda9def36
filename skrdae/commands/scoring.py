"""``skrdae score``."""

import contextlib
import os
import stat
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from skrdae._typing import FloatArray, IntArray
from skrdae.commands.console import CommandError, Console
from skrdae.commands.reading import note_what_was_done, order_of, read
from skrdae.commands.reasons import looked_at, reasons_of
from skrdae.commands.results import (
    Report,
    Scored,
    check_files,
    check_installed,
    new_figure,
    write_results,
)
from skrdae.commands.runtime import check_device, heard
from skrdae.commands.series import (
    Steps,
    check_order,
    check_rate,
    check_sorted,
    check_window,
    note_gaps,
    note_ignored_gaps,
    note_resampled,
    series_error,
    steps_in,
    warn_of_rows_without_score,
)
from skrdae.detectors.calibrated import CalibratedDetector
from skrdae.detectors.outlier_adapter import OutlierAdapter
from skrdae.detectors.windowed import WindowedDetector
from skrdae.explanation import MixedColumnsError, origins_of
from skrdae.persistence import load
from skrdae.tables import EvenSteps, TableEncoder
from skrdae.tables.columns import as_floats, is_numbers
from skrdae.tables.errors import TableError, listed, shown
from skrdae.tables.problems import Problems
from skrdae.tables.times import EPOCHS

if TYPE_CHECKING:
    from pandas import DataFrame, Index

_NOT_EVEN = "A model that was fitted with --resample or --ignore-gaps takes such rows."


def score(options: Namespace, console: Console) -> Report:
    """Score a table with a detector that was saved.

    Parameters
    ----------
    options : argparse.Namespace
        Of the command line.
    console : Console

    Returns
    -------
    Report

    Raises
    ------
    CommandError, TableError, OSError
        If the options cannot be, or a file is not as it should be.
    """
    check_files(options)
    figure = new_figure(options)
    check_installed("a saved model", "safetensors", "export")
    check_device(options.device)
    with _trusted(options.model):
        steps = _load(options, console)
        encoder = steps.pop(0) if isinstance(steps[0], TableEncoder) else None
        names = _names_of(encoder, steps)
        if isinstance(steps[-1], OutlierAdapter):  # which knows the names
            steps[-1] = steps[-1].detector_
    counted = encoder is None or encoder.time_format_ is None or encoder.time_format_ in EPOCHS
    times = names.times if counted and len(names.times) == 1 else ()
    file = read(options, console, text=names.text, times=times, known_names=names.all)
    with _trusted(options.model):
        order = order_of(options, encoder, file.table)
        table = file.table.iloc[order]
        if encoder is None:
            rows = _numbers(table, names.all, steps)
        else:
            rows = encoder.transform(table)
            note_what_was_done(console, encoder, table)
        with heard(console):
            scored = _scored(console, rows, order, names, steps)
            if options.explain:
                scored = _explained(scored, encoder, steps, names.all)
    console.check()
    report = write_results(options, console, file, scored, figure)
    console.tell()
    return report


def _explained(
    scored: Scored, encoder: TableEncoder | None, steps: list[Any], known: list[str]
) -> Scored:
    """Return scores with the reasons of rows that are flagged."""
    if encoder is not None:
        steps, names = [encoder, *steps], looked_at(encoder)
    else:
        n_columns = getattr(steps[0], "n_features_in_", scored.values.shape[1])
        names = known or [f"column {place}" for place in range(n_columns)]
    try:
        origins = origins_of(steps[:-1], names)
    except MixedColumnsError as error:
        raise CommandError(
            f"--explain cannot tell which columns of the table {error.step}, a step of the model, "
            "makes its own from: leave --explain out"
        ) from error
    reasons = reasons_of(steps[-1], scored.values, scored.labels, names, origins)
    return replace(scored, reasons=reasons)


def _load(options: Namespace, console: Console) -> list[Any]:
    """Return the steps of a saved model, the detector last."""
    path = options.model
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise CommandError(f"{path} is not a file: give the file that --save wrote", 2)
    try:
        with heard(console) as warnings:
            model = load(path, device=options.device)
    except OSError:
        raise
    except Exception as error:  # whatever a file from anywhere leads to
        raise CommandError(
            f"{path} is no model that skrdae wrote, or it is damaged, or of a later version", 2
        ) from error
    if not hasattr(model, "decision_function"):
        raise CommandError(
            f"{path} holds a {type(model).__name__}, which is no detector of anomalies", 2
        )
    if warnings:
        console.warn(
            f"{path} was saved with other versions of the libraries than those here: check results."
        )
    return _flat(model)


def _flat(model: Any) -> list[Any]:
    """Return the steps of a pipeline that do something, those of pipelines within it too."""
    if not isinstance(model, Pipeline):
        return [model]
    steps = (step for _, step in model.steps if step not in (None, "passthrough"))
    return [inner for step in steps for inner in _flat(step)]


@contextlib.contextmanager
def _trusted(path: str) -> Iterator[None]:
    """Hold a model to be at fault for what cannot happen with one that skrdae wrote."""
    try:
        yield
    except (CommandError, TableError, OSError):
        raise
    except Exception as error:
        raise CommandError(
            f"{path} cannot be used on this table: it is damaged, or no model that skrdae wrote", 2
        ) from error


class _Names(NamedTuple):
    """Columns that a model looks at.

    Parameters
    ----------
    all, text, times : list of str
        All, empty if a model goes by places; those that are read as text; those of times.
    """

    all: list[str]
    text: list[str]
    times: list[str]


def _names_of(encoder: TableEncoder | None, steps: list[Any]) -> _Names:
    if encoder is None:
        return _Names(list(getattr(steps[0], "feature_names_in_", [])), [], [])
    column = encoder.time_column
    times = [] if column is None else [column] if isinstance(column, str) else list(column)
    text = [*encoder.categories_, *times]
    names = (*encoder.numeric_columns_, *text)
    return _Names(list(map(str, names)), list(map(str, text)), list(map(str, times)))


def _numbers(table: "DataFrame", names: list[str], steps: list[Any]) -> "DataFrame | FloatArray":
    """Return what a model sees that was fitted to numbers, with these names or without any."""
    expected = getattr(steps[0], "n_features_in_", table.shape[1])
    if not names and table.shape[1] != expected:
        raise CommandError(
            f"the model looks at {expected} columns, by their places, and the file has "
            f"{table.shape[1]}: {listed(table.columns)}. Leave the others out of it."
        )
    absent = [name for name in names if name not in table.columns]
    if absent:
        raise TableError(
            f"The table has no column {listed(absent)}; it has {listed(table.columns, most=20)}."
        )
    chosen = table[names] if names else table
    problems = Problems(fitted=True)
    for name in chosen.columns:
        if is_numbers(chosen[name]):
            problems.add_numbers(name, as_floats(chosen[name]))
        else:
            problems.add_text(name, chosen[name])
    problems.check()
    numbers = chosen.apply(as_floats)
    return numbers if names else numbers.to_numpy()


def _scored(
    console: Console, rows: Any, order: NDArray[np.intp], names: _Names, steps: list[Any]
) -> Scored:
    """Return what a model says of rows."""
    detector, seen, places = steps[-1], rows, np.arange(len(rows))
    grid: EvenSteps | None = None
    for step in steps[:-1]:
        if isinstance(step, EvenSteps):
            grid, places = step, step.steps_of(seen)
        seen = step.transform(seen)
    windowed, times = _windowed_in(detector), np.empty(0)
    is_series = windowed is not None
    if hasattr(seen, "iloc") and not is_series and not hasattr(detector, "feature_names_in_"):
        seen = seen.to_numpy()  # as an adapter gives them to what it holds
    if windowed is not None:
        as_read = steps_in(_index_of(rows), order)
        _check_series(console, as_read, seen, places, names, grid, windowed)
        counts_rows = grid is None or grid.step is None
        times = np.asarray(as_read.index if counts_rows else seen.index)
    try:
        scores, labels = detector.scores_and_labels(seen)
    except ValueError as error:
        told = series_error(error, _index_of(seen))
        if told is not None:
            raise told from error
        raise
    scored = Scored(
        values=seen,
        scores=np.asarray(scores, float),
        labels=labels,
        model=type(detector if windowed is None else windowed.detector).__name__,
        threshold=None if is_series else float(detector.threshold_),
        order=order,
        steps=places,
        times=times,
    )
    if windowed is not None:
        warn_of_rows_without_score(console, scored, windowed.window_size_, fitted=True)
    return scored


def _windowed_in(detector: Any) -> WindowedDetector | None:
    """Return the detector in windows that a detector of series is, or calibrates."""
    if not getattr(detector, "_takes_series", False):
        return None
    return detector.detector_ if isinstance(detector, CalibratedDetector) else detector


def _index_of(rows: Any) -> "Index":
    import pandas as pd

    return rows.index if hasattr(rows, "index") else pd.RangeIndex(len(rows))


def _check_series(
    console: Console,
    as_read: Steps,
    seen: Any,
    places: IntArray,
    names: _Names,
    grid: EvenSteps | None,
    detector: WindowedDetector,
) -> None:
    """Raise if rows are no series like that of training; tell what was made of them."""
    known = getattr(detector, "_spacing", None)
    index, numbers = _index_of(seen), np.arange(len(seen))
    if known is not None and hasattr(index, "as_unit"):
        known /= 1e9  # nanoseconds
    steps = steps_in(index, numbers, known)
    column = " and ".join(map(shown, names.times))
    if grid is not None and grid.step is None:
        check_sorted(as_read, column, most=0.25)
        note_ignored_gaps(console, as_read)
    elif grid is not None:
        note_resampled(console, as_read, steps, places)
    elif known is not None and not names.times and known != 1:
        raise CommandError(
            "the model was fitted in Python to rows with times, and does not say which column "
            "holds them: fit one with skrdae detect --time-column"
        )
    elif known is not None:
        check_rate(as_read, known)
        check_order(steps_in(as_read.index, as_read.rows, known), column, remedy=_NOT_EVEN)
        if detector.on_gap == "raise" and steps.gaps.any():
            raise CommandError(
                f"there are {int(steps.gaps.sum())} gaps in the times, and the model was fitted in "
                f"Python to refuse any. {_NOT_EVEN}"
            )
        note_gaps(console, steps)
    check_window(steps, detector.window_size_, fitted=True)
