"""Files with a right checksum and a content that does not fit together."""

import contextlib
import copy
import json
import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
import torch
from safetensors import safe_open
from sklearn.model_selection import ShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import RobustScaler, StandardScaler

from skrdae import (
    AnoGANDetector,
    LSTMRobustAutoencoder,
    OutlierAdapter,
    RobustDeepAutoencoder,
    RobustDeepAutoencoderCV,
    RobustPCA,
    VAEDetector,
    WindowedDetector,
    load,
    save,
)
from skrdae.persistence import _digest
from skrdae.tables import TableEncoder

SMALL = {"hidden_layer_sizes": (5, 3), "n_estimators": 2, "random_state": 0}
RDA = SMALL | {"max_iter": 2}
VAE = SMALL | {"n_epochs": 2}
GAN = VAE | {"n_encoder_epochs": 1, "discriminator_layer_sizes": (5, 4)}
LSTM = SMALL | {"max_iter": 1}
DETECTORS = {
    "rda": RobustDeepAutoencoder(**RDA),
    "columns": RobustDeepAutoencoder(penalty="l21_features", store_decomposition=True, **RDA),
    "votes": RobustDeepAutoencoder(contamination="auto", **RDA),
    "cv": RobustDeepAutoencoderCV([2.0, 4.0], cv=ShuffleSplit(2), **RDA),
    "pca": RobustPCA(),
    "vae": VAEDetector(n_samples=2, **VAE),
    "bernoulli": VAEDetector(likelihood="bernoulli", **VAE),
    "gan": AnoGANDetector(**GAN),
    "search": AnoGANDetector(inference="search", n_search_iter=2, **GAN),
    "lstm": LSTMRobustAutoencoder(**LSTM),
    "gru": LSTMRobustAutoencoder(cell="gru", n_channels=2, **LSTM),
    "windows": WindowedDetector(RobustDeepAutoencoder(**RDA), window_size=5),
    "adapter": OutlierAdapter(RobustDeepAutoencoder(**RDA)),
    "scaled": make_pipeline(StandardScaler(), RobustScaler(), RobustPCA()),
    "warm": RobustDeepAutoencoder(warm_start=True, **RDA),
    "warm columns": RobustDeepAutoencoder(warm_start=True, penalty="l21_features", **RDA),
    "warm vae": VAEDetector(warm_start=True, **VAE),
    "warm gan": AnoGANDetector(warm_start=True, **GAN),
}
STREAMS = {"stream": RobustDeepAutoencoder(**RDA), "vae stream": VAEDetector(**VAE)}


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 4)) + 0.1 * rng.normal(size=(60, 4))
    X[:4] += rng.normal(scale=5, size=(4, 4))
    return X


@pytest.fixture(scope="module")
def fitted(X):
    found = {name: copy.deepcopy(detector).fit(X) for name, detector in DETECTORS.items()}
    for name, detector in STREAMS.items():
        found[name] = copy.deepcopy(detector)
        for chunk in np.array_split(X, 2):
            found[name].partial_fit(chunk)
    table = pd.DataFrame(X, columns=list("abcd")).assign(kind=["open", "shut"] * 30)
    encoder = TableEncoder(categories="one-hot", missing="mean")
    found["table"] = make_pipeline(encoder, RobustPCA()).fit(table)
    return found


