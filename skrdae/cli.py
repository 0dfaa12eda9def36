"""The ``skrdae`` command.

What takes long to import is imported where Ctrl-C is handled, and once the arguments are read.
"""

import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from skrdae.commands.console import CommandError, Console


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : list of str, optional
        Arguments; by default those of the process.

    Returns
    -------
    int
        Exit status: 0; 1 with one line on standard error; 2 with one line if options do not go
        together or a file is no model; 3 with ``--exit-code`` if a row is flagged; 130 if
        interrupted.

    Raises
    ------
    SystemExit
        With status 2 and one line on standard error, if the arguments are not as they should be;
        with status 0 after ``--help`` and ``--version``.
    """
    with Console("skrdae", of_process=argv is None) as console:
        try:
            return _main(argv, console)
        except KeyboardInterrupt:
            console.interrupt_no_more()
            console.tell_interrupted()
            if argv is None:
                # Python would end by the signal itself, and libraries that were interrupted while
                # they were imported might not end at all.
                console.flush()
                os._exit(130)
            return 130


def _main(argv: Sequence[str] | None, console: Console) -> int:
    from skrdae.commands.arguments import make_parser

    arguments = make_parser().parse_args(argv)
    console.name, console.verbose = f"skrdae {arguments.command}", arguments.verbose
    try:
        return _run(arguments, console)
    except BrokenPipeError:  # nobody reads on, as after `| head`
        sys.stdout = None
        return 0
    except CommandError as error:
        console.fail(str(error))
        return error.status
    except MemoryError:
        console.fail(f"not enough memory for {getattr(arguments, 'data', 'that')}")
    except Exception as error:
        console.check()  # some libraries make other errors of KeyboardInterrupt
        console.fail(_told(error))
        if console.verbose:
            console.tell_traceback(error)
    return 1


def _run(arguments: Any, console: Console) -> int:
    if arguments.command == "demo":
        from skrdae.demo import run_demo

        console.written = None
        try:
            run_demo(digit=arguments.digit, seed=arguments.seed, output=arguments.output)
        except ValueError as error:
            raise CommandError(str(error), 2) from error
        return 0
    if arguments.command == "detect":
        from skrdae.commands.detecting import detect as run
    else:
        from skrdae.commands.scoring import score as run
    with warnings.catch_warnings():
        # What there is to say the command says itself.
        warnings.simplefilter("default" if console.verbose else "ignore")
        report = run(arguments, console)
    console.check()
    console.print_result(report.as_json() if arguments.json else report.as_text())
    return 3 if arguments.exit_code and report.flagged else 0


def _told(error: Exception) -> str:
    """Return an error in words for a shell."""
    if hasattr(error, "in_shell"):
        return str(error.in_shell())
    if isinstance(error, OSError) and error.strerror:
        reason = error.strerror[0].lower() + error.strerror[1:]
        return f"{error.filename}: {reason}" if error.filename else reason
    if isinstance(error, OSError) or (isinstance(error, ImportError) and error.name is None):
        return str(error)  # our own words
    kind = type(error).__name__
    return f"something went wrong that nobody foresaw ({kind}); -v shows it, for a report"
