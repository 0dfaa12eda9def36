"""ConvRobustAutoencoder on MNIST: find the 5 % foreign digits among the images of one digit.

    python benchmarks/conv_mnist.py

The task of ``mnist_l21.py``, without labels and with the defaults of the detector, which only gets
the share of the foreign digits. For the digit 4 five draws, and for those the plain network
(``lam=inf``), too, and larger shares; one draw of each of the other digits.
"""

import argparse
import time

import numpy as np
import torch
from datasets import add_data_argument, load_mnist, one_class
from report import read_csv, write_csv
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score
from tqdm import tqdm

from skrdae import ConvRobustAutoencoder

SHARE = 0.05
DETECTORS = {"robust": {}, "plain": {"lam": np.inf}}


def run(images, digits, digit, draw, share, name):
    """Return a row of the CSV."""
    X, y = one_class(images, digits, digit, draw, share)
    start = time.perf_counter()
    detector = ConvRobustAutoencoder(contamination=share, random_state=draw, **DETECTORS[name])
    detector.fit(X.reshape(-1, 28, 28))
    return {
        "digit": digit,
        "draw": draw,
        "share": share,
        "detector": name,
        "f1": float(f1_score(y, detector.labels_)),
        "average_precision": float(average_precision_score(y, detector.decision_scores_)),
        "roc_auc": float(roc_auc_score(y, detector.decision_scores_)),
        "seconds": time.perf_counter() - start,
    }


def summarise(rows):
    """Return means over the draws, a row for each digit, share and detector."""
    summary = []
    for key in sorted({(r["digit"], r["share"], r["detector"]) for r in rows}):
        here = [r for r in rows if (r["digit"], r["share"], r["detector"]) == key]
        figures = ("f1", "average_precision", "roc_auc", "seconds")
        means = {name: float(np.mean([r[name] for r in here])) for name in figures}
        summary.append(
            dict(zip(("digit", "share", "detector"), key, strict=True))
            | {"draws": len(here)}
            | means
        )
    found = [r for r in summary if (r["share"], r["detector"]) == (SHARE, "robust")]
    means = {n: float(np.mean([r[n] for r in found])) for n in ("f1", "average_precision")}
    means["roc_auc"] = float(np.mean([r["roc_auc"] for r in found]))
    means["seconds"] = float(np.mean([r["seconds"] for r in found]))
    mean = {"digit": "mean", "share": SHARE, "detector": "robust", "draws": len(found)}
    return [*summary, mean | means]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data_argument(parser)
    parser.add_argument("--draws", type=int, default=5, help="of the digit 4 (default: 5)")
    parser.add_argument("--shares", type=float, nargs="*", default=(0.1, 0.2, 0.3))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--go-on", action="store_true", help="keep what the CSV has")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    images, digits = load_mnist(arguments.data_dir)
    tasks = [(4, draw, SHARE, "robust") for draw in range(arguments.draws)]
    tasks += [(digit, 0, SHARE, "robust") for digit in range(10) if digit != 4]
    tasks += [(4, draw, SHARE, "plain") for draw in range(arguments.draws)]
    tasks += [(4, 0, share, name) for share in arguments.shares for name in DETECTORS]
    rows = read_csv("conv_mnist") if arguments.go_on else []
    done = {(int(r["digit"]), int(r["draw"]), r["share"], r["detector"]) for r in rows}
    for task in tqdm([task for task in tasks if task not in done], unit="fit"):
        rows.append(run(images, digits, *task))
        write_csv("conv_mnist", rows)
        write_csv("conv_mnist_summary", summarise(rows))
    for row in summarise(rows):
        print(*(f"{v:.3f}" if isinstance(v, float) else v for v in row.values()))


if __name__ == "__main__":
    main()
