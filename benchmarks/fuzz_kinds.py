"""A file of each kind that ``fuzz_files.py`` edits, and files in parts."""

import contextlib
import copy
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import safetensors.numpy
import torch
from sklearn.model_selection import ShuffleSplit, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

from skrdae import (
    AnoGANDetector,
    LSTMRobustAutoencoder,
    OutlierAdapter,
    RobustDeepAutoencoder,
    RobustDeepAutoencoderCV,
    RobustPCA,
    TransformerRobustAutoencoder,
    VAEDetector,
    WindowedDetector,
    save,
)
from skrdae.detectors.robust import BaseRobustAutoencoder
from skrdae.metrics import roc_auc_scorer
from skrdae.penalties import L21
from skrdae.persistence import _digest
from skrdae.registry import detector
from skrdae.tables import EvenSteps, TableEncoder

SMALL = {"hidden_layer_sizes": (5, 3), "n_estimators": 2, "random_state": 0}
ONE = SMALL | {"n_estimators": 1}
RDA = SMALL | {"max_iter": 2}
VAE = SMALL | {"hidden_layer_sizes": (5,), "n_epochs": 2}
GAN = VAE | {"n_encoder_epochs": 2, "discriminator_layer_sizes": (5, 3)}
LSTM = SMALL | {"max_iter": 1, "hidden_layer_sizes": (4, 3)}


def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 4)) + 0.1 * rng.normal(size=(60, 4))
    X[:4] += rng.normal(scale=5, size=(4, 4))
    return X


def table():
    frame = pd.DataFrame(rows()[:, :3], columns=["a", "b", "[c]"])
    return frame.assign(
        kind=np.where(np.arange(60) % 3, "open", "shut"),
        time=pd.date_range("2026-01-05", periods=60, freq="h").astype(str),
    )


class _Bow(torch.nn.Module):
    def __init__(self, n_features, units, depth):
        super().__init__()
        self.inner = torch.nn.ModuleList(
            [torch.nn.Linear(n_features, n_features) for _ in range(depth)]
        )
        self.down = torch.nn.Linear(n_features, units)
        self.up = torch.nn.Linear(units, n_features)

    def encode(self, rows):
        for layer in self.inner:
            rows = torch.tanh(layer(rows))
        return torch.tanh(self.down(rows))

    def decode(self, codes):
        return self.up(codes)


@detector
class FuzzedDetector(BaseRobustAutoencoder):
    """A detector of a user's own, of an ordinary module."""

    units: int = 2
    depth: int = 1

    def _new_module(self, n_features):
        return _Bow(n_features, self.units, self.depth)

    def _code_size(self, n_features):
        return self.units


