"""The detector that docs/add_a_detector.md adds: a robust Transformer, without a line elsewhere."""

import pickle

import numpy as np
import onnxruntime
import pytest
from detector_contract import DetectorContract
from pages import ROOT, module_in

from skrdae import WindowedDetector, load, save, to_onnx

PAGE = ROOT / "docs" / "add_a_detector.md"
TransformerDetector = module_in(PAGE, "transformer_detector").TransformerDetector


class TestContract(DetectorContract):
    detector = TransformerDetector
    brief = {"max_iter": 2, "width": 8, "code_size": 4, "batch_size": 128, "lr": 1e-2}
    variants = ({}, {"n_estimators": 2, "lam": 1.0, "patch_size": 3})
    after_fit = (({}, {"width": 6, "code_size": 3}),)
    wrong = (({"patch_size": 0}, "patch_size"), ({"width": 7}, "width"))


@pytest.fixture(scope="module")
def windows():
    rng = np.random.default_rng(0)
    phase = rng.uniform(0, 2 * np.pi, size=(200, 1))
    X = np.sin(phase + np.arange(18) / 3) + 0.05 * rng.normal(size=(200, 18))
    X[7] = rng.permutation(X[7])
    return X


def fitted(X, **options):
    return TransformerDetector(
        **{"random_state": 0, "n_estimators": 2, "max_iter": 3} | options
    ).fit(X)


def test_it_is_as_short_as_the_page_says():
    source = PAGE.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    assert len(source.splitlines()) <= 110


def test_a_member_is_the_same_fitted_alone(windows):
    # To the last bit on a CPU.
    options = {"lam": 1.0, "device": "cpu"}
    ensemble, alone = (fitted(windows, n_estimators=n, **options) for n in (3, 1))
    for mine, theirs in zip(
        ensemble.network_.parameters(), alone.network_.parameters(), strict=True
    ):
        assert np.array_equal(mine[:1].numpy(), theirs.numpy())


def test_a_warm_start_gives_one_training(windows):
    detector = fitted(windows, max_iter=2, warm_start=True)
    detector.set_params(max_iter=4).fit(windows)
    assert np.array_equal(detector.decision_scores_, fitted(windows, max_iter=4).decision_scores_)


def test_saved_and_loaded(windows, tmp_path):
    detector = fitted(windows, contamination="auto")
    save(detector, tmp_path / "detector.safetensors")
    for again in (load(tmp_path / "detector.safetensors"), pickle.loads(pickle.dumps(detector))):
        assert np.array_equal(again.decision_function(windows), detector.decision_scores_)
        assert np.array_equal(again.predict(windows), detector.labels_)
        assert np.array_equal(again.transform(windows), detector.transform(windows))


@pytest.mark.parametrize("n_rows", [1, 7, 200])
def test_onnx(windows, tmp_path, n_rows):
    detector = fitted(windows)
    to_onnx(detector, tmp_path / "detector.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "detector.onnx"))
    X = windows[:n_rows].astype(np.float32)
    scores, labels = session.run(None, {"X": X})
    np.testing.assert_allclose(scores, detector.decision_function(X), rtol=1e-5)
    assert np.array_equal(labels, detector.predict(X))


def test_checkpoints(windows, tmp_path):
    path = tmp_path / "training"

    def interrupt(row):
        if row["iteration"] == 2:
            raise RuntimeError

    detector = TransformerDetector(
        n_estimators=2, max_iter=4, random_state=0, checkpoint_path=path, callbacks=interrupt
    )
    with pytest.raises(RuntimeError):
        detector.fit(windows)
    assert path.exists()
    detector.set_params(callbacks=None).fit(windows)
    assert np.array_equal(detector.decision_scores_, fitted(windows, max_iter=4).decision_scores_)


def test_in_windows():
    rng = np.random.default_rng(0)
    series = np.sin(np.arange(600) / 5) + 0.05 * rng.normal(size=600)
    series[300:310] += 2
    detector = WindowedDetector(
        TransformerDetector(random_state=0, contamination=0.05), window_size=24
    ).fit(series)
    assert 295 <= detector.decision_scores_.argmax() <= 315
    again = pickle.loads(pickle.dumps(detector))
    assert np.array_equal(again.decision_function(series), detector.decision_function(series))
