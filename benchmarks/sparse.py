"""Fit and scoring of a sparse matrix that would not fit into memory as a dense one.

    python benchmarks/sparse.py

50,000 rows of 20,000 columns, 0.1 % of them filled: 4 GB in single precision, 8 GB as pandas would
have it. One member; the VAE for two epochs. Each in a process of its own, whose largest resident
memory is what is told, imports included.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np
import scipy.sparse as sp
from report import write_csv

from skrdae import RobustDeepAutoencoder, VAEDetector

DETECTORS = {
    "RobustDeepAutoencoder": lambda: RobustDeepAutoencoder(
        n_estimators=1, max_samples=1.0, random_state=0
    ),
    "VAEDetector": lambda: VAEDetector(n_estimators=1, n_epochs=2, max_samples=1.0, random_state=0),
}


def run(name, n_rows, n_columns, density):
    rng = np.random.default_rng(0)
    X = sp.random(n_rows, n_columns, density, "csr", rng=rng, data_rvs=rng.standard_normal)
    X[:50] += sp.random(50, n_columns, 20 * density, "csr", rng=rng, data_rvs=rng.standard_normal)
    started = time.perf_counter()
    detector = DETECTORS[name]().fit(X)
    fitted = time.perf_counter()
    scores = detector.decision_function(X)
    return {
        "detector": name,
        "rows": n_rows,
        "columns": n_columns,
        "density": density,
        "fit_s": fitted - started,
        "score_s": time.perf_counter() - fitted,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "planted_among_the_50_highest": int((np.argsort(-scores)[:50] < 50).sum()),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--columns", type=int, default=20_000)
    parser.add_argument("--density", type=float, default=0.001)
    parser.add_argument("--one", choices=DETECTORS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sizes = arguments.rows, arguments.columns, arguments.density
    if arguments.one:
        print(json.dumps(run(arguments.one, *sizes)))
    else:
        results = []
        for name in DETECTORS:
            command = [sys.executable, *sys.argv, "--one", name]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            results.append(json.loads(done.stdout.splitlines()[-1]))
            print(results[-1], flush=True)
        write_csv("sparse", results)
