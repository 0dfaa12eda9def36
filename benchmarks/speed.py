"""Speed and memory beside PyOD's deep detectors and beside what the machine can do.

    python benchmarks/speed.py fit       # AutoEncoder, VAE, AnoGAN, DeepSVDD: the same layers
    python benchmarks/speed.py score     # rows a second, from a single row up
    python benchmarks/speed.py members   # one network to 64, and 20 λ
    python benchmarks/speed.py rows      # 1,000 to 1,000,000 rows: time and memory
    python benchmarks/speed.py columns   # 5 to 800 columns: share of the rate of matrix products
    python benchmarks/speed.py mapped    # a file of rows: memory
    python benchmarks/speed.py plot      # the pictures, from the CSVs

Within a part everything is measured in one run on two threads. What is compared takes turns, five
of them, and a figure is the median over the turns: of the seconds, and of the ratios within a turn.
PyOD's detectors have the same layers, epochs and batch size as ours; "bare" is its AutoEncoder
without the batch normalisation and dropout that it has by default. Ours is one member with λ = ∞,
the plain autoencoder, which is what PyOD's is.

A fit's arithmetic is taken for 6 operations a weight, row and epoch, and 2 a weight and row for
each of two passes over the rows at the end. The machine's rate is that of a 2048 × 2048 product in
single precision, measured in every turn. Memory is measured in a process of its own: the most that
it held during the fit, less what it held before.
"""

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import torch
from datasets import add_data_argument, load_mnist
from pyod.models.anogan import AnoGAN
from pyod.models.auto_encoder import AutoEncoder
from pyod.models.deep_svdd import DeepSVDD
from pyod.models.vae import VAE
from report import PICTURES, read_csv, write_csv

from skrdae import AnoGANDetector, RobustDeepAutoencoder, VAEDetector

N_TURNS, THREADS = 5, 2
LAYERS = (64, 32)


def ours(layers=LAYERS, batch=32, epochs=10, members=1, **options):
    options = {"lam": np.inf, "max_iter": 1, "n_epochs": epochs, "max_samples": 1.0} | options
    return RobustDeepAutoencoder(
        hidden_layer_sizes=layers,
        batch_size=batch,
        n_estimators=members,
        random_state=0,
        **options,
    )


def theirs(layers=LAYERS, batch=32, epochs=10, **options):
    return AutoEncoder(
        hidden_neuron_list=list(layers), batch_size=batch, epoch_num=epochs, verbose=0, **options
    )


BARE = {"batch_norm": False, "dropout_rate": 0.0}


