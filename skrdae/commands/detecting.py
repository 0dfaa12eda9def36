"""``skrdae detect``."""

from argparse import Namespace
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline

from skrdae._typing import IntArray
from skrdae.commands.arguments import MODELS, WINDOW_MODELS
from skrdae.commands.console import CommandError, Console
from skrdae.commands.reading import (
    leave_out_row_numbers,
    note_labels,
    note_what_was_done,
    order_of,
    read,
)
from skrdae.commands.reasons import Reasons, looked_at, reasons_of
from skrdae.commands.results import Report, Scored, check_files, new_figure, write_results
from skrdae.commands.runtime import check_device, heard
from skrdae.commands.series import (
    Steps,
    check_order,
    check_sorted,
    check_window,
    note_gaps,
    note_ignored_gaps,
    note_resampled,
    series_error,
    steps_in,
    warn_of_rows_without_score,
)
from skrdae.detectors.anogan import AnoGANDetector
from skrdae.detectors.base import BaseTorchDetector
from skrdae.detectors.lstm_robust_autoencoder import LSTMRobustAutoencoder
from skrdae.detectors.lstm_vae import LSTMVAEDetector
from skrdae.detectors.omni_anomaly import OmniAnomalyDetector
from skrdae.detectors.robust_autoencoder import RobustDeepAutoencoder
from skrdae.detectors.robust_pca import RobustPCA
from skrdae.detectors.transformer_robust_autoencoder import TransformerRobustAutoencoder
from skrdae.detectors.usad import USADDetector
from skrdae.detectors.vae import VAEDetector
from skrdae.detectors.windowed import WindowedDetector
from skrdae.detectors.windowed_scores import FEW_WINDOWS
from skrdae.explanation import origins_of
from skrdae.persistence import save
from skrdae.preprocessing import dominant_period
from skrdae.tables import EvenSteps, TableEncoder
from skrdae.tables.columns import is_numbers
from skrdae.tables.errors import listed, shown
from skrdae.tables.times import EPOCHS, form_not_taken
from skrdae.tables.times import times as times_in

if TYPE_CHECKING:
    from pandas import DataFrame

_DETECTORS: dict[str, type[BaseTorchDetector]] = {
    detector.__name__: detector
    for detector in (
        RobustDeepAutoencoder,
        RobustPCA,
        VAEDetector,
        AnoGANDetector,
        LSTMRobustAutoencoder,
        TransformerRobustAutoencoder,
        USADDetector,
        LSTMVAEDetector,
        OmniAnomalyDetector,
    )
}
_STEPS_TO_FILL = 5
_UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
# Fewer rows than this show little of what is normal.
_FEW_ROWS = 10
# With --ignore-gaps, where a clock may have been put back now and then.
_MOST_GOING_BACK = 0.25
# Numbers beyond this cannot be scaled along with others.
_TOO_LARGE = 1e100
_NOT_EVEN = (
    "Use --resample auto, or a longer step, to put them on an even grid (rows of one step are "
    "averaged), or --ignore-gaps to take them one after another."
)


