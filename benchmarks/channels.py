"""Whether one channel of many that fails is found, and named.

    python benchmarks/channels.py

A series has one sensor with a rhythm, in which five faults are planted, and up to 59 other
channels: noise, commands, further sensors, meters that count in units, constants and flags.
WindowedDetector is fitted to a part without faults, and scores the rest; a second one is fitted to
all of it and its own scores are looked at, because those who have no clean data do that. The
detectors of ``channels="both"`` are also joined in other ways: by their sum, the root of the
sum of squares, the sum of logarithms or the loudest, of one detector of all channels or of one for
each. ``--ways loudest`` measures ``channels="loudest"`` alone and leaves the other rows of the CSV.
"""

import argparse
import time
import warnings

import numpy as np
import torch
from report import read_csv, write_csv
from scipy.signal import lfilter
from sklearn.metrics import roc_auc_score

from skrdae import RobustDeepAutoencoder, WindowedDetector
from skrdae.detectors.steps import step_scores

N, WINDOW, N_FAULTS = 1500, 30, 5


def sensor(rng, n):
    """Make a rhythm of its own."""
    places = np.arange(n) / rng.uniform(15, 60) + rng.random()
    return np.sin(2 * np.pi * places) + 0.15 * rng.normal(size=n)


def noise(rng, n):
    """Make white noise."""
    return rng.normal(size=n)


def slow_noise(rng, n):
    """Make noise with a memory of ten steps."""
    return lfilter([1], [1, -0.9], rng.normal(size=n))


def command(rng, n):
    """Make a level that is set anew every 80 steps or so."""
    stretch = np.cumsum(rng.random(n) < 1 / 80)
    return rng.choice([0.0, 1.0, 2.0], size=stretch[-1] + 1)[stretch]


def meter(rng, n):
    """Make the readings of a meter that counts in units."""
    return rng.choice([32.0, 32.0037, 32.9964], size=n, p=[0.62, 0.16, 0.22])


def counter(rng, n):
    """Make a rhythm in whole numbers."""
    return np.rint(3 * sensor(rng, n))


