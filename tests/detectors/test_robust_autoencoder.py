import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from detector_contract import DetectorContract
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from skrdae import LSTMRobustAutoencoder, RobustDeepAutoencoder
from skrdae.networks.workspace import Workspace
from skrdae.penalties import PENALTIES, GroupPenalty

names = pytest.mark.parametrize("penalty", PENALTIES)
_CPU = torch.device("cpu")
_SPACE = Workspace(_CPU)


def _fit(X, **options):
    return RobustDeepAutoencoder(**({"random_state": 0} | options)).fit(X)


def _single(X, **options):
    """One member, trained for long enough to reconstruct."""
    settings = {"n_estimators": 1, "max_iter": 10, "n_epochs": 5, "lr": 3e-3}
    return _fit(X, **(settings | options))


def _of_members(detector, name, rows):
    """What a method of the detector's scorer gives, in double precision."""
    model = detector.model_.to(_CPU)
    with torch.no_grad():
        found = getattr(model.scorer, name)(model.network, rows, _SPACE)
    return found.double().numpy()


class TestContract(DetectorContract):
    detector = RobustDeepAutoencoder
    found = 5  # the sixth has no value that is far off by itself
    far = 3e3  # a logarithm is slow to grow
    brief = {"max_iter": 2}
    variants = (
        {},
        {"penalty": "l1"},
        {"penalty": "l21_features"},
        {"contamination": "auto", "lam": "1.5*median"},
        {"n_estimators": 3},
        {"n_estimators": 1, "hidden_layer_sizes": (5, 1)},
        {"n_estimators": 1, "hidden_layer_sizes": (16, 8, 3), "activation": "relu"},
        {"max_samples": "auto", "activation": "sigmoid", "scaler": "minmax", "lam": 1.5},
    )
    wrong = (
        ({"lam": -1}, "lam"),
        ({"lam": np.nan}, "lam"),
        ({"lam": "big"}, "such as '1.5\\*median'"),
        ({"lam": "2*mean"}, "lam"),
        ({"lam": "-1*median"}, "lam"),
        ({"lam": "inf*median"}, "lam"),
        ({"lam": None}, "lam"),
        ({"penalty": "l2"}, "penalty"),
        ({"hidden_layer_sizes": ()}, "hidden_layer_sizes"),
        ({"hidden_layer_sizes": (8, 0)}, "hidden_layer_sizes"),
        ({"hidden_layer_sizes": (8, 2.5)}, "hidden_layer_sizes"),
        ({"hidden_layer_sizes": (8, True)}, "hidden_layer_sizes"),
        ({"hidden_layer_sizes": 8}, r"hidden_layer_sizes.*\(64, 8\)"),
        ({"hidden_layer_sizes": "64"}, "hidden_layer_sizes"),
        ({"activation": "swish"}, "activation"),
        ({"output_activation": None}, "output_activation"),
        ({"max_iter": 0}, "max_iter"),
        ({"n_epochs": 1.5}, "n_epochs"),
        ({"tol": -1e-3}, "tol"),
        ({"max_samples": 0}, "max_samples"),
        ({"max_samples": 1.5}, "max_samples"),
        ({"max_samples": "all"}, "max_samples"),
        ({"store_decomposition": "yes"}, "store_decomposition"),
    )


def test_data_beyond_the_reach_of_the_output_are_warned_of(plane):
    with pytest.warns(UserWarning, match=r"output_activation='tanh' gives values from -1.0 to 1.0"):
        _fit(plane, output_activation="tanh")


# ------------------------------------------------------------------------------- λ


@names
def test_a_larger_lam_never_flags_more_rows_of_one_network(penalty, digits):
    detector = _single(digits[0], penalty=penalty, lam=1.0, contamination="auto", scaler=None)
    flagged, largest = [], np.inf
    for lam in np.geomspace(0.05, 50, 25):
        lams = torch.tensor([lam], dtype=torch.float32, device=detector.device_)
        scorer = replace(detector.model_.scorer, lam=lams)
        detector.model_ = replace(detector.model_, scorer=scorer)
        flagged.append(detector.predict(digits[0]).sum())
        sparse = np.linalg.norm(detector.decompose(digits[0])[1])
        assert sparse <= largest * (1 + 1e-6) + 1e-9
        largest = sparse
    assert (np.diff(flagged) <= 0).all()
    assert flagged[0] > 0
    assert flagged[-1] == 0


