import errno
import os
import sys

import numpy as np
import pytest
from optional import Optional
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from skrdae import RobustDeepAutoencoder, WindowedDetector, load, save
from skrdae.tables import TableEncoder, read_table
from skrdae.tables.files import table_bytes

pd = Optional("pandas")
pl = Optional("polars")
pa = Optional("pyarrow")
pq = Optional("pyarrow.parquet")


@parametrize_with_checks(
    [TableEncoder(missing=m, categories=c) for m in ("error", "median") for c in ("error", "drop")]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def _plant():
    return pd.DataFrame(
        {
            "when": pd.date_range("2026-01-05", periods=8, freq="h").astype(str),
            "machine": ["press", "mill", None, "press", "mill", "press", "mill", "lathe"],
            "power": [5.0, 6.0, 7.0, np.nan, 9.0, 10.0, 11.0, 90.0],
            "on": [True, False] * 4,
            "count": pd.array([1, 2, None, 4, 5, 6, 7, 8], dtype="Int64"),
            "digits": ["1", "2", "3", "4", "5", "6", "7", "8"],
        }
    )


@pytest.mark.parametrize(
    ("missing", "power", "count"), [("median", 9.0, 5.0), ("mean", 138 / 7, 33 / 7)]
)
def test_numbers_are_those_of_the_table_and_of_fit(missing, power, count):
    table = _plant()
    encoder = TableEncoder("when", missing=missing, categories="one-hot").fit(table)
    out = encoder.transform(table)
    assert list(out.columns) == list(encoder.get_feature_names_out())
    assert list(out.columns)[:4] == ["power", "on", "count", "digits"]
    assert out.index.equals(pd.DatetimeIndex(table["when"], name="when"))
    assert out["power"].iloc[3] == pytest.approx(power)
    assert out["count"].iloc[2] == pytest.approx(count)
    assert out["on"].tolist() == [1.0, 0.0] * 4
    assert out["digits"].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    one_hot = out[["machine_lathe", "machine_mill", "machine_press"]].to_numpy()
    assert one_hot.sum(axis=1).tolist() == [1, 1, 0, 1, 1, 1, 1, 1]
    # What is filled in comes from fit, whatever else is in the new table, in whichever order.
    new = table.iloc[[3]].assign(machine="press ", extra=0)[["extra", *table.columns[::-1]]]
    again = encoder.transform(new)
    assert list(again.columns) == list(out.columns)
    assert again["power"].iloc[0] == out["power"].iloc[3]
    assert again[["machine_lathe", "machine_mill", "machine_press"]].to_numpy().sum() == 0
    assert table.equals(_plant())  # as it was


def test_interpolation():
    table = pd.DataFrame({"a": [np.nan, 2.0, np.nan, 4.0, np.nan], "b": range(5)})
    encoder = TableEncoder(missing="interpolate").fit(table)
    assert encoder.transform(table)["a"].tolist() == [2.0, 2.0, 3.0, 4.0, 4.0]
    assert encoder.transform(table[:1])["a"].tolist() == [3.0]  # nothing to draw a line between


@pytest.mark.parametrize("missing", ["error", "median", "mean", "interpolate"])
def test_a_table_of_text_alone(missing):
    table = pd.DataFrame({"machine": ["press", "mill", "press"], "shift": ["a", "a", "b"]})
    out = TableEncoder(missing=missing, categories="one-hot").fit_transform(table)
    assert out.to_dict("list") == {
        "machine_mill": [0.0, 1.0, 0.0],
        "machine_press": [1.0, 0.0, 1.0],
        "shift_a": [1.0, 1.0, 0.0],
        "shift_b": [0.0, 0.0, 1.0],
    }


@pytest.mark.parametrize("kind", ["polars", "arrow", "object", "category"])
def test_other_types_give_the_same_numbers(kind):
    table = _plant().drop(columns="when")
    expected = TableEncoder(missing="median", categories="one-hot").fit_transform(table)
    other = {
        "polars": lambda: pl.from_pandas(table),
        "arrow": lambda: table.convert_dtypes(dtype_backend="pyarrow"),
        "object": lambda: table.astype(object),
        "category": lambda: table.astype({"machine": "category"}),
    }[kind]()
    found = TableEncoder(missing="median", categories="one-hot").fit_transform(other)
    assert np.array_equal(np.asarray(found), expected.to_numpy())


@pytest.mark.parametrize(
    ("options", "change", "words"),
    [
        ({}, {}, r"'when' \('2026-01-05.*'\) holds times.*time_column='when'"),
        ({"ignore": ["when"]}, {}, r"'machine' \('press' in row 0; 7 of 8.*numeric.*'one-hot'"),
        ({"time_column": "then"}, {}, "no column 'then'; it has 'when', 'machine'"),
        ({"ignore": ["then"]}, {}, "no column 'then'"),
        ({"categories": "drop"}, {}, r"'power' \(1 of 8 missing, first in row 3\).*='median'"),
        ({"categories": "one-hot", "ignore": ["power", "count"]}, {}, "'machine'.* lacks values"),
        ({"categories": "drop"}, {"power": np.nan}, r"'power' holds no value.*ignore=\['power'\]"),
        ({"categories": "drop"}, {"power": np.inf}, r"'power' \(first in row 0\) contains infin"),
        ({"categories": "one-hot"}, {"when": pd.Timestamp("2026")}, "'when'.* holds times"),
        ({"time_column": "machine"}, {}, "'machine' has no time in 1 of 8 rows.* row 2"),
        ({"time_column": "machine"}, {"machine": "soon"}, "not recognised: the first is 'soon'"),
        ({"missing": "guess"}, {}, "missing"),
        ({"categories": "hash"}, {}, "categories"),
    ],
)
def test_what_cannot_be_is_named(options, change, words):
    table = _plant().assign(**change)
    encoder = TableEncoder(**options)
    with pytest.raises(ValueError, match=words):
        encoder.fit(table)
    assert not hasattr(encoder, "numeric_columns_")


def test_more_that_cannot_be():
    table = _plant().assign(code=[f"id{i}" for i in range(8)])
    many = pd.concat([table] * 20, ignore_index=True)
    many["code"] = [f"id{i}" for i in range(len(many))]
    with pytest.raises(ValueError, match=r"'code' \(160\) holds more than 100 different"):
        TableEncoder(categories="one-hot", missing="mean").fit(many)
    with pytest.raises(ValueError, match="'power' is there more than once"):
        TableEncoder().fit(pd.concat([table, table[["power"]]], axis=1))
    with pytest.raises(ValueError, match="no rows"):
        TableEncoder().fit(table[:0])
    with pytest.raises(ValueError, match="No column is left"):
        TableEncoder(categories="drop").fit(table[["machine"]])
    encoder = TableEncoder(missing="mean", categories="drop").fit(table)
    with pytest.raises(ValueError, match="no column 'power'"):
        encoder.transform(table.drop(columns="power"))
    with pytest.raises(ValueError, match=r"'power' \('off' in row 0; 8 of 8 values\) is no"):
        encoder.transform(table.assign(power="off"))


@pytest.mark.parametrize(
    "column",
    [
        [3, 4, 9],
        [0.25, 0.5, 0.75],
        pd.date_range("2026-01-05", periods=3, freq="h"),
        pd.date_range("2026-03-29", periods=3, freq="h", tz="Europe/Berlin"),
        pd.to_timedelta([0, 90, 180], unit="s"),
    ],
    ids=["whole numbers", "numbers", "dates", "dates of a zone", "lengths of time"],
)
def test_times_that_are_no_text_are_taken_as_they_are(column):
    table = pd.DataFrame({"a": [1.0, 2.0, 3.0], "when": column})
    encoder = TableEncoder("when").fit(table)
    out = encoder.transform(table)
    assert encoder.time_format_ is None
    assert out.to_dict("list") == {"a": [1.0, 2.0, 3.0]}
    assert out.index.tolist() == list(column)
    assert (out.index.name, out.index.dtype) == ("when", table["when"].dtype)


def test_times_of_several_offsets_are_one_time_line():
    table = pd.DataFrame(
        {"when": ["2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"], "a": [1.0, 2.0]}
    )
    out = TableEncoder("when").fit_transform(table)
    assert (out.index[1] - out.index[0]) == pd.Timedelta("1h")


def test_a_pipeline_of_it_clones_and_is_saved(tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(200, 3)), columns=list("abc"))
    table["kind"] = rng.choice(["x", "y"], 200)
    table.loc[::9, "a"] = np.nan
    encoder = TableEncoder(missing="median", categories="one-hot")
    model = make_pipeline(encoder, RobustDeepAutoencoder(random_state=0))
    model = clone(model).fit(table)
    save(model, tmp_path / "model")
    again = load(tmp_path / "model")
    assert np.array_equal(again.decision_function(table), model.decision_function(table))
    assert again[0].categories_ == {"kind": ["x", "y"]}
    series = table.assign(when=pd.date_range("2026", periods=200, freq="5min").astype(str))
    inner = RobustDeepAutoencoder(n_estimators=1, random_state=0)
    model = make_pipeline(
        TableEncoder("when", missing="interpolate", categories="drop"),
        WindowedDetector(inner, window_size=10),
    ).fit(series)
    save(model, tmp_path / "series")
    found = load(tmp_path / "series").decision_function(series)
    assert np.array_equal(found, model[-1].decision_scores_)


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_files_come_back(tmp_path, name):
    table = _plant().drop(columns="count")
    (tmp_path / name).write_bytes(table_bytes(table, name))
    again = read_table(tmp_path / name)
    assert np.array_equal(again["machine"].isna(), table["machine"].isna())
    names = {"machine": "none"}
    pd.testing.assert_frame_equal(
        again.fillna(names).astype({"digits": str}),
        table.fillna(names),
        check_dtype=False,
        check_exact=True,
    )


