"""Files made to cost memory or time, or to lead random generators astray; and what is not saved."""

import contextlib
import copy
import os
import struct
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from edited_file import EditedFile, refused

from skrdae import (
    LSTMVAEDetector,
    OmniAnomalyDetector,
    RobustDeepAutoencoder,
    VAEDetector,
    WindowedDetector,
    load,
    save,
)
from skrdae.tables import TableEncoder

pytestmark = pytest.mark.slow

RDA = {"hidden_layer_sizes": (5, 3), "n_estimators": 2, "max_iter": 2, "random_state": 0}


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 4)) + 0.1 * rng.normal(size=(60, 4))
    X[:4] += rng.normal(scale=5, size=(4, 4))
    return X


@pytest.fixture(scope="module")
def fitted(X):
    stream = RobustDeepAutoencoder(**RDA)
    for chunk in np.array_split(X, 2):
        stream.partial_fit(chunk)
    return {
        "rda": RobustDeepAutoencoder(**RDA).fit(X),
        "vae": VAEDetector(n_epochs=1, n_estimators=1, random_state=0).fit(X),
        "windows": WindowedDetector(RobustDeepAutoencoder(**RDA), window_size=5).fit(X),
        "stream": stream,
    }


@pytest.fixture
def file_of(fitted, tmp_path):
    return lambda name: EditedFile(fitted[name], tmp_path / "file")


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
        file.put(value, "model_", "network", place)
    else:
        file.tree["state"][place] = value
    file.write()
    refused(file)
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
        ('{"is": "dict", "items": ["ab"]}', "no pairs"),
        ('{"is": "tuple", "items": [], "more": 1}', "'more', which is not known"),
        ('{"is": "float", "value": "1.0"}', "one that is known"),
        ("[", "does not describe a detector"),
    ],
)
def test_json_that_no_writer_makes(text, words, file_of):
    file = file_of("rda")
    file.write(text)
    refused(file, words)


def test_an_array_is_referred_to_once(file_of):
    file = file_of("rda")
    file.arrays["more"] = np.zeros(3)
    file.write()
    refused(file, "nothing refers to 1")
    file = file_of("rda")
    scaler = file.at("model_", "scaler")["state"]
    scaler["center_"] = scaler["scale_"]
    file.write()
    refused(file)


def test_many_columns_with_numbers_for_names_are_read_and_traps_are_not(X, tmp_path):
    file = EditedFile(TableEncoder(missing="mean").fit(X), tmp_path / "file")
    n = 16_000
    file.put(n, "n_features_in_")
    file.put(np.zeros(n), "fill_values_")
    file.put(list(range(n)), "numeric_columns_")
    file.write()
    assert load(file.path).numeric_columns_ == list(range(n))
    file.put([i << 40 for i in range(n)], "numeric_columns_")
    file.write()
    refused(file, "neither text nor small numbers")


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
    refused(file, "not the state of a random generator")


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
    file = EditedFile(load(tmp_path / "file"), tmp_path / "file")
    no_number = {"is": "float", "value": "nan"}
    for place, value in ((2, 625), (2, True), (3, 2), (4, False), (4, no_number), (0, "PCG64")):
        file = EditedFile(RobustDeepAutoencoder(**RDA | {"random_state": other}).fit(X), file.path)
        file.at("random_state")["state"][place] = value
        file.write()
        refused(file)


# ------------------------------------------------------------------------------------- saving


def test_what_could_not_be_read_is_not_written(X, fitted, tmp_path):
    path = tmp_path / "file"

    def changed(name, **attributes):
        detector = copy.deepcopy(fitted[name])
        vars(detector).update(attributes)
        return detector

    vae = fitted["vae"].model_
    brief = {"n_epochs": 1, "n_estimators": 1, "hidden_layer_sizes": (2,), "random_state": 0}
    lstm, omni = (cls(**brief).fit(X) for cls in (LSTMVAEDetector, OmniAnomalyDetector))
    lstm.model_ = replace(lstm.model_, network=omni.network_)

    for detector, words in (
        (changed("rda", labels_=np.full(60, 2)), "labels_"),
        (changed("vae", model_=replace(vae, by_vote=True)), "by_vote is set"),
        (changed("rda", decision_scores_=np.ones(3)), "decision_scores_"),
        (changed("rda", n_iter_=7), "n_iter_"),
        (changed("vae", model_=replace(vae, scorer=replace(vae.scorer, level=-1.0))), "level"),
        (changed("rda", model_=vae), r"scorer is a ElboScorer"),
        (lstm, "network is a MemberOmniAnomaly, not a MemberLSTMVAE"),
        (changed("windows", window_size_=4), "the values of a window"),
        (changed("rda", lam=-1.0), "'lam' parameter"),
    ):
        with pytest.raises(ValueError, match=f"cannot be saved: .*{words}"):
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
