"""How detectors lose as more and more anomalies hide in the training data.

    python benchmarks/contamination.py
    python benchmarks/contamination.py --data-dir DIR
    python benchmarks/contamination.py --data-dir OTHER --name contamination_report --splits 1

The first takes scikit-learn's digits, one digit at a time as the normal class: half of its images
are trained on, with other digits planted among them as 0 to 30 % of the training data; the other
half, and other digits that were not planted, are scored. The others do the same with the ten sets
of ADBench that have the most anomalies for each normal row, and at most 200 columns: up to half of
the normal rows, 700 at most, are trained on, so many that two thirds of the anomalies are enough to
plant. Columns are standardised by the training rows.

The robust and the plain autoencoder are one network, trained from the same seed for the same number
of epochs, long enough to learn what is there to be learnt; the defaults, which train for a short
time, stand beside them.
"""

import argparse

import numpy as np
import torch
from datasets import load_adbench
from joblib import Parallel, delayed
from matplotlib.figure import Figure
from report import PICTURES, write_csv
from sklearn.datasets import load_digits
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from skrdae import RobustDeepAutoencoder, RobustPCA

DIGIT_SHARES = (0.0, 0.1, 0.2, 0.3)
SET_SHARES = (0.0, 0.2, 0.3)
N_SETS, MOST_NORMAL, MOST_COLUMNS = 10, 700, 200
PLAIN, MEDIAN, FIXED = "plain (λ = inf)", "robust, λ at the median", "robust, λ = 1"
FIFTH_OUT, LEFT_OUT = "robust, l20, 0.2", "robust, l20, 0.3"
DEFAULT, DEFAULT_PLAIN = "default", "default, λ = inf"
PCA, FOREST = "RobustPCA", "IsolationForest"
#: fitted to a share of the rows, those that a concentrated RobustPCA finds most ordinary
MOST, HALF = "robust, inner 70 %", "robust, inner half"
DEFAULT_HALF, PCA_HALF = "default, inner half", "RobustPCA, inner half"
KEPT = {MOST: 0.7, HALF: 0.5, DEFAULT_HALF: 0.5, PCA_HALF: 0.5}


def concentrated(detector, X, n_rounds=3):
    """Fit a detector to the half of the rows that it finds most ordinary; return their scores.

    It is fitted to all rows, then `n_rounds` times to the half that scored lowest before: the
    concentration steps of the minimum covariance determinant (Rousseeuw and Van Driessen, 1999).
    """
    kept = X
    for _ in range(n_rounds + 1):
        scores = detector.fit(kept).decision_function(X)
        kept = X[scores <= np.median(scores)]
    return scores


def network(seed, n_features, images, **options):
    """Return one member, to be trained for 100 epochs."""
    if images:
        own = {"hidden_layer_sizes": (128, 10), "output_activation": "sigmoid", "scaler": None}
    else:
        own = {"hidden_layer_sizes": (128, max(2, round(n_features**0.5)))}
    return RobustDeepAutoencoder(
        max_iter=50,
        n_epochs=2,
        lr=3e-3,
        n_estimators=1,
        score_function="norm",
        random_state=seed,
        **own,
        **options,
    )


def fitted(name, train, seed, images, ordinary):
    """Return a detector fitted to the training rows, by its name in the CSV.

    `ordinary` are the scores of the rows by a concentrated RobustPCA.
    """
    scaling = {"scaler": None} if images else {}

    def long(**options):
        return network(seed, train.shape[1], images, **options)

    def default(**options):
        return RobustDeepAutoencoder(random_state=seed, **scaling, **options)

    detector = {
        PLAIN: lambda: long(lam=np.inf),
        MEDIAN: lambda: long(lam="median"),
        FIXED: lambda: long(lam=1.0),
        FIFTH_OUT: lambda: long(penalty="l20", contamination=0.2),
        LEFT_OUT: lambda: long(penalty="l20", contamination=0.3),
        MOST: long,
        HALF: long,
        DEFAULT: default,
        DEFAULT_PLAIN: lambda: default(lam=np.inf),
        DEFAULT_HALF: default,
        PCA: lambda: RobustPCA(**scaling),
        PCA_HALF: lambda: RobustPCA(**scaling),
        FOREST: lambda: IsolationForest(random_state=seed),
    }[name]()
    if name in KEPT:
        train = train[ordinary <= np.quantile(ordinary, KEPT[name])]
    return detector.fit(train)


def digits(split):
    """Yield each digit as the normal class."""
    X, y = load_digits(return_X_y=True)
    for digit in range(10):
        rng = np.random.default_rng([digit, split])
        normal = rng.permutation(np.flatnonzero(y == digit))
        others = rng.permutation(np.flatnonzero(y != digit))
        half = len(normal) // 2
        n_most = _planted(half, max(DIGIT_SHARES))
        asked = np.concatenate([normal[half:], others[n_most:]])
        yield str(digit), X / 16, y != digit, normal[:half], others, asked, rng