def normal(n, d):
    X = np.empty((n, d), np.float32)
    for start in range(0, n, 10_000):
        part = X[start : start + 10_000]
        part[:] = np.random.default_rng(start).normal(size=part.shape)
    return X


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def take_turns(functions):
    """Return the times of each function, an entry a turn."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for function in functions[1:]:
            function()
        turns = [[seconds(function) for function in functions] for _ in range(N_TURNS)]
    return list(zip(*turns, strict=True))


def median_ratio(a, b):
    return statistics.median(x / y for x, y in zip(a, b, strict=True))


# ---------------------------------------------------------------------------------------- parts


def fit(_):
    rows = []

    def compare(name, n, d, batch, reference, own):
        X = np.random.default_rng(0).normal(size=(n, d))
        slow, fast = take_turns([lambda: reference().fit(X), lambda: own().fit(X)])
        row = {"pyod": name, "rows": n, "columns": d, "batch": batch}
        row |= {"pyod_s": statistics.median(slow), "ours_s": statistics.median(fast)}
        rows.append(row | {"ratio": median_ratio(slow, fast)})
        print(rows[-1], flush=True)

    def vae(batch):
        return VAE(
            encoder_neuron_list=list(LAYERS),
            decoder_neuron_list=list(LAYERS[::-1]),
            latent_dim=2,
            epoch_num=10,
            batch_size=batch,
            verbose=0,
        )

    def own_vae(batch):
        return VAEDetector(
            hidden_layer_sizes=LAYERS,
            latent_dim=2,
            n_epochs=10,
            batch_size=batch,
            n_estimators=1,
            random_state=0,
        )

    def svdd(d, batch):
        return DeepSVDD(
            n_features=d, hidden_neurons=list(LAYERS), epochs=10, batch_size=batch, verbose=0
        )

    def own_gan():
        return AnoGANDetector(
            latent_dim=2,
            hidden_layer_sizes=(20, 10, 3, 10, 20),
            discriminator_layer_sizes=(20, 10, 5),
            n_epochs=20,
            batch_size=32,
            n_estimators=1,
            random_state=0,
        )

    for d in (20, 200):
        for batch in (32, 256):
            own, case = partial(ours, batch=batch), (10_000, d, batch)
            compare("AutoEncoder", *case, partial(theirs, batch=batch), own)
            compare("AutoEncoder, bare", *case, partial(theirs, batch=batch, **BARE), own)
            compare("VAE", *case, partial(vae, batch), partial(own_vae, batch))
        compare("DeepSVDD", 10_000, d, 32, partial(svdd, d, 32), ours)
    compare("AnoGAN", 1_000, 20, 32, lambda: AnoGAN(epochs=20, batch_size=32), own_gan)
    write_csv("speed_fit", rows)


def score(_):
    rows = []
    for d in (20, 200):
        X = np.random.default_rng(0).normal(size=(10_000, d))
        fits = [theirs(epochs=1).fit(X), ours(epochs=1).fit(X)]
        for n in (1, 100, 1_000, 10_000, 100_000):
            Y, repeats = normal(n, d).astype(float), max(1, 2_000 // n)

            def often(detector, Y=Y, repeats=repeats):
                for _ in range(repeats):
                    detector.decision_function(Y)

            slow, fast = take_turns([lambda f=f: often(f) for f in fits])
            row = {"columns": d, "rows": n}
            for name, times in (("pyod", slow), ("ours", fast)):
                row[f"{name}_ms"] = 1e3 * statistics.median(times) / repeats
            row["rows_per_second"] = n / row["ours_ms"] * 1e3
            rows.append(row | {"ratio": median_ratio(slow, fast)})
            print(rows[-1], flush=True)
    write_csv("speed_score", rows)


def members(_):
    X, rows = np.random.default_rng(0).normal(size=(10_000, 20)), []
    cases = [(k, {}) for k in (1, 2, 4, 8, 16, 32, 64)]
    # Five outer iterations; with more than one member lam="auto" gives each a λ of its own.
    robust = {"lam": "auto", "max_iter": 5, "epochs": 2}
    cases += [(1, robust), (20, robust)]
    times = take_turns([lambda k=k, o=o: ours(members=k, **o).fit(X) for k, o in cases])
    for (k, options), found in zip(cases, times, strict=True):
        one = times[len(cases) - 2] if options else times[0]
        row = {"members": k, "each_a_lam": bool(options), "seconds": statistics.median(found)}
        rows.append(row | {"times_one": median_ratio(found, one)})
        print(rows[-1], flush=True)
    write_csv("speed_members", rows)


def rows(_):
    table = []
    for n in (1_000, 10_000, 100_000, 1_000_000):
        found = [in_a_process("one_fit", n, 20, "ours") for _ in range(N_TURNS)]
        row = {"rows": n, "columns": 20}
        row["ours_us_per_row_and_epoch"] = statistics.median(f[0] for f in found) / n / 10 * 1e6
        if n <= 100_000:
            pyod = in_a_process("one_fit", n, 20, "pyod")[0]
            row["pyod_us_per_row_and_epoch"] = pyod / n / 10 * 1e6
        else:  # what it was for a tenth of the rows
            row["pyod_us_per_row_and_epoch"] = table[-1]["pyod_us_per_row_and_epoch"]
        row["peak_over_x"] = statistics.median(f[1] for f in found) / (4 * n * 20)
        table.append(row)
        print(row, flush=True)
    write_csv("speed_rows", table)
    table = []
    for n, d in ((1_000_000, 20), (200_000, 200), (50_000, 784)):
        for dtype in ("float32", "float64"):
            peak = in_a_process("one_fit", n, d, "robust", dtype)[1]
            row = {"rows": n, "columns": d, "dtype": dtype, "peak_over_x": peak / (4 * n * d)}
            table.append(row)
            print(row, flush=True)
    write_csv("speed_memory", table)


def columns(arguments):
    table = []
    X, _ = load_mnist(arguments.data_dir)
    mnist = np.ascontiguousarray(X[:20_000], np.float32)
    cases = [(normal(10_000, d), LAYERS, 32, 10, "robust") for d in (5, 20, 50, 100, 200, 400, 800)]
    cases += [(normal(10_000, d), LAYERS, 256, 10, "robust") for d in (20, 200, 800)]
    cases.append((mnist, (200, 10), 256, 3, None))
    a = torch.ones(2048, 2048)
    for X, layers, batch, epochs, scaler in cases:
        n, d = X.shape
        own = ours(layers, batch, epochs, scaler=scaler)
        products, times, slow = take_turns(
            [
                lambda: [a @ a for _ in range(5)],
                lambda own=own, X=X: own.fit(X),
                lambda layers=layers, batch=batch, epochs=epochs, X=X: theirs(
                    layers, batch, epochs
                ).fit(X),
            ]
        )
        sizes = (d, *layers)
        weights = 2 * sum(i * o for i, o in itertools.pairwise(sizes))
        work = n * weights * (6 * epochs + 4)
        rate = [5 * 2 * 2048**3 / t for t in products]
        row = {"rows": n, "columns": d, "layers": "-".join(map(str, layers)), "batch": batch}
        row["data"] = "MNIST" if X is mnist else "normal"
        row |= {"pyod_s": statistics.median(slow), "ours_s": statistics.median(times)}
        row |= {"ratio": median_ratio(slow, times), "gflops": work / row["ours_s"] / 1e9}
        row["matrix_gflops"] = statistics.median(rate) / 1e9
        row["share"] = statistics.median(work / t / r for t, r in zip(times, rate, strict=True))
        table.append(row)
        print(row, flush=True)
    write_csv("speed_columns", table)


def mapped(_):
    table = []
    for n in (100_000, 1_000_000):
        scored, fitted = in_a_process("one_mapped", n, 100)
        row = {"rows": n, "columns": 100, "x_mb": 400 * n / 2**20}
        row |= {"scoring_mb": scored / 2**20, "fit_mb": fitted / 2**20}
        table.append(row)
        print(row, flush=True)
    write_csv("speed_mapped", table)


# ----------------------------------------------------------------------- in a process of its own


def in_a_process(name, *options):
    command = [sys.executable, __file__, name, "--options", *map(str, options)]
    out = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    return json.loads(out.splitlines()[-1])


def status(name):
    """Return an entry of this process's memory, in bytes (on Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])


