"""The ``skrdae`` command."""

import argparse
import re
import sys
import warnings
from collections.abc import Sequence
from typing import Any, Literal, NoReturn

from skrdae.commands import MODELS, as_json, as_text, detect, score
from skrdae.demo import run_demo

_EXIT_CODES = (
    "Exit status: 0 if all went well, 1 for an error, 2 for a wrong call, "
    "3 with --exit-code if a row is flagged, 130 if interrupted."
)


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with a call."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} ({self.prog} --help says more)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : list of str, optional
        Arguments; by default those of the process.

    Returns
    -------
    int
        Exit status: 0; 1 with one line on standard error; 3 with ``--exit-code`` if a row is
        flagged; 130 if interrupted.

    Raises
    ------
    SystemExit
        With status 2 and one line on standard error, if the arguments are not as they should be.
    """
    arguments = _parser().parse_args(argv)
    name = f"skrdae {arguments.command}"

    def show(message: Warning | str, *_: object, **__: object) -> None:
        _say(f"{name}: warning: {message}")

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.showwarning = show
            return arguments.run(arguments)
    except KeyboardInterrupt:
        _say(f"{name}: interrupted")
        return 130
    except BrokenPipeError:  # nobody reads on, as after `| head`
        sys.stdout = None
        return 0
    except MemoryError:
        _say(f"{name}: not enough memory for {getattr(arguments, 'data', 'that')}")
        return 1
    except (ImportError, OSError, TypeError, ValueError) as error:
        _say(f"{name}: {_in_flags(str(error))}")
        return 1
    except Exception as error:  # one line, whatever it is
        _say(f"{name}: unexpected {type(error).__name__}: {error}")
        return 1


def _in_flags(text: str) -> str:
    """Return a message of the package in terms of the command line."""
    names = "missing|categories|separator|decimal"
    text = re.sub(rf"\b([Ss]et) ({names})\b", r"\1 --\2", text)
    return re.sub(
        r"\b(?<!-)(time_column|time_format|window_size)\b",
        lambda match: "--" + match[0].replace("_", "-"),
        text,
    )


def _say(text: str) -> None:
    print(" ".join(text.split()), file=sys.stderr)


def _demo(arguments: argparse.Namespace) -> int:
    run_demo(digit=arguments.digit, seed=arguments.seed, output=arguments.output)
    return 0


def _detect(arguments: argparse.Namespace) -> int:
    return _show(arguments, detect(arguments))


def _score(arguments: argparse.Namespace) -> int:
    return _show(arguments, score(arguments))


def _show(arguments: argparse.Namespace, report: dict[str, Any]) -> int:
    print(as_json(report) if arguments.json else as_text(report), flush=True)
    return 3 if arguments.exit_code and report["flagged"] else 0


def _contamination(text: str) -> float | Literal["auto"]:
    if text != "auto" and not 0 < float(text) <= 0.5:
        raise ValueError
    return "auto" if text == "auto" else float(text)


def _window_size(text: str) -> int | Literal["auto"]:
    if text != "auto" and int(text) < 1:
        raise ValueError
    return "auto" if text == "auto" else int(text)


def _seed(text: str) -> int:
    if int(text) < 0:
        raise ValueError
    return int(text)


def _separator(text: str) -> str:
    found = {"tab": "\t", "\\t": "\t"}.get(text, text)
    if len(found) != 1:
        raise ValueError
    return found


# What argparse calls them when it refuses one.
_contamination.__name__ = "share above 0 and up to 0.5, or auto,"
_window_size.__name__ = "number of steps, or auto,"
_seed.__name__ = "whole number from 0"
_separator.__name__ = "single character, or tab,"


def _parser() -> _Parser:
    parser = _Parser(
        prog="skrdae", description="Deep, robust anomaly detection.", epilog=_EXIT_CODES
    )
    commands = parser.add_subparsers(dest="command", required=True)
    found = commands.add_parser(
        "detect",
        help="find the anomalous rows of a table, or stretches of a series",
        description="Fit a detector to a CSV or Parquet file and say which rows are anomalous.",
        epilog=_EXIT_CODES,
    )
    _add_data(found)
    found.add_argument(
        "--model",
        choices=MODELS,
        default="robust-autoencoder",
        help="the detector (default: %(default)s)",
    )
    found.add_argument(
        "--time-column",
        metavar="NAME",
        help="the file is a time series, and this column its time",
    )
    found.add_argument(
        "--time-format",
        metavar="FORMAT",
        help="how the times are written, as in '%%d.%%m.%%Y %%H:%%M' (default: found out)",
    )
    found.add_argument(
        "--window-size",
        type=_window_size,
        metavar="N",
        help="with --time-column: steps of a window, or auto for the period (default: 144)",
    )
    found.add_argument(
        "--contamination",
        type=_contamination,
        default=0.1,
        metavar="SHARE",
        help="what share of the rows (or windows) to flag, or auto (default: %(default)s)",
    )
    found.add_argument(
        "--missing",
        choices=["error", "median", "mean", "interpolate"],
        default="error",
        help="what to put where a number is missing (default: %(default)s)",
    )
    found.add_argument(
        "--categories",
        choices=["error", "one-hot", "drop"],
        default="error",
        help="what to do with columns of text (default: %(default)s)",
    )
    found.add_argument(
        "--ignore",
        action="append",
        default=[],
        metavar="NAME",
        help="a column to leave out; may be given several times",
    )
    found.add_argument(
        "--seed", type=_seed, default=0, help="of the training (default: %(default)s)"
    )
    found.add_argument("--save", metavar="FILE", help="where to keep the model, for skrdae score")
    found.add_argument("-v", "--verbose", action="store_true", help="show a progress bar")
    found.set_defaults(run=_detect)

    scored = commands.add_parser(
        "score",
        help="score a table with a model that detect has saved",
        description="Score the rows of a CSV or Parquet file with a saved model.",
        epilog=_EXIT_CODES,
    )
    scored.add_argument("model", help="file of skrdae detect --save, or of skrdae.save")
    _add_data(scored)
    scored.set_defaults(run=_score)

    demo = commands.add_parser(
        "demo",
        help="find the foreign digits among images of one digit, beside IsolationForest",
    )
    demo.add_argument("--digit", type=int, choices=range(10), default=4, help="default: 4")
    demo.add_argument("--seed", type=int, default=0, help="default: 0")
    demo.add_argument(
        "-o",
        "--output",
        default="skrdae-demo.png",
        help="where the picture goes (default: %(default)s)",
    )
    demo.set_defaults(run=_demo)
    return parser


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", help="CSV or Parquet file, with the names of the columns first")
    parser.add_argument(
        "--separator",
        type=_separator,
        default=",",
        metavar="C",
        help="between the values of a CSV file, or tab (default: ,)",
    )
    parser.add_argument(
        "--decimal",
        type=_separator,
        default=".",
        metavar="C",
        help="between the digits of its numbers (default: .)",
    )
    parser.add_argument(
        "--sort", action="store_true", help="take the steps of a series in the order of their times"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="CSV or Parquet file for the table with the columns skrdae_score and skrdae_label",
    )
    parser.add_argument("--plot", metavar="FILE", help="picture of the scores and what is flagged")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument(
        "--exit-code", action="store_true", help="exit with status 3 if a row is flagged"
    )
    parser.add_argument("--device", default="auto", help="default: %(default)s")
