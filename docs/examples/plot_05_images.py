"""
Find unusual images and see what is unusual in them
===================================================

Images of the digit 4 with a few other digits among them. No label is used:
:class:`~skrdae.RobustDeepAutoencoder` is fitted to the mixture and splits each
image into X = L + S. L is what the network can explain, and S shows the pixels
that it cannot.
"""

# %%
# Images as rows
# --------------
#
# An image is a row of its pixels: ``images.reshape(len(images), -1)``. All
# pixels have one unit, so no scaler is needed (``scaler=None``), but they have
# to be in [0, 1]: divide by the largest value possible, 255 for photographs
# and 16 for these digits. ``one_class_digits`` has done this.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.metrics import (
    PrecisionRecallDisplay,
    average_precision_score,
    roc_auc_score,
)

from skrdae import RobustDeepAutoencoder
from skrdae.demo import one_class_digits
from skrdae.plotting import DecompositionDisplay, ScoreDisplay

X, y = one_class_digits(digit=4, seed=0)
print(
    f"{len(X)} images of {X.shape[1]} pixels, {y.sum()} of them other digits"
)
print(f"pixels from {X.min():g} to {X.max():g}")

# %%
# The fit
# -------
#
# ``contamination`` is the share of the images to flag, and λ follows from it.
# A sigmoid keeps the output of the network in [0, 1]. The images are few, so
# the training is longer than by default.

detector = RobustDeepAutoencoder(
    scaler=None,
    output_activation="sigmoid",
    max_iter=10,
    n_epochs=10,
    contamination=0.05,
    random_state=0,
).fit(X)
flagged = detector.labels_ == 1
print(f"{flagged.sum()} flagged, {y[flagged].sum()} of them other digits")

ScoreDisplay.from_estimator(detector, y=y)

# %%
# What L and S show
# -----------------
#
# The 16 images with the highest scores. S is red where the network does not
# expect ink, blue where it expects ink that is missing, and white where it
# agrees. L = X − S is the image without what is unusual. An image whose S is
# white everywhere is explained as it is.

highest = np.argsort(-detector.decision_scores_)[:16]
margins = {
    "left": 0.01,
    "right": 0.99,
    "bottom": 0.01,
    "top": 0.9,
    "wspace": 0.05,
}
figure, axes = plt.subplots(1, 3, figsize=(9, 3.3), gridspec_kw=margins)
DecompositionDisplay.from_estimator(
    detector, X[highest], image_shape=(8, 8), ax=axes
)

# %%
# Compared with IsolationForest
# -----------------------------
#
# The twelve highest scores of each detector, from left to right. Other digits
# have a red frame. scikit-learn's forest gives normal rows high scores, hence
# the minus sign.

forest = IsolationForest(random_state=0).fit(X)
scores = {
    "RobustDeepAutoencoder": detector.decision_scores_,
    "IsolationForest": -forest.score_samples(X),
}
figure = plt.figure(figsize=(9, 2.4), layout="constrained")
for part, (name, score) in zip(
    figure.subfigures(2), scores.items(), strict=True
):
    part.suptitle(name, x=0.01, ha="left", fontsize=10)
    for ax, row in zip(part.subplots(1, 12), np.argsort(-score), strict=False):
        ax.imshow(X[row].reshape(8, 8), cmap="gray_r")
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set(color="tab:red" if y[row] else "0.8", linewidth=3)

# %%
# Precision and recall for all thresholds:

figure, ax = plt.subplots(figsize=(5, 4), layout="constrained")
for name, score in scores.items():
    PrecisionRecallDisplay.from_predictions(y, score, name=name, ax=ax)
    print(
        f"{name:<22} ROC AUC {roc_auc_score(y, score):.3f}"
        f"   average precision {average_precision_score(y, score):.3f}"
    )
ax.legend(frameon=False, loc="lower left")
# sphinx_gallery_thumbnail_number = 2
plt.show()
