"""The labels of a report are those of the detector, whatever it flags by."""

import numpy as np
import pytest
from optional import Optional
from pyod.models.hbos import HBOS
from sklearn.base import BaseEstimator
from sklearn.ensemble import IsolationForest
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrdae import OutlierAdapter, RobustDeepAutoencoder, VAEDetector, WindowedDetector
from skrdae.metrics import roc_auc_scorer
from skrdae.monitoring import Monitor
from skrdae.thresholds import tune_threshold

pd = Optional("pandas")


def _rows(n, seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2)) @ np.random.default_rng(0).normal(size=(2, 5))
    return X + 0.1 * rng.normal(size=(n, 5)) * rng.lognormal(sigma=0.8, size=(n, 1))


X, NEW = _rows(400, 3), _rows(200, 4)


def _by_vote():
    return RobustDeepAutoencoder(contamination="auto", n_estimators=3, random_state=0)


class _Cut(BaseEstimator):
    """What a pythresh object looks like."""

    def fit(self, scores):
        self.thresh_ = np.quantile(scores, 0.8)
        self.labels_ = self.predict(scores)
        return self

    def predict(self, scores):
        return (np.ravel(scores) > self.thresh_).astype(int)

    def eval(self, scores):  # its older versions
        return self.fit(scores).labels_


def _fitted(name):
    y = (np.arange(400) % 5 == 0).astype(int)
    if name == "vote":
        return _by_vote().fit(X)
    if name == "pipeline of votes":
        return make_pipeline(StandardScaler(), _by_vote()).fit(X)
    if name == "frozen pipeline":
        return FrozenEstimator(make_pipeline(StandardScaler(), "passthrough", _by_vote()).fit(X))
    if name == "pipeline of one":
        return make_pipeline(_by_vote()).fit(X)
    if name == "search":
        grid = {"vaedetector__n_estimators": [1]}
        pipeline = make_pipeline(StandardScaler(), VAEDetector(random_state=0))
        folds = StratifiedKFold(2, shuffle=True, random_state=0)
        return GridSearchCV(pipeline, grid, scoring=roc_auc_scorer, cv=folds).fit(X, y)
    if name == "tuned":
        return tune_threshold(_by_vote().fit(X), X, rule="percentile", value=70)
    if name == "PyOD":
        return HBOS(contamination=0.07).fit(X)
    if name == "PyOD with a thresholder":
        return HBOS(contamination=_Cut()).fit(X)
    if name == "scikit-learn":
        return IsolationForest(contamination=0.05, random_state=0).fit(X)
    if name == "adapter of votes":
        return OutlierAdapter(_by_vote()).fit(X)
    return make_pipeline(StandardScaler(), IsolationForest(random_state=0)).fit(X)


NAMES = [
    "vote",
    "pipeline of votes",
    "frozen pipeline",
    "pipeline of one",
    "search",
    "tuned",
    "PyOD",
    "PyOD with a thresholder",
    "scikit-learn",
    "adapter of votes",
    "pipeline of scikit-learn's",
]


@pytest.mark.parametrize("name", NAMES)
def test_labels_are_what_predict_says(name):
    detector = _fitted(name)
    predicted = detector.predict(NEW)
    expected = (predicted == -1) if -1 in predicted else (predicted == 1)
    assert 0 < expected.sum() < 200
    monitor = Monitor(detector, reference=X, window_size=100)
    report = monitor.update(NEW)
    assert np.array_equal(report.labels, expected)
    assert [w.n_flagged for w in report.windows] == [expected[:100].sum(), expected[100:].sum()]
    flagged = np.asarray(detector.predict(X))
    flagged = (flagged == -1) if -1 in flagged else (flagged == 1)
    assert monitor.expected_rate_ == pytest.approx((flagged.sum() + 0.5) / 401)
    # A threshold of one's own is what counts then, for the reference as well.
    cut = float(np.median(report.scores))
    mine = Monitor(detector, reference=X, threshold=cut, window_size=100)
    assert np.array_equal(mine.update(NEW).labels, report.scores > cut)
    assert mine.expected_rate_ == pytest.approx(((mine.reference_.scores > cut).sum() + 0.5) / 401)
    # So is the one that a recalibration sets.
    monitor.recalibrate(contamination=0.3)
    again = monitor.update(NEW)
    assert np.array_equal(again.labels, report.scores > monitor.threshold_)


