import copy
import pickle
import warnings

import numpy as np
import pytest
from pyod.models.base import BaseDetector
from pyod.models.iforest import IForest
from pyod.models.knn import KNN
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, StratifiedKFold
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from skrdae import (
    CalibratedDetector,
    ConvRobustAutoencoder,
    RobustDeepAutoencoder,
    VAEDetector,
    WindowedDetector,
)
from skrdae.metrics import anomaly_scores, roc_auc_scorer
from skrdae.thresholds import fdr_labels, tune_threshold

QUICK = RobustDeepAutoencoder(n_estimators=2, max_iter=2, random_state=0)


@pytest.mark.parametrize(
    "detector",
    [RobustDeepAutoencoder(n_estimators=1, max_iter=1), IsolationForest(n_estimators=5)],
    ids=lambda d: type(d).__name__,
)
def test_check_estimator(detector):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(CalibratedDetector(detector, cv=2), on_fail=None, on_skip=None)
    assert not [r for r in results if r["status"] not in ("passed", "skipped")]


@pytest.mark.parametrize(
    "detector",
    [
        QUICK,
        VAEDetector(n_estimators=2, n_epochs=4, random_state=0),
        KNN(),
        IForest(n_estimators=20, random_state=0),
        IsolationForest(n_estimators=20, random_state=0),
        make_pipeline(StandardScaler(), QUICK),
    ],
    ids=lambda d: type(d).__name__,
)
def test_calibration_scores_are_of_clones_that_have_not_seen_the_row(detector, plane):
    folds = list(KFold(3).split(plane))
    calibrated = CalibratedDetector(detector, cv=folds).fit(plane)
    alone = [clone(detector).fit(plane[train]) for train, _ in folds]
    for one, (_, test) in zip(alone, folds, strict=True):
        found = calibrated.decision_scores_[test]
        assert np.array_equal(found, anomaly_scores(one, plane[test]))
    # New rows are scored by one that is fitted to all rows.
    new = plane[:20] + 0.1
    scores = anomaly_scores(clone(detector).fit(plane), new)
    assert np.array_equal(calibrated.decision_function(new), scores)
    known = calibrated.decision_scores_[:, None]
    by_hand = (1 + (known >= scores).sum(axis=0)) / (1 + len(plane))
    assert np.array_equal(calibrated.p_values(new), by_hand)


@pytest.mark.parametrize("max_fpr", [0.01, 0.05, 0.29, 0.5, 0.999])
@pytest.mark.parametrize("n", [99, 150])
def test_what_is_flagged_is_what_has_a_small_p_value(max_fpr, n, plane):
    calibrated = CalibratedDetector(KNN(), max_fpr=max_fpr, cv=3, random_state=0).fit(plane[:n])
    new = np.r_[plane[n:], plane[n:] * 1.3]
    p_values = calibrated.p_values(new)
    assert np.array_equal(calibrated.predict(new), (p_values <= max_fpr * (1 + 1e-9)).astype(int))
    assert p_values.min() >= 1 / (n + 1)
    assert p_values.max() <= 1
    assert calibrated.labels_.sum() <= max_fpr * (n + 1)
    assert calibrated.contamination == max_fpr


def _rates(detector, levels, draw, n=200, n_new=400, n_times=12):
    """Return the share of new normal rows with a p-value of each level or less, by repetition."""
    rates = []
    for seed in range(n_times):
        rng = np.random.default_rng(seed)
        rows = draw(rng)
        p_values = (
            CalibratedDetector(detector, random_state=seed).fit(rows(n)).p_values(rows(n_new))
        )
        rates.append([(p_values <= level).mean() for level in levels])
    return np.array(rates)


def _gaussian(rng):
    return lambda n: rng.normal(size=(n, 5))


def _low_rank(rng):
    plane = rng.normal(size=(2, 20))
    return lambda n: rng.normal(size=(n, 2)) @ plane + 0.05 * rng.normal(size=(n, 20))


