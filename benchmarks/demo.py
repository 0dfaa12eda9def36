"""The table that ``python -m skrdae demo`` prints, as a CSV.

    python benchmarks/demo.py

Needs no data but those of scikit-learn. The picture is thrown away.
"""

import tempfile
from pathlib import Path

import torch
from report import write_csv

from skrdae.demo import run_demo


def main():
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = run_demo(output=Path(folder, "demo.png"))
    write_csv("demo", rows)


if __name__ == "__main__":
    main()
