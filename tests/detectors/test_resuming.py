import io
import os
import pickle
import signal
import subprocess
import sys
import time
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest
import torch
from sklearn.base import clone

from skrdae import (
    AnoGANDetector,
    ConvRobustAutoencoder,
    DenoisingDetector,
    LSTMRobustAutoencoder,
    LSTMVAEDetector,
    OmniAnomalyDetector,
    RobustDeepAutoencoder,
    RobustDeepAutoencoderCV,
    USADDetector,
    VAEDetector,
    load,
    save,
)
from skrdae._checkpoint import read_tree, write_tree
from skrdae.penalties import L21

RDA = {"n_estimators": 3, "random_state": 0}
SLOW = {"n_estimators": 2, "batch_size": 32}  # which are trained on 60 rows
#: detector → the parameter that says how long it is trained
CASES = {
    "rda": (RobustDeepAutoencoder(**RDA), "max_iter"),
    "rda, a number": (RobustDeepAutoencoder(1.5, n_epochs=2, n_estimators=1), "max_iter"),
    # The members end after three, eight and eleven iterations.
    "rda, samples, tol": (RobustDeepAutoencoder(max_samples=0.5, tol=0.06, **RDA), "max_iter"),
    "rda, large batches": (
        RobustDeepAutoencoder("1.5*median", batch_size=512, n_estimators=1),
        "max_iter",
    ),
    "rda, columns": (RobustDeepAutoencoder(penalty="l21_features", **RDA), "max_iter"),
    "vae": (VAEDetector(**RDA), "n_epochs"),
    "vae, draws": (VAEDetector(n_samples=3, **RDA), "n_epochs"),
    "gan": (AnoGANDetector(n_encoder_epochs=4, **RDA), "n_epochs"),
    "encoder": (AnoGANDetector(n_epochs=4, **RDA), "n_encoder_epochs"),
    "search": (AnoGANDetector(inference="search", n_search_iter=2, **RDA), "n_epochs"),
    "usad": (USADDetector(**RDA), "n_epochs"),
    "denoising": (DenoisingDetector(hidden_layer_sizes=(7, 5), **RDA), "n_epochs"),
    "pairs": (AnoGANDetector(inference="bidirectional", **RDA), "n_epochs"),
    "lstm vae": (LSTMVAEDetector(hidden_layer_sizes=(6,), **SLOW), "n_epochs"),
    "omni": (OmniAnomalyDetector(hidden_layer_sizes=(6,), **SLOW), "n_epochs"),
    "conv": (
        ConvRobustAutoencoder(channels=(3,), code_size=3, scaler="robust", n_epochs=2, **SLOW),
        "max_iter",
    ),
    "lstm": (LSTMRobustAutoencoder(hidden_layer_sizes=(6,), n_epochs=2, **SLOW), "max_iter"),
    "gru": (
        LSTMRobustAutoencoder(hidden_layer_sizes=(6,), cell="gru", n_epochs=2, **SLOW),
        "max_iter",
    ),
}
cases = pytest.mark.parametrize("name", CASES)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*did not bring the members below tol"),
    pytest.mark.filterwarnings("ignore:The generator of"),
]


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 6)) + 0.1 * rng.normal(size=(300, 6))
    X[:6] += rng.normal(scale=4, size=(6, 6))
    return X


@pytest.fixture
def rows(name, X):
    """The rows that a case is trained on."""
    return X[:60] if CASES[name][0].batch_size == 32 else X


def _make(name, length, **options):
    detector, parameter = CASES[name]
    seed = {"random_state": 0, parameter: length}
    return clone(detector).set_params(**(seed | options))


def _same(a, b, X):
    assert np.array_equal(a.decision_scores_, b.decision_scores_)
    assert np.array_equal(a.decision_function(X), b.decision_function(X))
    assert a.threshold_ == b.threshold_
    assert np.array_equal(a.labels_, b.labels_)
    assert a.history_ == b.history_
    assert getattr(a, "encoder_history_", None) == getattr(b, "encoder_history_", None)
    assert np.array_equal(getattr(a, "lam_", 0), getattr(b, "lam_", 0))
    assert np.array_equal(a.transform(X), b.transform(X))


@cases
def test_five_and_five_are_ten(name, rows):
    parameter = CASES[name][1]
    whole = _make(name, 10).fit(rows)
    parts = _make(name, 3, warm_start=True).fit(rows)
    assert not np.array_equal(parts.decision_scores_, whole.decision_scores_)
    for length in (5, 10):
        parts.set_params(**{parameter: length}).fit(rows)
    _same(parts, whole, rows)
    again = parts.fit(rows)  # there is nothing left to do
    _same(again, whole, rows)


