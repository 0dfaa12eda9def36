import inspect
import pickle

import numpy as np
import pytest
from pyod.models.base import BaseDetector
from pyod.models.ecod import ECOD
from pyod.models.knn import KNN
from scipy.stats import genpareto, norm
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from skrdae import (
    AnoGANDetector,
    LSTMRobustAutoencoder,
    OutlierAdapter,
    RobustDeepAutoencoder,
    RobustDeepAutoencoderCV,
    RobustPCA,
    VAEDetector,
    WindowedDetector,
    load,
    save,
)
from skrdae.metrics import f1_scorer
from skrdae.thresholds import PeaksOverThreshold, thresholder_threshold, tune_threshold

#: Scores of ten thousand rows, one sample for each seed; and of how many new ones exceed a value.
SAMPLES = {
    "exponential": (lambda rng: rng.exponential(size=10_000), lambda v: np.exp(-v)),
    "gaussian": (lambda rng: rng.normal(size=10_000), norm.sf),
    "uniform": (lambda rng: rng.uniform(size=10_000), lambda v: np.clip(1 - v, 0, 1)),
    "pareto": (lambda rng: rng.pareto(2, size=10_000), lambda v: (1 + v) ** -2.0),
    "heavy": (lambda rng: rng.pareto(0.8, size=10_000), lambda v: (1 + v) ** -0.8),
}
samples = pytest.mark.parametrize("name", SAMPLES)


def _exceeding(name, threshold):
    return SAMPLES[name][1](threshold)


@samples
@pytest.mark.parametrize("risk", [1e-2, 1e-3])
def test_the_share_of_new_scores_that_exceed_it_is_the_risk(name, risk):
    draw = SAMPLES[name][0]
    found = [
        _exceeding(name, PeaksOverThreshold(risk).fit(draw(np.random.default_rng(seed))).thresh_)
        for seed in range(20)
    ]
    assert np.mean(found) == pytest.approx(risk, rel=0.15)
    # Of a single sample: 20 ± 4.5 of ten thousand scores exceed the threshold of risk 0.002.
    assert np.abs(np.log(np.array(found) / risk)).max() < (0.5 if risk == 1e-2 else 1.5)


@samples
def test_it_goes_beyond_what_was_seen(name):
    scores = SAMPLES[name][0](np.random.default_rng(0))[:2000]
    found = [_exceeding(name, PeaksOverThreshold(1e-5).fit(scores).thresh_)]
    assert found[0] < 1e-3
    if name != "uniform":
        assert PeaksOverThreshold(1e-5).fit(scores).thresh_ > scores.max()


@samples
def test_the_threshold_rises_as_the_risk_falls(name):
    scores = SAMPLES[name][0](np.random.default_rng(0))
    risks = np.geomspace(0.0199, 1e-12, 30)
    rules = [PeaksOverThreshold(risk).fit(scores) for risk in risks]
    found = [rule.thresh_ for rule in rules]
    assert (np.diff(found) >= 0).all()
    assert found[0] == pytest.approx(np.quantile(scores, 1 - risks[0]), rel=1e-2)
    assert (np.diff([rule.labels_.sum() for rule in rules]) <= 0).all()
    assert rules[0].labels_.mean() == pytest.approx(risks[0], rel=0.05)


@samples
def test_units_do_not_matter(name):
    scores = SAMPLES[name][0](np.random.default_rng(0))[:1000]
    rule = PeaksOverThreshold().fit(scores)
    for factor, shift in ((2.0**-40, 0), (1e-3, 0), (1e150, 0), (3.0, -20.0), (1.0, 100.0)):
        other = PeaksOverThreshold().fit(factor * scores + shift)
        assert other.thresh_ == pytest.approx(factor * rule.thresh_ + shift, rel=1e-5)
        assert other.shape_ == pytest.approx(rule.shape_, abs=1e-4)
        assert np.array_equal(other.labels_, rule.labels_)


@samples
@pytest.mark.parametrize("n", [500, 3000])
def test_no_other_shape_and_scale_are_likelier(name, n):
    scores = SAMPLES[name][0](np.random.default_rng(n))[:n]
    rule = PeaksOverThreshold(level=0.95).fit(scores)
    excess = scores[scores > rule.initial_threshold_] - rule.initial_threshold_
    assert len(excess) == round(0.05 * n)
    mine = genpareto.logpdf(excess, rule.shape_, scale=rule.scale_).sum()
    shapes, scales = np.linspace(-1, 3, 81), rule.scale_ * np.geomspace(0.3, 3, 81)
    grid = genpareto.logpdf(excess[:, None, None], shapes, scale=scales[:, None]).sum(axis=0)
    assert rule.shape_ >= -1 - 1e-9
    if rule.shape_ < -0.99:  # where the likelihood would go on to rise
        assert mine >= grid[:, 1:].max() - 1
    else:
        assert mine >= grid.max() - 1e-6
        found, _, scale = genpareto.fit(excess, floc=0)
        assert mine >= genpareto.logpdf(excess, found, scale=scale).sum() - 1e-4
        assert rule.shape_ == pytest.approx(found, abs=0.02)
        assert rule.scale_ == pytest.approx(scale, rel=0.02)
    quantile = genpareto.isf(1e-3 * n / len(excess), rule.shape_, scale=rule.scale_)
    assert rule.thresh_ == pytest.approx(rule.initial_threshold_ + quantile)


