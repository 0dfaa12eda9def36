"""What ``skrdae detect`` and ``skrdae score`` do."""

import json
from pathlib import Path

import numpy as np
from sklearn.pipeline import Pipeline

from skrdae._files import write_whole
from skrdae.detectors.anogan import AnoGANDetector
from skrdae.detectors.lstm_robust_autoencoder import LSTMRobustAutoencoder
from skrdae.detectors.robust_autoencoder import RobustDeepAutoencoder
from skrdae.detectors.robust_pca import RobustPCA
from skrdae.detectors.vae import VAEDetector
from skrdae.detectors.windowed import WindowedDetector
from skrdae.persistence import load, save
from skrdae.tables import PARQUET, TableEncoder, read_table, write_table

#: What ``--model`` may be.
MODELS = {
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


def detect(options):
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
    figure = _check_outputs(options)
    table = _without_results(read_table(options.data, separator=options.separator))
    encoder = TableEncoder(
        options.time_column,
        missing=options.missing,
        categories=options.categories,
        ignore=options.ignore,
    )
    rows = encoder.fit_transform(table)
    detector = _detector(options, rows.shape[1]).fit(rows)
    if options.save:
        save(Pipeline([("encode", encoder), ("detect", detector)]), options.save)
    scores, labels = detector.decision_scores_, detector.labels_
    report = _report(options, table, rows, detector, scores, labels, figure)
    return report | {"saved": options.save}


def score(options):
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
    figure = _check_outputs(options)
    model = load(options.model, device=options.device)
    if not hasattr(model, "decision_function"):
        raise ValueError(f"{options.model} holds a {type(model).__name__}, which is no detector.")
    table = _without_results(read_table(options.data, separator=options.separator))
    if isinstance(model, Pipeline) and isinstance(model[0], TableEncoder):
        rows, model = model[0].transform(table), model[1:]
    else:
        rows = _numbers(table, getattr(model, "feature_names_in_", None))
    detector = model[-1] if isinstance(model, Pipeline) else model
    scores = np.asarray(model.decision_function(rows), float)
    if isinstance(detector, WindowedDetector) or isinstance(detector.contamination, str):
        labels = model.predict(rows)
    else:  # not scored a second time
        labels = (scores > detector.threshold_).astype(int)
    return _report(options, table, rows, detector, scores, labels, figure)


def _detector(options, n_columns):
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
        return detector
    return WindowedDetector(detector, window_size=options.window_size, on_gap="split")


def _numbers(table, names):
    """Return what a model sees that was fitted to numbers, with these names or without any."""
    if names is None:
        return TableEncoder().fit_transform(table).to_numpy()
    absent = [name for name in names if name not in table.columns]
    if absent:
        raise ValueError(f"The table has no column {', '.join(map(repr, absent))}.")
    return TableEncoder().fit_transform(table[list(names)])


def _without_results(table):
    return table.drop(columns=[name for name in (SCORE, LABEL) if name in table.columns])


# ------------------------------------------------------------------------------------- results


def _check_outputs(options):
    """Raise before any work if a result could not be written; return a figure if one is wanted."""
    for name in ("output", "plot", "save"):
        path = getattr(options, name, None)
        if path is not None and (not Path(path).parent.is_dir() or Path(path).is_dir()):
            raise OSError(f"--{name} {path!r} is not a file in a folder that is there.")
    if options.output is not None and Path(options.output).suffix not in (".csv", *PARQUET):
        raise ValueError(f"A table is .csv or .parquet; got --output {options.output!r}.")
    if options.plot is None:
        return None
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("--plot needs matplotlib: pip install 'skrdae[plot]'.") from error
    figure = Figure(figsize=(10, 5), layout="constrained")
    formats = figure.canvas.get_supported_filetypes()
    if Path(options.plot).suffix[1:] not in formats:
        raise ValueError(f"A picture is one of {', '.join(formats)}; got --plot {options.plot!r}.")
    return figure


def _report(options, table, rows, detector, scores, labels, figure):
    """Write what was asked for; return what there is to say."""
    if options.output:
        result = table.assign(**{SCORE: scores, LABEL: labels})
        write_whole(options.output, write_table(result, options.output))
    of_steps = isinstance(detector, WindowedDetector)
    time = np.asarray(rows.index) if hasattr(rows, "index") else np.arange(len(rows))
    if figure is not None:
        axes = figure.subplots(2)
        if of_steps:
            _draw_series(axes, rows, time, detector, scores, labels)
        else:
            _draw_rows(axes, detector, scores, labels)
        figure.suptitle(Path(options.data).name)
        figure.savefig(options.plot, dpi=130)
    flagged = np.flatnonzero(labels == 1)
    found = _stretches(scores, labels, time) if of_steps else _highest(scores, flagged)
    return {
        "data": options.data,
        "model": type(detector.detector if of_steps else detector).__name__,
        "rows": len(table),
        "flagged": len(flagged),
        "without_score": int(np.isnan(scores).sum()),
        "threshold": float(detector.threshold_),
        "anomalies": found,
        "output": options.output,
        "plot": options.plot,
    }


def _highest(scores, flagged):
    rows = flagged[np.argsort(-scores[flagged], kind="stable")][:_LISTED]
    return [{"row": int(row), "score": float(scores[row])} for row in rows]


def _stretches(scores, labels, time):
    """Return the stretches of flagged steps, the one with the highest score first."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], labels == 1, [0]]).astype(int)))
    found = [
        {
            "start": _told(time[start]),
            "end": _told(time[stop - 1]),
            "first_row": int(start),
            "last_row": int(stop - 1),
            "score": float(np.nanmax(scores[start:stop])),
        }
        for start, stop in edges.reshape(-1, 2)
    ]
    return sorted(found, key=lambda stretch: -stretch["score"])[:_LISTED]


def _told(time):
    """Return a time, or the number of a step, without the zeros of a fraction."""
    before, point, fraction = str(time).replace("T", " ").partition(".")
    return before + (point + fraction if fraction.strip("0") else "")


def _draw_series(axes, rows, time, detector, scores, labels):
    from skrdae.plotting import SeriesDisplay

    axes[0].sharex(axes[1])
    threshold = detector.threshold_
    SeriesDisplay.from_predictions(rows, scores, labels, threshold, time=time, ax=axes)


def _draw_rows(axes, detector, scores, labels):
    from skrdae.plotting import ScoreDisplay

    flagged, rows = labels == 1, np.arange(len(scores))
    axes[0].plot(rows[~flagged], scores[~flagged], ".", ms=3, color="tab:blue")
    axes[0].plot(rows[flagged], scores[flagged], ".", ms=5, color="tab:red")
    axes[0].axhline(detector.threshold_, color="0.3", ls="--", lw=1)
    axes[0].set(xlabel="row", ylabel="score", yscale="log")
    axes[0].spines[["top", "right"]].set_visible(False)
    ScoreDisplay.from_predictions(scores, detector.threshold_, ax=axes[1])


def as_json(report):
    """Return a report as JSON; a number that JSON does not know becomes null."""
    clean = {
        k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in report.items()
    }
    return json.dumps(clean, indent=2, allow_nan=False)


def as_text(report):
    """Return a report as lines for people."""
    lines = [
        f"{report['flagged']} of {report['rows']} rows flagged by {report['model']}, "
        f"threshold {report['threshold']:.4g}"
    ]
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
        lines.append("…")
    for name in ("output", "plot", "saved"):
        if report.get(name):
            lines.append(f"{name}: {report[name]}")
    return "\n".join(lines)
