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
    n_columns = len(encoder.fit(table).get_feature_names_out())
    model = Pipeline([("encode", encoder), ("detect", _detector(options, n_columns))]).fit(table)
    detector = model[-1]
    if options.save:
        save(model, options.save)
    report = _report(options, table, model, detector.decision_scores_, detector.labels_, figure)
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
    rows = table
    if not _encodes(model):
        names = getattr(model, "feature_names_in_", None)
        if names is not None:
            rows = TableEncoder(ignore=[n for n in table.columns if n not in {*names}])
            rows = rows.fit_transform(table)[list(names)]
        else:
            rows = TableEncoder().fit_transform(table).to_numpy()
    scores = np.asarray(model.decision_function(rows), float)
    labels = _labels(model, rows, scores)
    return _report(options, table, model, scores, labels, figure)


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


def _encodes(model):
    return isinstance(model, Pipeline) and isinstance(model[0], TableEncoder)


def _last(model):
    return model[-1] if isinstance(model, Pipeline) else model


def _labels(model, rows, scores):
    """Return labels without scoring again, where a threshold on the scores makes them."""
    detector = _last(model)
    by_threshold = not isinstance(detector, WindowedDetector)
    if by_threshold and not isinstance(detector.contamination, str):
        return (scores > detector.threshold_).astype(int)
    return model.predict(rows)


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


def _report(options, table, model, scores, labels, figure):
    if options.output:
        result = table.assign(**{SCORE: scores, LABEL: labels})
        write_whole(options.output, write_table(result, options.output))
    detector, time = _last(model), None
    if _encodes(model) and model[0].time_column is not None:
        time = table[model[0].time_column]
    if figure is not None:
        _draw(figure, table, model, scores, labels)
        figure.suptitle(Path(options.data).name)
        figure.savefig(options.plot, dpi=130)
    flagged = np.flatnonzero(labels == 1)
    inner = detector.detector if isinstance(detector, WindowedDetector) else detector
    return {
        "data": options.data,
        "model": type(inner).__name__,
        "rows": len(table),
        "flagged": len(flagged),
        "without_score": int(np.isnan(scores).sum()),
        "threshold": float(detector.threshold_),
        "anomalies": _stretches(scores, labels, time)
        if time is not None
        else _rows(scores, flagged),
        "output": options.output,
        "plot": options.plot,
    }


def _rows(scores, flagged):
    highest = flagged[np.argsort(-scores[flagged], kind="stable")][:_LISTED]
    return [{"row": int(row), "score": float(scores[row])} for row in highest]


def _stretches(scores, labels, time):
    """Return the stretches of flagged steps, the one with the highest score first."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], labels == 1, [0]]).astype(int)))
    found = [
        {
            "start": str(time.iloc[start]),
            "end": str(time.iloc[stop - 1]),
            "first_row": int(start),
            "last_row": int(stop - 1),
            "score": float(np.nanmax(scores[start:stop])),
        }
        for start, stop in edges.reshape(-1, 2)
    ]
    return sorted(found, key=lambda stretch: -stretch["score"])[:_LISTED]


def _draw(figure, table, model, scores, labels):
    from skrdae.plotting import ScoreDisplay, SeriesDisplay

    axes, detector = figure.subplots(2), _last(model)
    if isinstance(detector, WindowedDetector):
        series = (
            model[0].transform(table) if _encodes(model) else TableEncoder().fit_transform(table)
        )
        axes[0].sharex(axes[1])
        SeriesDisplay.from_predictions(
            series, scores, labels, detector.threshold_, time=np.asarray(series.index), ax=axes
        )
    else:
        flagged = labels == 1
        rows = np.arange(len(scores))
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
