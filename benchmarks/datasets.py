"""Data for the benchmarks: from a folder, or fetched from where they are published."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import fetch_openml
from sklearn.preprocessing import StandardScaler


def add_data_argument(parser):
    """Give a command line the ``--data-dir`` option."""
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=os.environ.get("SKRDAE_DATA"),
        help="folder with mnist.npz and so on (default: $SKRDAE_DATA; else fetched from OpenML)",
    )


def load_mnist(data_dir=None):
    """Return the 60,000 training images of MNIST.

    Parameters
    ----------
    data_dir : path, optional
        A folder with ``mnist.npz``, which holds ``X_train`` and ``y_train``. Without one the data
        come from OpenML (``mnist_784``) by way of scikit-learn, which keeps a copy.

    Returns
    -------
    X : ndarray of shape (60000, 784), float32
        Pixels in [0, 1].
    y : ndarray of shape (60000,), int
    """
    if data_dir is not None:
        with np.load(Path(data_dir) / "mnist.npz") as file:
            X, y = file["X_train"], file["y_train"]
    else:
        X, y = fetch_openml("mnist_784", version=1, as_frame=False, return_X_y=True)
        X, y = X[:60_000], y[:60_000]
    return X.reshape(len(X), -1).astype(np.float32) / 255, y.astype(int)


def one_class(X, y, digit, seed, share=0.05):
    """Return all images of one digit with random others, a share of the total, mixed in.

    Parameters
    ----------
    X, y : ndarray
        Images and digits.
    digit : int
        The normal class.
    seed : int
        Of the draw.
    share : float, default=0.05

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)
        1 for the others.
    """
    rng = np.random.default_rng(seed)
    normal = np.flatnonzero(y == digit)
    n_others = round(len(normal) * share / (1 - share))
    others = rng.choice(np.flatnonzero(y != digit), n_others, replace=False)
    rows = rng.permutation(np.concatenate([normal, others]))
    return X[rows], (y[rows] != digit).astype(int)


def load_adbench(data_dir, max_rows=None, min_rows=0):
    """Yield the tabular sets of ADBench, small numbers first.

    Parameters
    ----------
    data_dir : path
        Holds ``adbench/*.npz``, each with arrays X and y (1 for anomalies), as in the folder
        ``adbench/datasets/Classical`` of https://github.com/Minqi824/ADBench.
    max_rows : int, optional
        Of larger sets so many rows are taken, in the proportion of the labels, but at least ten
        anomalies.
    min_rows : int, default=0
        Smaller sets are left out.

    Yields
    ------
    name : str
    X : ndarray of shape (n_samples, n_features)
        Standardised.
    y : ndarray of shape (n_samples,)
    """
    if data_dir is None:
        raise SystemExit(
            "ADBench has to be fetched by hand: copy the .npz files of adbench/datasets/Classical "
            "from https://github.com/Minqi824/ADBench to DIR/adbench and pass --data-dir DIR."
        )
    paths = sorted(Path(data_dir).glob("adbench/*.npz"), key=lambda p: int(p.stem.split("_")[0]))
    for path in paths:
        with np.load(path, allow_pickle=True) as file:
            X, y = file["X"].astype(np.float64), file["y"].astype(int).ravel()
        if len(X) < min_rows:
            continue
        if max_rows is not None and len(X) > max_rows:
            X, y = _stratified(X, y, max_rows)
        yield path.stem, StandardScaler().fit_transform(X), y


def _stratified(X, y, n_rows):
    rng = np.random.default_rng(0)
    anomalous, normal = np.flatnonzero(y == 1), np.flatnonzero(y == 0)
    n_anomalous = min(len(anomalous), max(10, round(n_rows * len(anomalous) / len(y))))
    rows = np.concatenate(
        [
            rng.choice(anomalous, n_anomalous, replace=False),
            rng.choice(normal, n_rows - n_anomalous, replace=False),
        ]
    )
    rng.shuffle(rows)
    return X[rows], y[rows]


def load_nab(data_dir):
    """Yield the series of the Numenta Anomaly Benchmark, without time stamps that come twice.

    Parameters
    ----------
    data_dir : path
        Holds ``nab/``: some of the CSV files of the folder ``data`` of
        https://github.com/numenta/NAB, and ``windows.json``, of ``labels/combined_windows.json``
        the entries of those files.

    Yields
    ------
    name : str
    series : DataFrame of shape (n_timesteps, 1)
        Indexed by time.
    y : ndarray of shape (n_timesteps,)
        1 for the steps within a labelled window.
    """
    if data_dir is None:
        raise SystemExit(
            "NAB has to be fetched by hand: copy CSV files of data/ and, as windows.json, "
            "labels/combined_windows.json from https://github.com/numenta/NAB to DIR/nab and pass "
            "--data-dir DIR."
        )
    folder = Path(data_dir) / "nab"
    for file, windows in json.loads((folder / "windows.json").read_text()).items():
        path = folder / Path(file).name
        if path.exists():
            series = pd.read_csv(path, parse_dates=["timestamp"], index_col="timestamp")
            series = series[~series.index.duplicated()]
            labelled = [(series.index >= a) & (series.index <= b) for a, b in windows]
            yield path.stem, series, np.any(labelled, axis=0).astype(int)
