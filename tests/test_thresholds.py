import numpy as np
import pytest
from optional import Optional
from pyod.models.base import BaseDetector
from pyod.models.iforest import IForest
from pyod.models.knn import KNN
from sklearn.base import clone
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError, UndefinedMetricWarning
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrdae import RobustDeepAutoencoder, VAEDetector
from skrdae.thresholds import (
    RULES,
    labels_threshold,
    max_f1_threshold,
    max_fpr_threshold,
    mean_std_threshold,
    quantile_threshold,
    thresholder_threshold,
    tune_threshold,
)

iqr = Optional("pythresh.thresholds.iqr")
mad = Optional("pythresh.thresholds.mad")


def test_quantile():
    scores = np.arange(1.0, 101)
    assert (scores > quantile_threshold(scores, 0.05)).sum() == 5


@pytest.mark.parametrize(
    ("labels", "flagged"),
    [
        ([0, 0, 0, 1, 1], [0, 0, 0, 1, 1]),
        ([0, 0, 0, 0, 0], [0, 0, 0, 0, 0]),
        ([1, 1, 1, 1, 1], [1, 1, 1, 1, 1]),
        ([0, 1, 0, 0, 1], [0, 0, 0, 1, 1]),  # they overlap: as many as there are
    ],
)
def test_labels_threshold(labels, flagged):
    scores = np.array([1.0, 2.0, 3.0, 4.0, 7.0])
    threshold = labels_threshold(scores, labels)
    assert (scores > threshold).astype(int).tolist() == flagged


def test_labels_threshold_of_neighbouring_numbers():
    low = 1.0
    high = np.nextafter(low, 2)
    threshold = labels_threshold([low, high], [0, 1])
    assert low <= threshold < high


@pytest.mark.parametrize("thresholder", [iqr.IQR(), mad.MAD()])
def test_thresholder_is_copied_and_its_cut_found_exactly(thresholder):
    scores = np.random.default_rng(0).exponential(size=500) ** 2
    fitted, threshold = thresholder_threshold(thresholder, scores)
    assert fitted is not thresholder
    assert thresholder.labels_ is None
    assert np.array_equal(scores > threshold, fitted.labels_ == 1)
    gap = np.linspace(threshold * 0.999, threshold * 1.001, 1001)
    assert np.array_equal(gap > threshold, fitted.predict(gap) == 1)


def test_a_thresholder_that_flags_nothing_keeps_its_cut():
    scores = np.linspace(1, 2, 200)
    fitted, threshold = thresholder_threshold(iqr.IQR(), scores)
    assert not fitted.labels_.any()
    new = np.linspace(1.5, 4, 500)
    assert 2.2 < threshold < 3
    assert np.array_equal(new > threshold, fitted.predict(new) == 1)


@pytest.mark.parametrize("thresholder", [iqr.IQR, object(), "auto"])
def test_what_is_no_thresholder_is_named(thresholder):
    with pytest.raises(ValueError, match=r"contamination.*pythresh"):
        thresholder_threshold(thresholder, np.arange(5.0))


class _TopTwo:
    """A thresholder that keeps no threshold of its own."""

    def fit(self, scores):
        self.labels_ = (np.argsort(np.argsort(scores)) >= len(scores) - 2).astype(int)
        return self

    def predict(self, scores):
        return self.labels_


def test_a_thresholder_that_only_labels():
    scores = np.array([5.0, 1.0, 4.0, 2.0])
    _, threshold = thresholder_threshold(_TopTwo(), scores)
    assert threshold == 3.0


def test_a_thresholder_that_leaves_scores_out_is_refused():
    class Short(_TopTwo):
        def fit(self, scores):
            return super().fit(scores[1:])

    with pytest.raises(ValueError, match=r"it gave 3 labels for 4 scores.*pythresh"):
        thresholder_threshold(Short(), np.array([5.0, 1.0, 4.0, 2.0]))


