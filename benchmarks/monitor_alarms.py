"""How often a monitor raises an alarm where nothing changes, and how soon it finds a shift.

    python benchmarks/monitor_alarms.py

Scores that depend on each other as those of series do: autoregressive ones, means over sliding
windows of noise, alone or with noise of their own, those that a WindowedDetector gives the newest
steps of a series, and some with a period. They are left as they are, made heavy-tailed (the
exponential), or rounded so that many are tied. A reference of 500 to 10,000 of them in time order
is followed by windows that nothing distinguishes, and then by windows whose scores lie one standard
deviation higher. Four ways to tell a drift are compared (with the stability index and the
Kolmogorov–Smirnov test each):

- ``independent``: limits for independent scores;
- ``blocks``: the largest of the statistics that overlapping blocks of the reference have, each held
  against the rest; without a verdict if there are fewer than ten blocks side by side;
- ``larger time``: limits by the autocorrelation time, the larger one of reference and window;
- ``monitor``: what Monitor does. The window's own time counts only where its neighbouring scores
  are far more alike than those of a reference that looks independent, and not because they repeat.

With ``--changes`` the same rules meet windows that are shifted for part of their length, drift
within themselves or stand still, and references that were shuffled.
"""

import argparse

import numpy as np
from joblib import Parallel, delayed
from report import write_csv
from scipy.signal import lfilter
from scipy.special import kolmogorov
from tqdm import tqdm

from skrdae import RobustDeepAutoencoder, WindowedDetector
from skrdae.monitoring import Monitor, ScoreReference
from skrdae.monitoring.dependence import AutocorrelationTime, location_and_spread

REFERENCES, WINDOWS, N_WINDOWS = (500, 2000, 10_000), (200, 500, 1000, 5000), 10
P_VALUE, FEWEST, ENOUGH = 1e-3, 5, 25
RULES = ("independent", "blocks", "larger time", "monitor")
PROCESSES = (
    *(("AR(1)", phi) for phi in (0.0, 0.9, 0.98, 0.995)),
    *(("mean of", length) for length in (48, 144, 500)),
    ("noise and mean of", 144),
    ("period", 288),
)
FORMS = ("normal", "heavy tails", "ties")


class Nothing:
    """A detector that need not be asked: the scores are given."""

    threshold_ = 0.0


# --------------------------------------------------------------------------------- processes


def draw(kind, parameter, n, rng):
    """Return n scores of a stationary process with variance 1."""
    if kind == "AR(1)":
        noise = rng.normal(size=n)
        noise[0] /= np.sqrt(1 - parameter**2)
        return lfilter([1], [1, -parameter], noise) * np.sqrt(1 - parameter**2)
    if kind == "mean of":
        sums = np.r_[0, rng.normal(size=n + parameter).cumsum()]
        return ((sums[parameter:] - sums[:-parameter]) / np.sqrt(parameter))[:n]
    if kind == "noise and mean of":
        return (rng.normal(size=n) + draw("mean of", parameter, n, rng)) / np.sqrt(2)
    steps = np.arange(n) + rng.integers(parameter)
    return np.sin(2 * np.pi * steps / parameter) + np.sqrt(0.5) * rng.normal(size=n)


def shaped(x, form):
    """Return scores of another distribution, which depend on each other in the same way."""
    if form == "heavy tails":
        return np.exp(2 * x)
    return np.round(2 * x) / 2 if form == "ties" else x


def series_scores(seed, n):
    """Return what a detector on windows of 144 steps says of the newest step, n times."""
    rng = np.random.default_rng(seed)
    length = n + 4144
    series = np.sin(2 * np.pi * np.arange(length) / 48) + 0.1 * rng.normal(size=length)
    inner = RobustDeepAutoencoder(n_estimators=1, random_state=seed)
    found = WindowedDetector(inner, window_size=144).fit(series[:4000])
    windows = np.lib.stride_tricks.sliding_window_view(series[4000:], 144)[:n]
    return found.detector_.decision_function(windows)  # score_new of each, at once


# ------------------------------------------------------------------------------------- rules


