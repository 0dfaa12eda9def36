import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from optional import Optional
from pyod.models.iforest import IForest
from safetensors.numpy import load_file, save_file
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

import skrdae
from skrdae import (
    AnoGANDetector,
    CalibratedDetector,
    ConvRobustAutoencoder,
    DenoisingDetector,
    LSTMRobustAutoencoder,
    LSTMVAEDetector,
    OmniAnomalyDetector,
    OutlierAdapter,
    RobustDeepAutoencoder,
    RobustDeepAutoencoderCV,
    RobustPCA,
    TransformerRobustAutoencoder,
    USADDetector,
    VAEDetector,
    WindowedDetector,
    load,
    save,
)
from skrdae.metrics import roc_auc_scorer
from skrdae.penalties import L21
from skrdae.tables import TableEncoder

pd = Optional("pandas")

RDA = {"n_estimators": 2, "max_iter": 2, "random_state": 0}
GAN = {"n_estimators": 2, "n_epochs": 2, "n_encoder_epochs": 2, "random_state": 0}
VAE = {"n_estimators": 2, "n_epochs": 2, "random_state": 0}
DETECTORS = {
    "rda": RobustDeepAutoencoder(**RDA),
    "rda, one, infinite λ": RobustDeepAutoencoder(np.inf, n_estimators=1, random_state=0),
    "rda, a penalty's instance": RobustDeepAutoencoder(penalty=L21(), score_function="norm", **RDA),
    "rda, votes": RobustDeepAutoencoder(contamination="auto", penalty="l1", **RDA),
    "rda, columns": RobustDeepAutoencoder(
        contamination="auto", penalty="l21_features", store_decomposition=True, **RDA
    ),
    "rda, own layers": RobustDeepAutoencoder(
        hidden_layer_sizes=(9, 4), activation="relu", scaler=None, **RDA
    ),
    "rda, a generator": RobustDeepAutoencoder(
        **RDA | {"random_state": np.random.RandomState(3), "device": torch.device("cpu")}
    ),
    "cv": RobustDeepAutoencoderCV([2.0, 4.0], cv=StratifiedKFold(2), scoring=roc_auc_scorer, **RDA),
    "pca": RobustPCA(),
    "vae": VAEDetector(**VAE),
    "vae, draws": VAEDetector(n_samples=3, **VAE),
    "vae, bernoulli": VAEDetector(likelihood="bernoulli", **VAE),
    "gan": AnoGANDetector(**GAN),
    "gan, pairs": AnoGANDetector(inference="bidirectional", **GAN),
    "gan, search": AnoGANDetector(inference="search", n_search_iter=3, **GAN),
    "conv": ConvRobustAutoencoder(
        max_iter=2, scaler="robust", channels=(3, 4), code_size=3, random_state=0
    ),
    "lstm": LSTMRobustAutoencoder(max_iter=1, random_state=0),
    "gru": LSTMRobustAutoencoder(cell="gru", n_channels=2, max_iter=1, random_state=0),
    "lstm vae": LSTMVAEDetector(n_channels=2, hidden_layer_sizes=(5, 3), **VAE),
    "omni anomaly": OmniAnomalyDetector(n_channels=2, hidden_layer_sizes=(5, 3), **VAE),
    "usad": USADDetector(**VAE),
    "usad, channels": USADDetector(n_channels=2, scaler=None, **VAE),
    "transformer": TransformerRobustAutoencoder(
        width=8, n_heads=2, patch_size=2, n_channels=2, n_estimators=2, max_iter=1, random_state=0
    ),
    "windows": WindowedDetector(RobustDeepAutoencoder(**RDA), window_size=10),
    "adapter": OutlierAdapter(RobustDeepAutoencoder(**RDA)),
    "calibrated": CalibratedDetector(RobustDeepAutoencoder(**RDA), cv=KFold(2)),
    "calibrated, series": CalibratedDetector(
        WindowedDetector(RobustDeepAutoencoder(**RDA), window_size=6), max_fpr=0.2, cv=2
    ),
    "denoising": DenoisingDetector(noise_levels=[0.2, 1], hidden_layer_sizes=(7, 5), **VAE),
    "pipeline": make_pipeline(StandardScaler(), MinMaxScaler(), VAEDetector(**VAE)),
}


# One of the columns of `data`, which an unscaled network of DETECTORS is fitted to, is large.
pytestmark = pytest.mark.filterwarnings("ignore:scaler=None, but")


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 2)) @ rng.normal(size=(2, 6)) + 0.1 * rng.normal(size=(120, 6))
    X[:6] += rng.normal(scale=5, size=(6, 6))
    return X, (np.arange(120) < 6).astype(int)


