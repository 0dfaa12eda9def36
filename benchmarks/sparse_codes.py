"""What a penalty on codes is worth on wide and sparse tables.

    python benchmarks/sparse_codes.py --data-dir DIR

Digits of MNIST as tables: 784 columns, of which some 80 % are zero in a row. Of each digit 2,000
rows, 5 % of them other digits; no labels; one network of 10 × 5 epochs, without scaling; a narrow
code (the default, 28 units) and a wide one (100 units after 200), each without and with the
penalty. The weights were chosen on the digits 2, 4 and 8, the first draw.
"""

import argparse
import time

import numpy as np
import torch
from datasets import _stratified, add_data_argument, load_mnist, one_class
from report import write_csv
from sklearn.metrics import average_precision_score, roc_auc_score
from tqdm import tqdm

from skrdae import RobustDeepAutoencoder

TRAINING = {"scaler": None, "n_estimators": 1, "max_iter": 10, "n_epochs": 5}
CODES = {"28": "auto", "100": (200, 100)}
SPARSITIES = (0.0, 1.0, 3.0)


def run(X, y, sizes, sparsity, seed):
    """Fit one network; return its figures."""
    start = time.process_time()
    detector = RobustDeepAutoencoder(
        hidden_layer_sizes=sizes, sparsity=sparsity, random_state=seed, **TRAINING
    ).fit(X)
    seconds = time.process_time() - start
    codes = np.abs(detector.transform(X))
    return {
        "roc_auc": roc_auc_score(y, detector.decision_scores_),
        "average_precision": average_precision_score(y, detector.decision_scores_),
        "near_zero": float((codes < 0.05).mean()),  # a share of the units of all rows
        "seconds": seconds,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--digits", type=int, nargs="+", default=list(range(10)))
    add_data_argument(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    images, digits = load_mnist(options.data_dir)
    rows = []
    for digit in tqdm(options.digits):
        for draw in range(options.draws):
            X, y = _stratified(*one_class(images, digits, digit, draw), 2000)
            for code, sizes in CODES.items():
                for sparsity in SPARSITIES:
                    row = {"digit": digit, "draw": draw, "code": code, "sparsity": sparsity}
                    rows.append(row | run(X, y, sizes, sparsity, draw))
        write_csv("sparse_codes", rows)
    figures = ("roc_auc", "average_precision", "near_zero", "seconds")
    summary = []
    for code in CODES:
        for sparsity in SPARSITIES:
            mine = [r for r in rows if (r["code"], r["sparsity"]) == (code, sparsity)]
            means = {key: float(np.mean([r[key] for r in mine])) for key in figures}
            summary.append({"code": code, "sparsity": f"{sparsity:g}", "fits": len(mine)} | means)
            print(summary[-1])
    write_csv("sparse_codes_summary", summary)


if __name__ == "__main__":
    main()
