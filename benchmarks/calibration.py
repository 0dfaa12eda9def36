"""Whether new normal rows are flagged at the rate asked for, and how many discoveries are false.

    python benchmarks/calibration.py

Rates: a detector is fitted to normal rows, and as many as 5000 new ones from the same distribution
are flagged by its own threshold, the quantile of its training scores, and by the p-values of
``CalibratedDetector``. Discoveries: 100 sets of 500 new rows, of which 5 % are anomalies, flagged
by ``fdr_labels`` and by the detector's own threshold. In both, the training data may hold
anomalies.
"""

import argparse

import numpy as np
import torch
from report import write_csv
from sklearn.base import clone
from tqdm import tqdm

from skrdae import (
    AnoGANDetector,
    CalibratedDetector,
    RobustDeepAutoencoder,
    RobustPCA,
    VAEDetector,
)
from skrdae.thresholds import fdr_labels

LEVELS = (0.01, 0.05, 0.1)
DETECTORS = {
    "RobustDeepAutoencoder": RobustDeepAutoencoder(),
    "VAEDetector": VAEDetector(),
    "RobustPCA": RobustPCA(),
    "AnoGANDetector": AnoGANDetector(),
}
#: rows, columns, repetitions
SIZES = ((100, 5, 20), (1000, 20, 5), (1000, 100, 3), (10_000, 20, 2))
N_NEW = 5000


def gaussian(rng, d):
    return lambda n: rng.normal(size=(n, d))


def low_rank(rng, d):
    directions = rng.normal(size=(3, d))
    return lambda n: rng.normal(size=(n, 3)) @ directions + 0.1 * rng.normal(size=(n, d))


def heavy(rng, d):
    return lambda n: rng.standard_t(3, size=(n, d))


DATA = {"Gaussian": gaussian, "low rank": low_rank, "t, 3 degrees of freedom": heavy}


def anomalies(rng, rows, n):
    """Return rows of which a third of the values is that of other rows, and four times as large."""
    X, other = rows(n), rows(n)
    swapped = rng.random(X.shape) < 1 / 3
    return np.where(swapped, 4 * other, X)


def rates():
    """Yield the rate of each detector on each kind of data."""
    cases = [(data, size, name) for data in DATA for size in SIZES for name in DETECTORS]
    for data, (n, d, n_times), name in tqdm(cases, desc="rates"):
        if name == "AnoGANDetector" and n * d > 20_000:
            continue  # minutes, and nothing new
        own, calibrated = [], []
        for seed in range(n_times):
            rng = np.random.default_rng(seed)
            rows = DATA[data](rng, d)
            X, new = rows(n), rows(N_NEW)
            detector = clone(DETECTORS[name])
            if "random_state" in detector.get_params():
                detector.set_params(random_state=seed)
            detector.fit(X)
            scores = detector.decision_function(new)
            own.append(
                [(scores > np.quantile(detector.decision_scores_, 1 - a)).mean() for a in LEVELS]
            )
            fitted = CalibratedDetector(clone(DETECTORS[name]), random_state=seed).fit(X)
            p_values = fitted.p_values(new)
            calibrated.append([(p_values <= a).mean() for a in LEVELS])
        for threshold, found in (("own", own), ("calibrated", calibrated)):
            for level, mean in zip(LEVELS, np.mean(found, axis=0), strict=True):
                error = np.sqrt(level * (1 - level) * (1 / n + 1 / N_NEW) / n_times)
                yield {
                    "data": data,
                    "rows": n,
                    "columns": d,
                    "detector": name,
                    "threshold": threshold,
                    "level": level,
                    "rate": float(mean),
                    "errors_from_level": float((mean - level) / error),
                    "repetitions": n_times,
                }


def discoveries(n_sets):
    """Yield the share of false discoveries, and of anomalies found."""
    for contaminated in (0.0, 0.1):
        found = {"fdr_labels": [], "own threshold": [], "p-values": []}
        for seed in tqdm(range(n_sets), desc=f"discoveries, {contaminated:.0%} contaminated"):
            rng = np.random.default_rng(seed)
            rows = low_rank(rng, 10)
            X = rows(1000)
            n_planted = int(contaminated * len(X))
            X[:n_planted] = anomalies(rng, rows, n_planted)
            new, y = rows(500), np.arange(500) < 25
            new[y] = anomalies(rng, rows, 25)
            detector = RobustDeepAutoencoder(contamination=0.05, random_state=seed)
            flagged = {"own threshold": detector.fit(X).predict(new) == 1}
            calibrated = CalibratedDetector(RobustDeepAutoencoder(), random_state=seed).fit(X)
            p_values = calibrated.p_values(new)
            flagged["fdr_labels"] = fdr_labels(p_values, max_fdr=0.1) == 1
            flagged["p-values"] = p_values <= 0.05
            for name, mask in flagged.items():
                false = (mask & ~y).sum() / max(mask.sum(), 1)
                found[name].append((false, mask[y].mean(), mask[~y].mean()))
        for name, values in found.items():
            false, power, rate = np.mean(values, axis=0)
            yield {
                "contamination of the training data": contaminated,
                "labels": name,
                "false_discoveries": float(false),
                "anomalies_found": float(power),
                "normal_flagged": float(rate),
                "sets": n_sets,
            }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=100)
    parser.add_argument("--parts", nargs="+", default=["discoveries", "rates"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name, made in (("discoveries", discoveries(arguments.sets)), ("rates", rates())):
        if name not in arguments.parts:
            continue
        rows = list(made)
        write_csv(f"calibration_{name}", rows)
        for row in rows:
            print(*row.values(), sep="  ")


if __name__ == "__main__":
    main()