@pytest.fixture(scope="module")
def fitted(data):
    return {name: detector.fit(*data) for name, detector in DETECTORS.items()}


@pytest.mark.parametrize("name", DETECTORS)
def test_what_is_loaded_scores_as_what_was_saved(name, data, fitted, tmp_path):
    X, before = data[0], fitted[name]
    save(before, tmp_path / "file")
    after = load(tmp_path / "file")
    assert type(after) is type(before)
    assert np.array_equal(after.decision_function(X), before.decision_function(X))
    assert np.array_equal(after.predict(X), before.predict(X))
    for method in ("explain", "p_values", "predict_proba", "transform", "decompose"):
        if hasattr(before, method):
            found, right = getattr(after, method)(X), getattr(before, method)(X)
            assert np.array_equal(np.asarray(found), np.asarray(right))
    found, right = ({k: str(v) for k, v in d.get_params().items()} for d in (after, before))
    assert found == right
    names = set(vars(before)) - {"detector", "detector_", "steps"}
    assert set(vars(after)) >= names
    again = tmp_path / "again"
    save(after, again)  # nothing was lost on the way
    assert again.read_bytes() == (tmp_path / "file").read_bytes()


def test_what_is_loaded_can_be_fitted_again(data, fitted, tmp_path):
    save(fitted["rda"], tmp_path / "file")
    again = load(tmp_path / "file").fit(data[0])
    assert np.array_equal(again.decision_scores_, fitted["rda"].decision_scores_)


