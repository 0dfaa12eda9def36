"""
Detect a machine failure in a temperature series
================================================

The temperature of a large machine, read every five minutes: a planned
shutdown, a subtle disturbance, and days later the failure of the machine.
:class:`~skrdae.WindowedDetector` finds them without labels.

The series is one of the `Numenta Anomaly Benchmark
<https://github.com/numenta/NAB>`__, which is not part of this package. If the
environment variable ``SKRDAE_DATA`` names a folder with
``nab/machine_temperature_system_failure.csv`` and ``nab/windows.json``, the
script reads them (:doc:`/benchmarks` says where to get them). Otherwise it
makes a series of the same kind. The first line of the output and the titles of
the pictures say which series is shown.
"""

# %%
# The series
# ----------

import json
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score

from skrdae import RobustDeepAutoencoder, WindowedDetector
from skrdae.plotting import SeriesDisplay

NAME = "machine_temperature_system_failure.csv"


def published(folder):
    """Return the published series and its labelled windows."""
    series = pd.read_csv(
        folder / NAME, parse_dates=["timestamp"], index_col="timestamp"
    )
    windows = json.loads((folder / "windows.json").read_text())
    key = next(key for key in windows if key.endswith(NAME))
    return series[~series.index.duplicated()], [
        tuple(map(pd.Timestamp, w)) for w in windows[key]
    ]


def imitation():
    """Return ten weeks of a series like it, and what happens in it when."""
    rng = np.random.default_rng(0)
    time = pd.date_range(
        "2024-01-01", periods=70 * 288, freq="5min", name="timestamp"
    )
    step = np.arange(len(time))
    angle = 2 * np.pi * step / 288
    daily = 3 * np.sin(angle) + np.sin(2 * angle + 1)
    drift = np.cumsum(rng.normal(0, 0.015, len(step)))
    drift += 4 * np.sin(2 * np.pi * step / len(step))
    value = pd.Series(88 + daily + drift + rng.normal(0, 0.8, len(step)), time)
    # Cooled down for a planned shutdown and warmed up again.
    shutdown = slice("2024-01-20 06:00", "2024-01-20 22:00")
    depth = np.sin(np.linspace(0, np.pi, len(value[shutdown]))) ** 0.3
    value[shutdown] -= 60 * depth
    # Days before the failure the temperature swings faster than the day does.
    disturbance = slice("2024-02-25 04:00", "2024-02-26 04:00")
    swing = np.sin(2 * np.pi * np.arange(len(value[disturbance])) / 24)
    value[disturbance] += 2.5 * swing
    failure = slice("2024-03-02 12:00", "2024-03-03 00:00")
    fall = np.arange(len(value[failure]))
    value[failure] -= 80 * np.exp(-fall / 80) * (1 - np.exp(-fall / 3))
    stretches = (shutdown, disturbance, failure)
    return value.to_frame("value"), [
        (value[s].index[0], value[s].index[-1]) for s in stretches
    ]


folder = Path(os.environ.get("SKRDAE_DATA", "")) / "nab"
if "SKRDAE_DATA" in os.environ and (folder / NAME).exists():
    source = "the published series"
    series, stretches = published(folder)
else:
    source = "a series made by this script"
    series, stretches = imitation()
y = np.any(
    [(series.index >= a) & (series.index <= b) for a, b in stretches], axis=0
).astype(int)
print(f"Shown here: {source}")
print(f"{len(series)} steps, {len(stretches)} labelled stretches")
print(f"{y.mean():.1%} of the steps are in one of them")

# %%
# Detection
# ---------
#
# Windows of half a day (144 steps) are the rows of a robust autoencoder. A
# step is flagged if all windows that cover it are flagged. The labels are not
# used.

detector = WindowedDetector(
    RobustDeepAutoencoder(random_state=0), window_size=144
).fit(series)
scores = detector.decision_scores_
print(f"ROC AUC {roc_auc_score(y, scores):.3f}")
print(f"average precision {average_precision_score(y, scores):.3f}")
edges = np.flatnonzero(np.diff(np.r_[0, detector.labels_, 0])).reshape(-1, 2)
for start, stop in edges:
    hit = "in a labelled stretch" if y[start:stop].any() else "outside"
    print(f"flagged: {series.index[start]} to {series.index[stop - 1]}, {hit}")

# %%
# Flagged steps are red, labelled stretches have a green bar. The last panel
# shows what decides: steps are flagged where the lowest score of their windows
# is above the dashed threshold. A logarithmic axis shows the small scores
# beside the large ones.

display = SeriesDisplay.from_estimator(detector, series)
above = display.ax_[0]
above.set(title=source, ylabel="temperature")
display.ax_[-1].set_yscale("log")
for a, b in stretches:
    above.plot(
        [a, b], [series["value"].max() + 4] * 2, color="tab:green", lw=4
    )

# %%
# A closer look at the disturbance before the failure.

start, stop = (pd.Timestamp(t) for t in stretches[-2])
near = slice(start - pd.Timedelta("4D"), stop + pd.Timedelta("2D"))
inside = series[near]
places = series.index.get_indexer(inside.index)
display = SeriesDisplay.from_predictions(
    inside,
    scores[places],
    detector.labels_[places],
    time=inside.index.to_numpy(),
)
above = display.ax_[0]
above.set(title=f"the disturbance, {source}", ylabel="temperature")
above.plot(
    [start, stop], [inside["value"].max() + 2] * 2, color="tab:green", lw=4
)
# sphinx_gallery_thumbnail_number = 2
plt.show()
