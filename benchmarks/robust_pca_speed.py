"""How long RobustPCA takes on wide tables.

    python benchmarks/robust_pca_speed.py

Low rank with sparse errors, the same with noise, and noise alone, with PyTorch's own number of
threads. The largest takes minutes.
"""

import argparse
import time
import warnings

import numpy as np
import torch
from report import write_csv

from skrdae import RobustPCA

SIZES = ((2000, 800), (10_000, 1500))
SHARE, SIZE, NOISE = 0.03, 5.0, 0.3


def tables(n, d):
    """Yield the name of a kind of data and a table."""
    rng = np.random.default_rng(0)
    rank = d // 40
    low_rank = rng.normal(size=(n, rank)) @ rng.normal(size=(rank, d)) / np.sqrt(rank)
    sparse = np.where(rng.random((n, d)) < SHARE, rng.normal(scale=SIZE, size=(n, d)), 0)
    noise = rng.normal(size=(n, d))
    yield "low rank", low_rank + sparse
    yield "low rank and noise", low_rank + sparse + NOISE * noise
    yield "noise", noise + sparse


def main():
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    warnings.simplefilter("ignore")  # of data that are noise
    rows = []
    for n, d in SIZES:
        for name, X in tables(n, d):
            start = time.perf_counter()
            detector = RobustPCA().fit(X)
            taken = time.perf_counter() - start
            rows.append(
                {
                    "rows": n,
                    "columns": d,
                    "data": name,
                    "fit_s": taken,
                    "iterations": detector.n_iter_,
                    "rank": detector.rank_,
                    "threads": torch.get_num_threads(),
                }
            )
            print(
                f"{n:,} × {d:,}, {name}: {taken:.1f} s, {detector.n_iter_} iterations", flush=True
            )
            write_csv("robust_pca_speed", rows)


if __name__ == "__main__":
    main()
