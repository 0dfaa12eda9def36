import pickle

import numpy as np
import pytest
import torch
from detector_contract import DetectorContract
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from skrdae import USADDetector, WindowedDetector
from skrdae.thresholds import tune_threshold


class TestContract(DetectorContract):
    detector = USADDetector
    brief = {"batch_size": 32}
    variants = (
        {},
        {"activation": "relu", "hidden_layer_sizes": (9, 5), "alpha": 0.1, "scaler": "minmax"},
        {"n_estimators": 1, "alpha": 1.0, "latent_dim": 2},
    )
    wrong = (
        ({"alpha": -0.1}, "alpha"),
        ({"alpha": 1.1}, "alpha"),
        ({"alpha": True}, "alpha"),
        ({"n_channels": 0}, "n_channels"),
        ({"n_channels": 3}, "n_channels=3 does not divide"),
        ({"latent_dim": 0}, "latent_dim"),
        ({"hidden_layer_sizes": ()}, "hidden_layer_sizes"),
        ({"activation": "swish"}, "activation"),
        ({"n_epochs": 0}, "n_epochs"),
        ({"max_samples": 0}, "max_samples"),
    )
    after_fit = (({}, {"n_channels": 3, "alpha": 0.9, "activation": "relu"}),)


def _waves(n=200, n_steps=12, n_channels=2, seed=0):
    """Windows of sines of any phase, (n, T, c), and five of them out of order."""
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 2 * np.pi, size=(n, 1, 1)) + 0.5 * np.arange(n_channels)
    X = np.sin(phase + np.arange(n_steps)[:, None] / 2)
    X += 0.05 * rng.normal(size=X.shape)
    for row in range(0, 5):
        X[row] = X[row, rng.permutation(n_steps)]
    return X


def _fit(X, **options):
    return USADDetector(**({"random_state": 0, "n_channels": 2} | options)).fit(X)


@pytest.fixture(scope="module")
def fitted():
    return _fit(_waves())


def test_windows_out_of_order_are_found():
    detector = _fit(_waves(400), contamination=5 / 400)
    assert set(np.flatnonzero(detector.labels_)) == set(range(5))


def test_the_score_is_that_of_the_paper(fitted):
    X = _waves()
    first, both = fitted.score_parts(X)
    np.testing.assert_allclose(first + both, fitted.decision_scores_, rtol=1e-6)
    only = [_fit(X, alpha=alpha, n_estimators=1) for alpha in (1.0, 0.0)]
    made = only[0].inverse_transform(only[0].transform(X)).reshape(X.shape)
    scale = only[0].scaler_.scale_.reshape(X.shape[1:])
    np.testing.assert_allclose(
        only[0].decision_scores_, (((X - made) / scale / 3) ** 2).sum(axis=(1, 2)), rtol=1e-4
    )
    mixed = 0.3 * only[0].decision_scores_ + 0.7 * only[1].decision_scores_
    found = _fit(X, alpha=0.3, n_estimators=1).decision_scores_
    np.testing.assert_allclose(found, mixed, rtol=1e-5)


@pytest.mark.parametrize("n_estimators", [1, 3])
@pytest.mark.parametrize("alpha", [0.0, 0.25, 1])
def test_an_alpha_set_afterwards_is_that_of_a_fit(alpha, n_estimators):
    X = _waves()
    options = {"n_estimators": n_estimators, "contamination": 0.05, "n_epochs": 6}
    expected, detector = _fit(X, alpha=alpha, **options), _fit(X, **options)
    before = vars(detector).copy()
    assert detector.set_alpha(alpha) is detector
    assert detector.alpha == alpha
    assert np.array_equal(detector.decision_scores_, expected.decision_scores_)
    assert np.array_equal(detector.decision_function(X), detector.decision_scores_)
    assert detector.threshold_ == expected.threshold_
    assert np.array_equal(detector.labels_, expected.labels_)
    assert np.array_equal(detector.explain(X), expected.explain(X))
    assert np.array_equal(detector.set_alpha(0.5).decision_scores_, before["decision_scores_"])
    assert clone(detector.set_alpha(alpha)).alpha == alpha


def test_a_copy_keeps_its_alpha(fitted):
    X = _waves()
    scores = fitted.decision_scores_.copy()
    other = pickle.loads(pickle.dumps(fitted)).set_alpha(0.9)
    assert np.array_equal(fitted.decision_scores_, scores)
    assert not np.array_equal(other.decision_function(X), scores)
    again = pickle.loads(pickle.dumps(other))
    assert np.array_equal(again.decision_function(X), other.decision_scores_)


