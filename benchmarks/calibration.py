"""Whether new normal rows are flagged at the rate asked for, and how many discoveries are false.

    python benchmarks/calibration.py

Rates: a detector is fitted to normal rows, and as many as 5000 new ones from the same distribution
are flagged by its own threshold, the quantile of its training scores, and by the p-values of
``CalibratedDetector``. Discoveries: 100 sets of 500 new rows, of which 5 % are anomalies, flagged
by ``fdr_labels`` and by the detector's own threshold. In both, the training data may hold
anomalies. Series: a ``WindowedDetector`` is fitted to one, and the 20,000 steps of a new one of the
same kind are flagged by the p-values of ``CalibratedDetector``. Newest steps, those that the last
window alone tells of, are flagged by their p-values and by the quantile of the scores of the
training windows. Spikes: 5 to 200 steps of a series, about two windows apart, are raised or lowered
by four standard deviations of the series, and flagged by ``WindowedDetector``, fitted to this
series or to one without spikes, and by ``CalibratedDetector``. Ends: one such spike at every
distance from the beginning and from the end of a new series.
"""

import argparse
import warnings

import numpy as np
import torch
from joblib import Parallel, delayed
from report import write_csv
from scipy.signal import lfilter
from sklearn.base import clone
from tqdm import tqdm

from skrdae import (
    AnoGANDetector,
    CalibratedDetector,
    RobustDeepAutoencoder,
    RobustPCA,
    VAEDetector,
    WindowedDetector,
)
from skrdae.thresholds import fdr_labels

LEVELS = (0.01, 0.05, 0.1)
DETECTORS = {
    "RobustDeepAutoencoder": RobustDeepAutoencoder(),
    "VAEDetector": VAEDetector(),
    "RobustPCA": RobustPCA(),
    "AnoGANDetector": AnoGANDetector(),
}
#: rows, columns, repetitions
SIZES = ((100, 5, 20), (1000, 20, 5), (1000, 100, 3), (10_000, 20, 2))
N_NEW = 5000


def gaussian(rng, d):
    return lambda n: rng.normal(size=(n, d))


def low_rank(rng, d):
    directions = rng.normal(size=(3, d))
    return lambda n: rng.normal(size=(n, 3)) @ directions + 0.1 * rng.normal(size=(n, d))


def heavy(rng, d):
    return lambda n: rng.standard_t(3, size=(n, d))


DATA = {"Gaussian": gaussian, "low rank": low_rank, "t, 3 degrees of freedom": heavy}


def anomalies(rng, rows, n):
    """Return rows of which a third of the values is that of other rows, and four times as large."""
    X, other = rows(n), rows(n)
    swapped = rng.random(X.shape) < 1 / 3
    return np.where(swapped, 4 * other, X)


def rates():
    """Yield the rate of each detector on each kind of data."""
    cases = [(data, size, name) for data in DATA for size in SIZES for name in DETECTORS]
    for data, (n, d, n_times), name in tqdm(cases, desc="rates"):
        if name == "AnoGANDetector" and n * d > 20_000:
            continue  # minutes, and nothing new
        own, calibrated = [], []
        for seed in range(n_times):
            rng = np.random.default_rng(seed)
            rows = DATA[data](rng, d)
            X, new = rows(n), rows(N_NEW)
            detector = clone(DETECTORS[name])
            if "random_state" in detector.get_params():
                detector.set_params(random_state=seed)
            detector.fit(X)
            scores = detector.decision_function(new)
            own.append(
                [(scores > np.quantile(detector.decision_scores_, 1 - a)).mean() for a in LEVELS]
            )
            fitted = CalibratedDetector(clone(DETECTORS[name]), random_state=seed).fit(X)
            p_values = fitted.p_values(new)
            calibrated.append([(p_values <= a).mean() for a in LEVELS])
        for threshold, found in (("own", own), ("calibrated", calibrated)):
            for level, mean in zip(LEVELS, np.mean(found, axis=0), strict=True):
                error = np.sqrt(level * (1 - level) * (1 / n + 1 / N_NEW) / n_times)
                yield {
                    "data": data,
                    "rows": n,
                    "columns": d,
                    "detector": name,
                    "threshold": threshold,
                    "level": level,
                    "rate": float(mean),
                    "errors_from_level": float((mean - level) / error),
                    "repetitions": n_times,
                }


