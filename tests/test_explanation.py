"""Explanations by the columns of a table, through pipelines and encoders."""

import numpy as np
import pytest
from optional import Optional
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.feature_selection import VarianceThreshold
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from skrdae import (
    CalibratedDetector,
    OutlierAdapter,
    RobustDeepAutoencoder,
    RobustPCA,
    WindowedDetector,
    explain,
)
from skrdae.tables import TableEncoder

pd = Optional("pandas")
PLAIN = RobustPCA(contamination=0.05)


@pytest.fixture
def table():
    """Rows numbered from 1000, of which 1005 has a wrong b."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.normal(size=100), "k": rng.choice(["x", "y", "z"], 100)})
    X["b"], X["c"] = rng.normal(size=100), rng.normal(size=100)
    X.index = range(1000, 1100)
    X.loc[1005, "b"] = 50
    return X


def _columns(remainder="passthrough"):
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    one_hot = OneHotEncoder(sparse_output=False)
    parts = [("text", one_hot, ["k"]), ("numbers", numbers, slice("b", "c")), ("no", "drop", [])]
    return ColumnTransformer(parts, remainder=remainder)


@pytest.mark.parametrize(
    "encode",
    [
        TableEncoder(categories="one-hot"),
        _columns(),
        make_pipeline(_columns(), VarianceThreshold(), StandardScaler()),
        FeatureUnion([("all", _columns()), ("again", _columns("drop"))]),
        _columns().set_output(transform="pandas"),
    ],
    ids=["table", "columns", "selected", "union", "frames"],
)
def test_columns_get_what_their_parts_have(encode, table):
    model = make_pipeline(encode, PLAIN).fit(table)
    found = explain(model, table)
    assert found.columns.tolist() == ["a", "k", "b", "c"]
    assert found.index.equals(table.index)
    assert found.loc[1005].idxmax() == "b"
    np.testing.assert_allclose(found.sum(axis=1), model.decision_function(table), rtol=1e-4)
    # Column by column, those whose names hold the column's.
    parts = model[-1].explain(model[:-1].transform(table))
    names = model[:-1].get_feature_names_out()
    of_k = [name.split("__")[-1].startswith("k_") for name in names]
    np.testing.assert_allclose(found["k"], parts[:, of_k].sum(axis=1))


def test_what_holds_a_detector(table):
    X = table[["a", "b", "c"]]
    expected = PLAIN.fit(X).explain(X)
    found = explain(OutlierAdapter(PLAIN).fit(X), X)
    assert found.columns.tolist() == ["a", "b", "c"]
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(explain(PLAIN, X), expected)
    bare = PLAIN.fit(X.to_numpy())
    assert explain(bare, X.to_numpy()).columns.tolist() == ["x0", "x1", "x2"]
    calibrated = CalibratedDetector(RobustPCA()).fit(X)
    np.testing.assert_array_equal(explain(calibrated, X), calibrated.explain(X))


def test_steps_of_a_series_by_channel():
    times = pd.date_range("2026-01-01", periods=300, freq="h")
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(300, 2)), times, ["flow", "level"])
    X.loc[times[100:110], "level"] += 9
    quick = RobustDeepAutoencoder(n_estimators=1, random_state=0)
    windowed = WindowedDetector(quick, window_size=10)
    scale = StandardScaler().set_output(transform="pandas")
    found = explain(make_pipeline(scale, windowed).fit(X), X)
    assert found.columns.tolist() == ["flow", "level"]
    assert found.index.equals(X.index)
    assert found.loc[times[105]].idxmax() == "level"


def test_what_cannot_be_told(table):
    encode = _columns()
    with pytest.raises(ValueError, match="PCA, a step of the pipeline, makes columns of several"):
        explain(make_pipeline(encode, PCA(2), PLAIN).fit(table), table)
    unknown = FunctionTransformer(np.abs)
    with pytest.raises(ValueError, match=r"FunctionTransformer.*feature_names_out='one-to-one'"):
        explain(make_pipeline(encode, unknown, PLAIN).fit(table), table)
    with pytest.raises(TypeError, match="StandardScaler has no explain"):
        explain(StandardScaler(), table)


def test_columns_are_told_by_name_whatever_their_order(table):
    model = make_pipeline(_columns("drop"), PLAIN).fit(table)
    usual = explain(model, table)
    for columns in (["c", "b", "k", "a"], ["k", "b", "c"]):  # nothing looks at a
        found = explain(model, table[columns])
        assert found.columns.tolist() == columns
        assert found.equals(usual[columns])
    found = explain(model, table.assign(more=1.0)[["more", "b", "c", "k"]])
    assert found.columns.tolist() == ["more", "b", "c", "k"]
    assert not found["more"].any()
    with pytest.raises(ValueError, match="columns are missing"):
        explain(model, table[["a", "k", "c"]])
    numbers = table[["a", "b"]]
    calibrated = CalibratedDetector(make_pipeline(StandardScaler(), PLAIN)).fit(numbers)
    with pytest.raises(TypeError, match="Put the steps before it: make_pipeline"):
        explain(calibrated, numbers)


def test_the_times_of_a_table_are_no_channel(table):
    polars = pytest.importorskip("polars")
    times = pd.date_range("2026", periods=100, freq="min")
    series = polars.DataFrame({"t": times, "b": table["b"].to_numpy(), "c": table["c"].to_numpy()})
    model = WindowedDetector(PLAIN, window_size=10).fit(series)
    assert explain(model, series).columns.tolist() == ["b", "c"]
