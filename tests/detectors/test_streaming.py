import pickle

import numpy as np
import pytest
from optional import Optional
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import roc_auc_score

from skrdae import (
    ConvRobustAutoencoder,
    DenoisingDetector,
    LSTMRobustAutoencoder,
    LSTMVAEDetector,
    OmniAnomalyDetector,
    RobustDeepAutoencoder,
    RobustDeepAutoencoderCV,
    TransformerRobustAutoencoder,
    USADDetector,
    VAEDetector,
    load,
    save,
)
from skrdae.detectors import streaming
from skrdae.detectors.streaming import Stream

pd = Optional("pandas")

RDA = {"n_estimators": 3, "random_state": 0}
BRIEF = {"n_estimators": 2, "max_iter": 2, "batch_size": 64, "random_state": 0}
CASES = {
    "rda": RobustDeepAutoencoder(**RDA),
    "rda, l1, norm": RobustDeepAutoencoder(penalty="l1", score_function="norm", **RDA),
    "rda, votes": RobustDeepAutoencoder(2.0, contamination="auto", **RDA),
    "rda, samples": RobustDeepAutoencoder(max_samples=0.5, n_estimators=1, random_state=0),
    "lstm": LSTMRobustAutoencoder(n_channels=2, **BRIEF),
    "transformer": TransformerRobustAutoencoder(n_channels=2, width=8, n_heads=2, **BRIEF),
    "conv": ConvRobustAutoencoder(image_shape=(2, 4), channels=(4,), **BRIEF),
    "usad": USADDetector(n_channels=2, n_epochs=2, **RDA),
    "usad, minmax": USADDetector(scaler="minmax", n_epochs=2, **RDA),
    "denoising": DenoisingDetector(n_epochs=2, hidden_layer_sizes=(7, 5), **RDA),
    "lstm vae": LSTMVAEDetector(n_channels=2, n_epochs=2, **RDA),
    "omni": OmniAnomalyDetector(n_channels=2, n_epochs=2, n_estimators=1, random_state=0),
    "vae": VAEDetector(**RDA),
    "vae, draws": VAEDetector(n_samples=3, **RDA),
    "vae, bernoulli": VAEDetector(likelihood="bernoulli", **RDA),
}
cases = pytest.mark.parametrize("name", CASES)


def _streamed(detector, X, n_chunks):
    detector = clone(detector)
    for chunk in np.array_split(X, n_chunks):
        assert detector.partial_fit(chunk) is detector
    return detector


def _same(a, b, X):
    assert np.array_equal(a.decision_function(X), b.decision_function(X))
    assert np.array_equal(a.predict(X), b.predict(X))
    assert a.threshold_ == b.threshold_
    assert a.history_ == b.history_


@cases
def test_one_chunk_of_all_rows_is_fit(name, plane):
    fitted = clone(CASES[name]).fit(plane)
    streamed = _streamed(CASES[name], plane, 1)
    _same(streamed, fitted, plane)
    assert np.array_equal(streamed.decision_scores_, fitted.decision_scores_)
    assert np.array_equal(streamed.labels_, fitted.labels_)
    assert streamed.n_samples_seen_ == len(plane)


@pytest.mark.parametrize("detector", [RobustDeepAutoencoder, VAEDetector])
@pytest.mark.parametrize("data", ["cancer", "digits", "plane"])
def test_chunks_detect_as_well_as_all_rows_at_once(detector, data, request):
    X = request.getfixturevalue(data)
    X, y = X if isinstance(X, tuple) else (X, np.arange(len(X)) < 6)
    order = np.random.default_rng(0).permutation(len(X))
    X, y = X[order], y[order]
    whole = roc_auc_score(y, detector(random_state=0).fit(X).decision_function(X))
    chunks = _streamed(detector(random_state=0), X, 4)
    assert roc_auc_score(y, chunks.decision_function(X)) > whole - 0.02
    assert chunks.n_samples_seen_ == len(X)
    # The threshold is that of what is remembered, which is all.
    assert chunks.predict(X).mean() == pytest.approx(0.1, abs=0.01)


@cases
def test_chunks_go_on_from_pickles_and_files(name, plane, tmp_path):
    chunks = np.array_split(plane, 3)
    whole = _streamed(CASES[name], plane, 3)
    # Both ways after each chunk: what one of them lost the other could not bring back.
    found = clone(CASES[name])
    for chunk in chunks:
        save(found.partial_fit(chunk), tmp_path / "file")
        found = pickle.loads(pickle.dumps(load(tmp_path / "file")))
    _same(found, whole, plane)


