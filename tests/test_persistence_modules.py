"""Saved detectors whose network is an ordinary module, registered outside the package."""

import copy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from edited_file import EditedFile, refused
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from skrdae import OutlierAdapter, WindowedDetector, load, save
from skrdae.detectors.robust import BaseRobustAutoencoder
from skrdae.registry import DETECTORS, detector


class Bow(nn.Module):
    """Layers around a code, each with a shift that is a buffer."""

    def __init__(self, n_features, units, depth, slope):
        super().__init__()
        self.slope = slope
        self.inner = nn.ModuleList([nn.Linear(n_features, n_features) for _ in range(depth)])
        self.down, self.up = nn.Linear(n_features, units), nn.Linear(units, n_features)
        self.register_buffer("shift", torch.linspace(-0.1, 0.1, n_features))

    def encode(self, rows):
        for layer in self.inner:
            rows = rows + self.slope * torch.tanh(layer(rows + self.shift))
        return torch.tanh(self.down(rows))

    def decode(self, codes):
        return self.up(codes)


@detector
class BowDetector(BaseRobustAutoencoder):
    """A robust autoencoder of a module of ours."""

    units: int = 2
    depth: int = 1
    slope: float = 0.5

    def _new_module(self, n_features):
        return Bow(n_features, self.units, self.depth, self.slope)

    def _code_size(self, n_features):
        return self.units


SMALL = {"n_estimators": 2, "max_iter": 2, "random_state": 12_345_678}


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 4)) + 0.1 * rng.normal(size=(60, 4))
    X[:4] += rng.normal(scale=5, size=(4, 4))
    return X


@pytest.fixture(scope="module")
def fitted(X):
    return BowDetector(**SMALL).fit(X)


@pytest.mark.parametrize(
    "whole",
    [
        BowDetector(**SMALL),
        BowDetector(contamination="auto", penalty="l1", store_decomposition=True, **SMALL),
        BowDetector(1.0, depth=0, **SMALL | {"n_estimators": 1}),
        WindowedDetector(BowDetector(**SMALL), window_size=5),
        OutlierAdapter(BowDetector(**SMALL)),
        make_pipeline(StandardScaler(), BowDetector(**SMALL)),
    ],
    ids=lambda whole: str(whole)[:40],
)
def test_what_is_loaded_scores_as_what_was_saved(whole, X, tmp_path):
    before = whole.fit(X)
    save(before, tmp_path / "file")
    state = torch.get_rng_state()
    after = load(tmp_path / "file")
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(after.decision_function(X), before.decision_function(X))
    for method in ("explain", "transform", "decompose"):
        if hasattr(before, method):
            found, right = getattr(after, method)(X), getattr(before, method)(X)
            assert np.array_equal(np.asarray(found), np.asarray(right))
    save(after, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "file").read_bytes()


def test_a_training_goes_on_after_loading(X, tmp_path):
    options = SMALL | {"warm_start": True}
    save(BowDetector(**options).fit(X), tmp_path / "file")
    after = load(tmp_path / "file").set_params(max_iter=4).fit(X)
    right = BowDetector(**options | {"max_iter": 4}).fit(X)
    assert np.array_equal(after.decision_scores_, right.decision_scores_)


def test_parameters_that_stand_for_another_network(X, fitted, tmp_path):
    for name, value in (("units", 3), ("depth", 2), ("slope", 0.25), ("depth", -1)):
        changed = copy.deepcopy(fitted).set_params(**{name: value})
        with pytest.raises(ValueError, match="set them back to those of the fit, or fit again"):
            save(changed, tmp_path / "file")
        assert not (tmp_path / "file").exists()
        save(changed.set_params(**{name: getattr(fitted, name)}), tmp_path / "file")
        (tmp_path / "file").unlink()
    changed = copy.deepcopy(fitted).set_params(max_iter=9, n_estimators=5, batch_size=10**6)
    save(changed, tmp_path / "file")  # which have no part in the network
    assert load(tmp_path / "file").max_iter == 9


