import contextlib
import functools
import pickle

import numpy as np
import pytest
import torch
from joblib import Parallel, delayed
from scipy.sparse import csr_matrix
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
    RobustPCA,
    USADDetector,
    VAEDetector,
)
from skrdae._device import exact_arithmetic, resolve_device
from skrdae.model import FittedModel


def test_names_and_objects():
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device(torch.device("cpu")) == torch.device("cpu")
    expected = "cuda" if torch.cuda.is_available() else None
    if expected is None and not torch.backends.mps.is_available():
        expected = "cpu"
    assert expected is None or resolve_device("auto").type == expected


@pytest.mark.parametrize(
    ("device", "error"),
    [
        ("toaster", ValueError),
        ("cuda:77", ValueError),
        ("meta", ValueError),
        ("hpu", ValueError),
        (None, TypeError),
    ],
)
def test_what_is_not_there_is_an_error(device, error):
    with pytest.raises(error, match="device"):
        resolve_device(device)


DETECTORS = {
    "robust": RobustDeepAutoencoder(n_estimators=2, random_state=0),
    "convolutions": ConvRobustAutoencoder(
        max_iter=2, scaler="robust", channels=(3,), random_state=0
    ),
    "LSTM": LSTMRobustAutoencoder(max_iter=2, random_state=0),
    "GRU": LSTMRobustAutoencoder(cell="gru", max_iter=2, random_state=0),
    "VAE": VAEDetector(n_estimators=2, n_epochs=2, random_state=0),
    "Bernoulli VAE": VAEDetector(
        likelihood="bernoulli", n_samples=2, n_estimators=2, n_epochs=2, random_state=0
    ),
    "GAN": AnoGANDetector(n_estimators=2, n_epochs=2, n_encoder_epochs=2, random_state=0),
    "GAN, search": AnoGANDetector(inference="search", n_estimators=2, n_epochs=2, random_state=0),
    "LSTM-VAE": LSTMVAEDetector(n_epochs=2, random_state=0),
    "OmniAnomaly": OmniAnomalyDetector(n_epochs=2, random_state=0),
    "denoising": DenoisingDetector(n_epochs=2, random_state=0),
    "USAD": USADDetector(n_estimators=2, n_epochs=2, random_state=0),
    "PCA": RobustPCA(),
    "CV": RobustDeepAutoencoderCV(3, cv=2, n_estimators=2, random_state=0),
}


