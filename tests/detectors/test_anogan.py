import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from detector_contract import DetectorContract
from sklearn.exceptions import ConvergenceWarning

from skrdae import AnoGANDetector
from skrdae.scorers.mismatch import MismatchScorer


def _fit(X, **options):
    return AnoGANDetector(**({"random_state": 0} | options)).fit(X)


class TestContract(DetectorContract):
    detector = AnoGANDetector
    brief = {"n_epochs": 6, "n_encoder_epochs": 4}
    variants = (
        {},
        {"inference": "search", "n_estimators": 2, "n_search_iter": 10},
        {"inference": "hybrid", "n_estimators": 1, "n_search_iter": 5, "lam": 0.5},
        {"activation": "relu", "hidden_layer_sizes": (16, 8), "n_estimators": 3, "lam": 1.0},
        {"inference": "bidirectional", "n_estimators": 2},
    )
    after_fit = (
        ({}, {"lam": 0.9, "inference": "search", "latent_dim": 1}),
        ({"inference": "search", "n_search_iter": 5}, {"n_search_iter": 20, "lam": 1.0}),
        ({"inference": "hybrid", "n_search_iter": 5}, {"inference": "encoder"}),
        ({"inference": "bidirectional"}, {"inference": "search", "lam": 0.9}),
    )
    wrong = (
        ({"lam": -0.1}, "lam"),
        ({"lam": 1.1}, "lam"),
        ({"lam": "auto"}, "lam"),
        ({"latent_dim": 0}, "latent_dim"),
        ({"latent_dim": 2.0}, "latent_dim"),
        ({"inference": "both"}, "inference"),
        ({"n_search_iter": 0}, "n_search_iter"),
        ({"hidden_layer_sizes": ()}, "hidden_layer_sizes"),
        ({"discriminator_layer_sizes": (8, 0)}, "discriminator_layer_sizes"),
        ({"discriminator_layer_sizes": "auto"}, "discriminator_layer_sizes"),
        ({"activation": "swish"}, "activation"),
        ({"output_activation": None}, "output_activation"),
        ({"n_epochs": 0}, "n_epochs"),
        ({"n_encoder_epochs": 0}, "n_encoder_epochs"),
        ({"contamination": "auto"}, "contamination.*RobustDeepAutoencoder"),
    )


modes = pytest.mark.parametrize("inference", ["encoder", "search", "hybrid", "bidirectional"])


def _single(X, **options):
    return _fit(X, **({"n_estimators": 1, "scaler": None} | options))


def _forward(layers, h, stop=None):
    """A perceptron of member 0 in double precision, tanh inside."""
    pairs = list(zip(layers.weights, layers.biases, strict=True))
    for number, (weight, bias) in enumerate(pairs[:stop]):
        h = h @ weight[0].cpu().numpy().astype(float) + bias[0].cpu().numpy()
        h = np.tanh(h) if number + 1 < len(pairs) else h
    return h


