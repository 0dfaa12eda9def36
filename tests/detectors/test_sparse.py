import numpy as np
import pytest
import scipy.sparse as sp
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from skrdae import (
    AnoGANDetector,
    LSTMRobustAutoencoder,
    RobustDeepAutoencoder,
    RobustDeepAutoencoderCV,
    RobustPCA,
    VAEDetector,
    load,
    save,
)
from skrdae import rows as rows_module
from skrdae.preprocessing import ColumnScaler
from skrdae.rows import LazyRows

CPU = {"random_state": 0, "device": "cpu"}
CASES = {
    "rda": RobustDeepAutoencoder(**CPU),
    "one": RobustDeepAutoencoder(n_estimators=1, n_epochs=3, **CPU),
    "a number": RobustDeepAutoencoder(1.5, scaler="standard", score_function="norm", **CPU),
    "votes": RobustDeepAutoencoder(1.5, contamination="auto", n_estimators=3, **CPU),
    "plain": RobustDeepAutoencoder(np.inf, scaler="minmax", n_estimators=2, **CPU),
    "as they are": RobustDeepAutoencoder(scaler=None, n_estimators=2, **CPU),
    "samples": RobustDeepAutoencoder(max_samples=0.5, n_estimators=2, **CPU),
    "256": RobustDeepAutoencoder(max_samples="auto", n_estimators=2, **CPU),
    "large batches": RobustDeepAutoencoder(
        batch_size=400, hidden_layer_sizes=(300, 20), n_estimators=1, **CPU
    ),
    "vae": VAEDetector(n_epochs=10, **CPU),
    "vae, draws": VAEDetector(n_samples=2, n_epochs=10, n_estimators=2, scaler="standard", **CPU),
    "vae, bernoulli": VAEDetector(likelihood="bernoulli", n_epochs=10, n_estimators=2, **CPU),
}
cases = pytest.mark.parametrize("name", CASES)


@pytest.fixture(scope="module")
def X():
    """A tenth filled, one column whole, one half, one empty, one constant."""
    rng = np.random.default_rng(0)
    X = np.where(rng.random((700, 30)) < 0.1, rng.normal(size=(700, 30)), 0.0)
    X[:, 0] = rng.normal(size=700)
    X[::2, 1] = rng.normal(size=350)
    X[:, 2], X[:, 3] = 0.0, 5.0
    X[:6] += np.where(rng.random((6, 30)) < 0.5, 5 * rng.normal(size=(6, 30)), 0.0)
    return X


@cases
def test_a_sparse_matrix_gives_what_the_dense_one_gives(name, X):
    dense = clone(CASES[name]).fit(X)
    sparse = clone(CASES[name]).fit(sp.csr_matrix(X))
    # Columns' means are added up in another order.
    close = {"rtol": 0, "atol": 0} if name in ("as they are", "plain") else {"rtol": 1e-4}
    np.testing.assert_allclose(sparse.decision_scores_, dense.decision_scores_, **close)
    assert np.array_equal(sparse.labels_, dense.labels_)
    if "vae" not in name:
        np.testing.assert_allclose(sparse.lam_, dense.lam_, rtol=1e-4)
    # However they come, the scores of one detector are the same.
    for form in (sp.csr_matrix, sp.csr_array, sp.csc_matrix, sp.coo_matrix, np.asarray):
        assert np.array_equal(sparse.decision_function(form(X)), sparse.decision_scores_)
    assert np.array_equal(sparse.predict(sp.csr_matrix(X)), sparse.labels_)
    assert sparse.decision_function(sp.csr_matrix(X[70:71]))[0] == sparse.decision_scores_[70]
    assert np.array_equal(sparse.transform(sp.csr_matrix(X)), sparse.transform(X))
    assert np.array_equal(sparse.explain(sp.csr_matrix(X)), sparse.explain(X))
    assert len(sparse.history_) == len(dense.history_)
    for a, b in zip(sparse.history_, dense.history_, strict=True):
        for key in set(a) - {"change"}:
            np.testing.assert_allclose(a[key], b[key], rtol=1e-3, err_msg=key)


def test_what_is_fitted_to_a_sparse_matrix_is_a_detector_like_any_other(X, tmp_path):
    detector = clone(CASES["rda"]).fit(sp.csr_matrix(X))
    low_rank, sparse = detector.decompose(X[:50])
    np.testing.assert_allclose(low_rank + sparse, X[:50], atol=1e-6)
    save(detector, tmp_path / "file")
    assert np.array_equal(load(tmp_path / "file").decision_function(X), detector.decision_scores_)
    before = detector.get_params()
    assert clone(detector).get_params() == before


@pytest.mark.parametrize("method", ["robust", "standard", "minmax", None])
def test_scales_are_those_of_the_dense_matrix(method, X):
    for values in (X, -X, X[:1], X[:3], np.abs(X) * 1e-3, X.astype(np.float32)):
        dense = ColumnScaler(method).fit(values)
        sparse = ColumnScaler(method).fit(sp.csr_array(values))
        rtol = 1e-6 if values.dtype == np.float32 else 1e-12
        np.testing.assert_allclose(sparse.center_, dense.center_, rtol=rtol, atol=1e-12)
        np.testing.assert_allclose(sparse.scale_, dense.scale_, rtol=rtol)