def _heavy(rng):
    return lambda n: rng.standard_t(3, size=(n, 8))


@pytest.mark.parametrize("draw", [_gaussian, _low_rank, _heavy])
@pytest.mark.parametrize("detector", [QUICK, KNN()], ids=["robust", "KNN"])
def test_new_normal_rows_are_flagged_at_the_rate_asked_for(detector, draw):
    levels = np.array([0.01, 0.05, 0.1])
    rates = _rates(detector, levels, draw)
    # Of a repetition: what calibrating with 200 rows and counting 400 leaves to chance.
    errors = np.sqrt(levels * (1 - levels) * (1 / 200 + 1 / 400) / len(rates))
    assert (np.abs(rates.mean(axis=0) - levels) < 3.5 * errors).all()


def test_anomalies_among_the_rows_make_it_careful():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 5))
    X[:40] += 6
    calibrated = CalibratedDetector(QUICK, max_fpr=0.05, random_state=0).fit(X)
    assert calibrated.predict(rng.normal(size=(1000, 5))).mean() < 0.05
    assert calibrated.predict(rng.normal(size=(50, 5)) + np.array([0, 0, 30, -30, 30])).all()


def test_it_is_a_detector_like_others(plane):
    y = np.arange(len(plane)) < 6
    calibrated = CalibratedDetector(QUICK, cv=3, random_state=0).fit(plane)
    assert calibrated.score(plane, y) > 0.9
    assert np.isfinite(calibrated.predict_proba(plane)).all()
    assert np.isfinite(calibrated.predict_confidence(plane)).all()
    np.testing.assert_allclose(
        calibrated.explain(plane).sum(axis=1), calibrated.decision_function(plane), rtol=1e-5
    )
    for other in (pickle.loads(pickle.dumps(calibrated)), copy.deepcopy(calibrated)):
        assert np.array_equal(other.p_values(plane), calibrated.p_values(plane))
    tuned = tune_threshold(calibrated, plane, y, "max_fpr", value=0.02)
    assert tuned.predict(plane)[~y].mean() <= 0.02
    assert np.array_equal(tuned.p_values(plane), calibrated.p_values(plane))
    search = GridSearchCV(
        CalibratedDetector(QUICK, random_state=0),
        {"detector__lam": [0.5, 2.0]},
        scoring=roc_auc_scorer,
        cv=StratifiedKFold(2),
    )
    assert 0.5 < search.fit(plane, y).best_score_ <= 1
    assert not hasattr(CalibratedDetector(KNN()), "explain")


def test_a_seed_decides_everything(plane):
    detector = CalibratedDetector(RobustDeepAutoencoder(n_estimators=1, max_iter=1), cv=2)
    one, two, other = (
        clone(detector).set_params(random_state=seed).fit(plane) for seed in (0, 0, 1)
    )
    assert np.array_equal(one.decision_scores_, two.decision_scores_)
    assert not np.array_equal(one.decision_scores_, other.decision_scores_)
    assert clone(detector).detector.random_state is None


def test_seeds_that_are_set_stay(plane):
    detector = RobustDeepAutoencoder(n_estimators=1, max_iter=1, random_state=7)
    calibrated = CalibratedDetector(detector, cv=2, random_state=0).fit(plane)
    assert calibrated.detector_.random_state == 7
    assert calibrated.detector.random_state == 7


def test_a_rate_takes_effect_in_the_next_fit(plane):
    calibrated = CalibratedDetector(KNN(), max_fpr=0.3, cv=2, random_state=0).fit(plane)
    labels, p_values = calibrated.predict(plane), calibrated.p_values(plane)
    calibrated.set_params(max_fpr=0.01)
    assert np.array_equal(calibrated.predict(plane), labels)
    assert np.array_equal(calibrated.p_values(plane), p_values)
    assert calibrated.fit(plane).predict(plane).sum() < labels.sum()