class _File:
    """A saved file in parts, which can be written again with a right checksum."""

    def __init__(self, detector, path):
        self.path = path
        save(detector, path)
        with safe_open(str(path), framework="np") as file:
            self.header = json.loads(file.metadata()["skrdae"])
            self.arrays = {key: file.get_tensor(key) for key in list(file.keys())}
        self.tree = json.loads(self.header["tree"])

    def at(self, *place):
        """Return the node at a place, told by names of attributes, keys and numbers."""
        node = self.tree
        for name in place:
            node = self._inside(node)[name]
        return node

    @staticmethod
    def _inside(node):
        if isinstance(node, dict) and node["is"] == "object":
            state = node["state"]
            return (
                {k: v for part in state.values() for k, v in part.items()}
                if ({*state} == {"plain", "parameters", "modules"})
                else state
            )
        if isinstance(node, dict) and node["is"] == "dict":
            return dict(node["items"])
        return node["items"] if isinstance(node, dict) else node

    def put(self, value, *place):
        """Put a node, or an array for the one that is there."""
        old = self.at(*place)
        if isinstance(value, np.ndarray):
            self.arrays[old["key"]] = np.ascontiguousarray(value)
            return
        node = self.at(*place[:-1])
        if isinstance(node, dict) and node["is"] == "dict":
            next(pair for pair in node["items"] if pair[0] == place[-1])[1] = value
            return
        inside = node["state"] if isinstance(node, dict) and node["is"] == "object" else node
        for part in ("plain", "parameters", "modules"):
            if "plain" in inside and place[-1] in inside[part]:
                inside = inside[part]
        (inside["items"] if isinstance(inside, dict) and "items" in inside else inside)[
            place[-1]
        ] = value

    def array(self, *place):
        return self.arrays[self.at(*place)["key"]]

    def write(self, text=None):
        header = {k: v for k, v in self.header.items() if k != "digest"}
        header["tree"] = json.dumps(self.tree) if text is None else text
        header["digest"] = _digest(header, self.arrays)
        metadata = {"skrdae": json.dumps(header)}
        Path(self.path).write_bytes(safetensors.numpy.save(self.arrays, metadata))


@pytest.fixture
def file_of(fitted, tmp_path):
    return lambda name: _File(fitted[name], tmp_path / "file")


def _refused(file, words=None):
    """Hold that a file is refused with one line that names it."""
    with pytest.raises(ValueError, match=words) as caught:
        load(file.path)
    text = str(caught.value)
    assert str(file.path) in text
    assert "\n" not in text
    assert len(text) < 1000


def test_a_file_that_is_only_written_again_is_read(fitted, file_of):
    for name in fitted:
        file = file_of(name)
        file.write()
        load(file.path)


# ------------------------------------------------------------------------------------- arrays

