"""Results on disk: a CSV that says which command and versions made it."""

import csv
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

import skrdae

RESULTS = Path(__file__).parent / "results"
PICTURES = Path(__file__).parent.parent / "docs" / "images"


def write_csv(name, rows, folder=RESULTS):
    """Write rows (dicts with the same keys) below two lines of provenance; return the path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.csv"
    packages = ("skrdae", "torch", "scikit-learn", "numpy", "pyod")
    versions = ", ".join(f"{p} {_version(p)}" for p in packages)
    arguments = sys.argv[1:]
    for folder in ("--data-dir", "--also"):  # where the data lie is nobody's business
        if folder in arguments:
            at = arguments.index(folder)
            del arguments[at : at + 2]
    command = " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *arguments])
    with path.open("w", newline="") as file:
        file.write(f"# {command}\n")
        file.write(
            f"# Python {platform.python_version()}, {versions}; {platform.machine()}, "
            f"{torch.get_num_threads()} threads\n"
        )
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.4f}" if isinstance(v, float) else v for k, v in row.items()})
    return path


def read_csv(name, folder=RESULTS):
    """Read the rows that :func:`write_csv` wrote, numbers as numbers; none without the file."""
    path = folder / f"{name}.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        lines = [line for line in file if not line.startswith("#")]
    return [{k: _number(v) for k, v in row.items()} for row in csv.DictReader(lines)]


def _version(package):
    try:
        return skrdae.__version__ if package == "skrdae" else version(package)
    except PackageNotFoundError:
        return "not installed"


def _number(text):
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
