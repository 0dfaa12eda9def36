"""
Detect fraud in a table and explain each alarm
==============================================

Payments with categories and missing values, read from a CSV file. A detector
is fitted without labels, its threshold is set to 1 % false alarms on payments
that have been checked, and each alarm comes with the columns that caused it.
"""

# %%
# The file
# --------
#
# The script writes the CSV file itself. Replace ``path`` by the path of your
# own file.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.pipeline import Pipeline

import skrdae
from skrdae import RobustDeepAutoencoder
from skrdae.plotting import DecompositionDisplay, ScoreDisplay
from skrdae.tables import TableEncoder, read_table
from skrdae.thresholds import tune_threshold


def make_payments(n=9000, seed=0):
    """Return payments, about 2 % of them fraudulent."""
    rng = np.random.default_rng(seed)
    shops = ["grocery", "fuel", "restaurant", "travel", "electronics"]
    usual = {
        "grocery": 35,
        "fuel": 50,
        "restaurant": 45,
        "travel": 120,
        "electronics": 90,
    }
    shop = rng.choice(shops, n, p=[0.35, 0.2, 0.2, 0.1, 0.15])
    amount = np.array([usual[name] for name in shop])
    amount = amount * rng.lognormal(0, 0.4, n)
    hour = rng.normal(15, 3.5, n).clip(0, 23.9)
    distance = rng.lognormal(1.5, 0.8, n) * np.where(shop == "travel", 5, 1)
    country = rng.choice(
        ["home", "neighbour", "other"], n, p=[0.75, 0.15, 0.1]
    )
    payments_today = 1.0 + rng.poisson(1.0, n)
    fraud = rng.random(n) < 0.02
    kind = rng.integers(3, size=n)
    night, abroad, series = (fraud & (kind == i) for i in range(3))
    hour[night] = rng.uniform(1, 5, night.sum())
    amount[night] *= rng.uniform(5, 15, night.sum())
    country[abroad] = "other"
    distance[abroad] *= rng.uniform(20, 80, abroad.sum())
    payments_today[series] += rng.integers(8, 20, series.sum())
    table = pd.DataFrame(
        {
            "shop": shop,
            "country": country,
            "amount": amount.round(2),
            "hour": hour.round(2),
            "distance_km": distance.round(1),
            "payments_today": payments_today,
            "fraud": fraud.astype(int),
        }
    )
    table.loc[rng.random(n) < 0.05, "distance_km"] = np.nan
    table.loc[rng.random(n) < 0.02, "country"] = None
    return table


folder = tempfile.TemporaryDirectory()
path = Path(folder.name, "payments.csv")
make_payments().to_csv(path, index=False)

payments = read_table(path)
print(payments.head(3).to_string(index=False))
n_missing = payments.isna().sum()
print("missing values:", n_missing[n_missing > 0].to_dict())

# %%
# A pipeline without labels
# -------------------------
#
# The first 5,000 payments train the detector.
# :class:`~skrdae.tables.TableEncoder` fills in missing numbers with the
# column's median and makes a column for each category. The detector scales the
# columns itself.

y = payments.pop("fraud").to_numpy()
train, checked, new = payments[:5000], payments[5000:7000], payments[7000:]
y_checked, y_new = y[5000:7000], y[7000:]

pipeline = Pipeline(
    [
        ("encode", TableEncoder(missing="median", categories="one-hot")),
        ("detect", RobustDeepAutoencoder(contamination=0.02, random_state=0)),
    ]
).fit(train)
scores = pipeline.decision_function(new)
precision = average_precision_score(y_new, scores)
print(f"ROC AUC on new payments  {roc_auc_score(y_new, scores):.3f}")
print(f"average precision        {precision:.3f}")
print(f"  of random scores       {y_new.mean():.3f}")

# %%
# One per cent of false alarms
# ----------------------------
#
# The next 2,000 payments have been checked by people, so there are labels.
# With them the threshold is set as low as 1 % false alarms allow. On new
# payments the rate is 1 % up to chance.

tuned = tune_threshold(pipeline, checked, y_checked, "max_fpr", value=0.01)
flagged = tuned.predict(new) == 1
print(f"new payments   {len(new)}, of them {y_new.sum()} frauds")
print(f"alarms         {flagged.sum()}")
for name, part in (("frauds found", y_new == 1), ("false alarms", y_new == 0)):
    n, share = flagged[part].sum(), flagged[part].mean()
    print(f"{name}   {n}, {share:.1%} of {part.sum()}")

display = ScoreDisplay.from_predictions(
    scores, tuned["detect"].threshold_, y_new
)
display.ax_.set_title("Scores of new payments")

# %%
# Reasons for each alarm
# ----------------------
#
# ``skrdae.explain`` splits a score into shares of the columns of the file; the
# shares of the values of one category are added up. A common value can be a
# reason, too, where it does not go with the others: groceries are common, but
# not for such an amount.

shares = skrdae.explain(tuned, new)
encoder, detector = tuned["encode"], tuned["detect"]
encoded = encoder.transform(new)


def in_words(row, column):
    """Say what is in a cell, and what is usual there."""
    value = new.loc[row, column]
    if column in encoder.categories_:
        share = (train[column] == value).mean()
        return f"{column} is {value!r} ({share:.1%} of all payments)"
    low, high = train[column].quantile([0.05, 0.95])
    return f"{column} is {value:g} (usually {low:.4g} to {high:.4g})"


order = np.argsort(-scores)[:6]
for place in order:
    row = new.index[place]
    reasons = (shares.loc[row] / shares.loc[row].sum()).nlargest(2)
    what = "fraud" if y_new[place] else "normal"
    print(f"payment {row}, score {scores[place]:.1f}, {what}")
    for column, share in reasons.items():
        print(f"    {share:4.0%}  {in_words(row, column)}")

# %%
# The same as a picture
# ---------------------
#
# The twenty highest scores in units of each column's scale: X is what was
# read, L what the network can explain, and S the rest. Red is more than usual,
# blue is less.

highest = encoded.iloc[np.argsort(-scores)[:20]]
display = DecompositionDisplay.from_estimator(detector, highest)
# sphinx_gallery_thumbnail_number = 1
folder.cleanup()
plt.show()
