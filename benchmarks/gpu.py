"""Detectors on a GPU: times beside the CPU of the same machine, and what a step and a member cost.

    python benchmarks/gpu.py --data-dir DIR

It takes about three minutes, and needs a CUDA device: without one it ends with status 2. The
settings published for MNIST and NAB are timed if ``--data-dir`` names a folder with the data (see
datasets.py), and PyOD's AutoEncoder if it is installed. "seconds" is the time on the GPU, the
median of `--rounds` turns after one to warm up.

GPU and CPU take turns, with as many threads as PyTorch takes by itself. Recurrent networks are
timed for five epochs less one, and counted up to their 250 epochs.
"""

import argparse
import functools
import os
import statistics
import time
import warnings

import numpy as np
import torch
from datasets import add_data_argument, load_mnist, load_nab, one_class
from report import write_csv
from sklearn.model_selection import StratifiedKFold

from skrdae import (
    AnoGANDetector,
    LSTMRobustAutoencoder,
    RobustDeepAutoencoder,
    RobustDeepAutoencoderCV,
    VAEDetector,
)

GPU, CPU = {"device": "cuda", "random_state": 0}, {"device": "cpu", "random_state": 0}
SIZES = ((10_000, 20), (100_000, 20), (1_000_000, 20), (100_000, 200))
# One network of 20-64-32, and its steps: 10 epochs of 313 batches of 32.
PLAIN = {"lam": np.inf, "hidden_layer_sizes": (64, 32), "max_iter": 1, "n_epochs": 10}
PLAIN |= {"batch_size": 32, **GPU}
N_STEPS = 10 * 313
MNIST = {"hidden_layer_sizes": (200, 10), "output_activation": "sigmoid", "activation": "relu"}
MNIST |= {"scaler": None, "contamination": "auto", "max_iter": 10, "n_epochs": 50}
MNIST |= {"batch_size": 256, "n_estimators": 1, **GPU}
NAB = {"batch_size": 256, "n_estimators": 1, "scaler": "minmax", "contamination": "auto", **GPU}
DENSE = {"activation": "sigmoid", "hidden_layer_sizes": (60, 20), "max_iter": 20, "n_epochs": 50}
SERIES = "machine_temperature_system_failure"


def seconds(call):
    """Time a call, with all that it leaves to the GPU."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def in_turns(calls, n_rounds, warm_up=True):
    """Return the median times of calls that take turns."""
    for call in calls if warm_up else ():
        call()
    times = [[seconds(call) for call in calls] for _ in range(n_rounds)]
    return [statistics.median(each) for each in zip(*times, strict=True)]


def fitting(make, X, y=None):
    """Return a call that fits what `make` returns."""
    return lambda: make().fit(X, y)


def beside_the_cpu(name, cls, X, n_rounds):
    """Time a detector with its defaults on both."""
    calls = [fitting(functools.partial(cls, **where), X) for where in (GPU, CPU)]
    gpu, cpu = in_turns(calls, n_rounds)
    return name, cpu / gpu, "times the CPU", gpu


def of_tables(n_rounds):
    """Time default fits of tables."""
    rng = np.random.default_rng(0)
    for n, d in SIZES:
        X = rng.normal(size=(n, d)).astype(np.float32)
        rounds = n_rounds if n < 1_000_000 else 1
        yield beside_the_cpu(
            f"RobustDeepAutoencoder, {n:,} × {d}", RobustDeepAutoencoder, X, rounds
        )
    X = rng.normal(size=(10_000, 20)).astype(np.float32)
    for cls in (VAEDetector, AnoGANDetector):
        yield beside_the_cpu(f"{cls.__name__}, 10,000 × 20", cls, X, n_rounds)


def of_steps(n_rounds):
    """Time the steps of one network and of several, beside PyOD's."""
    X = np.random.default_rng(0).normal(size=(10_000, 20))
    calls = [
        fitting(lambda: RobustDeepAutoencoder(n_estimators=1, **PLAIN), X),
        fitting(lambda: RobustDeepAutoencoder(n_estimators=64, **PLAIN), X),
    ]
    one, many = in_turns(calls, n_rounds)
    yield "a step, 20-64-32, batches of 32", 1e6 * one / N_STEPS, "µs", one
    yield "64 members", many / one, "times one member", many
    try:
        from pyod.models.auto_encoder import AutoEncoder
    except ImportError:
        print("PyOD's AutoEncoder is left out: it is not installed")
        return
    options = {"epoch_num": 10, "batch_size": 32, "hidden_neuron_list": [64, 32], "verbose": 0}
    (pyod,) = in_turns([fitting(lambda: AutoEncoder(**options), X)], 1, warm_up=False)
    yield "one member beside PyOD AutoEncoder", pyod / one, "times PyOD on the same GPU", one


