"""Fits that are killed at random moments, and gone on with.

    python benchmarks/kills.py --kills 60

Each fit writes its state to a file (``checkpoint_path``) and is killed (SIGKILL) after a time drawn
at random, up to that of a whole fit. It is then begun anew, and killed again with even odds, until
it ends; its scores must be those of a fit that nobody killed, to the last bit. Every process is a
fork of one that has fitted nothing.
"""

import argparse
import multiprocessing
import os
import signal
import tempfile
import time
from pathlib import Path

import numpy as np
from report import write_csv

from skrdae import AnoGANDetector, LSTMRobustAutoencoder, RobustDeepAutoencoder, VAEDetector

DETECTORS = {
    "RobustDeepAutoencoder": lambda **o: RobustDeepAutoencoder(max_iter=40, **o),
    "VAEDetector": lambda **o: VAEDetector(n_epochs=60, **o),
    "AnoGANDetector": lambda **o: AnoGANDetector(n_epochs=10, n_encoder_epochs=10, **o),
    "LSTMRobustAutoencoder": lambda **o: LSTMRobustAutoencoder(max_iter=6, **o),
}


def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1500, 3)) @ rng.normal(size=(3, 12)) + 0.1 * rng.normal(size=(1500, 12))
    X[:30] += rng.normal(scale=4, size=(30, 12))
    return X


def fit(name, path, out):
    detector = DETECTORS[name](random_state=0, checkpoint_path=path)
    np.save(out, detector.fit(rows()).decision_function(rows()))


def start(name, folder):
    process = multiprocessing.get_context("fork").Process(
        target=fit, args=(name, folder / "checkpoint", folder / "scores.npy")
    )
    process.start()
    return process


def run(n_kills, seed):
    rng = np.random.default_rng(seed)
    results = []
    for name in DETECTORS:
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            started = time.perf_counter()
            start(name, folder).join()
            whole, seconds = np.load(folder / "scores.npy"), time.perf_counter() - started
            kills = found = equal = fits = 0
            while kills < -(-n_kills // len(DETECTORS)):
                (folder / "scores.npy").unlink()
                wants_kill, resumed = True, 0
                while not (folder / "scores.npy").exists():
                    resumed += (folder / "checkpoint").exists()
                    process = start(name, folder)
                    if wants_kill:
                        process.join(rng.uniform(0, seconds))
                        if process.is_alive():
                            os.kill(process.pid, signal.SIGKILL)
                            kills += 1
                    process.join()
                    wants_kill = rng.random() < 0.5
                fits += 1
                found += resumed
                equal += np.array_equal(np.load(folder / "scores.npy"), whole)
            results.append(
                {
                    "detector": name,
                    "kills": kills,
                    "fits": fits,
                    "gone_on_from_a_checkpoint": found,
                    "equal_to_the_last_bit": equal,
                    "files_left": len(list(folder.iterdir())) - 1,
                }
            )
            print(results[-1], flush=True)
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    write_csv("kills", run(arguments.kills, arguments.seed))
