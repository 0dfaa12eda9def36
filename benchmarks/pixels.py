"""Pixels on three scales, with and without a scaler: scikit-learn's digits.

    python benchmarks/pixels.py

All images of one digit and 5 % of other digits, ten digits, three draws, no label used:
``RobustDeepAutoencoder`` with ``max_iter=10, n_epochs=10``, as the documentation advises.
"""

import numpy as np
import torch
from report import write_csv
from sklearn.metrics import average_precision_score, roc_auc_score
from tqdm import tqdm

from skrdae import RobustDeepAutoencoder
from skrdae.demo import one_class_digits

#: the largest value of a pixel → whether a sigmoid can reach it
SCALES = {1: True, 16: False, 255: False}
N_DRAWS = 3


def settings(largest):
    """Return name → parameters of the detector."""
    found = {"scaler=None": {"scaler": None}, "scaler='robust'": {}}
    if SCALES[largest]:
        found["scaler=None, sigmoid"] = {"scaler": None, "output_activation": "sigmoid"}
    return found


def main():
    torch.set_num_threads(1)
    rows = []
    for digit in tqdm(range(10), unit="digit"):
        for draw in range(N_DRAWS):
            X, y = one_class_digits(digit, draw)
            for largest in SCALES:
                for name, options in settings(largest).items():
                    detector = RobustDeepAutoencoder(
                        max_iter=10, n_epochs=10, random_state=draw, **options
                    )
                    scores = detector.fit(X * largest).decision_scores_
                    rows.append(
                        {
                            "digit": digit,
                            "draw": draw,
                            "largest": largest,
                            "setting": name,
                            "roc_auc": float(roc_auc_score(y, scores)),
                            "average_precision": float(average_precision_score(y, scores)),
                        }
                    )
    write_csv("pixels", rows)
    summary = []
    for largest in SCALES:
        for name in settings(largest):
            here = [r for r in rows if (r["largest"], r["setting"]) == (largest, name)]
            four = [r for r in here if r["digit"] == 4]
            figures = {
                "roc_auc": float(np.mean([r["roc_auc"] for r in here])),
                "average_precision": float(np.mean([r["average_precision"] for r in here])),
                "roc_auc_of_fours": float(np.mean([r["roc_auc"] for r in four])),
            }
            summary.append({"largest": largest, "setting": name, "fits": len(here)} | figures)
            print(*summary[-1].values())
    write_csv("pixels_summary", summary)


if __name__ == "__main__":
    main()
