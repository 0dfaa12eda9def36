"""
Find anomalies in sensor data and the sensor to blame
=====================================================

Four sensors of a pump, read every ten minutes into a CSV file.
:class:`~skrdae.WindowedDetector` flags the time steps that are unusual, and
the shares of the sensors in the score of a window say which sensor caused it.
"""

# %%
# The file
# --------
#
# The script writes the CSV file itself: four weeks in which all sensors follow
# the load of the pump. Three things go wrong. The pressure sensor is stuck for
# eight hours, the bearing heats up for half a day, and the motor takes too
# much current for an hour. Some readings are missing.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from skrdae import RobustDeepAutoencoder, WindowedDetector
from skrdae.plotting import SeriesDisplay


def make_readings(seed=0):
    """Return four weeks of readings."""
    rng = np.random.default_rng(seed)
    n = 28 * 144
    time = pd.date_range("2024-03-04", periods=n, freq="10min", name="time")
    day = 2 * np.pi * np.arange(n) / 144
    changes = pd.Series(rng.normal(0, 0.25, n)).rolling(12, min_periods=1)
    load = 1 + 0.4 * np.sin(day) + 0.1 * np.sin(4 * day) + changes.mean()
    slow = load.ewm(span=36).mean()
    readings = pd.DataFrame(
        {
            "flow": 80 * load + rng.normal(0, 1.5, n),
            "pressure": 6 - 1.5 * load + rng.normal(0, 0.05, n),
            "current": 12 + 9 * load + rng.normal(0, 0.3, n),
            "bearing_temperature": 35 + 14 * slow + rng.normal(0, 0.3, n),
        },
    ).set_index(time)
    stuck = slice("2024-03-13 08:00", "2024-03-13 16:00")
    last = readings.loc["2024-03-13 07:50", "pressure"]
    readings.loc[stuck, "pressure"] = last
    heating = slice("2024-03-21 06:00", "2024-03-21 18:00")
    rise = np.linspace(0, 20, len(readings[heating]))
    readings.loc[heating, "bearing_temperature"] += rise
    overload = slice("2024-03-27 14:00", "2024-03-27 15:00")
    readings.loc[overload, "current"] += 8
    return readings.mask(rng.random(readings.shape) < 0.005).round(3)


folder = tempfile.TemporaryDirectory()
path = Path(folder.name, "pump.csv")
make_readings().to_csv(path)

readings = pd.read_csv(path, parse_dates=["time"], index_col="time")
print(readings.head(3).to_string())
n_missing = readings.isna().to_numpy().sum()
print(f"{len(readings)} steps, {n_missing} readings missing")
readings = readings.interpolate(limit=6).dropna()

# %%
# Detection
# ---------
#
# Windows of six hours are the rows of a robust autoencoder. No label is used.
# The file may hold anomalies: what stands out after a first fit is left out of
# the second.

detector = WindowedDetector(
    RobustDeepAutoencoder(contamination=0.03, random_state=0), window_size=36
).fit(readings)
display = SeriesDisplay.from_estimator(detector, readings)

# %%
# Each sensor has a panel of its own. The last panel shows what decides: a step
# is flagged (red) if it stands out by itself, or if all windows that cover it
# score above the dashed threshold.
#
# The sensor to blame
# -------------------
#
# ``explain`` splits the score of each step over the sensors. Summed over a
# flagged stretch, they are the share of each sensor.

explained = detector.explain(readings)


def stretches(labels):
    """Return first step and end of every run of flagged steps."""
    edges = np.flatnonzero(np.diff(np.r_[0, labels, 0]))
    return edges.reshape(-1, 2)


def blame(start, stop):
    """Return the share of each sensor in a stretch."""
    of_sensors = explained[start:stop].sum(axis=0)
    return pd.Series(of_sensors / of_sensors.sum(), readings.columns)


blamed = {}
for start, stop in stretches(detector.labels_):
    shares = blame(start, stop).sort_values(ascending=False)
    name = f"{readings.index[start]:%d %b %H:%M}, {(stop - start) / 6:.1f} h"
    blamed[name] = shares
    print(f"{name:<20} {shares.index[0]} ({shares.iloc[0]:.0%} of the score)")

# %%
# The shares of all sensors in each stretch. Where a sensor is at fault, its
# share is by far the largest. Stretches that are flagged by chance have no
# such sensor.

shares = pd.DataFrame(blamed).T[readings.columns]
figure, ax = plt.subplots(
    figsize=(8, 0.6 + 0.4 * len(shares)), layout="constrained"
)
left = np.zeros(len(shares))
for name in shares:
    ax.barh(shares.index, shares[name], left=left, label=name)
    left += shares[name].to_numpy()
ax.invert_yaxis()
ax.set(xlabel="share of the score", xlim=(0, 1))
ax.legend(
    frameon=False,
    ncols=4,
    loc="lower left",
    bbox_to_anchor=(0, 1),
    fontsize="small",
)
ax.spines[["top", "right"]].set_visible(False)
folder.cleanup()
plt.show()
