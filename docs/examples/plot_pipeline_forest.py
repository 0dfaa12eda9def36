"""
In pipelines, with forests
==========================

The detectors are ordinary estimators. One search tunes λ and
:class:`~sklearn.ensemble.IsolationForest` beside each other, and the codes of a detector are
features for a random forest.
"""

# %%
# One search over two detectors
# -----------------------------
#
# Benign tumours with some malignant ones among them. scikit-learn's outlier detectors score normal
# rows high, those of this package anomalies; the scorers of :mod:`skrdae.metrics` know both. The
# bars are standard errors over the folds: what differs by less than they are long is no difference.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.metrics import PrecisionRecallDisplay
from sklearn.model_selection import (
    GridSearchCV,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from skrdae import RobustDeepAutoencoder
from skrdae.metrics import average_precision_scorer
from skrdae.plotting import LatentSpaceDisplay

X, benign = load_breast_cancer(return_X_y=True)
rows = np.r_[np.flatnonzero(benign == 0)[:40], np.flatnonzero(benign == 1)]
X, y = X[rows], 1 - benign[rows]

robust = RobustDeepAutoencoder(random_state=0)
folds = StratifiedKFold(5, shuffle=True, random_state=0)
search = GridSearchCV(
    Pipeline([("scale", StandardScaler()), ("detect", None)]),
    [
        {"detect": [robust], "detect__lam": [1.0, 2.0, 4.0, 8.0, np.inf]},
        {"detect": [IsolationForest(random_state=0)], "detect__max_samples": [32, 64, 128, 256]},
    ],
    scoring=average_precision_scorer,
    cv=folds,
).fit(X, y)

results = search.cv_results_
figure, axes = plt.subplots(1, 2, figsize=(8.5, 3.6), sharey=True, layout="constrained")
for ax, parameter, name in zip(
    axes,
    ("param_detect__lam", "param_detect__max_samples"),
    ("RobustDeepAutoencoder, λ", "IsolationForest, max_samples"),
    strict=True,
):
    chosen = np.flatnonzero(~np.ma.getmaskarray(results[parameter]))
    values = [results[parameter][i] for i in chosen]
    ax.errorbar(
        range(len(chosen)),
        results["mean_test_score"][chosen],
        results["std_test_score"][chosen] / np.sqrt(folds.n_splits),
        fmt="o",
        capsize=3,
    )
    labels = ["∞" if value == np.inf else f"{value:g}" for value in values]
    ax.set_xticks(range(len(chosen)), labels)
    ax.set(xlabel=name)
    ax.spines[["top", "right"]].set_visible(False)
axes[0].set_ylabel("average precision, mean ± standard error")
chosen = search.best_params_["detect"]
print(f"chosen: {type(chosen).__name__}, average precision {search.best_score_:.3f}")

# %%
# Precision and recall of the best of each kind, over the rows left out of each fold. A pipeline
# that ends in a detector scores rows like the detector itself.

splits = list(folds.split(X, y))
figure, ax = plt.subplots(figsize=(5.2, 4), layout="constrained")
for kind, sign in ((RobustDeepAutoencoder, 1), (IsolationForest, -1)):
    mine = [i for i, p in enumerate(results["params"]) if isinstance(p["detect"], kind)]
    best = results["params"][max(mine, key=lambda i: results["mean_test_score"][i])]
    pipeline = search.estimator.set_params(**best)
    scores = sign * cross_val_predict(pipeline, X, cv=splits, method="decision_function")
    PrecisionRecallDisplay.from_predictions(y, scores, name=kind.__name__, ax=ax)
ax.legend(frameon=False, loc="lower left")

# %%
# Codes for a random forest
# -------------------------
#
# ``transform`` gives the codes of a detector that has never seen a label. Here they are what a
# random forest learns ten digits from, beside the pixels themselves; the share of images recognised
# is that of five folds.

images, digits = load_digits(return_X_y=True)
images = images / 16
encoder = RobustDeepAutoencoder(
    hidden_layer_sizes=(64, 10),
    scaler=None,
    max_iter=10,
    n_epochs=5,
    n_estimators=1,
    random_state=0,
)
forest = RandomForestClassifier(50, random_state=0)
for name, pipeline in {"pixels": forest, "codes": make_pipeline(encoder, forest)}.items():
    accuracy = cross_val_score(pipeline, images, digits, cv=folds).mean()
    n_columns = images.shape[1] if name == "pixels" else encoder.hidden_layer_sizes[-1]
    print(f"{name}: {n_columns} columns, accuracy {accuracy:.3f}")

# %%
# What the codes know: zeros (red) lie together among the other digits (blue), although nobody told
# the network which images are zeros.

codes = encoder.fit_transform(images)
LatentSpaceDisplay.from_predictions(codes, digits == 0, kinds=("other digits", "zeros"))
plt.show()
