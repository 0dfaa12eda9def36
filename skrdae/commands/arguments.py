"""Options of the ``skrdae`` command. Nothing here takes long to import."""

import argparse
import codecs
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal, NoReturn, TypeVar

from skrdae._version import __version__

_T = TypeVar("_T")

#: What ``--model`` may be, and the detectors it stands for.
MODELS = {
    "robust-autoencoder": "RobustDeepAutoencoder",
    "robust-pca": "RobustPCA",
    "vae": "VAEDetector",
    "anogan": "AnoGANDetector",
    "lstm": "LSTMRobustAutoencoder",
    "transformer": "TransformerRobustAutoencoder",
    "usad": "USADDetector",
    "lstm-vae": "LSTMVAEDetector",
    "omni-anomaly": "OmniAnomalyDetector",
}
#: Those that look at windows, and so at nothing but series.
WINDOW_MODELS = ("lstm", "transformer", "usad", "lstm-vae", "omni-anomaly")
_EXIT_CODES = (
    "Exit status: 0 if all went well, 1 for an error, 2 for a wrong call or a file that is no "
    "model, 3 with --exit-code if a row is flagged, 130 if interrupted."
)
# Beyond which no random generator can be started.
_LARGEST_SEED = 2**32 - 1


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with a call."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        message = " ".join(message.split())
        self.exit(2, f"{self.prog}: {message} ({self.prog} --help says more)\n")


def _takes(what: str) -> Callable[[Callable[[str], _T]], Callable[[str], _T]]:
    """Let a converter of an argument say what it has to be."""

    def decorate(convert: Callable[[str], _T]) -> Callable[[str], _T]:
        def take(text: str) -> _T:
            try:
                return convert(text)
            except (ValueError, LookupError):
                raise argparse.ArgumentTypeError(f"{text!r} is not {what}") from None

        return take

    return decorate


@_takes("a share above 0 and up to 0.5, or auto")
def _contamination(text: str) -> float | Literal["auto"]:
    if text != "auto" and not 0 < float(text) <= 0.5:
        raise ValueError
    return "auto" if text == "auto" else float(text)


@_takes("a number of steps, or auto")
def _window_size(text: str) -> int | Literal["auto"]:
    if text != "auto" and int(text) < 1:
        raise ValueError
    return "auto" if text == "auto" else int(text)


@_takes("a whole number from 0")
def _count(text: str) -> int:
    if int(text) < 0:
        raise ValueError
    return int(text)


@_takes(f"a whole number from 0 to {_LARGEST_SEED}")
def _seed(text: str) -> int:
    if not 0 <= int(text) <= _LARGEST_SEED:
        raise ValueError
    return int(text)


@_takes("a single character, tab or space")
def _separator(text: str) -> str:
    found = {"tab": "\t", "\\t": "\t", "space": " "}.get(text, text)
    if len(found) != 1 or not (found.isprintable() or found == "\t") or found == '"':
        raise ValueError
    return found


@_takes("a single mark")
def _mark(text: str) -> str:
    found = {"space": " "}.get(text, text)
    if len(found) != 1 or found.isalnum() or found in '+-"':
        raise ValueError
    return found


@_takes("a single mark, or none")
def _thousands(text: str) -> str:
    return text if text == "none" else _mark(text)


@_takes("an encoding, such as cp1252")
def _encoding(text: str) -> str:
    "".encode(text)
    return codecs.lookup(text).name


@_takes("a time with its unit (us, ms, s, min, h, d), a number, or auto")
def _step(text: str) -> str:
    found = re.fullmatch(r"(\d+(?:\.\d+)?|) *(us|ms|s|min|h|d|)", text)
    if text != "auto" and (not text or not found or (found[1] and not float(found[1]) > 0)):
        raise ValueError
    return text


@_takes("a form of times")
def _time_format(text: str) -> str:
    try:
        datetime.strptime("", text)
    except re.error:  # a directive twice
        raise ValueError from None
    except ValueError as error:
        if any(word in str(error) for word in ("directive", "stray")):
            raise
    return text


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = _Parser(
        prog="skrdae", description="Deep, robust anomaly detection.", epilog=_EXIT_CODES
    )
    parser.add_argument("--version", action="version", version=f"skrdae {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    found = commands.add_parser(
        "detect",
        help="find the anomalous rows of a table, or stretches of a series",
        description="Fit a detector to a CSV or Parquet file and say which rows are anomalous.",
        epilog=_EXIT_CODES,
    )
    _add_file(found)
    _add_detect(found)
    _add_results(found)
    scored = commands.add_parser(
        "score",
        help="score a table with a model that detect has saved",
        description="Score the rows of a CSV or Parquet file with a saved model. The model keeps "
        "what detect was told with --time-column, --time-format, --missing, --categories, "
        "--ignore, --keep, --resample, --max-gap, --ignore-gaps, --window-size, --model, "
        "--contamination and --seed, so score does not have these options, nor --save. All other "
        "options are those of detect.",
        epilog=_EXIT_CODES,
    )
    scored.add_argument("model", help="file of skrdae detect --save, or of skrdae.save")
    _add_file(scored)
    _add_results(scored)
    _add_demo(commands)
    return parser