def test_files_that_are_none(tmp_path):
    path = tmp_path / "t.csv"
    for content, words in [
        (b"", "it is empty"),
        (b"a,b\n1,2\n1,2,3,4\n", "line 3 holds 4 values, more than the 2 columns"),
        (b"a;b\n1;2\n", "separated by ';': set separator=';'"),
        ("größe\n1\n".encode("latin-1"), "not written in UTF-8.*encoding='cp1252'"),
    ]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=words):
            read_table(path)
    path = tmp_path / "t.parquet"
    path.write_bytes(b"a,b\n1,2\n")
    with pytest.raises(ValueError, match="cannot be read as Parquet"):
        read_table(path)
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match="cannot be read as Parquet: it is damaged"):
        read_table(path)
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "nowhere.csv")


def test_parquet_with_a_name_twice(tmp_path):
    column = pa.array([1.0, 2.0])
    pq.write_table(pa.table([column, column], names=["a", "a"]), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match="more than one column 'a'"):
        read_table(tmp_path / "t.parquet")


@pytest.mark.parametrize("kind", ["list", "struct", "bytes"])
def test_parquet_of_things_that_are_no_texts(tmp_path, kind):
    values = {"list": [[1, 2], [3]], "struct": [{"x": 1}, {"x": 2}], "bytes": [b"x", b"y"]}[kind]
    table = pa.table({"a": [1.0, 2.0], "b": pa.array(values)})
    pq.write_table(table, tmp_path / "t.parquet")
    read = read_table(tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=r"'b' .* is not numeric"):
        TableEncoder().fit(read)
    out = TableEncoder(categories="one-hot").fit_transform(read)
    assert out.iloc[:, 1:].to_numpy().tolist() == [[1.0, 0.0], [0.0, 1.0]]


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_numbers_come_back_to_the_last_bit(tmp_path, name):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=1000) * 10.0 ** rng.integers(-30, 30, 1000)})
    (tmp_path / name).write_bytes(table_bytes(table, name))
    assert read_table(tmp_path / name).equals(table)


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
def test_a_file_that_cannot_be_read_is_not_said_to_be_no_table():
    # It opens, but there is nothing at its beginning.
    with pytest.raises(OSError, match=os.strerror(errno.EIO)) as stop:
        read_table("/proc/self/mem")
    assert stop.value.errno == errno.EIO


