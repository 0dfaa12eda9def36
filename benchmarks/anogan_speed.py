"""Time of AnoGANDetector beside PyOD's AnoGAN: fit and score of 1,000 rows of 20 features.

    python benchmarks/anogan_speed.py

Same layers, epochs and batch size, one member, one thread, in one run: each round times every
detector once, and the ratios are medians over the rounds. PyOD fits by searching row by row and
scores new rows without a search; ours are timed for ``fit`` and ``decision_function`` of all rows,
the search with as many steps for each row (20) included.
"""

import argparse
import statistics
import time

import numpy as np
import torch
from pyod.models.anogan import AnoGAN
from report import write_csv

from skrdae import AnoGANDetector

LAYERS = {
    "latent_dim": 2,
    "hidden_layer_sizes": (20, 10, 3, 10, 20),
    "discriminator_layer_sizes": (20, 10, 5),
    "n_estimators": 1,
}
N_SEARCH_ITER = 20  # PyOD's epochs_query
MODES = {
    "encoder, batch 32": {"batch_size": 32},
    "search, batch 32": {"batch_size": 32, "inference": "search"},
    "encoder, default batch": {},
    "search, default batch": {"inference": "search"},
}


def seconds(make, X):
    """Time fit and scoring."""
    start = time.perf_counter()
    make().fit(X).decision_function(X)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, nargs="+", default=[20, 500], help="500 is PyOD's")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    X = np.random.default_rng(0).normal(size=(1000, 20))
    AnoGANDetector(n_epochs=2).fit(X)  # warm up
    rows = []
    for n_epochs in arguments.epochs:

        def theirs(n_epochs=n_epochs):
            return AnoGAN(epochs=n_epochs, batch_size=32)

        makers = {"PyOD AnoGAN": theirs}
        for name, options in MODES.items():

            def ours(options=options, n_epochs=n_epochs):
                return AnoGANDetector(
                    n_epochs=n_epochs, n_search_iter=N_SEARCH_ITER, **LAYERS, **options
                )

            makers[name] = ours
        times = {name: [] for name in makers}
        for _ in range(arguments.rounds):
            for name, make in makers.items():
                times[name].append(seconds(make, X))
        for name, found in times.items():
            ratios = [a / b for a, b in zip(times["PyOD AnoGAN"], found, strict=True)]
            rows.append(
                {
                    "epochs": n_epochs,
                    "detector": name,
                    "seconds": statistics.median(found),
                    "times_faster": statistics.median(ratios),
                }
            )
            print(*rows[-1].values())
    write_csv("anogan_speed", rows)


if __name__ == "__main__":
    main()
