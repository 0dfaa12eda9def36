"""How the defaults were chosen: settings compared over many random halves of ADBench's sets.

    python benchmarks/adbench_defaults.py

A setting that is best on the sets at hand may be so by luck. So the sets are halved at random many
times: the setting with the best mean ROC AUC on one half is looked at on the other, beside the
default. Each setting differs from the defaults in what its name says. Data and scores are those of
adbench.py.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from datasets import add_data_argument, load_adbench
from joblib import Parallel, delayed
from report import read_csv, write_csv
from sklearn.metrics import average_precision_score, roc_auc_score
from tqdm import tqdm

from skrdae import AnoGANDetector, RobustDeepAutoencoder, VAEDetector

DEFAULT = "default"
HALVES = 1000
ITERATIONS = (1, 2, 3, 5, 8, 12)


def fitted(detector):
    """Return a function that fits a detector with given options and gives its scores."""

    def scores(X, seed, **options):
        return detector(random_state=seed, **options).fit(X).decision_scores_

    return scores


def clipped_at(bound):
    """Return the scores of a detector that is shown values within ±bound scales."""

    class Clipped(RobustDeepAutoencoder):
        _bound = bound

    return fitted(Clipped)


def trimmed(X, seed):
    """Return the scores after a second fit without the tenth of the rows that scored highest."""
    first = RobustDeepAutoencoder(random_state=seed).fit(X)
    return RobustDeepAutoencoder(random_state=seed).fit(X[first.labels_ == 0]).decision_function(X)


def entropy_stopped(X, seed):
    """Return the scores of the iteration at which the entropy of the rows' losses is least.

    That is the rule of EntropyStop (KDD 2024), looked at after each of some iterations. A fit with
    fewer iterations is the beginning of one with more.
    """
    found = []
    for max_iter in ITERATIONS:
        same = {"max_iter": max_iter, "random_state": seed}
        share = RobustDeepAutoencoder(score_function="norm", **same).fit(X).decision_scores_ ** 2
        share = share / share.sum()
        entropy = -(share * np.log(share + 1e-30)).sum()
        found.append((entropy, max_iter, RobustDeepAutoencoder(**same).fit(X).decision_scores_))
    return min(found, key=lambda each: each[:2])[2]


def sized(rule):
    """Return the scores with hidden layers that a function of the number of features gives."""

    def scores(X, seed):
        sizes = rule(X.shape[1])
        return fitted(RobustDeepAutoencoder)(X, seed, hidden_layer_sizes=sizes)

    return scores


def options(detector, **settings):
    """Return name → a function of X and seed for settings of a detector."""
    fit = fitted(detector)
    return {
        name.replace("_", " "): lambda X, seed, given=given: fit(X, seed, **given)
        for name, given in ({DEFAULT: {}} | settings).items()
    }


#: detector → setting → a function of X and seed.
SETTINGS = {
    "RobustDeepAutoencoder": options(
        RobustDeepAutoencoder,
        score_function_norm={"score_function": "norm"},
        scaler_standard={"scaler": "standard"},
        scaler_minmax={"scaler": "minmax"},
        lam_inf={"lam": np.inf},
        contamination_005={"contamination": 0.05},
        contamination_02={"contamination": 0.2},
        penalty_l1={"penalty": "l1"},
        max_iter_2={"max_iter": 2},
        max_iter_3={"max_iter": 3},
        max_iter_8={"max_iter": 8},
        max_iter_20={"max_iter": 20},
        n_estimators_1={"n_estimators": 1},
        n_estimators_16={"n_estimators": 16},
        max_samples_256_n_estimators_32={"max_samples": 256, "n_estimators": 32, "max_iter": 20},
        activation_relu={"activation": "relu"},
        lr_3e_3={"lr": 3e-3},
        max_samples_256_max_iter_20={"max_samples": 256, "max_iter": 20},
        max_samples_1024_max_iter_8={"max_samples": 1024, "max_iter": 8},
        batch_size_256={"batch_size": 256},
    )
    | {
        "clipped at 2": lambda X, seed: clipped_at(2.0)(X, seed),
        "clipped at 5": lambda X, seed: clipped_at(5.0)(X, seed),
        "clipped at 10": lambda X, seed: clipped_at(10.0)(X, seed),
        "units (64, √d)": sized(lambda d: (64, max(2, round(d**0.5)))),
        "units (64, d/2)": sized(lambda d: (64, max(2, round(d / 2)))),
        "units (64, d/2), at most 12": sized(
            lambda d: (64, max(2, round(min(d / 2, max(12, d**0.5)))))
        ),
        "units (64, d)": sized(lambda d: (64, d)),
        "units (d/2)": sized(lambda d: (max(2, round(d / 2)),)),
        "units (128, 64, d/2)": sized(lambda d: (128, 64, max(2, round(d / 2)))),
        "trimmed": trimmed,
        "EntropyStop": entropy_stopped,
        "before: norm, clipped at 10, (64, √d), 4 iterations": lambda X, seed: clipped_at(10.0)(
            X,
            seed,
            score_function="norm",
            hidden_layer_sizes=(64, max(2, round(X.shape[1] ** 0.5))),
            max_iter=4,
        ),
    },
    "VAEDetector": options(
        VAEDetector,
        n_epochs_5={"n_epochs": 5},
        n_epochs_40={"n_epochs": 40},
        beta_01={"beta": 0.1},
        beta_3={"beta": 3.0},
        scaler_standard={"scaler": "standard"},
        latent_dim_2={"latent_dim": 2},
        n_estimators_1={"n_estimators": 1},
        lr_3e_3={"lr": 3e-3},
    ),
    "AnoGANDetector": options(
        AnoGANDetector,
        latent_dim_2={"latent_dim": 2},
        n_estimators_1={"n_estimators": 1},
        half_the_epochs={"n_epochs": max(1, AnoGANDetector().n_epochs // 2)},
        twice_the_epochs={"n_epochs": 2 * AnoGANDetector().n_epochs},
    ),
}


def run(dataset, X, y, detector, setting, seed, threads):
    """Return a row of the CSV."""
    torch.set_num_threads(threads)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        scores = SETTINGS[detector][setting](X, seed)
        seconds = time.perf_counter() - start
    return {
        "dataset": dataset,
        "detector": detector,
        "setting": setting,
        "seed": seed,
        "roc_auc": float(roc_auc_score(y, scores)),
        "average_precision": float(average_precision_score(y, scores)),
        "seconds": seconds,
    }


def summarise(rows, detector):
    """Return a row a setting, and one for the setting chosen on the other half of the sets."""
    rows = [r for r in rows if r["detector"] == detector]
    names = list(dict.fromkeys(r["setting"] for r in rows))
    sets = sorted({r["dataset"] for r in rows})

    def table(key):  # shape: (sets, settings)
        cells = {}
        for r in rows:
            cells.setdefault((r["dataset"], r["setting"]), []).append(r[key])
        return np.array([[np.mean(cells[s, n]) for n in names] for s in sets])

    auc, ap, seconds = table("roc_auc"), table("average_precision"), table("seconds")
    rng = np.random.default_rng(0)
    chosen, other, default = np.zeros(len(names)), [], []
    for _ in range(HALVES):
        order = rng.permutation(len(sets))
        here, there = order[: len(sets) // 2], order[len(sets) // 2 :]
        best = auc[here].mean(axis=0).argmax()
        chosen[best] += 1
        other.append((auc[here, best].mean(), auc[there, best].mean(), ap[there, best].mean()))
        default.append(auc[there, names.index(DEFAULT)].mean())
    gain = auc - auc[:, [names.index(DEFAULT)]]
    summary = [
        {
            "detector": detector,
            "setting": name,
            "roc_auc": float(auc[:, j].mean()),
            "average_precision": float(ap[:, j].mean()),
            "gain_on_default": float(gain[:, j].mean()),
            "standard_error": float(gain[:, j].std(ddof=1) / np.sqrt(len(sets))),
            "chosen_on_halves": float(chosen[j] / HALVES),
            "seconds": float(seconds[:, j].mean()),
        }
        for j, name in enumerate(names)
    ]
    here, there, ap_there = np.mean(other, axis=0)
    summary.append(
        {
            "detector": detector,
            "setting": f"best on a half (there {here:.4f}), on the other half",
            "roc_auc": float(there),
            "average_precision": float(ap_there),
            "gain_on_default": float(there - np.mean(default)),
            # Of the gain from half to half, not of its mean.
            "standard_error": float(np.std(np.array(other)[:, 1] - np.array(default))),
            "chosen_on_halves": 1.0,
            "seconds": float("nan"),
        }
    )
    return summary


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data_argument(parser)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--max-rows", type=int, default=4000)
    parser.add_argument("--threads", type=int, default=1, help="of torch, a job")
    parser.add_argument("--jobs", type=int, default=1, help="fits at a time")
    parser.add_argument("--detectors", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    arguments = parser.parse_args()
    tasks = [
        (Path(name).stem, X, y, detector, setting, seed)
        for name, X, y in load_adbench(arguments.data_dir, arguments.max_rows)
        for detector in arguments.detectors
        for setting in SETTINGS[detector]
        for seed in range(arguments.seeds)
    ]
    parallel = Parallel(n_jobs=arguments.jobs, return_as="generator")
    found = parallel(delayed(run)(*task, arguments.threads) for task in tasks)
    kept = read_csv("adbench_defaults")
    rows = [r for r in kept if r["detector"] not in arguments.detectors]
    rows += list(tqdm(found, total=len(tasks), unit="fit"))
    write_csv("adbench_defaults", rows)
    summary = []
    for detector in [d for d in SETTINGS if any(r["detector"] == d for r in rows)]:
        summary += summarise(rows, detector)
    write_csv("adbench_defaults_summary", summary)
    for r in summary:
        print("  ".join(f"{v:.4f}" if isinstance(v, float) else str(v) for v in r.values()))


if __name__ == "__main__":
    main()