DETECTORS = {
    "own module": FuzzedDetector(n_estimators=2, max_iter=2, random_state=0),
    "robust": RobustDeepAutoencoder(**RDA),
    "robust, one member, infinite λ": RobustDeepAutoencoder(np.inf, **ONE),
    "robust, norms": RobustDeepAutoencoder(penalty=L21(), score_function="norm", **RDA),
    "robust, votes": RobustDeepAutoencoder(contamination="auto", penalty="l1", **RDA),
    "robust, columns": RobustDeepAutoencoder(
        penalty="l21_features", store_decomposition=True, contamination="auto", **RDA
    ),
    "robust, plain data": RobustDeepAutoencoder(
        activation="relu", scaler=None, **RDA | {"random_state": np.random.RandomState(3)}
    ),
    "robust, names": RobustDeepAutoencoder(**RDA | {"hidden_layer_sizes": np.array([5, 3])}),
    "search for λ": RobustDeepAutoencoderCV(
        np.array([2.0, 4.0]), cv=StratifiedKFold(2), scoring=roc_auc_scorer, **RDA
    ),
    "search for λ, drawn folds": RobustDeepAutoencoderCV(
        3, cv=ShuffleSplit(2, random_state=0), **RDA
    ),
    "search for λ, no labels": RobustDeepAutoencoderCV(
        3, cv=[(np.arange(30), np.arange(30, 60)), ([0, 1, 2, 3], [4, 5])], **RDA
    ),
    "robust PCA": RobustPCA(store_decomposition=True),
    "VAE": VAEDetector(**VAE),
    "VAE, draws": VAEDetector(n_samples=2, scaler="minmax", **VAE),
    "VAE, Bernoulli": VAEDetector(likelihood="bernoulli", n_samples=2, **VAE),
    "GAN": AnoGANDetector(**GAN),
    "GAN, search": AnoGANDetector(inference="search", n_search_iter=2, scaler=None, **GAN),
    "GAN, hybrid": AnoGANDetector(inference="hybrid", n_search_iter=2, **GAN),
    "LSTM": LSTMRobustAutoencoder(**LSTM | {"n_estimators": 1}),
    "GRU": LSTMRobustAutoencoder(cell="gru", n_channels=2, **LSTM),
    "Transformer": TransformerRobustAutoencoder(
        width=8, n_heads=2, patch_size=2, max_iter=1, random_state=0
    ),
    "windows": WindowedDetector(RobustDeepAutoencoder(**RDA), window_size=6, stride=2),
    "windows, votes": WindowedDetector(
        RobustDeepAutoencoder(contamination="auto", **RDA), window_size=6, aggregate="median"
    ),
    "adapter": OutlierAdapter(VAEDetector(**VAE)),
    "pipeline": make_pipeline(
        StandardScaler(), RobustScaler(), MinMaxScaler(), MaxAbsScaler(), RobustPCA()
    ),
    "pipeline of a table": make_pipeline(
        TableEncoder(missing="median", categories="one-hot", ignore=np.array(["time"])),
        RobustDeepAutoencoder(**RDA),
    ),
    "pipeline of a series": make_pipeline(
        TableEncoder("time", categories="drop"),
        WindowedDetector(RobustDeepAutoencoder(**RDA), window_size=6),
    ),
    "pipeline of even steps": make_pipeline(
        TableEncoder(["time"], categories="drop"),
        EvenSteps(max_gap=2),
        WindowedDetector(RobustDeepAutoencoder(**RDA), window_size=6, on_gap="split"),
    ),
}
STREAMS = {
    "stream, robust": RobustDeepAutoencoder(**RDA),
    "stream, VAE": VAEDetector(**VAE),
}
WARM = {
    "warm, robust": RobustDeepAutoencoder(warm_start=True, **RDA),
    # Two of its members have left the training.
    "warm, members left": RobustDeepAutoencoder(
        warm_start=True, tol=0.5, **RDA | {"max_iter": 1, "n_estimators": 3}
    ),
    "warm, columns": RobustDeepAutoencoder(
        warm_start=True, penalty="l21_features", max_samples=0.5, **RDA
    ),
    "warm, VAE": VAEDetector(warm_start=True, **VAE),
    "warm, GAN": AnoGANDetector(warm_start=True, **GAN),
    "warm, GAN, search": AnoGANDetector(
        warm_start=True, inference="search", n_search_iter=2, **GAN
    ),
    "warm, own module": FuzzedDetector(n_estimators=2, max_iter=2, random_state=0, warm_start=True),
    "warm, LSTM": LSTMRobustAutoencoder(warm_start=True, **LSTM),
}
#: name → detector, and after how many rows of the history its training is cut short
CHECKPOINTS = {
    "checkpoint, robust": (RobustDeepAutoencoder(**RDA | {"max_iter": 3}), 2),
    "checkpoint, members left": (
        RobustDeepAutoencoder(tol=0.5, **RDA | {"max_iter": 3, "n_estimators": 3}),
        1,
    ),
    "checkpoint, columns": (
        RobustDeepAutoencoder(penalty="l21_features", **RDA | {"max_iter": 3}),
        2,
    ),
    "checkpoint, VAE": (VAEDetector(**VAE), 1),
    "checkpoint, GAN": (AnoGANDetector(**GAN), 1),
    "checkpoint, encoder": (AnoGANDetector(**GAN), 3),
    "checkpoint, LSTM": (LSTMRobustAutoencoder(**LSTM | {"max_iter": 2}), 1),
    "checkpoint, GRU": (LSTMRobustAutoencoder(cell="gru", **LSTM | {"max_iter": 2}), 1),
}
# Files of version 0.1, and the rows that the detectors in them were fitted to.
_ARCHIVE = Path(__file__).parents[1] / "tests" / "data" / "format_1.zip"
_FIRST = ["adapter", "cv", "gan_warm", "lstm", "robust_one_warm", "robust_stream", "vae"]
_FIRST += ["vae_stream", "windows"]
FIRST = {f"{name}, format 1": name for name in _FIRST}
KINDS = [*DETECTORS, *STREAMS, *WARM, *CHECKPOINTS, *FIRST]
LENGTHS = {"max_iter": 6, "n_epochs": 3, "n_encoder_epochs": 3}


