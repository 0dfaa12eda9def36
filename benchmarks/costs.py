"""What the detectors cost, with their defaults: a table, and a series in windows.

    python benchmarks/costs.py

One thread. Seconds are those of the processor, which other work on the machine hardly changes. Each
round times every detector once, one after the other; seconds are medians of the rounds, and a ratio
is the median of the ratios within a round.
The table has 10,000 rows of 20 columns that depend on five factors. The series is a sine with
noise of 5,000 steps, in windows of 50.
"""

import argparse
import statistics
import time

import numpy as np
import torch
from pyod.models.iforest import IForest
from report import write_csv

from skrdae import (
    AnoGANDetector,
    LSTMRobustAutoencoder,
    RobustDeepAutoencoder,
    RobustDeepAutoencoderCV,
    RobustPCA,
    VAEDetector,
    WindowedDetector,
)

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
    "PyOD IForest": lambda: IForest(random_state=0),
}


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
    """Time fit and scoring of each detector, by turns."""
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
    first = found["RobustDeepAutoencoder"]
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    makers = {name: windowed(make) for name, make in SERIES.items()}
    rows = measure("series", series(), makers, arguments.rounds)
    rows += measure("table", table(), TABLE, arguments.rounds)
    write_csv("costs", rows)


if __name__ == "__main__":
    main()
