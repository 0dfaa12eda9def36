"""What choosing λ is worth, with labels and without, on the tabular sets of ADBench.

    python benchmarks/choosing_lam.py

On each set ``RobustDeepAutoencoderCV`` tries 12 λ on 3 folds and refits, once for each way to
choose; what it makes of all rows is held against the labels. Beside it every λ of the same grid by
itself (the best, the mean and the worst of them), ``lam="auto"`` and the plain autoencoder. Columns
are standardised first; of larger sets 2,000 rows are taken, in the proportion of the labels.
"""

import argparse
import time
import warnings

import numpy as np
import torch
from datasets import add_data_argument, load_adbench
from joblib import Parallel, delayed
from report import write_csv
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import average_precision_score, roc_auc_score

from skrdae import RobustDeepAutoencoder, RobustDeepAutoencoderCV
from skrdae.metrics import excess_mass_scorer, mass_volume_scorer

#: way to choose → ``scoring``.
CRITERIA = {
    "labels, ROC AUC": "roc_auc",
    "labels, average precision": "average_precision",
    "agreement (no labels, the default)": None,
    "excess mass (no labels)": excess_mass_scorer,
    "mass volume (no labels)": mass_volume_scorer,
}
N_LAMS, N_FOLDS = 12, 3


def run(dataset, X, y, seed):
    """Return the rows of the CSV for one set and seed."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", UndefinedMetricWarning)
    rows, grid = [], None

    def add(way, detector, seconds):
        scores = detector.decision_scores_
        lam = float(np.mean(detector.lam_))
        auc, ap = roc_auc_score(y, scores), average_precision_score(y, scores)
        row = {"dataset": dataset, "seed": seed, "way": way, "lam": lam}
        rows.append(row | {"roc_auc": auc, "average_precision": ap, "seconds": seconds})

    for way, scoring in CRITERIA.items():
        start = time.perf_counter()
        search = RobustDeepAutoencoderCV(N_LAMS, cv=N_FOLDS, scoring=scoring, random_state=seed)
        try:
            search.fit(X, y)
        except ValueError as error:  # no volume could be measured on any fold
            if "gave NaN" not in str(error):
                raise
            continue
        add(way, search, time.perf_counter() - start)
        grid = [f"{lam}*median" for lam in search.lams_]
    for lam in ("auto", np.inf, *grid):
        start = time.perf_counter()
        detector = RobustDeepAutoencoder(lam, random_state=seed).fit(X)
        way = "grid" if lam in grid else f'lam="{lam}"' if lam == "auto" else "lam=inf"
        add(way, detector, time.perf_counter() - start)
    return rows


def summarise(rows):
    """Average over sets and seeds; of the grid its best, mean and worst λ."""
    table = {}
    for row in rows:
        values = row["roc_auc"], row["average_precision"]
        table.setdefault(row["way"], {}).setdefault((row["dataset"], row["seed"]), []).append(
            values
        )
    grid = table.pop("grid")
    cases = {f"grid, {name}": {k: [f(v, axis=0)] for k, v in grid.items()} for name, f in _PARTS}
    summary = []
    for way, results in (table | cases).items():
        auc, ap = np.mean([value[0] for value in results.values()], axis=0)
        shared = np.mean([table['lam="auto"'][case][0] for case in results], axis=0)
        summary.append(
            {
                "way": way,
                "cases": len(results),
                "roc_auc": float(auc),
                "average_precision": float(ap),
                "roc_auc_over_auto": float(auc - shared[0]),
            }
        )
    return sorted(summary, key=lambda row: -row["roc_auc_over_auto"])


_PARTS = (("best", np.max), ("mean", np.mean), ("worst", np.min))


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add_data_argument(parser)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--rows", type=int, default=2000, help="at most this many of a set")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    sets = load_adbench(options.data_dir, options.rows)
    jobs = [delayed(run)(name, X, y, s) for name, X, y in sets for s in range(options.seeds)]
    rows = [row for part in Parallel(options.jobs, verbose=1)(jobs) for row in part]
    print(write_csv("choosing_lam", rows))
    summary = summarise(rows)
    print(write_csv("choosing_lam_summary", summary))
    for row in summary:
        print({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()})


if __name__ == "__main__":
    main()