N = np.float32("nan")
#: kind, the array's place, what becomes of it
ARRAYS = [
    ("rda", "network_ weight_1", lambda a: np.concatenate([a] * 500)),
    ("rda", "network_ weight_3", lambda a: np.zeros((1 << 40, 0, 0), np.float32)),
    ("rda", "network_ bias_3", lambda a: np.zeros((2, 1, 0), np.float32)),
    ("rda", "network_ weight_0", lambda a: a[:, :2]),
    ("rda", "network_ weight_0", lambda a: a.astype(np.float64)),
    ("rda", "network_ weight_0", lambda a: a.astype(np.int64)),
    ("rda", "network_ bias_0", lambda a: a[:, 0]),
    ("rda", "network_ bias_0", lambda a: a * N),
    ("rda", "network_ bias_0", lambda a: a * np.float32("inf")),
    ("rda", "network_ weight_2", lambda a: a + np.float32(1e30)),
    ("rda", "_weights", lambda a: a[:1]),
    ("rda", "_weights", lambda a: 2 * a),
    ("rda", "_weights", lambda a: -a),
    ("rda", "_lam", lambda a: -a),
    ("rda", "_lam", lambda a: a[::-1].copy()),
    ("rda", "lam_", lambda a: a + 1),
    ("rda", "_residual_scale", lambda a: 0 * a),
    ("rda", "_residual_scale", lambda a: a[:, :, :1]),
    ("rda", "scaler_ scale_", lambda a: 0 * a),
    ("rda", "scaler_ scale_", lambda a: a[:1]),
    ("rda", "scaler_ center_", lambda a: a * N),
    ("rda", "decision_scores_", lambda a: a[1:]),
    ("rda", "decision_scores_", lambda a: a[::-1].copy()),
    ("rda", "decision_scores_", lambda a: a * N),
    ("rda", "labels_", lambda a: 1 - a),
    ("rda", "labels_", lambda a: 2 * a),
    ("rda", "labels_", lambda a: a.astype(float)),
    ("rda", "classes_", lambda a: a[::-1].copy()),
    ("votes", "labels_", lambda a: 0 * a - 1),
    ("columns", "_norms", lambda a: a[..., :1]),
    ("columns", "low_rank_", lambda a: a[:, :3]),
    ("cv", "lams_", lambda a: a[:1]),
    ("cv", "lams_", lambda a: a + 1),
    ("pca", "network_ weight_0", lambda a: a[..., :1]),
    ("vae", "network_ encoder weight_2", lambda a: a[..., :3]),
    ("vae", "network_ decoder bias_2", lambda a: a[..., :3]),
    ("vae", "_variance", lambda a: 0 * a),
    ("vae", "_variance", lambda a: 2 * a),
    ("vae", "noise_variance_", lambda a: 2 * a),
    ("vae", "_draws", lambda a: a[..., :1]),
    ("vae", "_draws", lambda a: np.zeros((2, 20_000, 2), np.float32)),
    ("gan", "network_ discriminator weight_1", lambda a: a[:, :, :2]),
    ("gan", "network_ generator weight_0", lambda a: a[:, :1]),
    ("gan", "network_ encoder weight_2", lambda a: a[..., :1]),
    ("lstm", "network_ layer_0", lambda a: a[:, :16]),
    ("lstm", "network_ layer_1", lambda a: np.concatenate([a, a], 1)),
    ("gru", "network_ readout_weight", lambda a: a[..., :1]),
    ("windows", "decision_scores_", lambda a: a[1:]),
    ("windows", "window_scores_", lambda a: np.concatenate([a, a])),
    ("scaled", "steps 0 1 mean_", lambda a: a[:3]),
    ("scaled", "steps 0 1 scale_", lambda a: 0 * a),
    ("scaled", "steps 1 1 center_", lambda a: a * np.nan),
    ("table", "steps 0 1 fill_values_", lambda a: a[:2]),
    ("table", "steps 0 1 fill_values_", lambda a: np.where(np.arange(4) < 2, np.nan, a)),
    ("warm", "_kept seeds", lambda a: a[:1]),
    ("warm", "_kept state weights 1", lambda a: a[..., :1]),
    ("warm", "_kept state stack tensors 0", lambda a: a[:, 1:]),
    ("warm", "_kept state stack tensors 1", lambda a: a[:, 1:]),
    ("warm", "_kept state stack tensors 0", lambda a: a * N),
    ("warm", "_kept state stack adam mean", lambda a: a[:1]),
    ("warm", "_kept state stack members", lambda a: a[::-1].copy()),
    ("warm", "_kept state stack members", lambda a: a + 1),
    ("warm", "_kept state found 0", lambda a: a[:1]),
    ("warm columns", "_kept state norms 0", lambda a: a[..., :1]),
    ("warm columns", "_kept state found 1", lambda a: a[..., :1]),
    ("warm vae", "_kept state tensors 0", lambda a: a[:1]),
    ("warm vae", "_kept state adam square", lambda a: -a - 1),
    ("warm gan", "_kept state gan tensors 12", lambda a: a[..., :1]),
    ("warm gan", "_kept state gan critic mean", lambda a: a[:-1]),
    ("warm gan", "_kept state encoder adam mean", lambda a: a[:1]),
    ("stream", "_stream network weight_3", lambda a: a[..., :1]),
    ("stream", "_stream adam mean", lambda a: np.zeros(1, np.float32)),
    ("stream", "_stream adam square", lambda a: -a - 1),
    ("stream", "_stream extra", lambda a: a[:1]),
    ("stream", "_stream rows", lambda a: a[1:]),
    ("stream", "_stream rows", lambda a: a * np.nan),
    ("stream", "_stream generators 0", lambda a: a[:-1]),
    ("vae stream", "_stream extra adam mean", lambda a: a[:1]),
    ("vae stream", "_stream extra tensors 0", lambda a: a[..., :1]),
]


@pytest.mark.parametrize(("name", "place", "change"), ARRAYS)
def test_an_array_that_does_not_fit_is_named(name, place, change, file_of):
    file = file_of(name)
    names = [int(n) if n.isdigit() else n for n in place.split()]
    file.put(change(file.array(*names)), *names)
    file.write()
    _refused(file, "does not describe a detector")