@pytest.mark.parametrize("name", ["rda", "vae", "gan", "usad", "lstm"])
def test_a_pickle_and_a_file_go_on_as_well(name, rows, tmp_path):
    parameter = CASES[name][1]
    whole = _make(name, 6).fit(rows)
    first = _make(name, 3, warm_start=True).fit(rows)
    save(first, tmp_path / "file")
    for found in (pickle.loads(pickle.dumps(first)), load(tmp_path / "file")):
        _same(found.set_params(**{parameter: 6}).fit(rows), whole, rows)
    assert not hasattr(clone(first), "_kept")
    # Without being asked to a fit begins anew, and forgets.
    fresh = first.set_params(warm_start=False, **{parameter: 6}).fit(rows)
    _same(fresh, whole, rows)
    assert not hasattr(fresh, "_kept")


def test_only_the_same_training_is_gone_on_with(X):
    detector = _make("rda", 3, warm_start=True).fit(X)
    scores = detector.decision_scores_
    for change, words in (
        ({"lr": 0.01}, "lr=0.001"),
        ({"lam": 2.0}, "lam='auto'"),
        ({"hidden_layer_sizes": (8, 2)}, "hidden_layer_sizes='auto'"),
        ({"random_state": 5}, "random_state=0, and here it is 5"),
    ):
        before = detector.get_params()
        with pytest.raises(ValueError, match=f"training with {words}.*: set warm_start=False"):
            detector.set_params(**change).fit(X)
        detector.set_params(**before)
    for other in (X[:-1], X + 1e-9, X.astype(np.float32)):
        with pytest.raises(ValueError, match="training with other rows"):
            detector.fit(other)
    assert detector.decision_scores_ is scores
    with pytest.raises(ValueError, match="has 3 iterations already, and max_iter is 2"):
        detector.set_params(max_iter=2).fit(X)
    detector.set_params(max_iter=6, verbose=0, contamination=0.1).fit(X)
    _same(detector, _make("rda", 6).fit(X), X)


def test_what_stopped_early_goes_on(X):
    whole = _make("rda", 8).fit(X)
    stopped = _make("rda", 8, warm_start=True, callbacks=lambda row: row["iteration"] == 3).fit(X)
    assert stopped.n_iter_ == 3
    _same(stopped.set_params(callbacks=None).fit(X), whole, X)


# --------------------------------------------------------------------------------- checkpoints


@cases
def test_a_checkpoint_is_gone_on_from(name, rows, tmp_path):
    path = tmp_path / "checkpoint"
    whole = _make(name, 6).fit(rows)
    kept = []

    class _Killed(BaseException):
        pass

    def kill(row):
        kept.append(path.read_bytes())
        if row.get("iteration", row.get("epoch")) == 3:
            raise _Killed

    broken = _make(name, 6, checkpoint_path=path, callbacks=kill)
    with pytest.raises(_Killed):
        broken.fit(rows)
    assert len(kept) >= 3
    assert len(set(kept)) == len(kept)
    found = _make(name, 6, checkpoint_path=str(path)).fit(rows)
    _same(found, whole, rows)
    assert list(tmp_path.iterdir()) == []
    # From the very first one, too, and for longer.
    path.write_bytes(kept[0])
    _same(_make(name, 6, checkpoint_path=path).fit(rows), whole, rows)
    path.write_bytes(kept[1])
    longer = _make(name, 7).fit(rows)
    _same(_make(name, 7, checkpoint_path=path).fit(rows), longer, rows)


def test_a_fit_that_ends_removes_its_checkpoint_unless_it_was_interrupted(X, tmp_path):
    path = tmp_path / "checkpoint"
    _make("rda", 3, checkpoint_path=path).fit(X)
    assert list(tmp_path.iterdir()) == []
    with pytest.warns(UserWarning, match="interrupted after 2"):
        _make(
            "rda", 6, checkpoint_path=path, callbacks=lambda row: row["iteration"] == 2 and _press()
        ).fit(X)
    assert path.exists()
    _same(_make("rda", 6, checkpoint_path=path).fit(X), _make("rda", 6).fit(X), X)
    assert not path.exists()


def _press():
    raise KeyboardInterrupt