def one_fit(n, d, who, dtype="float32"):
    n, d = int(n), int(d)
    make = {
        "ours": lambda: ours(batch=128),
        "robust": lambda: ours(batch=128, epochs=1, lam="auto", max_iter=3),
        "pyod": lambda: theirs(batch=128),
    }[who]
    make().fit(normal(500, d))  # loads what is loaded once
    X = normal(n, d).astype(dtype)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = status("VmRSS")
    make().fit(X)
    peak = status("VmHWM") - before
    # The second, because the first meets everything new that its size brings.
    return seconds(lambda: make().fit(X)), peak


def one_mapped(n, d):
    n, d = int(n), int(d)
    detector = ours(batch=128, epochs=1, lam="auto", max_iter=3).fit(normal(500, d))
    with tempfile.NamedTemporaryFile() as file:
        X = np.memmap(file.name, dtype=np.float32, mode="w+", shape=(n, d))
        for start in range(0, n, 10_000):
            part = X[start : start + 10_000]
            part[:] = np.random.default_rng(start).normal(size=part.shape)
        return [
            most_held(lambda: detector.decision_function(X)),
            most_held(lambda: detector.fit(X)),
        ]


def most_held(function):
    """Return the most memory that belonged to no file while a function ran, less that before."""
    before, most, done = status("RssAnon"), [0], threading.Event()

    def watch():
        while not done.wait(0.002):
            most[0] = max(most[0], status("RssAnon") - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    function()
    done.set()
    watcher.join()
    return most[0]


# ------------------------------------------------------------------------------------- pictures


def plot(_):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    table = read_csv("speed_rows")
    n = np.array([row["rows"] for row in table])
    for key, name in (("pyod", "PyOD AutoEncoder"), ("ours", "RobustDeepAutoencoder")):
        found = np.array([row[f"{key}_us_per_row_and_epoch"] for row in table])
        measured = n <= 100_000 if key == "pyod" else n > 0
        left.loglog(n[measured], (found * n * 10 / 1e6)[measured], "o-", label=name)
    left.set(xlabel="rows", ylabel="seconds of a fit", title="20 columns, 10 epochs")
    left.legend(frameon=False)
    table = [row for row in read_csv("speed_members") if row["each_a_lam"] == "False"]
    k = [row["members"] for row in table]
    right.loglog(k, [row["seconds"] for row in table], "o-", label="stacked")
    right.loglog(k, [table[0]["seconds"] * m for m in k], "k:", label="one after another")
    right.set(xlabel="members", title="10,000 × 20, 10 epochs", xticks=k, xticklabels=k)
    right.minorticks_off()
    right.legend(frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(PICTURES / "speed.png", dpi=120)


PARTS = {f.__name__: f for f in (fit, score, members, rows, columns, mapped, plot)}
ALONE = {f.__name__: f for f in (one_fit, one_mapped)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=[*PARTS, *ALONE])
    parser.add_argument("--options", nargs="*", default=[], help=argparse.SUPPRESS)
    add_data_argument(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    if arguments.part in ALONE:
        print(json.dumps(ALONE[arguments.part](*arguments.options)))
    else:
        PARTS[arguments.part](arguments)


if __name__ == "__main__":
    main()
