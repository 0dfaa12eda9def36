"""All detectors on MNIST: find the 5 % foreign digits among the images of the digit 4.

    python benchmarks/mnist_detectors.py

The task of ``mnist_l21.py``, without labels: every detector flags the 5 % that score highest, and
F1 is that of the flagged images; "best F1" is that of the best threshold on the same scores. One
member each, with the published 200 hidden units and 10 latent dimensions.
"""

import argparse
import time

import numpy as np
import torch
from datasets import add_data_argument, load_mnist, one_class
from mnist_l21 import SHARE, robust
from report import write_csv
from sklearn.ensemble import IsolationForest
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    precision_recall_curve,
    roc_auc_score,
)
from tqdm import tqdm

from skrdae import AnoGANDetector, VAEDetector

COMMON = {
    "hidden_layer_sizes": (200,),
    "latent_dim": 10,
    "n_epochs": 60,
    "n_estimators": 1,
    "scaler": None,
    "contamination": SHARE,
}


def anogan(seed, inference):
    return AnoGANDetector(
        **COMMON,
        inference=inference,
        activation="relu",
        output_activation="sigmoid",
        n_encoder_epochs=60,
        random_state=seed,
    )


DETECTORS = {
    "RobustDeepAutoencoder": lambda seed: robust(seed, contamination=SHARE),
    "VAEDetector, Bernoulli": lambda seed: VAEDetector(
        **COMMON, likelihood="bernoulli", random_state=seed
    ),
    "VAEDetector, Gaussian": lambda seed: VAEDetector(**COMMON, random_state=seed),
    "AnoGANDetector, encoder": lambda seed: anogan(seed, "encoder"),
    "AnoGANDetector, hybrid": lambda seed: anogan(seed, "hybrid"),
    "AnoGANDetector, search": lambda seed: anogan(seed, "search"),
    "IsolationForest": lambda seed: IsolationForest(contamination=SHARE, random_state=seed),
}


def run(name, X, y, draw):
    start = time.perf_counter()
    detector = DETECTORS[name](draw).fit(X)
    seconds = time.perf_counter() - start
    if name == "IsolationForest":
        scores, labels = -detector.score_samples(X), detector.predict(X) == -1
    else:
        scores, labels = detector.decision_scores_, detector.labels_
    precision, recall, _ = precision_recall_curve(y, scores)
    best = np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12))
    return {
        "detector": name,
        "draw": draw,
        "f1": float(f1_score(y, labels)),
        "best_f1": float(best),
        "roc_auc": float(roc_auc_score(y, scores)),
        "average_precision": float(average_precision_score(y, scores)),
        "seconds": seconds,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data_argument(parser)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    images, digits = load_mnist(arguments.data_dir)
    rows = []
    for draw in tqdm(range(arguments.draws), unit="draw"):
        X, y = one_class(images, digits, 4, draw, SHARE)
        rows += [run(name, X, y, draw) for name in DETECTORS]
        write_csv("mnist_detectors", rows)
    summary = []
    for name in DETECTORS:
        here = [r for r in rows if r["detector"] == name]
        means = {
            key: float(np.mean([r[key] for r in here]))
            for key in ("f1", "best_f1", "roc_auc", "average_precision", "seconds")
        }
        summary.append({"detector": name, "draws": len(here)} | means)
        print(*(f"{v:.3f}" if isinstance(v, float) else v for v in summary[-1].values()))
    write_csv("mnist_detectors_summary", summary)


if __name__ == "__main__":
    main()
