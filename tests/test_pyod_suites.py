"""The detectors in the tools that take any PyOD detector."""

import inspect
import pickle
import warnings

import numpy as np
import pytest
from pyod.models.iforest import IForest
from pyod.models.lof import LOF
from pyod.models.lscp import LSCP
from pyod.utils.data import evaluate_print
from pyod.utils.utility import standardizer
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from skrdae import AnoGANDetector, RobustDeepAutoencoder, VAEDetector

DETECTORS = (RobustDeepAutoencoder, VAEDetector, AnoGANDetector)
# Small enough for a test; the defaults train for longer.
SMALL = {
    RobustDeepAutoencoder: {"n_estimators": 2},
    VAEDetector: {"n_estimators": 2},
    AnoGANDetector: {"n_estimators": 2, "n_epochs": 10, "n_encoder_epochs": 10},
}


def make(detector, **options):
    return detector(**(SMALL[detector] | {"random_state": 0} | options))


@pytest.fixture(scope="module")
def scaled(cancer):
    X, y = cancer
    return StandardScaler().fit_transform(X), y


@pytest.fixture(scope="module")
def fitted(scaled):
    return [make(detector).fit(scaled[0]) for detector in DETECTORS]


# ------------------------------------------------------------------------------------ SUOD


@pytest.mark.filterwarnings("ignore:UNK does not have a predefined code:UserWarning")
@pytest.mark.filterwarnings("ignore:A worker stopped while some jobs:UserWarning")
@pytest.mark.slow
def test_suod_fits_what_each_detector_fits_alone(scaled, fitted):
    pytest.importorskip("suod")
    from pyod.models.suod import SUOD

    X, y = scaled
    given = [make(detector) for detector in DETECTORS]
    one, two = (SUOD(list(given), n_jobs=n_jobs, bps_flag=False).fit(X) for n_jobs in (1, 2))
    assert not any(hasattr(detector, "decision_scores_") for detector in given)
    expected = np.column_stack([detector.decision_scores_ for detector in fitted])
    for suite in (one, two):
        copies = suite.model_.base_estimators
        assert [type(copy) for copy in copies] == list(DETECTORS)
        found = np.column_stack([copy.decision_scores_ for copy in copies])
        assert np.array_equal(found, expected)
        # Scored anew in the processes, and neither projected nor approximated.
        assert np.array_equal(suite.model_.decision_function(X), expected)
        assert np.array_equal(suite.decision_function(X), suite.decision_scores_)
        for copy, alone in zip(copies, fitted, strict=True):
            assert np.array_equal(copy.predict(X), alone.labels_)
            assert len(pickle.dumps(copy)) < 1.1 * len(pickle.dumps(alone))
    assert np.array_equal(one.decision_scores_, two.decision_scores_)
    np.testing.assert_allclose(one.decision_scores_, standardizer(expected).mean(axis=1))
    assert roc_auc_score(y, one.decision_scores_) > 0.85