def of_path(n_rounds):
    """Time the search for λ beside one fit."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(5000, 20)), (np.arange(5000) % 20 == 0).astype(int)
    X[y == 1] *= 3
    options = {"cv": StratifiedKFold(5, shuffle=True, random_state=0), "scoring": "roc_auc", **GPU}
    one, path = in_turns(
        [
            fitting(lambda: RobustDeepAutoencoder(4.0, **GPU), X),
            fitting(lambda: RobustDeepAutoencoderCV(np.geomspace(8, 0.8, 20), **options), X, y),
        ],
        n_rounds,
    )
    yield "RobustDeepAutoencoderCV, 20 λ × 5 folds", path / one, "times one fit", path


def of_scores(n_rounds):
    """Time the scores of a million rows."""
    rng = np.random.default_rng(0)
    detector = RobustDeepAutoencoder(**GPU).fit(rng.normal(size=(10_000, 20)).astype(np.float32))
    X = rng.normal(size=(1_000_000, 20)).astype(np.float32)
    (found,) = in_turns([lambda: detector.decision_function(X)], n_rounds)
    yield "scoring, 8 members × 20 columns", len(X) / found / 1e6, "million rows a second", found


def of_published(data_dir):
    """Time the settings published for MNIST and NAB."""
    X, _ = one_class(*load_mnist(data_dir), 4, 11)
    (found,) = in_turns([fitting(lambda: RobustDeepAutoencoder(5.468, **MNIST), X)], 1, False)
    yield "MNIST, ℓ2,1 as published", found, "s", found
    series = {name: series for name, series, _ in load_nab(data_dir)}[SERIES]
    values = series.iloc[33:-186, 0].to_numpy(np.float32)
    X = np.lib.stride_tricks.sliding_window_view(values, 144).copy()
    dense = fitting(lambda: RobustDeepAutoencoder(0.5, **DENSE, **NAB), X)
    (found,) = in_turns([dense], 1, False)
    yield "NAB, dense network as published", found, "s", found
    for cell in ("lstm", "gru"):
        options = {"cell": cell, "hidden_layer_sizes": (32, 16), "max_iter": 1, **NAB}
        one, five = in_turns(
            [
                fitting(
                    lambda n=n, options=options: LSTMRobustAutoencoder(0.5, n_epochs=n, **options),
                    X,
                )
                for n in (1, 5)
            ],
            1,
        )
        found = 250 * (five - one) / 4
        yield f"NAB, {cell.upper()} as published", found, "s", found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data_argument(parser)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("PyTorch finds no CUDA device here: nothing was measured.")
        raise SystemExit(2)
    warnings.simplefilter("ignore")  # of data that are noise
    machine = {"card": torch.cuda.get_device_name(), "cores": os.cpu_count()}
    rows = []
    parts = [part(arguments.rounds) for part in (of_tables, of_steps, of_path, of_scores)]
    if arguments.data_dir is not None:
        parts.append(of_published(arguments.data_dir))
    for part in parts:
        for measured, figure, unit, taken in part:
            rows.append(
                machine | {"measured": measured, "figure": figure, "unit": unit, "seconds": taken}
            )
            print(f"{measured}: {figure:.4g} {unit} ({taken:.2f} s)", flush=True)
            write_csv("gpu", rows)


if __name__ == "__main__":
    main()
