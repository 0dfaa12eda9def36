"""Files that could be read in two ways, and what the commands say of them."""

import json

import numpy as np
import pytest
from optional import Optional
from sklearn.pipeline import make_pipeline

from skrdae import RobustPCA, save
from skrdae.cli import main
from skrdae.tables import TableEncoder, read_table
from skrdae.tables.csv_form import find_separator
from skrdae.tables.times import time_format

pd = Optional("pandas")
rng = np.random.default_rng(0)


def _run(capsys, *call):
    try:
        status = main([str(part) for part in call])
    except SystemExit as error:
        status = error.code
    out, err = capsys.readouterr()
    return status, out, err


def _detect(capsys, path, *options):
    return _run(capsys, "detect", path, "--model", "robust-pca", *options)


def test_numbers_beyond_all_integers_stay_numbers(tmp_path, capsys):
    rows = pd.DataFrame({"a": np.arange(60) * 3, "b": rng.integers(50, size=60)})
    rows.to_csv(tmp_path / "ok.csv", index=False)
    _detect(capsys, tmp_path / "ok.csv", "--missing", "median", "--save", tmp_path / "m")
    (tmp_path / "big.csv").write_text("a,b\n1,50\n3,51\n100000000000000000000,51\n")
    status, out, err = _run(capsys, "score", tmp_path / "m", tmp_path / "big.csv", "--json")
    assert (status, err) == (0, "")
    assert 2 in [row["row"] for row in json.loads(out)["anomalies"]]


@pytest.mark.parametrize(
    ("odd", "words"),
    [("ERR", "not numeric throughout"), ("degC", "rows but the first")],
)
def test_numbers_are_no_categories(odd, words, tmp_path, capsys):
    values = [str(v) for v in rng.integers(40, 90, size=80)]
    values[0 if odd == "degC" else 30] = odd
    pd.DataFrame({"a": values, "b": rng.normal(size=80)}).to_csv(tmp_path / "t.csv", index=False)
    status, _, err = _detect(capsys, tmp_path / "t.csv", "--categories", "one-hot")
    assert status == 1
    assert "'a'" in err
    assert words in err


def test_categories_are_told(tmp_path, capsys):
    table = pd.DataFrame({"valve": ["open", "shut"] * 20, "flow": rng.normal(size=40)})
    table.to_csv(tmp_path / "t.csv", index=False)
    status, _, err = _detect(capsys, tmp_path / "t.csv", "--categories", "one-hot")
    assert status == 0
    assert "for each value: 'valve' (2)" in err
    table["valve"] = pd.date_range("2026", periods=40).astype(str)
    table.to_csv(tmp_path / "t.csv", index=False)
    assert "holds times" in _detect(capsys, tmp_path / "t.csv", "--categories", "one-hot")[2]


def test_points_between_thousands(tmp_path, capsys):
    path = tmp_path / "t.csv"
    lines = [f"{i % 9 + 1}.{100 + i};2.{345 + i}" for i in range(40)]
    path.write_text("\n".join(["a;b", *lines]))
    assert read_table(path, separator=";", decimal=",", thousands=".")["a"].tolist()[:2] == [
        1100,
        2101,
    ]
    assert "set --thousands '.' --decimal ','" in _detect(capsys, path)[2]
    assert _detect(capsys, path, "--thousands", ".", "--decimal", ".")[0] == 2


def test_years_that_come_first_are_asked_about():
    days = pd.date_range("2024-01-02", periods=20)
    for mark in "./":
        with pytest.raises(ValueError, match="may be written as"):
            time_format(pd.Series(days.strftime(f"%y{mark}%m{mark}%d"), name="t"))
        months = pd.Series(pd.date_range("2023", periods=24, freq="ME").strftime("%d.%m.%y"))
        assert time_format(months) == "%d.%m.%y"
    assert time_format(pd.Series(days.strftime("%d.%m.%y"))) == "%d.%m.%y"


def test_some_times_with_a_zone_and_some_without():
    times = pd.Series(["2026-01-01T00:00:00Z", "2026-01-01T01:00:00"] * 4, name="t")
    with pytest.raises(ValueError, match="not written like"):
        time_format(times)


