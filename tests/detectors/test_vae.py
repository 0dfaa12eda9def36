import numpy as np
import pytest
import torch
from detector_contract import DetectorContract
from sklearn.exceptions import NotFittedError

from skrdae import VAEDetector, to_onnx


def _fit(X, **options):
    return VAEDetector(**({"random_state": 0} | options)).fit(X)


class TestContract(DetectorContract):
    detector = VAEDetector
    brief = {"n_epochs": 5}
    variants = (
        {},
        {"likelihood": "bernoulli"},
        {"n_samples": 3, "n_estimators": 1},
        {"n_estimators": 1, "beta": 0.0, "activation": "relu", "hidden_layer_sizes": (16, 5)},
        {"likelihood": "bernoulli", "n_samples": 2, "n_estimators": 2, "latent_dim": 1},
    )
    after_fit = (
        ({}, {"beta": 5.0, "likelihood": "bernoulli", "n_samples": 4, "latent_dim": 1}),
        ({"likelihood": "bernoulli"}, {"likelihood": "gaussian", "scaler": "robust"}),
    )
    wrong = (
        ({"latent_dim": 0}, "latent_dim"),
        ({"latent_dim": 2.0}, "latent_dim"),
        ({"latent_dim": True}, "latent_dim"),
        ({"beta": -0.1}, "beta"),
        ({"beta": np.nan}, "beta"),
        ({"likelihood": "poisson"}, "likelihood"),
        ({"n_samples": -1}, "n_samples"),
        ({"n_samples": 1.5}, "n_samples"),
        ({"hidden_layer_sizes": ()}, "hidden_layer_sizes"),
        ({"hidden_layer_sizes": (8, 0)}, "hidden_layer_sizes"),
        ({"hidden_layer_sizes": 8}, "hidden_layer_sizes"),
        ({"activation": "swish"}, "activation"),
        ({"n_epochs": 0}, "n_epochs"),
        ({"contamination": "auto"}, "contamination.*RobustDeepAutoencoder"),
        ({"likelihood": "bernoulli", "scaler": None}, r"scaler='minmax'.*likelihood='gaussian'"),
        ({"likelihood": "bernoulli", "scaler": "robust"}, r"scaler='minmax'"),
    )


def _single(X, **options):
    return _fit(X, **({"n_estimators": 1, "scaler": None} | options))


def _forward(layers, h, last=lambda z: z):
    """A perceptron of member 0 in double precision."""
    weights, biases = layers.weights, layers.biases
    for number, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        h = h @ weight[0].cpu().numpy().astype(float) + bias[0].cpu().numpy()
        h = np.tanh(h) if number + 1 < len(weights) else last(h)
    return h


def _level(detector):
    return detector.model_.scorer.level


def _encoded(detector, X):
    return np.split(_forward(detector.network_.encoder, X / _level(detector)), 2, axis=1)


def _divergence(mean, log_variance):
    return -0.5 * (1 + log_variance - mean**2 - np.exp(log_variance)).sum(axis=1)


# ------------------------------------------------------------------------------- the score


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_gaussian_score_is_error_plus_divergence(beta, digits):
    X, _ = digits
    detector = _single(X, beta=beta)
    mean, log_variance = _encoded(detector, X)
    error = (X - _level(detector) * _forward(detector.network_.decoder, mean)) ** 2
    error = (error / (2 * detector.noise_variance_[0])).sum(axis=1)
    reconstruction, divergence = detector.score_parts(X)
    np.testing.assert_allclose(reconstruction, error, rtol=1e-4)
    np.testing.assert_allclose(divergence, beta * _divergence(mean, log_variance), rtol=1e-4)
    np.testing.assert_allclose(reconstruction + divergence, detector.decision_scores_, rtol=1e-5)


def test_bernoulli_score_is_cross_entropy_plus_divergence(digits):
    X, _ = digits
    detector = _single(X, likelihood="bernoulli")
    mean, log_variance = _encoded(detector, X)
    p = _forward(detector.network_.decoder, mean, lambda z: 1 / (1 + np.exp(-z)))
    error = -(X * np.log(p) + (1 - X) * np.log(1 - p)).sum(axis=1)
    np.testing.assert_allclose(detector.score_parts(X)[0], error, rtol=1e-4)
    expected = error + _divergence(mean, log_variance)
    np.testing.assert_allclose(detector.decision_scores_, expected, rtol=1e-4)
    assert not hasattr(detector, "noise_variance_")
    assert not hasattr(_single(X).set_params(likelihood="bernoulli").fit(X), "noise_variance_")


