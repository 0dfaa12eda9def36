"""Detectors side by side on the tabular sets of ADBench.

    python benchmarks/adbench.py
    python benchmarks/adbench.py --large --seeds 1

Transductive, as its users report it: each detector is fitted to all rows of a set, and its
``decision_scores_`` are held against the labels, which no detector sees. Columns are standardised
first; of larger sets 4,000 rows are taken, in the proportion of the labels. ``--large`` takes the
sets of more than 40,000 rows instead, in full. All detectors have
their defaults; only the seed changes. PyOD's AnoGAN searches row by row, so it is run on the sets
of less than 1,000 rows only, which have a table of their own.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from datasets import add_data_argument, load_adbench
from joblib import Parallel, delayed
from matplotlib.figure import Figure
from pyod.models.anogan import AnoGAN
from pyod.models.auto_encoder import AutoEncoder
from pyod.models.cblof import CBLOF
from pyod.models.copod import COPOD
from pyod.models.ecod import ECOD
from pyod.models.gmm import GMM
from pyod.models.hbos import HBOS
from pyod.models.iforest import IForest
from pyod.models.inne import INNE
from pyod.models.knn import KNN
from pyod.models.lof import LOF
from pyod.models.mcd import MCD
from pyod.models.pca import PCA
from pyod.models.vae import VAE
from report import PICTURES, read_csv, write_csv
from scipy.stats import rankdata, studentized_range
from sklearn.metrics import average_precision_score, roc_auc_score
from tqdm import tqdm

from skrdae import AnoGANDetector, RobustDeepAutoencoder, RobustPCA, VAEDetector

#: name → a function of the seed.
DETECTORS = {
    "RobustDeepAutoencoder": lambda seed: RobustDeepAutoencoder(random_state=seed),
    "RobustPCA": lambda seed: RobustPCA(),
    "VAEDetector": lambda seed: VAEDetector(random_state=seed),
    "AnoGANDetector": lambda seed: AnoGANDetector(random_state=seed),
    "AnoGANDetector search": lambda seed: AnoGANDetector(inference="search", random_state=seed),
    "PyOD IForest": lambda seed: IForest(random_state=seed),
    "PyOD CBLOF": lambda seed: CBLOF(random_state=seed),
    "PyOD INNE": lambda seed: INNE(random_state=seed),
    "PyOD KNN": lambda seed: KNN(),
    "PyOD HBOS": lambda seed: HBOS(),
    "PyOD ECOD": lambda seed: ECOD(),
    "PyOD PCA": lambda seed: PCA(random_state=seed),
    "PyOD MCD": lambda seed: MCD(random_state=seed),
    "PyOD COPOD": lambda seed: COPOD(),
    "PyOD GMM": lambda seed: GMM(random_state=seed),
    "PyOD LOF": lambda seed: LOF(),
    "PyOD AutoEncoder": lambda seed: AutoEncoder(random_state=seed, verbose=0),
    "PyOD VAE": lambda seed: VAE(random_state=seed, verbose=0),
    "PyOD AnoGAN": lambda seed: AnoGAN(),
}
SMALL, SMALL_ONLY = 1000, ("PyOD AnoGAN",)
#: What is run on large sets: the others take too long.
LARGE = 40_000
ON_LARGE = {
    "RobustDeepAutoencoder, all rows": lambda seed: RobustDeepAutoencoder(
        max_samples=1.0, random_state=seed
    ),
    **{
        name: DETECTORS[name]
        for name in (
            "RobustDeepAutoencoder",
            "RobustPCA",
            "VAEDetector",
            "AnoGANDetector",
            "PyOD IForest",
            "PyOD HBOS",
            "PyOD ECOD",
            "PyOD PCA",
        )
    },
}


def run(dataset, X, y, detector, seed, threads):
    """Fit one detector to one set; return a row of the CSV."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)  # for PyOD's AnoGAN, which has no random_state
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyOD
        start = time.perf_counter()
        try:
            scores = (DETECTORS | ON_LARGE)[detector](seed).fit(X).decision_scores_
        except ValueError:  # PyOD's CBLOF, where its clusters do not separate
            if not detector.startswith("PyOD"):
                raise
            scores = np.full(len(X), np.nan)
        seconds = time.perf_counter() - start
    failed = not np.isfinite(scores).all() or np.ptp(scores) == 0
    scores = np.nan_to_num(scores)
    return {
        "dataset": dataset,
        "rows": len(X),
        "features": X.shape[1],
        "detector": detector,
        "seed": seed,
        "roc_auc": float(roc_auc_score(y, scores)),
        "average_precision": float(average_precision_score(y, scores)),
        "seconds": seconds,
        "failed": failed,  # an error, a constant score, or scores that are not finite, counted as 0
    }


