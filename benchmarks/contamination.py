"""How detectors lose as more and more anomalies hide in the training data.

    python benchmarks/contamination.py

scikit-learn's digits, one digit at a time as the normal class: half of its images are trained on,
with other digits planted among them as 0 to 30 % of the training data; the other half, and other
digits that were not planted, are scored. The robust and the plain autoencoder are one network,
trained from the same seed for the same number of epochs, long enough to learn what is there to be
learnt. λ is the median norm of the residuals (``contamination=0.5``), or one fixed value for
all digits and shares.
"""

import argparse

import numpy as np
import torch
from joblib import Parallel, delayed
from matplotlib.figure import Figure
from report import PICTURES, write_csv
from sklearn.datasets import load_digits
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from skrdae import RobustDeepAutoencoder

SHARES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
ROBUST = ("robust, λ at the median", "robust, λ = 1")
PLAIN, FOREST = "plain (λ = inf)", "IsolationForest"


def network(seed, **options):
    return RobustDeepAutoencoder(
        hidden_layer_sizes=(128, 10),
        output_activation="sigmoid",
        scaler=None,
        max_iter=50,
        n_epochs=2,
        lr=3e-3,
        n_estimators=1,
        random_state=seed,
        **options,
    )


DETECTORS = {
    ROBUST[0]: lambda seed: network(seed, contamination=0.5),
    ROBUST[1]: lambda seed: network(seed, lam=1.0),
    PLAIN: lambda seed: network(seed, lam=np.inf),
    FOREST: lambda seed: IsolationForest(random_state=seed),
}


def run(X, y, digit, split):
    """Return the rows of one digit and one split."""
    torch.set_num_threads(1)
    rng = np.random.default_rng([digit, split])
    normal = rng.permutation(np.flatnonzero(y == digit))
    others = rng.permutation(np.flatnonzero(y != digit))
    half = len(normal) // 2
    n_most = round(half * max(SHARES) / (1 - max(SHARES)))
    test = np.concatenate([normal[half:], others[n_most:]])
    rows = []
    for share in SHARES:
        planted = others[: round(half * share / (1 - share))]
        train = rng.permutation(np.concatenate([normal[:half], planted]))
        for name, make in DETECTORS.items():
            detector = make(split).fit(X[train])
            score = -detector.score_samples(X[test]) if name == FOREST else None
            if score is None:
                score = detector.decision_function(X[test])
            auc = float(roc_auc_score(y[test] != digit, score))
            rows.append(
                {"digit": digit, "split": split, "share": share, "detector": name, "roc_auc": auc}
            )
    return rows


def summarise(rows):
    """Return a row a detector and share, averaged over digits and splits."""
    found = {}
    for r in rows:
        found.setdefault((r["detector"], r["share"]), []).append(r["roc_auc"])
    return [
        {
            "detector": name,
            "share": share,
            "roc_auc": float(np.mean(found[name, share])),
            "loss": float(np.mean(found[name, 0.0]) - np.mean(found[name, share])),
            "loss_to_plain": float(
                (np.mean(found[name, 0.0]) - np.mean(found[name, share]))
                / (np.mean(found[PLAIN, 0.0]) - np.mean(found[PLAIN, share]))
            )
            if share
            else float("nan"),
        }
        for name in DETECTORS
        for share in SHARES
    ]


def draw(summary, path):
    figure = Figure(figsize=(7, 4), layout="constrained")
    ax = figure.subplots()
    for name, style in zip(DETECTORS, ("C0o-", "C2s-", "C1^--", "C7d:"), strict=True):
        mine = [r for r in summary if r["detector"] == name]
        ax.plot([100 * r["share"] for r in mine], [r["roc_auc"] for r in mine], style, label=name)
    ax.set(
        xlabel="planted anomalies, % of the training data",
        ylabel="ROC AUC on new data",
        title="one digit is normal: mean of ten digits",
    )
    ax.grid(alpha=0.3)
    ax.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1, help="fits at a time")
    arguments = parser.parse_args()
    X, y = load_digits(return_X_y=True)
    tasks = [(X / 16, y, d, s) for s in range(arguments.splits) for d in range(10)]
    found = Parallel(n_jobs=arguments.jobs, return_as="generator")(
        delayed(run)(*task) for task in tasks
    )
    rows = [row for part in tqdm(found, total=len(tasks)) for row in part]
    summary = summarise(rows)
    write_csv("contamination", rows)
    write_csv("contamination_summary", summary)
    draw(summary, PICTURES / "contamination.png")
    for r in summary:
        print("  ".join(f"{v:.3f}" if isinstance(v, float) else str(v) for v in r.values()))


if __name__ == "__main__":
    main()