def _add_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", help="CSV or Parquet file; - for standard input")
    file = parser.add_argument_group(
        "how the file is written",
        "What you do not give is found out, and a line on standard error says so.",
    )
    file.add_argument(
        "--separator",
        type=_separator,
        metavar="C",
        help="what stands between the values of a CSV file: a character, tab or space",
    )
    file.add_argument(
        "--decimal", type=_mark, metavar="C", help="the decimal mark of its numbers: . or ,"
    )
    file.add_argument(
        "--thousands",
        type=_thousands,
        metavar="C",
        help="what stands between groups of three digits, as in 1,234.5 or 1.234,5; none if "
        "nothing does",
    )
    file.add_argument(
        "--encoding",
        type=_encoding,
        default="utf-8",
        metavar="NAME",
        help="how its text is encoded, such as cp1252 (default: %(default)s)",
    )
    file.add_argument(
        "--header",
        action=argparse.BooleanOptionalAction,
        help="whether the first line holds the names of the columns; without them they are called "
        "column_1, column_2 and so on",
    )
    file.add_argument(
        "--skip-lines",
        type=_count,
        default=0,
        metavar="N",
        help="lines before the table to leave out (default: %(default)s)",
    )
    file.add_argument(
        "--na",
        action="append",
        default=[],
        metavar="TEXT",
        help="a text that means that a value is missing, such as -999 or ERR, besides NA, - and "
        "the like; may be given several times",
    )


def _add_detect(found: argparse.ArgumentParser) -> None:
    columns = found.add_argument_group("columns")
    columns.add_argument(
        "--missing",
        choices=["error", "median", "mean", "interpolate"],
        default="error",
        help="what to put where a number is missing (default: %(default)s)",
    )
    columns.add_argument(
        "--categories",
        choices=["error", "one-hot", "drop"],
        default="error",
        help="what to do with columns of text (default: %(default)s)",
    )
    columns.add_argument(
        "--ignore",
        action="append",
        default=[],
        metavar="NAME",
        help="a column to leave out; may be given several times",
    )
    columns.add_argument(
        "--keep",
        action="append",
        default=[],
        metavar="NAME",
        help="a column to look at although it only numbers the rows; may be given several times",
    )
    series = found.add_argument_group("series")
    series.add_argument(
        "--time-column",
        action="append",
        default=[],
        metavar="NAME",
        help="the rows are steps of a series, and this column is their time; given several times, "
        "as for day and hour, the columns are joined",
    )
    series.add_argument(
        "--time-format",
        type=_time_format,
        metavar="FORMAT",
        help="how the times are written, as in '%%d.%%m.%%Y %%H:%%M', or 'epoch s' for seconds "
        "since 1970, also ms, us, ns (default: found out)",
    )
    series.add_argument(
        "--window-size",
        type=_window_size,
        metavar="N",
        help="steps of a window, or auto for the period (default: 144)",
    )
    gaps = series.add_mutually_exclusive_group()
    gaps.add_argument(
        "--resample",
        type=_step,
        metavar="STEP",
        help="put the rows on an even grid: steps of 1s, 5min or the like, or auto for the usual "
        "one. Rows of one step are averaged, short gaps are interpolated",
    )
    gaps.add_argument(
        "--ignore-gaps",
        action="store_true",
        help="let each row follow the one before, however much time lies between",
    )
    series.add_argument(
        "--max-gap",
        type=_count,
        metavar="N",
        help="with --resample: steps in a row that are interpolated; a longer gap stays one "
        "(default: 5)",
    )
    training = found.add_argument_group("training")
    training.add_argument(
        "--model",
        choices=MODELS,
        default="robust-autoencoder",
        help=f"the detector (default: %(default)s); {', '.join(WINDOW_MODELS)} only for series",
    )
    training.add_argument(
        "--contamination",
        type=_contamination,
        default=0.1,
        metavar="SHARE",
        help="what share of the rows (or windows) to flag, or auto (default: %(default)s)",
    )
    training.add_argument(
        "--seed",
        type=_seed,
        default=0,
        metavar="N",
        help="of random numbers (default: %(default)s)",
    )
    training.add_argument(
        "--save", metavar="FILE", help="where to keep the model, for skrdae score"
    )


def _add_results(parser: argparse.ArgumentParser) -> None:
    results = parser.add_argument_group("results")
    results.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="CSV or Parquet file for the table with the columns skrdae_score and skrdae_label",
    )
    results.add_argument("--plot", metavar="FILE", help="picture of the scores and what is flagged")
    results.add_argument(
        "--explain",
        action="store_true",
        help="name the columns that count most in the score of each flagged row, with their "
        "shares of it",
    )
    results.add_argument("--json", action="store_true", help="print the result as JSON")
    results.add_argument(
        "--exit-code", action="store_true", help="exit with status 3 if a row is flagged"
    )
    parser.add_argument(
        "--sort",
        action="store_true",
        help="take the rows of a series in the order of their times; --output keeps that of the "
        "file",
    )
    parser.add_argument(
        "--device", default="auto", help="cpu, cuda, mps or the like (default: %(default)s)"
    )
    parser.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="show a progress bar, and what Python says of errors and warnings",
    )


def _add_demo(commands: Any) -> None:
    demo = commands.add_parser(
        "demo",
        help="find the foreign digits among images of one digit, beside IsolationForest",
        epilog=_EXIT_CODES,
    )
    demo.add_argument("--digit", type=int, choices=range(10), default=4, help="default: 4")
    demo.add_argument("--seed", type=_seed, default=0, help="default: 0")
    demo.add_argument(
        "-o",
        "--output",
        default="skrdae-demo.png",
        help="where the picture goes (default: %(default)s)",
    )
    demo.set_defaults(verbose=False)
