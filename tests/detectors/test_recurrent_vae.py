import pickle

import numpy as np
import pytest
import torch
from detector_contract import DetectorContract

from skrdae import LSTMVAEDetector, OmniAnomalyDetector, WindowedDetector, load, save, to_onnx
from skrdae._device import plain_torch


class _Contract(DetectorContract):
    brief = {"n_epochs": 1, "batch_size": 128, "hidden_layer_sizes": (4,), "lr": 2e-2}
    wrong = (
        ({"n_channels": 0}, "n_channels"),
        ({"n_channels": 3}, "n_channels=3 does not divide"),
        ({"latent_dim": 0}, "latent_dim"),
        ({"hidden_layer_sizes": ()}, "hidden_layer_sizes"),
        ({"n_epochs": 0}, "n_epochs"),
        ({"max_samples": 0}, "max_samples"),
    )


class TestContractOfLSTMVAE(_Contract):
    detector = LSTMVAEDetector
    variants = (
        {},
        {"n_estimators": 2, "hidden_layer_sizes": (5, 3), "progress": 0, "latent_dim": 1},
    )
    wrong = (*_Contract.wrong, ({"progress": -1.0}, "progress"), ({"progress": 1e300}, "progress"))
    after_fit = (({}, {"n_channels": 3, "progress": 0.0}),)


class TestContractOfOmniAnomaly(_Contract):
    detector = OmniAnomalyDetector
    found = 5
    variants = (
        {},
        {"n_estimators": 2, "hidden_layer_sizes": (5, 3), "n_flows": 0, "latent_dim": 1},
    )
    wrong = (*_Contract.wrong, ({"n_flows": -1}, "n_flows"))
    after_fit = (({}, {"n_channels": 3, "n_flows": 2}),)


@pytest.fixture(scope="module", params=[LSTMVAEDetector, OmniAnomalyDetector])
def cls(request):
    return request.param


def _waves(n=200, n_steps=12, n_channels=2, seed=0):
    """Windows of sines of any phase, (n, T, c), and five of them out of order."""
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 2 * np.pi, size=(n, 1, 1)) + 0.5 * np.arange(n_channels)
    X = np.sin(phase + np.arange(n_steps)[:, None] / 2)
    X += 0.05 * rng.normal(size=X.shape)
    for row in range(0, 5):
        X[row] = X[row, rng.permutation(n_steps)]
    return X


def _fit(cls, X, **options):
    return cls(**({"random_state": 0, "n_channels": 2} | options)).fit(X)


@pytest.fixture(scope="module")
def fitted(cls):
    return _fit(cls, _waves())


def test_windows_out_of_order_are_found(cls):
    detector = _fit(cls, _waves(400), contamination=5 / 400)
    assert set(np.flatnonzero(detector.labels_)) == set(range(5))


def test_the_score_is_the_likelihood_but_for_a_constant(fitted):
    X = _waves()
    rows = fitted.model_.rows(X.reshape(200, 24)).take(slice(None))[None]
    with plain_torch():
        found = fitted.network_.infer(rows.clamp(-10, 10))
    p = torch.distributions.Normal(found.mean, torch.exp(0.5 * found.log_variance))
    exact = torch.distributions.Normal(0.0, 0.1).log_prob(torch.zeros(())).item()  # the least
    nll = (exact - p.log_prob(rows.view(1, 200, 12, 2))).sum(dim=(2, 3))[0]
    np.testing.assert_allclose(fitted.decision_scores_, nll.cpu(), rtol=1e-4)


def test_rows_and_arrays_are_the_same_windows(cls, fitted):
    X = _waves()
    rows = X.reshape(200, 24)
    assert np.array_equal(_fit(cls, rows).decision_scores_, fitted.decision_scores_)
    assert np.array_equal(fitted.decision_function(rows), fitted.decision_function(X.tolist()))
    codes = fitted.transform(X)
    assert codes.shape == (200, 12 * 2)
    back = fitted.inverse_transform(codes)
    assert np.square(back - rows).mean() < 0.5 * rows.var()


def test_shares_are_told_by_step_and_channel(fitted):
    X = _waves()
    X[50, 7, 1] += 6
    shares = fitted.explain(X)
    assert shares.shape == X.shape
    assert np.unravel_index(shares[50].argmax(), (12, 2)) == (7, 1)
    np.testing.assert_allclose(shares.sum(axis=(1, 2)), fitted.decision_function(X), rtol=1e-5)


def test_the_first_member_of_an_ensemble_is_the_single_fit(cls):
    X = _waves()
    # To the last bit on a CPU.
    options = {"max_samples": 100, "n_epochs": 2, "device": "cpu"}
    many, one = _fit(cls, X, n_estimators=3, **options), _fit(cls, X, **options)
    for a, b in zip(many.network_.parameters(), one.network_.parameters(), strict=True):
        assert torch.equal(a[:1], b)


def test_data_in_any_unit_train_alike(cls):
    X = _waves()
    scores = [
        _fit(cls, size * X, scaler=None, n_epochs=2).decision_scores_
        for size in (2.0**-60, 1.0, 2.0**9)
    ]
    for found in scores[1:]:
        np.testing.assert_allclose(found, scores[0], rtol=1e-3)


def test_saved_pickled_and_gone_on_with(cls, tmp_path):
    X = _waves()
    whole, first = _fit(cls, X, n_epochs=4), _fit(cls, X, n_epochs=2, warm_start=True)
    save(first, tmp_path / "file")
    for found in (load(tmp_path / "file"), pickle.loads(pickle.dumps(first))):
        assert np.array_equal(found.decision_function(X), first.decision_scores_)
        found.set_params(n_epochs=4).fit(X)
        assert np.array_equal(found.decision_scores_, whole.decision_scores_)
        assert found.history_ == whole.history_


def test_a_graph_is_refused_with_a_reason(fitted, tmp_path):
    with pytest.raises(TypeError, match="no nodes for a LikelihoodScorer of a Member"):
        to_onnx(fitted, tmp_path / "file.onnx")


def test_windows_that_do_not_fit_the_channels(cls, fitted):
    X = _waves()
    with pytest.raises(ValueError, match=r"23 values a row, which n_channels=2 does not divide"):
        _fit(cls, X.reshape(200, 24)[:, :23])
    with pytest.raises(ValueError, match=r"X has 2 channels, its last axis, but n_channels is 3"):
        _fit(cls, X, n_channels=3)
    with pytest.raises(ValueError, match="windows of 6 steps, but the detector is fitted to"):
        fitted.predict(X[:, :6])


def test_steps_of_a_series_are_found(cls):
    rng = np.random.default_rng(0)
    steps = np.arange(600)[:, None]
    noise = 0.1 * rng.normal(size=(600, 2))
    series = np.sin(2 * np.pi * steps / 24 + np.array([0.0, 1.0])) + noise
    series[400:430, 1] += 2
    detector = WindowedDetector(cls(n_channels=2, random_state=0), window_size=24, stride=2)
    detector.fit(series)
    assert 395 <= detector.decision_scores_.argmax() <= 435
    assert detector.detector_.explain(series[None, 390:414]).shape == (1, 24, 2)
