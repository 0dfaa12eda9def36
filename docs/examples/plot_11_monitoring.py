"""
Monitor a detector for drift
============================

A detector is fitted once and then scores what arrives. A
:class:`~skrdae.monitoring.Monitor` compares the scores of every few hundred
rows with a reference. It tells when too many rows are flagged, and when the
distribution of the scores has changed.
"""

# %%
# The data
# --------
#
# Eight sensors of a plant depend on three causes. In the third week a bearing
# wears out: the noise of all sensors grows from day to day. In the fourth week
# it is replaced by a type that is a little noisier than the first. Single
# faults occur at all times.

import matplotlib.pyplot as plt
import numpy as np

from skrdae import RobustDeepAutoencoder
from skrdae.monitoring import Monitor

rng = np.random.default_rng(0)
mixing = rng.normal(size=(3, 8))
PER_DAY = 288


def day(noise):
    """Return a day of readings, now and then with a sensor that is wrong."""
    X = rng.normal(size=(PER_DAY, 3)) @ mixing + noise * rng.normal(
        size=(PER_DAY, 8)
    )
    faults = np.flatnonzero(rng.random(PER_DAY) < 0.005)
    X[faults, rng.integers(8, size=len(faults))] += 6
    return X


noises = np.concatenate(
    [np.full(14, 0.2), np.linspace(0.2, 1.0, 7), np.full(9, 0.35)]
)
days = [day(noise) for noise in noises]

# %%
# The monitor
# -----------
#
# The detector is fitted to one week, and the reference is another week: new
# rows score a little higher than rows that the detector was fitted to.

detector = RobustDeepAutoencoder(contamination=0.01, random_state=0)
detector.fit(np.concatenate([day(0.2) for _ in range(7)]))
reference = detector.decision_function(
    np.concatenate([day(0.2) for _ in range(7)])
)
told = []
monitor = Monitor(
    detector,
    reference=reference,
    window_size=PER_DAY,
    handlers=[told.append],
    name="plant",
)

# %%
# The readings arrive hour by hour. On day 25 the operator decides that the new
# bearing is normal from now on, and sets the threshold anew.

windows, thresholds = [], []
for number, X in enumerate(days):
    for hour in np.split(X, 24):
        windows += monitor.update(hour).windows
    if number == 25:
        monitor.recalibrate(contamination=0.01)
    thresholds.append(monitor.threshold_)

for alert in told:
    if alert.kind != "anomalies":
        print(("resolved: " if alert.resolved else "") + alert.text)
n_flags = sum(alert.kind == "anomalies" for alert in told)
print(f"{n_flags} alerts about single rows in {24 * len(days)} hours")

# %%
# Scores, rates and drift
# -----------------------
#
# Above, the scores of all rows with the threshold. Below, the share of rows
# flagged and the population stability index of each day. Days are red where
# the monitor reports too many flags, or drift.

scores = detector.decision_function(np.concatenate(days))
time = np.arange(len(scores)) / PER_DAY
figure, axes = plt.subplots(
    3, 1, figsize=(8, 6.5), sharex=True, layout="constrained"
)
axes[0].plot(time, scores, ".", ms=1, color="tab:blue")
axes[0].step(
    np.arange(len(days) + 1),
    [*thresholds, thresholds[-1]],
    "k--",
    where="post",
    lw=1,
)
axes[0].set(ylabel="score", yscale="log")
for ax, name, verdict, usual in (
    (axes[1], "alert_rate", "rate_is_high", monitor.expected_rate_),
    (axes[2], "stability_index", "drifting", 0.25),
):
    values = [getattr(window, name) for window in windows]
    colours = [
        "tab:red" if getattr(window, verdict) else "tab:blue"
        for window in windows
    ]
    ax.bar(np.arange(len(windows)) + 0.5, values, color=colours)
    ax.axhline(usual, color="0.3", ls="--", lw=1)
axes[1].set(ylabel="share flagged")
axes[2].set(
    ylabel="stability index", xlabel="day", yscale="log", ylim=(1e-2, None)
)
for ax in axes:
    ax.axvspan(14, 21, color="0.92", zorder=0)
    ax.axvline(26, color="tab:green", lw=1)
    ax.spines[["top", "right"]].set_visible(False)
axes[0].text(
    17.5, scores.max(), "bearing wears out", ha="center", va="top", fontsize=9
)
axes[0].text(
    26.2, scores.max(), "recalibrated", color="tab:green", va="top", fontsize=9
)
plt.show()