def detect(options: Namespace, console: Console) -> Report:
    """Fit a detector to a table and say which of its rows are anomalous.

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
        If the options cannot be, or the file is not as it should be.
    """
    _check_options(options)
    check_files(options)
    figure = new_figure(options)
    check_device(options.device)
    # A form that was given goes by the text.
    counted = options.time_format is None or options.time_format in EPOCHS
    times = options.time_column if counted and len(options.time_column) == 1 else ()
    file = read(options, console, text=options.time_column, times=times)
    encoder = _encoder(options, console, file.table)
    order = order_of(options, encoder, file.table)
    table = file.table.iloc[order]
    rows: DataFrame = encoder.transform(table)
    note_what_was_done(console, encoder, table)
    if len(table) < _FEW_ROWS:
        few = "one row" if len(table) == 1 else f"{len(table)} rows"
        console.warn(f"{few} alone tell{'s' * (len(table) == 1)} little of what is normal.")
    model: list[tuple[str, Any]] = [("encode", encoder)]
    seen, places, step_times = rows, np.arange(len(rows)), np.empty(0)
    if options.time_column:
        grid = _grid(options)
        if grid is not None:
            seen = grid.fit_transform(rows)
            places = grid.steps_of(rows)
            model.append(("even_steps", grid))
        step_times = np.asarray(rows.index if options.ignore_gaps else seen.index)
        _check_series(options, console, steps_in(rows.index, order), seen, places)
    console.check()
    console.tell()
    detector = _fitted(options, console, seen)
    model.append(("detect", detector))
    windowed = isinstance(detector, WindowedDetector)
    scored = Scored(
        values=seen,
        scores=detector.decision_scores_,
        labels=detector.labels_,
        model=type(detector.detector if windowed else detector).__name__,
        threshold=None if windowed else float(detector.threshold_),
        order=order,
        steps=places,
        times=step_times,
        reasons=_reasons(detector, seen, encoder) if options.explain else None,
    )
    if windowed:
        size, resampled = detector.window_size_, bool(options.resample)
        warn_of_rows_without_score(console, scored, size, resampled=resampled)
        n_windows = len(detector.window_scores_)
        if n_windows < FEW_WINDOWS:
            console.warn(
                f"{n_windows} window{'s' * (n_windows > 1)} of {size} steps show little of what is "
                "normal. Use a longer file or a smaller --window-size."
            )
        same = np.nanmin(scored.scores) == np.nanmax(scored.scores)  # of which there was a word
        if not same and not (scored.labels == 1).any():
            console.warn("no row is flagged; a higher --contamination flags more.")
    report = write_results(options, console, file, scored, figure)
    if options.save:
        with console.writing(options.save):
            save(Pipeline(model), options.save)
    console.tell()
    return Report(report.contents | {"saved": options.save})


def _reasons(detector: Any, seen: "DataFrame", encoder: TableEncoder) -> Reasons:
    names = looked_at(encoder)
    return reasons_of(detector, seen, detector.labels_, names, origins_of([encoder], names))


def _check_options(options: Namespace) -> None:
    """Raise if options do not go together."""
    if not options.time_column:
        needing = {
            "--time-format": options.time_format,
            "--window-size": options.window_size,
            "--resample": options.resample,
            "--ignore-gaps": options.ignore_gaps,
            f"--model {options.model}": options.model in WINDOW_MODELS,
            "--sort": options.sort,
        }
        for name, given in needing.items():
            if given:
                raise CommandError(
                    f"{name} is for series: name the column of their time with --time-column", 2
                )
    if options.max_gap is not None and not options.resample:
        raise CommandError("--max-gap only works together with --resample", 2)
    detector = _DETECTORS[MODELS[options.model]]
    if options.contamination == "auto" and not detector._has_votes:
        able = [n for n, d in MODELS.items() if _DETECTORS[d]._has_votes]
        raise CommandError(
            f"--contamination auto is for {listed(able, str)}; give a share, such as 0.01", 2
        )


def _encoder(options: Namespace, console: Console, table: "DataFrame") -> TableEncoder:
    columns = options.time_column
    encoder = TableEncoder(
        (columns if len(columns) > 1 else columns[0]) if columns else None,
        time_format=options.time_format,
        missing=options.missing,
        categories=options.categories,
        ignore=[*options.ignore, *leave_out_row_numbers(options, console, table)],
    ).fit(table)
    form = encoder.time_format_
    if len(columns) == 1 and form is not None and options.time_format is None:
        first = str(table[columns[0]].iloc[0])
        if form in EPOCHS or first.removesuffix(".0").isdigit():
            what = f"{_UNITS[EPOCHS[form]]} since 1970" if form in EPOCHS else "dates"
            time = times_in(table[columns[0]].iloc[:1], form)[0]
            console.note(
                f"Column {shown(columns[0])} is read as {what}: {first} is {time}. --time-format "
                "says otherwise."
            )
    if len(columns) == 1 and form is None and is_numbers(table[columns[0]]):
        likely = form_not_taken(table[columns[0]])
        if likely is not None:
            console.note(
                f"Column {shown(columns[0])} is read as plain numbers. If they are dates, set "
                f"--time-format {likely}."
            )
    if encoder.categories_:
        told = (f"{shown(name)} ({len(v)})" for name, v in encoder.categories_.items())
        console.note(f"Text becomes a column of 0 and 1 for each value: {listed(told, str, 20)}.")
    note_labels(console, table[[*encoder.numeric_columns_, *encoder.categories_]])
    constant = [n for n in encoder.numeric_columns_ if table[n].nunique(dropna=False) == 1]
    if constant and len(table) > 1:
        several = len(constant) > 1
        console.note(
            f"Column{'s' * several} {listed(constant)} never change{'s' * (not several)} here; in "
            "later files any other value counts as an anomaly."
        )
    return encoder