@modes
@pytest.mark.parametrize("lam", [0.0, 0.4, 1.0])
def test_score_weighs_residual_and_discrimination(inference, lam, digits):
    X, _ = digits
    detector = _single(X, lam=lam, inference=inference, n_search_iter=10)
    network, level = detector.network_, detector.model_.scorer.level
    z = detector.transform(X)
    unit = X / level
    assert unit.var(axis=0).mean() == pytest.approx(1, rel=1e-4)
    made = _forward(network.generator, z)
    seen = [np.hstack([v, z]) if inference == "bidirectional" else v for v in (unit, made)]
    features = [_forward(network.discriminator, v, stop=-1) for v in seen]
    residual = np.abs(unit - made).sum(axis=1)
    discrimination = np.abs(features[0] - features[1]).sum(axis=1)
    expected = (1 - lam) * residual + lam * discrimination
    np.testing.assert_allclose(detector.decision_scores_, expected, rtol=1e-4)
    parts = detector.score_parts(X)
    np.testing.assert_allclose(parts[0], (1 - lam) * residual, rtol=1e-4)
    np.testing.assert_allclose(parts[1], lam * discrimination, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(detector.inverse_transform(z), made * level, atol=1e-5)
    if inference in ("encoder", "bidirectional"):
        np.testing.assert_allclose(z, _forward(network.encoder, unit), atol=1e-5)
    assert (network.encoder is None) == (inference == "search")
    assert network.joint == (inference == "bidirectional")
    assert bool(detector.encoder_history_) == (inference in ("encoder", "hybrid"))


@modes
def test_scoring_changes_nothing(inference, plane):
    detector = _fit(plane, inference=inference, n_estimators=2, n_search_iter=10)
    before = [p.clone() for p in detector.network_.parameters()]
    first = detector.decision_function(plane)
    detector.explain(plane)
    detector.transform(plane)
    assert np.array_equal(detector.decision_function(plane), first)
    after = detector.network_.parameters()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("inference", ["search", "hybrid"])
def test_a_longer_search_never_raises_a_score(inference, digits):
    X, _ = digits
    previous = np.full(len(X), np.inf)
    for n_search_iter in (1, 5, 20, 80):
        scores = _single(X, inference=inference, n_search_iter=n_search_iter).decision_scores_
        assert (scores <= previous).all()
        previous = scores
    if inference == "hybrid":
        encoder = _single(X).decision_scores_
        assert (previous <= encoder).all()
        assert previous.mean() < 0.95 * encoder.mean()


@pytest.mark.parametrize("inference", ["search", "hybrid"])
def test_a_rows_search_does_not_depend_on_its_company(inference, cancer):
    X, _ = cancer
    detector = _fit(X, inference=inference, n_estimators=3, n_search_iter=15)
    codes = detector.transform(X)
    order = np.random.default_rng(0).permutation(len(X))
    assert np.array_equal(detector.transform(X[order]), codes[order])
    assert np.array_equal(detector.transform(X[70:71]), codes[70:71])
    mixed = np.concatenate([X[:5], 1e6 * np.ones((3, X.shape[1]))])
    assert np.array_equal(detector.decision_function(mixed)[:5], detector.decision_scores_[:5])


def test_both_losses_are_kept(plane):
    detector = _fit(plane, n_epochs=7, n_encoder_epochs=4)
    assert [row["epoch"] for row in detector.history_] == list(range(1, 8))
    assert {"discriminator_loss", "generator_loss"} < detector.history_[0].keys()
    errors = [row["error"] for row in detector.encoder_history_]
    assert len(errors) == 4
    assert errors[-1] < errors[0]


def test_a_collapsed_generator_is_warned_of(plane, monkeypatch):
    import skrdae.detectors.anogan as module

    def collapse(training, n_rounds, session):
        training.trainer.network.generator.weights[-1].zero_()

    monkeypatch.setattr(module, "run", collapse)
    detector = AnoGANDetector(n_estimators=2, random_state=0)
    with pytest.warns(ConvergenceWarning, match=r"2 of 2 members collapsed.*lr") as caught:
        detector.fit(plane)
    assert caught[0].filename == __file__
    assert detector.decision_scores_.shape == (300,)

    def narrow(training, n_rounds, session):
        training.trainer.network.generator.weights[-1].mul_(5e-3)

    monkeypatch.setattr(module, "run", narrow)
    with pytest.warns(ConvergenceWarning, match="collapsed"):
        detector.fit(plane)


def test_constant_scores_are_warned_of(plane, monkeypatch):
    monkeypatch.setattr(
        MismatchScorer,
        "scores",
        lambda self, network, rows, workspace: rows.new_ones(network.n_members, len(rows)),
    )
    detector = AnoGANDetector(random_state=0)
    with pytest.warns(ConvergenceWarning, match="same score") as caught:
        detector.fit(plane)
    assert caught[0].filename == __file__
    # Not where the rows themselves do not differ, or by rounding errors only.
    rng = np.random.default_rng(0)
    detector.fit(np.ones((50, 3)))
    detector.fit(np.where(rng.random((60, 2)) < 0.5, 0.1 * 3, 0.3))
    detector.fit([[0.0], [0.0], [1.0], [1.0]])


def test_the_first_member_of_an_ensemble_is_the_single_fit(plane):
    # To the last bit on a CPU.
    many, one = (_fit(plane, n_estimators=n, device="cpu") for n in (4, 1))
    for a, b in zip(many.network_.parameters(), one.network_.parameters(), strict=True):
        assert torch.equal(a[:1], b)


def test_codes_are_those_of_the_generator(plane):
    detector = _fit(plane, n_estimators=2)
    codes = detector.transform(plane)
    assert codes.shape == (300, 2 * 3)
    back = detector.inverse_transform(codes)
    normal = slice(6, None)
    error = ((plane - back)[normal] ** 2).sum()
    assert error < 0.5 * ((plane - plane.mean(axis=0))[normal] ** 2).sum()
    assert detector.get_feature_names_out()[0] == "anogandetector0"


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_diverged_generator_is_warned_of(plane):
    with pytest.warns(ConvergenceWarning, match=r"diverged.*lr \(now 1\)"):
        _fit(plane, lr=1, n_estimators=1, n_epochs=10, n_encoder_epochs=1)


def test_data_beyond_the_generators_reach_are_warned_of(plane, digits):
    detector = AnoGANDetector(output_activation="sigmoid", n_epochs=2)
    with pytest.warns(UserWarning, match=r"'sigmoid'.*scaler='minmax'") as caught:
        detector.fit(plane)
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="from 0.0 to inf"):
        _fit(plane, output_activation="relu", scaler=None, n_epochs=2)
    for scaler in (None, "minmax"):
        _fit(digits[0], output_activation="sigmoid", scaler=scaler, n_epochs=2)


