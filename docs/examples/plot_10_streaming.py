"""
Score streaming data as it arrives
==================================

A detector is fitted once to the history of a sensor. From then on each new
reading is scored when it comes, by ``score_new`` of
:class:`~skrdae.WindowedDetector`: it looks at the newest window only, so that
a reading costs as much as scoring one row.
"""

# %%
# History and stream
# ------------------
#
# The script writes two CSV files: three weeks of history, and a week that is
# read line by line, as if it were arriving. In that week the sensor sticks
# once, jumps once and is noisy for two hours.

import csv
import tempfile
import time
import warnings
from collections import deque
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from skrdae import RobustDeepAutoencoder, WindowedDetector

rng = np.random.default_rng(0)
PER_DAY = 144
times = pd.date_range(
    "2024-05-06", periods=28 * PER_DAY, freq="10min", name="time"
)
step = np.arange(len(times))
values = (
    20
    + 3 * np.sin(2 * np.pi * step / PER_DAY)
    + rng.normal(0, 0.25, len(times))
)
readings = pd.DataFrame({"temperature": values}, times)
readings.loc["2024-05-28 06:00":"2024-05-28 09:00"] = 21.0
readings.loc["2024-05-30 12:00":"2024-05-30 12:20"] += 4
readings.loc["2024-06-01 18:00":"2024-06-01 20:00"] += rng.normal(
    0, 2, (13, 1)
)

folder = tempfile.TemporaryDirectory()
history_path, stream_path = (
    Path(folder.name, "history.csv"),
    Path(folder.name, "stream.csv"),
)
readings[: 21 * PER_DAY].round(2).to_csv(history_path)
readings[21 * PER_DAY :].round(2).to_csv(stream_path)

# %%
# The fit and the limit
# ---------------------
#
# The newest reading is in one window only, so its score is compared with
# scores of windows. The limit is one that a thousandth of the windows of the
# history exceeds. Seven days have 1,008 windows: about one of them would
# exceed it by chance.

# The history is normal, and that is what the warning would say.
warnings.filterwarnings("ignore", message="No step of X is flagged")
history = pd.read_csv(history_path, parse_dates=["time"], index_col="time")
detector = WindowedDetector(
    RobustDeepAutoencoder(random_state=0), window_size=18
).fit(history.to_numpy())
limit = np.quantile(detector.window_scores_, 0.999)
print(f"{len(detector.window_scores_)} windows, limit {limit:.2f}")

# %%
# The loop
# --------
#
# Only the readings of one window are kept. An alarm is given when the score
# rises above the limit, and it ends when the score is below the limit again. A
# reading stays in the newest window for 18 steps, so an alarm can last up to
# three hours longer than its cause.

newest = deque(history["temperature"].tail(17), maxlen=detector.window_size_)
scores, alarm_since = [], None
began = time.perf_counter()
with stream_path.open(newline="") as lines:
    for line in csv.DictReader(lines):
        newest.append(float(line["temperature"]))
        scores.append(detector.score_new(np.array(newest)))
        if scores[-1] > limit and alarm_since is None:
            alarm_since = line["time"]
            print(f"{line['time']}  alarm, score {scores[-1]:.2f}")
        elif scores[-1] <= limit and alarm_since is not None:
            alarm_since = None
            print(f"{line['time']}  over")
seconds = time.perf_counter() - began
print(f"{1000 * seconds / len(scores):.1f} ms for each reading")

# %%
# What arrived
# ------------
#
# Readings in the stretches with a fault are grey.

stream = pd.read_csv(stream_path, parse_dates=["time"], index_col="time")
figure, (above, below) = plt.subplots(
    2, sharex=True, figsize=(9, 4), layout="constrained"
)
above.plot(stream, lw=0.8)
above.set(ylabel="temperature")
below.plot(stream.index, scores, lw=0.8)
below.axhline(limit, color="0.3", ls="--", lw=1, label="limit")
below.set(ylabel="score of the newest window")
below.legend(frameon=False, loc="upper left")
faults = (
    ("2024-05-28 06:00", "2024-05-28 09:00"),
    ("2024-05-30 12:00", "2024-05-30 12:20"),
    ("2024-06-01 18:00", "2024-06-01 20:00"),
)
for ax in (above, below):
    for start, stop in faults:
        ax.axvspan(pd.Timestamp(start), pd.Timestamp(stop), color="0.7")
    ax.spines[["top", "right"]].set_visible(False)
folder.cleanup()
plt.show()

# %%
# To be told about drift, of the scores and of the rate of alarms, pass the
# scores to a :class:`~skrdae.monitoring.Monitor` by ``update_scores``. The
# next example shows one.