def test_shapes_near_zero_are_one_with_zero():
    from skrdae.thresholds.peaks import _unit_quantile

    exact = -np.log(1e-3)
    for shape in (0.0, 1e-300, 1e-13, -1e-13, 1e-11, -1e-11, 1e-8):
        assert _unit_quantile(shape, 1e-3) == pytest.approx(exact, rel=1e-7)


@pytest.mark.parametrize(
    "scores",
    [
        np.zeros(100),
        np.full(1000, 0.1),
        [3.0],
        [-1e300, 1e300],
        np.repeat([0.0, 1.0], [995, 5]),
        np.repeat([0.0, 1.0], [900, 100]),
        np.repeat([0.0, 1.0, 2.0], [900, 50, 50]),
        np.r_[np.zeros(990), 1e-320 * np.arange(10)],
        np.r_[np.zeros(900), np.geomspace(1e-300, 1e300, 100)],
        np.r_[np.arange(1000.0), 1e300],
        np.r_[np.random.default_rng(0).normal(size=1000), 1e9 * np.ones(15)],
        1e300 * np.linspace(-1, 1, 1000),
    ],
)
@pytest.mark.parametrize("risk", [1e-12, 1e-3, 0.019])
def test_degenerate_scores_have_a_finite_threshold(scores, risk):
    scores = np.asarray(scores)
    rule = PeaksOverThreshold(risk).fit(scores)
    assert np.isfinite([rule.thresh_, rule.initial_threshold_, rule.shape_, rule.scale_]).all()
    assert rule.thresh_ >= rule.initial_threshold_ >= scores.min()
    assert np.array_equal(rule.labels_, scores > rule.thresh_)
    assert rule.labels_.mean() < 0.021
    if np.ptp(scores) == 0:
        assert rule.thresh_ == scores[0]  # what differs at all is flagged
    assert thresholder_threshold(PeaksOverThreshold(risk), scores)[1] == rule.thresh_


def test_few_exceedances_are_taken_for_exponential():
    scores = np.random.default_rng(0).normal(size=300)
    rule = PeaksOverThreshold().fit(scores)
    excess = np.sort(scores)[-6:] - np.sort(scores)[-7]
    assert rule.shape_ == 0
    assert rule.scale_ == pytest.approx(excess.mean())
    expected = np.sort(scores)[-7] - excess.mean() * np.log(1e-3 * 300 / 6)
    assert rule.thresh_ == pytest.approx(expected)
    assert PeaksOverThreshold(level=0.9).fit(scores).shape_ != 0


def test_steps_without_a_score_are_left_out():
    scores = np.random.default_rng(0).exponential(size=1000)
    gaps = np.insert(scores, [0, 500, 1000], np.nan)
    rule, other = PeaksOverThreshold(0.01).fit(scores), PeaksOverThreshold(0.01).fit(gaps)
    assert other.thresh_ == rule.thresh_
    assert len(other.labels_) == 1003
    assert np.array_equal(other.labels_[~np.isnan(gaps)], rule.labels_)
    assert rule.predict([np.nan, -np.inf, np.inf]).tolist() == [0, 0, 1]


def test_anomalies_among_the_scores_raise_it():
    rng = np.random.default_rng(0)
    normal = rng.exponential(size=5000)
    clean = PeaksOverThreshold().fit(normal).thresh_
    few, many = (np.r_[normal, rng.uniform(20, 30, size=n)] for n in (25, 500))
    assert clean < PeaksOverThreshold().fit(few).thresh_
    # With more of them than 1 - level the tail is theirs, and a lower level helps.
    rules = [PeaksOverThreshold(0.01, level=level).fit(many) for level in (0.98, 0.5)]
    assert rules[0].initial_threshold_ > 20
    assert rules[1].initial_threshold_ < 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"risk": 0}, "risk"),
        ({"risk": -1e-3}, "risk"),
        ({"risk": True}, "risk"),
        ({"risk": "1e-3"}, "risk"),
        ({"risk": np.nan}, "risk"),
        ({"level": 1.0}, "level"),
        ({"level": 0}, "level"),
        ({"level": 98}, "level"),
        ({"risk": 0.05}, "risk must be below 1 - level"),
    ],
)
def test_a_wrong_parameter_is_named_before_a_training(options, words, plane, monkeypatch):
    rule = PeaksOverThreshold(**options)
    with pytest.raises(ValueError, match=words):
        rule.fit(np.arange(100.0))
    monkeypatch.setattr(RobustPCA, "_learn", None)
    with pytest.raises(ValueError, match=words):
        RobustPCA(contamination=rule).fit(plane)


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ([], "minimum of 1"),
        ([np.nan, np.nan], "All scores are NaN"),
        ([1.0, np.inf], "scores contains infinity"),
        ([1.0, -np.inf], "scores contains infinity"),
        ([[1.0, 2.0], [3.0, 4.0]], "1d array"),
        (["a", "b"], "could not convert"),
    ],
)
def test_what_are_no_scores(scores, words):
    with pytest.raises(ValueError, match=words):
        PeaksOverThreshold().fit(scores)


