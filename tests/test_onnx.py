import sys

import numpy as np
import pytest
import torch
from optional import Optional
from pyod.models.iforest import IForest
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrdae import (
    AnoGANDetector,
    DenoisingDetector,
    LSTMRobustAutoencoder,
    RobustDeepAutoencoder,
    RobustDeepAutoencoderCV,
    RobustPCA,
    TransformerRobustAutoencoder,
    USADDetector,
    VAEDetector,
    to_onnx,
)
from skrdae.detectors.robust import BaseRobustAutoencoder
from skrdae.penalties import L1, L21, GroupPenalty
from skrdae.registry import parameters

onnxruntime = Optional("onnxruntime")


class _Halves(GroupPenalty):
    """The first features of a row, and the last."""

    def norms(self, residual):
        return torch.stack([half.norm(dim=-1) for half in residual.tensor_split(2, -1)], dim=-1)

    def spread(self, values):
        return values.repeat_interleave(6, dim=-1)

    def row_values(self, residual):
        return self.norms(residual).sum(dim=-1)

    def row_shares(self, residual):
        return residual.square() / self.spread(self.norms(residual))


RDA = {"n_estimators": 3, "max_iter": 2, "random_state": 0}
GAN = {"n_estimators": 2, "n_epochs": 2, "n_encoder_epochs": 2, "random_state": 0}
VAE = {"n_estimators": 2, "n_epochs": 3, "random_state": 0}
DETECTORS = {
    "log": RobustDeepAutoencoder(**RDA),
    "norm": RobustDeepAutoencoder(score_function="norm", n_estimators=1, random_state=0),
    "relu, as it is": RobustDeepAutoencoder(
        scaler=None, activation="relu", output_activation="sigmoid", **RDA
    ),
    "min-max, sigmoid": RobustDeepAutoencoder(scaler="minmax", activation="sigmoid", **RDA),
    "l1 by norm": RobustDeepAutoencoder(penalty="l1", score_function="norm", **RDA),
    "votes": RobustDeepAutoencoder(contamination="auto", **RDA),
    "votes, one": RobustDeepAutoencoder(contamination="auto", n_estimators=1, random_state=0),
    "votes, l1": RobustDeepAutoencoder(3.0, contamination="auto", penalty="l1", **RDA),
    "votes, columns": RobustDeepAutoencoder(contamination="auto", penalty="l21_features", **RDA),
    "an instance by norm": RobustDeepAutoencoder(penalty=L21(), score_function="norm", **RDA),
    "votes, an instance": RobustDeepAutoencoder(3.0, contamination="auto", penalty=L1(), **RDA),
    "one's own penalty, log": RobustDeepAutoencoder(penalty=_Halves(), **RDA),
    "cv": RobustDeepAutoencoderCV([2.0, 4.0], cv=2, **RDA),
    "pca": RobustPCA(),
    "vae": VAEDetector(**VAE),
    "vae, draws": VAEDetector(n_samples=4, hidden_layer_sizes=(8, 4), **VAE),
    "vae, bernoulli": VAEDetector(likelihood="bernoulli", beta=0.5, **VAE),
    "vae, min-max": VAEDetector(scaler="minmax", **VAE),
    "gan": AnoGANDetector(**GAN),
    "usad": USADDetector(**VAE),
    "usad, channels": USADDetector(n_channels=3, alpha=0.2, activation="tanh", **VAE),
    "denoising": DenoisingDetector(hidden_layer_sizes=(7, 5), **VAE),
    "denoising, min-max": DenoisingDetector(scaler="minmax", **VAE),
    "gan of pairs": AnoGANDetector(inference="bidirectional", **GAN),
    "lstm": LSTMRobustAutoencoder(max_iter=2, n_estimators=2, random_state=0),
    "gru": LSTMRobustAutoencoder(
        cell="gru", n_channels=3, hidden_layer_sizes=(5,), max_iter=1, random_state=0
    ),
    "transformer": TransformerRobustAutoencoder(
        width=8, n_heads=2, patch_size=5, n_estimators=2, max_iter=1, random_state=0
    ),
    "lstm, votes": LSTMRobustAutoencoder(contamination="auto", max_iter=2, random_state=0),
}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2)) @ rng.normal(size=(2, 12)) + 0.1 * rng.normal(size=(200, 12))
    X[:9] += rng.normal(scale=4, size=(9, 12))
    return X.astype(np.float32)


@pytest.fixture(scope="module")
def positive(data):
    return np.abs(data) / np.abs(data).max()


def _session(detector, tmp_path):
    to_onnx(detector, tmp_path / "model.onnx")
    return onnxruntime.InferenceSession(tmp_path / "model.onnx")


