"""The template, seen from a detector of one's own. The contract holds all others to it."""

import copy
import pickle
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from skrdae.detectors.base import BaseTorchDetector, Learnt
from skrdae.networks.member import MemberModule
from skrdae.registry import parameters
from skrdae.scorers.base import Scorer


class _Centres(MemberModule):
    """K centres, each drawn from the rows."""

    code_size = 1

    def __init__(self, centres):
        super().__init__()
        self.add("centres", centres)


@dataclass(frozen=True, eq=False)
class _Distance(Scorer):
    """(K, n): squared distance from the members' centres, times a factor."""

    factor: float

    def scores(self, network, rows, workspace):
        return self.shares(network, rows, workspace).sum(dim=-1)

    def shares(self, network, rows, workspace):
        return (rows - network.centres).square() * self.factor

    def codes(self, network, rows, workspace):
        return self.scores(network, rows, workspace)[..., None]


@parameters
class _Nearest(BaseTorchDetector):
    n_estimators: int = 3
    random_state: object = None
    factor: float = 1.0

    @property
    def _n_rounds(self):
        return 2

    def _learn(self, task):
        self.task_ = task
        for iteration in (1, 2):
            task.session.tell({"iteration": iteration})
        places = [np.random.RandomState(seed).randint(len(task.rows)) for seed in task.seeds]
        network = _Centres(task.rows.take(torch.tensor(places))[:, None])
        scorer = _Distance(task.scaler.bound_, self.factor)
        return Learnt(network, scorer, {"history_": [{"iteration": 1}, {"iteration": 2}]})


@pytest.fixture
def X():
    return np.random.default_rng(0).normal(size=(80, 4)) * [1, 10, 100, 1000]


def _fitted(X, **options):
    return _Nearest(**{"random_state": 0} | options).fit(X)


def test_a_training_gets_scaled_rows_seeds_and_names(X):
    task = _fitted(X, scaler="standard").task_
    assert task.rows.shape == (80, 4)
    expected = (X - X.mean(axis=0)) / X.std(axis=0)
    np.testing.assert_allclose(task.rows.take(slice(None)).cpu().numpy(), expected, atol=1e-5)
    assert len(set(task.seeds.tolist())) == 3
    assert task.names.tolist() == [0, 1, 2, 3]
    assert task.scaler.method == "standard"


def test_what_it_returns_is_a_fitted_detector(X):
    detector = _fitted(X)
    assert detector.history_ == [{"iteration": 1}, {"iteration": 2}]
    assert detector.network_ is detector.model_.network
    assert detector.scaler_ is detector.model_.scaler
    assert detector.device_ == detector.network_.device
    assert detector.n_features_in_ == 4
    assert detector.labels_.sum() == 8
    assert detector.classes_.tolist() == [0, 1]
    assert np.array_equal(detector.decision_function(X), detector.decision_scores_)
    shares = detector.explain(X)
    np.testing.assert_allclose(shares.sum(axis=1), detector.decision_scores_, rtol=1e-5)
    assert detector.transform(X).shape == (80, 3)


@pytest.mark.parametrize("name", ["network_", "scaler_", "device_"])
def test_what_was_found_is_read_only(X, name):
    with pytest.raises(AttributeError):
        setattr(_fitted(X), name, None)


def test_members_are_brought_to_one_scale(X):
    detector = _fitted(X)
    members = detector.model_.map(detector.model_.scorer.scores, detector.model_.rows(X))
    medians = np.median(members, axis=1)
    expected = (members / medians[:, None]).mean(axis=0) * medians.mean()
    np.testing.assert_allclose(detector.decision_scores_, expected)


def test_before_a_fit_there_is_nothing(X):
    for method in ("decision_function", "predict", "explain", "transform"):
        with pytest.raises(NotFittedError):
            getattr(_Nearest(), method)(X)
    assert not hasattr(_Nearest(), "network_")


def test_a_second_fit_forgets_the_first(X):
    detector = _fitted(X)
    detector.left_over_ = 1
    detector.fit(X[:, :3])
    assert not hasattr(detector, "left_over_")
    assert detector.n_features_in_ == 3


def test_scores_that_are_not_finite_are_an_error_and_nothing_is_changed(X):
    detector = _fitted(X)
    before = vars(detector).copy()
    with pytest.raises(ValueError, match="The training of _Nearest diverged"):
        detector.set_params(factor=float("nan")).fit(X)
    detector.set_params(factor=1.0)
    assert all(vars(detector)[name] is value for name, value in before.items())


def test_scores_that_are_all_the_same_are_warned_of(X):
    with pytest.warns(ConvergenceWarning, match="_Nearest gives every training row the same"):
        _fitted(X, factor=0.0)


def test_auto_is_refused_by_detectors_whose_members_do_not_vote(X):
    with pytest.raises(ValueError, match=r"contamination must be a share.*for _Nearest"):
        _fitted(X, contamination="auto")


def test_whole_numbers_that_no_array_holds_are_named(X):
    with pytest.raises(ValueError, match="'verbose' parameter of _Nearest must be at most"):
        _fitted(X, verbose=2**63)


def test_a_threshold_from_outside_decides_whatever_decided_so_far(X):
    detector = _fitted(X)
    detector.threshold_ = float(np.median(detector.decision_scores_))
    detector.labels_ = (detector.decision_scores_ > detector.threshold_).astype(int)
    detector._flag_above_threshold()
    assert np.array_equal(detector.predict(X), detector.labels_)
    assert detector.model_.share == 0.5


def test_pickles_and_copies_score_the_same(X):
    detector = _fitted(X)
    del detector.task_  # which holds a session's functions
    for other in (pickle.loads(pickle.dumps(detector)), copy.deepcopy(detector)):
        assert np.array_equal(other.decision_function(X), detector.decision_scores_)


def test_a_pickle_of_the_version_before_is_refused_with_what_to_do():
    detector = _Nearest()
    with pytest.raises(ValueError, match=r"pickled by skrdae 0\.1.*skrdae==0\.1\.0.*skrdae\.load"):
        detector.__setstate__({"network_": None, "scaler_": None})
    assert "network_" not in vars(detector)
