"""What Adam's ε does to a network trained on contaminated data.

    python benchmarks/adam_epsilon.py

The network of ``mnist_l21.py`` on the digit 4, 60 epochs, λ chosen without a label, three draws;
and the detector's defaults on scikit-learn's breast-cancer data with 5 % malignant tumours left
in.
"""

import argparse

import numpy as np
from datasets import add_data_argument, load_mnist, one_class
from mnist_l21 import robust
from report import write_csv
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import average_precision_score, roc_auc_score

from skrdae import RobustDeepAutoencoder
from skrdae.training.adam import MemberAdam


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data_argument(parser)
    parser.add_argument("--draws", type=int, default=3)
    arguments = parser.parse_args()
    images, digits = load_mnist(arguments.data_dir)
    features, benign = load_breast_cancer(return_X_y=True)
    rows = []
    for epsilon in (1e-8, 1e-4, 1e-2, 1e-1):
        MemberAdam._EPS = epsilon
        for seed in range(arguments.draws):
            tasks = {
                "MNIST, digit 4": (
                    one_class(images, digits, 4, seed),
                    robust(seed, contamination=0.05).set_params(max_iter=6, lr=1e-3),
                ),
                "breast cancer": (
                    one_class(features, benign, 1, seed),
                    RobustDeepAutoencoder(random_state=seed),
                ),
            }
            for name, ((X, y), detector) in tasks.items():
                scores = detector.fit(X).decision_scores_
                rows.append(
                    {
                        "data": name,
                        "epsilon": f"{epsilon:g}",
                        "draw": seed,
                        "roc_auc": roc_auc_score(y, scores),
                        "average_precision": average_precision_score(y, scores),
                    }
                )
    write_csv("adam_epsilon", rows)
    for name in ("MNIST, digit 4", "breast cancer"):
        for epsilon in dict.fromkeys(r["epsilon"] for r in rows):
            here = [r for r in rows if (r["data"], r["epsilon"]) == (name, epsilon)]
            means = [np.mean([r[k] for r in here]) for k in ("roc_auc", "average_precision")]
            print(f"{name}  ε = {epsilon}: ROC AUC {means[0]:.3f}, AP {means[1]:.3f}")


if __name__ == "__main__":
    main()