def test_sizes_that_agree_with_each_other_but_not_with_the_rest(file_of):
    file = file_of("rda")  # a decoder that does not mirror the encoder
    for name, shape in (("weight_2", (2, 3, 7)), ("bias_2", (2, 1, 7)), ("weight_3", (2, 7, 4))):
        file.put(np.zeros(shape, np.float32), "network_", name)
    file.write()
    _refused(file, r"network_\.weight_2")
    file = file_of("rda")  # three members in the network, two elsewhere
    for layer in range(4):
        for name in (f"weight_{layer}", f"bias_{layer}"):
            array = file.array("network_", name)
            file.put(np.concatenate([array, array[:1]]), "network_", name)
    file.write()
    _refused(file, r"_weights .*\(2,\), not one of float64 of shape \(3\)")
    file = file_of("vae stream")  # and in what chunks are trained on
    file.put({"is": "dict", "items": [["n_estimators", "3"]]}, "_stream", "settings")
    file.write()
    _refused(file, "of 2 members")


# ------------------------------------------------------------------------------------ numbers

NAN, INF = {"is": "float", "value": "nan"}, {"is": "float", "value": "inf"}
NUMBERS = [
    ("rda", "n_features_in_", [0, -1, 5, 2**70, 4.0, True, "4", None, [4], {}, NAN]),
    ("rda", "threshold_", [NAN, "x", None, True, [], 1e300]),
    ("rda", "_mu", [0, NAN, 1e9, "x"]),
    ("rda", "_sigma", [-1, 0, NAN]),
    ("rda", "_share", [-0.1, 1.1, NAN]),
    ("rda", "_by_vote", [0, None, "x"]),
    ("rda", "_classes", [3, 2.0, None]),
    ("rda", "n_iter_", [0, 3, 10**12]),
    ("rda", "network_ n_encoder_layers", [0, 1, 3, -2, 10**12, None]),
    ("rda", "network_ activations 0", ["relu", "x", 3, None]),
    ("rda", "scaler_ bound_", [0, -3, 4, NAN, INF]),
    ("rda", "scaler_ method", ["x", None, 3]),
    ("rda", "history_ 0 iteration", [0, 2, "1", None]),
    ("rda", "n_estimators", [0, -1, "x", 2.5]),
    ("rda", "hidden_layer_sizes", [[], [0], "x", 3, None]),
    ("rda", "lam", [-1, NAN, "x", None]),
    ("rda", "verbose", ["x", -1]),
    ("rda", "random_state", ["x", -1, 0.5]),
    ("pca", "rank_", [-1, 5, 0.5]),
    ("cv", "_chosen", [3.0, NAN]),
    ("cv", "lam_", [3.0, NAN]),
    ("cv", "cv n_splits", [0, -1, 10**12, 2.0, None]),
    ("cv", "cv _default_test_size", [0.5, -1, "x"]),
    ("vae", "_level", [0, -1, NAN, INF, 2**70]),
    ("vae", "_beta", [-1, NAN, 1e30]),
    ("vae", "_likelihood", ["bernoulli", "x", None]),
    ("vae", "network_ latent_dim", [0, 1, 3, 10**12]),
    ("bernoulli", "_likelihood", ["gaussian"]),
    ("search", "_n_search_iter", [0, -1, 10**12, 0.5]),
    ("search", "_searches", [False, 1]),
    ("gan", "_lam", [-0.1, 1.1, NAN]),
    ("lstm", "network_ n_channels", [0, 2, 4, -1]),
    ("lstm", "network_ n_steps", [0, 5, 10**12]),
    ("lstm", "network_ cell", ["gru", "x"]),
    ("lstm", "network_ n_encoder_layers", [0, 1, 4]),
    ("lstm", "network_ shapes 1 0", [0, 4, -1, 10**12]),
    ("lstm", "network_ shapes", [[], [[1, 5]]]),
    ("windows", "window_size_", [0, 4, 10**12, 5.0]),
    ("windows", "_stride", [0, -1, 10**12, 2**70]),
    ("windows", "_aggregate", ["sum", None]),
    ("windows", "_spacing", [0, -1, NAN, "x"]),
    ("windows", "window_threshold_", [NAN, "x"]),
    ("adapter", "n_features_in_", [3, 5]),
    ("adapter", "offset_", [NAN, None]),
    ("table", "steps 0 1 time_format_", ["x" * 300, "%Y %Y", 3]),
    ("table", "steps 0 1 _by_name", [False]),
    ("warm", "_kept state iteration", [1, 10**12, -1]),
    ("warm", "_kept state all_done", [1, None]),
    ("warm", "_kept state stack adam n_steps", [-1, 2**60, 0.5]),
    ("stream", "_stream n_seen", [0, 59, 10**12]),
    ("stream", "n_samples_seen_", [59]),
]