class _Counts(BaseDetector):
    """Scores a row by a whole number, whatever it is fitted to."""

    def __init__(self, contamination=0.1):
        self.contamination = contamination

    def fit(self, X, y=None):
        return self

    def decision_function(self, X):
        return np.floor(X[:, 0] * 6) * 0.7


@pytest.mark.parametrize("cv", [5, 6, 10])
@pytest.mark.parametrize("detector", [_Counts(), KNN()], ids=["counts", "KNN"])
def test_ties_flag_too_few_and_not_too_many(detector, cv):
    rates = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        X, new = (rng.integers(0, 6, size=(n, 2)) / 6.0 for n in (120, 400))
        calibrated = CalibratedDetector(detector, cv=cv, random_state=seed).fit(X)
        rates.append((calibrated.p_values(new)[:, None] <= [0.1, 0.2]).mean(axis=0))
    assert (np.mean(rates, axis=0) < [0.13, 0.24]).all()


def test_whatever_the_detector_takes():
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(90, 3)), columns=["a", "b", "c"])
    table.iloc[::9, 1] = np.nan
    table["kind"] = rng.choice(["x", "y"], 90)
    columns = make_column_transformer(
        (SimpleImputer(), ["a", "b", "c"]), (OneHotEncoder(), ["kind"])
    )
    mixed = CalibratedDetector(make_pipeline(columns, QUICK), cv=2).fit(table)
    assert mixed.p_values(table[["kind", "c", "b", "a"]]).shape == (90,)
    assert mixed.feature_names_in_.tolist() == ["a", "b", "c", "kind"]
    with pytest.raises(ValueError, match=r"missing|column 'kind'"):
        CalibratedDetector(KNN(), cv=2).fit(table)
    images = rng.uniform(size=(40, 6, 8))
    network = ConvRobustAutoencoder(channels=(2,), max_iter=1, n_estimators=1, random_state=0)
    shaped = CalibratedDetector(network, cv=2).fit(images)
    assert shaped.p_values(images[:5]).shape == (5,)
    assert shaped.detector_.image_shape_[:2] == (6, 8)
    sparse = csr_matrix(np.where(rng.random((80, 5)) < 0.3, 1.0, 0))
    held = RobustDeepAutoencoder(n_estimators=1, max_iter=1, device="cpu", random_state=0)
    counted = CalibratedDetector(held, cv=2).fit(sparse)
    assert np.isfinite(counted.p_values(sparse.tocoo())).all()


@pytest.mark.filterwarnings("default:Columns of X are constant")
def test_constant_columns_are_told_of_once(plane):
    X = np.column_stack([plane, np.ones(len(plane))])
    for detector in (QUICK, make_pipeline(StandardScaler(), QUICK)):
        with pytest.warns(UserWarning, match="constant") as told:
            CalibratedDetector(detector, cv=3).fit(X)
        assert len(told) == 1


class _Tallies(_Counts):
    """Scores a row by the number of rows like it that it was fitted to, by the last column."""

    def fit(self, X, y=None):
        self.kinds_ = X[:, -1].tolist()
        return self

    def decision_function(self, X):
        return np.array([float(self.kinds_.count(kind)) for kind in X[:, -1]])


