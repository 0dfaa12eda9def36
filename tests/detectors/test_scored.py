"""What follows from scores, for a detector that is nothing but scores."""

import numpy as np
import pytest
from sklearn.base import clone

from skrdae.detectors.scored import ScoredDetector


class _Distance(ScoredDetector):
    """Scores rows by their first value; those that are negative have none."""

    def __init__(self, contamination=0.1):
        self.contamination = contamination

    def fit(self, X, y=None):
        self.decision_scores_ = self._score(self._validated(X))
        self.threshold_ = float(np.nanquantile(self.decision_scores_, 1 - self.contamination))
        self.labels_ = self._labels_of(X, self.decision_scores_)
        return self

    def decision_function(self, X):
        return self._score(self._validated(X))

    def _validated(self, X):
        return np.asarray(X)

    def _score(self, X):
        return np.where(X[:, 0] >= 0, X[:, 0], np.nan)

    def _labels_of(self, X, scores):
        return (scores > self.threshold_).astype(int)

    @property
    def _flagged_share(self):
        return self.contamination


@pytest.fixture
def X():
    X = np.arange(100.0)[:, None]
    X[40:45] = -1
    return X


@pytest.fixture
def fitted(X):
    return _Distance().fit(X)


def test_scores_and_labels_are_those_of_two_calls(fitted, X):
    scores, labels = fitted.scores_and_labels(X)
    assert np.array_equal(scores, fitted.decision_function(X), equal_nan=True)
    assert np.array_equal(labels, fitted.predict(X))
    assert np.array_equal(labels, fitted.fit_predict(X))
    assert np.array_equal(np.flatnonzero(labels), np.arange(90, 100))


@pytest.mark.parametrize("method", ["linear", "unify"])
def test_what_has_no_score_has_no_probability(fitted, X, method):
    normal, anomalous = fitted.predict_proba(X, method=method).T
    missing = np.isnan(fitted.decision_scores_)
    assert missing.sum() == 5
    assert np.array_equal(np.isnan(anomalous), missing)
    known = anomalous[~missing]
    np.testing.assert_allclose(normal[~missing], 1 - known)
    assert (np.diff(known) >= 0).all()
    assert (known.min(), known.max()) == (0.0, pytest.approx(1.0, abs=0.1))


def test_where_all_scores_are_equal_what_exceeds_them_is_anomalous():
    detector = _Distance().fit(np.full((20, 1), 3.0))
    found = detector.predict_proba([[2.0], [3.0], [4.0], [-1.0]])[:, 1]
    assert found[:3].tolist() == [0, 0, 1]
    assert np.isnan(found[3])


def test_confidence_is_least_about_the_threshold_and_missing_without_a_score(fitted, X):
    _, confidence = fitted.predict(X, return_confidence=True)
    assert np.array_equal(confidence, fitted.predict_confidence(X), equal_nan=True)
    assert np.array_equal(np.isnan(confidence), np.isnan(fitted.decision_scores_))
    assert abs(int(np.nanargmin(confidence)) - 90) <= 2
    assert confidence[0] > 0.99


def test_what_is_not_confident_is_rejected(fitted, X):
    labels = fitted.predict_with_rejection(X, T=3)
    rejected = labels == -2
    assert rejected[40:45].all()  # no score
    assert rejected[85:95].any()
    assert not rejected[:40].any()
    assert np.array_equal(labels[~rejected], fitted.labels_[~rejected])
    stats = fitted.predict_with_rejection(X, return_stats=True)[1]
    assert len(stats) == 3
    assert all(np.isfinite(stats))


def test_only_steps_of_series_may_lack_a_score(fitted, X, monkeypatch):
    y = X[:, 0] > 80
    with pytest.raises(ValueError, match="NaN"):
        fitted.score(X, y)
    monkeypatch.setattr(_Distance, "_leaves_steps_out", True)
    assert fitted.score(X, y) == 1
    with pytest.raises(ValueError, match=r"_Distance\.score compares"):
        fitted.score(X)


def test_parameters_are_scikit_learns(fitted):
    assert fitted.get_params() == {"contamination": 0.1}
    assert clone(fitted).set_params(contamination=0.2).contamination == 0.2
    assert repr(_Distance(0.25)) == "_Distance(contamination=0.25)"