@names
def test_the_ends_of_lam(penalty, digits):
    X = digits[0]
    nothing = _single(X, penalty=penalty, lam=0.0, contamination="auto", scaler=None)
    # λ = 0: all that the network leaves goes to S.
    assert all(row["constraint"] == 0 for row in nothing.history_)
    rows = torch.from_numpy(X.astype(np.float32))
    model = nothing.model_.to(_CPU)
    scorer = model.scorer
    residual = scorer.residual(model.network, rows, _SPACE).clone()
    assert torch.equal(PENALTIES[penalty].prox(residual, scorer.lam, scorer.norms), residual)
    assert nothing.labels_.all()
    plain = _single(X, penalty=penalty, lam=np.inf, contamination="auto", scaler=None)
    low_rank, sparse = plain.decompose(X)
    assert not sparse.any()
    assert np.array_equal(low_rank, X)
    assert not plain.labels_.any()
    assert plain.lam_ == np.inf


def test_l1_with_lam_above_every_residual_is_the_plain_autoencoder(digits):
    """On data in [0, 1] no residual exceeds 1, so λ ≥ 1 changes nothing: an old trap."""
    options = {"penalty": "l1", "scaler": None, "output_activation": "sigmoid"}
    at_one = _single(digits[0], lam=1.0, **options)
    plain = _single(digits[0], lam=np.inf, **options)
    assert np.array_equal(at_one.decision_scores_, plain.decision_scores_)
    assert all(row["sparse_share"] == 0 for row in at_one.history_)


@names
def test_auto_lam_is_the_quantile_of_the_last_residual(penalty, digits):
    X = digits[0]
    # In the first iteration L is X itself.
    detector = _single(X, penalty=penalty, contamination=0.2, scaler=None, max_iter=1)
    residual = _residual(detector, X)
    if penalty == "l21":
        norms = np.linalg.norm(residual, axis=1)
    elif penalty == "l1":
        norms = np.abs(residual).ravel()
    elif penalty == "l20":
        norms = np.linalg.norm(residual, axis=1) / np.linalg.norm(X, axis=1)
    else:
        norms = np.linalg.norm(residual, axis=0)
    # λ is one of the norms, which NumPy finds a rounding error above or below.
    assert (norms > detector.lam_ * (1 + 1e-5)).sum() == len(norms) - round(0.8 * len(norms))
    assert np.abs(norms / detector.lam_ - 1).min() < 1e-5


def test_auto_lam_spreads_the_shares_of_the_members(plane):
    detector = _fit(plane, n_estimators=5, contamination=0.1)
    assert detector.lam_.shape == (5,)
    assert detector.history_[-1]["lam"] == pytest.approx(detector.lam_.mean(), rel=1e-5)
    one = _fit(plane, n_estimators=1, contamination=0.1)
    assert np.isscalar(one.lam_)


# ---------------------------------------------------------------------------- auto threshold


def _residual(detector, X):
    """X − D(E(X)) of a single member with scaler=None, worked out here in NumPy."""
    act = {"tanh": np.tanh, "identity": lambda z: z, "sigmoid": lambda z: 1 / (1 + np.exp(-z))}
    network, h = detector.model_.to(_CPU).network, X
    for weight, bias, name in zip(
        network.weights, network.biases, network.activations, strict=True
    ):
        h = act[name](h @ weight[0].numpy().astype(float) + bias[0].numpy())
    return X - h


def test_auto_flags_exactly_the_rows_whose_norm_exceeds_lam(digits):
    X, _ = digits
    detector = _single(X, lam=1.4, contamination="auto", scaler=None, store_decomposition=True)
    norms = np.linalg.norm(_residual(detector, X), axis=1)
    np.testing.assert_allclose(detector.decision_scores_, norms, rtol=1e-4)
    assert 0 < detector.labels_.sum() < len(X) / 2
    assert detector.threshold_ == detector.lam_
    assert np.array_equal(detector.labels_, detector.decision_scores_ > detector.lam_)
    assert np.array_equal(detector.labels_, (detector.sparse_ != 0).any(axis=1))
    assert np.array_equal(detector.predict(X), detector.labels_)


