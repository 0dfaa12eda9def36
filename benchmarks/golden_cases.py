"""The cases of ``golden.py``: every detector, in every variant whose results could differ.

The variants of the contract tests are here, and what splits a training or a scoring into parts:
members, batches, pieces of large batches, parts of the rows, files, chunks and windows.
"""

import functools
import signal
import tempfile
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from pyod.models.iforest import IForest
from sklearn.base import clone

from skrdae import (
    AnoGANDetector,
    LSTMRobustAutoencoder,
    OutlierAdapter,
    RobustDeepAutoencoder,
    RobustDeepAutoencoderCV,
    RobustPCA,
    VAEDetector,
    WindowedDetector,
)
from skrdae.metrics import average_precision_scorer, roc_auc_scorer
from skrdae.penalties import L1, L21, GroupPenalty, L21Features

# ----------------------------------------------------------------------------------------- data


@functools.cache
def table(dtype="float64"):
    """Return 700 rows of 11 columns with different tails, and 130 new ones, some far outside."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(830, 3)) @ rng.normal(size=(3, 11)) + 0.1 * rng.normal(size=(830, 11))
    X[:, 6] = np.exp(2 * X[:, 6])  # a heavy tail
    X[:, 7] = np.where(rng.random(830) < 0.9, 0.0, X[:, 7])  # mostly zero
    X[:, 8] = np.round(X[:, 8])
    X[:, 9] = 1e4 + 1e-2 * X[:, 9]
    X[:, 10] = 3.0  # constant
    X[:30] += rng.normal(scale=3, size=(30, 11))
    new = X[700:]
    new[:8] *= 10.0 ** np.arange(8)[:, None]
    return X[:700].astype(dtype), new.astype(dtype)


@functools.cache
def pixels():
    """Return 300 rows of 24 columns in [0, 1], and 70 new ones."""
    rng = np.random.default_rng(1)
    X = rng.uniform(size=(370, 4)) @ rng.uniform(size=(4, 24)) / 4
    X[:10] = rng.uniform(size=(10, 24))
    return X[:300], X[300:]


@functools.cache
def normal(n, d, dtype="float32"):
    X = np.random.default_rng(n + d).standard_normal((n + 70, d), dtype=dtype)
    X[: n // 50] *= 3
    return X[:n], X[n:]


@functools.cache
def windows(n_channels=1):
    """Return 200 windows of 12 steps and 70 new ones; some are out of order."""
    rng = np.random.default_rng(2)
    phase = rng.uniform(0, 2 * np.pi, size=(270, 1, 1)) + 0.5 * np.arange(n_channels)
    X = np.sin(phase + np.arange(12)[:, None] / 2) + 0.05 * rng.normal(size=(270, 12, n_channels))
    for row in (*range(5), 260):
        X[row] = X[row, rng.permutation(12)]
    return X[:200].reshape(200, -1), X[200:].reshape(70, -1)


@functools.cache
def series():
    """Return two channels of 900 steps with a spike, and 200 new steps with another."""
    rng = np.random.default_rng(3)
    X = np.sin(np.arange(1100)[:, None] / [4, 7]) + 0.1 * rng.normal(size=(1100, 2))
    X[[400, 1000], 0] += 3
    return X[:900], X[900:]


@functools.cache
def sparse():
    """Return 700 rows of 30 columns, a tenth filled, and 130 new ones."""
    rng = np.random.default_rng(4)
    X = np.where(rng.random((830, 30)) < 0.1, rng.normal(size=(830, 30)), 0.0)
    X[:, 0] = rng.normal(size=830)
    X[::2, 1] = rng.normal(size=415)
    X[:, 2], X[:, 3] = 0.0, 5.0
    X[:6] += np.where(rng.random((6, 30)) < 0.5, 5 * rng.normal(size=(6, 30)), 0.0)
    X = sp.csr_matrix(X)
    return X[:700], X[700:]


class Thirds(GroupPenalty):
    """A penalty as a user would write it: the norms of every third column, row by row."""

    def norms(self, residual):  # noqa: D102
        parts = [residual[..., k::3] for k in range(3)]
        return torch.stack([torch.linalg.vector_norm(part, dim=-1) for part in parts], dim=-1)

    def spread(self, values):  # noqa: D102
        return values.repeat(1, 1, 4)[..., :11]

    def row_values(self, residual):  # noqa: D102
        return self.norms(residual).sum(dim=-1)

    def row_shares(self, residual):  # noqa: D102
        norms = self.spread(self.norms(residual))
        return residual.square() / torch.where(norms > 0, norms, torch.ones_like(norms))


# ---------------------------------------------------------------------------------------- cases

CASES = {}
#: Pairs of cases that have to give the same.
EQUAL = []


def add(name, detector, data=table, fit=None):
    """Add a case; ``fit(detector, X)`` is for what ``detector.fit(X)`` does not do."""

    def fitted():
        X, new = data()
        made = clone(detector)
        return (made.fit(X) if fit is None else fit(made, X)), new

    if name in CASES:
        raise ValueError(f"There are two cases {name!r}.")
    CASES[name] = fitted


def equal(first, second):
    EQUAL.append((first, second))


def rda(*args, **options):
    return RobustDeepAutoencoder(*args, **({"max_iter": 2, "random_state": 0} | options))


def vae(**options):
    return VAEDetector(**({"n_epochs": 5, "random_state": 0} | options))


def gan(**options):
    return AnoGANDetector(**({"n_epochs": 4, "n_encoder_epochs": 3, "random_state": 0} | options))


def lstm(**options):
    return LSTMRobustAutoencoder(**({"max_iter": 2, "random_state": 0} | options))


def path(*args, **options):
    options = {"max_iter": 2, "cv": 2, "n_estimators": 2, "random_state": 0} | options
    return RobustDeepAutoencoderCV(*args, **options)


def in_chunks(detector, X):
    """Fit to three sevenths of the rows, two more, one row, and the others."""
    n = len(X) // 7
    for start, stop in ((0, 3 * n), (3 * n, 5 * n), (5 * n, 5 * n + 1), (5 * n + 1, None)):
        detector.partial_fit(X[start:stop])
    return detector


def longer(name, short, long):
    """Return a fit that trains for `short` rounds and goes on to `long`."""

    def fit(detector, X):
        detector.set_params(warm_start=True, **{name: short}).fit(X)
        return detector.set_params(**{name: long}).fit(X)

    return fit


def interrupted(detector, X):
    """Fit after a fit that Ctrl-C ended in its second round, by way of a checkpoint."""

    def interrupt(record):
        if len(rounds) == 1:
            signal.raise_signal(signal.SIGINT)
        rounds.append(record)

    rounds = []
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells' background jobs ignore it
    with tempfile.TemporaryDirectory() as folder:
        detector.set_params(checkpoint_path=Path(folder, "state"), callbacks=interrupt)
        clone(detector).fit(X)  # Ctrl-C asks a training to stop
        if len(rounds) != 2 or not Path(folder, "state").exists():
            raise RuntimeError("The training was not interrupted, or left no checkpoint.")
        return detector.set_params(callbacks=None).fit(X)


def mapped(dtype):
    """Return a fit to the same rows in a file."""

    def fit(detector, X):
        with tempfile.NamedTemporaryFile() as file:
            rows = np.memmap(file.name, dtype=dtype, mode="w+", shape=X.shape)
            rows[:] = X
            return detector.fit(rows)

    return fit


def robust_autoencoders():
    members = {"one": {"n_estimators": 1}, "three": {"n_estimators": 3}}
    penalties = {"l21": L21(), "l1": L1(), "l21_features": L21Features()}
    variants = {
        "as it comes": {},
        "five layers": {"hidden_layer_sizes": (5, 1)},
        "relu": {"hidden_layer_sizes": (16, 8, 3), "activation": "relu"},
        "sigmoid, minmax": {"activation": "sigmoid", "scaler": "minmax", "lam": 1.5},
        "identity": {"activation": "identity", "output_activation": "tanh"},
        "standard": {"scaler": "standard", "lam": 0.8},
        "own penalty": {"penalty": Thirds()},
        "plain": {"lam": np.inf},
        "lam 0": {"lam": 0.0},
        "log": {"score_function": "log", "contamination": "auto", "lam": 1.0},
        "norm": {"score_function": "norm"},
        "no scaler": {"scaler": None, "score_function": "log"},
        "tol": {"tol": 0.15, "max_iter": 12},
        "stored": {"store_decomposition": True},
        "max_samples 256": {"max_samples": "auto"},
        "max_samples part": {"max_samples": 0.3, "contamination": "auto"},
        "max_samples number": {"max_samples": 90, "penalty": "l1", "store_decomposition": True},
        "epochs": {"n_epochs": 3, "batch_size": 50, "lr": 1e-2},
        "stops": {"callbacks": _stop, "max_iter": 9},
    }
    for penalty, instance in penalties.items():
        for contamination in (0.1, "auto"):
            variants[f"{penalty}, {contamination}"] = {
                "penalty": penalty,
                "contamination": contamination,
            }
            variants[f"{penalty}(), {contamination}"] = {
                "penalty": instance,
                "contamination": contamination,
            }
    for number, options in members.items():
        for name, variant in variants.items():
            add(f"rda {number}: {name}", rda(**options, **variant))
        add(f"rda {number}: float32", rda(**options), lambda: table("float32"))
        add(f"rda {number}: pixels", rda(scaler=None, **options), pixels)
        add(f"rda {number}: pixels, l1", rda(scaler=None, penalty="l1", **options), pixels)
        output = rda(scaler=None, output_activation="sigmoid", max_iter=4, **options)
        add(f"rda {number}: pixels, sigmoid", output, pixels)
        add(f"rda {number}: chunks", rda(**options), fit=in_chunks)
        add(f"rda {number}: chunks, lam 1", rda(1.0, penalty="l1", **options), fit=in_chunks)
        for penalty in penalties:
            whole = rda(penalty=penalty, max_iter=4, **options)
            add(f"rda {number}: {penalty}, at once", whole)
            add(f"rda {number}: {penalty}, warm", whole, fit=longer("max_iter", 2, 4))
            equal(f"rda {number}: {penalty}, at once", f"rda {number}: {penalty}, warm")
        add(f"rda {number}: interrupted", rda(max_iter=4, **options), fit=interrupted)
        equal(f"rda {number}: l21, at once", f"rda {number}: interrupted")
    add("rda defaults", RobustDeepAutoencoder(random_state=0))
    add("rda members leave", rda(tol=0.12, max_iter=15, n_estimators=5, penalty="l1"))
    large = {"hidden_layer_sizes": (300, 20), "batch_size": 400}
    for n in (1, 2):  # pieces of a batch, side by side with one member
        add(f"rda pieces {n}", rda(n_estimators=n, **large), lambda: normal(1000, 60))
    add("rda pieces 784", rda(n_estimators=1, **large), lambda: normal(500, 784))
    add("rda 11,000 rows", rda(n_estimators=2), lambda: normal(11_000, 6))
    # More than the rows that are remembered, or that a change and scales are measured on.
    add("rda many chunks", rda(n_estimators=2), lambda: normal(11_000, 6), fit=in_chunks)
    add("rda watched part", rda(tol=0.05, n_estimators=1), lambda: normal(4300, 500))
    add("rda wide", rda(n_estimators=2), lambda: normal(20, 500))
    add("rda one row", rda(n_estimators=2), lambda: normal(1, 4))
    add("rda one column", rda(n_estimators=2), lambda: normal(60, 1))
    add("rda mapped", rda(), lambda: normal(1000, 20), fit=mapped("float32"))
    add("rda not mapped", rda(), lambda: normal(1000, 20))
    equal("rda mapped", "rda not mapped")
    add("rda mapped, float64", rda(penalty="l1"), fit=mapped("float64"))
    # Above 32 MiB the scaled rows and the members' matrices lie in files, too.
    long = rda(n_estimators=1, max_samples=1.0, batch_size=2000)
    add("rda mapped, large", long, lambda: normal(90_000, 100), fit=mapped("float32"))


def _stop(record):
    return record["iteration"] >= 2


def sparse_rows():
    for name, detector in {
        "rda": rda(),
        "rda one": rda(n_estimators=1, n_epochs=3),
        "rda L21()": rda(penalty=L21(), n_estimators=1),
        "rda norm": rda(1.5, scaler="standard", score_function="norm"),
        "rda votes": rda(1.5, contamination="auto", n_estimators=3),
        "rda plain": rda(np.inf, scaler="minmax", n_estimators=2),
        "rda no scaler": rda(scaler=None, n_estimators=2),
        "rda part": rda(max_samples=0.5, n_estimators=2),
        "rda 256": rda(max_samples="auto", n_estimators=2),
        "rda pieces": rda(batch_size=400, hidden_layer_sizes=(300, 20), n_estimators=1),
        "vae": vae(),
        "vae one": vae(n_estimators=1, activation="relu"),
        "vae part": vae(max_samples=0.5, n_estimators=2),
        "vae n_samples": vae(n_samples=2, n_estimators=2, scaler="standard"),
        "vae bernoulli": vae(likelihood="bernoulli", n_estimators=2),
        "vae bernoulli n_samples": vae(likelihood="bernoulli", n_samples=2, n_estimators=1),
    }.items():
        add(f"csr {name}", detector, sparse)


def variational():
    variants = {
        "as it comes": {},
        "bernoulli": {"likelihood": "bernoulli"},
        "n_samples": {"n_samples": 3},
        "bernoulli, n_samples": {"likelihood": "bernoulli", "n_samples": 2, "latent_dim": 1},
        "beta 0": {"beta": 0.0, "activation": "relu", "hidden_layer_sizes": (16, 5)},
        "beta 4": {"beta": 4.0, "scaler": "standard", "activation": "sigmoid"},
        "no scaler": {"scaler": None, "batch_size": 50, "lr": 1e-2},
        "part": {"max_samples": 0.3, "contamination": 0.02},
    }
    for n in (1, 3):
        for name, options in variants.items():
            add(f"vae {n}: {name}", vae(n_estimators=n, **options))
        add(f"vae {n}: float32", vae(n_estimators=n), lambda: table("float32"))
        add(f"vae {n}: mapped", vae(n_estimators=n), fit=mapped("float64"))
        add(f"vae {n}: pixels", vae(n_estimators=n, likelihood="bernoulli", scaler=None), pixels)
        for likelihood in ("gaussian", "bernoulli"):
            made = vae(n_estimators=n, likelihood=likelihood)
            add(f"vae {n}: {likelihood}, chunks", made, fit=in_chunks)
            add(f"vae {n}: {likelihood}, warm", made, fit=longer("n_epochs", 2, 5))
        equal(f"vae {n}: as it comes", f"vae {n}: gaussian, warm")
        equal(f"vae {n}: bernoulli", f"vae {n}: bernoulli, warm")
        add(f"vae {n}: interrupted", vae(n_estimators=n), fit=interrupted)
        equal(f"vae {n}: as it comes", f"vae {n}: interrupted")
        large = {"hidden_layer_sizes": (300,), "batch_size": 400, "n_epochs": 2}
        add(f"vae {n}: pieces", vae(n_estimators=n, **large), lambda: normal(1000, 60))

    add("vae many rows", vae(n_estimators=2, n_epochs=2), lambda: normal(11_000, 6))
    add("vae many chunks", vae(n_epochs=2), lambda: normal(11_000, 6), fit=in_chunks)
    add("vae many values", vae(n_estimators=1, n_epochs=1), lambda: normal(4300, 500))


def adversarial():
    variants = {
        "as it comes": {},
        "search": {"inference": "search", "n_search_iter": 10},
        "hybrid": {"inference": "hybrid", "n_search_iter": 5, "lam": 0.5},
        "relu": {"activation": "relu", "hidden_layer_sizes": (16, 8), "lam": 1.0},
        "other": {"scaler": "minmax", "output_activation": "sigmoid", "batch_size": 50, "lam": 0.0},
        "part": {"max_samples": 0.4, "latent_dim": 2, "contamination": 0.02},
    }
    for n in (1, 3):
        for name, options in variants.items():
            add(f"gan {n}: {name}", gan(n_estimators=n, **options))
        add(f"gan {n}: float32", gan(n_estimators=n), lambda: table("float32"))
        add(f"gan {n}: warm", gan(n_estimators=n), fit=longer("n_epochs", 2, 4))
        equal(f"gan {n}: as it comes", f"gan {n}: warm")

    add("gan few rows", gan(), lambda: normal(10, 5))
    add("gan large", gan(n_estimators=2, hidden_layer_sizes=(300,)), lambda: normal(300, 150))


def linear():
    for name, options in {
        "as it comes": {},
        "norm": {"score_function": "norm", "lam": 0.2},
        "no scaler": {"scaler": None},
        "stored": {"store_decomposition": True, "scaler": "standard", "contamination": 0.02},
        "short": {"max_iter": 3},
    }.items():
        add(f"pca {name}", RobustPCA(**options))
    add("pca float32", RobustPCA(), lambda: table("float32"))
    add("pca pixels", RobustPCA(scaler=None), pixels)
    add("pca wide", RobustPCA(), lambda: normal(20, 100))


def recurrent():
    for cell in ("lstm", "gru"):
        for name, options in {
            "as it comes": {},
            "layers": {"hidden_layer_sizes": (5,)},
            "l1, votes": {"penalty": "l1", "n_estimators": 2, "contamination": "auto"},
            "l21, votes": {"contamination": "auto"},
            "L21()": {"penalty": L21()},
            "l21_features": {"penalty": "l21_features", "scaler": "standard"},
            "stored, part": {"store_decomposition": True, "max_samples": 0.5, "n_estimators": 3},
            "tol": {"tol": 0.3, "max_iter": 8, "n_estimators": 2},
            "lam 1": {"lam": 1.0, "scaler": None, "batch_size": 100},
        }.items():
            add(f"{cell} {name}", lstm(cell=cell, **options), windows)
        add(f"{cell} channels", lstm(cell=cell, n_channels=2), lambda: windows(2))
        add(f"{cell} large batch", lstm(cell=cell, batch_size=600), lambda: normal(600, 12))
        add(f"{cell} warm", lstm(cell=cell), windows, fit=longer("max_iter", 1, 2))
        equal(f"{cell} as it comes", f"{cell} warm")


def lam_paths():
    def with_y(detector, X):
        return detector.fit(X, np.arange(len(X)) < 30)

    labels = {"scoring": roc_auc_scorer}
    add("path without y", path(3))
    add("path without y, votes", path([4.0, 2.0], contamination="auto", cv=3))
    add("path without y, one", path(4, n_estimators=1))
    add("path", path(3, **labels), fit=with_y)
    add("path one", path(4, n_estimators=1, **labels), fit=with_y)
    add("path l1", path(3, penalty="l1", **labels), fit=with_y)
    add("path L1()", path(3, penalty=L1(), **labels), fit=with_y)
    add("path l21_features", path(3, penalty="l21_features", **labels), fit=with_y)
    part = {"max_samples": 90, "scoring": average_precision_scorer}
    add("path part", path([3.0, 1.0], **part), fit=with_y)
    add("path tol", path(3, tol=0.3, max_iter=8, **labels), fit=with_y)
    add("path many values", path(2, n_estimators=1), lambda: normal(2500, 100))
    add("path norm", path(3, score_function="norm", scaler=None, **labels), pixels, fit=with_y)


def wrapped():
    names = {
        "rda": rda(n_estimators=2),
        "rda votes": rda(n_estimators=2, contamination="auto"),
        "lstm": lstm(n_channels=2),
        "vae": vae(n_estimators=2),
        "pca": RobustPCA(),
        "iforest": IForest(n_estimators=20, random_state=0),
    }
    for name, detector in names.items():
        add(f"windowed {name}", WindowedDetector(detector, window_size=20), series)
    one = WindowedDetector(rda(), window_size="auto", stride=3, aggregate="max", trim=0.0)
    add("windowed auto", one, lambda: tuple(part[:, 0] for part in series()))
    every = WindowedDetector(vae(), window_size=15, aggregate="median", max_windows=None)
    add("windowed all", every, series)
    split = WindowedDetector(rda(n_estimators=1), window_size=20)
    add("windowed two series", split, series, fit=lambda d, X: d.fit([X[:500], X[500:]]))
    add("adapter", OutlierAdapter(rda()))


for group in (
    robust_autoencoders,
    sparse_rows,
    variational,
    adversarial,
    linear,
    recurrent,
    lam_paths,
    wrapped,
):
    group()