# ------------------------------------------------------------------------------- in detectors

BRIEF = {"n_estimators": 2, "random_state": 0}
DETECTORS = [
    RobustDeepAutoencoder(max_iter=2, **BRIEF),
    RobustDeepAutoencoderCV([2.0, 4.0, 8.0], cv=2, max_iter=1, **BRIEF),
    RobustPCA(),
    VAEDetector(n_epochs=2, **BRIEF),
    AnoGANDetector(n_epochs=6, n_encoder_epochs=2, **BRIEF),
    LSTMRobustAutoencoder(max_iter=1, random_state=0),
    WindowedDetector(RobustPCA(), window_size=10),
]
SMALL = PeaksOverThreshold(0.01, level=0.9)


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda d: type(d).__name__)
def test_it_is_a_contamination(detector, plane, tmp_path):
    windowed = isinstance(detector, WindowedDetector)
    name = "detector__contamination" if windowed else "contamination"
    detector = clone(detector).set_params(**{name: SMALL})
    before = dict(vars(SMALL))
    detector.fit(plane)
    assert vars(SMALL) == before  # which is copied
    scores = detector.window_scores_ if windowed else detector.decision_scores_
    rule = PeaksOverThreshold(0.01, level=0.9).fit(scores)
    assert detector.thresholder_.thresh_ == rule.thresh_
    threshold = detector.window_threshold_ if windowed else detector.threshold_
    assert threshold == rule.thresh_
    if not windowed:
        assert np.array_equal(detector.labels_, rule.labels_)
        assert np.array_equal(detector.predict(plane), rule.predict(scores))
    assert 0 < detector.labels_.mean() < 0.1
    assert f"{name}__risk" in detector.get_params()
    again = clone(detector)
    assert again.get_params()[f"{name}__level"] == 0.9
    assert not hasattr(again.get_params()[name], "thresh_")
    # What is set afterwards waits for the next fit.
    found = detector.predict(plane)
    detector.set_params(**{f"{name}__risk": 1e-6})
    assert np.array_equal(detector.predict(plane), found)
    detector.set_params(**{f"{name}__risk": 0.01})
    save(detector, tmp_path / "file")
    for other in (pickle.loads(pickle.dumps(detector)), load(tmp_path / "file")):
        assert repr(other) == repr(detector)
        assert repr(other.thresholder_) == "PeaksOverThreshold(level=0.9, risk=0.01)"

        assert np.array_equal(other.predict(plane), found)
    assert np.array_equal(load(tmp_path / "file").fit(plane).labels_, detector.labels_)


@pytest.mark.skipif(
    "contamination.eval(" in inspect.getsource(BaseDetector),
    reason="PyOD 3.0 calls a method that pythresh has no longer",
)
@pytest.mark.parametrize("detector", [ECOD(), KNN()], ids=["ECOD", "KNN"])
def test_it_is_a_contamination_of_pyods_detectors(detector, cancer):
    X, _ = cancer
    detector = clone(detector).set_params(contamination=clone(SMALL)).fit(X[::2])
    rule = clone(SMALL).fit(detector.decision_scores_)
    assert np.array_equal(detector.labels_, rule.labels_)
    assert detector.threshold_ == rule.thresh_
    scores = detector.decision_function(X[1::2])
    assert np.array_equal(detector.predict(X[1::2]), scores > rule.thresh_)
    adapter = OutlierAdapter(detector).fit(X[::2])
    assert adapter.offset_ == -rule.thresh_


def test_it_is_a_rule_for_validation_data(cancer):
    X, _ = cancer
    for detector in (RobustPCA().fit(X[::2]), KNN().fit(X[::2])):
        scores = detector.decision_function(X[1::2])
        tuned = tune_threshold(detector, X[1::2], rule=SMALL)
        assert tuned.threshold_ == clone(SMALL).fit(scores).thresh_
        assert np.array_equal(tuned.predict(X[1::2]), scores > tuned.threshold_)
    with pytest.raises(ValueError, match="PeaksOverThreshold"):
        tune_threshold(detector, X[1::2], rule="peaks")
    with pytest.raises(ValueError, match="rule must be"):
        tune_threshold(detector, X[1::2], rule=PeaksOverThreshold)
    with pytest.raises(ValueError, match=r"^.*risk") as error:
        tune_threshold(detector, X[1::2], rule=PeaksOverThreshold(risk=0.5, level=0.98))
    assert "pythresh" not in str(error.value)


def test_a_search_finds_the_risk(cancer):
    X, y = cancer
    grid = {"contamination__risk": [1e-6, 0.2], "contamination__level": [0.7]}
    search = GridSearchCV(RobustPCA(contamination=SMALL), grid, scoring=f1_scorer, cv=2)
    assert search.fit(X, y).best_params_["contamination__risk"] == 0.2