class _Cut:
    """A thresholder that flags what is above a cut, whatever it is fitted to."""

    thresh_ = 0.5

    def __init__(self, cut):
        self.cut = cut

    def fit(self, scores):
        self.labels_ = self.predict(scores)
        return self

    def predict(self, scores):
        return (scores > self.cut).astype(int)


@pytest.mark.parametrize("function", [max_f1_threshold, max_fpr_threshold])
@pytest.mark.parametrize("y", [[0, 1], [0, 1, 0, 1]])
def test_there_is_a_label_for_each_score(function, y):
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        function([1.0, 2.0, 3.0], y)


@pytest.mark.parametrize("cut", [1.5, 1.0, 2.0, 2.1, 1e9, 0.9, -1e9, 1e300, -1e300])
@pytest.mark.parametrize("scores", [[1.0, 1.2, 2.0, 1.9], [1.3, 1.3, 1.3], [0.0, 0.0], [-5e3, 5e3]])
def test_a_cut_is_found_to_the_last_bit_wherever_it_lies(cut, scores):
    _, threshold = thresholder_threshold(_Cut(cut), np.array(scores))
    assert threshold == cut


@pytest.mark.parametrize("cut", [np.inf, -np.inf])
def test_a_cut_that_nothing_reaches_leaves_the_labels(cut):
    scores = np.array([1.0, 3.0, 2.0])
    fitted, threshold = thresholder_threshold(_Cut(cut), scores)
    assert np.array_equal(scores > threshold, fitted.labels_ == 1)


# ------------------------------------------------------------------------------ the rules


def _cuts(scores):
    """Every threshold that flags something else than the others."""
    return np.r_[-np.inf, np.unique(scores)]


@pytest.mark.parametrize("seed", range(30))
def test_max_f1_equals_brute_force(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 40))
    scores = np.round(rng.normal(size=n), int(rng.integers(0, 3)))  # with ties
    y = rng.uniform(size=n) < rng.uniform(0.1, 0.9)
    y[rng.integers(n)] = True
    found = [(f1_score(y, scores > cut), (scores > cut).sum()) for cut in _cuts(scores)]
    best = max(f1 for f1, _ in found)
    threshold = max_f1_threshold(scores, y)
    assert f1_score(y, scores > threshold) == pytest.approx(best, abs=1e-12)
    # Of several as good it flags the fewest.
    others = [n_flagged for f1, n_flagged in found if f1 >= best - 1e-12]
    assert (scores > threshold).sum() == min(others)


@pytest.mark.parametrize("seed", range(30))
def test_max_fpr_is_the_lowest_threshold_within_the_bound(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 60))
    scores = np.round(rng.normal(size=n), int(rng.integers(0, 3)))
    y = rng.uniform(size=n) < 0.3
    y[rng.integers(n)] = False
    bound = float(rng.choice([0, 0.05, 0.1, 0.5, 1.0, rng.uniform()]))
    threshold = max_fpr_threshold(scores, y, bound)
    assert (scores[~y] > threshold).mean() <= bound
    lower = [c for c in _cuts(scores) if c < threshold]
    assert all((scores[~y] > cut).mean() > bound for cut in lower[1:] if threshold > scores.min())
    assert max_fpr_threshold(np.arange(100.0), np.zeros(100), 0.29) == 70  # 0.29 · 100 < 29


def test_the_false_positive_bound_holds_on_fresh_data():
    rng = np.random.default_rng(0)
    for bound in (0.01, 0.05, 0.2):
        rates = []
        for _ in range(200):
            scores, fresh = rng.exponential(size=(2, 1000))
            y = rng.uniform(size=1000) < 0.1
            rates.append((fresh > max_fpr_threshold(scores + 5 * y, y, bound)).mean())
        errors = np.sqrt(bound * (1 - bound) * (1 / 900 + 1 / 1000))
        assert np.mean(rates) < bound + 1 / 900 + 3 * errors / np.sqrt(200)
        assert np.mean(np.array(rates) > bound + 3 * errors) < 0.02


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
def test_rules_survive_ties_constant_scores_and_one_class(rule):
    for scores in (np.full(30, 0.1), np.repeat([1.0, 2.0], 15), np.full(30, 1e300), [3.0]):
        for y in (np.zeros(len(scores)), np.ones(len(scores)), np.arange(len(scores)) % 2):
            tuned = tune_threshold(_Fixed(scores), np.zeros((len(scores), 1)), y, rule)
            assert np.isfinite(tuned.threshold_)
            flagged = np.asarray(scores) > tuned.threshold_
            assert np.array_equal(tuned.labels_, flagged)
            if np.ptp(scores) == 0 and rule in ("percentile", "mean_std"):
                assert not flagged.any()
            if not y.any() and rule in ("max_f1", "max_fpr"):
                assert flagged.mean() <= 0.01
            if y.all() and rule in ("max_f1", "max_fpr"):
                assert flagged.all()


