"""The ``skrdae`` command."""

import argparse
import sys

from skrdae.demo import run_demo


def main(argv=None):
    """Run the command line.

    Parameters
    ----------
    argv : list of str, optional
        Arguments; by default those of the process.

    Returns
    -------
    int
        Exit status: 0, or 1 with one line on standard error.
    """
    parser = argparse.ArgumentParser(prog="skrdae", description="Deep, robust anomaly detection.")
    commands = parser.add_subparsers(dest="command", required=True)
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
    arguments = parser.parse_args(argv)
    try:
        run_demo(digit=arguments.digit, seed=arguments.seed, output=arguments.output)
    except (ImportError, OSError, ValueError) as error:
        print(f"skrdae {arguments.command}: {error}", file=sys.stderr)
        return 1
    return 0