def test_without_pandas_the_error_says_what_to_install(monkeypatch):
    encoder, fitted = TableEncoder(), TableEncoder().fit(np.eye(3))
    monkeypatch.setitem(sys.modules, "pandas", None)
    for call in (encoder.fit, fitted.transform):
        with pytest.raises(ImportError, match=r"pandas: pip install 'skrdae\[tables\]'"):
            call(np.eye(3))
    assert not hasattr(encoder, "n_features_in_")


def test_commas_at_the_ends_of_lines_are_no_column(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2,\n3,4,\n")
    assert read_table(tmp_path / "t.csv").to_dict("list") == {"a": [1, 3], "b": [2, 4]}


@pytest.mark.parametrize(
    ("written", "form"),
    [
        (["2026-01-05", "2026-01-06"], "ISO8601"),
        (["2026-01-05T00:00:00+01:00", "2026-01-06T00:00:00+02:00"], "ISO8601"),
        (["05.01.2026 10:00", "13.01.2026 10:00"], "%d.%m.%Y %H:%M"),
        (["01/05/2026", "01/13/2026"], "%m/%d/%Y"),
        (["5 January 2026", "6 January 2026"], "%d %B %Y"),
    ],
)
def test_the_form_of_times_is_found_or_asked_for(written, form):
    table = pd.DataFrame({"when": written, "a": [1.0, 2.0]})
    encoder = TableEncoder("when").fit(table)
    assert encoder.time_format_ == form
    index = encoder.transform(table).index
    assert [index[0].month, index[0].year, index[0].day in (4, 5)] == [1, 2026, True]
    # One row alone, which could be read in two ways, is read as it was learnt.
    assert encoder.transform(table[:1]).index[0] == index[0]
    with pytest.raises(ValueError, match="'soon' in row 0, which is no time of the form"):
        encoder.transform(table.assign(when="soon"))


def test_times_that_can_be_read_in_two_ways():
    table = pd.DataFrame({"when": ["05.01.2026", "06.01.2026"], "a": [1.0, 2.0]})
    with pytest.raises(ValueError, match=r"'%d\.%m\.%Y' or '%m\.%d\.%Y': set time_format"):
        TableEncoder("when").fit(table)
    index = TableEncoder("when", time_format="%d.%m.%Y").fit_transform(table).index
    assert index.day.tolist() == [5, 6]


def test_names_out_are_those_of_the_result():
    table = pd.DataFrame({0: [1.0, 2.0], 1: ["a", "b"]})
    encoder = TableEncoder(categories="one-hot").fit(table)
    out = encoder.transform(table)
    assert list(out.columns) == list(encoder.get_feature_names_out()) == ["x0", "x1_a", "x1_b"]
    assert list(TableEncoder(ignore=[1]).fit(table).get_feature_names_out()) == ["x0"]
    clash = pd.DataFrame({"c": ["x", "y"], "c_x": [1.0, 2.0]})
    with pytest.raises(ValueError, match="would be 'c_x'"):
        TableEncoder(categories="one-hot").fit(clash)


def test_an_index_with_a_name_is_a_column_again(tmp_path):
    _plant().set_index("when").to_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").columns[0] == "when"
    _plant()[3:].to_parquet(tmp_path / "t.parquet")
    assert list(read_table(tmp_path / "t.parquet").columns) == list(_plant().columns)