class _Fixed(BaseDetector):
    """A detector of PyOD's kind with the scores it is given."""

    def __init__(self, scores, contamination=0.1):
        self.contamination = contamination
        self.decision_scores_ = np.asarray(scores, float)
        self.threshold_, self.labels_ = 0.0, None

    def fit(self, X, y=None):
        return self

    def decision_function(self, X):
        return self.decision_scores_


def test_one_class_is_warned_of():
    with pytest.warns(UndefinedMetricWarning, match="no anomalies"):
        max_f1_threshold([1.0, 2.0], [0, 0])
    with pytest.warns(UndefinedMetricWarning, match="no normal rows"):
        max_fpr_threshold([1.0, 2.0], [1, 1])


# ------------------------------------------------------------------------- tune_threshold


@pytest.fixture(scope="module")
def halves(cancer):
    X, y = cancer
    return X[::2], X[1::2], y[::2], y[1::2]


DETECTORS = [
    RobustDeepAutoencoder(random_state=0),
    RobustDeepAutoencoder(contamination="auto", random_state=0),
    VAEDetector(random_state=0),
    IForest(n_estimators=20, random_state=0),
    KNN(),
]


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda d: type(d).__name__)
@pytest.mark.parametrize("rule", [*RULES, "pythresh"])
def test_a_tuned_copy_flags_what_scores_above(detector, rule, halves):
    X, X_val, _, y_val = halves
    detector = clone(detector).fit(X)
    before = detector.threshold_, detector.labels_.copy(), detector.predict(X_val)
    rule = iqr.IQR() if rule == "pythresh" else rule
    tuned = tune_threshold(detector, X_val, y_val, rule)
    scores = detector.decision_function(X_val)
    assert np.array_equal(tuned.decision_function(X_val), scores)
    assert np.array_equal(tuned.predict(X_val), scores > tuned.threshold_)
    assert np.array_equal(tuned.labels_, detector.decision_scores_ > tuned.threshold_)
    confidence = tuned.predict(X_val, return_confidence=True)[1]
    assert np.isfinite(confidence).all()
    clone(tuned).fit(X)  # with what is a contamination still
    assert (confidence > 0.5).mean() > 0.9  # of the new labels
    # The detector itself is as it was.
    assert detector.threshold_ == before[0]
    assert np.array_equal(detector.labels_, before[1])
    assert np.array_equal(detector.predict(X_val), before[2])
    expected = {
        "percentile": lambda: np.percentile(scores, 90),
        "mean_std": lambda: scores.mean() + 3 * scores.std(),
        "max_f1": lambda: max_f1_threshold(scores, y_val),
        "max_fpr": lambda: max_fpr_threshold(scores, y_val, 0.01),
    }
    if isinstance(rule, str):
        assert tuned.threshold_ == pytest.approx(expected[rule]())
    else:
        assert np.array_equal(tuned.predict(X_val), iqr.IQR().fit(scores).labels_)