@contextlib.contextmanager
def _rounded_products():
    """Allow products of rounded factors, as programs that train large networks do."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    settings = _settings_of_products()
    yield
    assert _settings_of_products() == settings
    torch.set_float32_matmul_precision(before)


def _settings_of_products():
    backends = torch.backends
    return backends.mkldnn.matmul.fp32_precision, backends.cudnn.rnn.fp32_precision


MODES = {
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "inference mode": torch.inference_mode,
    "gradients": torch.enable_grad,
    "rounded products": _rounded_products,
}


@functools.cache
def _fitted(name):
    return clone(DETECTORS[name]).fit(np.random.default_rng(0).normal(size=(80, 4)))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", DETECTORS)
def test_modes_of_torch_have_no_say(name, mode):
    X = np.random.default_rng(0).normal(size=(80, 4))
    expected = _fitted(name)
    with MODES[mode]():
        found = clone(DETECTORS[name]).fit(X)
        assert np.array_equal(found.decision_function(X), expected.decision_scores_)
        assert np.array_equal(expected.decision_function(X), expected.decision_scores_)
        codes = found.transform(X)
        np.testing.assert_array_equal(codes, expected.transform(X))
        decoded = found.inverse_transform(codes)
    assert np.array_equal(found.decision_function(X), expected.decision_scores_)
    assert np.array_equal(decoded, expected.inverse_transform(codes))
    # What was made under a mode can be used, and trained further, without it.
    if hasattr(found, "partial_fit"):
        with MODES[mode]():
            found = clone(DETECTORS[name]).partial_fit(X)
        assert np.isfinite(found.partial_fit(X).decision_scores_).all()


def test_the_last_of_several_threads_puts_the_settings_back():
    with _rounded_products():
        with exact_arithmetic:
            exact_arithmetic.__enter__()  # another thread
            exact_arithmetic.__exit__(None, None, None)
            assert _settings_of_products() == (
                "ieee",
                "ieee" if torch.backends.cuda.is_built() else "tf32",
            )
        assert _settings_of_products() == ("bf16", "tf32")


@pytest.mark.skipif(
    not hasattr(torch.backends, "fp32_precision"), reason="needs settings for each operation"
)
def test_what_was_inherited_stays_so():
    matmul, before = torch.backends.mkldnn.matmul, torch.backends.fp32_precision
    torch.backends.fp32_precision = "tf32"
    was = matmul.fp32_precision
    with exact_arithmetic:
        assert matmul.fp32_precision == "ieee"
    assert matmul.fp32_precision == was
    torch.backends.fp32_precision = "ieee"
    assert matmul.fp32_precision == "ieee"
    torch.backends.fp32_precision = before


def test_a_pickle_names_its_device_and_falls_back_to_the_cpu():
    X = np.random.default_rng(0).normal(size=(60, 3))
    for name in ("robust", "VAE", "GAN"):
        detector = clone(DETECTORS[name]).set_params(device="cpu").fit(X)
        state = detector.model_.__getstate__()
        assert state["device"] == "cpu"
        model = FittedModel.__new__(FittedModel)
        model.__setstate__(state | {"device": "cuda:77"})
        assert model.device == torch.device("cpu")
        detector.model_ = model
        assert np.array_equal(detector.decision_function(X), detector.decision_scores_)


def test_a_pickle_goes_back_to_its_device(monkeypatch):
    X = np.random.default_rng(0).normal(size=(60, 3))
    state = pickle.dumps(clone(DETECTORS["VAE"]).fit(X))
    # There may be no other device here that computes; this one at least takes the weights.
    meta = torch.device("meta")
    monkeypatch.setattr("skrdae.model.device_if_there", lambda device: meta)
    again = pickle.loads(state)
    assert again.device_ == meta
    assert {p.device for p in again.network_.parameters()} == {meta}
    scorer = again.model_.scorer
    assert scorer.draws.device == scorer.variance.device == meta


def test_a_pickle_asks_for_its_device_when_it_is_used(monkeypatch):
    X = np.random.default_rng(0).normal(size=(60, 3))
    detector = clone(DETECTORS["robust"]).set_params(device="cpu").fit(X)
    asked = []

    def device_if_there(device):
        asked.append(device)
        return torch.device("cpu")

    monkeypatch.setattr("skrdae.model.device_if_there", device_if_there)
    again = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(detector))))
    assert again.threshold_ == detector.threshold_
    assert asked == []
    found = Parallel(4, "threading")(delayed(again.decision_function)(X) for _ in range(8))
    assert set(asked) == {"cpu"}
    assert all(np.array_equal(scores, detector.decision_scores_) for scores in found)
    with pytest.raises(AttributeError, match="'FittedModel' object has no attribute 'other'"):
        again.model_.other  # noqa: B018


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", DETECTORS)
def test_a_pickle_scores_on_the_gpu_again(name):
    X = np.random.default_rng(0).normal(size=(60, 3))
    detector = clone(DETECTORS[name]).set_params(device="cuda").fit(X)
    again = pickle.loads(pickle.dumps(detector))
    assert again.device_.type == "cuda"
    assert np.array_equal(again.decision_function(X), detector.decision_function(X))


@pytest.mark.parametrize("name", ["robust", "LSTM"])
def test_rows_on_another_device_than_the_weights_are_an_error(name):
    X = np.random.default_rng(0).normal(size=(60, 4))
    network = clone(DETECTORS[name]).fit(X).network_.to("meta")
    with pytest.raises(ValueError, match="rows are on cpu, the weights of the network on meta"):
        network(torch.zeros(network.n_members, 5, 4))


def test_sparse_rows_are_trained_on_by_the_cpu_unless_another_device_is_named(monkeypatch):
    X = csr_matrix(np.random.default_rng(0).poisson(0.3, size=(80, 6)).astype(float))
    monkeypatch.setattr(
        "skrdae.detectors.base.resolve_device",
        lambda device: torch.device("meta" if device in ("auto", "meta") else device),
    )
    for detector in (DETECTORS["robust"], DETECTORS["VAE"]):
        assert clone(detector).fit(X).device_ == torch.device("cpu")
        with pytest.raises(ValueError, match="device='cpu'"):
            clone(detector).set_params(device="meta").fit(X)