def test_auto_flags_rows_with_an_entry_above_lam_for_l1(digits):
    X, _ = digits
    detector = _single(X, penalty="l1", lam=0.6, contamination="auto", scaler=None)
    flagged = np.abs(_residual(detector, X)).max(axis=1) > 0.6
    assert 0 < flagged.sum() < len(X)
    assert np.array_equal(detector.labels_, flagged)
    assert np.array_equal(detector.labels_, (detector.decompose(X)[1] != 0).any(axis=1))


def test_auto_members_vote(plane):
    detector = _fit(
        plane, n_estimators=5, contamination="auto", lam=4.0, hidden_layer_sizes=(64, 4)
    )
    rows = torch.from_numpy(detector.scaler_.transform(plane))
    norms = np.linalg.norm(_of_members(detector, "residual", rows), axis=2)
    votes = (norms > 4.0).sum(axis=0)
    assert len(np.unique(votes)) > 2  # they do not all agree
    assert np.array_equal(detector.labels_, votes >= 3)


# ---------------------------------------------------------------------- a penalty of one's own


class _FeatureGroups(GroupPenalty):
    """Rows of `n_groups` groups of features that lie side by side."""

    def __init__(self, n_groups):
        self.n_groups = n_groups

    def norms(self, residual):
        return residual.unflatten(-1, (self.n_groups, -1)).norm(dim=-1)

    def spread(self, values):
        return values.repeat_interleave(self.n_features // self.n_groups, dim=-1)

    n_features = 64

    def row_values(self, residual):
        return self.norms(residual).sum(dim=-1)

    def row_shares(self, residual):
        norms = self.spread(self.norms(residual))
        return residual.square() / norms.clamp(min=1e-30)


def test_one_group_is_l21_and_a_group_for_each_feature_is_l1(digits):
    X, _ = digits
    for n_groups, name, lam in ((1, "l21", 0.8), (64, "l1", 0.5)):
        options = {"lam": lam, "contamination": "auto", "scaler": None}
        named = _single(X, penalty=name, **options)
        own = _single(X, penalty=_FeatureGroups(n_groups), **options)
        assert 0 < named.labels_.sum() < len(X)
        np.testing.assert_allclose(own.decision_scores_, named.decision_scores_, rtol=1e-4)
        np.testing.assert_allclose(own.decompose(X)[1], named.decompose(X)[1], atol=1e-4)


def test_groups_of_features_are_found_whole(digits):
    X = np.array(digits[0])
    X[:8, 16:24] = 1 - X[:8, 16:24]  # the third row of eight pixels is inverted
    own = _FeatureGroups(8)
    detector = clone(RobustDeepAutoencoder(penalty=own, scaler=None, random_state=0, n_epochs=5))
    assert detector.penalty is not own
    sparse = detector.fit(X).decompose(X)[1].reshape(len(X), 8, 8)
    some, every = (sparse != 0).any(axis=2), (sparse != 0).all(axis=2)
    assert np.array_equal(some, every)
    # λ leaves a tenth of the groups, not of the entries, at something other than zero.
    assert 0.02 < some.mean() < 0.3
    assert np.array_equal(np.linalg.norm(sparse[:8], axis=2).argmax(axis=1), np.full(8, 2))


# ------------------------------------------------------------------------------ decomposition


def test_the_wild_cells_go_to_the_sparse_part(digits):
    clean = digits[0]
    rng = np.random.default_rng(0)
    wild = rng.random(clean.shape) < 0.02
    X = np.where(wild, 1 - np.round(clean), clean)
    detector = _single(X, penalty="l1", lam=0.3, scaler=None, max_iter=20, n_epochs=10)
    low_rank, sparse = detector.decompose(X)
    assert np.abs(sparse[wild]).mean() > 8 * np.abs(sparse[~wild]).mean()
    assert np.square(low_rank - clean).mean() < 0.6 * np.square(X - clean).mean()


def test_the_default_code_is_as_wide_as_the_data_within_limits():
    sizes = [RobustDeepAutoencoder()._layer_sizes(d) for d in (1, 8, 24, 100, 784)]
    assert sizes == [(64, 2), (64, 8), (64, 24), (64, 24), (64, 28)]


def test_transform_encodes_the_cleaned_rows(plane):
    detector = _fit(plane, n_estimators=2)
    codes = detector.transform(plane)
    assert codes.shape == (300, 2 * 8)
    rows = torch.from_numpy(detector.scaler_.transform(plane))
    model = detector.model_.to(_CPU)
    with torch.no_grad():
        sparse = model.scorer.sparse(model.network, rows, _SPACE)
        expected = model.network.encode((rows - sparse).clamp(-3, 3)).numpy()
    np.testing.assert_allclose(codes, np.concatenate(list(expected), axis=1), atol=1e-5)
    assert np.array_equal(detector.transform(plane[5:6]), codes[5:6])
    raw = np.concatenate(list(model.network.encode(rows.expand(2, -1, -1)).numpy()), axis=1)
    assert np.abs(raw[:6] - codes[:6]).max() > 0.01  # not the raw rows


def test_inverse_transform_is_row_by_row(plane):
    detector = _fit(plane, n_estimators=3)
    codes = detector.transform(plane).astype(np.float32)
    codes.setflags(write=False)
    whole = detector.inverse_transform(codes)
    alone = [detector.inverse_transform(codes[i : i + 1])[0] for i in range(20)]
    assert np.array_equal(alone, whole[:20])
    assert np.array_equal(detector.inverse_transform(codes[::-1]), whole[::-1])


def test_inverse_transform_gives_the_reconstruction_in_units_of_the_data(plane):
    X = plane * [1, 10, 100, 1, 1, 1, 1, 1] + 5
    detector = _single(X, lam=np.inf, max_iter=40)
    back = detector.inverse_transform(detector.transform(X))
    normal = slice(6, None)
    error = ((X - back)[normal] ** 2).sum() / ((X - X.mean(axis=0))[normal] ** 2).sum()
    assert error < 0.05
    with pytest.raises(ValueError, match="columns"):
        detector.inverse_transform(np.zeros((2, 5)))


def test_output_names_and_frames(plane):
    import pandas as pd

    detector = _fit(plane, n_estimators=2).set_output(transform="pandas")
    frame = detector.transform(plane)
    assert isinstance(frame, pd.DataFrame)
    assert frame.columns.tolist() == [f"robustdeepautoencoder{j}" for j in range(16)]
    assert detector.get_feature_names_out().tolist() == frame.columns.tolist()


# -------------------------------------------------------------------------------- members


def test_the_first_member_of_an_ensemble_is_the_single_fit(plane):
    # To the last bit on a CPU.
    options = {"lam": 2.0, "max_samples": 100, "random_state": 3, "device": "cpu"}
    many, one = _fit(plane, n_estimators=4, **options), _fit(plane, n_estimators=1, **options)
    for a, b in zip(many.network_.parameters(), one.network_.parameters(), strict=True):
        assert torch.equal(a[:1], b)
    assert np.array_equal(many.transform(plane)[:, :8], one.transform(plane))


def test_scores_are_brought_to_one_scale(plane):
    detector = _fit(plane, n_estimators=3, lam=2.0)
    rows = torch.from_numpy(detector.scaler_.transform(plane))
    members = _of_members(detector, "scores", rows)
    medians = np.median(members, axis=1)
    expected = (members / medians[:, None]).mean(axis=0) * medians.mean()
    np.testing.assert_allclose(detector.decision_scores_, expected, rtol=1e-5)


def test_max_samples(plane):
    scores = {
        size: _fit(plane, max_samples=size).decision_scores_ for size in (50, 50 / 300, "auto")
    }
    assert np.array_equal(scores[50], scores[50 / 300])
    assert np.array_equal(_fit(plane, max_samples=256).decision_scores_, scores["auto"])
    full = _fit(plane, max_samples=1.0).decision_scores_
    with pytest.warns(UserWarning, match="max_samples"):
        assert np.array_equal(_fit(plane, max_samples=1000).decision_scores_, full)


def test_automatic_batches_are_a_24th_of_the_rows_within_bounds(plane):
    for n_rows, size in ((300, 32), (1200, 50), (9000, 128)):
        X = np.resize(plane, (n_rows, 8))
        auto = _fit(X, batch_size="auto", max_iter=1)
        assert np.array_equal(
            auto.decision_scores_, _fit(X, batch_size=size, max_iter=1).decision_scores_
        )
    by_sample = _fit(plane.repeat(10, axis=0), max_samples=100, max_iter=1)  # its own rows count
    expected = _fit(plane.repeat(10, axis=0), max_samples=100, max_iter=1, batch_size=32)
    assert np.array_equal(by_sample.decision_scores_, expected.decision_scores_)


# ------------------------------------------------------------------------------- convergence


def test_convergence(plane):
    with pytest.warns(ConvergenceWarning, match="tol"):
        detector = _single(plane, tol=1e-12, max_iter=3)
    assert detector.n_iter_ == len(detector.history_) == 3
    detector = _single(plane, tol=0.05, max_iter=100, n_estimators=2)
    last = detector.history_[-1]
    assert detector.n_iter_ < 100
    assert min(last["constraint"], last["change"]) < 0.05
    assert len(_single(plane, max_iter=5).history_) == 5  # no tol: as many as asked, in silence


def test_a_multiple_of_the_median_is_one_of_the_training_residuals(digits):
    X = digits[0]
    options = {"n_estimators": 2, "contamination": "auto", "scaler": None, "random_state": 0}
    for rows in (X, csr_matrix(X)):
        detector = RobustDeepAutoencoder("1.5 * median", **options).fit(rows)
        norms = np.sort(_of_members(detector, "scores", torch.tensor(X, dtype=torch.float32)))
        # Rows with a part in S leave other residuals in training, but none that are half as small.
        median = norms[:, round(norms.shape[1] / 2) - 1]
        np.testing.assert_allclose(detector.lam_, 1.5 * median, rtol=0.01)
    one = RobustDeepAutoencoder("median", **options | {"max_iter": 1}).fit(X)
    two = RobustDeepAutoencoder("2*median", **options | {"max_iter": 1}).fit(X)
    assert np.array_equal(two.lam_, 2 * one.lam_)


def test_training_lowers_the_objective(digits):
    history = _single(digits[0], scaler=None, lam=2.0).history_
    objectives = [row["objective"] for row in history]
    assert objectives[-1] < 0.5 * objectives[0]


# ------------------------------------------------------------------------------------ devices


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_agrees_with_cpu_and_loads_without_it(cancer, monkeypatch):
    import pickle

    X, _ = cancer
    gpu, cpu = _fit(X, device="cuda"), _fit(X, device="cpu")
    assert gpu.device_.type == "cuda"
    ranks = [np.argsort(np.argsort(d.decision_scores_)) for d in (gpu, cpu)]
    assert np.corrcoef(*ranks)[0, 1] > 0.999
    again = pickle.loads(pickle.dumps(gpu))
    assert again.device_.type == "cuda"
    assert np.array_equal(again.decision_function(X), gpu.decision_scores_)
    monkeypatch.setattr("skrdae.model.device_if_there", lambda device: _CPU)
    moved = pickle.loads(pickle.dumps(gpu))
    assert moved.device_.type == "cpu"
    np.testing.assert_allclose(moved.decision_function(X), gpu.decision_scores_, rtol=1e-3)
    order = np.random.default_rng(0).permutation(len(X))
    assert np.array_equal(gpu.decision_function(X[order]), gpu.decision_scores_[order])


@pytest.mark.parametrize("n_estimators", [1, 3])
@pytest.mark.parametrize("name", PENALTIES)
def test_a_penalty_and_its_name_give_the_same_detector(name, n_estimators, plane):
    options = {"contamination": "auto", "n_estimators": n_estimators, "random_state": 0}
    named = RobustDeepAutoencoder(penalty=name, **options).fit(plane)
    made = RobustDeepAutoencoder(penalty=type(PENALTIES[name])(), **options).fit(plane)
    assert made.threshold_ == named.threshold_
    assert np.array_equal(made.labels_, named.labels_)
    assert np.array_equal(made.decision_scores_, named.decision_scores_)
    assert np.array_equal(made.predict(plane), named.predict(plane))


@pytest.mark.parametrize("detector", [RobustDeepAutoencoder, LSTMRobustAutoencoder])
@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_unscaled_values_beyond_the_reach_of_a_network_are_warned_of(detector, dtype, digits):
    pixels = (digits[0] * 255).astype(dtype)
    detector = detector(scaler=None, max_iter=1, random_state=0)
    with pytest.warns(UserWarning, match="columns of X hold values far beyond 1"):
        detector.fit(pixels)
    # Not of data that are scaled, by the detector or before.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        detector.fit(pixels / 255)
        detector.set_params(scaler="minmax").fit(pixels[:, pixels.std(axis=0) > 0])
