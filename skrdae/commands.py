"""What ``skrdae detect`` and ``skrdae score`` do."""

import importlib.util
import io
import json
import warnings
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from skrdae._files import check_target, write_whole
from skrdae._typing import Floats, Integers
from skrdae.detectors.anogan import AnoGANDetector
from skrdae.detectors.base import BaseTorchDetector
from skrdae.detectors.lstm_robust_autoencoder import LSTMRobustAutoencoder
from skrdae.detectors.outlier_adapter import OutlierAdapter
from skrdae.detectors.robust_autoencoder import RobustDeepAutoencoder
from skrdae.detectors.robust_pca import RobustPCA
from skrdae.detectors.vae import VAEDetector
from skrdae.detectors.windowed import WindowedDetector
from skrdae.persistence import load, save
from skrdae.tables import TableEncoder, read_table
from skrdae.tables.files import is_parquet, read_text, table_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

#: What ``--model`` may be.
MODELS: dict[str, type[BaseTorchDetector]] = {
    "robust-autoencoder": RobustDeepAutoencoder,
    "robust-pca": RobustPCA,
    "vae": VAEDetector,
    "anogan": AnoGANDetector,
    "lstm": LSTMRobustAutoencoder,
}
#: The columns that are added to a table; they are never looked at.
SCORE, LABEL = "skrdae_score", "skrdae_label"
# Of all anomalies, how many are listed for people and for programs.
_SHOWN, _LISTED = 10, 1000


def detect(options: Namespace) -> dict[str, Any]:
    """Fit a detector to a table and say which of its rows are anomalous.

    Parameters
    ----------
    options : argparse.Namespace
        Of the command line.

    Returns
    -------
    dict
        What ``--json`` prints.
    """
    _check_files(options)
    figure = _figure(options)
    table = _read(options)
    encoder = TableEncoder(
        options.time_column,
        time_format=options.time_format,
        missing=options.missing,
        categories=options.categories,
        ignore=options.ignore,
    ).fit(table)
    order = _order(options, encoder, table)
    table = table.iloc[order]
    rows = encoder.transform(table)
    _tell_what_was_done(encoder, table)
    detector = _detector(options, rows.shape[1]).fit(rows)
    scores, labels = detector.decision_scores_, detector.labels_
    report = _report(options, table, order, rows, detector, scores, labels, figure)
    if options.save:
        save(Pipeline([("encode", encoder), ("detect", detector)]), options.save)
    return report | {"saved": options.save}


def score(options: Namespace) -> dict[str, Any]:
    """Score a table with a detector that was saved.

    Parameters
    ----------
    options : argparse.Namespace
        Of the command line.

    Returns
    -------
    dict
        What ``--json`` prints.
    """
    _check_files(options)
    figure = _figure(options)
    model = load(options.model, device=options.device)
    if not hasattr(model, "decision_function"):
        raise ValueError(f"{options.model} holds a {type(model).__name__}, which is no detector.")
    steps = _steps(model)
    encoder = steps.pop(0) if isinstance(steps[0], TableEncoder) else None
    table = _read(options, () if encoder is None else encoder.categories_)
    order = _order(options, encoder, table)
    table = table.iloc[order]
    if encoder is None:
        rows = _numbers(table, getattr(steps[0], "feature_names_in_", None))
    else:
        rows = encoder.transform(table)
        _tell_what_was_done(encoder, table)
    seen = rows
    for step in steps[:-1]:
        seen = step.transform(seen)
    detector = steps[-1]
    if isinstance(detector, OutlierAdapter):
        detector = detector.detector_
    scores = np.asarray(detector.decision_function(seen), float)
    if isinstance(detector, WindowedDetector) or isinstance(detector.contamination, str):
        labels = detector.predict(seen)
    else:  # not scored a second time
        labels = (scores > detector.threshold_).astype(int)
    return _report(options, table, order, rows, detector, scores, labels, figure)


def _steps(model: Any) -> list[Any]:
    """Return the steps of a pipeline that do something, those of pipelines within it too."""
    if not isinstance(model, Pipeline):
        return [model]
    steps = (step for _, step in model.steps if step not in (None, "passthrough"))
    return [inner for step in steps for inner in _steps(step)]


def _read(options: Namespace, text: Iterable[str] = ()) -> "DataFrame":
    table = read_table(
        options.data, separator=options.separator, decimal=options.decimal, text=text
    )
    return table.drop(columns=[name for name in (SCORE, LABEL) if name in table.columns])


def _order(
    options: Namespace, encoder: TableEncoder | None, table: "DataFrame"
) -> NDArray[np.intp]:
    """Return in which order the rows are taken."""
    if not options.sort:
        return np.arange(len(table))
    if encoder is None or encoder.time_column is None:
        raise ValueError("--sort is by the time of a series: there is no --time-column.")
    rows: DataFrame = encoder.transform(table)
    return np.argsort(rows.index, kind="stable")