@pytest.mark.parametrize(("name", "place", "values"), NUMBERS)
def test_a_number_that_cannot_be_is_refused(name, place, values, file_of):
    file = file_of(name)
    names = [int(n) if n.isdigit() else n for n in place.split()]
    for value in values:
        file.put(value, *names)
        file.write()
        _refused(file)


# -------------------------------------------------------------------------------------- names


def test_no_attribute_is_missing_or_more_than_there_are(fitted, file_of):
    may_be_left_out = {"feature_names_in_", "_kept"}
    for name in ("rda", "columns", "vae", "gan", "windows", "adapter", "stream", "warm"):
        file = file_of(name)
        whole = copy.deepcopy(file.tree)
        for key in {*whole["state"]} - may_be_left_out:
            file.tree = copy.deepcopy(whole)
            del file.tree["state"][key]
            file.write()
            _refused(file)
        for key in ("decision_function", "__class__", "__dict__", "fit", "_score", "x", "other_"):
            file.tree = copy.deepcopy(whole)
            file.tree["state"][key] = None
            file.write()
            _refused(file, f"'{key}', which is not known")
    file = file_of("rda")
    for part, key in (("plain", "forward"), ("plain", "_parameters"), ("parameters", "weight_4")):
        changed = copy.deepcopy(file.tree)
        network = file.at("network_")["state"]
        network[part][key] = network["parameters"]["weight_0"] if part == "parameters" else 1
        file.write()
        _refused(file)
        file.tree = changed


def test_only_what_belongs_in_a_place_is_taken_there(file_of):
    file = file_of("stream")
    whole = file.tree
    stream, scaler, network = (file.at(name) for name in ("_stream", "scaler_", "network_"))
    for tree in (stream, scaler, network, whole["state"]["_penalty"], [whole], "x", None):
        file.tree = tree
        file.write()
        _refused(file, "does not describe a detector")
    for name, node in (("scaler_", network), ("network_", scaler), ("_penalty", stream)):
        file.tree = copy.deepcopy(whole)
        file.put(node, name)
        file.write()
        _refused(file)
    for cls in ("VAEDetector", "RobustPCA", "KFold", "MemberMLP", "Stream", "Pipeline", "Popen"):
        file.tree = {**whole, "class": cls}
        file.write()
        _refused(file)


def test_weights_come_in_their_order(file_of):
    file = file_of("rda")
    network = file.at("network_")["state"]
    network["parameters"] = dict(reversed(network["parameters"].items()))
    file.write()
    _refused(file, "network_ has the weights")


def test_steps_of_a_pipeline_fit_each_other(file_of):
    file = file_of("table")
    encoder = file.at("steps", 0, 1)
    encoder["state"]["categories_"]["items"][0][1] = ["open"]  # and so a column less
    file.write()
    _refused(file, "TableEncoder gives 5 columns, and the RobustPCA after it takes 6")
    for values in (["shut", "open"], ["open", "open"], ["open", 3], "open"):
        encoder["state"]["categories_"]["items"][0][1] = values
        file.write()
        _refused(file)
    file = file_of("scaled")
    file.at("steps")[0]["items"][0] = "robustscaler"
    file.write()
    _refused(file, "one of a name twice")


# ------------------------------------------------------------------------- memory and time


