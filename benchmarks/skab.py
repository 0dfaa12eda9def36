"""The Skoltech Anomaly Benchmark: a pump with eight sensors, and faults of its valves.

    python benchmarks/skab.py --data-dir DIR

Each detector is fitted to the first 400 steps of a file, which are normal, and scores the rest.
F1, false alarms and missed steps are of all files together, as on the board of the benchmark:
https://github.com/waico/SKAB. ROC AUC and VUS-PR are means over the files. Nothing was chosen on
these data: detectors have their defaults, in windows of 10 steps and with contamination 0.01.

"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from datasets import add_data_argument
from pyod.models.ts_lstm import LSTMAD
from report import read_csv, write_csv
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from vus import vus_pr

import skrdae
from skrdae import WindowedDetector

N_TRAIN, WINDOW, CONTAMINATION = 400, 10, 0.01
N_CHANNELS = 8


def load_skab(data_dir):
    """Yield name, values of shape (n_timesteps, 8) and labels of each file with a fault."""
    if data_dir is None:
        raise SystemExit(
            "SKAB has to be fetched by hand: copy the folders valve1, valve2 and other of data/ "
            "from https://github.com/waico/SKAB to DIR/skab and pass --data-dir DIR."
        )
    folder = Path(data_dir) / "skab"
    for path in sorted(folder.glob("*/*.csv")):
        table = pd.read_csv(path, sep=";", index_col="datetime")
        labels = table.pop("anomaly").to_numpy(int)
        name = f"{path.parent.name}/{path.stem}"
        yield name, table.drop(columns="changepoint").to_numpy(float), labels


class Forest:
    """scikit-learn's IsolationForest, step by step."""

    def __init__(self, seed):
        self.forest = IsolationForest(contamination=CONTAMINATION, random_state=seed)

    def fit(self, X):
        """Fit to the steps of a series."""
        self.forest.fit(X)
        return self

    def scores_and_labels(self, X):
        """Score and label steps."""
        return -self.forest.score_samples(X), (self.forest.predict(X) == -1).astype(int)


class Forecast:
    """PyOD's LSTMAD, which has no random_state, and scores no step of the first window."""

    def __init__(self, seed):
        torch.manual_seed(seed)
        self.detector = LSTMAD(window_size=WINDOW, contamination=CONTAMINATION)

    def fit(self, X):
        """Fit to a series."""
        self.detector.fit(X)
        return self

    def scores_and_labels(self, X):
        """Score and label the steps of another series."""
        scores = np.nan_to_num(self.detector.decision_function(X))
        return scores, (scores > self.detector.threshold_).astype(int)


class EveryStep:
    """What flags every step, for comparison."""

    def fit(self, X):
        """Learn nothing."""
        return self

    def scores_and_labels(self, X):
        """Flag all steps."""
        return np.zeros(len(X)), np.ones(len(X), int)


def windowed(name, **options):
    """Make what makes a detector of windows for a seed."""
    if name != "RobustDeepAutoencoder":
        options["n_channels"] = N_CHANNELS

    def make(seed):
        options.update(contamination=CONTAMINATION, random_state=seed)
        return WindowedDetector(getattr(skrdae, name)(**options), window_size=WINDOW)

    return make


#: name → detector for a seed
DETECTORS = {
    "RobustDeepAutoencoder": windowed("RobustDeepAutoencoder"),
    "LSTMRobustAutoencoder": windowed("LSTMRobustAutoencoder"),
    "LSTMRobustAutoencoder, GRU": windowed("LSTMRobustAutoencoder", cell="gru"),
    "TransformerRobustAutoencoder": windowed("TransformerRobustAutoencoder"),
    "USADDetector": windowed("USADDetector"),
    "LSTMVAEDetector": windowed("LSTMVAEDetector"),
    "OmniAnomalyDetector": windowed("OmniAnomalyDetector"),
    "PyOD LSTMAD": Forecast,
    "IsolationForest": Forest,
    "every step flagged": lambda seed: EveryStep(),
}


def measure(make, data, seed):
    """Return the figures of a detector over all files."""
    found, truth, areas, volumes, seconds = [], [], [], [], 0.0
    for _, values, y in data:
        start = time.perf_counter()
        detector = make(seed).fit(values[:N_TRAIN])
        seconds += time.perf_counter() - start
        scores, labels = detector.scores_and_labels(values[N_TRAIN:])
        y = y[N_TRAIN:]
        if 0 < y.sum() < len(y):
            areas.append(roc_auc_score(y, scores))
            volumes.append(vus_pr(y, scores, longest=60))
        found.append(labels)
        truth.append(y)
    flagged, anomalous = np.concatenate(found) == 1, np.concatenate(truth) == 1
    hits = (flagged & anomalous).sum()
    return {
        "f1": float(2 * hits / (flagged.sum() + anomalous.sum())),
        "false_alarms": float(flagged[~anomalous].mean()),
        "missed": float((~flagged[anomalous]).mean()),
        "roc_auc": float(np.mean(areas)),
        "vus_pr": float(np.mean(volumes)),
        "fit_s": seconds / len(data),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", help="detectors whose name holds this")
    parser.add_argument("--threads", type=int, default=1)
    add_data_argument(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore", "No step of X is flagged")  # the training steps are normal
    data = list(load_skab(options.data_dir))
    # What was measured of the others stays.
    rows = [r for r in read_csv("skab") if options.only and options.only not in r["detector"]]
    for name, make in DETECTORS.items():
        if options.only and options.only not in name:
            continue
        for seed in range(options.seeds):
            rows.append({"detector": name, "seed": seed} | measure(make, data, seed))
            print(rows[-1], flush=True)
            write_csv("skab", rows)
    figures = ("f1", "false_alarms", "missed", "roc_auc", "vus_pr", "fit_s")
    summary = []
    for name in dict.fromkeys(row["detector"] for row in rows):
        mine = [row for row in rows if row["detector"] == name]
        mean = {k: float(np.mean([row[k] for row in mine])) for k in figures}
        summary.append({"detector": name, "fits": len(mine)} | mean)
    write_csv("skab_summary", summary)


if __name__ == "__main__":
    main()