@pytest.mark.parametrize("form", ["%y%m%d", "%y%m%d%H%M%S", "%Y%j"])
def test_numbers_that_may_be_dates_are_told(form, tmp_path, capsys):
    times = pd.date_range("2024-10-20", periods=60, freq="D").strftime(form)
    table = pd.DataFrame({"t": times.astype(np.int64), "flow": rng.normal(size=60)})
    table.to_csv(tmp_path / "t.csv", index=False)
    options = ("--time-column", "t", "--window-size", 5)
    err = _detect(capsys, tmp_path / "t.csv", *options)[2]
    assert f"--time-format {form}" in err
    status, _, err = _detect(capsys, tmp_path / "t.csv", *options, "--time-format", form)
    assert (status, "stretches" in err) == (0, False)


def test_gaps_that_split_a_series_are_told(tmp_path, capsys):
    times = pd.date_range("2026", periods=300, freq="h").delete(range(100, 120))
    pd.DataFrame({"t": times, "flow": rng.normal(size=280)}).to_csv(tmp_path / "t.csv", index=False)
    options = ("--time-column", "t", "--window-size", 10, "--save", tmp_path / "m")
    assert (
        "1 gap in the times splits the series into 2"
        in _detect(capsys, tmp_path / "t.csv", *options)[2]
    )
    assert "into 2 stretches" in _run(capsys, "score", tmp_path / "m", tmp_path / "t.csv")[2]


def test_sorted_rows_keep_their_numbers(tmp_path, capsys):
    table = pd.DataFrame({"t": pd.date_range("2026", periods=200, freq="h").astype(str)})
    table["a"], table["b"] = rng.normal(size=(2, 200))
    table.loc[150, "a"] = 50
    table = table.sample(frac=1, random_state=0).reset_index(drop=True)
    table.to_csv(tmp_path / "t.csv", index=False)
    save(make_pipeline(TableEncoder("t"), RobustPCA()).fit(table), tmp_path / "m")
    expected = int(table["a"].argmax())
    for more in ((), ("--sort",)):
        _, out, _ = _run(capsys, "score", tmp_path / "m", tmp_path / "t.csv", "--json", *more)
        assert json.loads(out)["anomalies"][0]["row"] == expected


def test_blanks_that_leave_open_what_is_missing(tmp_path, capsys):
    lines = [f"{v:6.2f}   {w:6.2f}   {v * w:6.2f}" for v, w in rng.normal(size=(30, 2))]
    lines[7] = "  1.00            2.00"
    (tmp_path / "t.txt").write_text("\n".join(["  a        b        c", *lines]))
    status, _, err = _detect(capsys, tmp_path / "t.txt", "--missing", "median")
    assert status == 1
    assert "line 9 holds 2 values, fewer than the 3 columns" in err


def test_a_blank_line_of_one_column_is_a_missing_value(tmp_path):
    (tmp_path / "t.csv").write_text("value\n1\n\n3\n4\n\n")
    assert np.isnan(read_table(tmp_path / "t.csv")["value"].tolist()[1])
    assert len(read_table(tmp_path / "t.csv")) == 4


@pytest.mark.parametrize("names", ["", "name, unit;v\n"])
def test_commas_within_numbers_separate_nothing(names):
    lines = "\n".join(f"ab;{50 + i},{i % 10}" for i in range(20))
    assert find_separator(names + lines) == ";"


@pytest.mark.parametrize(
    "options",
    [
        ("--max-gap", 3),
        ("--sort",),
        ("--time-format", "%d"),
        ("--time-column", "a", "--time-format", "%Q"),
        ("--time-column", "a", "--time-format", "%d%"),
        ("-o", "x.txt"),
        ("--plot", "x.foo"),
        ("--contamination", "auto", "--model", "vae"),
    ],
)
def test_options_that_cannot_be_are_a_line(options, tmp_path, capsys):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3,5\n")
    status, out, err = _run(capsys, "detect", tmp_path / "t.csv", *options)
    assert (status, out, err.count("\n")) == (2, "", 1)


def test_a_column_whose_name_begins_with_a_dash(tmp_path, capsys):
    pd.DataFrame({"-temp": list("ab") * 9, "b": range(18)}).to_csv(tmp_path / "t.csv", index=False)
    assert "--ignore=-temp" in _detect(capsys, tmp_path / "t.csv", "--keep", "b")[2]
