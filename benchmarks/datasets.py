"""Data for the benchmarks: from a folder, or fetched from where they are published."""

import os
from pathlib import Path

import numpy as np
from sklearn.datasets import fetch_openml


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