def test_a_detector_that_is_not_registered(X, fitted, tmp_path):
    save(fitted, tmp_path / "file")
    script = f"""
import sys
from skrdae import load
try:
    load(sys.argv[1])
except ValueError as error:
    print(error)
sys.path.insert(0, {str(Path(__file__).parent)!r})
import {Path(__file__).stem}
print(type(load(sys.argv[1])).__name__)
"""
    command = [sys.executable, "-c", script, str(tmp_path / "file")]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    *message, name = found.stdout.splitlines()
    assert "import the module that defines it first" in " ".join(message)
    assert "BowDetector" in " ".join(message)
    assert name == "BowDetector"
    plain = type("Plain", (BowDetector,), {})(**SMALL).fit(X)
    with pytest.raises(TypeError, match=r"Plain.*registered by skrdae\.registry\.detector"):
        save(plain, tmp_path / "file")


def test_a_name_that_is_taken(fitted, tmp_path, monkeypatch):
    taken = type("FittedModel", (BowDetector,), {})
    monkeypatch.setitem(DETECTORS, "FittedModel", taken)
    save(fitted, tmp_path / "file")  # others go on as before
    assert type(load(tmp_path / "file")) is BowDetector
    mine = taken(**SMALL).fit(np.random.default_rng(0).normal(size=(30, 6)))
    with pytest.raises(ValueError, match="called FittedModel as another class"):
        save(mine, tmp_path / "mine")


def test_a_save_leaves_the_detector_alone(fitted, tmp_path):
    before = fitted.network_.template[0]
    save(fitted, tmp_path / "file")
    assert fitted.network_.template[0] is before


NETWORK = ("model_", "network")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("down/weight", lambda a: a[:, :1]),
        ("down/weight", lambda a: a[:1]),
        ("down/weight", lambda a: a * np.float32("nan")),
        ("down/weight", lambda a: a.astype(np.float64)),
        ("up/weight", lambda a: a + np.float32(1e30)),
        ("inner/0/bias", lambda a: a[..., None]),
    ],
)
def test_a_weight_that_does_not_fit(name, change, fitted, tmp_path):
    file = EditedFile(fitted, tmp_path / "file")
    file.put(change(file.array(*NETWORK, name)), *NETWORK, name)
    file.write()
    refused(file, "does not describe a detector")


def test_weights_and_numbers_that_do_not_fit(fitted, tmp_path):
    file = EditedFile(fitted, tmp_path / "file")
    parameters = file.at(*NETWORK)["state"]["parameters"]
    parameters["elsewhere"] = parameters.pop("up/bias")
    file.write()
    refused(file, "other names or shapes")
    for place, values in (
        ((*NETWORK, "code_size"), (0, 1, 3, 2.0, None)),
        (("units",), (0, 3, -1, 10**4, 10**12, 2**63, 1e300, "x", None, [2])),
        (("depth",), (0, 2, 900, 10**12)),
        (("slope",), ("x", None, [1, 2, 3])),
    ):
        for value in values:
            file = EditedFile(fitted, tmp_path / "file")
            file.put(value, *place)
            file.write()
            refused(file, "does not describe a detector")
    file = EditedFile(fitted, tmp_path / "file")
    file.tree = {**file.tree, "class": "RobustDeepAutoencoder"}
    for name in ("units", "depth", "slope"):
        del file.tree["state"][name]
    for name, value in (("activation", "tanh"), ("output_activation", "identity")):
        file.tree["state"][name] = value
    file.tree["state"] |= {"hidden_layer_sizes": "auto", "score_function": "norm"}
    file.write()
    refused(file, "network is a StackedModule, not a MemberAutoencoder")


def test_a_module_that_a_file_makes_huge_is_not_made(fitted, tmp_path, monkeypatch):
    made = []

    class Vast(nn.Module):
        def __init__(self):
            super().__init__()
            made.append("begun")
            for _ in range(10**6):
                torch.empty(10)
            made.append("whole")

    monkeypatch.setattr(BowDetector, "_new_module", lambda self, n_features: Vast())
    with pytest.raises(ValueError, match="far larger than the weights"):
        save(fitted, tmp_path / "file")
    assert made == ["begun"]
    monkeypatch.setattr(
        BowDetector, "_new_module", lambda self, n_features: nn.Linear(10**6, 10**6)
    )
    with pytest.raises(ValueError, match="far larger than the weights"):
        save(fitted, tmp_path / "file")