def summarise(rows, names):
    """Return a row a detector: figures averaged over seeds, then over sets, and ranks."""
    sets = sorted({r["dataset"] for r in rows})

    def table(key):  # shape: (sets, detectors)
        values = {}
        for r in rows:
            values.setdefault((r["dataset"], r["detector"]), []).append(r[key])
        return np.array([[np.mean(values[s, n]) for n in names] for s in sets])

    auc, ap, seconds = table("roc_auc"), table("average_precision"), table("seconds")
    ranks = np.array([rankdata(-row) for row in auc])
    by_seed = {}
    for r in rows:
        by_seed.setdefault((r["detector"], r["seed"]), []).append(r["roc_auc"])
    summary = [
        {
            "detector": name,
            "sets": len(sets),
            "roc_auc": float(auc[:, j].mean()),
            "roc_auc_sd_of_seeds": float(
                np.std([np.mean(v) for (n, _), v in by_seed.items() if n == name])
            ),
            "average_precision": float(ap[:, j].mean()),
            "rank": float(ranks[:, j].mean()),
            "wins": int((ranks[:, j] == ranks.min(axis=1)).sum()),
            "seconds": float(seconds[:, j].mean()),
        }
        for j, name in enumerate(names)
    ]
    return sorted(summary, key=lambda r: r["rank"])


def critical_difference(n_detectors, n_sets, level=0.05):
    """Return the difference of mean ranks that Nemenyi's test calls significant."""
    q = studentized_range.ppf(1 - level, n_detectors, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(n_detectors * (n_detectors + 1) / (6 * n_sets)))


def draw_ranks(summary, path):
    """Plot the mean ranks, best on top, with the critical difference as a bar."""
    names, ranks = [r["detector"] for r in summary], [r["rank"] for r in summary]
    span = critical_difference(len(names), summary[0]["sets"])
    figure = Figure(figsize=(8, 0.4 * len(names) + 1.4), layout="constrained")
    ax = figure.subplots()
    colours = ["C1" if name.startswith("PyOD") else "C0" for name in names]
    ax.scatter(ranks, range(len(names)), c=colours, zorder=3)
    ax.axvspan(ranks[0], ranks[0] + span, color="0.9", zorder=0)
    ax.annotate(
        f"not significantly behind the first (critical difference {span:.1f}, α = 0.05)",
        (ranks[0] + span, len(names) - 0.6),
        ha="right",
        fontsize=8,
        color="0.4",
    )
    ax.set(
        yticks=range(len(names)),
        yticklabels=names,
        xlabel=f"mean rank by ROC AUC over {summary[0]['sets']} sets (1 is best)",
    )
    ax.grid(axis="x", alpha=0.3)
    ax.invert_yaxis()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data_argument(parser)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--max-rows", type=int, default=4000)
    parser.add_argument("--threads", type=int, default=1, help="of torch, a job")
    parser.add_argument("--jobs", type=int, default=1, help="fits at a time")
    parser.add_argument(
        "--detectors",
        nargs="+",
        choices=DETECTORS | ON_LARGE,
        metavar="NAME",
        help="run these only, and keep what the CSV has of the others",
    )
    parser.add_argument("--large", action="store_true", help="large sets, in full")
    parser.add_argument("--also", type=Path, default=None, help="a second folder of data")
    parser.add_argument("--name", help="of the CSVs and the picture (default: by the sets)")
    arguments = parser.parse_args()
    sizes = {"min_rows": LARGE} if arguments.large else {"max_rows": arguments.max_rows}
    arguments.name = arguments.name or ("adbench_large" if arguments.large else "adbench")
    arguments.detectors = arguments.detectors or list(ON_LARGE if arguments.large else DETECTORS)
    folders = [arguments.data_dir, *([arguments.also] if arguments.also else [])]
    tasks = [
        (Path(name).stem, X, y, detector, seed)
        for folder in folders
        for name, X, y in load_adbench(folder, **sizes)
        for detector in arguments.detectors
        for seed in range(arguments.seeds)
        if detector not in SMALL_ONLY or len(X) < SMALL
    ]
    parallel = Parallel(n_jobs=arguments.jobs, return_as="generator")
    found = parallel(delayed(run)(*task, arguments.threads) for task in tasks)
    rows = [r for r in read_csv(arguments.name) if r["detector"] not in arguments.detectors]
    for row in tqdm(found, total=len(tasks), unit="fit"):
        rows.append(row)
        write_csv(arguments.name, rows)
    names = [n for n in DETECTORS | ON_LARGE if any(r["detector"] == n for r in rows)]
    n_sets = len({r["dataset"] for r in rows})
    everywhere = [
        n for n in names if len({r["dataset"] for r in rows if r["detector"] == n}) == n_sets
    ]
    parts = {"summary": (rows, everywhere)} if everywhere else {}
    small = [r for r in rows if r["rows"] < SMALL]
    if small:
        parts["small"] = (small, names)
    for part, (chosen, among) in parts.items():
        summary = summarise(chosen, among)
        write_csv(f"{arguments.name}_{part}", summary)
        print(part)
        for r in summary:
            print("  ".join(f"{v:.3f}" if isinstance(v, float) else str(v) for v in r.values()))
        if part == "summary":
            draw_ranks(summary, PICTURES / f"{arguments.name}_ranks.png")


if __name__ == "__main__":
    main()