class Rules:
    """The verdicts of all rules: True, False, or None where there is none."""

    def __init__(self, reference, n_rows):
        self.reference, self.n_rows = reference, n_rows
        self.scores = ScoreReference(reference)
        self.time = AutocorrelationTime(*location_and_spread(reference)).overall
        common = {"reference": reference, "threshold": np.quantile(reference, 0.99)}
        options = {"window_size": n_rows, **common}
        self.monitors = {drift: quiet(drift, options) for drift in ("psi", "ks")}
        self.limits = self._blocks()

    def _blocks(self):
        """Return the largest index and KS statistic of blocks, each held against the rest."""
        n, m = self.n_rows, len(self.reference)
        if m < 10 * n:
            return None
        order = self.reference.argsort(kind="stable")
        last = np.r_[np.diff(self.reference[order]) > 0, True]  # of scores that are tied
        bins = np.searchsorted(self.scores._edges, self.reference)
        n_bins = len(self.scores._edges) + 1
        found = []
        for start in range(0, m - n + 1, n // 4):
            inside = np.zeros(m, bool)
            inside[start : start + n] = True
            ordered = inside[order]
            apart = ordered.cumsum() / n - (~ordered).cumsum() / (m - n)
            q, p = (np.bincount(bins[at], minlength=n_bins) + 0.5 for at in (inside, ~inside))
            q, p = q / q.sum(), p / p.sum()
            found.append((((q - p) * np.log(q / p)).sum(), np.abs(apart[last]).max()))
        return np.max(found, axis=0)

    @staticmethod
    def _statistics(scores, window):
        return scores.stability_index(window), scores.kolmogorov_smirnov(window, 1.0)[0]

    def _by_time(self, time, statistics):
        n, m = self.n_rows, len(self.reference)
        n_compared = 1 / (time / n + time / m)
        beyond = (
            bool(statistics[0] > self.scores.stability_limit(n_compared)),
            bool(kolmogorov(np.sqrt(n_compared) * statistics[1]) < P_VALUE),
        )
        return beyond, n_compared

    def verdicts(self, window):
        """Return the verdicts on drift by index and test for each rule, and on the alert rate."""
        statistics = self._statistics(self.scores, window)
        found = {"independent": self._by_time(1.0, statistics)[0]}
        found["blocks"] = (None, None)
        if self.limits is not None:
            pairs = zip(statistics, self.limits, strict=True)
            found["blocks"] = tuple(bool(value > limit) for value, limit in pairs)
        time = max(self.time, AutocorrelationTime(*location_and_spread(window)).overall)
        beyond, n_compared = self._by_time(time, statistics)
        enough = n_compared >= ENOUGH
        found["larger time"] = tuple(
            True if b and n_compared >= FEWEST else False if enough else None for b in beyond
        )
        reports = [m.update_scores(window).windows[0] for m in self.monitors.values()]
        found["monitor"] = tuple(None if r.drift_unknown else r.drifting for r in reports)
        rate = None if reports[0].rate_unknown else reports[0].rate_is_high
        return found, rate, reports[0].n_effective


def quiet(drift, options):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Monitor(Nothing(), drift=drift, **options)


# --------------------------------------------------------------------------------- measuring


def one(scores, m, n, shift):
    """Return verdicts on windows as they are and on windows that are shifted."""
    rules = Rules(scores[:m], n)
    windows = scores[m:].reshape(-1, n)
    return [
        [rules.verdicts(window) for window in windows],
        [rules.verdicts(window + shift) for window in windows[:3]],
    ]


def summarise(found, **what):
    """Return a row for each rule and test."""
    rows = []
    for rule in RULES:
        for place, test in enumerate(("psi", "ks")):
            same = [v[0][rule][place] for run in found for v in run[0]]
            moved = [[v[0][rule][place] for v in run[1]] for run in found]
            until = [run.index(True) + 1 if True in run else None for run in moved]
            hits = [u for u in until if u is not None]
            row = dict(what) | {"rule": rule, "test": test}
            row["n_effective"] = float(np.median([v[2] for run in found for v in run[0]]))
            row["false_in_100"] = 100 * float(np.mean([v is True for v in same]))
            row["unknown_in_100"] = 100 * float(np.mean([v is None for v in same]))
            row["found_in_three"] = len(hits) / len(until)
            row["windows_until_found"] = float(np.mean(hits)) if hits else float("nan")
            rows.append(row)
    rates = [v[1] for run in found for v in run[0]]
    alarm = 100 * float(np.mean([v is True for v in rates]))
    unknown = 100 * float(np.mean([v is None for v in rates]))
    for row in rows:
        mine = row["rule"] == "monitor"
        row["false_rate_in_100"] = alarm if mine else float("nan")
        row["unknown_rate_in_100"] = unknown if mine else float("nan")
    return rows


def cell(kind, parameter, form, m, n, n_seeds):
    found = []
    for seed in range(n_seeds):
        rng = np.random.default_rng([seed, m, n, *f"{kind} {parameter} {form}".encode()])
        x = draw(kind, parameter, m + n * N_WINDOWS, rng)
        scores = shaped(x, form)
        rules = Rules(scores[:m], n)
        moved = shaped(
            x + 1, form
        )  # of heavy tails the logarithm moves: their σ is that of the tail
        same, shifted = scores[m:].reshape(-1, n), moved[m:].reshape(-1, n)[:3]
        found.append([[rules.verdicts(w) for w in same], [rules.verdicts(w) for w in shifted]])
    what = {"scores": f"{kind} {parameter:g}", "form": form, "reference": m, "window_size": n}
    return summarise(found, **what)


def series_cells(seed):
    scores = series_scores(seed, 10_000 + 5000 * 3)
    return {
        (m, n): one(scores[: m + n * min(N_WINDOWS, 15_000 // n)], m, n, scores.std())
        for m in REFERENCES
        for n in WINDOWS
    }


# ----------------------------------------------------------------------------------- changes


def partly(share, size):
    def change(window, rng):
        length = int(share * len(window))
        start = rng.integers(len(window) - length + 1)
        return np.r_[
            window[:start], window[start : start + length] + size, window[start + length :]
        ]

    return change


CHANGES = {
    "a third is 2 σ higher": partly(1 / 3, 2),
    "half is 2 σ higher": partly(1 / 2, 2),
    "rises from 0 to 2 σ": lambda w, rng: w + np.linspace(0, 2, len(w)),
    "2 σ higher every other 50 rows": lambda w, rng: w + 2 * (np.arange(len(w)) // 50 % 2),
    "twice as wide": lambda w, rng: 2 * w,
    "stands still": lambda w, rng: np.full(len(w), 0.3),
    "stuck at two scores": lambda w, rng: np.repeat([0.3, 0.6], len(w) // 2),
    "stuck for the last 70 %": lambda w, rng: np.where(np.arange(len(w)) < 0.3 * len(w), w, 0.3),
    "a line from 0 to 20 σ": lambda w, rng: np.linspace(0, 20, len(w)),
}


def changed(kind, parameter, change, shuffle, n, n_seeds, m=10_000):
    found = []
    for seed in range(n_seeds):
        rng = np.random.default_rng([seed, n, *f"{kind} {parameter} {change}".encode()])
        x = draw(kind, parameter, m + 3 * n, rng)
        rules = Rules(rng.permutation(x[:m]) if shuffle else x[:m], n)
        windows = x[m:].reshape(-1, n)
        if change:
            windows = [CHANGES[change](w, rng) for w in windows]
        verdicts = [rules.verdicts(w) for w in windows]
        found.append([verdicts, verdicts])
    rows = summarise(
        found,
        scores=f"{kind} {parameter:g}",
        change=change or "none, the reference shuffled",
        reference=m,
        window_size=n,
    )
    kept = ("scores", "change", "reference", "window_size", "rule", "test", "n_effective")
    told = {"alarms_in_100": "false_in_100", "unknown_in_100": "unknown_in_100"}
    return [{k: r[k] for k in kept} | {k: r[v] for k, v in told.items()} for r in rows]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=60)
    parser.add_argument("--changes", action="store_true")
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    run = Parallel(arguments.jobs, return_as="generator")
    if arguments.changes:
        tasks = [
            delayed(changed)("AR(1)", phi, change, False, n, arguments.seeds // 5)
            for phi in (0.0, 0.9)
            for change in CHANGES
            for n in (200, 1000)
        ] + [
            delayed(changed)("AR(1)", phi, None, True, n, arguments.seeds)
            for phi in (0.8, 0.9, 0.98, 0.995)
            for n in (200, 1000)
        ]
        write_csv(
            "monitor_changes", [r for rows in tqdm(run(tasks), total=len(tasks)) for r in rows]
        )
        return
    tasks = []
    for kind, parameter in PROCESSES:
        for form in FORMS:
            for m in REFERENCES:
                for n in WINDOWS:
                    few = arguments.seeds // (1 if form == "normal" else 2)
                    n_seeds = few if n < 5000 else few // 3
                    tasks.append(delayed(cell)(kind, parameter, form, m, n, n_seeds))
    rows = [r for rows in tqdm(run(tasks), total=len(tasks)) for r in rows]
    n_series = arguments.seeds // 5
    found = list(tqdm(run(delayed(series_cells)(s) for s in range(n_series)), total=n_series))
    for m, n in found[0]:
        what = {"scores": "score_new 144", "form": "as they are", "reference": m, "window_size": n}
        rows += summarise([f[m, n] for f in found], **what)
    write_csv("monitor_alarms", rows)


if __name__ == "__main__":
    main()