def _tell_what_was_done(encoder: TableEncoder, table: "DataFrame") -> None:
    """Warn of what is in the table that a detector does not see as it is."""
    for name in encoder.dropped_columns_:
        warnings.warn(f"Column {name!r} is left out.", UserWarning, stacklevel=2)
    for name in encoder.numeric_columns_:
        n_missing = int(table[name].isna().sum())
        if n_missing:
            warnings.warn(
                f"Column {name!r}: {n_missing} missing values are filled in.",
                UserWarning,
                stacklevel=2,
            )
    for name, known in encoder.categories_.items():
        n_new = int((~table[name].dropna().astype(str).isin(known)).sum())
        n_missing = int(table[name].isna().sum())
        if n_new or n_missing:
            warnings.warn(
                f"Column {name!r}: {n_missing} values are missing and {n_new} were not there in "
                "training; they belong to no category.",
                UserWarning,
                stacklevel=2,
            )


def _detector(options: Namespace, n_columns: int) -> BaseTorchDetector | WindowedDetector:
    parameters = {
        "contamination": options.contamination,
        "device": options.device,
        "random_state": options.seed,
        "verbose": int(options.verbose),
    }
    if options.model == "robust-pca":  # which draws nothing
        del parameters["random_state"]
    if options.model == "lstm":
        if options.time_column is None:
            raise ValueError("The model 'lstm' is for series: name the --time-column.")
        parameters["n_channels"] = n_columns
    detector = MODELS[options.model](**parameters)
    if options.time_column is None:
        if options.window_size is not None:
            raise ValueError("--window-size is for series: name the --time-column.")
        return detector
    window = {} if options.window_size is None else {"window_size": options.window_size}
    return WindowedDetector(detector, on_gap="split", **window)


def _numbers(table: "DataFrame", names: Iterable[str] | None) -> Floats:
    """Return what a model sees that was fitted to numbers, with these names or without any."""
    if names is None:
        return TableEncoder().fit_transform(table).to_numpy()
    absent = [name for name in names if name not in table.columns]
    if absent:
        raise ValueError(f"The table has no column {', '.join(map(repr, absent))}.")
    return TableEncoder().fit_transform(table[list(names)])


# ------------------------------------------------------------------------------------- results


def _check_files(options: Namespace) -> None:
    """Raise before any work if a result could not be written, or would write over another file."""
    files = {"the data": options.data}
    if options.command == "score":
        files["the model"] = options.model
    for name in ("output", "plot", "save"):
        path = getattr(options, name, None)
        if path is None:
            continue
        check_target(path)
        for other, taken in files.items():
            if Path(path).resolve() == Path(taken).resolve():
                raise ValueError(f"--{name} {path!r} would be written over {other}.")
        files[f"--{name}"] = path
    if options.output is not None:
        if not is_parquet(options.output) and Path(options.output).suffix.lower() != ".csv":
            raise ValueError(f"A table is .csv or .parquet; got --output {options.output!r}.")
        if is_parquet(options.output):
            _check_installed("--output", "pyarrow", "tables")
    if getattr(options, "save", None):
        _check_installed("--save", "safetensors", "export")


