"""Whatever comes, a fit is valid or the error is one that the documentation knows.

``pytest tests/test_properties.py --hypothesis-profile=long`` makes twenty thousand cases and more.
"""

import re
import warnings

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from optional import Optional
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from skrdae import (
    AnoGANDetector,
    LSTMRobustAutoencoder,
    RobustDeepAutoencoder,
    RobustDeepAutoencoderCV,
    RobustPCA,
    VAEDetector,
    WindowedDetector,
)

pd = Optional("pandas")
pl = Optional("polars")

pytestmark = pytest.mark.slow

COMMON = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    print_blob=True,
)

#: What an error may say, and the page or docstring that says so.
DOCUMENTED = re.compile(
    "|".join(
        [
            r"contains NaN|contains infinity|too large for|too large to train on",
            r"0 sample|0 feature|minimum of|at least \d+ (rows|samples)|Found array with",
            r"Complex data not supported|contains (text|complex numbers)",
            r"[Ss]parse",
            r"With a sparse X",
            r"likelihood='bernoulli' needs data in \[0, 1\]",
            r"diverged and gives scores that are not finite",
            r"n_splits=|number of members in each class|Cannot have number of splits",
            r"is shorter than the window|found no period in X",
            r"1D array|Expected 2D",
            r"n_channels",
        ]
    )
)
#: What a warning may be.
ALLOWED = (ConvergenceWarning, UserWarning)


# ------------------------------------------------------------------------------------- detectors


def _choose(**options):
    return st.fixed_dictionaries({k: st.sampled_from(v) for k, v in options.items()})


ROBUST = {
    "lam": ["auto", "auto", "1.5*median", 0.0, 0.7, 1e6, np.inf],
    "penalty": ["l21", "l1", "l21_features"],
    "max_iter": [1, 2],
    "batch_size": ["auto", 1, 7],
    "tol": [None, 0.1],
    "n_estimators": [1, 2],
    "max_samples": [1.0, 0.5, 3, "auto"],
    "scaler": ["robust", "standard", "minmax", None],
    "contamination": [0.1, 0.5, 1e-6, "auto"],
    "random_state": [0, 1],
}
DETECTORS = {
    RobustDeepAutoencoder: _choose(
        **ROBUST,
        hidden_layer_sizes=["auto", (3,), (8, 1)],
        activation=["tanh", "relu", "sigmoid", "identity"],
        output_activation=["identity", "sigmoid"],
        score_function=["auto", "log", "norm"],
        store_decomposition=[False, True],
    ),
    RobustDeepAutoencoderCV: _choose(
        lams=[2, [3.0, 1.0]],
        cv=[2],
        scoring=[None],
        max_iter=[1],
        n_estimators=[1],
        random_state=[0],
    ),
    VAEDetector: _choose(
        latent_dim=["auto", 1, 3],
        beta=[0.0, 1.0],
        likelihood=["gaussian", "gaussian", "bernoulli"],
        n_samples=[0, 2],
        n_epochs=[1, 2],
        batch_size=["auto", 1],
        n_estimators=[1, 2],
        scaler=["auto", "robust", "minmax", None],
        contamination=[0.1, 0.5],
        random_state=[0],
    ),
    AnoGANDetector: _choose(
        inference=["encoder", "search", "hybrid"],
        n_search_iter=[2],
        n_epochs=[1],
        n_encoder_epochs=[1],
        output_activation=["identity", "tanh"],
        n_estimators=[1, 2],
        scaler=["robust", "minmax", None],
        random_state=[0],
    ),
    LSTMRobustAutoencoder: _choose(
        **(ROBUST | {"max_samples": [1.0], "penalty": ["l21", "l1"], "batch_size": ["auto", 20]}),
        cell=["lstm", "gru"],
        hidden_layer_sizes=[(2,), (4, 2)],
    ),
    RobustPCA: _choose(
        scaler=["robust", "standard", "minmax", None], contamination=[0.1, 0.5], max_iter=[5, 100]
    ),
}
deep = pytest.mark.parametrize("detector", DETECTORS, ids=lambda c: c.__name__)


# ------------------------------------------------------------------------------------------ data