# ------------------------------------------------------------------------------------ series


def _grid(options: Namespace) -> EvenSteps | None:
    if options.ignore_gaps:
        return EvenSteps(None)
    if options.resample is None:
        return None
    max_gap = _STEPS_TO_FILL if options.max_gap is None else options.max_gap
    return EvenSteps(options.resample, max_gap=max_gap)


def _check_series(
    options: Namespace, console: Console, as_read: Steps, seen: "DataFrame", places: IntArray
) -> None:
    """Raise if there is no series to look at; tell what was made of the rows."""
    name = " and ".join(map(shown, options.time_column))
    steps = steps_in(seen.index, np.arange(len(seen)))
    if options.ignore_gaps:
        check_sorted(as_read, name, most=_MOST_GOING_BACK)
        note_ignored_gaps(console, as_read)
    elif options.resample:
        note_resampled(console, as_read, steps, places)
    else:
        check_order(as_read, name, remedy=_NOT_EVEN)
        note_gaps(console, as_read)
    size = options.window_size or WindowedDetector(RobustPCA()).window_size
    if size == "auto":
        size = _period(seen, steps)
    check_window(steps, size, resampled=bool(options.resample))


def _period(seen: "DataFrame", steps: Steps) -> int:
    stretch = seen.to_numpy()[steps.first : steps.first + steps.longest]
    period = dominant_period(stretch)
    if period is None:
        raise CommandError(
            f"--window-size auto found no period in the longest stretch, of {steps.longest} steps. "
            "Give a number of steps, as many as an anomaly needs to show."
        )
    return period


# ---------------------------------------------------------------------------------- training


def _fitted(options: Namespace, console: Console, seen: "DataFrame") -> Any:
    """Return a fitted detector."""
    detector = _detector(options, seen.shape[1])
    try:
        with heard(console) as warnings:
            detector.fit(seen)
    except MemoryError:
        raise
    except Exception as error:
        console.check()  # a library may have made something else of Ctrl-C
        told = series_error(error, seen.index)
        if told is not None:
            raise told from error
        large = [name for name in seen.columns if np.abs(seen[name]).max() > _TOO_LARGE]
        if large:
            raise CommandError(
                f"column{'s' * (len(large) > 1)} {listed(large)}: some numbers are too large to be "
                "compared with others. Correct them, or leave the column out with --ignore."
            ) from error
        raise CommandError(
            "the training failed on this table. Another --model or --seed may do; -v shows why."
        ) from error
    console.check()
    if np.nanmin(detector.decision_scores_) == np.nanmax(detector.decision_scores_):
        if len(seen) > 1:
            console.warn("all rows have the same score, so that nothing is told apart.")
    elif any(issubclass(warning, ConvergenceWarning) for warning in warnings):
        console.warn("the training did not settle: compare with another --seed or --model.")
    return detector


def _detector(options: Namespace, n_columns: int) -> BaseTorchDetector | WindowedDetector:
    parameters = {
        "contamination": options.contamination,
        "device": options.device,
        "random_state": options.seed,
        "verbose": int(options.verbose),
    }
    if options.model == "robust-pca":  # which draws nothing
        del parameters["random_state"]
    if options.model in WINDOW_MODELS:
        parameters["n_channels"] = n_columns
    detector = _DETECTORS[MODELS[options.model]](**parameters)
    if not options.time_column:
        return detector
    window = {} if options.window_size is None else {"window_size": options.window_size}
    return WindowedDetector(detector, on_gap="split", **window)
