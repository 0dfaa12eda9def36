"""What a command found: on the screen, in a table, as a picture."""

import importlib.util
import io
import json
import warnings
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skrdae._files import check_target, write_whole
from skrdae._typing import FloatArray, IntArray
from skrdae.commands.console import CommandError, Console, one_line
from skrdae.commands.reading import ADDED, LABEL, SCORE
from skrdae.commands.reasons import Reasons
from skrdae.tables.files import TableFile, is_parquet, table_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Of all anomalies, how many are listed for people and for programs.
_SHOWN, _LISTED = 10, 1000


@dataclass(frozen=True)
class Scored:
    """Scores of rows, or of the steps of a series.

    Parameters
    ----------
    values : DataFrame or ndarray of shape (n_steps, n_columns)
        What was scored.
    scores, labels : ndarray of shape (n_steps,)
    model : str
        The kind of detector.
    threshold : float or None
        None for a series: steps are flagged by the windows that hold them.
    order : ndarray of shape (n_rows,)
        Where in the file each row is.
    steps : ndarray of shape (n_rows,)
        Which step each row belongs to.
    times : ndarray of shape (n_steps,)
        Of a series; empty for rows.
    reasons : Reasons or None
        Why rows, or steps, are flagged, if that is wanted.
    """

    values: Any
    scores: FloatArray
    labels: IntArray
    model: str
    threshold: float | None
    order: NDArray[np.intp]
    steps: NDArray[np.intp]
    times: NDArray[Any]
    reasons: Reasons | None = None

    @property
    def row_scores(self) -> FloatArray:
        """Scores of the rows, in the order they were taken in."""
        return self.scores[self.steps]

    @property
    def row_labels(self) -> IntArray:
        """Labels of the rows, in the order they were taken in."""
        return self.labels[self.steps]

    def highest(self) -> list[dict[str, Any]]:
        """Return the rows that are flagged, the highest score first."""
        flagged = np.flatnonzero(self.row_labels == 1)
        scores = self.row_scores
        places = flagged[np.argsort(-scores[flagged], kind="stable")][:_LISTED]
        found: list[dict[str, Any]] = []
        for i in places:
            found.append({"row": int(self.order[i]), "score": float(scores[i])})
            if self.reasons is not None:
                found[-1]["reasons"] = self.reasons.of(self.steps[i])
        return found

    def stretches(self) -> list[dict[str, Any]]:
        """Return the stretches of flagged steps that hold rows, the highest score first."""
        edges = np.flatnonzero(np.diff(np.concatenate([[0], self.labels == 1, [0]]).astype(int)))
        by_step = np.argsort(self.steps, kind="stable")
        found: list[dict[str, Any]] = []
        for start, stop in edges.reshape(-1, 2):
            first, last = np.searchsorted(self.steps, [start, stop], sorter=by_step)
            if first == last:  # made up between rows
                continue
            rows = self.order[by_step[first:last]]
            found.append(
                {
                    "start": _told(self.times[start]),
                    "end": _told(self.times[stop - 1]),
                    "first_row": int(rows[0]),
                    "last_row": int(rows[-1]),
                    "score": float(np.nanmax(self.scores[start:stop])),
                }
            )
            if self.reasons is not None:
                highest = start + int(np.nanargmax(self.scores[start:stop]))
                found[-1]["reasons"] = self.reasons.of(highest)
        return sorted(found, key=lambda stretch: -stretch["score"])[:_LISTED]


def _told(time: object) -> str:
    """Return a time, or the number of a step, without the zeros of a fraction."""
    before, point, fraction = str(time).replace("T", " ").partition(".")
    return before + (point + fraction if fraction.strip("0") else "")


# ------------------------------------------------------------------- before there are results


def check_files(options: Namespace) -> None:
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
            if taken != "-" and Path(path).resolve() == Path(taken).resolve():
                raise CommandError(f"--{name} {path} would be written over {other}", 2)
        files[f"--{name}"] = path
    if options.output is not None:
        if not is_parquet(options.output) and Path(options.output).suffix.lower() != ".csv":
            raise CommandError(f"--output {options.output}: a table is .csv or .parquet", 2)
        if is_parquet(options.output):
            check_installed("--output", "pyarrow", "tables")
    if getattr(options, "save", None):
        check_installed("--save", "safetensors", "export")


def check_installed(what: str, module: str, extra: str) -> None:
    """Raise if a module is not there."""
    if importlib.util.find_spec(module) is None:
        raise CommandError(f"{what} needs {module}: pip install 'skrdae[{extra}]'")


def new_figure(options: Namespace) -> "Figure | None":
    """Return a figure if one is wanted, of a kind that can be written."""
    if options.plot is None:
        return None
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise CommandError("--plot needs matplotlib: pip install 'skrdae[plot]'") from error
    figure = Figure(figsize=(10, 5), layout="constrained")
    formats = figure.canvas.get_supported_filetypes()
    if _picture_format(options) not in formats:
        raise CommandError(f"--plot {options.plot}: a picture is .png, .pdf, .svg or .jpg", 2)
    return figure


def _picture_format(options: Namespace) -> str:
    return Path(options.plot).suffix[1:].lower()


# ------------------------------------------------------------------------------- the results