def _values(kind, n, d, seed, exponent):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    if kind == "duplicates":
        X = X[rng.integers(0, min(n, 2), n)]
    elif kind == "constant":
        X = np.full((n, d), X[0, 0])
    elif kind == "constant columns":
        X[:, ::2] = X[0, ::2]
    elif kind == "collinear":
        X = np.outer(X[:, 0], X[0])
    elif kind == "heavy tails":
        X = X / rng.uniform(0, 1, X.shape) ** 3
    elif kind == "one far":
        X[rng.integers(n), rng.integers(d)] = 1e12
    elif kind == "flags":
        X = (X > 1).astype(float)
    elif kind == "far from zero":
        X = X + 1e6
    elif kind == "scales of their own":
        X = X * 10.0 ** rng.integers(-12, 12, d)
    elif kind == "zeros":
        X = np.zeros((n, d))
    elif kind == "unit":
        X = rng.uniform(size=(n, d))
    return X * 10.0**exponent


KINDS = [
    "normal", "duplicates", "constant", "constant columns", "collinear", "heavy tails", "one far",
    "flags", "far from zero", "scales of their own", "zeros", "unit",
]  # fmt: skip
rows = st.builds(
    _values,
    st.sampled_from(KINDS),
    st.sampled_from([1, 2, 3, 5, 8, 17, 40, 65, 130]),
    st.sampled_from([1, 2, 3, 4, 7, 16, 33]),
    st.integers(0, 99),
    st.sampled_from([0, 0, 0, 0, -3, 3, -30, 30, -12, 12, -45, 37]),
)


def _state():
    numpy = np.random.get_state()
    threads = torch.get_num_threads(), torch.get_num_interop_threads()
    return numpy[1].tobytes(), numpy[2:], torch.get_rng_state().numpy().tobytes(), threads


def _tried(function):
    """Return a result, or None for a documented error; warnings of other kinds are errors."""
    before = _state()
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            result = function()
    except (ValueError, TypeError) as error:
        if not DOCUMENTED.search(str(error)):
            raise
        result = None
    assert _state() == before
    if result is not None:
        assert all(issubclass(w.category, ALLOWED) for w in told), [str(w.message) for w in told]
    return result


def _check(detector, X, values):
    """Hold a fit, if there is one, to what every fit has to be."""
    fitted = _tried(lambda: detector.fit(X))
    if fitted is None:
        assert not hasattr(detector, "decision_scores_")
        return False
    scores = fitted.decision_scores_
    assert scores.dtype == np.float64
    assert scores.shape == (len(values),)
    assert np.isfinite(scores).all()
    assert np.isfinite(fitted.threshold_) or getattr(detector, "lam", 0) == np.inf
    assert set(np.unique(fitted.labels_)) <= {0, 1}
    assert np.array_equal(fitted.decision_function(X), scores)
    assert np.array_equal(fitted.predict(X), fitted.labels_)
    probability = fitted.predict_proba(X)
    assert np.isfinite(probability).all()
    shares = fitted.explain(X)
    assert np.isfinite(shares).all()
    total = shares.reshape(len(values), -1).sum(axis=1)
    np.testing.assert_allclose(total, scores, rtol=1e-3, atol=1e-6 * (1 + np.abs(scores).max()))
    assert np.isfinite(fitted.transform(X)).all()
    if hasattr(fitted, "decompose") and not scipy.sparse.issparse(X):
        low_rank, sparse = fitted.decompose(X)
        assert np.isfinite(low_rank).all()
        reach = max(np.abs(part).max() for part in (low_rank, sparse))
        whole = (low_rank + sparse).reshape(values.shape)
        np.testing.assert_allclose(whole, values, rtol=1e-6, atol=1e-6 * reach)
    return True


@deep
@COMMON
@given(data=st.data(), X=rows)
def test_numbers_of_all_sizes_and_shapes(detector, data, X):
    options = data.draw(DETECTORS[detector])
    kept = X.copy()
    X.flags.writeable = False
    _check(detector(**options), X, X)
    assert np.array_equal(X, kept)


DTYPES = ["float16", "float32", "float64", "longdouble", "int8", "int64", "uint8", "uint64", "bool",
          "object", "complex128", "str"]  # fmt: skip
CONTAINERS = [
    "C", "F", "strided", "reversed", "list", "memmap", "pandas", "nullable", "arrow", "polars",
    "csr", "swapped", "subclass", "masked",
]  # fmt: skip


def _numbers(X):
    return np.asarray(X, np.complex128 if X.dtype.kind == "c" else np.float64)


