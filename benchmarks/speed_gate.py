"""Hold the speed of a source tree to that of another.

    python benchmarks/speed_gate.py BEFORE AFTER

BEFORE and AFTER are folders that hold ``skrdae/``. What is timed are fits and scoring as on the
page on speed (``docs/speed.md``), without PyOD's detectors and with the largest cases left out or
made smaller. In each turn both trees get a process of its own, and the two measure each row one
after the other: several times, of which the least counts. The ratio (after to before) is the median
of the ratios within a turn. The table is printed and written to ``results/speed_gate.csv``. The
exit status is 1 if the ratio of a row is above ``--limit``, 1.05 unless told otherwise.

A tree against itself shows how far ratios wander on a machine. Where other programs run, threads
that wait for each other take much longer: set ``OMP_WAIT_POLICY=PASSIVE`` or ``--threads 1``.
"""

import argparse
import fnmatch
import os
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
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
from skrdae.metrics import roc_auc_scorer

LAYERS = (64, 32)
#: A measurement is the least of at least so many calls, over at least so many seconds.
LEAST_CALLS, LEAST_SECONDS = 2, 0.4


# ----------------------------------------------------------------------------------------- rows


def normal(n, d, dtype=float):
    return np.random.default_rng(0).standard_normal((n, d), dtype=dtype)


def plain(layers=LAYERS, batch=32, epochs=10, members=1, **options):
    """Return the plain autoencoder, λ = ∞."""
    options = {"lam": np.inf, "max_iter": 1, "n_epochs": epochs, "max_samples": 1.0} | options
    return RobustDeepAutoencoder(
        hidden_layer_sizes=layers,
        batch_size=batch,
        n_estimators=members,
        random_state=0,
        **options,
    )


def vae(batch, **options):
    sizes = {"hidden_layer_sizes": LAYERS, "latent_dim": 2, "n_epochs": 10}
    return VAEDetector(**sizes, batch_size=batch, n_estimators=1, random_state=0, **options)


def gan(**options):
    sizes = {"hidden_layer_sizes": (20, 10, 3, 10, 20), "discriminator_layer_sizes": (20, 10, 5)}
    options = {"n_estimators": 1, "random_state": 0} | options
    return AnoGANDetector(latent_dim=2, batch_size=32, n_epochs=20, **sizes, **options)


def sine(n=5000):
    return np.sin(np.arange(n) / 5) + 0.1 * np.random.default_rng(0).normal(size=n)


def csr():
    rng = np.random.default_rng(0)
    return sp.random(5000, 2000, 0.005, "csr", rng=rng, data_rvs=rng.standard_normal)


#: Name → function that prepares, and returns what is timed.
ROWS = {}


def fits(name, make, data):
    """Add a row: the fit of a detector."""

    def prepare():
        X, detector = data(), make()
        return lambda: detector.fit(X)

    ROWS[f"fit, {name}"] = prepare


def scores(name, make, data, new):
    """Add a row: ``decision_function`` of a detector that is fitted once."""

    def prepare():
        detector, X = make().fit(data()), new()
        return lambda: detector.decision_function(X)

    ROWS[f"score, {name}"] = prepare


def add_fits():
    for d in (20, 200):
        for batch in (32, 256):
            size = f"10,000 × {d}, batch {batch}"
            fits(
                f"autoencoder, {size}",
                lambda b=batch: plain(batch=b),
                lambda d=d: normal(10_000, d),
            )
            fits(f"VAE, {size}", lambda b=batch: vae(b), lambda d=d: normal(10_000, d))
    fits("AnoGAN, 1,000 × 20", gan, lambda: normal(1000, 20))
    fits("AnoGAN of 4 members, 1,000 × 20", lambda: gan(n_estimators=4), lambda: normal(1000, 20))
    for d in (5, 50, 100, 400, 800):
        name = f"autoencoder, 10,000 × {d} in single precision, batch 32"
        fits(name, plain, lambda d=d: normal(10_000, d, np.float32))
    fits(
        "autoencoder, 10,000 × 800 in single precision, batch 256",
        lambda: plain(batch=256),
        lambda: normal(10_000, 800, np.float32),
    )
    fits(
        "autoencoder 200-10, 20,000 × 784 in single precision, batch 256",
        lambda: plain((200, 10), 256, 3, scaler=None),
        lambda: np.random.default_rng(0).random((20_000, 784), np.float32),
    )
    for k in (1, 8, 64):
        name = f"{k} members, 10,000 × 20"
        fits(name, lambda k=k: plain(members=k), lambda: normal(10_000, 20))
    robust = {"lam": "auto", "max_iter": 5, "epochs": 2}
    for k in (1, 20):
        name = f"{k} members with λ of their own, 10,000 × 20"
        fits(name, lambda k=k: plain(members=k, **robust), lambda: normal(10_000, 20))
    for n in (1_000, 100_000):
        name = f"autoencoder, {n:,} × 20 in single precision, batch 128"
        fits(name, lambda: plain(batch=128), lambda n=n: normal(n, 20, np.float32))
    fits("RobustDeepAutoencoder(), 10,000 × 20", _default, lambda: normal(10_000, 20))
    fits("RobustPCA(), 10,000 × 20", RobustPCA, lambda: normal(10_000, 20))
    sparse = {"max_samples": 1.0, "random_state": 0}
    fits("RobustDeepAutoencoder, CSR", lambda: RobustDeepAutoencoder(n_estimators=2, **sparse), csr)
    fits("VAE, CSR", lambda: VAEDetector(n_estimators=2, n_epochs=2, **sparse), csr)


def _default():
    return RobustDeepAutoencoder(random_state=0)