@pytest.mark.parametrize(
    ("detector", "options", "error", "words"),
    [
        (RobustDeepAutoencoder, {"penalty": "l1"}, ValueError, "sparse X penalty must be 'l21'"),
        (RobustDeepAutoencoder, {"tol": 0.1}, ValueError, "sparse X tol must be None"),
        (RobustDeepAutoencoder, {"store_decomposition": True}, ValueError, "store_decomposition"),
        (RobustDeepAutoencoder, {"warm_start": True}, ValueError, "warm_start"),
        (RobustDeepAutoencoder, {"checkpoint_path": "x"}, ValueError, "checkpoint_path"),
        (VAEDetector, {"scaler": "minmax"}, ValueError, "scaler must be 'robust'"),
        (VAEDetector, {"likelihood": "bernoulli", "scaler": None}, ValueError, r"in \[0, 1\]"),
        (RobustDeepAutoencoderCV, {"lams": 2}, TypeError, "[Ss]parse"),
        (AnoGANDetector, {}, TypeError, "[Ss]parse"),
        (LSTMRobustAutoencoder, {}, TypeError, "[Ss]parse"),
        (RobustPCA, {}, TypeError, "[Ss]parse"),
    ],
)
def test_what_does_not_go_is_said(detector, options, error, words, X):
    made = detector(**options)
    with pytest.raises(error, match=words):
        made.fit(sp.csr_matrix(X))
    assert not hasattr(made, "scaler_")


def test_values_that_are_none_and_other_calls(X):
    broken = sp.csr_matrix(X)
    broken.data[3] = np.nan
    detector = clone(CASES["vae"])
    with pytest.raises(ValueError, match="NaN"):
        detector.fit(broken)
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        detector.partial_fit(sp.csr_matrix(X))
    detector.fit(X)
    with pytest.raises(ValueError, match="NaN"):
        detector.decision_function(broken)
    robust = clone(CASES["one"]).fit(X)
    with pytest.raises(ValueError, match="features"):
        robust.decision_function(sp.csr_matrix(X[:, 1:]))


def test_entries_that_are_there_twice_and_zeros_that_are_written_down(X):
    right = clone(CASES["rda"]).fit(sp.csr_matrix(X)).decision_scores_
    rows, columns = np.nonzero(X)
    half = X[rows, columns] / 2
    twice = sp.coo_matrix(
        (np.r_[half, half, 0.0], (np.r_[rows, rows, 5], np.r_[columns, columns, 2])), X.shape
    )
    parts = twice.row.argsort(kind="stable")
    starts = np.searchsorted(twice.row[parts], np.arange(len(X) + 1))
    odd = sp.csr_matrix((twice.data[parts], twice.col[parts], starts), X.shape)
    assert not odd.has_canonical_format
    found = clone(CASES["rda"]).fit(odd)
    np.testing.assert_allclose(found.decision_scores_, right, rtol=1e-5)


def test_an_interrupt_ends_the_members_that_are_left(X):
    seen = []

    def press(row):
        seen.append(row)
        if len(seen) == 7:  # the third iteration of the second member
            raise KeyboardInterrupt

    detector = RobustDeepAutoencoder(max_iter=4, n_estimators=3, callbacks=press, **CPU)
    with pytest.warns(ConvergenceWarning, match="interrupted after 8 of at most 12"):
        detector.fit(sp.csr_matrix(X))
    assert detector.n_iter_ == 1  # which all have: the third member began only then
    assert np.isfinite(detector.decision_scores_).all()


def test_a_matrix_is_never_dense_whole(X, monkeypatch):
    largest = []
    take = LazyRows.take

    def watched(self, places):
        found = take(self, places)
        largest.append(len(found))
        return found

    monkeypatch.setattr(LazyRows, "take", watched)
    monkeypatch.setattr(rows_module, "_BLOCK", 1)  # of so narrow a matrix it would hold all rows
    monkeypatch.setattr(
        sp.csr_matrix, "toarray", _refuse_large(sp.csr_matrix.toarray), raising=True
    )
    many = sp.csr_matrix(np.concatenate([X] * 3))
    RobustDeepAutoencoder(n_estimators=1, max_samples=1500, score_function="norm", **CPU).fit(
        many
    ).decision_function(many)
    VAEDetector(n_estimators=1, n_epochs=1, **CPU).fit(many)
    assert max(largest) <= 256


def _refuse_large(toarray):
    def refuse(self, *arguments, **options):
        assert self.shape[0] <= 1024 or self.shape[1] == 1
        return toarray(self, *arguments, **options)

    return refuse


def test_a_callback_ends_all_members_at_the_same_iteration(X):
    detector = RobustDeepAutoencoder(
        max_iter=6, n_estimators=3, callbacks=lambda row: row["iteration"] == 2, **CPU
    )
    stopped = detector.fit(sp.csr_matrix(X))
    assert stopped.n_iter_ == 2
    two = RobustDeepAutoencoder(max_iter=2, n_estimators=3, **CPU).fit(sp.csr_matrix(X))
    assert np.array_equal(stopped.decision_scores_, two.decision_scores_)
    assert torch.isfinite(torch.tensor([row["sparse_share"] for row in two.history_])).all()