def test_foreign_checkpoints_are_refused_and_stay(X, tmp_path):
    path = tmp_path / "checkpoint"
    with pytest.raises(RuntimeError):
        _make("rda", 6, checkpoint_path=path, callbacks=_fail).fit(X)
    content = path.read_bytes()
    detector = _make("rda", 6, checkpoint_path=path)
    for options, rows, words in (
        (
            {"lr": 0.01},
            X,
            r"holds a training with lr=0\.001, and here it is 0\.01: remove the file",
        ),
        ({}, X[1:], "other rows"),
    ):
        with pytest.raises(ValueError, match=words):
            clone(detector).set_params(**options).fit(rows)
    with pytest.raises(ValueError, match="detector=RobustDeepAutoencoder"):
        _make("vae", 6, checkpoint_path=path).fit(X)
    tree = read_tree(path)
    tree["settings"]["version"] = "0.0"
    write_tree(path, tree)
    with pytest.raises(ValueError, match=r"version=0\.0, and here it is '?\d"):
        detector.fit(X)
    for wrong in (b"", b"nothing", content[:-100], content[:200] + b"x" + content[201:]):
        path.write_bytes(wrong)
        with pytest.raises(ValueError, match="no checkpoint, or it is damaged"):
            detector.fit(X)
        assert path.read_bytes() == wrong
    for wrong in (tmp_path, tmp_path / "nowhere" / "file"):
        with pytest.raises(ValueError, match="checkpoint_path"):
            clone(detector).set_params(checkpoint_path=wrong).fit(X)
    with pytest.raises(ValueError, match="checkpoint_path"):
        clone(detector).set_params(checkpoint_path=3).fit(X)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="is no file"):
        clone(detector).set_params(checkpoint_path=tmp_path / "pipe").fit(X)
    for wrong in ({}, {"settings": {}, "seeds": 1}):
        write_tree(path, wrong)
        with pytest.raises(ValueError, match="is no checkpoint"):
            detector.fit(X)
    np.save(path.with_suffix(".npy"), X)
    with pytest.raises(ValueError, match=r"is no checkpoint, or it is damaged\.$"):
        clone(detector).set_params(checkpoint_path=path.with_suffix(".npy")).fit(X)


# What may be wrong in a state, by place and what becomes of it.
NAN = float("nan")
WRONG = {
    "rda": [
        ("seeds", lambda a: a[:2]),
        ("seeds", lambda a: a - 2**40),
        ("seeds", lambda a: a.astype(float)),
        ("seeds", lambda a: [1, 2, 3]),
        ("state", lambda s: None),
        ("state", lambda s: {}),
        ("state iteration", lambda n: n + 1),
        ("state iteration", lambda n: 10**12),
        ("state history", lambda rows: rows[:1]),
        ("state history", lambda rows: rows[::-1]),
        ("state history 0", lambda row: {"iteration": 1}),
        ("state history 0 objective", lambda n: "x"),
        ("state all_done", lambda b: 0),
        ("state weights", lambda w: w[:-1]),
        ("state weights 0", lambda w: w[..., :1]),
        ("state weights 0", lambda w: w.double()),
        ("state weights 0", lambda w: w * NAN),
        ("state weights 0", lambda w: w.numpy()),
        ("state found", lambda f: [*f, *f]),
        ("state norms", lambda f: [torch.zeros(3, 1, 6)]),
        ("state stack members", lambda m: m[:1]),
        ("state stack members", lambda m: m + 1),
        ("state stack members", lambda m: m * 0),
        ("state stack weights 3", lambda w: w[:, :, :1]),
        ("state stack adam mean", lambda m: m[:1]),
        ("state stack adam square", lambda m: -1 - m),
        ("state stack adam n_steps", lambda n: -1),
        ("state stack adam n_steps", lambda n: float(n)),
        ("state stack generators", lambda g: g[:1]),
        ("state stack generators 0", lambda g: g[:100]),
        ("state stack generators 0", lambda g: g * 0),
        ("state stack tensors 0", lambda m: m[:, 1:]),
        ("state stack tensors 1", lambda m: m[:, 1:]),
        ("state stack tensors 2", lambda lam: -lam),
        ("state stack tensors 3", lambda m: m[:1]),
        ("settings lr", lambda text: 1),
        ("settings", lambda settings: None),
    ],
    "rda, columns": [
        ("state norms 0", lambda a: a[..., :1]),
        ("state norms", lambda a: []),
        ("state found", lambda a: [a[0], torch.zeros(3, 1, 2)]),
    ],
    "rda, samples, tol": [("state stack tensors 0", lambda m: m.repeat(1, 2, 1))],
    "vae": [
        ("state tensors", lambda t: t[:-1]),
        ("state tensors 8", lambda t: t * 0),
        ("state adam mean", lambda m: m[:1]),
        ("state generators", lambda g: g[:1]),
        ("state history 0", lambda row: row | {"more": 1}),
    ],
    "gan": [
        ("state gan", lambda s: None),
        ("state gan critic n_steps", lambda n: n + 1),
        ("state gan tensors 10", lambda t: t[..., :1]),
        ("state gan tensors", lambda t: t[::-1]),
        ("state gan critic mean", lambda m: m[:1]),
        ("state encoder", lambda s: {}),
    ],
    "search": [("state encoder", lambda s: {"history": []})],
    "pairs": [
        ("state encoder", lambda s: {"history": []}),
        ("state gan coder n_steps", lambda n: n + 1),
        ("state gan coder mean", lambda m: m[:1]),
        ("state gan tensors", lambda t: t[:-1]),
    ],
    "lstm": [("state weights 0", lambda w: w[:, :16])],
}


