"""Time and memory of recurrent networks and of windows.

    python benchmarks/windows_speed.py lstm      # beside PyOD's LSTMAD
    python benchmarks/windows_speed.py others    # USAD and so on, beside DeepOD's USAD and LSTMAD
    python benchmarks/windows_speed.py memory    # two million steps in windows of 144

``lstm``: a sine with noise, the same window, hidden size, epochs and batch size. PyOD's LSTMAD has
two LSTM layers by default and predicts the next step; an autoencoder of one hidden layer is two
LSTM layers, encoder and decoder. The fits of a case take turns, and a ratio is the median of those
of the turns: of all windows, and of WindowedDetector as it comes, which trains twice on 512 of
them. ``others``: one network each, trained on all windows, with the layers, batches and epochs of
what it is compared with: a window's w values to w / 2, w / 4 and one unit a step for USAD, one
layer of 64 units in encoder and decoder beside two of LSTMAD. Again fits take turns. DeepOD is
compared if it is installed, or lies in the folder that ``--also`` names. ``memory``: each fit in a
process of its own; the peak is that of the whole process, libraries included.
"""

import argparse
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from pyod.models.iforest import IForest
from pyod.models.ts_lstm import LSTMAD
from report import write_csv
from sklearn.base import clone

from skrdae import (
    LSTMRobustAutoencoder,
    LSTMVAEDetector,
    OmniAnomalyDetector,
    RobustDeepAutoencoder,
    TransformerRobustAutoencoder,
    USADDetector,
    WindowedDetector,
)

N_STEPS, N_EPOCHS, N_TURNS = 5000, 3, 3
#: window, hidden size, batch size, layers of LSTMAD
CASES = (
    (50, 64, 32, 2),
    (50, 64, 256, 2),
    (50, 32, 64, 2),
    (144, 32, 32, 2),
    (144, 32, 256, 2),
    (144, 32, 256, 1),
)
N_MANY = 2_000_000
MANY = {
    "nothing but the imports": None,
    "RobustDeepAutoencoder": lambda: RobustDeepAutoencoder(random_state=0),
    "PyOD IForest": lambda: IForest(random_state=0),
}


def sine(n):
    return np.sin(np.arange(n) / 5) + 0.1 * np.random.default_rng(0).normal(size=n)


def lstm():
    series, rows = sine(N_STEPS), []
    for window, hidden, batch, layers in CASES:
        windows = np.lib.stride_tricks.sliding_window_view(series, window)

        def ours(hidden=hidden, batch=batch):
            return LSTMRobustAutoencoder(
                hidden_layer_sizes=(hidden,),
                max_iter=1,
                n_epochs=N_EPOCHS,
                batch_size=batch,
                random_state=0,
            )

        theirs = LSTMAD(
            window_size=window,
            hidden_size=hidden,
            n_layers=layers,
            epochs=N_EPOCHS,
            batch_size=batch,
        )
        whole = WindowedDetector(ours(), window_size=window)
        fits = (
            lambda theirs=theirs: theirs.fit(series),
            lambda ours=ours, windows=windows: ours().fit(windows),
            lambda whole=whole: whole.fit(series),
        )
        turns = [[_seconds(fit) for fit in fits] for _ in range(N_TURNS)]
        row = {"window": window, "hidden": hidden, "batch": batch, "lstmad_layers": layers}
        names = ("lstmad", "all_windows", "windowed_detector")
        for i, name in enumerate(names):
            row[f"seconds_{name}"] = statistics.median(turn[i] for turn in turns)
        for i, name in enumerate(names[1:], 1):
            row[f"ratio_{name}"] = statistics.median(turn[0] / turn[i] for turn in turns)
        rows.append(row)
        print(row, flush=True)
    write_csv("lstm_speed", rows)


def others():
    rows = []
    for window, n_channels in ((50, 1), (50, 8), (144, 1)):
        series = np.column_stack([sine(N_STEPS)] * n_channels)
        windows = np.lib.stride_tricks.sliding_window_view(series, window, axis=0)
        windows = windows.transpose(0, 2, 1).reshape(len(windows), -1)
        common = {"n_channels": n_channels, "n_estimators": 1, "max_samples": 1.0}
        common |= {"batch_size": 128, "random_state": 0}
        epochs, hidden = {"n_epochs": N_EPOCHS}, {"hidden_layer_sizes": (64,)}
        width = windows.shape[1]
        layers = {"hidden_layer_sizes": (width // 2, width // 4), "latent_dim": window}
        ours = [
            LSTMVAEDetector(**common, **epochs, **hidden),
            OmniAnomalyDetector(**common, **epochs, **hidden),
            TransformerRobustAutoencoder(**common, max_iter=1, **epochs),
        ]
        lstmad = LSTMAD(window_size=window, epochs=N_EPOCHS, batch_size=128)
        beside = [("PyOD LSTMAD", lstmad, ours)]
        try:
            from deepod.models.time_series import USAD
        except ImportError:
            print("DeepOD is not installed: USAD is left out.", file=sys.stderr)
        else:
            options = {"epochs": N_EPOCHS, "batch_size": 128, "device": "cpu", "verbose": 0}
            theirs = USAD(seq_len=window, hidden_dims=1, train_val_pc=0, **options)
            beside.append(("DeepOD USAD", theirs, [USADDetector(**common, **epochs, **layers)]))
        for name, theirs, detectors in beside:
            for detector in detectors:
                clone(detector).set_params(n_epochs=1).fit(windows[:200])  # compiled now
            fits = [partial(theirs.fit, series), *(partial(d.fit, windows) for d in detectors)]
            turns = [[_seconds(fit) for fit in fits] for _ in range(N_TURNS)]
            for i, detector in enumerate(detectors, 1):
                row = {"detector": type(detector).__name__, "beside": name}
                row |= {"window": window, "n_channels": n_channels}
                row["seconds"] = statistics.median(turn[i] for turn in turns)
                row["seconds_beside"] = statistics.median(turn[0] for turn in turns)
                row["ratio"] = statistics.median(turn[0] / turn[i] for turn in turns)
                rows.append(row)
                print(row, flush=True)
    write_csv("sequences_speed", rows)


def _seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def memory():
    rows = []
    for name in MANY:
        command = [sys.executable, __file__, "one", "--name", name]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        peak, seconds = map(float, out.split()[-2:])
        rows.append({"detector": name, "steps": N_MANY, "window": 144, "peak_mb": peak})
        rows[-1]["seconds"] = seconds
        print(rows[-1], flush=True)
    write_csv("windows_memory", rows)


def one(name):
    series, make = sine(N_MANY), MANY[name]
    start = time.perf_counter()
    if make is not None:
        WindowedDetector(make(), window_size=144).fit(series)
    status = Path("/proc/self/status").read_text().splitlines()
    peak = int(next(line for line in status if "VmHWM" in line).split()[1]) / 1024
    print(peak, time.perf_counter() - start)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("lstm", "others", "memory", "one"))
    parser.add_argument("--name")
    parser.add_argument("--also", help="a folder with DeepOD")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.also:
        sys.path.append(options.also)
    if options.part == "one":
        one(options.name)
    else:
        {"lstm": lstm, "others": others, "memory": memory}[options.part]()


if __name__ == "__main__":
    main()
