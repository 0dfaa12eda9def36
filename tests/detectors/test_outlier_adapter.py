import copy
import pickle
import warnings

import numpy as np
import pytest
from optional import Optional
from pyod.models.auto_encoder import AutoEncoder
from pyod.models.ecod import ECOD
from pyod.models.hbos import HBOS
from pyod.models.iforest import IForest
from pyod.models.knn import KNN
from pyod.models.pca import PCA
from sklearn.base import clone, is_outlier_detector
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from skrdae import (
    AnoGANDetector,
    OutlierAdapter,
    RobustDeepAutoencoder,
    RobustDeepAutoencoderCV,
    VAEDetector,
)
from skrdae.metrics import roc_auc_scorer
from skrdae.thresholds import tune_threshold

iqr = Optional("pythresh.thresholds.iqr")

DETECTORS = [
    RobustDeepAutoencoder(random_state=0),
    RobustDeepAutoencoder(n_estimators=1, contamination="auto", random_state=0),
    VAEDetector(random_state=0),
    AnoGANDetector(n_epochs=5, random_state=0),
    IForest(random_state=0),
    ECOD(),
    HBOS(),
    KNN(),
    PCA(random_state=0),
    AutoEncoder(epoch_num=1, verbose=0, random_state=0),
]


@pytest.mark.parametrize(
    "detector",
    [
        RobustDeepAutoencoder(n_estimators=1, max_iter=2),
        VAEDetector(n_estimators=1, n_epochs=4),
        IForest(n_estimators=10),
        PCA(),
    ],
    ids=lambda d: type(d).__name__,
)
def test_check_estimator_with_the_checks_of_outlier_detectors(detector):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(OutlierAdapter(detector), on_fail=None, on_skip=None)
    assert not [r for r in results if r["status"] not in ("passed", "skipped")]
    passed = {r["check_name"] for r in results if r["status"] == "passed"}
    assert {"check_outliers_train", "check_outliers_fit_predict"} <= passed


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda d: type(d).__name__)
def test_signs_are_turned_and_nothing_else(detector, plane):
    adapter = OutlierAdapter(detector).fit(plane)
    alone = clone(detector)
    alone.fit(plane)
    assert is_outlier_detector(adapter)
    assert np.array_equal(adapter.score_samples(plane), -alone.decision_function(plane))
    assert adapter.offset_ == -alone.threshold_
    decision = adapter.decision_function(plane)
    assert np.array_equal(decision, adapter.score_samples(plane) - adapter.offset_)
    assert np.array_equal(adapter.predict(plane), np.where(alone.predict(plane) == 1, -1, 1))
    assert np.array_equal(adapter.predict(plane), np.where(decision < 0, -1, 1))
    assert np.array_equal(
        OutlierAdapter(detector).fit_predict(plane), np.where(alone.labels_ == 1, -1, 1)
    )
    for other in (pickle.loads(pickle.dumps(adapter)), copy.deepcopy(adapter)):
        assert np.array_equal(other.decision_function(plane), decision)


def test_the_detector_given_is_not_fitted_and_nothing_is_shared(plane):
    detector = RobustDeepAutoencoder(random_state=0)
    before = vars(detector).copy()
    adapter = OutlierAdapter(detector).fit(plane)
    assert vars(detector) == before
    assert clone(adapter).detector is not detector
    assert adapter.set_params(detector__lam=3.0).detector.lam == 3.0


def test_a_pythresh_contamination_keeps_its_labels(cancer):
    X, _ = cancer
    for detector in (
        RobustDeepAutoencoder(contamination=iqr.IQR(), random_state=0),
        KNN(contamination=iqr.IQR()),
    ):
        adapter = OutlierAdapter(detector).fit(X)
        labels = adapter.detector_.labels_
        assert 0 < labels.mean() < 0.5
        # The offset is in the scores' own units.
        flagged = -np.asarray(adapter.detector_.decision_scores_) < adapter.offset_
        assert np.array_equal(flagged, labels == 1)


