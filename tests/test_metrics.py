import pickle

import numpy as np
import pytest
from optional import Optional
from pyod.models.iforest import IForest
from pyod.utils.utility import precision_n_scores
from scipy.integrate import trapezoid
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from skrdae import OutlierAdapter, RobustDeepAutoencoder, VAEDetector
from skrdae.metrics import (
    SCORERS,
    agreement,
    anomaly_scores,
    average_precision_scorer,
    excess_mass_scorer,
    f1_scorer,
    mass_volume_scorer,
    precision_at_n_scorer,
    roc_auc_scorer,
)

pd = Optional("pandas")
pl = Optional("polars")

DETECTORS = [
    RobustDeepAutoencoder(random_state=0),
    VAEDetector(random_state=0),
    IForest(random_state=0),
    OutlierAdapter(RobustDeepAutoencoder(random_state=0)),
    IsolationForest(random_state=0),
    LocalOutlierFactor(novelty=True),
    OneClassSVM(nu=0.1),
]


@pytest.fixture(scope="module")
def blob():
    """200 rows, every tenth far from the others."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 3)), (np.arange(200) % 10 == 0).astype(int)
    X[y == 1] *= 5
    return X, y


class Fixed:
    """Gives the scores that it is made with."""

    def __init__(self, scores):
        self.scores = np.asarray(scores, float)
        self.decision_scores_ = None  # the mark of PyOD's polarity

    def decision_function(self, X):
        return self.scores

    def predict(self, X):
        return (self.scores > 0.5).astype(int)


# ------------------------------------------------------------------------------------ polarity


@pytest.mark.filterwarnings("ignore:y should not be presented:UserWarning")  # of PyOD
@pytest.mark.parametrize("detector", DETECTORS, ids=lambda d: type(d).__name__)
def test_far_rows_score_high_in_every_wrapping(detector, blob):
    X, y = blob
    alone = clone(detector).fit(X)
    scores = anomaly_scores(alone, X)
    assert roc_auc_score(y, scores) > 0.8
    assert f1_scorer(alone, X, y) > 0.4
    pipeline = make_pipeline(StandardScaler(with_mean=False, with_std=False), detector).fit(X)
    folds = StratifiedKFold(2, shuffle=True, random_state=0)
    search = GridSearchCV(Pipeline([("d", clone(detector))]), {}, scoring=roc_auc_scorer, cv=folds)
    search.fit(X, y)
    for wrapped in (pipeline, FrozenEstimator(alone)):
        np.testing.assert_allclose(anomaly_scores(wrapped, X), scores)
        assert f1_scorer(wrapped, X, y) == f1_scorer(alone, X, y)
    assert roc_auc_score(y, anomaly_scores(search, X)) > 0.8


def test_classifiers_are_scored_as_they_are(blob):
    X, y = blob
    forest = RandomForestClassifier(10, random_state=0).fit(X, y)
    assert np.array_equal(anomaly_scores(forest, X), forest.predict_proba(X)[:, 1])
    assert f1_scorer(forest, X, y) == f1_score(y, forest.predict(X))
    three = RandomForestClassifier(5, random_state=0).fit(X, np.arange(200) % 3)
    with pytest.raises(ValueError, match="3 classes"):
        anomaly_scores(three, X)


@pytest.mark.parametrize("wrong", [KMeans(2, n_init=1), LocalOutlierFactor(), StandardScaler()])
def test_what_gives_no_scores_is_named(wrong, blob):
    X, y = blob
    with pytest.raises(TypeError, match=type(wrong).__name__):
        roc_auc_scorer(wrong.fit(X), X, y)
    with pytest.raises(TypeError, match=type(wrong).__name__):
        f1_scorer(wrong, X, y)
    with pytest.raises(TypeError, match="is a class"):
        roc_auc_scorer(type(wrong), X, y)


# ---------------------------------------------------------------------------- with labels


def test_the_metrics_are_scikit_learns(blob):
    X, y = blob
    rng = np.random.default_rng(1)
    scores = rng.uniform(size=200) + 0.3 * y
    fixed = Fixed(scores)
    assert roc_auc_scorer(fixed, X, y) == roc_auc_score(y, scores)
    assert average_precision_scorer(fixed, X, y) == average_precision_score(y, scores)
    assert f1_scorer(fixed, X, y) == f1_score(y, scores > 0.5)
    assert precision_at_n_scorer(fixed, X, y) == pytest.approx(precision_n_scores(y, scores))
    booleans = y.astype(bool)
    assert roc_auc_scorer(fixed, X, booleans) == roc_auc_scorer(fixed, X, y.tolist())


def test_ties_count_in_proportion():
    y = np.array([1, 1, 0, 0, 0, 1])
    assert precision_at_n_scorer(Fixed([9, 5, 5, 5, 1, 1]), y, y) == pytest.approx((1 + 2 / 3) / 3)
    assert precision_at_n_scorer(Fixed(np.ones(6)), y, y) == pytest.approx(0.5)
    order = [3, 5, 0, 2, 4, 1]
    scores = np.array([9, 5, 5, 5, 1, 1.0])
    moved = precision_at_n_scorer(Fixed(scores[order]), y, y[order])
    assert moved == precision_at_n_scorer(Fixed(scores), y, y)


@pytest.mark.parametrize("scorer", SCORERS.values())
def test_one_class_gives_nan_and_a_warning(scorer, blob):
    X, _ = blob
    for labels, word in ((np.zeros(200), "normal rows only"), (np.ones(200), "anomalies only")):
        with pytest.warns(UndefinedMetricWarning, match=word):
            assert np.isnan(scorer(Fixed(np.arange(200)), X, labels))


@pytest.mark.parametrize("scorer", SCORERS.values())
@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (None, "compares scores with labels, but y is None"),
        (np.where(np.arange(200) % 10 == 0, -1, 1), "y == -1"),
        (np.arange(200) % 3, "holds 0, 1, 2"),
        (np.where(np.arange(200) == 3, np.nan, 0.0), "NaN"),
        (np.array(["a", "b"] * 100), "'a'"),
        (np.zeros((200, 2)), "1d"),
    ],
)
def test_labels_have_to_be_zero_or_one(scorer, labels, words, blob):
    with pytest.raises(ValueError, match=words):
        scorer(Fixed(np.arange(200)), blob[0], labels)


@pytest.mark.filterwarnings("ignore:y should not be presented:UserWarning")  # of PyOD
def test_one_search_over_both_polarities_is_comparable(blob):
    X, y = blob
    search = GridSearchCV(
        Pipeline([("detector", IForest())]),
        {"detector": DETECTORS},
        scoring=roc_auc_scorer,
        cv=StratifiedKFold(3, shuffle=True, random_state=0),
    )
    search.fit(X, y)
    scores = search.cv_results_["mean_test_score"]
    assert scores.min() > 0.8
    # The same forest, PyOD's and scikit-learn's.
    assert scores[2] == pytest.approx(scores[4], abs=0.02)
    # The same detector, with and without the adapter.
    assert scores[0] == scores[3]


def test_a_fold_without_anomalies_does_not_stop_a_search(blob):
    X, y = blob
    order = np.argsort(y, kind="stable")
    with pytest.warns(UndefinedMetricWarning, match="Stratified"):
        scores = cross_val_score(
            IsolationForest(random_state=0), X[order], y[order], scoring=roc_auc_scorer, cv=3
        )
    assert np.isnan(scores[0])
    assert scores[-1] > 0.8


@pytest.mark.parametrize("scorer", [*SCORERS.values(), excess_mass_scorer, mass_volume_scorer])
def test_scorers_pickle(scorer):
    assert pickle.loads(pickle.dumps(scorer)) is scorer


# ------------------------------------------------------------------------- without labels


class Radius:
    """Scores rows by a function of their distance from the origin."""

    def __init__(self, function):
        self.function = function
        self.decision_scores_ = None

    def decision_function(self, X):
        return self.function(np.linalg.norm(X, axis=1))


def _by_hand(detector, X):
    """Return both criteria on a fine grid, by their definitions, with points of our own."""
    box = np.random.default_rng(5).uniform(X.min(axis=0), X.max(axis=0), size=(200_000, X.shape[1]))
    rows = detector.decision_function(X)
    levels = np.unique(rows)
    mass = np.array([(rows <= u).mean() for u in levels])
    volume = np.searchsorted(np.sort(detector.decision_function(box)), levels, "right") / len(box)
    t = np.linspace(0, 5, 4001)
    em = (mass[:, None] - volume[:, None] * t).max(axis=0)
    alpha = np.linspace(0.9, 1, 2001)
    mv = np.array([volume[mass >= a - 1e-12].min() for a in alpha])
    return trapezoid(em[em >= 0.9], t[em >= 0.9]), -mv.mean() * 0.1


@pytest.mark.parametrize("function", [lambda r: r, lambda r: np.round(r, 1), lambda r: -r])
def test_criteria_are_their_definitions(function, monkeypatch):
    monkeypatch.setattr("skrdae.metrics._N_UNIFORM", 400_000)
    X = np.random.default_rng(0).normal(size=(400, 2))
    detector = Radius(function)
    em, mv = _by_hand(detector, X)
    assert excess_mass_scorer(detector, X) == pytest.approx(em, rel=0.01)
    assert mass_volume_scorer(detector, X) == pytest.approx(mv, rel=0.01)


def test_criteria_prefer_the_density():
    X = np.random.default_rng(0).normal(size=(400, 2))
    good, bad = Radius(lambda r: r), Radius(lambda r: np.abs(r - 2))
    assert excess_mass_scorer(good, X) > excess_mass_scorer(bad, X)
    assert mass_volume_scorer(good, X) > mass_volume_scorer(bad, X)
    # Any increasing function of a score is as good, and so is data in another unit.
    assert excess_mass_scorer(Radius(np.exp), X) == excess_mass_scorer(good, X)
    assert excess_mass_scorer(good, 7 * X) == pytest.approx(excess_mass_scorer(good, X), rel=1e-6)
    # Constant scores: every level set is the whole box.
    constant = Radius(np.zeros_like)
    assert mass_volume_scorer(constant, X) == pytest.approx(-0.1)
    assert excess_mass_scorer(constant, X) == pytest.approx(0.1 * 0.95)


@pytest.mark.parametrize("scorer", [excess_mass_scorer, mass_volume_scorer])
def test_criteria_work_in_a_search_and_leave_random_state_alone(scorer, blob):
    X, _ = blob
    before = np.random.get_state()[1].copy()
    forest = IsolationForest(random_state=0)
    search = GridSearchCV(forest, {"max_samples": [8, 64]}, scoring=scorer, cv=2).fit(X)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert np.array_equal(before, np.random.get_state()[1])


@pytest.mark.parametrize("scorer", [excess_mass_scorer, mass_volume_scorer])
@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_criteria_take_frames(scorer, frame, blob):
    X, _ = blob
    table = frame(dict(zip("abc", X.T, strict=True)))
    columns = ColumnTransformer([("some", StandardScaler(), ["a", "c"])])
    detector = make_pipeline(columns, RobustDeepAutoencoder(n_estimators=1, random_state=0))
    value = scorer(detector.fit(table), table)
    assert np.isfinite(value)
    assert value == pytest.approx(
        scorer(
            clone(detector)
            .set_params(columntransformer__transformers=[("some", StandardScaler(), [0, 2])])
            .fit(X),
            X,
        )
    )


@pytest.mark.parametrize("scorer", [excess_mass_scorer, mass_volume_scorer])
def test_criteria_say_when_there_is_no_volume_to_measure(scorer):
    X = np.random.default_rng(0).normal(size=(100, 300))
    with pytest.warns(UndefinedMetricWarning, match="300"):
        assert np.isnan(scorer(Radius(lambda r: r), X))


def test_agreement_finds_the_odd_one_out():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=100)
    scores = [truth + 0.1 * rng.normal(size=100) for _ in range(4)] + [rng.normal(size=100)]
    rated = agreement([10 * scores[0] + 3, *scores[1:]])
    assert rated.argmin() == 4
    assert rated[:4].min() > 0.9
    assert np.array_equal(agreement([np.ones(5), np.ones(5)]), [0, 0])