def flag(rng, n):
    """Make a flag that is set for 15 steps now and then."""
    found = np.zeros(n)
    for start in rng.choice(n - 20, size=n // 300):
        found[start : start + 15] = 1
    return found


def constant(rng, n):
    """Make a channel that never changes."""
    return np.full(n, rng.normal())


OTHERS = (noise, command, sensor, meter, constant, slow_noise, counter, flag)
FAULTS = ("spike", "stuck", "noise burst", "level shift", "broken correlation")


def make(n_channels, fault, seed):
    """Return a series, labels, and the place of the channel that fails."""
    rng = np.random.default_rng([seed, n_channels, FAULTS.index(fault)])
    n = 2 * N
    rhythm = np.sin(2 * np.pi * (np.arange(n) / 40 + rng.random()))
    failing = rhythm + 0.15 * rng.normal(size=n)
    channels = [OTHERS[k % len(OTHERS)](rng, n) for k in range(n_channels - 1)]
    if fault == "broken correlation" and channels:
        channels[0] = 2 * rhythm + 0.3 * rng.normal(size=n)
    labels = np.zeros(n, int)
    length = 1 if fault == "spike" else 30
    for start in N + 100 + 280 * np.arange(N_FAULTS) + rng.integers(0, 100, N_FAULTS):
        event = slice(start, start + length)
        labels[event] = 1
        if fault == "spike":
            failing[event] += rng.choice([-3, 3])
        elif fault == "stuck":
            failing[event] = failing[start - 1]
        elif fault == "noise burst":
            failing[event] += 0.6 * rng.normal(size=length)
        elif fault == "level shift":
            failing[event] += rng.choice([-1, 1])
        else:  # against the rhythm of the other one
            failing[event] = 0.15 * rng.normal(size=length) - rhythm[event]
    place = int(rng.integers(n_channels))
    channels.insert(place, failing)
    return np.column_stack(channels), labels, place


def fitted(X, channels):
    """Return a detector fitted to a series, and the seconds that it took."""
    inner = RobustDeepAutoencoder(contamination=0.01, random_state=0)
    start = time.perf_counter()
    detector = WindowedDetector(inner, window_size=WINDOW, channels=channels).fit(X)
    return detector, time.perf_counter() - start


def figures(X, y, place, channels):
    """Return what a fitted detector is worth as it is."""
    new, seconds = fitted(X[:N], channels)
    y_new = y[N:]
    scores, labels, parts = (method(X[N:]) for method in (
        new.decision_function, new.predict, new.explain
    ))  # fmt: skip
    alarms = (labels == 1) & (y_new == 1)
    return {
        "roc_auc": roc_auc_score(y_new, scores),
        "roc_auc_training": roc_auc_score(y, fitted(X, channels)[0].decision_scores_),
        "flagged": float(labels[y_new == 1].mean()),
        "false": float(labels[y_new == 0].mean()),
        "named": float((parts[alarms].argmax(axis=1) == place).mean()) if alarms.any() else "",
        "fit_s": seconds,
    }, new


def joins(detector, X, y):
    """Yield further ways to join what the detectors of all channels say of windows."""
    found = detector.detector_
    windows = detector._validated(X)
    own = (found._raw(windows.rows(slice(None))) - found.centers) / found.scales
    n_channels = len(found.detectors)
    for name, scores in (("separate", own[:, :n_channels]), ("joint", own[:, n_channels:])):
        positive = np.maximum(scores, 0)
        ways = {
            "sum": scores.sum(axis=1),
            "squares": np.sqrt(np.square(positive).sum(axis=1)),
            "logarithms": np.log1p(np.square(positive) / scores.shape[1]).sum(axis=1),
            "loudest": scores.max(axis=1),
        }
        for how, joined in ways.items():
            steps = step_scores(windows, joined, "mean", float(np.median(joined)))
            yield f"{name}, {how}", {"roc_auc": roc_auc_score(y, steps)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--channels", type=int, nargs="+", default=[1, 2, 5, 25, 60])
    parser.add_argument("--seeds", type=int, default=1)
    ways = ["joint", "both", "loudest"]
    parser.add_argument("--ways", nargs="+", choices=ways, default=ways)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", "No step of X is flagged|Channels .* constant|.*never change")
    # What is not measured again stays.
    rows = [
        row
        for row in read_csv("channels")
        if row["n_channels"] not in options.channels
        or (row["channels"] if row["channels"] in ways else "both") not in options.ways
    ]
    for n_channels in options.channels:
        for fault in FAULTS:
            for seed in range(options.seeds):
                X, y, place = make(n_channels, fault, seed)
                case = {"n_channels": n_channels, "fault": fault, "seed": seed}
                for channels in options.ways:
                    if channels == "joint" and n_channels == 1:
                        continue  # the same as both
                    found, detector = figures(X, y, place, channels)
                    rows.append(case | {"channels": channels} | found)
                    print(rows[-1], flush=True)
                    if channels != "both" or n_channels == 1:
                        continue
                    for name, found in joins(detector, X[N:], y[N:]):
                        rows.append(dict.fromkeys(rows[-1], "") | case | {"channels": name} | found)
        rows.sort(key=lambda row: row["n_channels"])
        write_csv("channels", rows)
        write_csv("channels_summary", list(summary(rows)))


def summary(rows):
    """Yield means over faults and seeds, and the lowest ROC AUC."""
    for key in dict.fromkeys((row["n_channels"], row["channels"]) for row in rows):
        mine = [row for row in rows if (row["n_channels"], row["channels"]) == key]
        line = dict(zip(("n_channels", "channels"), key, strict=True))
        for name in ("roc_auc", "roc_auc_training", "flagged", "false", "named", "fit_s"):
            values = [row[name] for row in mine if row[name] != ""]
            line[name] = float(np.mean(values)) if values else ""
        yield line | {"lowest_roc_auc": min(row["roc_auc"] for row in mine)}


if __name__ == "__main__":
    main()