@pytest.mark.parametrize("name", ["lstm", "transformer", "conv", "usad", "omni"])
def test_chunks_come_flat_or_in_shape(name, plane):
    shape = (2, 4) if name == "conv" else (4, 2)
    flat = _streamed(CASES[name], plane, 2)
    shaped = _streamed(CASES[name], plane.reshape(-1, *shape), 2)
    _same(shaped, flat, plane)
    before = vars(shaped).copy()
    for wrong in (plane.reshape(-1, 8, 1), plane.reshape(-1, *shape)[:, :1], plane[:0]):
        with pytest.raises(ValueError, match=r"X has|0 sample"):
            shaped.partial_fit(wrong)
    assert vars(shaped) == before
    shaped.set_params(**({"image_shape": (4, 2)} if name == "conv" else {"n_channels": 4}))
    with pytest.raises(ValueError, match="The chunks before"):
        shaped.partial_fit(plane)


def test_fit_and_partial_fit_begin_anew_after_each_other(plane):
    detector = _streamed(CASES["rda"], plane, 3).fit(plane)
    _same(detector, clone(CASES["rda"]).fit(plane), plane)
    assert not hasattr(detector, "_stream")
    with pytest.warns(UserWarning, match="begins anew after fit") as found:
        detector.partial_fit(plane[:100, :5])
    assert found[0].filename == __file__
    _same(detector, clone(CASES["rda"]).partial_fit(plane[:100, :5]), plane[:, :5])


@pytest.mark.parametrize("name", ["rda", "vae, draws"])
def test_nothing_of_an_earlier_fit_is_left(name, plane):
    detector = clone(CASES[name]).set_params(warm_start=True)
    if name == "vae, draws":
        detector.set_params(n_samples=0, latent_dim=5)
    else:
        detector.set_params(store_decomposition=True)
    detector.fit(plane).set_params(**clone(CASES[name]).get_params())
    with pytest.warns(UserWarning, match="begins anew after fit"):
        detector.partial_fit(plane)
    fresh = clone(CASES[name]).partial_fit(plane)
    _same(detector, fresh, plane)
    assert vars(detector).keys() == vars(fresh).keys()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n_estimators": 2}, "trained on with n_estimators=3, and it is 2 now"),
        ({"hidden_layer_sizes": (9, 2)}, "hidden_layer_sizes='auto'"),
        ({"scaler": "standard"}, "scaler='robust'"),
        ({"penalty": "l1"}, "penalty='l21'"),
        ({"tol": 0.1}, "tol=None only"),
        ({"store_decomposition": True}, "store_decomposition=False only"),
        ({"warm_start": True}, "warm_start=False only"),
        ({"checkpoint_path": "x"}, "checkpoint_path=None only"),
    ],
)
def test_what_may_not_change_from_chunk_to_chunk(change, words, plane):
    detector = _streamed(CASES["rda"], plane, 2)
    scores = detector.decision_function(plane)
    with pytest.raises(ValueError, match=words):
        detector.set_params(**change).partial_fit(plane)
    assert np.array_equal(detector.decision_function(plane), scores)
    detector.set_params(**clone(CASES["rda"]).get_params())
    detector.set_params(lr=1e-4, lam=2.0, max_iter=1, contamination=0.2).partial_fit(plane)
    assert len(detector.history_) == 11


def test_callbacks_see_the_rows_of_the_history(plane):
    for name in ("rda", "vae"):
        seen = []
        detector = clone(CASES[name]).set_params(callbacks=seen.append)
        for chunk in np.array_split(plane, 3):
            detector.partial_fit(chunk)
        assert seen == detector.history_


def test_an_interrupted_chunk_says_so(plane):
    def press(row):
        raise KeyboardInterrupt

    detector = clone(CASES["rda"]).partial_fit(plane)
    with pytest.warns(ConvergenceWarning, match="interrupted after 1"):
        detector.set_params(callbacks=press).partial_fit(plane)
    assert len(detector.history_) == 6


def test_a_chunk_that_fails_changes_nothing(plane):
    def fail(row):
        if row["iteration"] % 5 == 2:
            raise RuntimeError

    detector = _streamed(CASES["rda"], plane[:200], 2)
    before, scores = dict(vars(detector)), detector.decision_function(plane)
    weights = [p.clone() for p in detector.network_.parameters()]
    broken = plane[200:].copy()
    broken[3, 3] = np.nan
    for X, change, error in (
        (broken, {}, ValueError),
        (plane[200:, :5], {}, ValueError),
        (plane[200:], {"callbacks": fail}, RuntimeError),
        (plane[200:], {"lr": -1}, ValueError),
        (plane[200:], {"penalty": "l21_features"}, AttributeError),
        (plane[200:], {"penalty": "l3"}, ValueError),
    ):
        detector.set_params(**change)
        with pytest.raises(error):
            detector.partial_fit(X)
        detector.set_params(**clone(CASES["rda"]).get_params())
        assert np.array_equal(detector.decision_function(plane), scores)
        assert all(
            (p == w).all() for p, w in zip(detector.network_.parameters(), weights, strict=True)
        )
        assert vars(detector)["_stream"] is before["_stream"]
    fresh = clone(CASES["rda"]).set_params(callbacks=fail)
    with pytest.raises(RuntimeError):
        fresh.partial_fit(plane)
    assert not [name for name in vars(fresh) if name.endswith("_")]


