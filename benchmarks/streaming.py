"""Detectors that are given their rows in ten chunks, beside the same given all at once.

    python benchmarks/streaming.py --data-dir DIR

The sets of ADBench of 500 rows and more (of 12,000 at most), in random order; ROC AUC of all rows,
three seeds.
"""

import argparse

import numpy as np
from datasets import add_data_argument, load_adbench
from report import write_csv
from sklearn.metrics import roc_auc_score

from skrdae import RobustDeepAutoencoder, VAEDetector

DETECTORS = {"RobustDeepAutoencoder": RobustDeepAutoencoder, "VAEDetector": VAEDetector}


def run(data_dir, n_chunks, n_seeds):
    results = []
    for name, X, y in load_adbench(data_dir, 12_000):
        if len(X) < 500:
            continue
        order = np.random.default_rng(0).permutation(len(X))
        X, y = X[order], y[order]
        row = {"set": name, "rows": len(X), "columns": X.shape[1]}
        for label, detector in DETECTORS.items():
            whole, chunks = [], []
            for seed in range(n_seeds):
                fitted = detector(random_state=seed).fit(X)
                whole.append(roc_auc_score(y, fitted.decision_scores_))
                streamed = detector(random_state=seed)
                for chunk in np.array_split(X, n_chunks):
                    streamed.partial_fit(chunk)
                chunks.append(roc_auc_score(y, streamed.decision_function(X)))
            row |= {f"{label}_fit": np.mean(whole), f"{label}_chunks": np.mean(chunks)}
            row[f"{label}_difference"] = np.mean(chunks) - np.mean(whole)
        results.append(row)
        print(row, flush=True)
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data_argument(parser)
    parser.add_argument("--chunks", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    write_csv("streaming", run(arguments.data_dir, arguments.chunks, arguments.seeds))
