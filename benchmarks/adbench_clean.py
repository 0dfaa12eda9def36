"""ADBench with clean training data: fitted to ordinary rows, asked about new ones.

    python benchmarks/adbench_clean.py --data-dir DIR --seeds 3
    python benchmarks/adbench_clean.py --data-dir OTHER --name adbench_clean_report

Of each set, at most 4,000 rows in the proportion of the labels, one half of the ordinary rows is
what a detector is fitted to; the seed draws which. It scores the other half and all anomalies.
Columns are standardised by the training rows. All detectors have their defaults.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from adbench import summarise
from datasets import add_data_argument, load_adbench
from pyod.models.gmm import GMM
from pyod.models.iforest import IForest
from pyod.models.knn import KNN
from pyod.models.lof import LOF
from report import read_csv, write_csv
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from skrdae import DenoisingDetector, RobustDeepAutoencoder, RobustPCA, VAEDetector

#: name → a function of the seed.
DETECTORS = {
    "DenoisingDetector": lambda seed: DenoisingDetector(random_state=seed),
    "RobustDeepAutoencoder": lambda seed: RobustDeepAutoencoder(random_state=seed),
    "VAEDetector": lambda seed: VAEDetector(random_state=seed),
    "RobustPCA": lambda seed: RobustPCA(),
    "PyOD KNN": lambda seed: KNN(),
    "PyOD LOF": lambda seed: LOF(),
    "PyOD GMM": lambda seed: GMM(random_state=seed),
    "PyOD IForest": lambda seed: IForest(random_state=seed),
}


def split(X, y, seed):
    """Return the training rows, and the rows to score with their labels."""
    normal = np.random.default_rng(seed).permutation(np.flatnonzero(y == 0))
    half = len(normal) // 2
    asked = np.concatenate([normal[half:], np.flatnonzero(y == 1)])
    scaler = StandardScaler().fit(X[normal[:half]])
    return scaler.transform(X[normal[:half]]), scaler.transform(X[asked]), y[asked]


def run(dataset, X, y, detector, seed):
    """Fit one detector to one set; return a row of the CSV."""
    train, asked, wanted = split(X, y, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyOD
        start = time.process_time()
        fitted = DETECTORS[detector](seed).fit(train)
        seconds = time.process_time() - start
        scores = fitted.decision_function(asked)
    failed = not np.isfinite(scores).all() or np.ptp(scores) == 0
    scores = np.nan_to_num(scores)
    return {
        "dataset": dataset,
        "rows": len(X),
        "features": X.shape[1],
        "detector": detector,
        "seed": seed,
        "roc_auc": float(roc_auc_score(wanted, scores)),
        "average_precision": float(average_precision_score(wanted, scores)),
        "seconds": seconds,  # of the processor
        "failed": failed,  # a constant score, or scores that are not finite, counted as 0
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data_argument(parser)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--max-rows", type=int, default=4000)
    parser.add_argument(
        "--detectors",
        nargs="+",
        choices=DETECTORS,
        metavar="NAME",
        help="run these only, and keep what the CSV has of the others",
    )
    parser.add_argument("--name", default="adbench_clean", help="of the CSVs")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    detectors = arguments.detectors or list(DETECTORS)
    tasks = [
        (Path(name).stem, X, y, detector, seed)
        for name, X, y in load_adbench(arguments.data_dir, max_rows=arguments.max_rows)
        for detector in detectors
        for seed in range(arguments.seeds)
    ]
    rows = [r for r in read_csv(arguments.name) if r["detector"] not in detectors]
    for task in tqdm(tasks, unit="fit"):
        rows.append(run(*task))
        write_csv(arguments.name, rows)
    summary = summarise(rows, [n for n in DETECTORS if any(r["detector"] == n for r in rows)])
    write_csv(f"{arguments.name}_summary", summary)
    for r in summary:
        print("  ".join(f"{v:.3f}" if isinstance(v, float) else str(v) for v in r.values()))


if __name__ == "__main__":
    main()
