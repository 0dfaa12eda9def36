"""
Compare with PyOD's detectors
=============================

The detectors of this package and some of PyOD's, all with their defaults, on
the same rows: benign tumours with some malignant ones among them. Labels are
used only to rate the scores.

One small data set says little about detectors in general; :doc:`/benchmarks`
has many.
"""

# %%

import time

import matplotlib.pyplot as plt
import numpy as np
from pyod.models.auto_encoder import AutoEncoder
from pyod.models.ecod import ECOD
from pyod.models.hbos import HBOS
from pyod.models.iforest import IForest
from pyod.models.knn import KNN
from pyod.models.lof import LOF
from pyod.models.pca import PCA
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.preprocessing import StandardScaler

from skrdae import (
    AnoGANDetector,
    RobustDeepAutoencoder,
    RobustPCA,
    VAEDetector,
)

X, benign = load_breast_cancer(return_X_y=True)
rows = np.r_[np.flatnonzero(benign == 0)[:40], np.flatnonzero(benign == 1)]
X, y = StandardScaler().fit_transform(X[rows]), 1 - benign[rows]
print(f"{len(X)} rows of {X.shape[1]} columns, {y.sum()} anomalies")

detectors = {
    "RobustDeepAutoencoder": RobustDeepAutoencoder(random_state=0),
    "VAEDetector": VAEDetector(random_state=0),
    "AnoGANDetector": AnoGANDetector(random_state=0),
    "RobustPCA": RobustPCA(),
    "PyOD IForest": IForest(random_state=0),
    "PyOD KNN": KNN(),
    "PyOD LOF": LOF(),
    "PyOD ECOD": ECOD(),
    "PyOD HBOS": HBOS(),
    "PyOD PCA": PCA(random_state=0),
    "PyOD AutoEncoder": AutoEncoder(random_state=0, verbose=0),
}

# %%
# Each detector is fitted twice, and the second fit is timed. The first may
# include what is done only once in a process, such as compiling.

results = {}
for name, detector in detectors.items():
    detector.fit(X)
    start = time.perf_counter()
    detector.fit(X)
    seconds = time.perf_counter() - start
    scores = detector.decision_scores_
    results[name] = (
        roc_auc_score(y, scores),
        average_precision_score(y, scores),
        seconds,
    )

# %%
# Orange is this package, blue is PyOD. The dashed line is what random scores
# give. Times are those of one thread of the machine that made this page.

for name, (auc, precision, seconds) in results.items():
    rates = f"ROC AUC {auc:.3f}  average precision {precision:.3f}"
    print(f"{name:<22} {rates}  {seconds:5.2f} s")
names = sorted(results, key=lambda name: results[name][1])
values = np.array([results[name] for name in names])
colours = [
    "tab:blue" if name.startswith("PyOD") else "tab:orange" for name in names
]
figure, axes = plt.subplots(
    1, 3, figsize=(10, 4), sharey=True, layout="constrained"
)
titles = ("ROC AUC", "average precision", "seconds a fit")
for ax, column, title in zip(axes, values.T, titles, strict=True):
    ax.barh(names, column, color=colours)
    ax.set_title(title)
    ax.spines[["top", "right"]].set_visible(False)
axes[0].axvline(0.5, color="0.3", lw=1, ls="--")
axes[1].axvline(y.mean(), color="0.3", lw=1, ls="--")
for ax, column in zip(axes[:2], values.T, strict=False):
    ax.set_xlim(0, 1)
    for place, value in enumerate(column):
        ax.text(
            value - 0.02,
            place,
            f"{value:.2f}",
            ha="right",
            va="center",
            color="w",
            fontsize=9,
        )
axes[2].set_xscale("log")
plt.show()