def discoveries(n_sets):
    """Yield the share of false discoveries, and of anomalies found."""
    for contaminated in (0.0, 0.1):
        found = {"fdr_labels": [], "own threshold": [], "p-values": []}
        for seed in tqdm(range(n_sets), desc=f"discoveries, {contaminated:.0%} contaminated"):
            rng = np.random.default_rng(seed)
            rows = low_rank(rng, 10)
            X = rows(1000)
            n_planted = int(contaminated * len(X))
            X[:n_planted] = anomalies(rng, rows, n_planted)
            new, y = rows(500), np.arange(500) < 25
            new[y] = anomalies(rng, rows, 25)
            detector = RobustDeepAutoencoder(contamination=0.05, random_state=seed)
            flagged = {"own threshold": detector.fit(X).predict(new) == 1}
            calibrated = CalibratedDetector(RobustDeepAutoencoder(), random_state=seed).fit(X)
            p_values = calibrated.p_values(new)
            flagged["fdr_labels"] = fdr_labels(p_values, max_fdr=0.1) == 1
            flagged["p-values"] = p_values <= 0.05
            for name, mask in flagged.items():
                false = (mask & ~y).sum() / max(mask.sum(), 1)
                found[name].append((false, mask[y].mean(), mask[~y].mean()))
        for name, values in found.items():
            false, power, rate = np.mean(values, axis=0)
            yield {
                "contamination of the training data": contaminated,
                "labels": name,
                "false_discoveries": float(false),
                "anomalies_found": float(power),
                "normal_flagged": float(rate),
                "sets": n_sets,
            }


# ------------------------------------------------------------------------------------ series

#: steps, window, detectors, repetitions, levels
SERIES_SIZES = (
    (4000, 48, ("RobustDeepAutoencoder", "RobustPCA"), 5, (0.01, 0.05)),
    (20_000, 24, ("RobustDeepAutoencoder",), 3, (0.001, 0.01, 0.05)),
)
N_NEW_STEPS, DAY = 20_000, 96
#: Of the new steps one of so many is looked at as the newest.
EVERY = 20


def autoregressive(rng, n):
    return lfilter([1], [1, -0.9], rng.normal(size=n + 200))[200:]


def sine(rng, n):
    return np.sin(2 * np.pi * (np.arange(n) + rng.integers(48)) / 48) + 0.1 * rng.normal(size=n)