def sets(split, data_dir):
    """Yield the sets with the most anomalies for each normal row."""
    found = [one for one in load_adbench(data_dir) if one[1].shape[1] <= MOST_COLUMNS]
    found.sort(key=lambda one: one[2].sum() / (one[2] == 0).sum(), reverse=True)
    for name, X, y in found[:N_SETS]:
        rng = np.random.default_rng([int(name.split("_")[0]), split])
        normal, odd = (rng.permutation(np.flatnonzero(y == label)) for label in (0, 1))
        largest = max(SET_SHARES)
        enough = int(len(odd) * 2 / 3 * (1 - largest) / largest)
        n_normal = min(len(normal) // 2, enough, MOST_NORMAL)
        n_most = _planted(n_normal, largest)
        # Of large sets so many are plenty.
        asked = np.concatenate([normal[n_normal:][:2000], odd[n_most:][:1000]])
        yield name, X, y == 1, normal[:n_normal], odd, asked, rng


def _planted(n_normal, share):
    return round(n_normal * share / (1 - share))


def run(data, shares, detectors, name, X, anomalous, normal, odd, asked, rng, split):
    """Return the rows of one normal class or set and one split."""
    torch.set_num_threads(1)
    rows = []
    for share in shares:
        train = rng.permutation(np.concatenate([normal, odd[: _planted(len(normal), share)]]))
        shown = X
        if data != "digits":
            shown = StandardScaler().fit(X[train]).transform(X)
        images = data == "digits"
        scaling = {"scaler": None} if images else {}
        ordinary = concentrated(RobustPCA(**scaling), shown[train])
        for detector in detectors:
            model = fitted(detector, shown[train], split, images, ordinary)
            if detector == FOREST:
                scores = -model.score_samples(shown[asked])
            else:
                scores = model.decision_function(shown[asked])
            auc = float(roc_auc_score(anomalous[asked], scores))
            rows.append({"set": name, "split": split, "share": share, "detector": detector})
            rows[-1]["roc_auc"] = auc
    return rows


def summarise(rows, detectors, shares):
    """Return a row a detector and share: means over sets, of which each is a mean over splits."""
    names = list(dict.fromkeys(r["set"] for r in rows))
    found = {}
    for r in rows:
        found.setdefault((r["detector"], r["share"], r["set"]), []).append(r["roc_auc"])

    def scores(detector, share):
        return np.array([np.mean(found[detector, share, name]) for name in names])

    summary = []
    for detector in detectors:
        plain = DEFAULT_PLAIN if detector.startswith("default") else PLAIN
        for share in shares:
            lost = scores(detector, 0.0) - scores(detector, share)
            lost_plain = scores(plain, 0.0) - scores(plain, share)
            fewer = lost_plain - lost
            short = scores(plain, 0.0) - scores(detector, share)
            summary.append(
                {
                    "detector": detector,
                    "share": share,
                    "roc_auc": float(scores(detector, share).mean()),
                    "loss": float(lost.mean()),
                    "loss_to_plain": _ratio(lost, lost_plain),
                    # of what it is below the plain network without contamination
                    "short_to_plain": _ratio(short, lost_plain),
                    "less_loss": float(fewer.mean()),
                    "less_loss_error": float(fewer.std(ddof=1) / len(names) ** 0.5),
                    "sets_at_most_half": int((lost <= lost_plain / 2).sum()),
                }
            )
    return summary


def _ratio(lost, lost_plain):
    return float(lost.mean() / lost_plain.mean()) if lost_plain.any() else float("nan")


def draw(summary, path):
    figure = Figure(figsize=(7, 4), layout="constrained")
    ax = figure.subplots()
    styles = {
        FIFTH_OUT: "C3P-",
        HALF: "C4v-",
        MEDIAN: "C0o-",
        FIXED: "C2s-",
        PLAIN: "C1^--",
        FOREST: "C7d:",
    }
    for name, style in styles.items():
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
    parser.add_argument("--data-dir", help="folder with adbench/*.npz; without one, digits")
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1, help="fits at a time")
    parser.add_argument("--name", help="of the CSVs (contamination, or contamination_adbench)")
    arguments = parser.parse_args()
    data, shares = ("ADBench", SET_SHARES) if arguments.data_dir else ("digits", DIGIT_SHARES)
    name = arguments.name or ("contamination_adbench" if arguments.data_dir else "contamination")
    detectors = [PLAIN, MEDIAN, FIXED, FIFTH_OUT, LEFT_OUT, MOST, HALF]
    detectors += [DEFAULT_PLAIN, DEFAULT, DEFAULT_HALF, PCA, PCA_HALF, FOREST]
    if arguments.data_dir:
        detectors.remove(FIXED)  # whose unit is that of pixels
    tasks = [
        (data, shares, detectors, *one, split)
        for split in range(arguments.splits)
        for one in (sets(split, arguments.data_dir) if arguments.data_dir else digits(split))
    ]
    found = Parallel(n_jobs=arguments.jobs, return_as="generator")(
        delayed(run)(*task) for task in tasks
    )
    rows = []
    for part in tqdm(found, total=len(tasks)):
        rows += part
        write_csv(name, rows)
    summary = summarise(rows, detectors, shares)
    write_csv(f"{name}_summary", summary)
    if data == "digits":
        draw(summary, PICTURES / "contamination.png")
    for r in summary:
        print("  ".join(f"{v:.3f}" if isinstance(v, float) else str(v) for v in r.values()))


if __name__ == "__main__":
    main()
