import numpy as np
import pytest
import torch
from detector_contract import DetectorContract

from skrdae import LSTMRobustAutoencoder


class TestContract(DetectorContract):
    detector = LSTMRobustAutoencoder
    brief = {"max_iter": 2, "hidden_layer_sizes": (8,), "batch_size": 64, "lr": 1e-2}
    variants = (
        {},
        {"cell": "gru", "hidden_layer_sizes": (5,)},
        {"penalty": "l1", "n_estimators": 2, "contamination": "auto"},
    )
    wrong = (
        ({"cell": "rnn"}, "cell"),
        ({"n_channels": 0}, "n_channels"),
        ({"n_channels": 3}, "n_channels=3 does not divide"),
        ({"n_channels": 1.0}, "n_channels"),
        ({"hidden_layer_sizes": ()}, "hidden_layer_sizes"),
        ({"hidden_layer_sizes": "auto"}, "hidden_layer_sizes"),
        ({"lam": -1}, "lam"),
        ({"penalty": "l2"}, "penalty"),
        ({"max_iter": 0}, "max_iter"),
    )
    after_fit = (({}, {"n_channels": 3, "cell": "gru"}),)


def _waves(n=200, n_steps=12, n_channels=2, seed=0):
    """Windows of sines of any phase, (n, T, c), and five of them out of order."""
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 2 * np.pi, size=(n, 1, 1)) + 0.5 * np.arange(n_channels)
    X = np.sin(phase + np.arange(n_steps)[:, None] / 2)
    X += 0.05 * rng.normal(size=X.shape)
    for row in range(0, 5):
        X[row] = X[row, rng.permutation(n_steps)]
    return X


def _fit(X, **options):
    brief = {"random_state": 0, "n_channels": 2, "max_iter": 4, "lr": 1e-2}
    return LSTMRobustAutoencoder(**(brief | options)).fit(X)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_windows_out_of_order_are_found(cell):
    detector = _fit(_waves(400), cell=cell, max_iter=6, contamination=5 / 400)
    assert set(np.flatnonzero(detector.labels_)) == set(range(5))


def test_rows_and_arrays_are_the_same_windows():
    X = _waves()
    rows = X.reshape(200, 24)
    one, other = _fit(X), _fit(rows)
    assert np.array_equal(one.decision_scores_, other.decision_scores_)
    assert np.array_equal(one.decision_function(rows), one.decision_function(X.tolist()))
    assert np.array_equal(one.predict(X), other.predict(rows))
    assert np.array_equal(one.transform(X), other.transform(rows))
    assert one.transform(X).shape == (200, 16)
    back = one.inverse_transform(one.transform(X))
    assert back.shape == (200, 24)
    assert np.square(back - rows).mean() < 0.7 * rows.var()
    assert one.n_features_in_ == 24


def test_shares_and_parts_are_told_by_step_and_channel():
    X = _waves()
    detector = _fit(X, penalty="l1", lam=1.0)
    X[50, 7, 1] += 6
    shares = detector.explain(X)
    assert shares.shape == X.shape
    assert np.unravel_index(shares[50].argmax(), (12, 2)) == (7, 1)
    assert np.array_equal(detector.explain(X.reshape(200, 24)), shares)
    low_rank, sparse = detector.decompose(X)
    assert np.unravel_index(np.abs(sparse[50]).argmax(), (12, 2)) == (7, 1)
    np.testing.assert_allclose(low_rank + sparse, X)
    assert np.array_equal(detector.decompose(X.reshape(200, 24))[1], sparse.reshape(200, 24))


def test_a_column_is_a_channel_at_a_place_in_the_window():
    X = _waves()
    X[:, 4, 1] += np.random.default_rng(0).normal(scale=4, size=200)  # a broken sensor, at one time
    detector = _fit(X, penalty="l21_features", contamination=1 / 24, store_decomposition=True)
    assert detector.sparse_.any(axis=0).nonzero()[0].tolist() == [4 * 2 + 1]
    assert np.argwhere(detector.decompose(X)[1].any(axis=0)).tolist() == [[4, 1]]


def test_an_infinite_lam_is_the_plain_autoencoder():
    X = _waves()
    plain = _fit(X, lam=np.inf)
    assert not plain.decompose(X)[1].any()
    assert all(row["sparse_share"] == 0 for row in plain.history_)
    assert np.array_equal(_fit(X, lam=1e6).decision_scores_, plain.decision_scores_)
    assert not np.array_equal(_fit(X, lam=1.0).decision_scores_, plain.decision_scores_)


def test_a_smaller_lam_flags_more():
    X = _waves()
    flagged = [_fit(X, lam=lam, contamination="auto").labels_.sum() for lam in (1, 2, 3.5, 50)]
    assert flagged[0] > flagged[1] > flagged[2] > flagged[3] == 0


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_the_first_member_of_an_ensemble_is_the_single_fit(cell):
    X = _waves()
    # To the last bit on a CPU.
    options = {"cell": cell, "lam": 2.0, "max_samples": 100, "max_iter": 3, "device": "cpu"}
    many, one = _fit(X, n_estimators=3, **options), _fit(X, **options)
    for a, b in zip(many.network_.parameters(), one.network_.parameters(), strict=True):
        assert torch.equal(a[:1], b)


def test_training_lowers_the_objective():
    history = _fit(_waves(), lam=np.inf, max_iter=10).history_
    assert history[-1]["objective"] < 0.5 * history[0]["objective"]


def test_windows_that_do_not_fit_the_channels():
    X = _waves()
    with pytest.raises(ValueError, match=r"23 values a row, which n_channels=2 does not divide"):
        _fit(X.reshape(200, 24)[:, :23])
    with pytest.raises(ValueError, match=r"X has 2 channels, its last axis, but n_channels is 3"):
        _fit(X, n_channels=3)
    detector = _fit(X)
    with pytest.raises(ValueError, match=r"windows of 6 steps, but .* fitted to windows of 12"):
        detector.predict(X[:, :6])
    with pytest.raises(ValueError, match=r"X has 1 channel, .*: set n_channels=1\."):
        _fit(X[..., :1])
    with pytest.raises(ValueError, match=r"channels before its steps: pass np\.moveaxis"):
        _fit(np.moveaxis(X, -1, 1))
    for empty in (X[:0], X[:, :0]):
        with pytest.raises(ValueError, match=r"0 (sample|feature)\(s\)"):
            _fit(empty)
    with pytest.raises(ValueError, match="X has 4 axes"):
        detector.predict(X[None])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_gpu_agrees_with_cpu_and_loads_without_it(cell, monkeypatch):
    import pickle

    X = _waves(400)
    gpu, cpu = (_fit(X, cell=cell, device=device) for device in ("cuda", "cpu"))
    assert gpu.device_.type == "cuda"
    ranks = [np.argsort(np.argsort(d.decision_scores_)) for d in (gpu, cpu)]
    assert np.corrcoef(*ranks)[0, 1] > 0.99
    again = pickle.loads(pickle.dumps(gpu))
    assert again.device_.type == "cuda"
    assert np.array_equal(again.decision_function(X), gpu.decision_scores_)
    monkeypatch.setattr("skrdae.model.device_if_there", lambda device: torch.device("cpu"))
    moved = pickle.loads(pickle.dumps(gpu))
    assert moved.device_.type == "cpu"
    np.testing.assert_allclose(moved.decision_function(X), gpu.decision_scores_, rtol=1e-3)