def test_a_splitter_gets_the_labels_and_groups_stay_together(plane):
    y = np.arange(len(plane)) % 4 == 0
    X = np.column_stack([plane, y])
    stratified = CalibratedDetector(_Tallies(), cv=StratifiedKFold(2)).fit(X, y)
    assert set(stratified.decision_scores_[y]) == {37, 38}
    X[:, -1] = np.arange(len(X)) // 50
    folds = list(GroupKFold(3).split(X, groups=X[:, -1]))
    grouped = CalibratedDetector(_Tallies(), cv=folds).fit(X)
    assert not grouped.decision_scores_.any()
    assert set(grouped.decision_function(X)) == {50}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_fpr": 0.0}, "max_fpr"),
        ({"max_fpr": 1.0}, "max_fpr"),
        ({"max_fpr": np.nan}, "max_fpr"),
        ({"max_fpr": True}, "max_fpr"),
        ({"max_fpr": "0.1"}, "max_fpr"),
        ({"max_fpr": 0.003}, r"max_fpr=0.003 needs at least 333 samples.*n_samples=300"),
        ({"cv": 1}, "cv"),
        ({"cv": 301}, "cv"),
        ({"cv": [(np.arange(300), np.arange(150)), (np.arange(150), np.arange(150, 300))]}, "both"),
        ({"detector": LocalOutlierFactor()}, "novelty=True"),
        ({"cv": [(np.arange(200), np.arange(200, 299))]}, r"row 0 is in 0 of them"),
        ({"random_state": "seed"}, "random_state"),
        ({"detector": KNN}, "not the class"),
        ({"detector": StandardScaler()}, "detector"),
        ({"detector": None}, "detector"),
        ({"detector": WindowedDetector(QUICK)}, "series"),
        ({"detector": make_pipeline(StandardScaler(), WindowedDetector(QUICK))}, "series"),
    ],
)
def test_bad_parameters_are_named_and_change_nothing(options, words, plane):
    calibrated = CalibratedDetector(KNN(), cv=2).fit(plane)
    scores = calibrated.decision_scores_
    with pytest.raises((ValueError, TypeError), match=words):
        calibrated.set_params(**options).fit(plane)
    assert calibrated.decision_scores_ is scores
    assert np.array_equal(calibrated.decision_function(plane).shape, (300,))


def test_what_is_not_fitted_and_what_does_not_fit_is_told(plane):
    with pytest.raises(NotFittedError):
        CalibratedDetector(KNN()).p_values(plane)
    calibrated = CalibratedDetector(KNN(), cv=2).fit(plane)
    with pytest.raises(ValueError, match="features"):
        calibrated.p_values(plane[:, :3])
    with pytest.raises(ValueError, match="missing"):
        calibrated.p_values(np.full((2, 8), np.nan))


# ------------------------------------------------------------------------------ fdr_labels


def test_discoveries_by_the_definition():
    rng = np.random.default_rng(0)
    for _ in range(50):
        m = int(rng.integers(1, 40))
        p_values = np.round(rng.uniform(0.001, 1, size=m) ** 2, 3).clip(0.001)
        max_fdr = float(rng.choice([0.05, 0.1, 0.3]))
        ordered = np.sort(p_values)
        small = np.flatnonzero(ordered <= max_fdr * np.arange(1, m + 1) / m + 1e-15)
        cut = ordered[small[-1]] if len(small) else 0.0
        assert np.array_equal(fdr_labels(p_values, max_fdr), (p_values <= cut).astype(int))
    assert fdr_labels([]).shape == (0,)


def test_few_of_those_flagged_are_normal():
    shares, found = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        fitted = CalibratedDetector(KNN(), random_state=seed).fit(rng.normal(size=(400, 4)))
        X, y = rng.normal(size=(200, 4)), np.arange(200) < 20
        X[y] += 4
        flagged = fdr_labels(fitted.p_values(X), max_fdr=0.1) == 1
        shares.append((flagged & ~y).sum() / max(flagged.sum(), 1))
        found.append(flagged[y].mean())
    assert np.mean(shares) < 0.1 + 3 * np.std(shares) / np.sqrt(len(shares))
    assert np.mean(found) > 0.8


@pytest.mark.parametrize(
    ("p_values", "max_fdr", "words"),
    [
        ([0.2, 1.7], 0.1, "p_values must lie in .0, 1.; one is 1.7"),
        ([0, 1, 0], 0.1, "scores or labels"),
        ([np.nan], 0.1, "p_values"),
        ([[0.1, 0.2]], 0.1, "shape"),
        ([0.1], 0.0, "max_fdr"),
        ([0.1], 1, "max_fdr"),
        ([0.1], "0.1", "max_fdr"),
    ],
)
def test_no_p_values_are_told(p_values, max_fdr, words):
    with pytest.raises((ValueError, TypeError), match=words):
        fdr_labels(p_values, max_fdr)
