"""
Choose λ with labels by cross-validation
========================================

λ is how large a residual has to be before it moves from L to S. A *larger* λ
makes S sparser and flags *fewer* rows.
:class:`~skrdae.RobustDeepAutoencoderCV` tries a path of values, from the one
that leaves S empty downwards, and takes the one that scores best on the rows
left out.
"""

# %%
# The search
# ----------
#
# The fours among scikit-learn's digits, with ten other digits.
# ``contamination="auto"`` flags exactly the images whose S is not zero, so λ
# decides what is flagged, and F1 rates that. Labels are used to choose λ and
# for nothing else. A network trained on fewer rows leaves larger residuals, so
# λ is a multiple of their median, which carries over from the folds to the fit
# to all images.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import f1_score, precision_score, recall_score

from skrdae import RobustDeepAutoencoder, RobustDeepAutoencoderCV
from skrdae.demo import one_class_digits
from skrdae.plotting import LamPathDisplay

X, y = one_class_digits(digit=4, seed=0)
options = {
    "contamination": "auto",
    "hidden_layer_sizes": (64, 8),
    "scaler": None,
    "output_activation": "sigmoid",
    "max_iter": 10,
    "n_epochs": 10,
    "n_estimators": 1,
    "random_state": 0,
}
search = RobustDeepAutoencoderCV(lams=12, cv=10, scoring="f1", **options).fit(
    X, y
)
best = search.lams_[search.scores_path_.mean(axis=1).argmax()]
print(f"from {search.lam_max_:.2f} medians down to {search.lams_[-1]:.2f}")
print(f"chosen: {best:.2f}, which flags {search.labels_.sum()} images")
print(f"F1 on all images: {f1_score(y, search.labels_):.3f}")

display = LamPathDisplay.from_estimator(
    search, score_name="F1 on the images left out"
)
display.ax_.set(ylim=(-0.02, 1.02))

# %%
# The direction of λ
# ------------------
#
# The same values of λ, each fitted to all images. On the right λ is large and
# hardly anything is flagged. Further to the left more images are flagged,
# first the other digits and then the fours. With λ = ∞ nothing is flagged:
# this is the plain autoencoder.

rows = []
for lam in search.lams_:
    labels = RobustDeepAutoencoder(f"{lam}*median", **options).fit(X).labels_
    precision = precision_score(
        y, labels, zero_division=np.nan
    )  # of no rows it is not defined
    rows.append(
        (
            labels.mean(),
            precision,
            recall_score(y, labels),
            f1_score(y, labels),
        )
    )
names = ("share flagged", "precision", "recall", "F1")
figure, ax = plt.subplots(figsize=(6.5, 4), layout="constrained")
for name, values in zip(names, np.transpose(rows), strict=True):
    thick = name == "share flagged"
    ax.plot(
        search.lams_, values, "o-", ms=3, lw=2.5 if thick else 1.2, label=name
    )
ax.axhline(y.mean(), color="0.6", lw=1, ls=":", label="share of other digits")
ax.axvline(
    best,
    color="0.3",
    lw=1,
    ls="--",
    label=f"chosen: {best:.2f}",
)
ax.set(xlabel="λ / median norm", ylim=(-0.02, 1.02))
ax.legend(
    frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.15)
)
ax.spines[["top", "right"]].set_visible(False)
# sphinx_gallery_thumbnail_number = 2
plt.show()