def test_members_parts_add_up_too(cancer):
    X, _ = cancer
    detector = _fit(X)
    parts = detector.score_parts(X)
    np.testing.assert_allclose(sum(parts), detector.decision_scores_, rtol=1e-5)
    assert min(parts[0].min(), parts[1].min()) >= 0


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_reconstruction_probability_is_a_mean_over_draws_of_z(likelihood, digits):
    X, _ = digits
    few = _single(X, likelihood=likelihood, n_samples=5)
    mean, log_variance = _encoded(few, X)
    total = 0
    for draw in few.model_.scorer.draws[0].cpu().numpy():
        out = _forward(few.network_.decoder, mean + np.exp(0.5 * log_variance) * draw)
        if likelihood == "gaussian":
            total = total + ((X - _level(few) * out) ** 2 / (2 * few.noise_variance_[0])).sum(
                axis=1
            )
        else:
            total = total + (np.logaddexp(0, out) - X * out).sum(axis=1)
    np.testing.assert_allclose(few.decision_scores_, total / 5, rtol=1e-4)
    assert not few.score_parts(X)[1].any()
    # Same networks; the more draws, the nearer two estimates are.
    many = [_single(X, likelihood=likelihood, n_samples=n).decision_scores_ for n in (400, 800)]
    apart = np.abs(few.decision_scores_ - many[1]).mean()
    assert np.abs(many[0] - many[1]).mean() < 0.4 * apart


def test_values_beyond_the_unit_interval_count_more_the_farther_they_are(digits):
    X, _ = digits
    detector = _fit(X, likelihood="bernoulli")
    assert detector.scaler_.method == "minmax"
    rows = np.repeat(X[:1], 4, axis=0)
    rows[:, 20] = [1.0, 1.5, 3.0, 100.0]
    scores = detector.decision_function(rows)
    assert (np.diff(scores) > 0).all()
    assert np.isfinite(scores).all()


def test_a_feature_is_charged_for_the_divergence_it_causes(plane):
    """The divergence's part of the shares is gradient times value, worked out by autograd."""
    detector = _single(plane, n_epochs=40)
    unit = torch.tensor(plane / _level(detector)).clamp(
        -10 / _level(detector), 10 / _level(detector)
    )
    unit.requires_grad_()
    h = unit
    encoder = detector.network_.encoder
    layers = list(zip(encoder.weights, encoder.biases, strict=True))
    for number, (weight, bias) in enumerate(layers):
        h = h @ weight[0].cpu().double() + bias[0].cpu().double()
        h = torch.tanh(h) if number + 1 < len(layers) else h
    mean, log_variance = h.split(3, dim=1)
    kl = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(dim=1)
    (grad,) = torch.autograd.grad(kl.sum(), unit)
    part = (grad * unit).abs().detach()
    part = part / part.sum(dim=1, keepdim=True) * kl.detach()[:, None]
    mean = mean.detach().numpy()
    error = (plane - _level(detector) * _forward(detector.network_.decoder, mean)) ** 2
    error = error / (2 * detector.noise_variance_[0])
    normal = slice(6, None)
    shares = detector.explain(plane)
    np.testing.assert_allclose(shares[normal], (error + part.numpy())[normal], rtol=0.01, atol=0.01)
    uniform = error + kl.detach().numpy()[:, None] / 8
    assert np.abs(shares - uniform)[normal].max() > 0.5


@pytest.mark.parametrize("scale", [1e-20, 1e-3, 1e3])
def test_the_unit_of_the_data_does_not_matter(scale, plane):
    one, other = (_fit(plane * s, scaler=None) for s in (1.0, scale))
    rank = [d.decision_scores_.argsort().argsort() for d in (one, other)]
    assert np.corrcoef(rank)[0, 1] > 0.999
    assert other.history_[-1]["kl"] == pytest.approx(one.history_[-1]["kl"], rel=0.01)
    np.testing.assert_allclose(other.noise_variance_, one.noise_variance_ * scale**2, rtol=0.05)
    by_range = _fit(plane, scaler="minmax")
    assert by_range.decision_scores_[:6].min() > np.quantile(by_range.decision_scores_, 0.95)


def test_a_rare_flag_does_not_outweigh_the_rest():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 3)) @ rng.normal(size=(3, 8)) + 0.1 * rng.normal(size=(1000, 8))
    flag = rng.random(1000) < 0.01
    X = np.column_stack([X, flag])
    X[:20, :8] = rng.normal(size=(20, 8)) * X[:, :8].std(axis=0)  # off the plane
    detector = _fit(X)
    scores = detector.decision_scores_
    usual, off = np.median(scores), np.median(scores[:20])
    flagged = np.median(scores[flag & (np.arange(1000) >= 20)])
    assert off > 5 * usual
    assert flagged < 40 * usual


# ------------------------------------------------------------------- what the model has learnt