def _held(X, container, folder):
    """Return the same values in another container."""
    if container == "F":
        return np.asfortranarray(X)
    if container == "strided":
        return np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3]
    if container == "reversed":
        return X[::-1, ::-1].copy()[::-1, ::-1]
    if container == "list":
        return X.tolist()
    if container == "memmap":
        assume(X.dtype.kind in "iufb" and X.dtype.itemsize <= 8)
        path = folder.mktemp("mapped") / "X.npy"
        np.save(path, X)
        return np.load(path, mmap_mode="r")
    names = [f"c{i}" for i in range(X.shape[1])]
    if container == "pandas":
        return pd.DataFrame(X, columns=names)
    if container in ("nullable", "arrow"):
        assume(X.dtype.kind in "iufb" and X.dtype.itemsize in (1, 4, 8))
        backend = {"nullable": "numpy_nullable", "arrow": "pyarrow"}[container]
        return pd.DataFrame(X, columns=names).convert_dtypes(dtype_backend=backend)
    if container == "polars":
        assume(X.dtype.kind in "iufb" and X.dtype.itemsize in (1, 4, 8))
        return pl.DataFrame({name: X[:, i] for i, name in enumerate(names)})
    if container == "csr":
        assume(X.dtype.kind in "iuf" and X.dtype.itemsize in (4, 8))
        return scipy.sparse.csr_matrix(X)
    if container == "swapped":
        assume(X.dtype.kind in "iuf" and X.dtype.itemsize <= 8)
        return X.astype(X.dtype.newbyteorder())
    if container == "subclass":
        return X.view(type("Own", (np.ndarray,), {}))
    if container == "masked":
        return np.ma.masked_array(X, mask=np.zeros(X.shape, bool))
    return X


@deep
@COMMON
@given(
    data=st.data(),
    kind=st.sampled_from(["normal", "flags", "unit", "duplicates"]),
    dtype=st.sampled_from(DTYPES),
    container=st.sampled_from(CONTAINERS),
    shape=st.sampled_from([(1, 1), (4, 3), (30, 4), (70, 2)]),
)
def test_types_and_containers(detector, data, kind, dtype, container, shape, tmp_path_factory):
    options = data.draw(DETECTORS[detector])
    values = _values(kind, *shape, 0, 0)
    if dtype.startswith(("int", "uint")):
        values = np.abs(np.round(values * 10))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        X = values.astype(dtype)
    held = _held(X, container, tmp_path_factory)
    assert not _check(detector(**options), held, _numbers(X)) or dtype != "complex128"
    # A list has no types: its numbers are of double precision.
    same = {"F", "strided", "reversed", "memmap", "swapped"}
    same |= {"list"} if dtype not in ("float32", "float16") else set()
    if container in same and dtype in ("float32", "float64", "int8", "bool"):
        plain = _tried(lambda: detector(**options).fit(X))
        other = _tried(lambda: detector(**options).fit(held))
        assert (plain is None) == (other is None)
        if plain is not None:
            assert np.array_equal(plain.decision_scores_, other.decision_scores_)


@deep
@COMMON
@given(
    data=st.data(),
    where=st.integers(0, 119),
    value=st.sampled_from([np.nan, np.inf, -np.inf]),
)
def test_values_that_are_none_are_refused_and_change_nothing(detector, data, where, value):
    options = data.draw(DETECTORS[detector])
    X = _values("unit", 30, 4, 0, 0)
    found = _tried(lambda: detector(**options).fit(X))
    assume(found is not None)
    before, scores = vars(found).copy(), found.decision_function(X)
    broken = X.copy()
    broken.flat[where] = value
    for call in (found.fit, found.decision_function, found.predict, found.transform, found.explain):
        with pytest.raises(ValueError, match=r"NaN|infinity"):
            call(broken)
    assert all(vars(found)[k] is v for k, v in before.items())
    assert np.array_equal(found.decision_function(X), scores)


@pytest.mark.parametrize("shape", [(30, 1000), (3, 1000), (1, 500), (2500, 1)])
@deep
def test_wide_and_long(detector, shape):
    options = {"n_estimators": 1, "random_state": 0}
    options = {k: v for k, v in options.items() if k in detector().get_params()}
    if detector is RobustDeepAutoencoderCV:
        options |= {"lams": 2, "cv": 2}
    if detector is LSTMRobustAutoencoder:
        options |= {"hidden_layer_sizes": (2,), "max_iter": 1}
    X = _values("normal", *shape, 0, 0)
    assert _check(detector(**options), X, X) or len(X) < 3


