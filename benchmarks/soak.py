"""Two hundred fits and two thousand scorings in one process: what is left behind.

    python benchmarks/soak.py

Resident memory, threads and open files are taken after a tenth of the work, when all that is made
once has been made, and at the end. Then eight threads score one fitted detector at once.
"""

import argparse
import gc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
from report import write_csv

from skrdae import AnoGANDetector, LSTMRobustAutoencoder, RobustDeepAutoencoder, VAEDetector

DETECTORS = {
    "RobustDeepAutoencoder": lambda seed: RobustDeepAutoencoder(random_state=seed),
    "VAEDetector": lambda seed: VAEDetector(random_state=seed),
    "AnoGANDetector": lambda seed: AnoGANDetector(
        n_epochs=5, n_encoder_epochs=5, random_state=seed
    ),
    "LSTMRobustAutoencoder": lambda seed: LSTMRobustAutoencoder(max_iter=2, random_state=seed),
}


def taken():
    gc.collect()
    process = psutil.Process()
    return {
        "rss_mb": process.memory_info().rss / 2**20,
        "threads": process.num_threads(),
        "files": process.num_fds() if hasattr(process, "num_fds") else 0,
    }


def run(name, n_fits, n_scorings):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 3)) @ rng.normal(size=(3, 10)) + 0.1 * rng.normal(size=(2000, 10))
    sizes = (1, 7, 100, 2000)
    per_fit, before, n_done = n_scorings // n_fits, None, 0
    for seed in range(n_fits):
        # Of several sizes, so that buffers do not simply fit.
        rows = X[: 500 + 1500 * (seed % 3) // 2]
        detector = DETECTORS[name](seed).fit(rows)
        for i in range(per_fit):
            detector.decision_function(X[: sizes[i % len(sizes)]])
            n_done += 1
        if seed == n_fits // 10:
            before = taken()
    after = taken()
    expected = detector.decision_function(X)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: detector.decision_function(X), range(64)))
    return {
        "detector": name,
        "fits": n_fits,
        "scorings": n_done,
        "rss_mb_before": before["rss_mb"],
        "rss_mb_after": after["rss_mb"],
        "growth_percent": 100 * (after["rss_mb"] / before["rss_mb"] - 1),
        "threads_before": before["threads"],
        "threads_after": after["threads"],
        "files_before": before["files"],
        "files_after": after["files"],
        "eight_threads_equal": all(np.array_equal(f, expected) for f in found),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fits", type=int, default=200)
    parser.add_argument("--scorings", type=int, default=2000)
    arguments = parser.parse_args()
    results = []
    for name in DETECTORS:
        results.append(run(name, arguments.fits, arguments.scorings))
        print(results[-1], flush=True)
    write_csv("soak", results)