def daily(rng, n):
    """Days of two hills, whose height and noise change from day to day, and a slow deviation."""
    hour = 2 * np.pi * (np.arange(n) + rng.integers(DAY)) / DAY
    height, noise = np.exp(0.2 * rng.normal(size=(2, n // DAY + 2))).repeat(DAY, axis=1)[:, :n]
    shape = np.sin(hour) + 0.5 * np.sin(2 * hour + 1)
    return height * shape + 0.3 * autoregressive(rng, n) + 0.1 * noise * rng.normal(size=n)


def channels(rng, n):
    """Eight channels that share two causes; one of them is a switch."""
    mixing = np.random.default_rng(0).normal(size=(2, 8))
    causes = np.column_stack([sine(rng, n), autoregressive(rng, n) / 2])
    x = causes @ mixing + 0.2 * rng.normal(size=(n, 8))
    x[:, 7] = x[:, 7] > 0
    return x


SERIES = {
    "white noise": lambda rng, n: rng.normal(size=n),
    "AR(1), 0.9": autoregressive,
    "sine and noise": sine,
    "daily rhythm": daily,
    "8 channels": channels,
}


def series_rates():
    """Yield the rate of each detector on each kind of series."""
    cases = [
        (kind, name, n_steps, window, n_times, levels)
        for n_steps, window, names, n_times, levels in SERIES_SIZES
        for kind in SERIES
        for name in names
        if (kind, name) != ("8 channels", "RobustPCA")  # minutes, and nothing new
    ]
    tasks = [delayed(rates_of_series)(*case) for case in cases]
    made = Parallel(n_jobs=2, return_as="generator")(tasks)
    for rows in tqdm(made, desc="series", total=len(cases)):
        yield from rows


def rates_of_series(kind, name, n_steps, size, n_times, levels):
    """Return the rates of a detector on a kind of series."""
    found = {"own, newest": [], "calibrated, newest": [], "calibrated, all": []}
    for seed in range(n_times):
        rng = np.random.default_rng(seed)
        X, new = SERIES[kind](rng, n_steps), SERIES[kind](rng, N_NEW_STEPS)
        newest = [new[stop - size : stop] for stop in range(size, N_NEW_STEPS, EVERY)]
        inner = clone(DETECTORS[name])
        if "random_state" in inner.get_params():
            inner.set_params(random_state=seed)
        windowed = WindowedDetector(inner, window_size=size)
        calibrated = CalibratedDetector(windowed, random_state=seed).fit(X)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "No step of X is flagged")
            windowed.fit(X)
        scores = windowed.decision_function(newest)[size - 1 :: size]
        limits = np.quantile(windowed.window_scores_, [1 - level for level in levels])
        found["own, newest"].append([(scores > limit).mean() for limit in limits])
        p_values = calibrated.p_values(newest)[size - 1 :: size]
        found["calibrated, newest"].append([(p_values <= a).mean() for a in levels])
        p_values = calibrated.p_values(new)
        found["calibrated, all"].append([(p_values <= a).mean() for a in levels])
    rows = []
    for threshold, by_level in found.items():
        mean = np.mean(by_level, axis=0)
        errors = np.std(by_level, axis=0, ddof=1) / np.sqrt(n_times)
        for level, rate, error in zip(levels, mean, errors, strict=True):
            rows.append(
                {
                    "series": kind,
                    "steps": n_steps,
                    "window": size,
                    "detector": name,
                    "threshold": threshold,
                    "level": level,
                    "rate": float(rate),
                    "standard_error": float(error),
                    "repetitions": n_times,
                }
            )
    return rows


# ------------------------------------------------------------------------------------ spikes

N_SPIKES, SPIKE_WINDOWS, CLEAN_STEPS, SHORTEST = (0, 5, 20, 50, 200), (24, 60, 200), 12_000, 6000
#: In standard deviations of the series, in windows, and in steps.
HEIGHT, APART, END_LENGTH, NEAR = 4, 2, 3, 2
SPIKED = ("sine and noise", "daily rhythm", "AR(1), 0.9")


def detectors_of_spikes(X, size, seed):
    """Return detectors that are fitted to a series without spikes, by the labels that they give."""
    inner = RobustDeepAutoencoder(random_state=seed)
    found = {
        f"contamination {share}": WindowedDetector(
            clone(inner).set_params(contamination=share), window_size=size
        )
        for share in (0.01, 0.1)
    }
    found["max_fpr 0.01"] = CalibratedDetector(
        WindowedDetector(inner, window_size=size), max_fpr=0.01, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No step of X is flagged")
        return {name: detector.fit(X) for name, detector in found.items()}


def cases_of_spikes(n_times):
    return [(k, size, seed) for k in SPIKED for size in SPIKE_WINDOWS for seed in range(n_times)]


def spikes(n_times):
    """Yield how many of planted spikes are flagged, and how many other steps."""
    tasks = [delayed(flags_of_spikes)(*case) for case in cases_of_spikes(n_times)]
    made = Parallel(n_jobs=1, return_as="generator")(tasks)
    rows = [row for found in tqdm(made, desc="spikes", total=len(tasks)) for row in found]
    yield from means(rows, ("series", "window", "labels", "fitted_to", "spikes"))


def flags_of_spikes(kind, size, seed):
    """Return the shares of spikes that are flagged in series of a kind."""
    rng = np.random.default_rng([seed, size])
    fitted = detectors_of_spikes(SERIES[kind](rng, CLEAN_STEPS), size, seed)
    rows = []
    for n_spikes in N_SPIKES:
        n_steps = max(APART * size * n_spikes, SHORTEST)
        X = SERIES[kind](rng, n_steps)
        places = (np.arange(n_spikes) + 0.5) * n_steps / max(n_spikes, 1)
        places = places.astype(int) + rng.integers(-size // 4, size // 4 + 1, n_spikes)
        X[places] += HEIGHT * X.std() * rng.choice([-1, 1], n_spikes)
        labels = {("another series", name): d.predict(X) for name, d in fitted.items()}
        for name, detector in fitted.items():
            if isinstance(detector, WindowedDetector):
                with warnings.catch_warnings():
                    warnings.filterwarnings("ignore", "No step of X is flagged")
                    labels["this series", name] = clone(detector).fit(X).labels_
        for (fitted_to, name), found in labels.items():
            rows.append(
                {
                    "series": kind,
                    "window": size,
                    "labels": name,
                    "fitted_to": fitted_to,
                    "spikes": n_spikes,
                    "flagged": float(found[places].mean()) if n_spikes else float("nan"),
                    "false_steps": float(found.sum() - found[places].sum()),
                    "false_rate": float((found.sum() - found[places].sum()) / n_steps),
                }
            )
    return rows


def ends(n_times):
    """Yield how often one spike near an end is found, and how far from its place."""
    tasks = [delayed(places_near_ends)(*case) for case in cases_of_spikes(n_times)]
    made = Parallel(n_jobs=1, return_as="generator")(tasks)
    rows = [row for found in tqdm(made, desc="ends", total=len(tasks)) for row in found]
    yield from means(rows, ("series", "window", "labels", "end"))


def places_near_ends(kind, size, seed):
    """Return what is flagged of series with one spike, at each distance from an end."""
    rng = np.random.default_rng([seed, size, 1])
    learnt = SERIES[kind](rng, CLEAN_STEPS)
    fitted = detectors_of_spikes(learnt, size, seed)
    length, rows = END_LENGTH * size, []
    for end in ("beginning", "end"):
        many = [SERIES[kind](rng, length) for _ in range(size)]
        for distance, X in enumerate(many):
            place = distance if end == "beginning" else length - 1 - distance
            X[place] += HEIGHT * learnt.std() * rng.choice([-1, 1])
        for name, detector in fitted.items():
            labels = detector.predict(many).reshape(size, length)
            if end == "end":
                labels = labels[:, ::-1]
            for distance, found in enumerate(labels):
                apart = np.abs(np.flatnonzero(found) - distance)
                beside = apart[apart < size]
                rows.append(
                    {
                        "series": kind,
                        "window": size,
                        "labels": name,
                        "end": end,
                        "flagged": float((beside <= NEAR).any()),
                        "located": float(len(beside) > 0 and beside.max() <= NEAR),
                        "false_beside": float((beside > NEAR).sum()),
                    }
                )
    return rows


def means(rows, keys):
    """Yield the means over repetitions, and over distances."""
    groups = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    for group in groups.values():
        figures = {name: value for name, value in group[0].items() if name not in keys}
        mean = {name: float(np.mean([row[name] for row in group])) for name in figures}
        yield {key: group[0][key] for key in keys} | mean | {"cases": len(group)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=100)
    parts = ["discoveries", "rates", "series", "spikes", "ends"]
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--times", type=int, default=2, help="repetitions with spikes")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    makers = {
        "discoveries": discoveries(arguments.sets),
        "rates": rates(),
        "series": series_rates(),
        "spikes": spikes(arguments.times),
        "ends": ends(arguments.times),
    }
    for name, made in makers.items():
        if name not in arguments.parts:
            continue
        rows = list(made)
        write_csv(f"calibration_{name}", rows)
        for row in rows:
            print(*row.values(), sep="  ")


if __name__ == "__main__":
    main()
