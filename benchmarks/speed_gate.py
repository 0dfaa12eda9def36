"""Hold the speed of a source tree to that of another.

    python benchmarks/speed_gate.py BEFORE AFTER

BEFORE and AFTER are folders that hold ``skrdae/``. What is timed are fits and scoring as on the
page on speed (``docs/speed.md``), without PyOD's detectors; long trainings have fewer epochs. In
each turn both trees get a process of its own. The two measure each row by turns, three times, and
the least of a process counts. A ratio (after to before) is the median of the ratios within a turn.
The table is printed and written to ``results/speed_gate.csv``, with the ratio of the processor's
time beside that of the clock. The exit status is 1 if the clock's ratio is above ``--limit`` in a
row. No turn begins that would not end within ``--minutes``.

A tree against itself shows how far ratios wander on a machine: measure on one that does nothing
else. Where other programs run, threads that wait for each other take much longer; set
``OMP_WAIT_POLICY=PASSIVE`` or ``--threads 1``, and look at the processor's time.
"""

import argparse
import fnmatch
import json
import os
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
LINE = "{ratio:6.3f} {processor_ratio:6.3f} {before_ms:10.3f} {after_ms:10.3f} ms  {row}"
#: How often the two trees take turns at a row, and the seconds of calls at a time, at least.
N_ROUNDS, LEAST_SECONDS = 3, 0.1


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
    sizes = {"hidden_layer_sizes": LAYERS, "latent_dim": 2, "n_epochs": 5}
    return VAEDetector(**sizes, batch_size=batch, n_estimators=1, random_state=0, **options)


def gan(**options):
    sizes = {"hidden_layer_sizes": (20, 10, 3, 10, 20), "discriminator_layer_sizes": (20, 10, 5)}
    options = {"n_estimators": 1, "n_epochs": 6, "random_state": 0} | options
    return AnoGANDetector(latent_dim=2, batch_size=32, **sizes, **options)


def sine(n=2000):
    return np.sin(np.arange(n) / 5) + 0.1 * np.random.default_rng(0).normal(size=n)


def csr():
    rng = np.random.default_rng(0)
    return sp.random(2000, 1000, 0.01, "csr", rng=rng, data_rvs=rng.standard_normal)


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
                lambda b=batch: plain(batch=b, epochs=5),
                lambda d=d: normal(10_000, d),
            )
            fits(f"VAE, {size}", lambda b=batch: vae(b), lambda d=d: normal(10_000, d))
    fits("AnoGAN, 1,000 × 20", gan, lambda: normal(1000, 20))
    fits(
        "AnoGAN of 4 members, 1,000 × 20",
        lambda: gan(n_estimators=4, n_epochs=2),
        lambda: normal(1000, 20),
    )
    for d in (5, 50, 100, 400, 800):
        name = f"autoencoder, 10,000 × {d} in single precision, batch 32"
        fits(name, lambda: plain(epochs=2), lambda d=d: normal(10_000, d, np.float32))
    fits(
        "autoencoder, 10,000 × 800 in single precision, batch 256",
        lambda: plain(batch=256, epochs=2),
        lambda: normal(10_000, 800, np.float32),
    )
    fits(
        "autoencoder 200-10, 20,000 × 784 in single precision, batch 256",
        lambda: plain((200, 10), 256, 1, scaler=None),
        lambda: np.random.default_rng(0).random((20_000, 784), np.float32),
    )
    for k in (1, 8, 64):
        name = f"members: {k}, 10,000 × 20"
        fits(name, lambda k=k: plain(members=k, epochs=1), lambda: normal(10_000, 20))
    robust = {"lam": "auto", "max_iter": 3, "epochs": 1}
    for k in (1, 20):
        name = f"members with λ of their own: {k}, 10,000 × 20"
        fits(name, lambda k=k: plain(members=k, **robust), lambda: normal(10_000, 20))
    for n in (1_000, 100_000):
        name = f"autoencoder, {n:,} × 20 in single precision, batch 128"
        fits(name, lambda: plain(batch=128, epochs=5), lambda n=n: normal(n, 20, np.float32))
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
                n_epochs=1,
                batch_size=64,
                random_state=0,
            )

        def windowed(make=recurrent):
            return WindowedDetector(make(), window_size=50, max_windows=100)

        fits(f"{cell.upper()}, 2,000 steps in windows of 50", windowed, sine)
        scores(f"{cell.upper()}, 2,000 steps in windows of 50", windowed, sine, sine)
    fits(
        "RobustDeepAutoencoder, 2,000 steps in windows of 144",
        lambda: WindowedDetector(_default()),
        sine,
    )