def _check_installed(option: str, module: str, extra: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise ImportError(f"{option} needs {module}: pip install 'skrdae[{extra}]'.")


def _figure(options: Namespace) -> "Figure | None":
    """Return a figure if one is wanted, of a kind that can be written."""
    if options.plot is None:
        return None
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("--plot needs matplotlib: pip install 'skrdae[plot]'.") from error
    figure = Figure(figsize=(10, 5), layout="constrained")
    formats = figure.canvas.get_supported_filetypes()
    if Path(options.plot).suffix[1:].lower() not in formats:
        raise ValueError(f"A picture is one of {', '.join(formats)}; got --plot {options.plot!r}.")
    return figure


def _report(
    options: Namespace,
    table: "DataFrame",
    order: NDArray[np.intp],
    rows: "DataFrame | Floats",
    detector: Any,
    scores: Floats,
    labels: Integers,
    figure: "Figure | None",
) -> dict[str, Any]:
    """Write what was asked for; return what there is to say."""
    of_steps = isinstance(detector, WindowedDetector)
    time = np.asarray(rows.index) if hasattr(rows, "index") else np.arange(len(rows))
    if options.output:
        if not (is_parquet(options.data) or is_parquet(options.output)):
            # As it was written, down to the last zero.
            table = read_text(options.data, separator=options.separator).iloc[order]
        result = table.assign(**{SCORE: scores, LABEL: labels})
        content = table_bytes(result, options.output, separator=options.separator)
        write_whole(options.output, content)
    if figure is not None:
        axes = figure.subplots(2)
        if of_steps:
            _draw_series(axes, rows, time, scores, labels)
        else:
            _draw_rows(axes, detector, scores, labels)
        figure.suptitle(Path(options.data).name)
        picture = io.BytesIO()
        figure.savefig(picture, format=Path(options.plot).suffix[1:].lower(), dpi=130)
        write_whole(options.plot, picture.getbuffer())
    flagged = np.flatnonzero(labels == 1)
    return {
        "data": options.data,
        "model": type(detector.detector if of_steps else detector).__name__,
        "rows": len(table),
        "flagged": len(flagged),
        "without_score": int(np.isnan(scores).sum()),
        # Steps are flagged by the windows that hold them.
        "threshold": None if of_steps else float(detector.threshold_),
        "anomalies": (
            _stretches(scores, labels, time, order) if of_steps else _highest(scores, flagged)
        ),
        "output": options.output,
        "plot": options.plot,
    }


def _highest(scores: Floats, flagged: NDArray[np.intp]) -> list[dict[str, Any]]:
    rows = flagged[np.argsort(-scores[flagged], kind="stable")][:_LISTED]
    return [{"row": int(row), "score": float(scores[row])} for row in rows]


def _stretches(
    scores: Floats, labels: Integers, time: NDArray[Any], order: NDArray[np.intp]
) -> list[dict[str, Any]]:
    """Return the stretches of flagged steps, the one with the highest score first."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], labels == 1, [0]]).astype(int)))
    found: list[dict[str, Any]] = [
        {
            "start": _told(time[start]),
            "end": _told(time[stop - 1]),
            "first_row": int(order[start]),
            "last_row": int(order[stop - 1]),
            "score": float(np.nanmax(scores[start:stop])),
        }
        for start, stop in edges.reshape(-1, 2)
    ]
    return sorted(found, key=lambda stretch: -stretch["score"])[:_LISTED]


def _told(time: object) -> str:
    """Return a time, or the number of a step, without the zeros of a fraction."""
    before, point, fraction = str(time).replace("T", " ").partition(".")
    return before + (point + fraction if fraction.strip("0") else "")


def _draw_series(
    axes: NDArray[np.object_],
    rows: "DataFrame | Floats",
    time: NDArray[Any],
    scores: Floats,
    labels: Integers,
) -> None:
    from skrdae.plotting import SeriesDisplay

    axes[0].sharex(axes[1])
    SeriesDisplay.from_predictions(rows, scores, labels, time=time, ax=axes)


def _draw_rows(
    axes: NDArray[np.object_],
    detector: BaseTorchDetector | WindowedDetector,
    scores: Floats,
    labels: Integers,
) -> None:
    from skrdae.plotting import ScoreDisplay

    flagged, rows = labels == 1, np.arange(len(scores))
    axes[0].plot(rows[~flagged], scores[~flagged], ".", ms=3, color="tab:blue")
    axes[0].plot(rows[flagged], scores[flagged], ".", ms=5, color="tab:red")
    axes[0].axhline(detector.threshold_, color="0.3", ls="--", lw=1)
    axes[0].set(xlabel="row", ylabel="score", yscale="log")
    axes[0].spines[["top", "right"]].set_visible(False)
    ScoreDisplay.from_predictions(scores, detector.threshold_, ax=axes[1])


def as_json(report: dict[str, Any]) -> str:
    """Return a report as JSON; a number that JSON does not know becomes null."""
    clean = {
        k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in report.items()
    }
    return json.dumps(clean, indent=2, allow_nan=False)


def as_text(report: dict[str, Any]) -> str:
    """Return a report as lines for people."""
    first = f"{report['flagged']} of {report['rows']} rows flagged by {report['model']}"
    if report["threshold"] is not None:
        first += f", threshold {report['threshold']:.4g}"
    lines = [first]
    anomalies = report["anomalies"]
    if report["without_score"]:
        lines.append(f"{report['without_score']} rows have no score: no window covers them")
    if anomalies and "start" in anomalies[0]:
        lines.append(f"{'from':<27}{'to':<27}{'score':>12}")
        lines += [f"{a['start']:<27}{a['end']:<27}{a['score']:>12.4g}" for a in anomalies[:_SHOWN]]
    elif anomalies:
        lines.append(f"{'row':>9}{'score':>12}")
        lines += [f"{a['row']:>9}{a['score']:>12.4g}" for a in anomalies[:_SHOWN]]
    if len(anomalies) > _SHOWN:
        lines.append("...")
    for name in ("output", "plot", "saved"):
        if report.get(name):
            lines.append(f"{name}: {report[name]}")
    return "\n".join(lines)