def _changed(node, place, change):
    if not place:
        return change(node)
    key, made = place[0], node.copy()
    key = int(key) if isinstance(node, list) else key
    made[key] = _changed(node[key], place[1:], change)
    return made


@pytest.mark.parametrize("name", WRONG)
def test_a_state_that_does_not_fit_is_refused_and_stays(name, rows, tmp_path):
    path = tmp_path / "checkpoint"

    def cut(row):
        if row.get("iteration", row.get("epoch")) == 2:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        _make(name, 6, checkpoint_path=path, callbacks=cut).fit(rows)
    tree = read_tree(path)
    fitted = _make(name, 2).fit(rows)
    scores = fitted.decision_scores_
    fitted.set_params(checkpoint_path=path, **{CASES[name][1]: 6})
    for place, change in WRONG[name]:
        write_tree(path, _changed(tree, place.split(), change))
        content = path.read_bytes()
        with pytest.raises(
            ValueError, match=r"no checkpoint|not a state of this training"
        ) as caught:
            fitted.fit(rows)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert path.read_bytes() == content
        assert fitted.decision_scores_ is scores
    # What warm_start goes on from is held against the training as well.
    warm = _make(name, 2, warm_start=True).fit(rows)
    place, change = WRONG[name][-1]
    if place.startswith("state"):
        warm._kept = _changed(warm._kept, place.split(), change)
        with pytest.raises(ValueError, match="set warm_start=False to begin anew"):
            warm.set_params(**{CASES[name][1]: 6}).fit(rows)


def _archive(parts, compression=zipfile.ZIP_STORED, **options):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name twice
        for name, content in parts:
            archive.writestr(name, content)
    return file.getvalue()