def test_samples_are_the_generators_rows(plane):
    detector = _fit(plane)
    samples = detector.sample(500, random_state=0)
    assert samples.shape == (500, 8)
    assert np.array_equal(samples, detector.sample(500, random_state=0))
    normal = plane[6:]
    assert (np.abs(samples.mean(axis=0) - normal.mean(axis=0)) < 0.5 * normal.std(axis=0)).all()
    assert (samples.std(axis=0) > 0.3 * normal.std(axis=0)).all()
    # They lie where the detector finds rows usual.
    shuffled = np.random.default_rng(0).permuted(normal, axis=0)
    on, off = (np.median(detector.decision_function(v)) for v in (samples, shuffled))
    assert on < 0.8 * off


@pytest.mark.parametrize("scale", [1e-20, 1e-3, 1e3])
def test_the_unit_of_the_data_does_not_matter(scale, plane):
    one, other = (_fit(plane * s, scaler=None) for s in (1.0, scale))
    rank = [d.decision_scores_.argsort().argsort() for d in (one, other)]
    assert np.corrcoef(rank)[0, 1] > 0.99
    np.testing.assert_allclose(
        np.median(other.decision_scores_), np.median(one.decision_scores_), rtol=0.05
    )


def test_a_search_shows_how_far_it_is(plane, capsys):
    options = {"n_epochs": 1, "n_search_iter": 3, "random_state": 0}
    quiet = AnoGANDetector(inference="search", **options).fit(plane)
    assert capsys.readouterr() == ("", "")
    told = AnoGANDetector(inference="search", verbose=1, **options).fit(plane)
    n = len(plane)
    assert re.search(rf"search: 100%.* {n}/{n} .*score=", capsys.readouterr().err)
    assert np.array_equal(told.decision_scores_, quiet.decision_scores_)
    told.transform(plane[:70])
    assert re.search(r"search: 100%.* 70/70 ", capsys.readouterr().err)
    assert np.array_equal(told.predict(plane), quiet.labels_)
    capsys.readouterr()
    AnoGANDetector(verbose=1, n_epochs=1, n_encoder_epochs=1).fit(plane)
    assert "search" not in capsys.readouterr().err


def test_threads_search_the_same(plane):
    detector = _fit(plane, inference="hybrid", n_estimators=2, n_search_iter=15)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: detector.decision_function(plane), range(8)))
    assert all(np.array_equal(scores, detector.decision_scores_) for scores in found)


@pytest.mark.parametrize("inference", ["encoder", "search"])
def test_the_number_of_torchs_threads_changes_nothing(inference, cancer):
    X, before = np.concatenate([cancer[0]] * 2), torch.get_num_threads()
    found = []
    for n_threads in (1, 3):
        torch.set_num_threads(n_threads)
        try:
            detector = _fit(X, inference=inference, n_estimators=3, n_search_iter=5)
            found.append((detector.decision_scores_, detector.explain(X)))
        finally:
            torch.set_num_threads(before)
    for one, other in zip(*found, strict=True):
        assert np.array_equal(one, other)


def test_the_networks_see_wild_values_at_the_bound(plane):
    wild, clipped = plane.copy(), plane.copy()
    wild[9, 1], clipped[9, 1] = 1e9, 1e3  # both beyond ten scales
    one, other = _fit(wild), _fit(clipped)
    for a, b in zip(one.network_.parameters(), other.network_.parameters(), strict=True):
        assert torch.equal(a, b)
    assert np.array_equal(one.transform(wild), other.transform(clipped))
    assert one.decision_scores_[9] > 1e3 * other.decision_scores_[9]
