import numpy as np
import pytest
import torch

from skrdae import RobustDeepAutoencoder, WindowedDetector
from skrdae.scorers.residual_scale import log_terms, residual_scale, rows_to_measure


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_scale_of_normal_residuals_is_their_standard_deviation():
    spread = torch.tensor([0.5, 1.0, 20.0])
    scale = residual_scale(_normal(2, 20_000, 3) * spread, _normal(20_000, 3))
    torch.testing.assert_close(scale, spread.expand(2, 1, 3), rtol=0.03, atol=0)


def test_wild_rows_move_the_scale_little():
    residual, rows = _normal(1, 10_000, 4), _normal(10_000, 4, seed=1)
    before = residual_scale(residual, rows)
    residual[:, :800] = 1e9
    assert (residual_scale(residual, rows) / before < 1.6).all()


def test_a_feature_is_not_measured_by_next_to_nothing():
    residual, rows = _normal(1, 1000, 3), _normal(1000, 3, seed=1)
    residual[..., 1] *= 1e-7
    scale = residual_scale(residual, rows)[0, 0]
    assert scale[1] == pytest.approx(0.1 * scale.median().item())
    # Where the network explains everything, rounding is no measure either.
    nothing = residual_scale(1e-7 * residual, rows)
    torch.testing.assert_close(nothing, (1e-3 * rows.abs().mean()).expand(1, 1, 3))
    assert residual_scale(torch.zeros(1, 5, 2), torch.zeros(5, 2)).gt(0).all()


@pytest.mark.parametrize("n_constant", [1, 9, 40])
def test_constant_features_have_hardly_a_part_in_scores(cancer, n_constant):
    X = np.column_stack([cancer[0], np.full((len(cancer[0]), n_constant), 7.0)])
    detector = RobustDeepAutoencoder(hidden_layer_sizes=(64, 12), random_state=0).fit(X)
    shares = detector.explain(X)
    assert shares[:, 30:].sum() < 0.03 * shares.sum()
    odd = X[:1].copy()
    odd[0, 30] = 1000
    assert detector.explain(odd).argmax() == 30


@pytest.mark.parametrize("n_features", [5, 50, 200])
def test_one_value_far_beyond_all_others_is_found_in_a_wide_row(n_features):
    X = np.random.default_rng(0).normal(size=(500, n_features))
    X[:5] *= 4
    detector = RobustDeepAutoencoder(random_state=0).fit(X)
    far = np.zeros((1, n_features))
    far[0, 0] = 3000
    assert detector.predict(far) == 1
    far[0, 0] = 1e5
    assert detector.decision_function(far) > detector.decision_scores_.max()


def test_terms_are_finite_and_rise_however_far_a_value_is():
    far = torch.tensor([[[0.0, 1e-8, 1.0, 1e3, 1e9, 1e15]]])
    terms = log_terms(far.clone(), torch.ones(6))[0, 0].double().numpy()
    ratio = far[0, 0].double().numpy()
    assert np.allclose(terms, np.log1p(ratio**2) + ratio * np.sqrt(6) / 100, rtol=1e-6)
    assert log_terms(torch.tensor([1e15]), torch.tensor([1e-12])).isfinite().all()


def test_many_rows_are_measured_by_a_part_that_is_always_the_same():
    assert len(rows_to_measure(300, 5)) == 300
    part = rows_to_measure(2_000_000, 100)
    assert len(part) == len(set(part.tolist())) == 2**17 // 100
    assert torch.equal(part, rows_to_measure(2_000_000, 100))
    assert part.max() > 1_800_000


@pytest.mark.parametrize("n_estimators", [1, 3])
def test_the_score_is_the_sum_of_the_logarithms(cancer, n_estimators):
    X = cancer[0]
    detector = RobustDeepAutoencoder(n_estimators=n_estimators, random_state=0).fit(X)
    rows = torch.from_numpy(detector.scaler_.transform(X)).to(detector.device_)
    with torch.no_grad():
        shown = rows.clamp(-3, 3).expand(n_estimators, -1, -1)
        residual = (rows - detector.network_(shown)).double().cpu().numpy()
    ends = np.sort(np.abs(residual), axis=1)[:, round(0.9 * len(X)) - 1]
    scale = np.maximum(ends / 1.645, 0.1 * np.sort(ends / 1.645, axis=1)[:, [14]])
    ratio = np.abs(residual / scale[:, None])
    scores = (np.log1p(ratio**2) + ratio * np.sqrt(30) / 100).sum(axis=2)
    medians = np.median(scores, axis=1)
    expected = (scores * (medians.mean() / medians)[:, None]).mean(axis=0)
    assert np.allclose(detector.decision_scores_, expected, rtol=1e-4)
    assert np.allclose(detector.explain(X).sum(axis=1), detector.decision_scores_, rtol=1e-5)


def test_auto_goes_by_the_scaler(digits):
    X = digits[0]

    def scores(**options):
        return RobustDeepAutoencoder(random_state=0, **options).fit(X).decision_scores_

    assert np.array_equal(scores(scaler=None), scores(scaler=None, score_function="norm"))
    assert np.array_equal(scores(), scores(score_function="log"))
    assert not np.array_equal(scores(), scores(score_function="norm"))
    # Flags by λ compare norms, and so does the score.
    assert np.array_equal(
        scores(contamination="auto"), scores(contamination="auto", score_function="norm")
    )


def test_windows_are_scored_by_the_norm_unless_told_otherwise():
    series = np.sin(np.arange(300) / 5)

    def fitted(detector):
        return WindowedDetector(detector, window_size=20).fit(series)

    auto = fitted(RobustDeepAutoencoder(random_state=0))
    assert auto.detector.score_function == "auto"  # what was given is left alone
    assert auto.detector_.score_function == "norm"
    norm = fitted(RobustDeepAutoencoder(score_function="norm", random_state=0))
    assert np.array_equal(auto.decision_scores_, norm.decision_scores_)
    log = fitted(RobustDeepAutoencoder(score_function="log", random_state=0))
    assert log.detector_.score_function == "log"
    assert not np.array_equal(log.decision_scores_, norm.decision_scores_)


def test_one_heavy_tailed_feature_does_not_rule_the_score():
    """What the logarithm is for: wild values of one feature against small oddities of many."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 10))
    X[:, 0] = rng.standard_cauchy(1000) * 5
    y = np.arange(1000) < 20
    X[y, 1:] += 4 * rng.choice([-1, 1], size=(20, 9))
    log, norm = (
        RobustDeepAutoencoder(score_function=name, random_state=0).fit(X).score(X, y)
        for name in ("log", "norm")
    )
    assert log > 0.99
    assert log > norm + 0.02
