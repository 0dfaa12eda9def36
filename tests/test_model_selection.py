"""The detectors in scikit-learn's searches, pipelines and unions."""

import numpy as np
import pytest
from pyod.models.iforest import IForest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 (makes the search importable)
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
)
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from skrdae import (
    AnoGANDetector,
    OutlierAdapter,
    RobustDeepAutoencoder,
    RobustDeepAutoencoderCV,
    VAEDetector,
)
from skrdae.metrics import average_precision_scorer, roc_auc_scorer
from skrdae.thresholds import tune_threshold

pytestmark = pytest.mark.filterwarnings("ignore:y should not be presented:UserWarning")  # PyOD's

FOLDS = StratifiedKFold(3, shuffle=True, random_state=0)
ENCODERS = [
    RobustDeepAutoencoder(n_estimators=2, random_state=0),
    RobustDeepAutoencoderCV(2, cv=2, n_estimators=2, random_state=0),
    VAEDetector(n_estimators=2, random_state=0),
    AnoGANDetector(n_estimators=2, n_epochs=5, random_state=0),
]


def _pipeline(detector=None):
    return Pipeline([("scale", StandardScaler()), ("detect", detector)])


def test_one_search_over_lam_and_both_forests(cancer):
    X, y = cancer
    search = GridSearchCV(
        _pipeline(),
        [
            {"detect": [RobustDeepAutoencoder(random_state=0)], "detect__lam": [2.0, 4.0, 8.0]},
            {
                "detect": [IsolationForest(random_state=0), IForest(random_state=0)],
                "detect__n_estimators": [50],
            },
        ],
        scoring={"roc_auc": roc_auc_scorer, "ap": average_precision_scorer},
        refit="roc_auc",
        cv=FOLDS,
    ).fit(X, y)
    scores = search.cv_results_["mean_test_roc_auc"]
    assert len(scores) == 5
    assert scores.min() > 0.85
    # The two forests are one: comparable although their scores point in opposite directions.
    assert scores[3] == pytest.approx(scores[4], abs=0.02)
    # By hand, for one λ.
    by_hand = []
    for train, test in FOLDS.split(X, y):
        pipeline = _pipeline(RobustDeepAutoencoder(4.0, random_state=0)).fit(X[train])
        by_hand.append(roc_auc_score(y[test], pipeline.decision_function(X[test])))
    assert scores[1] == np.mean(by_hand)


@pytest.mark.parametrize("search", [GridSearchCV, HalvingGridSearchCV])
def test_scorings_of_scikit_learn(search, cancer):
    X, y = cancer
    detector = RobustDeepAutoencoder(
        hidden_layer_sizes=(64, 12), contamination="auto", n_estimators=1, random_state=0
    )
    options = {} if search is GridSearchCV else {"factor": 2, "min_resources": 200}
    halving = options and {"random_state": 0}
    for scoring in ("f1", None):
        found = search(
            detector, {"lam": [3.0, 6.0, 9.0]}, scoring=scoring, cv=FOLDS, **options, **halving
        ).fit(X, y)
        assert found.best_score_ > 0.5
        assert found.best_estimator_.lam == found.best_params_["lam"]
        best = found.best_estimator_
        given = {"f1": f1_score(y, best.predict(X)), None: roc_auc_score(y, best.decision_scores_)}
        assert found.score(X, y) == given[scoring]


def test_cross_val_score_and_predict(cancer):
    X, y = cancer
    pipeline = _pipeline(RobustDeepAutoencoder(n_estimators=2, random_state=0))
    scores = cross_val_score(pipeline, X, y, cv=FOLDS)
    assert np.array_equal(scores, cross_val_score(pipeline, X, y, cv=FOLDS, scoring=roc_auc_scorer))
    out_of_fold = cross_val_predict(pipeline, X, y, cv=FOLDS, method="decision_function")
    for fold, (train, test) in enumerate(FOLDS.split(X, y)):
        fitted = clone(pipeline).fit(X[train])
        assert np.array_equal(out_of_fold[test], fitted.decision_function(X[test]))
        assert scores[fold] == roc_auc_score(y[test], out_of_fold[test])
    labels = cross_val_predict(pipeline, X, cv=3)
    assert set(np.unique(labels)) == {0, 1}


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda e: type(e).__name__)
def test_codes_in_unions_and_before_a_classifier(encoder, cancer):
    X, y = cancer
    alone = clone(encoder).fit(X).transform(X)
    union = FeatureUnion([("scaled", StandardScaler()), ("codes", encoder)]).fit(X)
    assert np.array_equal(union.transform(X)[:, X.shape[1] :], alone)
    assert len(union.get_feature_names_out()) == X.shape[1] + alone.shape[1]
    columns = ColumnTransformer(
        [("first", clone(encoder), slice(0, 10)), ("rest", "passthrough", slice(10, 30))]
    ).fit(X)
    first = clone(encoder).fit(X[:, :10])
    assert np.array_equal(columns.transform(X)[:, :-20], first.transform(X[:, :10]))
    classifier = make_pipeline(
        StandardScaler(), clone(encoder), RandomForestClassifier(30, random_state=0)
    )
    assert cross_val_score(classifier, X, y, cv=FOLDS, scoring="roc_auc").mean() > 0.8


def test_a_whole_workflow(cancer):
    """Choose λ in a pipeline, tune its threshold, and turn it into scikit-learn's polarity."""
    X, y = cancer
    pipeline = _pipeline(RobustDeepAutoencoderCV(3, cv=2, n_estimators=2, random_state=0))
    pipeline.set_params(detect__scoring="roc_auc").fit(X, y)
    detector = pipeline["detect"]
    assert detector.best_lam_ in [f"{lam!r}*median" for lam in detector.lams_.tolist()]
    tuned = tune_threshold(pipeline, X, y, "max_fpr", value=0.05)
    assert 0.03 < tuned.predict(X)[y == 0].mean() <= 0.05
    adapted = OutlierAdapter(
        RobustDeepAutoencoder(pipeline["detect"].best_lam_, n_estimators=2, random_state=0)
    ).fit(StandardScaler().fit_transform(X))
    scaled = StandardScaler().fit_transform(X)
    np.testing.assert_array_equal(adapted.score_samples(scaled), -pipeline.decision_function(X))