def test_votes_are_not_a_threshold():
    detector = _by_vote().set_params(n_estimators=5, max_samples=50).fit(X)
    scores = detector.decision_function(NEW)
    assert not np.array_equal(detector.predict(NEW), scores > detector.threshold_)
    # Training labels are at hand; of scores alone the closest threshold has to do.
    assert Monitor(detector).expected_rate_ == pytest.approx((detector.labels_.sum() + 0.5) / 401)
    by_scores = Monitor(detector, window_size=100)
    assert np.array_equal(by_scores.update_scores(scores).labels, scores > detector.threshold_)
    # An alert speaks of the threshold only where that is what the row is above.
    low = [i for i in np.flatnonzero(detector.predict(NEW)) if scores[i] <= detector.threshold_]
    if low:
        assert "threshold" not in Monitor(detector).update(NEW[low]).alerts[0].text


def test_a_classifier_needs_a_threshold():
    y = np.arange(400) % 5 == 0
    classifier = LogisticRegression().fit(X + 3 * y[:, np.newaxis], y)
    with pytest.raises(ValueError, match="LogisticRegression has no threshold_: pass threshold"):
        Monitor(classifier, reference=X)
    report = Monitor(classifier, reference=X, threshold=0.5).update(NEW)
    assert np.array_equal(report.labels, classifier.predict(NEW))


@pytest.fixture(scope="module")
def windowed():
    rng = np.random.default_rng(3)
    series = np.sin(np.arange(1500) / 5) + 0.1 * rng.normal(size=1500)
    for start in (200, 1100):
        series[start : start + 40] += rng.normal(size=40)
    inner = RobustDeepAutoencoder(n_estimators=1, contamination=0.05, random_state=0)
    return WindowedDetector(inner, window_size=16, on_gap="split").fit(series[:900]), series


def test_steps_are_flagged_by_windows(windowed):
    detector, series = windowed
    new = series[900:]
    options = {"window_size": 200, "drift_limit": 9.0}
    for reference in (None, series[:900, np.newaxis], [series[:400], series[400:900]]):
        monitor = Monitor(detector, reference=reference, **options)
        report = monitor.update(new)
        assert np.array_equal(report.labels, detector.predict(new))
        assert np.array_equal(report.scores, detector.decision_function(new))
        assert report.labels.any()
    rate = (detector.labels_.sum() + 0.5) / 901
    assert Monitor(detector, **options).expected_rate_ == pytest.approx(rate)


def test_a_step_without_a_score_is_not_flagged(windowed):
    detector, series = windowed
    index = np.r_[np.arange(900, 1000), np.arange(1003, 1010), np.arange(1013, 1300)]
    holed = pd.DataFrame({0: series[index]}, index=index)
    report = Monitor(detector, window_size=50, drift_limit=9.0).update(holed)
    assert np.isnan(report.scores).sum() == 7
    assert not report.labels[np.isnan(report.scores)].any()
    assert np.array_equal(report.labels, detector.predict(holed))


def test_rows_are_scored_once(monkeypatch, windowed):
    votes = make_pipeline(StandardScaler(), RobustDeepAutoencoder(random_state=0)).fit(X)
    asked = []
    scored = type(votes[-1])._score

    def counting(self, rows):
        asked.append(len(rows))
        return scored(self, rows)

    monkeypatch.setattr(type(votes[-1]), "_score", counting)
    Monitor(votes, reference=X, window_size=100).update(NEW)
    assert asked == [400, 200]
    pyod = HBOS().fit(X)
    found = pyod.decision_function
    asked.clear()
    monkeypatch.setattr(pyod, "decision_function", lambda rows: (asked.append(1), found(rows))[1])
    Monitor(pyod).update(NEW)
    assert asked == [1]


def test_names_of_rows_can_be_sent():
    detector = RobustDeepAutoencoder(random_state=0).fit(X)
    names = [f"row \udcfc{i}" for i in range(200)]
    alert = (
        Monitor(detector).update(pd.DataFrame(NEW, index=pd.Index(names, dtype=object))).alerts[0]
    )
    assert alert.text.encode()
    assert alert.details["rows"][0]["name"].startswith("row \\udcfc")
