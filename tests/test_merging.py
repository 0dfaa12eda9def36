"""Members that are trained apart are, put together, what one fit gives."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from optional import Optional
from scipy.sparse import csr_array
from sklearn.base import clone

import skrdae
from skrdae import (
    AnoGANDetector,
    ConvRobustAutoencoder,
    LSTMVAEDetector,
    RobustDeepAutoencoder,
    RobustDeepAutoencoderCV,
    RobustPCA,
    USADDetector,
    VAEDetector,
    WindowedDetector,
    merge,
)
from skrdae.merging import agree, without_rows
from skrdae.preprocessing import ColumnMoments, ColumnScaler

pd = Optional("pandas")
ort = Optional("onnxruntime")

SHORT = {"n_estimators": 3, "random_state": 0, "device": "cpu"}
DETECTORS = [
    RobustDeepAutoencoder(**SHORT, max_iter=2),
    RobustDeepAutoencoder(**SHORT, max_samples=50, penalty="l1", contamination="auto", tol=0.2),
    RobustDeepAutoencoder(**SHORT, lam="1.5*median", penalty="l21_features"),
    VAEDetector(**SHORT, n_epochs=2, scaler=None),
    VAEDetector(**SHORT, n_epochs=2, likelihood="bernoulli", n_samples=2),
    AnoGANDetector(**SHORT, n_epochs=2, n_encoder_epochs=2, scaler="minmax"),
    USADDetector(**SHORT, n_epochs=1, scaler=None),
    LSTMVAEDetector(**SHORT, n_epochs=1, n_channels=2, scaler="minmax"),
    ConvRobustAutoencoder(**SHORT, max_iter=2, image_shape=(4, 3), channels=(4,)),
]

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(160, 2)) @ rng.normal(size=(2, 12)) + 0.1 * rng.normal(size=(160, 12))
    X[:6] += 3 * rng.normal(size=(6, 12))
    return X


@pytest.fixture(scope="module")
def members(X):
    agreement = agree(DETECTORS[0], X)
    return [agreement.fit_member(k, X[k::3]) for k in range(3)]


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda d: f"{type(d).__name__}")
def test_members_fitted_apart_to_all_rows_are_one_fit(detector, X, tmp_path):
    expected = clone(detector).fit(X)
    agreement = pickle.loads(pickle.dumps(agree(detector, X)))
    apart = [without_rows(agreement.fit_member(k, X)) for k in (0, 1, 2)]
    merged = merge(apart, X)
    assert merged.n_estimators == 3
    assert np.array_equal(merged.decision_scores_, expected.decision_scores_)
    assert np.array_equal(merged.labels_, expected.labels_)
    assert merged.threshold_ == expected.threshold_
    assert np.array_equal(merged.explain(X), expected.explain(X))
    assert vars(merged).keys() == vars(expected).keys()
    assert [row.keys() for row in merged.history_] == [row.keys() for row in expected.history_]
    for ours, theirs in zip(merged.history_, expected.history_, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4, nan_ok=True)
    skrdae.save(merged, tmp_path / "merged.skrdae")
    loaded = skrdae.load(tmp_path / "merged.skrdae")
    assert np.array_equal(loaded.decision_function(X[:20]), merged.decision_scores_[:20])


def test_members_of_parts_score_in_the_ensemble_as_alone(X, members):
    merged = merge(members, X)
    model = merged.model_
    scores = model.map(model.scorer.scores, model.rows(X))
    for member, mine in zip(members, scores, strict=True):
        assert np.array_equal(member.decision_function(X), mine)
    # Each has the λ of its place: members that leave out more rows have a lower threshold.
    assert (np.diff(merged.lam_) < 0).all()
    # Two levels of merging give what one does.
    twice = merge([merge(members[:2], X), members[2]], X)
    assert np.array_equal(twice.decision_scores_, merged.decision_scores_)


def test_a_merged_detector_is_exported(X, members, tmp_path):
    merged = merge(members, X)
    skrdae.to_onnx(merged, tmp_path / "merged.onnx")
    session = ort.InferenceSession(tmp_path / "merged.onnx")
    found = session.run(None, {session.get_inputs()[0].name: X.astype(np.float32)})
    scores = next(value for value in found if value.dtype.kind == "f")
    assert np.allclose(scores.ravel(), merged.decision_scores_, rtol=1e-3)


@pytest.mark.parametrize("n_parts", [1, 2, 7])
def test_moments_of_parts_add_up(n_parts):
    rng = np.random.default_rng(0)
    X = 1e4 + rng.normal(size=(50, 3)) * [1, 0, 1e-3]
    parts = [ColumnMoments.of(part) for part in np.array_split(X, n_parts)]
    found = parts[0]
    for part in parts[1:]:
        found = found + part
    assert found.n_rows == 50
    assert np.array_equal(found.smallest, X.min(axis=0))
    assert np.array_equal(found.largest, X.max(axis=0))
    assert np.allclose(found.mean, X.mean(axis=0), rtol=1e-14)
    assert np.allclose(found.deviation, X.std(axis=0), rtol=1e-8, atol=1e-12)


def test_scales_of_a_sample_know_the_range_of_all_rows():
    X = np.random.default_rng(0).normal(size=(1000, 3))
    X[:, 2] = 0
    X[0, 2] = 5  # constant in the sample
    sample, moments = X[500:], ColumnMoments.of(X)
    for method in ("minmax", "standard"):
        found, expected = ColumnScaler(method).fit(sample, moments), ColumnScaler(method).fit(X)
        assert np.allclose(found.center_, expected.center_)
        assert np.allclose(found.scale_, expected.scale_)
    robust = ColumnScaler("robust").fit(sample, moments)
    assert not robust.constant_.any()
    assert ColumnScaler("robust").fit(sample).constant_.tolist() == [False, False, True]
    assert np.array_equal(robust.scale_[:2], ColumnScaler("robust").fit(sample).scale_[:2])
    assert robust.scale_[2] == pytest.approx(X[:, 2].std())
    assert ColumnScaler(None, 2.0).fit(sample, moments).bound_ == 10  # twice the largest of all


def test_what_does_not_go_together(X, members):
    with pytest.raises(ValueError, match="detectors is empty"):
        merge([], X)
    with pytest.raises(ValueError, match=r"detectors\[1\] is not fitted"):
        merge([members[0], RobustDeepAutoencoder()], X)
    with pytest.raises(TypeError, match="detector of rows"):
        merge([WindowedDetector(RobustDeepAutoencoder())], X)
    with pytest.raises(TypeError, match="best_lam_"):
        agree(RobustDeepAutoencoderCV(), X)
    other = agree(DETECTORS[0].__class__(**SHORT, activation="relu"), X).fit_member(0, X)
    with pytest.raises(ValueError, match=r"detectors\[1\] has activation='relu'"):
        merge([members[0], other], X)
    alone = clone(members[0]).fit(X[:100])
    with pytest.raises(ValueError, match=r"detectors\[1\] scales.*column 0.*agree"):
        merge([members[0], alone], X)
    with pytest.raises(ValueError, match="one network"):
        merge([RobustPCA().fit(X), RobustPCA().fit(X)], X)
    with pytest.raises(ValueError, match="X has 5 columns, and 12"):
        merge(members, X[:, :5])
    levels = [VAEDetector(**SHORT, n_epochs=1, scaler="minmax").fit(X) for _ in "ab"]
    levels[1].model_ = replace(levels[1].model_, scorer=replace(levels[1].model_.scorer, level=7.0))
    with pytest.raises(ValueError, match="level differs"):
        merge(levels, X)


def test_members_are_of_the_columns_agreed_on(X):
    names = [f"f{j}" for j in range(12)]
    frame = pd.DataFrame(X, columns=names)
    agreement = agree(RobustDeepAutoencoder(**SHORT, max_iter=1), frame)
    member = agreement.fit_member(1, frame)
    assert merge([member], frame).feature_names_in_.tolist() == names
    with pytest.raises(ValueError, match="other names, or another order"):
        agreement.fit_member(1, frame[names[::-1]])
    with pytest.raises(ValueError, match="X has 5 columns, and 12"):
        agreement.fit_member(1, X[:, :5])
    with pytest.raises(ValueError, match="number from 0 to 2"):
        agreement.fit_member(3, frame)
    for number in (1.0, "1", True):
        with pytest.raises(TypeError, match="member must be an int"):
            agreement.fit_member(number, frame)
    of_arrays = agree(RobustDeepAutoencoder(**SHORT, max_iter=1), X)
    with pytest.raises(TypeError, match=r"dense rows only: pass X\.toarray\(\)"):
        of_arrays.fit_member(0, csr_array(X))