def _peak(path):
    tracemalloc.start()
    with contextlib.suppress(ValueError):
        load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize(
    ("place", "value"),
    {
        "one long text": (
            "feature_names_in_",
            {"is": "strings", "kind": "U", "shape": [20_001], "items": ["a" * 99, *"b" * 20_000]},
        ),
        "no text": (
            "feature_names_in_",
            {"is": "strings", "kind": "U", "shape": [0, 1 << 40], "items": []},
        ),
        "lists": ("lam", [[] for _ in range(30_000)]),
        "objects": ("lam", [{} for _ in range(30_000)]),
        "tuples": ("lam", [{"is": "tuple", "items": []} for _ in range(10_000)]),
        "networks": (
            "lam",
            [
                {
                    "is": "object",
                    "class": "MemberMLP",
                    "state": {"plain": {}, "parameters": {}, "modules": {}},
                }
                for _ in range(3000)
            ],
        ),
        "numbers that collide": (
            "lam",
            {"is": "dict", "items": [[i << 40, 0] for i in range(12_000)]},
        ),
        "floats that collide": (
            "lam",
            {"is": "dict", "items": [[float(i << 40), 0] for i in range(12_000)]},
        ),
        "layers": ("activations", ["tanh"] * 20_000),
        "wide text": ("lam", "\U0001f600" + "x" * 100_000),
    }.values(),
    ids=lambda value: str(value)[:20],
)
def test_memory_is_in_proportion_to_the_file(place, value, file_of):
    file = file_of("rda")
    if place == "activations":
        file.put(value, "network_", place)
    else:
        file.tree["state"][place] = value
    file.write()
    _refused(file)
    assert _peak(file.path) < 25 * os.path.getsize(file.path) + 2**20


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000 + "]" * 100_000, "lists and objects"),
        ("[" * 5000 + "]" * 5000, "nested too deeply"),
        ('{"is": "tuple", "items": [' * 60 + "]}" * 60, "nested too deeply"),
        ("9" * 10_000, "whole number of 10000 digits"),
        ('{"is": "object", "is": "tuple"}', "key twice"),
        ('{"is": "dict", "items": [[1, 2], [1, 3]]}', "key twice"),
        ('{"is": "tuple", "items": [], "more": 1}', "'more', which is not known"),
        ('{"is": "float", "value": "1.0"}', "one that is known"),
        ("[", "does not describe a detector"),
    ],
)
def test_json_that_no_writer_makes(text, words, file_of):
    file = file_of("rda")
    file.write(text)
    _refused(file, words)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("rda", ["hidden_layer_sizes"]),
        ("rda", ["lam"]),
        ("rda", ["device"]),
        ("cv", ["lams"]),
        ("cv", ["cv"]),
        ("cv", ["cv", "test_size"]),
        ("table", ["steps", 0, 1, "ignore"]),
        ("windows", ["detector", "hidden_layer_sizes"]),
    ],
)
def test_no_parameter_is_an_axis_without_end(name, place, file_of):
    for shape in ((1 << 40, 0), (1 << 40, 0, 3)):
        file = file_of(name)
        file.arrays["endless"] = np.zeros(shape, np.int64)
        file.put({"is": "array", "key": "endless"}, *place)
        file.write()
        _refused(file)


def test_an_array_is_referred_to_once(file_of):
    file = file_of("rda")
    file.arrays["more"] = np.zeros(3)
    file.write()
    _refused(file, "nothing refers to 1")
    file = file_of("rda")
    file.put(file.at("_mu"), "scaler_", "center_")
    file.tree["state"]["scaler_"]["state"]["center_"] = file.at("scaler_", "scale_")
    file.write()
    _refused(file)


def test_many_columns_with_numbers_for_names_are_read_and_traps_are_not(X, tmp_path):
    file = _File(TableEncoder(missing="mean").fit(X), tmp_path / "file")
    n = 16_000
    file.put(n, "n_features_in_")
    file.put(np.zeros(n), "fill_values_")
    file.put(list(range(n)), "numeric_columns_")
    file.write()
    assert load(file.path).numeric_columns_ == list(range(n))
    file.put([i << 40 for i in range(n)], "numeric_columns_")
    file.write()
    _refused(file, "neither text nor small numbers")


# ---------------------------------------------------------------------------- random numbers