def test_it_takes_the_place_of_an_isolation_forest(cancer):
    X, y = cancer
    search = GridSearchCV(
        OutlierAdapter(RobustDeepAutoencoder(random_state=0)),
        [
            {"detector__lam": [2.0, 4.0]},
            {"detector": [IForest(random_state=0), RobustDeepAutoencoder(random_state=0)]},
        ],
        scoring=roc_auc_scorer,
        cv=StratifiedKFold(2, shuffle=True, random_state=0),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # y does not reach PyOD, which would warn of it
        scores = search.fit(X, y).cv_results_["mean_test_score"]
    assert scores.min() > 0.8


def test_a_seed_is_passed_on(plane):
    scores = IForest(random_state=3).fit(plane).decision_function(plane)
    for adapter in (
        OutlierAdapter(IForest(), random_state=3),
        OutlierAdapter(IForest(random_state=3)),
    ):
        assert np.array_equal(adapter.fit(plane).score_samples(plane), -scores)
    state = np.random.RandomState(3)
    OutlierAdapter(IForest(), random_state=state).fit(plane)
    assert not np.array_equal(state.get_state()[1], np.random.RandomState(3).get_state()[1])
    OutlierAdapter(ECOD(), random_state=0).fit(plane)  # which has no seed
    with pytest.raises(ValueError, match="seed"):
        OutlierAdapter(ECOD(), random_state="seed").fit(plane)


def test_a_failed_fit_draws_nothing(plane):
    state = np.random.RandomState(0)
    adapter = OutlierAdapter(RobustDeepAutoencoder(lr=1e38), random_state=state)
    before = state.get_state()[1].copy()
    with pytest.raises(ValueError, match="lr"), np.errstate(all="ignore"):
        adapter.fit(plane)
    assert np.array_equal(before, state.get_state()[1])


def test_a_frozen_detector_keeps_its_tuned_threshold(cancer):
    X, y = cancer
    tuned = tune_threshold(RobustDeepAutoencoder(random_state=0).fit(X), X, y)
    adapter = OutlierAdapter(FrozenEstimator(tuned)).fit(X[:100])
    assert adapter.offset_ == -tuned.threshold_
    assert np.array_equal(adapter.predict(X), 1 - 2 * tuned.predict(X))
    assert np.array_equal(adapter.fit_predict(X[:50]), adapter.predict(X[:50]))
    with pytest.raises(NotFittedError):
        OutlierAdapter(FrozenEstimator(RobustDeepAutoencoder())).fit(X)


def test_labels_reach_a_detector_that_chooses_by_them(cancer):
    X, y = cancer
    path = RobustDeepAutoencoderCV(2, cv=2, scoring="roc_auc", n_estimators=1, random_state=0)
    adapter = OutlierAdapter(path).fit(X, y)
    assert np.array_equal(adapter.score_samples(X), -clone(path).fit(X, y).decision_function(X))
    assert np.array_equal(adapter.fit_predict(X, y), adapter.predict(X))


@pytest.mark.parametrize(
    "wrong",
    [
        IsolationForest(),
        IForest,
        RobustDeepAutoencoder,
        None,
        "IForest",
        FrozenEstimator(IsolationForest()),
        make_pipeline(StandardScaler(), IForest()),
    ],
)
def test_what_is_no_detector_is_refused(wrong, plane):
    with pytest.raises(TypeError, match="detector must be a detector"):
        OutlierAdapter(wrong).fit(plane)


def test_a_failed_fit_leaves_it_as_it_was(plane):
    adapter = OutlierAdapter(RobustDeepAutoencoder(random_state=0)).fit(plane)
    before = vars(adapter).copy()
    bad = plane[:, :5].copy()
    bad[3, 3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        adapter.fit(bad)
    with pytest.raises(ValueError, match="lr"):
        adapter.set_params(detector__lr=-1.0).fit(plane)
    assert all(vars(adapter)[key] is before[key] for key in before)
    assert vars(adapter).keys() == before.keys()


def test_not_fitted(plane):
    for method in ("predict", "score_samples", "decision_function"):
        with pytest.raises(NotFittedError):
            getattr(OutlierAdapter(IForest()), method)(plane)