def add_paths():
    for k, n_lams in ((1, 8), (8, 2)):

        def prepare(k=k, n_lams=n_lams):
            X, y = normal(500, 20), np.arange(500) % 20 == 0
            X[y] *= 3
            detector = RobustDeepAutoencoderCV(
                np.geomspace(8, 0.8, n_lams), scoring=roc_auc_scorer, n_estimators=k, random_state=0
            )
            return lambda: detector.fit(X, y)

        ROWS[f"fit, RobustDeepAutoencoderCV of {n_lams} λ, members: {k}, 500 × 20"] = prepare


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
            lambda i=inference: gan(inference=i, n_epochs=2, n_search_iter=10),
            lambda: normal(1000, 20),
            lambda: normal(1000, 20),
        )
    short = {"max_iter": 1, "random_state": 0}
    scores("RobustDeepAutoencoder, CSR", lambda: RobustDeepAutoencoder(**short), csr, csr)


for group in (add_fits, add_windows, add_paths, add_scores):
    group()


# ------------------------------------------------------------------------------------ measuring


def answer():
    """Measure the rows that are named on standard input, and print the least times of each."""
    warnings.simplefilter("ignore")
    last, function = None, None
    for line in sys.stdin:
        row = line.rstrip("\n")
        if row != last:
            last, function = row, ROWS[row]()
        print(json.dumps(least(function)), flush=True)


def least(function):
    """Return the least seconds of some calls, by the clock and of the processor."""
    times, begin = [], time.perf_counter()
    while time.perf_counter() - begin < LEAST_SECONDS:
        start = time.perf_counter(), time.process_time()
        function()
        times.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    return [min(found) for found in zip(*times, strict=True)]


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
    """Return the least seconds that a process measures for a row, and those of the processor."""
    process.stdin.write(row + "\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"The process of {process.args} ended at row {row!r}; see above.")
    return json.loads(line)


def turn(trees, threads, rows, *, backwards):
    """Return for each row, before and after, the least times that two new processes measure."""
    processes = [started(tree, threads) for tree in trees]
    order = processes[::-1] if backwards else processes
    found = {}
    try:
        for row in rows:
            rounds = [{p: asked(p, row) for p in order} for _ in range(N_ROUNDS)]
            found[row] = [np.min([times[p] for times in rounds], axis=0) for p in processes]
    finally:
        for process in processes:
            process.stdin.close()
            process.wait()
    return found


def table(turns, rows):
    """Return the medians over the turns."""
    lines = []
    for row in rows:
        times = np.array([turn[row] for turn in turns])  # shape: (turns, 2 trees, 2 clocks)
        before, after = np.median(times[:, :, 0], axis=0)
        ratios = times[:, 1] / times[:, 0]
        line = {"row": row, "before_ms": 1e3 * before, "after_ms": 1e3 * after}
        line |= {"ratio": np.median(ratios[:, 0]), "processor_ratio": np.median(ratios[:, 1])}
        line |= {"least_ratio": ratios[:, 0].min(), "largest_ratio": ratios[:, 0].max()}
        lines.append({k: v if k == "row" else float(v) for k, v in line.items()})
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
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--limit", type=float, default=1.05, help="the largest ratio that passes")
    parser.add_argument("--only", metavar="PATTERN", help="some rows, of which no file is written")
    arguments = parser.parse_args()
    rows = fnmatch.filter(ROWS, arguments.only or "*")
    if not rows:
        parser.error(f"--only: no row is named {arguments.only!r}.")
    trees, begin = (arguments.before, arguments.after), time.perf_counter()
    turns = []
    while len(turns) < arguments.turns:
        turns.append(turn(trees, arguments.threads, rows, backwards=len(turns) % 2 == 1))
        seconds = time.perf_counter() - begin
        print(f"turn {len(turns)}: {seconds:.0f} s", flush=True)
        if seconds * (len(turns) + 1) / len(turns) > 60 * arguments.minutes:
            break
    if len(turns) < arguments.turns:
        print(f"{len(turns)} turns of {arguments.turns}: there is no time for another.")
    lines = table(turns, rows)
    for line in lines:
        print(LINE.format(**line))
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