@pytest.mark.parametrize(
    "change",
    [
        {1: 2, 2: 624},
        {1: 600, 2: 624},
        {1: 0},
        {1: -1, 2: 626},
        {2: 2**60},
        {3: 0},
        {4: 2**40},
    ],
    ids=str,
)
def test_a_generator_that_would_read_beyond_its_numbers(change, file_of):
    """PyTorch checks the two places in a state by themselves, but not together."""
    file = file_of("stream")
    state = file.array("_stream", "generators", 0)
    layout = struct.Struct("=QiiQ624Q")  # seed, numbers left, whether there is one, place, numbers
    seed, left, seeded, place, *numbers = layout.unpack(state.tobytes()[: layout.size])
    assert left + place == 625
    assert seeded == 1
    found = dict(enumerate([seed, left, place, seeded, *numbers])) | change
    found = [found[k] for k in (0, 1, 3, 2, *range(4, 628))]
    head = np.frombuffer(layout.pack(*found), np.uint8)
    file.put(np.concatenate([head, state[layout.size :]]), "_stream", "generators", 0)
    file.write()
    _refused(file, "not the state of a random generator")


def test_generators_in_any_state_are_read(X, tmp_path):
    for n in (0, 1, 16, 623, 624, 625):
        detector = RobustDeepAutoencoder(**RDA).partial_fit(X)
        for k, state in enumerate(detector._stream.generators):
            generator = torch.Generator().set_state(state)
            torch.rand(n, generator=generator)
            torch.randn(k, generator=generator)
            detector._stream.generators[k] = generator.get_state()
        save(detector, tmp_path / "file")
        load(tmp_path / "file").partial_fit(X)
    other = np.random.RandomState(0)
    other.standard_normal()  # one is kept for the next call
    save(RobustDeepAutoencoder(**RDA | {"random_state": other}).fit(X), tmp_path / "file")
    file = _File(load(tmp_path / "file"), tmp_path / "file")
    for place, value in ((2, 625), (2, True), (3, 2), (4, False), (4, NAN), (0, "PCG64")):
        file = _File(RobustDeepAutoencoder(**RDA | {"random_state": other}).fit(X), file.path)
        file.at("random_state")["state"][place] = value
        file.write()
        _refused(file)


# ------------------------------------------------------------------------------------- saving


def test_what_could_not_be_read_is_not_written(X, fitted, tmp_path):
    path = tmp_path / "file"

    def changed(name, **attributes):
        detector = copy.deepcopy(fitted[name])
        vars(detector).update(attributes)
        return detector

    for detector, words in (
        (changed("rda", threshold_=0.0), "labels_ are not those that threshold_ gives"),
        (changed("rda", labels_=np.ones(60, int)), "labels_ are not those"),
        (changed("rda", decision_scores_=np.ones(3)), "decision_scores_"),
        (changed("rda", n_iter_=7), "n_iter_"),
        (changed("vae", _level=-1.0), "_level"),
        (changed("windows", window_size_=4), "the values of a window"),
        (changed("rda", lam=-1.0), "'lam' parameter"),
    ):
        with pytest.raises(ValueError, match=f"cannot be written: .*{words}"):
            save(detector, path)
        assert not path.exists()
    with torch.no_grad():
        broken = copy.deepcopy(fitted["rda"])
        broken.network_.weight_0[0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="weight_0 holds values from nan"):
        save(broken, path)
    deep = []
    for _ in range(40):
        deep = [deep]
    with pytest.raises(TypeError, match="nested too deeply"):
        save(changed("rda", hidden_layer_sizes=deep), path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="is no file but a pipe"):
        load(tmp_path / "pipe")


# ----------------------------------------------------------------------------------- the fuzz

KINDS = ["robust, columns", "VAE, draws", "GRU", "windows", "pipeline of a table"]
KINDS += ["stream, robust", "warm, members left", "checkpoint, encoder"]


def test_a_small_fuzz_finds_nothing(tmp_path, monkeypatch):
    """See benchmarks/fuzz_files.py, which makes many more, and in a process of its own."""
    pytest.importorskip("resource")
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    import fuzz_files

    contents = fuzz_files.originals(tmp_path, KINDS)
    outcomes = []
    for number in range(250):
        kind, data, told, structural = fuzz_files.make(contents, 1, number)
        (tmp_path / "file").write_bytes(data)
        outcomes.append(fuzz_files.try_one(kind, tmp_path / "file"))
        assert not (structural and outcomes[-1] == "accepted"), (number, kind, told)
    assert outcomes.count("refused") > 150
    assert outcomes.count("accepted") > 10
