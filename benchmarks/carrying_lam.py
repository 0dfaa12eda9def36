"""Whether a λ chosen on folds suits the fit to all rows, as a number and as a multiple.

    python benchmarks/carrying_lam.py

``RobustDeepAutoencoderCV`` chooses λ by F1 on five folds, twice: from a grid of multiples of the
median norm, and from the same grid as numbers (times the median that the plain autoencoder leaves
of all rows). ``contamination="auto"``, so that λ decides what is flagged. F1 on the folds is that
of the rows left out; F1 after the refit is that of all rows, and the best is that of the best λ of
the grid. The digits are scikit-learn's, each with others among them; the tables are those of
ADBench with up to 50 columns and ten anomalies or more, at most 400 rows each.
"""

import argparse
import time

import numpy as np
import torch
from datasets import add_data_argument, load_adbench
from joblib import Parallel, delayed
from report import write_csv
from sklearn.metrics import f1_score

from skrdae import RobustDeepAutoencoder, RobustDeepAutoencoderCV
from skrdae.demo import one_class_digits

N_LAMS = 12
DIGITS = {
    "scaler": None,
    "output_activation": "sigmoid",
    "max_iter": 10,
    "n_epochs": 10,
    "n_estimators": 1,
}
TABLES = {"n_estimators": 4}


def run(group, dataset, X, y, settings, seed):
    """Return the rows of the CSV for one set and seed."""
    torch.set_num_threads(1)
    settings = settings | {"contamination": "auto", "random_state": seed}
    plain = RobustDeepAutoencoder(np.inf, **settings).fit(X)
    median = float(np.median(plain.decision_scores_))
    rows, grid = [], np.geomspace(plain.decision_scores_.max() / median, 1, N_LAMS)
    lams = {"number": grid * median, "multiple": [f"{c!r}*median" for c in grid.tolist()]}
    for unit, tried in lams.items():
        start = time.perf_counter()
        search = RobustDeepAutoencoderCV(tried, cv=5, scoring="f1", **settings).fit(X, y)
        seconds = time.perf_counter() - start
        found = [f1_score(y, RobustDeepAutoencoder(c, **settings).fit(X).labels_) for c in tried]
        rows.append(
            {
                "group": group,
                "dataset": dataset,
                "rows": len(X),
                "anomalies": int(y.sum()),
                "seed": seed,
                "unit": unit,
                "multiple": float(np.mean(search.lam_) / median),
                "f1_folds": float(search.scores_path_.mean(axis=1).max()),
                "f1_refit": float(f1_score(y, search.labels_)),
                "f1_best": float(max(found)),
                "seconds": seconds,
            }
        )
    return rows


def summarise(rows):
    """Average over the sets of a group."""
    summary = []
    for group, unit in dict.fromkeys((row["group"], row["unit"]) for row in rows):
        mine = [row for row in rows if (row["group"], row["unit"]) == (group, unit)]
        summary.append(
            {"group": group, "unit": unit, "cases": len(mine)}
            | {
                name: float(np.mean([row[name] for row in mine]))
                for name in ("f1_folds", "f1_refit", "f1_best")
            }
            | {"difference": float(np.mean([abs(r["f1_folds"] - r["f1_refit"]) for r in mine]))}
        )
    return summary


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add_data_argument(parser)
    parser.add_argument("--seeds", type=int, default=1, help="of each digit")
    parser.add_argument("--rows", type=int, default=400, help="at most this many of a table")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    jobs = [
        delayed(run)("digits", str(digit), *one_class_digits(digit, seed), DIGITS, seed)
        for digit in range(10)
        for seed in range(options.seeds)
    ]
    jobs += [
        delayed(run)("tables", name, X, y, TABLES, 0)
        for name, X, y in load_adbench(options.data_dir, options.rows)
        if y.sum() >= 10 and X.shape[1] <= 50
    ]
    rows = [row for part in Parallel(options.jobs, verbose=1, batch_size=1)(jobs) for row in part]
    print(write_csv("carrying_lam", rows))
    summary = summarise(rows)
    print(write_csv("carrying_lam_summary", summary))
    for row in summary:
        print({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()})


if __name__ == "__main__":
    main()
