"""The picture in README.md: what the robust autoencoder makes of foreign digits and of its own.

    python benchmarks/readme_picture.py

Needs no data but those of scikit-learn.
"""

import numpy as np
import torch
from matplotlib.figure import Figure
from report import PICTURES

from skrdae import RobustDeepAutoencoder
from skrdae.demo import one_class_digits

N_FLAGGED, N_ORDINARY = 6, 4
RED, GREY = "#c0392b", "0.75"


def main():
    torch.set_num_threads(1)
    X, _ = one_class_digits(digit=4, seed=0)
    detector = RobustDeepAutoencoder(
        scaler=None,
        output_activation="sigmoid",
        max_iter=10,
        n_epochs=10,
        contamination=0.05,
        random_state=0,
    ).fit(X)
    order = np.argsort(-detector.decision_scores_)
    middle = len(order) // 2
    shown = np.r_[order[:N_FLAGGED], order[middle : middle + N_ORDINARY]]
    sparse = detector.decompose(X[shown])[1]
    explained = detector.inverse_transform(detector.transform(X[shown]))
    figure = Figure(figsize=(9, 2.7), layout="constrained")
    axes = figure.subplots(3, len(shown))
    reach = np.abs(sparse).max()
    grey, colours = {"cmap": "gray_r", "vmin": 0, "vmax": 1}, {"cmap": "RdBu_r"}
    colours |= {"vmin": -reach, "vmax": reach}
    lines = [
        ("images", X[shown], grey),
        ("reconstruction", explained, grey),
        ("S, the\nanomalous part", sparse, colours),
    ]
    for k, (line, (name, images, style)) in enumerate(zip(axes, lines, strict=True)):
        for axis, row, image in zip(line, shown, images, strict=True):
            axis.imshow(image.reshape(8, 8), **style)
            axis.set(xticks=[], yticks=[])
            flagged = detector.labels_[row]
            axis.spines[:].set(color=RED if flagged else GREY, linewidth=2.5 if flagged else 1)
            if k == 0:
                score = f"{detector.decision_scores_[row]:.2f}"
                axis.set_title(score, fontsize=13, color=RED if flagged else "0.3")
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=12, labelpad=8)
    axes[0, 0].annotate(
        "score", (0, 1), (-8, 6), "axes fraction", "offset points", fontsize=12, ha="right"
    )
    figure.savefig(PICTURES / "readme.png", dpi=130)


if __name__ == "__main__":
    main()
