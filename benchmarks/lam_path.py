"""The λ path on scikit-learn's digits: what is flagged, and how well, from λ_max down.

    python benchmarks/lam_path.py

The digits of the README: all fours with ten others among them, one member, and the prox deciding
what is flagged (``contamination="auto"``). F1 and its spread are those of the folds of
``RobustDeepAutoencoderCV``; flagged rows, precision and recall those of fits to all rows.
"""

import numpy as np
import torch
from matplotlib.figure import Figure
from report import PICTURES, write_csv
from sklearn.metrics import precision_score, recall_score

from skrdae import RobustDeepAutoencoder, RobustDeepAutoencoderCV
from skrdae.demo import one_class_digits

SETTINGS = {
    "scaler": None,
    "output_activation": "sigmoid",
    "max_iter": 10,
    "n_epochs": 10,
    "n_estimators": 1,
    "contamination": "auto",
    "random_state": 0,
}


def draw(rows, chosen, location):
    """Plot the path, λ falling from left to right."""
    lam = [row["lam"] for row in rows]
    figure = Figure(figsize=(7, 3.4), layout="constrained")
    axis = figure.add_subplot()
    f1, spread = (np.array([row[key] for row in rows]) for key in ("f1", "f1_sd"))
    axis.fill_between(lam, f1 - spread, np.minimum(f1 + spread, 1), alpha=0.15, color="C3", lw=0)
    axis.plot(lam, f1, "o-", ms=3, color="C3", label="F1, mean of 5 folds ± σ")
    axis.plot(lam, [row["precision"] for row in rows], "C0", lw=1, label="precision")
    axis.plot(lam, [row["recall"] for row in rows], "C2", lw=1, label="recall")
    axis.plot(lam, [row["flagged_share"] for row in rows], "k:", label="share flagged")
    axis.axvline(chosen, color="C3", lw=0.8, ls="--")
    axis.annotate(f" chosen: {chosen:.2f}", (chosen, 0.4), color="C3", fontsize=8)
    axis.set(
        xscale="log",
        xlabel="λ / median norm (larger: sparser S, fewer rows flagged)",
        ylim=(0, 1.05),
    )
    axis.set_xlim(max(lam), min(lam))
    ticks = np.round(np.geomspace(min(lam), max(lam), 5), 1)
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()
    axis.legend(fontsize=8, frameon=False, loc="center left")
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(location, dpi=120)


def main():
    torch.set_num_threads(2)
    X, y = one_class_digits(digit=4, seed=0)
    path = RobustDeepAutoencoderCV(20, scoring="f1", **SETTINGS).fit(X, y)
    rows = []
    for lam, scores in zip(path.lams_, path.scores_path_, strict=True):
        labels = RobustDeepAutoencoder(f"{lam}*median", **SETTINGS).fit(X).labels_
        rows.append(
            {
                "lam": float(lam),
                "f1": float(scores.mean()),
                "f1_sd": float(scores.std()),
                "flagged_share": float(labels.mean()),
                "precision": float(precision_score(y, labels, zero_division=0)),
                "recall": float(recall_score(y, labels)),
            }
        )
    print(write_csv("lam_path", rows))
    chosen = path.lams_[path.scores_path_.mean(axis=1).argmax()]
    draw(rows, chosen, PICTURES / "lam_path.png")
    print(f"chosen: {path.best_lam_}, λ = {path.lam_:.4f}")


if __name__ == "__main__":
    main()