def add_windows():
    for cell in ("lstm", "gru"):

        def recurrent(cell=cell):
            return LSTMRobustAutoencoder(
                hidden_layer_sizes=(32,),
                cell=cell,
                max_iter=1,
                n_epochs=3,
                batch_size=64,
                random_state=0,
            )

        def windowed(make=recurrent):
            return WindowedDetector(make(), window_size=50, max_windows=200)

        fits(f"{cell.upper()}, 5,000 steps in windows of 50", windowed, sine)
        scores(f"{cell.upper()}, 5,000 steps in windows of 50", windowed, sine, sine)
    fits(
        "RobustDeepAutoencoder, 5,000 steps in windows of 144",
        lambda: WindowedDetector(_default()),
        sine,
    )


def add_paths():
    for k, n_lams in ((1, 20), (8, 8)):

        def prepare(k=k, n_lams=n_lams):
            X, y = normal(500, 20), np.arange(500) % 20 == 0
            X[y] *= 3
            detector = RobustDeepAutoencoderCV(
                np.geomspace(8, 0.8, n_lams), scoring=roc_auc_scorer, n_estimators=k, random_state=0
            )
            return lambda: detector.fit(X, y)

        ROWS[f"fit, RobustDeepAutoencoderCV of {n_lams} λ, {k} members, 500 × 20"] = prepare


def add_scores():
    for d in (20, 200):
        for n in (1, 100, 1_000, 10_000, 100_000):
            scores(
                f"autoencoder, {n:,} × {d}",
                lambda: plain(epochs=1),
                lambda d=d: normal(1000, d),
                lambda n=n, d=d: normal(n, d),
            )
    few = {"n_epochs": 2, "random_state": 0}
    for n in (1, 10_000):
        name = f"VAE of 8 members, {n:,} × 20"
        scores(
            name, lambda: VAEDetector(**few), lambda: normal(1000, 20), lambda n=n: normal(n, 20)
        )
    for inference in ("encoder", "search"):
        scores(
            f"AnoGAN, {inference}, 1,000 × 20",
            lambda i=inference: gan(inference=i, n_search_iter=20),
            lambda: normal(1000, 20),
            lambda: normal(1000, 20),
        )
    short = {"max_iter": 1, "random_state": 0}
    scores("RobustDeepAutoencoder, CSR", lambda: RobustDeepAutoencoder(**short), csr, csr)


for group in (add_fits, add_windows, add_paths, add_scores):
    group()


# ------------------------------------------------------------------------------------ measuring


def answer():
    """Measure the rows that are named on standard input, and print the least seconds of each."""
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        function, times = ROWS[line.rstrip("\n")](), []
        while len(times) < LEAST_CALLS or sum(times) < LEAST_SECONDS:
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
        print(min(times), flush=True)


def started(tree, threads):
    """Return a process that imports the package from a tree and measures what it is told."""
    environment = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": str(threads)}
    return subprocess.Popen(
        [sys.executable, __file__, "--answer"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def asked(process, row):
    """Return what a process measures for a row."""
    process.stdin.write(row + "\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"The process of {process.args} ended at row {row!r}; see above.")
    return float(line)


def turn(trees, threads, rows, *, backwards):
    """Return the seconds of each row, before and after, of two new processes."""
    processes = [started(tree, threads) for tree in trees]
    order = processes[::-1] if backwards else processes
    found = {}
    try:
        for row in rows:
            seconds = {process: asked(process, row) for process in order}
            found[row] = [seconds[process] for process in processes]
    finally:
        for process in processes:
            process.stdin.close()
            process.wait()
    return found


def table(turns, rows):
    """Return the medians over the turns."""
    lines = []
    for row in rows:
        before, after = zip(*(turn[row] for turn in turns), strict=True)
        ratios = [b / a for a, b in zip(before, after, strict=True)]
        line = {"row": row, "before_ms": 1e3 * statistics.median(before)}
        line |= {"after_ms": 1e3 * statistics.median(after), "ratio": statistics.median(ratios)}
        lines.append(line | {"least_ratio": min(ratios), "largest_ratio": max(ratios)})
    return lines


def tree_of(text):
    path = Path(text).resolve()
    if not (path / "skrdae" / "__init__.py").is_file():
        raise argparse.ArgumentTypeError(f"{text} holds no skrdae/: name the folder around it.")
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=tree_of, metavar="BEFORE")
    parser.add_argument("after", type=tree_of, metavar="AFTER")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--limit", type=float, default=1.05, help="the largest ratio that passes")
    parser.add_argument("--only", metavar="PATTERN", help="some rows, of which no file is written")
    arguments = parser.parse_args()
    rows = fnmatch.filter(ROWS, arguments.only or "*")
    if not rows:
        parser.error(f"--only: no row is named {arguments.only!r}.")
    trees, begin = (arguments.before, arguments.after), time.perf_counter()
    turns = []
    for number in range(arguments.turns):
        turns.append(turn(trees, arguments.threads, rows, backwards=number % 2 == 1))
        print(f"turn {number + 1}: {time.perf_counter() - begin:.0f} s", flush=True)
    lines = table(turns, rows)
    for line in lines:
        print("{ratio:6.3f} {before_ms:10.3f} {after_ms:10.3f} ms  {row}".format(**line))
    if arguments.only is None:
        torch.set_num_threads(arguments.threads)
        sys.argv[1:3] = ["BEFORE", "AFTER"]  # the file need not say where they lie
        print(write_csv("speed_gate", lines))
    slower = [line["row"] for line in lines if line["ratio"] > arguments.limit]
    if slower:
        sys.exit(f"{len(slower)} rows are above {arguments.limit}: {'; '.join(slower)}")


if __name__ == "__main__":
    if sys.argv[1:] == ["--answer"]:
        answer()
    else:
        main()