def test_alpha_may_change_between_chunks(plane):
    options = {"n_epochs": 2, "n_estimators": 2, "random_state": 0}
    weighed = USADDetector(**options).partial_fit(plane[:100]).set_alpha(0.9)
    weighed.partial_fit(plane[100:])
    plain = USADDetector(alpha=0.9, **options).partial_fit(plane[:100]).partial_fit(plane[100:])
    assert np.array_equal(weighed.decision_scores_, plain.decision_scores_)
    assert weighed.errors_.shape == (2, 300, 2)


def test_wrong_alphas_change_nothing(fitted):
    before = vars(fitted).copy()
    for wrong in (-0.1, 2, "half", None, np.nan, True):
        with pytest.raises((ValueError, TypeError), match="alpha"):
            fitted.set_alpha(wrong)
    assert vars(fitted) == before
    with pytest.raises(NotFittedError):
        USADDetector().set_alpha(0.5)


def test_the_share_flagged_stays_whatever_rule_found_it():
    X = _waves()
    tuned = tune_threshold(_fit(X), X, rule="percentile", value=70)
    assert tuned.labels_.mean() == pytest.approx(0.3, abs=0.01)
    assert tuned.set_alpha(0.9).labels_.mean() == pytest.approx(0.3, abs=0.01)
    IQR = pytest.importorskip("pythresh.thresholds.iqr").IQR
    ruled = _fit(X, contamination=IQR()).set_alpha(0.9)
    assert np.array_equal(ruled.labels_, _fit(X, alpha=0.9, contamination=IQR()).labels_)


def test_another_alpha_goes_on_with_the_training_that_is_there():
    X = _waves()
    detector = _fit(X, warm_start=True, n_epochs=5)
    n_rows = []
    detector.set_params(alpha=0.9, callbacks=n_rows.append).fit(X)
    assert n_rows == []
    expected = _fit(X, alpha=0.9, n_epochs=5)
    assert np.array_equal(detector.decision_scores_, expected.decision_scores_)


def test_rows_and_arrays_are_the_same_windows(fitted):
    X = _waves()
    rows = X.reshape(200, 24)
    assert np.array_equal(_fit(rows).decision_scores_, fitted.decision_scores_)
    assert np.array_equal(fitted.decision_function(rows), fitted.decision_function(X.tolist()))
    assert fitted.transform(X).shape == (200, 4 * 5)


def test_shares_are_told_by_step_and_channel(fitted):
    X = _waves()
    X[50, 7, 1] += 6
    shares = fitted.explain(X)
    assert shares.shape == X.shape
    assert np.unravel_index(shares[50].argmax(), (12, 2)) == (7, 1)
    np.testing.assert_allclose(shares.sum(axis=(1, 2)), fitted.decision_function(X), rtol=1e-5)


def test_the_first_member_of_an_ensemble_is_the_single_fit():
    X = _waves()
    # To the last bit on a CPU.
    options = {"max_samples": 100, "n_epochs": 3, "device": "cpu"}
    many, one = _fit(X, n_estimators=3, **options), _fit(X, n_estimators=1, **options)
    for a, b in zip(many.network_.parameters(), one.network_.parameters(), strict=True):
        assert torch.equal(a[:1], b)


def test_data_in_any_unit_train_alike():
    X = _waves()
    scores = [_fit(size * X, scaler=None).decision_scores_ for size in (2.0**-60, 1.0, 2.0**17)]
    for found in scores[1:]:
        np.testing.assert_allclose(found, scores[0], rtol=1e-5)


def test_a_long_game_stays_finite():
    history = _fit(_waves(), n_epochs=150, n_estimators=1, lr=1e-2).history_
    assert all(np.isfinite(list(row.values())).all() for row in history)
    assert history[-1]["both_error"] <= 4 * 24  # what lies in [−1, 1] is not farther apart


def test_windows_that_do_not_fit_the_channels(fitted):
    X = _waves()
    with pytest.raises(ValueError, match=r"23 values a row, which n_channels=2 does not divide"):
        _fit(X.reshape(200, 24)[:, :23])
    with pytest.raises(ValueError, match=r"X has 2 channels, its last axis, but n_channels is 3"):
        _fit(X, n_channels=3)
    with pytest.raises(ValueError, match="windows of 6 steps, but the detector is fitted to"):
        fitted.predict(X[:, :6])


def test_steps_of_a_series_are_found():
    rng = np.random.default_rng(0)
    steps = np.arange(1500)[:, None]
    series = np.sin(2 * np.pi * steps / 24 + np.array([0.0, 1.0])) + 0.1 * rng.normal(
        size=(1500, 2)
    )
    series[700:730, 1] = series[700:730, 1][::-1] + 1
    detector = WindowedDetector(USADDetector(n_channels=2, random_state=0), window_size=24)
    detector.fit(series)
    assert 695 <= detector.decision_scores_.argmax() <= 735
    assert detector.detector_.explain(series[None, 690:714]).shape == (1, 24, 2)
    with pytest.raises(ValueError, match="set n_channels=1"):
        detector.fit(series[:, 0])
