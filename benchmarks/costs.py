"""What the detectors cost: a table, a series in windows, images.

    python benchmarks/costs.py            # all three
    python benchmarks/costs.py images     # one; what was measured of the others stays
    python benchmarks/costs.py --detectors AnoGANDetector    # the same, beside the first of a part

One thread. Seconds are those of the processor, which other work on the machine hardly changes. Each
round times every detector once, one after the other; seconds are medians of the rounds, and a ratio
is the median of the ratios within a round.
The table has 10,000 rows of 20 columns that depend on five factors. The series is a sine with
noise of 5,000 steps, in windows of 50. The images are the 1,797 digits of scikit-learn, 64 pixels
in [0, 1]. On table and series the detectors have their defaults, on images the longer trainings
that the documentation advises.
"""

import argparse
import statistics
import time

import numpy as np
import torch
from pyod.models.iforest import IForest
from report import read_csv, write_csv
from sklearn.datasets import load_digits

from skrdae import (
    AnoGANDetector,
    LSTMRobustAutoencoder,
    LSTMVAEDetector,
    OmniAnomalyDetector,
    RobustDeepAutoencoder,
    RobustDeepAutoencoderCV,
    RobustPCA,
    TransformerRobustAutoencoder,
    USADDetector,
    VAEDetector,
    WindowedDetector,
)

FIRST = "RobustDeepAutoencoder"  # with which the others are compared
TABLE = {
    "RobustDeepAutoencoder": lambda: RobustDeepAutoencoder(random_state=0),
    "RobustPCA": RobustPCA,
    "VAEDetector": lambda: VAEDetector(random_state=0),
    "AnoGANDetector": lambda: AnoGANDetector(random_state=0),
    "AnoGANDetector, search": lambda: AnoGANDetector(inference="search", random_state=0),
    "RobustDeepAutoencoderCV": lambda: RobustDeepAutoencoderCV(random_state=0),
    "PyOD IForest": lambda: IForest(random_state=0),
}
SERIES = {
    "RobustDeepAutoencoder": lambda: RobustDeepAutoencoder(random_state=0),
    "LSTMRobustAutoencoder": lambda: LSTMRobustAutoencoder(random_state=0),
    "LSTMRobustAutoencoder, GRU": lambda: LSTMRobustAutoencoder(cell="gru", random_state=0),
    "TransformerRobustAutoencoder": lambda: TransformerRobustAutoencoder(random_state=0),
    "USADDetector": lambda: USADDetector(random_state=0),
    "LSTMVAEDetector": lambda: LSTMVAEDetector(random_state=0),
    "OmniAnomalyDetector": lambda: OmniAnomalyDetector(random_state=0),
    "PyOD IForest": lambda: IForest(random_state=0),
}
PIXELS = {"scaler": None, "random_state": 0}
IMAGES = {
    "RobustDeepAutoencoder": lambda: RobustDeepAutoencoder(max_iter=10, n_epochs=10, **PIXELS),
    "VAEDetector": lambda: VAEDetector(likelihood="bernoulli", n_epochs=100, **PIXELS),
    "AnoGANDetector": lambda: AnoGANDetector(
        output_activation="sigmoid", n_epochs=200, n_encoder_epochs=100, **PIXELS
    ),
    "PyOD IForest": lambda: IForest(random_state=0),
}


def images():
    """Return the digits of scikit-learn."""
    return load_digits().data / 16


def table():
    """Return 10,000 rows that depend on five factors."""
    rng = np.random.default_rng(0)
    factors, loadings = rng.normal(size=(10_000, 5)), rng.normal(size=(5, 20))
    return np.tanh(factors @ loadings) + 0.1 * rng.normal(size=(10_000, 20))


def series():
    """Return a sine with noise."""
    rng = np.random.default_rng(0)
    return np.sin(2 * np.pi * np.arange(5_000) / 50) + 0.1 * rng.normal(size=5_000)


def windowed(make):
    """Return a function that makes the detector, in windows."""
    return lambda: WindowedDetector(make(), window_size=50)


def measure(data, X, makers, rounds):
    """Time fit and scoring of each detector, by turns; the first is RobustDeepAutoencoder."""
    for make in makers.values():
        make().fit(X[:500])  # compiles
    found = {name: [] for name in makers}
    for _ in range(rounds):
        for name, make in makers.items():
            start = time.process_time()
            detector = make().fit(X)
            fitted = time.process_time()
            detector.decision_function(X)
            found[name].append((fitted - start, time.process_time() - fitted))
    rows = []
    first = found[FIRST]
    for name, times in found.items():
        ratios = [mine[0] / robust[0] for mine, robust in zip(times, first, strict=True)]
        rows.append(
            {
                "data": data,
                "rows": len(X),
                "columns": X.shape[1] if X.ndim == 2 else 1,
                "detector": name,
                "fit_s": statistics.median(fit for fit, _ in times),
                "score_s": statistics.median(score for _, score in times),
                "times_robust": statistics.median(ratios),
            }
        )
        print(*rows[-1].values(), flush=True)
    return rows


PARTS = {"series": (series, SERIES), "table": (table, TABLE), "images": (images, IMAGES)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="?", default="all", choices=["all", *PARTS])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--detectors", nargs="+", metavar="NAME", help="of these only new figures are kept"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    parts = list(PARTS) if arguments.part == "all" else [arguments.part]
    rows = read_csv("costs")
    for part in parts:
        make_data, makers = PARTS[part]
        if part == "series":
            makers = {name: windowed(make) for name, make in makers.items()}
        kept = arguments.detectors or list(makers)
        if not makers.keys() & set(kept):
            continue
        makers = {name: make for name, make in makers.items() if name in (FIRST, *kept)}
        found = measure(part, make_data(), makers, arguments.rounds)
        places = {(row["data"], row["detector"]): place for place, row in enumerate(rows)}
        for row in found:
            place = places.get((part, row["detector"]))
            if row["detector"] in kept and place is not None:
                rows[place] = row
            elif row["detector"] in kept:
                rows.append(row)
    write_csv("costs", rows)


if __name__ == "__main__":
    main()
