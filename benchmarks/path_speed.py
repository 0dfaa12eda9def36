"""RobustDeepAutoencoderCV beside GridSearchCV over the same λ, folds and seed: time and memory.

    python benchmarks/path_speed.py

20 λ on 5 folds of standard normal rows, every twentieth three times as far out. GridSearchCV has
two processes and does not refit; RobustDeepAutoencoderCV has one process of two threads, and
refits. Each is run in a process of its own; the time is that of the call, worker processes started
by it included. Beside them stands the time that the path's matrix products would take at the rate
of a large product, and, in a second table, the time for stacks of several sizes.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from report import write_csv
from sklearn.model_selection import GridSearchCV, StratifiedKFold

from skrdae import RobustDeepAutoencoder, RobustDeepAutoencoderCV
from skrdae.detectors import path_fits
from skrdae.metrics import roc_auc_scorer

#: rows, columns, members
CASES = ((500, 20, 1), (500, 20, 8), (5000, 20, 1), (5000, 20, 8), (5000, 100, 8))
N_LAMS, N_FOLDS = 20, 5
#: bytes for which the sizes of stacks are compared, and the case it is done with
STACKS, STACKS_CASE = (2**23, 2**24, 2**26, 2**28), (5000, 20, 8)


def problem(n, d):
    """Return X, y, λ and folds."""
    X = np.random.default_rng(0).normal(size=(n, d))
    y = (np.arange(n) % 20 == 0).astype(int)
    X[y == 1] *= 3
    lams = np.geomspace(8, 0.8, N_LAMS) * np.sqrt(d / 20)
    return X, y, lams, StratifiedKFold(N_FOLDS, shuffle=True, random_state=0)


def peak_memory():
    """Return the peak of this process's memory so far, in bytes (on Linux)."""
    status = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in status if "VmHWM" in line).split()[1])


def grid_search(n, d, k):
    X, y, lams, folds = problem(n, d)
    search = GridSearchCV(
        RobustDeepAutoencoder(n_estimators=k, random_state=0),
        {"lam": lams},
        scoring=roc_auc_scorer,
        cv=folds,
        n_jobs=2,
        refit=False,
    )
    start = time.perf_counter()
    results = search.fit(X, y).cv_results_
    seconds = time.perf_counter() - start
    return seconds, 0, [results[f"split{i}_test_score"].tolist() for i in range(N_FOLDS)]


def path(n, d, k, stack_bytes=None):
    if stack_bytes is not None:
        path_fits._STACK_BYTES = stack_bytes
    X, y, lams, folds = problem(n, d)
    detector = RobustDeepAutoencoderCV(
        lams, cv=folds, scoring=roc_auc_scorer, n_estimators=k, random_state=0
    )
    before = peak_memory()
    start = time.perf_counter()
    detector.fit(X, y)
    seconds = time.perf_counter() - start
    return seconds, peak_memory() - before, detector.scores_path_.T.tolist()


def floor(n, d, k):
    """Return the seconds that the path's products would take at the rate of a large one."""
    a = torch.rand(2048, 2048)
    rate = 0.0
    for _ in range(5):
        start = time.perf_counter()
        a @ a
        rate = max(rate, 2 * 2048**3 / (time.perf_counter() - start))
    code = max(2, round(min(d, max(24, d**0.5))))
    first, weights = d * 64, 2 * (d * 64 + 64 * code)
    n_train = n * (N_FOLDS - 1) // N_FOLDS
    # Forward and twice backward, but not to the data; four trainings of five are each λ's own,
    # as are three passes for the prox and one for the scores.
    training = 2 * n_train * (3 * weights - first)
    passes = 3 * (2 * n_train * weights) + 2 * n * weights
    members = N_FOLDS * k
    return members * (training + 2 * n_train * weights + N_LAMS * (4 * training + passes)) / rate


def measure(how, case):
    """Call one of the two functions above in a new process."""
    command = [sys.executable, __file__, how, *map(str, case)]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


def main():
    torch.set_num_threads(2)
    rows = []
    for case in CASES:
        times, found = {"grid_search": [], "path": []}, {}
        for _ in range(2):
            for how in times:  # by turns, because the machine's speed wanders
                found[how] = measure(how, case)
                times[how].append(found[how][0])
        slow, fast = min(times["grid_search"]), min(times["path"])
        apart = np.abs(np.subtract(found["grid_search"][2], found["path"][2])).max()
        row = dict(zip(("rows", "columns", "members"), case, strict=True))
        row |= {"grid_search_s": slow, "path_s": fast, "ratio": slow / fast}
        row["products_s"] = floor(*case)
        row |= {"path_peak_mb": found["path"][1] / 1e6, "largest_difference": float(apart)}
        print({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}, flush=True)
        rows.append(row)
    print(write_csv("path_speed", rows))
    rows = []
    for size in STACKS:
        seconds = min(measure("path", (*STACKS_CASE, size))[0] for _ in range(2))
        rows.append({"stack_mb": size / 2**20, "path_s": seconds})
        print(rows[-1], flush=True)
    print(write_csv("path_speed_stacks", rows))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        torch.set_num_threads(2)
        how, *case = sys.argv[1:]
        print(json.dumps({"grid_search": grid_search, "path": path}[how](*map(int, case))))
    else:
        main()
