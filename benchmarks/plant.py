"""A simulated plant, watched for 30 days: which faults are found, and how many alarms are false.

    python benchmarks/plant.py

Eight sensors are read every minute. They follow the load, which has a daily rhythm; one of them is
noise, one a valve with a few positions, and one drifts. The detector learns two weeks. Then 30 days
arrive reading by reading, with an outage and three faults of sensors and at times that the seed
draws: one sensor is stuck for three hours, one is noisy for two (noise of three times its usual
step from reading to reading is added), and one is off by two standard deviations for one and a
half. An alarm is right if it begins during a fault, or within a window after it.

``plant.csv`` has the alarms, ``plant_summary.csv`` the counts for each seed, the processor time
that a reading takes, all included, and the memory of the process.
"""

import argparse
import time

import numpy as np
import pandas as pd
import torch
from matplotlib.dates import DateFormatter
from matplotlib.figure import Figure
from report import PICTURES, write_csv
from scipy.signal import lfilter

from skrdae import CalibratedDetector, RobustDeepAutoencoder, WindowedDetector
from skrdae.monitoring import SeriesMonitor

DAY, WINDOW, LEARNT, WATCHED = 1440, 30, 14, 30
SENSORS = ["load", "pressure", "flow", "current", "temperature", "vibration", "valve", "level"]
#: kind → minutes
FAULTS = {"stuck": 180, "noisy": 120, "offset": 90}
OUTAGE, RATE = 300, 0.001


def autoregressive(rng, n, phi):
    """Return noise of unit variance that keeps a share φ of itself a minute."""
    return lfilter([np.sqrt(1 - phi**2)], [1, -phi], rng.normal(size=n + 1000))[1000:]


def simulate(rng):
    """Return the readings of all days, without faults."""
    n = (LEARNT + WATCHED) * DAY
    minute = np.arange(n)
    load = 2 * np.sin(2 * np.pi * (minute - 500) / DAY) + 0.5 * autoregressive(rng, n, 0.98)
    warm = lfilter([0.02], [1, -0.98], load)  # follows the load with a delay
    noise = rng.normal(size=(8, n))
    readings = {
        "load": load + 0.1 * noise[0],
        "pressure": 0.8 * load + 0.2 * noise[1],
        "flow": np.sqrt(np.maximum(load + 4, 0)) + 0.05 * noise[2],
        "current": load + 0.1 * load**2 + 0.2 * noise[3],
        "temperature": warm + 0.1 * noise[4] + 0.3 * minute / n,  # drifts
        "vibration": (0.3 + 0.1 * np.abs(load)) * noise[5],
        "valve": np.round(load / 2),
        "level": autoregressive(rng, n, 0.99) + 0.1 * noise[7],
    }
    return pd.DataFrame(readings, pd.date_range("2026-01-01", periods=n, freq="min"))[SENSORS]


def draw_faults(rng):
    """Return kind → sensor and first minute, and the first minute of the outage."""
    sensors = rng.permutation([name for name in SENSORS if name != "valve"])
    days = rng.permutation(np.arange(1, WATCHED - 1))
    minutes = (days * DAY + rng.integers(0, DAY, len(days))).tolist()
    faults = dict(zip(FAULTS, zip(sensors.tolist(), minutes, strict=False), strict=False))
    return faults, minutes[len(FAULTS)]


def with_faults(readings, learnt, faults, outage, rng):
    """Return readings with the faults, and the outage's left out."""
    readings = readings.copy()
    for kind, (sensor, start) in faults.items():
        rows, column = slice(start, start + FAULTS[kind]), readings.columns.get_loc(sensor)
        values = readings.iloc[rows, column].to_numpy()
        if kind == "stuck":
            values = np.full(len(values), values[0])
        elif kind == "noisy":
            values = values + 3 * np.diff(learnt[sensor]).std() * rng.normal(size=len(values))
        else:
            values = values + 2 * learnt[sensor].std()
        readings.iloc[rows, column] = values
    return readings.drop(readings.index[outage : outage + OUTAGE])