@pytest.mark.parametrize("name", DETECTORS)
def test_scores_and_labels_are_those_of_the_detector(name, data, positive, tmp_path):
    X = positive if name == "relu, as it is" else data
    detector = DETECTORS[name].fit(X)
    session = _session(detector, tmp_path)
    rng = np.random.default_rng(1)
    rows = np.concatenate([X, X[rng.integers(200, size=800)]])
    rows[200:] *= rng.normal(1, 0.3, size=(800, 12))
    rows[-1] = 1e6
    for part in (rows.astype(np.float32), rows[:1].astype(np.float32)):
        scores, labels = session.run(None, {"X": part})
        right = detector.decision_function(part)
        np.testing.assert_allclose(scores, right, rtol=1e-5)
        near = np.abs(right - detector.threshold_) < 1e-5 * detector.threshold_
        assert np.array_equal(labels[~near], detector.predict(part)[~near])
        assert labels.dtype == np.int64
        assert labels.shape == (len(part),)
    assert session.run(None, {"X": np.tile(rows, (10, 1)).astype(np.float32)})[0].shape == (10_000,)


def test_a_row_with_a_missing_value_is_no_ordinary_row(data, tmp_path):
    session = _session(RobustDeepAutoencoder(**RDA).fit(data), tmp_path)
    rows = data[:3].copy()
    rows[1, 4] = np.nan
    scores, labels = session.run(None, {"X": rows})
    assert np.isnan(scores).tolist() == [False, True, False]
    assert labels[1] == 1


def test_what_is_no_forward_pass_is_refused(data, tmp_path):
    with pytest.raises(ValueError, match="inference='encoder'"):
        to_onnx(
            AnoGANDetector(inference="hybrid", n_search_iter=1, **GAN).fit(data), tmp_path / "m"
        )
    with pytest.raises(TypeError, match="not a Pipeline"):
        to_onnx(make_pipeline(StandardScaler(), RobustPCA()).fit(data), tmp_path / "m")
    with pytest.raises(TypeError, match="not a IForest"):
        to_onnx(IForest(n_estimators=5).fit(data), tmp_path / "m")
    own = RobustDeepAutoencoder(penalty=_Halves(), score_function="norm", **RDA).fit(data)
    with pytest.raises(TypeError, match=r"_Halves is one of your own.*'log'"):
        to_onnx(own, tmp_path / "own.onnx")
    with pytest.raises(NotFittedError):
        to_onnx(RobustPCA(), tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_without_onnx_the_error_says_what_to_install(data, tmp_path, monkeypatch):
    detector = RobustPCA().fit(data)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"skrdae\[export\]"):
        to_onnx(detector, tmp_path / "m")


@pytest.mark.parametrize("make", [RobustDeepAutoencoder, VAEDetector])
def test_a_missing_value_beside_a_constant_column_is_seen(make, tmp_path):
    X = np.random.default_rng(0).normal(size=(100, 4))
    X[:, 3] = 5
    detector = make(random_state=0, n_estimators=2).fit(X)
    to_onnx(detector, tmp_path / "graph.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "graph.onnx")
    rows = X[:4].astype(np.float32)
    rows[0, 0] = rows[1, 3] = rows[2] = np.nan
    scores, labels = session.run(None, {"X": rows})
    assert np.isnan(scores[:3]).all()
    assert labels.ravel()[:3].tolist() == [1, 1, 1]
    assert scores.ravel()[3] == pytest.approx(detector.decision_function(X[3:4])[0], rel=1e-4)


class _Convolutions(torch.nn.Module):
    """An ordinary module, one member: convolutions along a row."""

    def __init__(self, n_features):
        super().__init__()
        self.down = torch.nn.Conv1d(1, 2, 3, stride=2, padding=1)
        self.inner = torch.nn.Linear(n_features, 4)
        self.up = torch.nn.Linear(4, n_features)

    def encode(self, x):
        return torch.tanh(self.inner(torch.relu(self.down(x.unsqueeze(1))).flatten(1)))

    def decode(self, code):
        return self.up(code)


@parameters
class _Convolutional(BaseRobustAutoencoder):
    score_function: str = "log"

    def _new_module(self, n_features):
        return _Convolutions(n_features)

    def _code_size(self, n_features):
        return 4


@pytest.mark.parametrize("contamination", [0.1, "auto"])
def test_a_robust_detector_of_an_ordinary_module(contamination, data, tmp_path):
    detector = _Convolutional(contamination=contamination, n_estimators=3, random_state=0)
    session = _session(detector.fit(data), tmp_path)
    scores, labels = session.run(None, {"X": data})
    right = detector.decision_function(data)
    np.testing.assert_allclose(scores, right, rtol=1e-5)
    near = np.abs(right - detector.threshold_) < 1e-5 * detector.threshold_
    assert np.array_equal(labels[~near], detector.labels_[~near])
    assert 0 < labels.sum() < len(data)


class _Fixed(_Convolutions):
    """What a graph of it would say holds for one number of rows only."""

    def decode(self, code):
        return super().decode(code) / len(code)


@parameters
class _OfOneSize(_Convolutional):
    def _new_module(self, n_features):
        return _Fixed(n_features)


def test_messages_name_the_module_that_cannot_be_exported(data, tmp_path):
    detector = _OfOneSize(n_estimators=1, random_state=0).fit(data)
    with pytest.raises(ValueError, match="The graph of _Fixed would hold for one number"):
        to_onnx(detector, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
