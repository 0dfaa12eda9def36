"""
Tune λ beside IsolationForest with GridSearchCV
===============================================

One :class:`~sklearn.model_selection.GridSearchCV` over a pipeline tries
several λ of :class:`~skrdae.RobustDeepAutoencoder` and several settings of
:class:`~sklearn.ensemble.IsolationForest`, and takes what scores best on the
rows left out.
"""

# %%
# One search over two detectors
# -----------------------------
#
# 357 benign tumours and 40 malignant ones. scikit-learn's outlier detectors
# give normal rows high scores, and those of this package give them to
# anomalies. The scorers of :mod:`skrdae.metrics` work for both. Labels are
# used by the scorer, and by the folds to have equal shares of anomalies.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import IsolationForest
from sklearn.metrics import PrecisionRecallDisplay
from sklearn.model_selection import (
    GridSearchCV,
    StratifiedKFold,
    cross_val_predict,
)
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skrdae import RobustDeepAutoencoder
from skrdae.metrics import average_precision_scorer

X, benign = load_breast_cancer(return_X_y=True)
rows = np.r_[np.flatnonzero(benign == 0)[:40], np.flatnonzero(benign == 1)]
X, y = X[rows], 1 - benign[rows]

robust = RobustDeepAutoencoder(random_state=0)
folds = StratifiedKFold(5, shuffle=True, random_state=0)
search = GridSearchCV(
    Pipeline([("scale", StandardScaler()), ("detect", None)]),
    [
        {"detect": [robust], "detect__lam": [1.0, 2.0, 4.0, 8.0, np.inf]},
        {
            "detect": [IsolationForest(random_state=0)],
            "detect__max_samples": [32, 64, 128, 256],
        },
    ],
    scoring=average_precision_scorer,
    cv=folds,
).fit(X, y)

# %%
# The results
# -----------
#
# A row for each candidate: the mean over the folds and its standard error.
# Differences smaller than the standard error say nothing.

results = search.cv_results_
errors = results["std_test_score"] / np.sqrt(folds.n_splits)
for i in np.argsort(results["rank_test_score"], kind="stable"):
    candidate = dict(results["params"][i])
    name = type(candidate.pop("detect")).__name__
    ((parameter, value),) = candidate.items()
    setting = f"{parameter.removeprefix('detect__')} = {value:g}"
    mean = results["mean_test_score"][i]
    print(f"{name:<22} {setting:<18} {mean:.3f} ± {errors[i]:.3f}")

figure, axes = plt.subplots(
    1, 2, figsize=(8.5, 3.6), sharey=True, layout="constrained"
)
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
        errors[chosen],
        fmt="o",
        capsize=3,
    )
    labels = ["∞" if value == np.inf else f"{value:g}" for value in values]
    ax.set_xticks(range(len(chosen)), labels)
    ax.set(xlabel=name)
    ax.spines[["top", "right"]].set_visible(False)
axes[0].set_ylabel("average precision, mean ± standard error")

# %%
# Precision and recall
# --------------------
#
# Of the best candidate of each kind, on the rows left out of each fold.

splits = list(folds.split(X, y))
figure, ax = plt.subplots(figsize=(5.2, 4), layout="constrained")
for kind, sign in ((RobustDeepAutoencoder, 1), (IsolationForest, -1)):
    mine = [
        i
        for i, p in enumerate(results["params"])
        if isinstance(p["detect"], kind)
    ]
    best = results["params"][
        max(mine, key=lambda i: results["mean_test_score"][i])
    ]
    pipeline = search.estimator.set_params(**best)
    scores = sign * cross_val_predict(
        pipeline, X, cv=splits, method="decision_function"
    )
    PrecisionRecallDisplay.from_predictions(
        y, scores, name=kind.__name__, ax=ax
    )
ax.legend(frameon=False, loc="lower left")
# sphinx_gallery_thumbnail_number = 2
plt.show()
