"""
Foreign digits
==============

All images of the digit 4 among those that scikit-learn ships, and a few of other digits. No label
is used: :class:`~skrdae.RobustDeepAutoencoder` is fitted to the mixture, splits each image in
X = L + S, and the foreign ones are those whose S is large.
"""

# %%
# The data
# --------

import matplotlib.pyplot as plt
import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.metrics import PrecisionRecallDisplay, average_precision_score, roc_auc_score

from skrdae import RobustDeepAutoencoder
from skrdae.demo import one_class_digits
from skrdae.plotting import DecompositionDisplay, ScoreDisplay

X, y = one_class_digits(digit=4, seed=0)
print(f"{len(X)} images of {X.shape[1]} pixels, {y.sum()} of them foreign")

# %%
# The fit
# -------
#
# Pixels lie in [0, 1] already, so there is no scaler. ``contamination`` is the share of the images
# to flag, and from it λ is found, too. The images are clean and few, so the training is longer than
# by default.

detector = RobustDeepAutoencoder(
    scaler=None,
    output_activation="sigmoid",
    max_iter=10,
    n_epochs=10,
    contamination=0.05,
    random_state=0,
).fit(X)
print(f"{detector.labels_.sum()} flagged, {y[detector.labels_ == 1].sum()} of them foreign")

ScoreDisplay.from_estimator(detector, y=y)

# %%
# X = L + S
# ---------
#
# The 16 images that score highest. S is what the network cannot explain of an image: red where a
# stroke should not be, blue where one is missing. L is the image without it. Where S is white
# throughout the image is explained as it is.

highest = np.argsort(-detector.decision_scores_)[:16]
margins = {"left": 0.01, "right": 0.99, "bottom": 0.01, "top": 0.9, "wspace": 0.05}
figure, axes = plt.subplots(1, 3, figsize=(9, 3.3), gridspec_kw=margins)
DecompositionDisplay.from_estimator(detector, X[highest], image_shape=(8, 8), ax=axes)

# %%
# Beside IsolationForest
# ----------------------
#
# scikit-learn's forest scores normal rows high, hence the minus sign. Each row of images shows what
# one detector finds most anomalous, from left to right; frames in red are foreign digits.

forest = IsolationForest(random_state=0).fit(X)
scores = {
    "RobustDeepAutoencoder": detector.decision_scores_,
    "IsolationForest": -forest.score_samples(X),
}
figure = plt.figure(figsize=(9, 2.4), layout="constrained")
for part, (name, score) in zip(figure.subfigures(2), scores.items(), strict=True):
    part.suptitle(name, x=0.01, ha="left", fontsize=10)
    for ax, row in zip(part.subplots(1, 12), np.argsort(-score), strict=False):
        ax.imshow(X[row].reshape(8, 8), cmap="gray_r")
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set(color="tab:red" if y[row] else "0.8", linewidth=3)

# %%
# The same along all thresholds:

figure, ax = plt.subplots(figsize=(5, 4), layout="constrained")
for name, score in scores.items():
    PrecisionRecallDisplay.from_predictions(y, score, name=name, ax=ax)
    print(
        f"{name:<22} ROC AUC {roc_auc_score(y, score):.3f}"
        f"   average precision {average_precision_score(y, score):.3f}"
    )
ax.legend(frameon=False, loc="lower left")
plt.show()