@dataclass(frozen=True)
class Report:
    """What a command prints.

    Parameters
    ----------
    contents : dict
        As JSON has it.
    """

    contents: dict[str, Any]

    @property
    def flagged(self) -> int:
        """How many rows are flagged."""
        return int(self.contents["flagged"])

    def as_json(self) -> str:
        """Return it as JSON; a number that JSON does not know becomes null."""
        clean = {
            k: None if isinstance(v, float) and not np.isfinite(v) else v
            for k, v in self.contents.items()
        }
        return json.dumps(clean, indent=2, allow_nan=False)

    def as_text(self) -> str:
        """Return it as lines for people."""
        report = self.contents
        first = f"{report['flagged']} of {report['rows']} rows flagged by {report['model']}"
        if report["threshold"] is not None:
            first += f", threshold {report['threshold']:.4g}"
        lines = [first]
        anomalies = report["anomalies"]
        if report["without_score"]:
            lines.append(f"{report['without_score']} rows have no score: no window covers them")
        if anomalies and "start" in anomalies[0]:
            reasons = "  reasons" * ("reasons" in anomalies[0])
            lines.append(f"{'from':<27}{'to':<27}{'score':>12}{reasons}")
            lines += [
                f"{a['start']:<27}{a['end']:<27}{a['score']:>12.4g}{_reasons_told(a)}"
                for a in anomalies[:_SHOWN]
            ]
        elif anomalies:
            lines.append(f"{'row':>9}{'score':>12}" + "  reasons" * ("reasons" in anomalies[0]))
            lines += [
                f"{a['row']:>9}{a['score']:>12.4g}{_reasons_told(a)}" for a in anomalies[:_SHOWN]
            ]
        if len(anomalies) > _SHOWN:
            lines.append("...")
        for name in ("output", "plot", "saved"):
            if report.get(name):
                lines.append(f"{name}: {report[name]}")
        return "\n".join(lines)


def _reasons_told(anomaly: dict[str, Any]) -> str:
    """Return why a row is flagged, in a line."""
    reasons = anomaly.get("reasons", [])
    told = ", ".join(f"{one_line(r['column'])} {r['share']:.0%}" for r in reasons)
    return f"  {told}" if told else ""


def write_results(
    options: Namespace,
    console: Console,
    file: TableFile,
    scored: Scored,
    figure: "Figure | None",
) -> Report:
    """Write what was asked for; return what there is to say.

    Everything is made first, and then written.
    """
    table = None if options.output is None else _table(options, file, scored)
    picture = None if figure is None else _picture(options, scored, figure)
    for path, content in ((options.output, table), (options.plot, picture)):
        if content is not None:
            with console.writing(path):
                write_whole(path, content)
    is_series = scored.threshold is None
    return Report(
        {
            "data": options.data,
            "model": scored.model,
            "rows": len(scored.order),
            "flagged": int((scored.row_labels == 1).sum()),
            "without_score": int(np.isnan(scored.row_scores).sum()),
            "threshold": scored.threshold,
            "anomalies": scored.stretches() if is_series else scored.highest(),
            "output": options.output,
            "plot": options.plot,
        }
    )


def _table(options: Namespace, file: TableFile, scored: Scored) -> bytes:
    as_in_file = np.argsort(scored.order)  # though rows may have been sorted by time
    columns = {SCORE: scored.row_scores[as_in_file], LABEL: scored.row_labels[as_in_file]}
    if scored.reasons is not None:
        columns |= scored.reasons.as_columns(scored.steps[as_in_file])
    if file.csv is None or is_parquet(options.output):
        return table_bytes(file.table.assign(**columns), options.output)
    # What an earlier result says of rows is not true of this one.
    earlier = [n for n in file.csv.form.names if ADDED.fullmatch(n) and n not in columns]
    return file.csv.written_with(
        columns, without=earlier, decimal=file.decimal, encoding=file.encoding
    )


def _picture(options: Namespace, scored: Scored, figure: "Figure") -> memoryview:
    import matplotlib

    name = "standard input" if options.data == "-" else Path(options.data).name
    picture = io.BytesIO()
    # What is in a name is no formula. Signs that a font lacks are drawn as boxes.
    with matplotlib.rc_context({"text.usetex": False}), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        axes = figure.subplots(2)
        if scored.threshold is None:
            _draw_series(axes, scored)
        else:
            _draw_rows(axes, scored, scored.threshold)
        figure.suptitle(name.encode(errors="replace").decode(), parse_math=False)
        try:
            figure.savefig(picture, format=_picture_format(options), dpi=130)
        except Exception as error:  # of the program that makes such pictures
            raise CommandError(f"--plot {options.plot}: such a picture cannot be made") from error
    return picture.getbuffer()


def _draw_series(axes: NDArray[np.object_], scored: Scored) -> None:
    from skrdae.plotting import SeriesDisplay

    axes[0].sharex(axes[1])
    SeriesDisplay.from_predictions(
        scored.values, scored.scores, scored.labels, time=scored.times, ax=axes
    )


def _draw_rows(axes: NDArray[np.object_], scored: Scored, threshold: float) -> None:
    from skrdae.plotting import ScoreDisplay

    scores, flagged, rows = scored.scores, scored.labels == 1, np.arange(len(scored.scores))
    axes[0].plot(rows[~flagged], scores[~flagged], ".", ms=3, color="tab:blue")
    axes[0].plot(rows[flagged], scores[flagged], ".", ms=5, color="tab:red")
    axes[0].axhline(threshold, color="0.3", ls="--", lw=1)
    axes[0].set(xlabel="row", ylabel="score", yscale="log")
    axes[0].spines[["top", "right"]].set_visible(False)
    ScoreDisplay.from_predictions(scores, threshold, ax=axes[1])