def test_names_are_those_of_the_first_chunk(plane):
    table = pd.DataFrame(plane, columns=list("abcdefgh"))
    detector = clone(CASES["vae"]).partial_fit(table[:100]).partial_fit(table[100:])
    with pytest.raises(ValueError, match="feature names"):
        detector.partial_fit(table[list("hgfedcba")])


def test_rows_are_remembered_with_equal_odds(monkeypatch):
    monkeypatch.setattr(streaming, "MEMORY", 20)
    found = np.zeros(200)
    for seed in range(600):
        stream = Stream(np.array([seed]), {}).opened()
        for chunk in np.array_split(np.arange(200.0)[:, None], (7, 15, 90, 91)):
            stream.remember(chunk)
        assert stream.rows.shape == (20, 1)
        assert len(np.unique(stream.rows)) == 20
        found[stream.rows[:, 0].astype(int)] += 1
    # Of 600 tries a tenth: 60, give or take 7.3.
    assert abs(found - 60).max() < 35
    assert abs(found.reshape(8, 25).mean(axis=1) - 60).max() < 6


def test_memory_and_threshold_follow_the_stream(plane, monkeypatch):
    monkeypatch.setattr(streaming, "MEMORY", 256)
    detector = clone(CASES["rda"])
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(2, 6))
    for noise in [0.1] * 5 + [0.5] * 20:
        detector.partial_fit(rng.normal(size=(64, 2)) @ mixing + noise * rng.normal(size=(64, 6)))
        assert len(detector.decision_scores_) <= 256
    new = rng.normal(size=(2000, 2)) @ mixing + 0.5 * rng.normal(size=(2000, 6))
    assert 0.05 < detector.predict(new).mean() < 0.2
    assert detector.n_samples_seen_ == 25 * 64
    assert len(detector.history_) == 25 * 5
    assert [row["iteration"] for row in detector.history_] == list(range(1, 126))


def test_single_rows(plane):
    detector = clone(CASES["rda"]).partial_fit(plane[:200])
    for row in plane[200:210]:
        detector.partial_fit(row[None])
    assert np.isfinite(detector.decision_function(plane)).all()
    assert detector.score(plane, np.arange(300) < 6) > 0.95


def test_the_search_for_lam_has_none():
    assert not hasattr(RobustDeepAutoencoderCV(), "partial_fit")
    assert not hasattr(RobustDeepAutoencoder(penalty="l21_features"), "partial_fit")


@pytest.mark.parametrize("max_samples", [0.3, 0.7, 100, "auto", None])
@pytest.mark.parametrize("detector", [RobustDeepAutoencoder, VAEDetector])
def test_one_chunk_gives_what_fit_gives_for_any_part_of_the_rows(detector, max_samples, plane):
    # More rows than those of which a batch has always the same size.
    X = np.concatenate([plane] * 8)
    detector = detector(max_samples=max_samples, n_estimators=2, random_state=0)
    assert np.array_equal(
        clone(detector).partial_fit(X).decision_scores_, detector.fit(X).decision_scores_
    )


def test_the_rows_of_members_may_change_from_chunk_to_chunk(plane):
    for detector in (RobustDeepAutoencoder(random_state=0), VAEDetector(random_state=0)):
        for max_samples in (0.5, 20, "auto", None, 1.0):
            detector.set_params(max_samples=max_samples).partial_fit(plane)
        assert detector.n_samples_seen_ == 5 * len(plane)


@pytest.mark.parametrize("detector", [RobustDeepAutoencoder, VAEDetector])
def test_a_column_that_begins_to_change_is_scaled_by_the_chunk_in_which_it_does(detector, plane):
    first, later = plane.copy(), np.random.default_rng(1).permutation(plane)
    first[:, 0] = plane[:, 0].mean()
    detector = detector(random_state=0).partial_fit(first)
    before = detector.scaler_
    assert before.constant_.tolist() == [True] + [False] * (plane.shape[1] - 1)
    with pytest.raises(ValueError, match="NaN"):
        detector.partial_fit(np.where(np.arange(len(later))[:, None] == 3, np.nan, later))
    assert detector.scaler_ is before
    detector.partial_fit(later).partial_fit(later)
    assert not detector.scaler_.constant_.any()
    assert np.array_equal(detector.scaler_.scale_[1:], before.scale_[1:])
    assert detector.predict(later).mean() < 0.3


def test_chunks_of_an_earlier_version_go_on_with_any_number_of_rows(plane):
    detector = RobustDeepAutoencoder(n_estimators=2, random_state=0).partial_fit(plane[:150])
    detector._stream.settings["max_samples"] = "1.0"  # which it held once
    detector.partial_fit(plane[150:])
    assert detector.n_samples_seen_ == 300