def test_it_replaces_a_pythresh_contamination(halves):
    X, X_val, _, y_val = halves
    for detector in (
        RobustDeepAutoencoder(contamination=iqr.IQR(), random_state=0),
        KNN(contamination=iqr.IQR()),
    ):
        detector.fit(X)
        tuned = tune_threshold(detector, X_val, y_val, "max_fpr", value=0.2)
        flagged = detector.decision_function(X_val) > tuned.threshold_
        assert np.array_equal(tuned.predict(X_val), flagged)
        assert 0.1 < flagged[y_val == 0].mean() <= 0.2
    ours = RobustDeepAutoencoder(contamination=iqr.IQR(), random_state=0).fit(X)
    tuned = tune_threshold(ours, X_val, y_val)
    assert hasattr(ours, "thresholder_")
    assert not hasattr(tuned, "thresholder_")  # which decides nothing any more


def test_it_tunes_the_end_of_a_pipeline(halves):
    X, X_val, _, y_val = halves
    pipeline = make_pipeline(StandardScaler(), RobustDeepAutoencoder(random_state=0)).fit(X)
    before = pipeline.predict(X_val)
    tuned = tune_threshold(pipeline, X_val, y_val)
    assert f1_score(y_val, tuned.predict(X_val)) >= f1_score(y_val, before)
    assert np.array_equal(pipeline.predict(X_val), before)
    assert np.array_equal(
        tuned.predict(X_val), pipeline.decision_function(X_val) > tuned[-1].threshold_
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rule": "median"}, "'max_f1'"),
        ({"rule": 3}, "rule"),
        ({"rule": "max_f1", "value": 0.1}, "value"),
        ({"rule": "max_fpr", "value": 1.2}, "value"),
        ({"rule": "max_fpr", "value": -0.1}, "value"),
        ({"rule": "percentile", "value": 101}, "value"),
        ({"rule": "mean_std", "value": np.nan}, "value"),
        ({"rule": "mean_std", "value": "3"}, "value"),
        ({"rule": "max_f1", "y_val": None}, "y_val"),
        ({"rule": "max_fpr", "y_val": None}, "y_val"),
        ({"y_val": np.where(np.arange(40) % 2, -1, 1)}, "y == -1"),
        ({"y_val": np.arange(40)}, "0 .normal. and 1"),
        ({"y_val": np.zeros(39)}, "inconsistent"),
        ({"y_val": "percentile"}, "rule comes after"),
        ({"y_val": np.arange(40) % 3 - 1}, "it holds -1, 0, 1.$"),
    ],
)
def test_bad_input_is_named(options, words, plane):
    detector = RobustDeepAutoencoder(n_estimators=1, random_state=0).fit(plane)
    given = {"y_val": np.arange(40) % 2} | options
    with pytest.raises((ValueError, TypeError), match=words):
        tune_threshold(detector, plane[:40], **given)


def test_what_is_no_fitted_detector_is_refused(plane):
    with pytest.raises(NotFittedError):
        tune_threshold(RobustDeepAutoencoder(), plane, rule="percentile")
    for wrong in (IsolationForest().fit(plane), StandardScaler().fit(plane), None):
        with pytest.raises(TypeError, match="detector"):
            tune_threshold(wrong, plane, rule="percentile")


def test_labels_are_checked_and_not_needed_by_all_rules(halves):
    X, X_val, _, y_val = halves
    detector = RobustDeepAutoencoder(n_estimators=1, random_state=0).fit(X)
    scores = detector.decision_function(X_val)
    alone = tune_threshold(detector, X_val, rule="mean_std")
    assert alone.threshold_ == pytest.approx(scores.mean() + 3 * scores.std())
    with pytest.raises(ValueError, match="y == -1"):
        tune_threshold(detector, X_val, np.where(y_val, -1, 1))
    for rule in ("max_f1", "percentile"):
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            tune_threshold(detector, X_val, y_val[:-1], rule)


def test_default_levels():
    scores = np.arange(1000.0)
    assert mean_std_threshold(scores) == mean_std_threshold(scores, 3.0)
    assert mean_std_threshold(scores) != mean_std_threshold(scores, 4.0)
    y = np.arange(1000) >= 900
    noisy = np.random.default_rng(0).permutation(scores)
    assert max_fpr_threshold(noisy, y) == max_fpr_threshold(noisy, y, 0.01)
    assert max_fpr_threshold(noisy, y) != max_fpr_threshold(noisy, y, 0.02)
