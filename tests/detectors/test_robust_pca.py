import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

from skrdae import RobustPCA


@parametrize_with_checks(
    [RobustPCA(), RobustPCA(scaler=None), RobustPCA(score_function="norm", lam=0.2)]
)
def test_scikit_learn(estimator, check):
    check(estimator)


def test_a_row_scores_the_same_alone_and_in_company(cancer):
    X = cancer[0]
    detector = RobustPCA().fit(X)
    scores = detector.decision_function(X)
    assert np.array_equal(scores, detector.decision_scores_)
    alone = [detector.decision_function(X[i : i + 1])[0] for i in range(20)]
    assert np.array_equal(alone, scores[:20])
    assert np.array_equal(detector.decision_function(X[::-1]), scores[::-1])


def test_two_fits_are_one_and_nothing_global_moves(cancer):
    X = cancer[0]
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    first, second = RobustPCA().fit(X), clone(RobustPCA()).fit(X)
    assert np.array_equal(first.decision_scores_, second.decision_scores_)
    assert np.array_equal(before[0], np.random.get_state()[1])
    assert torch.equal(before[1], torch.get_rng_state())
    loaded = pickle.loads(pickle.dumps(first))
    assert np.array_equal(loaded.decision_function(X), first.decision_scores_)


def test_it_finds_what_is_planted(plane, cancer):
    detector = RobustPCA(contamination=0.02).fit(plane)
    assert detector.labels_[:6].sum() >= 5
    assert detector.labels_.sum() == 6
    X, y = cancer
    assert RobustPCA().fit(X).score(X, y) > 0.85


def test_the_stored_parts_add_up_in_the_units_of_the_data(plane):
    X = plane * 1000 + 5
    detector = RobustPCA(store_decomposition=True).fit(X)
    assert np.allclose(detector.low_rank_ + detector.sparse_, X)
    low_rank = (detector.low_rank_ - detector.scaler_.center_) / detector.scaler_.scale_
    values = np.linalg.svd(low_rank, compute_uv=False)
    assert 0 < detector.rank_ < 8
    assert values[detector.rank_ :].max() < 1e-3 * values[0] < values[detector.rank_ - 1]
    assert 0 < (detector.sparse_ == 0).mean() < 1
    assert not hasattr(RobustPCA().fit(X), "sparse_")


def test_new_rows_are_encoded_by_the_directions_of_the_low_rank_part():
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(30, 2)))[0]
    X = rng.normal(size=(300, 2)) @ basis.T
    noisy = X + 8 * (rng.random(X.shape) < 0.03)
    detector = RobustPCA(scaler=None, tol=1e-6).fit(noisy)
    assert detector.rank_ == 2
    codes = detector.transform(X[:50])
    assert codes.shape == (50, 2)
    assert np.allclose(detector.inverse_transform(codes), X[:50], atol=1e-3)
    # A row off the plane has the rest of it in its score, entry by entry.
    row = X[:1] + 3 * (np.arange(30) == 7)
    assert detector.explain(row).argmax() == 7
    assert np.allclose(detector.explain(row).sum(), detector.decision_function(row), rtol=1e-5)


@pytest.mark.parametrize("far", [1e4, 1e8, 1e15])
def test_one_wild_cell_does_not_hide_the_rest(far, plane):
    X = plane.copy()
    X[100, 3] = far
    clean, wild = RobustPCA().fit(plane), RobustPCA(store_decomposition=True).fit(X)
    assert wild.rank_ == clean.rank_
    assert wild.decision_scores_.argmax() == 100
    kept = np.arange(300) != 100
    assert wild.score(X[kept], np.arange(299) < 6) > 0.999
    assert wild.sparse_[100, 3] == pytest.approx(far, rel=0.01)


def test_far_rows_of_the_right_kind_are_not_anomalous():
    rng = np.random.default_rng(0)
    X = rng.standard_t(3, size=(500, 2)) @ rng.normal(size=(2, 10)) + 0.05 * rng.normal(
        size=(500, 10)
    )
    y = np.arange(500) < 20
    X[y] = 2 * rng.normal(size=(20, 10))
    assert RobustPCA().fit(X).score(X, y) > 0.99


def test_a_low_rank_part_of_full_rank_still_leaves_something_to_score_by(plane):
    detector = RobustPCA(lam=5.0).fit(plane)
    assert detector.rank_ == 8
    assert detector.transform(plane).shape == (300, 7)
    assert detector.score(plane, np.arange(300) < 6) > 0.9
    column = RobustPCA().fit(plane[:, :1])
    far = column.decision_scores_.argsort()[-10:]
    distance = np.abs(plane[:, 0] - np.median(plane[:, 0]))
    assert set(far) == set(distance.argsort()[-10:])


def test_decompose_leaves_the_share_of_entries_that_contamination_says(cancer):
    X = cancer[0]
    for share in (0.02, 0.2):
        detectors = [RobustPCA(contamination=share, tol=tol).fit(X) for tol in (1e-4, 1e-5)]
        parts = [d.decompose(X) for d in detectors]
        for low_rank, sparse in parts:
            assert np.allclose(low_rank + sparse, X)
            assert share / 2 < (sparse != 0).mean() < 2 * share
        # It belongs to the problem, not to how far the solver went.
        assert np.abs(parts[0][1] - parts[1][1]).mean() < 0.1 * np.abs(parts[0][1]).mean()


def test_parameters_set_after_a_fit_wait_for_the_next(plane):
    detector = RobustPCA().fit(plane)
    scores, parts = detector.decision_function(plane), detector.decompose(plane)
    detector.set_params(scaler=None, score_function="norm", contamination=0.4, lam=9.0)
    assert np.array_equal(detector.decision_function(plane), scores)
    assert np.array_equal(detector.decompose(plane)[1], parts[1])


def test_more_features_than_rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 2)) @ rng.normal(size=(2, 120)) + 0.05 * rng.normal(size=(40, 120))
    X[3, ::3] += 5
    detector = RobustPCA().fit(X)
    assert detector.decision_scores_.argmax() == 3
    assert detector.rank_ < 40


def test_where_all_is_sparse_nothing_is_explained(cancer):
    X = cancer[0]
    detector = RobustPCA(lam=1e-4, scaler="standard", score_function="norm").fit(X)
    assert detector.rank_ == 0
    expected = np.abs((X - X.mean(axis=0)) / X.std(axis=0)).sum(axis=1)
    assert np.allclose(detector.decision_scores_, expected, rtol=1e-4)
    assert not detector.transform(X).any()


def test_too_few_iterations_are_warned_of(cancer):
    with pytest.warns(ConvergenceWarning, match="3 iterations did not reach tol=0.0001"):
        detector = RobustPCA(max_iter=3).fit(cancer[0])
    assert detector.n_iter_ == 3 == len(detector.history_)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lam": 0}, "lam"),
        ({"lam": "big"}, "lam"),
        ({"max_iter": 0}, "max_iter"),
        ({"tol": 0}, "tol"),
        ({"scaler": "max"}, "scaler"),
        ({"score_function": "l2"}, "score_function"),
        ({"contamination": "auto"}, "contamination"),
        ({"contamination": 0.7}, "contamination"),
        ({"store_decomposition": "yes"}, "store_decomposition"),
        ({"device": "abacus"}, "device"),
    ],
)
def test_wrong_parameters_leave_the_detector_as_it_was(options, message, plane):
    detector = RobustPCA().fit(plane)
    scores = detector.decision_scores_
    detector.set_params(**options)
    with pytest.raises((ValueError, TypeError), match=message):
        detector.fit(plane)
    assert detector.decision_scores_ is scores