def _npy(array, header=None):
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=True)
    if header is None:
        return file.getvalue()
    text = repr(header).encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def test_archives_that_no_training_wrote(tmp_path):
    """Whatever zipfile, zlib and NumPy raise of them is one ValueError, and nothing is unpacked."""
    path = tmp_path / "checkpoint"
    tree = _npy(np.frombuffer(b'{"dict": {}}', np.uint8))
    good = _archive([("tree.npy", tree)])
    path.write_bytes(good)
    assert read_tree(path) == {}
    entry = good.index(b"PK\x01\x02")
    bomb = _npy(np.zeros(2**24, np.uint8))

    def at(place, value):
        return good[:place] + value + good[place + len(value) :]

    huge = {"descr": "<f8", "fortran_order": False, "shape": (1 << 50,)}
    wrong = {
        "compressed": _archive([("tree.npy", tree)], zipfile.ZIP_DEFLATED),
        "a bomb": _archive([("tree.npy", tree), ("a0.npy", bomb)], zipfile.ZIP_DEFLATED),
        "no way of compression": at(entry + 10, b"\x63\x00"),
        "encrypted": at(entry + 8, b"\x01\x00"),
        "larger than the file": at(entry + 20, b"\xff\xff\xff\x7f\xff\xff\xff\x7f"),
        "twice": _archive([("tree.npy", tree), ("tree.npy", tree)]),
        "no tree": _archive([("a0.npy", tree)]),
        "more": _archive([("tree.npy", tree), ("a0.npy", _npy(np.zeros(3)))]),
        "no array": _archive([("tree.npy", b"x" * 100)]),
        "objects": _archive([("tree.npy", _npy(np.array([{}])))]),
        "text": _archive([("tree.npy", _npy(np.array(["x"])))]),
        "a huge array": _archive([("tree.npy", _npy(0, huge))]),
        "less than none": _archive([("tree.npy", _npy(0, huge | {"shape": (-1,)}))]),
        "a field": _archive([("tree.npy", _npy(np.zeros(3, [("a", "f8")])))]),
        "no JSON": _archive([("tree.npy", _npy(np.frombuffer(b"{", np.uint8)))]),
        "no text": _archive([("tree.npy", _npy(np.frombuffer(b"\xff\xfe", np.uint8)))]),
    }
    for text in (
        '{"dict": 1}',
        '{"dict": {}, "more": 1}',
        '{"array": "a0", "tensor": true}',
        '{"array": "tree", "tensor": true}',
        '{"array": [], "tensor": true}',
        '{"dict": {}, "dict": {}}',
        "[" * 3000 + "]" * 3000,
        "9" * 5000,
    ):
        wrong[text[:30]] = _archive([("tree.npy", _npy(np.frombuffer(text.encode(), np.uint8)))])
    for name, content in wrong.items():
        path.write_bytes(content)
        tracemalloc.start()
        with pytest.raises(ValueError, match=r"is no checkpoint, or it is damaged\.$"):
            read_tree(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 20 * len(content) + 2**20, name


def test_arrays_of_any_layout_come_back(tmp_path):
    tree = {
        "a": torch.arange(6.0).view(2, 3).T,
        "b": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "c": torch.zeros(3, 0, 2),
        "d": np.array(3.0),
        "e": [torch.tensor(True), "text", None, NAN],
    }
    write_tree(tmp_path / "file", tree)
    found = read_tree(tmp_path / "file")
    assert torch.equal(found["a"], tree["a"])
    assert np.array_equal(found["b"], tree["b"])
    assert found["c"].shape == (3, 0, 2)
    assert found["d"].shape == ()
    assert found["e"][:3] == tree["e"][:3]


def test_nothing_else_is_touched(X, tmp_path):
    others = [tmp_path / name for name in (".file-production", ".file-abcdefgh", "file.bak")]
    for other in others:
        other.write_text("mine")
    (tmp_path / ".file-folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "file")
    _make("rda", 3, checkpoint_path=tmp_path / "link").fit(X)
    assert [other.read_text() for other in others] == ["mine"] * 3
    assert (tmp_path / "link").is_symlink()
    assert not (tmp_path / "file").exists()


def test_what_a_killed_write_left_is_removed_and_nothing_of_others(X, tmp_path):
    left = tmp_path / ".run[1]-abcdefgh.skrdae-part"
    others = [tmp_path / f".{name}-abcdefgh.skrdae-part" for name in ("run1", "run[2]", "run[1]-2")]
    for path in (left, *others):
        path.write_bytes(b"half")
    folder = tmp_path / ".run[1]-ijklmnop.skrdae-part"  # which cannot be removed
    folder.mkdir()
    _make("rda", 3, checkpoint_path=tmp_path / "run[1]").fit(X)
    assert sorted(tmp_path.iterdir()) == sorted([*others, folder])


def test_a_file_from_a_stranger_has_no_place_to_write_to(X, tmp_path):
    detector = _make("rda", 3, checkpoint_path=tmp_path / "vault").fit(X)
    save(detector, tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.checkpoint_path is None
    # Even if the file says so.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skrdae.persistence.writing.LEFT_OUT", {"callbacks"})
        save(detector.set_params(checkpoint_path=str(tmp_path / "vault")), tmp_path / "model")
    assert load(tmp_path / "model").checkpoint_path is None


def test_sizes_are_compared_by_value(X):
    detector = _make("rda", 3, warm_start=True, hidden_layer_sizes=[8, 4]).fit(X)
    detector.set_params(hidden_layer_sizes=np.array([8, 4]), max_iter=4).fit(X)
    assert detector.n_iter_ == 4
    with pytest.raises(ValueError, match="hidden_layer_sizes"):
        detector.set_params(hidden_layer_sizes=np.array([4, 4]), max_iter=5).fit(X)
    for same in (8.0, np.float32(8)), ("l21", L21()), (1, np.int64(1)):
        name = {8.0: "lam", "l21": "penalty", 1: "tol"}[same[0]]
        detector = _make("rda", 2, warm_start=True, **{name: same[0]}).fit(X)
        detector.set_params(max_iter=3, **{name: same[1]}).fit(X)
        _same(detector, _make("rda", 3, **{name: same[0]}).fit(X), X)
    few = _make("rda", 2, warm_start=True, max_samples=1).fit(X)
    with pytest.raises(ValueError, match=r"max_samples=1, and here it is 1\.0"):
        few.set_params(max_samples=1.0, max_iter=3).fit(X)
    vae = _make("vae", 3, warm_start=True, beta=1).fit(X)
    vae.set_params(beta=1.0, contamination=0.3, n_epochs=4).fit(X)  # which no training knows of
    _same(vae, _make("vae", 4, contamination=0.3).fit(X), X)


class _Weighted(L21):
    """Rows' norms with weights of the features."""

    def __init__(self, weights):
        self.weights = weights

    def norms(self, residual):
        return super().norms(residual * torch.as_tensor(self.weights, device=residual.device))


def test_all_of_a_penalty_is_compared():
    X = np.random.default_rng(0).normal(size=(60, 1100))  # more weights than a repr shows
    weights, others = torch.ones(1100), torch.ones(1100)
    others[550] = 50
    options = {"n_estimators": 1, "max_samples": 30, "warm_start": True}
    for first, second in ((weights, others), (weights.numpy(), others.numpy())):
        detector = _make("rda", 2, penalty=_Weighted(first), **options).fit(X)
        with pytest.raises(ValueError, match=r"training with penalty=_Weighted.*, and here"):
            detector.set_params(penalty=_Weighted(second), max_iter=3).fit(X)
        detector.set_params(penalty=_Weighted(first * 1), max_iter=3).fit(X)
        assert detector.n_iter_ == 3


def _fail(row):
    if row["iteration"] == 2:
        raise RuntimeError


def test_a_write_that_fails_leaves_the_checkpoint_before(X, tmp_path, monkeypatch):
    path = tmp_path / "checkpoint"
    with pytest.raises(RuntimeError):
        _make("rda", 6, checkpoint_path=path, callbacks=_fail).fit(X)
    content = path.read_bytes()

    def refuse(descriptor):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", refuse)
    detector = _make("rda", 6, checkpoint_path=path)
    with pytest.raises(OSError, match="no space left"):
        detector.fit(X)
    assert path.read_bytes() == content
    assert not hasattr(detector, "decision_scores_")


def test_the_search_for_lam_takes_neither(X):
    assert not {"warm_start", "checkpoint_path"} & RobustDeepAutoencoderCV().get_params().keys()
    RobustDeepAutoencoderCV([4.0, 2.0], cv=2, **RDA).fit(X)


_SCRIPT = """
import sys, numpy as np
from skrdae import RobustDeepAutoencoder
X = np.load(sys.argv[1])
detector = RobustDeepAutoencoder(
    max_iter=40,
    random_state=0,
    checkpoint_path=sys.argv[2],
    callbacks=lambda row: print(flush=True),
)
detector.fit(X)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_process_is_gone_on_from(X, tmp_path):
    np.save(tmp_path / "X.npy", X)
    folder = tmp_path / "work"
    folder.mkdir()
    names = ("X.npy", "work/checkpoint")
    command = [sys.executable, "-c", _SCRIPT, *(str(tmp_path / name) for name in names)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as running:
        for _ in range(3):
            running.stdout.readline()
        time.sleep(0.003)
        running.kill()
    n_done = read_tree(folder / "checkpoint")["state"]["iteration"]
    assert 3 <= n_done <= 40
    rest = []
    options = {"max_iter": 40, "random_state": 0}
    detector = RobustDeepAutoencoder(
        **options, checkpoint_path=folder / "checkpoint", callbacks=rest.append
    ).fit(X)
    assert [row["iteration"] for row in rest] == list(range(n_done + 1, 41))
    whole = RobustDeepAutoencoder(**options).fit(X)
    assert np.array_equal(detector.decision_scores_, whole.decision_scores_)
    assert list(folder.iterdir()) == []


def test_a_training_of_an_earlier_version_is_one_on_all_rows(X):
    whole = _make("vae", 6, max_samples=1.0).fit(X)
    first = _make("vae", 3, max_samples=1.0, warm_start=True).fit(X)
    del first._kept["settings"]["max_samples"]
    other = clone(first).set_params(max_samples=None, n_epochs=6)
    other.__dict__.update({k: v for k, v in vars(first).items() if k not in other.get_params()})
    with pytest.raises(ValueError, match=r"training with max_samples=1.0, and here it is None"):
        other.fit(X)
    _same(first.set_params(n_epochs=6).fit(X), whole, X)
