"""Series of the Numenta Anomaly Benchmark.

    python benchmarks/nab.py scores      # detectors beside each other, a picture for each series
    python benchmarks/nab.py settings    # what the defaults of WindowedDetector are worth
    python benchmarks/nab.py published   # machine temperature, windows flagged by λ

``scores``: without labels, in windows of 144 steps, all with their defaults. A point is a step; the
labels are NAB's windows. ``settings``: the same for one choice after another in the place of a
default. ``published``: steps 33 to 22,496 of machine temperature, min-max scaled, dense network
60-20 with sigmoid units (20 outer iterations of 50 epochs), LSTM and GRU 32-16 (10 of 25), batches
of 256; dense on all 22,321 windows, LSTM and GRU trained on every 48th unless ``--stride`` says
otherwise; all windows are scored.
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np
import torch
from datasets import add_data_argument, load_nab
from pyod.models.iforest import IForest
from pyod.models.pca import PCA
from pyod.models.ts_lstm import LSTMAD
from pyod.models.ts_matrix_profile import MatrixProfile
from report import PICTURES, read_csv, write_csv
from sklearn.base import clone
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.preprocessing import RobustScaler
from tqdm import tqdm
from vus import vus_pr

from skrdae import (
    LSTMRobustAutoencoder,
    RobustDeepAutoencoder,
    TransformerRobustAutoencoder,
    WindowedDetector,
)
from skrdae.preprocessing import Windows

WINDOW = 144
LAMS = (0.1, 0.5, 0.7, 1.0, 2.0, 3.0, 3.2, 3.3, 4.0)


class OnScaledWindows:
    """Fit a detector to all windows, median and quartiles scaled, clipped; average its scores."""

    def __init__(self, detector):
        self.detector = detector

    def fit(self, series):
        """Fit to a series of shape (n_timesteps, 1)."""
        windows = Windows(np.ascontiguousarray(series, float), [len(series)], WINDOW)
        rows = RobustScaler().fit_transform(windows.rows(slice(None))).clip(-10, 10)
        scores = clone(self.detector).fit(rows).decision_scores_
        self.decision_scores_ = windows.combine(scores, "mean")
        self.labels_ = None
        return self


def windowed(detector, **options):
    return WindowedDetector(detector, window_size=WINDOW, **options)


#: name → detector for a seed
DETECTORS = {
    "RobustDeepAutoencoder": lambda s: windowed(RobustDeepAutoencoder(random_state=s)),
    "LSTMRobustAutoencoder": lambda s: windowed(LSTMRobustAutoencoder(random_state=s)),
    "LSTMRobustAutoencoder, GRU": lambda s: windowed(
        LSTMRobustAutoencoder(cell="gru", random_state=s)
    ),
    "TransformerRobustAutoencoder": lambda s: windowed(
        TransformerRobustAutoencoder(random_state=s)
    ),
    "PyOD IForest in WindowedDetector": lambda s: windowed(IForest(random_state=s)),
    "PyOD PCA in WindowedDetector": lambda s: windowed(PCA(random_state=s)),
    "PyOD IForest on all windows": lambda s: OnScaledWindows(IForest(random_state=s)),
    "PyOD PCA on all windows": lambda s: OnScaledWindows(PCA(random_state=s)),
    "PyOD LSTMAD": lambda s: _seeded(s, LSTMAD()),
    "PyOD MatrixProfile": lambda s: MatrixProfile(window_size=WINDOW),
}
#: run once: one that draws nothing, and one that takes longer than all others together
ONCE = ("PyOD MatrixProfile", "PyOD LSTMAD")

SETTINGS = {
    "defaults": {},
    "trim=0": {"trim": 0.0},
    "trim=0.02": {"trim": 0.02},
    "trim=0.1": {"trim": 0.1},
    "max_windows=200": {"max_windows": 200},
    "max_windows=600": {"max_windows": 600},
    "max_windows=1024": {"max_windows": 1024},
    "max_windows=4096": {"max_windows": 4096},
    "max_windows=None": {"max_windows": None},
    "max_windows=None, trim=0": {"max_windows": None, "trim": 0.0},
    "aggregate='max'": {"aggregate": "max"},
    "aggregate='median'": {"aggregate": "median"},
    "stride=12": {"stride": 12},
    "window_size=72": {"window_size": 72},
    "window_size=100": {"window_size": 100},
    "window_size=288": {"window_size": 288},
}


def _seeded(seed, detector):
    torch.manual_seed(seed)  # it has no random_state
    return detector


def stretches(y):
    """Return start and end of each labelled window."""
    edges = np.diff(np.concatenate([[0], y, [0]]))
    return list(zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True))


def measure(y, detector):
    """Return the figures of a fitted detector."""
    scores = np.asarray(detector.decision_scores_, float)
    row = {
        "roc_auc": roc_auc_score(y, scores),
        "average_precision": average_precision_score(y, scores),
        "vus_pr": vus_pr(y, scores, WINDOW),
        "windows_hit": "",
        "outside_flagged": "",
    }
    if detector.labels_ is not None:
        labels, ranges = np.asarray(detector.labels_), stretches(y)
        row["windows_hit"] = f"{sum(labels[a:b].any() for a, b in ranges)} of {len(ranges)}"
        row["outside_flagged"] = f"{labels[y == 0].mean():.4f}"
    return row


def scores(data, n_seeds, only):
    # What was measured of the others stays.
    rows = [r for r in read_csv("nab_scores") if only and only not in r["detector"]]
    for name, series, y in data:
        values = series.to_numpy()
        for detector_name, make in DETECTORS.items():
            if only and only not in detector_name:
                continue
            for seed in range(1 if detector_name in ONCE else n_seeds):
                detector = make(seed).fit(values)
                row = {"series": name, "detector": detector_name, "seed": seed}
                rows.append(row | measure(y, detector))
                print(rows[-1], flush=True)
                if seed == 0 and detector_name == "RobustDeepAutoencoder":
                    draw(name, series, y, detector)
    write_csv("nab_scores", rows)
    write_csv("nab_scores_summary", summary(rows, "detector"))


def settings(data, n_seeds):
    data, rows = list(data), []
    for setting, options in tqdm(SETTINGS.items()):
        for name, series, y in data:
            for seed in range(n_seeds):
                detector = RobustDeepAutoencoder(random_state=seed)
                chosen = {"window_size": WINDOW} | options
                detector = WindowedDetector(detector, **chosen).fit(series.to_numpy())
                rows.append({"series": name, "setting": setting, "seed": seed})
                rows[-1] |= measure(y, detector)
    write_csv("nab_settings", rows)
    write_csv("nab_settings_summary", summary(rows, "setting"))


def summary(rows, key):
    """Average over seeds, and then over series."""
    figures = ("roc_auc", "average_precision", "vus_pr")
    out = []
    for value in dict.fromkeys(row[key] for row in rows):
        mine = [row for row in rows if row[key] == value]
        names = list(dict.fromkeys(row["series"] for row in mine))
        for name in [*names, "mean"]:
            chosen = [r for r in mine if name in ("mean", r["series"])]
            out.append({key: value, "series": name, "fits": len(chosen)})
            out[-1] |= {k: float(np.mean([r[k] for r in chosen])) for k in figures}
    return out


def published(data, stride, only):
    series = next(s for name, s, _ in data if name.startswith("machine_temperature"))
    values = np.ascontiguousarray(series.to_numpy()[33:-186])
    windows = Windows(values, [len(values)], WINDOW)
    everything = windows.rows(slice(None))
    common = {"batch_size": 256, "n_estimators": 1, "scaler": "minmax", "random_state": 0}
    common |= {"contamination": "auto", "lr": 1e-3, "max_samples": 1.0}
    recurrent = {"hidden_layer_sizes": (32, 16), "max_iter": 10, "n_epochs": 25}
    dense = {"hidden_layer_sizes": (60, 20), "max_iter": 20, "n_epochs": 50}
    networks = {
        "dense": (
            1,
            lambda lam: RobustDeepAutoencoder(lam, activation="sigmoid", **common, **dense),
        ),
        "lstm": (stride, lambda lam: LSTMRobustAutoencoder(lam, **common, **recurrent)),
        "gru": (stride, lambda lam: LSTMRobustAutoencoder(lam, cell="gru", **common, **recurrent)),
    }
    for name, (step, make) in networks.items():
        if only and only != name:
            continue
        rows = []
        for lam in LAMS:
            detector = make(lam).fit(everything[::step])
            flagged = int(detector.predict(everything).sum())
            rows.append({"network": name, "lam": lam, "flagged": flagged, "windows": len(windows)})
            rows[-1] |= {"trained_on_every": step, "device": detector.device_.type}
            print(rows[-1], flush=True)
        write_csv(f"nab_published_{name}", rows)


def draw(name, series, y, detector):
    """Draw a series, its score, the labelled windows and the detections."""
    figure, (above, below) = plt.subplots(2, figsize=(9, 3.6), sharex=True, layout="constrained")
    time_axis = series.index
    above.plot(time_axis, series.iloc[:, 0], lw=0.6, color="C0")
    below.plot(time_axis, detector.decision_scores_, lw=0.9, color="C1")
    flagged = detector.labels_ == 1
    low = series.iloc[:, 0].min()
    above.plot(time_axis[flagged], np.full(flagged.sum(), low), "|", ms=9, color="C3")
    for axes in (above, below):
        for a, b in stretches(y):
            axes.axvspan(time_axis[a], time_axis[b - 1], color="C2", alpha=0.25, lw=0)
        axes.margins(x=0.01)
        axes.spines[["top", "right"]].set_visible(False)
    above.set_title(f"{name}: labelled (green), flagged (red)", fontsize=9, loc="left")
    above.set_ylabel("value", fontsize=8)
    below.set_ylabel("score", fontsize=8)
    for axes in (above, below):
        axes.tick_params(labelsize=7)
    figure.savefig(PICTURES / f"nab_{name.split('_')[0]}.png", dpi=90)
    plt.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("scores", "settings", "published"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--stride", type=int, default=48, help="of the recurrent networks' windows")
    parser.add_argument("--only", help="detectors whose name holds this, or one network")
    parser.add_argument("--threads", type=int, default=2)
    add_data_argument(parser)
    options = parser.parse_args()
    plt.switch_backend("Agg")
    torch.set_num_threads(options.threads)
    data = load_nab(options.data_dir)
    if options.part == "published":
        published(data, options.stride, options.only)
    elif options.part == "scores":
        scores(data, options.seeds, options.only)
    else:
        settings(data, options.seeds)


if __name__ == "__main__":
    main()