def _of_first(name):
    with zipfile.ZipFile(_ARCHIVE) as archive:
        return archive.read(name)


def data_of(kind):
    if kind in FIRST:
        with np.load(io.BytesIO(_of_first("expected.npz"))) as arrays:
            return arrays["X"]
    if kind.startswith("pipeline of"):
        return table()
    return pd.DataFrame(rows(), columns=list("abcd")) if kind == "robust, names" else rows()


class _Cut(Exception):
    pass


def write(kind, path):
    """Write a file of a kind that is as it should be."""
    X, y = data_of(kind), (np.arange(60) < 4).astype(int)
    if kind in FIRST:
        Path(path).write_bytes(_of_first(f"{FIRST[kind]}.safetensors"))
    elif kind in CHECKPOINTS:
        cut_short, n_rows = CHECKPOINTS[kind]
        seen = []

        def cut(row):
            seen.append(row)
            if len(seen) == n_rows:
                raise _Cut

        with contextlib.suppress(_Cut):
            fresh(cut_short).set_params(checkpoint_path=path, callbacks=cut).fit(X)
    elif kind in STREAMS:
        stream = fresh(STREAMS[kind])
        for chunk in np.array_split(X, 2):
            stream.partial_fit(chunk)
        save(stream, path)
    else:
        save(fresh((DETECTORS | WARM)[kind]).fit(X, y), path)


def fresh(detector):
    return copy.deepcopy(detector)  # a clone would share its RandomState


class Content:
    """A file in parts: its tree, the arrays beside it, and what is written around them."""

    def __init__(self, kind, path):
        self.kind, self.raw = kind, Path(path).read_bytes()
        self.is_checkpoint = kind in CHECKPOINTS
        self.text_edits, self.header = [], {}
        if self.is_checkpoint:
            with np.load(io.BytesIO(self.raw)) as arrays:
                self.arrays = dict(arrays)
            self.tree = json.loads(self.arrays.pop("tree").tobytes())
            return
        with safetensors.safe_open(str(path), framework="np") as file:
            self.arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            self.header = json.loads(file.metadata()["skrdae"])
        self.tree = json.loads(self.header["tree"])

    def copy(self):
        """Return another one, which may be edited."""
        other = copy.copy(self)
        other.tree, other.header = copy.deepcopy(self.tree), dict(self.header)
        other.arrays, other.text_edits = dict(self.arrays), []
        return other

    def data(self):
        """Return the bytes of a file with a right checksum."""
        text = json.dumps(self.tree, ensure_ascii=False)
        for old, new in self.text_edits:
            text = text.replace(old, new)
        if self.is_checkpoint:
            file = io.BytesIO()
            with zipfile.ZipFile(file, "w") as archive:
                arrays = {"tree": np.frombuffer(text.encode(), np.uint8), **self.arrays}
                for name, array in arrays.items():
                    part = io.BytesIO()
                    np.lib.format.write_array(part, np.asanyarray(array), allow_pickle=True)
                    archive.writestr(f"{name}.npy", part.getvalue())
            return file.getvalue()
        header = self.header | {"tree": text}
        header.pop("digest", None)
        header["digest"] = _digest(header, self.arrays)
        arrays = {key: np.ascontiguousarray(a).reshape(a.shape) for key, a in self.arrays.items()}
        return safetensors.numpy.save(arrays, {"skrdae": json.dumps(header)})