def test_without_divergence_and_bottleneck_it_reconstructs(plane):
    X = plane[6:]
    detector = _fit(X, beta=0, latent_dim=8, n_epochs=300, n_estimators=1, lr=3e-3)
    back = detector.inverse_transform(detector.transform(X))
    assert np.square(X - back).sum() < 0.01 * np.square(X - X.mean(axis=0)).sum()


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_samples_fall_in_both_clusters(likelihood):
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(c, 1, (300, 4)) for c in (-4, 4)])
    detector = _fit(X, likelihood=likelihood, n_epochs=100)
    samples = detector.sample(1000, random_state=0)
    assert samples.shape == (1000, 4)
    for centre in (-4, 4):
        near = np.linalg.norm(samples - centre, axis=1) < 4
        assert 0.2 < near.mean() < 0.8
    assert np.array_equal(samples, detector.sample(1000, random_state=0))
    assert not np.array_equal(samples, detector.sample(1000, random_state=1))


def test_a_large_beta_leaves_the_code_at_the_prior(plane):
    free = _fit(plane, beta=1.0, n_epochs=60, n_estimators=1)
    bound = _fit(plane, beta=100.0, n_epochs=60, n_estimators=1)
    assert np.abs(bound.transform(plane)).mean() < 0.2 * np.abs(free.transform(plane)).mean()


def test_sample_leaves_global_random_state_alone_and_checks_its_argument(plane):
    detector = _fit(plane)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    assert not np.array_equal(detector.sample(5), detector.sample(5))
    detector.sample(5, random_state=0)
    assert np.array_equal(before[0], np.random.get_state()[1])
    assert torch.equal(before[1], torch.get_rng_state())
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="n_samples"):
            detector.sample(wrong)
    for wrong in (2.5, True, np.True_):
        with pytest.raises(TypeError, match=r"n_samples must be an( instance of)? int"):
            detector.sample(wrong)


def test_transform_gives_latent_means_row_by_row(plane):
    detector = _fit(plane, n_estimators=3)
    codes = detector.transform(plane)
    assert codes.shape == (300, 9)
    rows = torch.from_numpy(detector.scaler_.transform(plane)).expand(3, -1, -1).clamp(-10, 10)
    network = detector.model_.to(torch.device("cpu")).network
    means = network.encode(rows / _level(detector))[0]
    np.testing.assert_allclose(codes, np.concatenate(list(means.numpy()), axis=1), atol=1e-5)
    assert np.array_equal(detector.transform(plane[7:8]), codes[7:8])
    names = detector.get_feature_names_out().tolist()
    assert names == [f"vaedetector{j}" for j in range(9)]


def test_history_shows_the_divergence_at_work(plane):
    history = _fit(plane, n_epochs=60).history_
    assert [row["epoch"] for row in history] == list(range(1, 61))
    assert history[-1]["error"] < history[0]["error"]
    assert history[-1]["kl"] > history[5]["kl"] > 0


def test_the_first_member_of_an_ensemble_is_the_single_fit(plane):
    # To the last bit on a CPU.
    many, one = (_fit(plane, n_estimators=n, device="cpu") for n in (4, 1))
    for a, b in zip(many.network_.parameters(), one.network_.parameters(), strict=True):
        assert torch.equal(a[:1], b)


def test_the_networks_see_wild_values_at_the_bound(plane):
    wild, clipped = plane.copy(), plane.copy()
    wild[9, 1], clipped[9, 1] = 1e9, 1e3  # both beyond ten scales
    one, other = _fit(wild), _fit(clipped)
    for a, b in zip(one.network_.parameters(), other.network_.parameters(), strict=True):
        assert torch.equal(a, b)
    assert np.array_equal(one.transform(wild), other.transform(clipped))
    assert one.decision_scores_[9] > 1e3 * other.decision_scores_[9]


@pytest.mark.parametrize("n_samples", [0, 3])
@pytest.mark.parametrize("beta", [0.0, 1.0])
@pytest.mark.parametrize("activation", ["identity", "relu", "tanh"])
@pytest.mark.parametrize("scaler", ["minmax", "robust", None])
def test_scores_of_far_rows_are_finite(scaler, activation, beta, n_samples, plane, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    options = {"scaler": scaler, "activation": activation, "beta": beta, "n_samples": n_samples}
    detector = VAEDetector(n_epochs=5, n_estimators=2, random_state=0, **options).fit(plane)
    to_onnx(detector, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    rng = np.random.default_rng(0)
    for size in (10.0, 1e3, 1e6, 1e15, 1e30):
        far = (rng.normal(size=(20, plane.shape[1])) * size).astype(np.float32)
        scores, shares = detector.decision_function(far), detector.explain(far)
        assert np.isfinite(scores).all()
        assert np.isfinite(shares).all()
        if size > 10:
            assert detector.predict(far).all()
        graph_scores, graph_labels = session.run(None, {"X": far})
        np.testing.assert_allclose(graph_scores, scores, rtol=1e-3)
        assert np.array_equal(graph_labels, detector.predict(far))


def test_score_parts_before_a_fit_says_so(plane):
    with pytest.raises(NotFittedError):
        VAEDetector().score_parts(plane)