# ----------------------------------------------------------------------------------- invariances


@deep
@COMMON
@given(data=st.data(), seed=st.integers(0, 50))
def test_a_row_scores_the_same_in_any_company(detector, data, seed):
    options = data.draw(DETECTORS[detector])
    X = _values("unit", 60, 4, seed, 0)
    found = _tried(lambda: detector(**options).fit(X))
    assume(found is not None)
    rng = np.random.default_rng(seed)
    order = rng.permutation(60)
    assert np.array_equal(found.decision_function(X[order]), found.decision_scores_[order])
    one = int(rng.integers(60))
    assert found.decision_function(X[one : one + 1])[0] == found.decision_scores_[one]
    twice = found.decision_function(np.repeat(X, 2, axis=0))
    assert np.array_equal(twice[::2], twice[1::2])


SETTLED = {
    RobustDeepAutoencoder: {"n_estimators": 2},
    VAEDetector: {"n_estimators": 2},
    RobustPCA: {},
}
settled = pytest.mark.parametrize("detector", SETTLED, ids=lambda c: c.__name__)


@settled
@COMMON
@given(
    seed=st.integers(0, 200),
    exponent=st.integers(-9, 9),
    scaler=st.sampled_from(["robust", "standard", "minmax"]),
)
def test_units_do_not_matter_under_a_scaler(detector, seed, exponent, scaler):
    X = _values("normal", 120, 4, seed, 0) @ np.random.default_rng(seed).normal(size=(4, 6))
    options = SETTLED[detector] | {"scaler": scaler}
    if detector is not RobustPCA:
        options["random_state"] = 0
    first = detector(**options).fit(X).decision_scores_
    # By powers of two, so that nothing is rounded on the way.
    scales = 2.0 ** np.random.default_rng(seed).integers(-20, 20, 6)
    scaled = detector(**options).fit(X * scales).decision_scores_
    np.testing.assert_allclose(scaled, first, rtol=2e-2, atol=1e-3 * first.max())
    moved = detector(**options).fit(X + 2.0**exponent).decision_scores_
    np.testing.assert_allclose(moved, first, rtol=5e-2, atol=2e-3 * first.max())


@deep
@COMMON
@given(seed=st.integers(0, 200), far=st.sampled_from([1e4, 1e6, 1e9]))
def test_what_is_far_from_everything_scores_highest(detector, seed, far):
    X = _values("normal", 80, 3, seed, 0) @ np.random.default_rng(seed).normal(size=(3, 5))
    place = seed % 80
    X[place] += far * np.random.default_rng(seed + 1).choice([-1, 1], 5)
    options = {"random_state": 0, "n_estimators": 2}
    options = {k: v for k, v in options.items() if k in detector().get_params()}
    if detector is RobustDeepAutoencoderCV:
        options |= {"lams": 2, "cv": 2}
    if detector is LSTMRobustAutoencoder:
        options |= {"max_iter": 2, "hidden_layer_sizes": (4,), "batch_size": 64}
    found = _tried(lambda: detector(**options).fit(X))
    assert found.decision_scores_.argmax() == place


@COMMON
@given(
    n=st.integers(1, 120),
    channels=st.integers(1, 3),
    window=st.sampled_from([1, 2, 7, 30, "auto"]),
    stride=st.sampled_from([1, 3, 50]),
    aggregate=st.sampled_from(["mean", "max", "median"]),
    kind=st.sampled_from(KINDS),
    exponent=st.sampled_from([0, 0, -20, 20]),
)
def test_series(n, channels, window, stride, aggregate, kind, exponent):
    series = _values(kind, n, channels, 0, exponent)
    inner = RobustDeepAutoencoder(n_estimators=1, max_iter=1, random_state=0)
    detector = WindowedDetector(inner, window_size=window, stride=stride, aggregate=aggregate)
    found = _tried(lambda: detector.fit(series))
    if found is None:
        return
    scores = found.decision_scores_
    assert scores.shape == (n,)
    covered = ~np.isnan(scores)
    assert covered.any()
    assert np.isfinite(scores[covered]).all()
    assert not found.labels_[~covered].any()
    if found.window_scores_.size <= 400:
        np.testing.assert_array_equal(found.decision_function(series), scores)
    clone(found)