def test_suod_is_silent_where_its_lists_name_us(scaled):
    pytest.importorskip("suod")
    from pyod.models.suod import SUOD

    named = {"rp_ng_clf_list": ["UNK"], "approx_ng_clf_list": ["UNK"]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # anew: the import of suod sets filters of its own
        SUOD([make(detector) for detector in DETECTORS[:2]], bps_flag=False, **named).fit(scaled[0])


@pytest.mark.filterwarnings("ignore:UNK does not have a predefined code:UserWarning")
def test_suod_approximates_where_it_is_told_to(scaled, fitted):
    pytest.importorskip("suod")
    from pyod.models.suod import SUOD

    X, _ = scaled
    suite = SUOD(
        [make(detector) for detector in DETECTORS[:2]],
        combination="maximization",
        bps_flag=False,
        approx_clf_list=["UNK"],  # what SUOD calls every class that is not PyOD's
    ).fit(X)
    for k in range(2):
        assert np.array_equal(
            suite.model_.base_estimators[k].decision_scores_, fitted[k].decision_scores_
        )
        approximation = suite.model_.decision_function(X)[:, k]
        assert not np.array_equal(approximation, fitted[k].decision_scores_)
        assert np.corrcoef(approximation, fitted[k].decision_scores_)[0, 1] > 0.8


# ------------------------------------------------------------------------------------ LSCP


def test_lscp_selects_among_ours_and_pyods(scaled, fitted):
    X, y = scaled

    def suite():
        detectors = [make(detector) for detector in DETECTORS] + [LOF()]
        return LSCP(detectors, n_bins=4, random_state=0).fit(X)

    first, second = suite(), suite()
    for k, alone in enumerate(fitted):
        assert np.array_equal(first.train_scores_[:, k], alone.decision_scores_)
        assert np.array_equal(first.detector_list[k].decision_scores_, alone.decision_scores_)
    assert np.array_equal(first.decision_scores_, second.decision_scores_)
    assert np.array_equal(first.decision_function(X[:20]), second.decision_function(X[:20]))
    # Each row's score is a mean of some detectors' standardised scores.
    again = [detector.decision_function(X) for detector in first.detector_list]
    _, columns = standardizer(first.train_scores_, np.column_stack(again))
    assert (first.decision_scores_ >= columns.min(axis=1) - 1e-9).all()
    assert (first.decision_scores_ <= columns.max(axis=1) + 1e-9).all()
    assert roc_auc_score(y, first.decision_scores_) > 0.85


def test_lscp_wants_two_detectors(scaled):
    with pytest.raises(ValueError, match="less than 2"):
        LSCP([make(VAEDetector)]).fit(scaled[0])


# ----------------------------------------------------------------------------- combination


def test_combinations_of_our_scores(scaled, fitted):
    pytest.importorskip("combo")
    from pyod.models.combination import aom, average, majority_vote, maximization, median, moa

    X, y = scaled
    detectors = [*fitted, IForest(random_state=0).fit(X)]
    train = np.column_stack([detector.decision_scores_ for detector in detectors])
    new = np.column_stack([detector.decision_function(X[:30]) for detector in detectors])
    train_z, new_z = standardizer(train, new)
    # Scoring a training row again gives its training score, here too.
    np.testing.assert_allclose(new_z, train_z[:30], atol=1e-9)

    mean, largest = average(train_z), maximization(train_z)
    np.testing.assert_allclose(mean, train_z.mean(axis=1))
    assert np.array_equal(largest, train_z.max(axis=1))
    for method in (aom, moa):
        mixed = method(train_z, n_buckets=2, random_state=0)
        assert ((mixed >= mean - 1e-9) & (mixed <= largest + 1e-9)).all()
        assert roc_auc_score(y, mixed) > 0.85
    # With a bucket for each detector the one is the mean and the other the maximum.
    np.testing.assert_allclose(aom(train_z, n_buckets=4), mean)
    assert np.array_equal(moa(train_z, n_buckets=4), largest)
    for combined in (mean, largest, median(train_z)):
        assert roc_auc_score(y, combined) > 0.85

    labels = np.column_stack([detector.labels_ for detector in fitted])
    votes = majority_vote(labels)
    assert np.array_equal(votes, (labels.sum(axis=1) >= 2).astype(int))
    probabilities = np.column_stack([detector.predict_proba(X)[:, 1] for detector in fitted])
    assert ((average(probabilities) >= 0) & (average(probabilities) <= 1)).all()


# -------------------------------------------------------------------------- evaluate_print


@pytest.mark.parametrize("k", range(3), ids=[detector.__name__ for detector in DETECTORS])
def test_evaluate_print_prints_our_score(k, scaled, fitted, capsys):
    X, y = scaled
    detector = fitted[k]
    evaluate_print("ours", y, detector.decision_scores_)
    from_training = capsys.readouterr().out
    evaluate_print("ours", y, detector.decision_function(X))
    assert capsys.readouterr().out == from_training
    printed = from_training.partition("ROC:")[2].partition(",")[0]
    assert float(printed) == round(detector.score(X, y), 4)


# -------------------------------------------------------------------------------- ADEngine


def _engine(**options):
    engine = pytest.importorskip("pyod.utils.ad_engine").ADEngine(**options)
    for detector in DETECTORS:
        engine.kb.algorithms[detector.__name__] = {
            "class_path": f"skrdae.{detector.__name__}",
            "status": "shipped",
            "data_types": ["tabular"],
            "default_params": {"contamination": 0.05},
        }
    return engine


def _needs(what):
    # The engine came, and grew, after the oldest version supported; the newest has both.
    module = pytest.importorskip("pyod.utils.ad_engine")
    there = {
        "seed": "random_state" in inspect.signature(module.ADEngine).parameters,
        "make_plan": hasattr(module.ADEngine, "make_plan"),
    }
    if not there[what]:
        pytest.skip(f"this PyOD's ADEngine has no {what}")


def test_ad_engine_runs_ours_by_name(scaled, fitted):
    X, _ = scaled
    engine = _engine()
    listed = {entry["name"] for entry in engine.list_detectors(data_type="tabular")}
    for detector, alone in zip(DETECTORS, fitted, strict=True):
        name = detector.__name__
        assert name in listed
        assert engine.explain_detector(name)["class_path"] == f"skrdae.{name}"
        plan = {"detector_name": name, "params": SMALL[detector] | {"random_state": 0}}
        assert type(engine.build_detector(plan)) is detector
        result = engine.run_detection(X, plan, X_test=X[:7])
        assert np.array_equal(result["scores_train"], alone.decision_scores_)
        assert np.array_equal(result["labels_train"], alone.labels_)
        assert result["threshold"] == alone.threshold_
        assert np.array_equal(result["scores_test"], alone.decision_scores_[:7])
        assert np.array_equal(result["labels_test"], alone.labels_[:7])
        analysis = engine.analyze_results(result, X=X, top_k=3)
        order = np.argsort(alone.decision_scores_)[::-1][:3]
        assert [row["index"] for row in analysis["top_anomalies"]] == order.tolist()
        assert name in analysis["summary"]
        assert name in engine.generate_report(result, analysis)


def test_ad_engine_hands_on_its_seed_and_the_contamination(scaled):
    _needs("seed")
    _needs("make_plan")
    X, _ = scaled
    engine = _engine(random_state=3)
    for detector in DETECTORS:
        plan = engine.make_plan([detector.__name__], params=[dict(SMALL[detector])])
        result = engine.run_detection(X, plan)
        assert result["detector"].get_params()["random_state"] == 3
        direct = make(detector, random_state=3, contamination=0.05).fit(X)
        assert np.array_equal(result["scores_train"], direct.decision_scores_)
        assert np.array_equal(result["labels_train"], direct.labels_)
        plan["params"]["random_state"] = 4  # a plan's own wins
        assert engine.build_detector(plan).random_state == 4


def test_ad_engine_routes_to_ours_by_a_rule(scaled):
    X, y = scaled
    engine = _engine()
    profile = engine.profile_data(X)
    ours = {detector.__name__ for detector in DETECTORS}
    assert engine.plan_detection(profile)["detector_name"] not in ours
    engine.kb.routing_rules["rules"].append(
        {
            "id": "ours",
            "conditions": [{"field": "data_type", "op": "eq", "value": "tabular"}],
            "recommendations": [
                {
                    "detector": detector.__name__,
                    "params": SMALL[detector] | {"random_state": 0, "contamination": 0.05},
                    "confidence": 0.99 - k / 100,
                }
                for k, detector in enumerate(DETECTORS)
            ],
            "reason": "a test",
            "evidence": [],
        }
    )
    direct = [make(detector, contamination=0.05).fit(X) for detector in DETECTORS]
    result = engine.detect(X)
    assert result["plan"]["detector_name"] == "RobustDeepAutoencoder"
    assert np.array_equal(result["scores_train"], direct[0].decision_scores_)

    state = engine.investigate(X)
    assert [entry["detector_name"] for entry in state.results] == [d.__name__ for d in DETECTORS]
    for entry, alone in zip(state.results, direct, strict=True):
        assert entry["status"] == "success"
        assert np.array_equal(entry["scores_train"], alone.decision_scores_)
    assert roc_auc_score(y, state.consensus["scores"]) > 0.85


# --------------------------------------------------------------------------------- ADBench


def _adbench_class(detector):
    class Wrapper:
        def __init__(self, seed, model_name=None):
            self.seed = seed

        def fit(self, X_train, y_train=None):
            self.model = make(detector, random_state=self.seed).fit(X_train)
            return self

        def predict_score(self, X):
            return self.model.decision_function(X)

    return Wrapper


def _adbench(clf, X, y, n_rows=1000):
    """Call `clf` as ADBench's unsupervised pipeline does; return its two measures a seed.

    Small sets are drawn up to `n_rows`, split 7 : 3, and scaled; no label is shown. An error of the
    class becomes NaN.
    """
    results = []
    for seed in np.arange(3) + 1:
        rng = np.random.RandomState(seed)
        rows = (
            rng.choice(np.arange(len(y)), n_rows, replace=True) if len(y) < n_rows else slice(None)
        )
        X_train, X_test, y_train, y_test = train_test_split(
            X[rows], y[rows], test_size=0.3, shuffle=True, stratify=y[rows], random_state=rng
        )
        scaler = MinMaxScaler().fit(X_train)
        X_train, X_test = scaler.transform(X_train), scaler.transform(X_test)
        model = clf
        try:
            model = model(seed=seed, model_name="Customized")
        except Exception as error:
            print(f"initialisation: {error}")
        try:
            model = model.fit(X_train=X_train, y_train=np.zeros_like(y_train))
            scores = model.predict_score(X_test)
            results.append((roc_auc_score(y_test, scores), average_precision_score(y_test, scores)))
        except Exception as error:
            print(f"fit: {error}")
            results.append((np.nan, np.nan))
    return results


@pytest.mark.parametrize("detector", DETECTORS)
def test_adbench_calls_a_wrapper(detector, cancer):
    X, y = cancer
    results = np.array(_adbench(_adbench_class(detector), X, y))
    assert results.shape == (3, 2)
    assert (results[:, 0] > 0.75).all()
    assert (results[:, 1] > 2 * y.mean()).all()
    again = np.array(_adbench(_adbench_class(detector), X, y))
    assert np.array_equal(results, again)


def test_adbench_makes_a_bare_detector_nan(cancer, capsys):
    assert np.isnan(_adbench(VAEDetector, *cancer)).all()
    printed = capsys.readouterr().out
    assert "seed" in printed
    assert "X_train" in printed