def megabytes():
    """Return the resident memory of the process."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20


def replay(monitor, readings):
    """Bring the readings one by one; return p-values, alerts, seconds and megabytes."""
    p_values, alerts, seconds, memory = [], [], [], []
    for end in range(WINDOW, len(readings) + 1):
        newest = readings.iloc[end - WINDOW : end]
        start = time.thread_time()
        report = monitor.update(newest)
        seconds.append(time.thread_time() - start)
        p_values.append(np.nan if report.p_values is None else report.p_values[0])
        alerts += report.alerts
        if end % DAY == 0:
            memory.append(megabytes())
    return pd.Series(p_values, readings.index[WINDOW - 1 :]), alerts, seconds, memory


def fault_at(when, faults, first):
    """Return the kind of the fault during which, or a window after which, an alarm begins."""
    for kind, (_, start) in faults.items():
        begin = first + pd.Timedelta(minutes=start)
        if begin <= when <= begin + pd.Timedelta(minutes=FAULTS[kind] + WINDOW):
            return kind
    return ""


def alarms_of(alerts, faults, first):
    """Return a row for each incident that has ended."""
    rows = []
    for alert in alerts:
        if alert.kind == "anomalies" and alert.resolved:
            begin, (step,) = pd.Timestamp(alert.details["first"]), alert.details["rows"]
            rows.append(
                {
                    "begin": alert.details["first"],
                    "last": alert.details["last"],
                    "flagged": alert.details["n_flagged"],
                    "p_value": step["p_value"],
                    "first_reason": step["reasons"][0]["feature"],
                    "fault": fault_at(begin, faults, first),
                }
            )
    return rows


def watch(seed):
    """Return the alarms of a plant, a summary, and the p-values."""
    rng = np.random.default_rng(seed)
    readings = simulate(rng)
    faults, outage = draw_faults(rng)
    learnt, watched = readings.iloc[: LEARNT * DAY], readings.iloc[LEARNT * DAY :]
    watched = with_faults(watched, learnt, faults, outage, rng)
    windowed = WindowedDetector(
        RobustDeepAutoencoder(), window_size=WINDOW, on_gap="split", channels="loudest"
    )
    detector = CalibratedDetector(windowed, max_fpr=RATE, random_state=0).fit(learnt)
    monitor = SeriesMonitor(detector, window_size=5 * DAY)
    p_values, alerts, seconds, memory = replay(monitor, watched)
    rows = alarms_of(alerts, faults, watched.index[0])
    found = {row["fault"]: row for row in reversed(rows) if row["fault"]}
    false = sum(not row["fault"] for row in rows)
    summary = {
        "seed": seed,
        **{kind: faults[kind][0] for kind in FAULTS},
        "found": len(found),
        "named": sum(row["first_reason"] == faults[kind][0] for kind, row in found.items()),
        "false_alarms": false,
        "false_alarms_a_week": 7 * false / WATCHED,
        "drifting_windows": sum(alert.kind == "drift" and not alert.resolved for alert in alerts),
        "cpu_ms_median": 1e3 * float(np.median(seconds)),
        "cpu_ms_99": 1e3 * float(np.quantile(seconds, 0.99)),
        "mb_first_day": memory[0],
        "mb_last_day": memory[-1],
    }
    return [{"seed": seed, **row} for row in rows], summary, p_values


def picture(p_values, rows):
    """Draw the p-values of all days and the alarms."""
    figure = Figure(figsize=(9, 2.6), layout="constrained")
    axis = figure.subplots()
    axis.plot(p_values.resample("10min").min(), lw=0.6, color="0.4")
    axis.axhline(RATE, color="k", lw=0.8, ls="--")
    for row in rows:
        begin, last = pd.Timestamp(row["begin"]), pd.Timestamp(row["last"])
        colour = "#c0392b" if row["fault"] else "#e69f00"
        axis.axvspan(begin, last + pd.Timedelta(hours=3), color=colour, alpha=0.6)
        if row["fault"]:
            told = f"  {row['fault']}: {row['first_reason']}"
            axis.text(last, 0.6 * RATE, told, color=colour, va="center", fontsize=9)
    axis.set(yscale="log", ylabel="p-value of the newest step")
    axis.xaxis.set_major_formatter(DateFormatter("%d %b"))
    figure.savefig(PICTURES / "plant.png", dpi=130)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1)
    torch.set_num_threads(1)
    alarms, summaries = [], []
    for seed in range(parser.parse_args().seeds):
        rows, summary, p_values = watch(seed)
        print(summary, *rows, sep="\n", flush=True)
        alarms += rows
        summaries.append(summary)
        if seed == 0:
            picture(p_values, rows)
        write_csv("plant", alarms)
        write_csv("plant_summary", summaries)


if __name__ == "__main__":
    main()