def test_a_new_process_scores_the_same(data, fitted, tmp_path):
    np.save(tmp_path / "X.npy", data[0])
    for name in ("rda", "vae", "gan", "lstm"):
        save(fitted[name], tmp_path / name)
    script = """
import sys
import numpy as np
from skrdae import load
folder = sys.argv[1]
X = np.load(f"{folder}/X.npy")
for name in ("rda", "vae", "gan", "lstm"):
    np.save(f"{folder}/{name}.npy", load(f"{folder}/{name}").decision_function(X))
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, timeout=120)
    for name in ("rda", "vae", "gan", "lstm"):
        found = np.load(tmp_path / f"{name}.npy")
        assert np.array_equal(found, fitted[name].decision_function(data[0]))


def test_names_of_columns_are_kept(data, tmp_path):
    X = pd.DataFrame(data[0], columns=list("abcdeé"))
    save(RobustDeepAutoencoder(**RDA).fit(X), tmp_path / "file")
    after = load(tmp_path / "file")
    assert after.feature_names_in_.tolist() == list("abcdeé")
    after.predict(X)
    with pytest.raises(ValueError, match="feature names"):
        after.predict(X[list("ébcdea")])


def test_loading_unpickles_nothing(fitted, tmp_path, monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("something was unpickled")

    for name, detector in fitted.items():
        save(detector, tmp_path / name)
    for module in (pickle, torch, np):
        for function in ("load", "loads", "Unpickler"):
            if hasattr(module, function):
                monkeypatch.setattr(module, function, refuse)
    for name in fitted:
        load(tmp_path / name)


def test_parameters_of_numpy_and_callbacks(data, tmp_path):
    given = {"lam": np.float64(3.0), "random_state": np.int64(1), "callbacks": [lambda row: None]}
    save(RobustDeepAutoencoder(n_estimators=1, **given).fit(data[0]), tmp_path / "file")
    after = load(tmp_path / "file")
    assert (after.lam, after.random_state, after.callbacks) == (3.0, 1, None)
    swapped = RobustDeepAutoencoderCV(np.array([2.0, 3.0, 4.0], ">f8"), cv=2, n_estimators=1)
    save(swapped.fit(data[0]), tmp_path / "file")
    assert load(tmp_path / "file").lams.tolist() == [2.0, 3.0, 4.0]
    with pytest.raises(
        TypeError, match=r"lam is an array of float128|lam is an array of longdouble"
    ):
        save(after.set_params(lam=np.longdouble(1)), tmp_path / "file")


def test_arrays_of_text_come_back(data, tmp_path):
    table = pd.DataFrame(data[0], columns=list("abcdef")).assign(note="x", day="Monday")
    encoder = TableEncoder(ignore=np.array(["note", "day"]))
    detector = make_pipeline(encoder, RobustPCA()).fit(table)
    save(detector, tmp_path / "file")
    after = load(tmp_path / "file")
    assert after[0].ignore.dtype.kind == "U"
    assert after[0].ignore.tolist() == ["note", "day"]
    assert np.array_equal(after.decision_function(table), detector.decision_function(table))


def test_names_of_columns_may_be_any_that_pandas_takes(data, tmp_path):
    names = pd.MultiIndex.from_product([["a", "ü\n"], ["x", "[{", "💥"]])
    for columns in (names, np.arange(1990, 1996) * 10**9, [0.5, 1, True, None, "", "z"]):
        table = pd.DataFrame(data[0], columns=columns)
        encoder = TableEncoder().fit(table.rename(columns=str) if "z" in columns else table)
        save(encoder, tmp_path / "file")
        assert load(tmp_path / "file").numeric_columns_ == encoder.numeric_columns_


def test_a_parameter_that_waits_for_the_next_fit_is_kept(data, fitted, tmp_path):
    options = {"n_estimators": 5, "hidden_layer_sizes": (3,), "penalty": "l1", "contamination": 0.3}
    waiting = RobustDeepAutoencoder(**RDA).fit(data[0]).set_params(**options)
    save(waiting, tmp_path / "file")
    after = load(tmp_path / "file")
    assert after.get_params() == waiting.get_params()
    right = fitted["rda"].decision_function(data[0])
    assert np.array_equal(after.decision_function(data[0]), right)
    with pytest.raises(ValueError, match="'lr' parameter"):
        save(waiting.set_params(lr=-1), tmp_path / "file")


def test_a_detector_that_holds_one_that_is_not_fitted(data, tmp_path):
    template = WindowedDetector(RobustDeepAutoencoder(**RDA), window_size=10)
    adapter = OutlierAdapter(template).fit(data[0])
    save(adapter, tmp_path / "file")
    after = load(tmp_path / "file")
    assert np.array_equal(after.predict(data[0]), adapter.predict(data[0]))
    assert not hasattr(after.detector, "decision_scores_")
    adapter.detector = template.fit(data[0])  # nor does it matter if it is
    save(adapter, tmp_path / "file")
    assert load(tmp_path / "file").detector.window_size_ == 10


def test_pipelines_of_pipelines_and_of_codes(data, tmp_path):
    inner = make_pipeline(StandardScaler(with_mean=False), "passthrough")
    coded = make_pipeline(inner, RobustDeepAutoencoder(**RDA), None, VAEDetector(**VAE))
    coded.set_output(transform="default").fit(data[0])
    save(coded, tmp_path / "file")
    after = load(tmp_path / "file")
    assert np.array_equal(after.decision_function(data[0]), coded.decision_function(data[0]))


@pytest.mark.skipif(os.name == "nt", reason="files have no modes")
def test_a_file_has_the_mode_of_any_other_and_links_are_followed(fitted, tmp_path):
    (tmp_path / "plain").touch()
    save(fitted["rda"], tmp_path / "new")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode
    (tmp_path / "plain").chmod(0o640)
    (tmp_path / "link").symlink_to(tmp_path / "plain")
    save(fitted["rda"], tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "plain").stat().st_mode & 0o777 == 0o640
    load(tmp_path / "plain")


# ------------------------------------------------------------------------------------- refusals


@pytest.fixture
def file(fitted, tmp_path):
    save(fitted["rda"], tmp_path / "file")
    return tmp_path / "file"


@pytest.mark.parametrize("kept", [0, 5, 100, 0.5, 0.99])
def test_a_truncated_file_is_refused(file, kept):
    content = file.read_bytes()
    file.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    with pytest.raises(ValueError, match=r"damaged|not a file written by skrdae\.save"):
        load(file)


def test_a_single_wrong_bit_is_found(file):
    content = bytearray(file.read_bytes())
    for place in np.random.default_rng(0).integers(len(content), size=60):
        content[place] ^= 4
        file.write_bytes(bytes(content))
        with pytest.raises(ValueError, match=r"damaged|not a file|has format"):
            load(file)
        content[place] ^= 4


def _rewrite(file, change_header=None, change_tree=None):
    from safetensors import safe_open

    from skrdae.persistence import _digest

    with safe_open(str(file), framework="np") as opened:
        metadata = opened.metadata()
    arrays = load_file(file)
    header = json.loads(metadata["skrdae"])
    if change_tree is not None:
        header["tree"] = json.dumps(change_tree(json.loads(header["tree"])))
        arrays = {k: a for k, a in arrays.items() if f'"key": "{k}"' in header["tree"]}
    if change_header is not None:
        change_header(header)
    del header["digest"]
    header["digest"] = _digest(header, arrays)
    save_file(arrays, file, {"skrdae": json.dumps(header)})


def test_a_later_format_is_refused(file):
    _rewrite(file, change_header=lambda header: header.update(format=99))
    with pytest.raises(ValueError, match=r"format 99.*reads formats 1 and 2"):
        load(file)


@pytest.mark.parametrize(
    "tree",
    [
        {"is": "object", "class": "os.system", "state": {}},
        {"is": "object", "class": "Popen", "state": {}},
        {"is": "class__", "value": 1},
        {"is": "array", "key": "../../etc/passwd"},
        {"is": "scorer", "name": "__import__"},
        {"is": "strings", "kind": "O", "shape": [7], "items": ["a"]},
        {"is": "device"},
        {"no": "kind"},
        {"is": "float", "value": 10**400},
        {"is": "array", "key": "0", "dtype": "O"},
        {"is": "tuple", "items": [{"is": "array", "key": "0"}] * 2},
        {"is": "random_state", "state": ["MT19937"]},
        {"is": "random_state", "state": ["MT19937", {"is": "array", "key": "0"}, 10**9, 0, 0.0]},
        {"is": "strings", "kind": "U", "shape": [10_001], "items": ["a" * 10**6, *["b"] * 10_000]},
        {"is": "object", "class": "Pipeline", "state": {"memory": "/tmp/elsewhere", "steps": []}},
        [1, 2],
        None,
        "x",
    ],
)
def test_a_tree_that_names_what_is_not_known_is_refused(file, tree):
    _rewrite(file, change_tree=lambda _: tree)
    # Older versions of safetensors do not read files without arrays.
    with pytest.raises(ValueError, match=r"does not describe a detector|is not a file written by"):
        load(file)


def test_a_header_that_is_not_whole_is_refused(file):
    for versions in (None, [], {}):
        _rewrite(file, change_header=lambda header, v=versions: header.update(versions=v))
        with pytest.raises(ValueError, match="does not describe a detector"):
            load(file)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "pickle").write_bytes(pickle.dumps({"a": np.ones(3)}))
    (tmp_path / "text").write_text("hello")
    save_file({"a": np.ones(3)}, tmp_path / "arrays")
    for name in ("pickle", "text", "arrays"):
        with pytest.raises(ValueError, match=r"not a file written by skrdae\.save"):
            load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nothing")
    with pytest.raises(IsADirectoryError):
        load(tmp_path)


# ------------------------------------------------------------------------------------- failures


def test_what_cannot_be_saved_is_named_and_leaves_the_old_file(data, fitted, file):
    before = file.read_bytes()
    foreign = WindowedDetector(IForest(n_estimators=5), window_size=10).fit(data[0])
    with pytest.raises(TypeError, match=r"WindowedDetector\.detector is a pyod.*IForest"):
        save(foreign, file)
    with pytest.raises(NotFittedError):
        save(RobustDeepAutoencoder(), file)
    noted = RobustDeepAutoencoder(**RDA).fit(data[0])
    noted.note = "of Monday"
    with pytest.raises(TypeError, match=r"RobustDeepAutoencoder has 'note', which is not known"):
        save(noted, file)
    wide = RobustDeepAutoencoder(**RDA).fit(data[0]).set_params(random_state=2**70)
    with pytest.raises(TypeError, match=r"random_state is a whole number of more than 64 bits"):
        save(wide, file)
    own = type("Own", (L21,), {})
    with pytest.raises(TypeError, match=r"RobustDeepAutoencoder\.penalty is a .*Own"):
        save(RobustDeepAutoencoder(penalty=own(), **RDA).fit(data[0]), file)
    objects = TableEncoder(ignore=np.array([1], dtype=object)).fit(pd.DataFrame(data[0]))
    with pytest.raises(TypeError, match=r"TableEncoder\.ignore is an array of objects"):
        save(objects, file)
    with pytest.raises(TypeError, match="cannot hold"):
        save(IForest(n_estimators=5).fit(data[0]), file)
    assert file.read_bytes() == before
    assert [p.name for p in file.parent.iterdir()] == ["file"]


def test_ways_out_are_told(data, tmp_path):
    X, file = data[0], tmp_path / "file"
    search = GridSearchCV(RobustPCA(), {"contamination": [0.1]}, scoring=lambda *_: 0.0, cv=2)
    with pytest.raises(TypeError, match=r"save\(search\.best_estimator_\)"):
        save(search.fit(X), file)
    columns = ColumnTransformer([("some", StandardScaler(), [0, 1])])
    with pytest.raises(TypeError, match=r"steps\[0\].*ColumnTransformer.*TableEncoder.*joblib"):
        save(make_pipeline(columns, RobustPCA()).fit(X), file)
    changed = CalibratedDetector(RobustPCA(), cv=2).fit(X).set_params(max_fpr=7)
    with pytest.raises(ValueError, match=r"max_fpr.*[^.]\.$"):
        save(changed, file)


def test_a_write_that_fails_leaves_the_old_file(fitted, file, monkeypatch):
    before = file.read_bytes()

    def refuse(descriptor):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="no space left"):
        save(fitted["vae"], file)
    assert file.read_bytes() == before
    assert [p.name for p in file.parent.iterdir()] == ["file"]
    with pytest.raises(FileNotFoundError):
        save(fitted["vae"], file.parent / "missing" / "file")


def test_without_safetensors_the_error_says_what_to_install(fitted, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ImportError, match=r"skrdae\[export\]"):
        save(fitted["rda"], tmp_path / "file")


def test_another_version_of_scikit_learn_is_pointed_out(fitted, tmp_path):
    save(fitted["pipeline"], tmp_path / "file")
    _rewrite(
        tmp_path / "file",
        change_header=lambda header: header["versions"].update({"scikit-learn": "0.1"}),
    )
    with pytest.warns(UserWarning, match=r"scikit-learn 0\.1"):
        load(tmp_path / "file")


def test_what_another_version_of_scikit_learn_did_not_have_is_its_default(data, tmp_path):
    detector = make_pipeline(MinMaxScaler(), VAEDetector(**VAE)).fit(data[0])
    save(detector, tmp_path / "file")

    def change(tree):
        del tree["state"]["steps"][0]["items"][1]["state"]["clip"]
        return tree

    _rewrite(tmp_path / "file", change_tree=change)
    with pytest.raises(ValueError, match="has no clip"):
        load(tmp_path / "file")
    _rewrite(
        tmp_path / "file",
        change_header=lambda header: header["versions"].update({"scikit-learn": "0.1"}),
    )
    with pytest.warns(UserWarning, match=r"scikit-learn 0\.1"):
        after = load(tmp_path / "file")
    assert after[0].clip is False
    assert np.array_equal(after.decision_function(data[0]), detector.decision_function(data[0]))


def test_what_files_of_earlier_versions_do_not_have_is_made(data, fitted, tmp_path):
    X = data[0]
    for name, place, missing in (
        ("rda", ["model_", "scaler"], ["constant_"]),
        ("vae", [], ["max_samples"]),
        ("gan", [], ["max_samples"]),
        ("windows", [], ["_ordinary", "_end_threshold", "_index_kind", "_own_limits"]),
        ("calibrated", [], ["_held_out"]),
        ("calibrated, series", ["_held_out"], ["p_standing_out"]),
    ):
        save(fitted[name], tmp_path / "file")

        def change(tree, place=place, missing=missing):
            state = tree["state"]
            for step in place:
                state = state[step]["state"]
            for attribute in missing:
                state.pop(attribute, None)
            return tree

        _rewrite(tmp_path / "file", change_tree=change)
        after = load(tmp_path / "file")
        assert np.array_equal(after.decision_function(X), fitted[name].decision_function(X))
        assert after.predict(X).shape == (120,)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_file_loads_on_any_device(data, fitted, tmp_path):
    save(fitted["vae"], tmp_path / "file")
    after = load(tmp_path / "file", device="cuda")
    assert after.device_.type == "cuda"
    np.testing.assert_allclose(
        after.decision_function(data[0]), fitted["vae"].decision_function(data[0]), rtol=1e-4
    )


def test_a_file_goes_back_to_its_device_or_to_the_cpu(fitted, tmp_path, monkeypatch):
    # Whatever else this machine has.
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    save(fitted["vae"], tmp_path / "file")
    assert load(tmp_path / "file").device_ == fitted["vae"].device_

    _rewrite(tmp_path / "file", change_header=lambda header: header.update(device="cuda:99"))
    assert load(tmp_path / "file").device_ == torch.device("cpu")


def test_a_device_that_is_missing_is_an_error(file):
    with pytest.raises(ValueError, match="is not available here"):
        load(file, device="cuda:99")
    assert skrdae.load(file, device="cpu").device_ == torch.device("cpu")
