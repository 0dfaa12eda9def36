"""Series from a shell: gaps, grids, orders of rows."""

import json
import re

import numpy as np
import pytest
from optional import Optional
from sklearn.pipeline import make_pipeline

from skrdae import CalibratedDetector, RobustPCA, WindowedDetector, save
from skrdae.cli import main
from skrdae.tables import TableEncoder, read_table

pd = Optional("pandas")

N, SPIKE = 600, 350


def _run(capsys, *arguments):
    status = main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return status, out, [line for line in err.splitlines() if "no row is flagged" not in line]


def _series(start="2026-01-01", freq="s"):
    rng = np.random.default_rng(0)
    values = np.sin(np.arange(N) / 9) + 0.05 * rng.normal(size=N)
    values[SPIKE : SPIKE + 3] += 5
    return pd.DataFrame({"t": pd.date_range(start, periods=N, freq=freq), "v": values.round(4)})


def _write(table, path):
    table.to_csv(path, index=False)
    return path


def _call(path, *more, window=40):
    options = ["--time-column", "t", "--window-size", window, "--model", "robust-pca"]
    return ["detect", path, *options, "--contamination", "0.1", *more]


@pytest.fixture
def skipped(tmp_path):
    """A second is left out of every 21, and once 30 of them."""
    lacking = {*range(20, N, 21), *range(500, 530)}
    return _write(_series().drop(sorted(lacking)), tmp_path / "skipped.csv")


def test_a_window_that_fits_nowhere_is_explained(skipped, tmp_path, capsys):
    status, out, err = _run(capsys, *_call(skipped))
    assert (status, out, len(err)) == (1, "", 1)
    assert "a window has 40 steps, and no more than 20 follow each other without a gap" in err[0]
    for remedy in ("--resample auto", "--ignore-gaps", "--window-size to 20 or less"):
        assert remedy in err[0]
    assert _run(capsys, *_call(skipped, window=20))[0] == 0
    assert _run(capsys, *_call(skipped, window=21))[0] == 1


@pytest.mark.parametrize("step", ["auto", "1000ms"])
def test_an_even_grid_gives_each_row_a_score(step, skipped, tmp_path, capsys):
    model, output = tmp_path / "model", tmp_path / "o.csv"
    call = _call(skipped, "--resample", step, "--max-gap", "30", "-o", output, "--save", model)
    status, out, err = _run(capsys, *call, "--plot", tmp_path / "p.png", "--json")
    assert status == 0
    rows = read_table(skipped)
    assert err == [
        f"skrdae detect: note: {len(rows)} rows are put on {N} steps of 1s; {N - len(rows)} steps "
        "without a row are interpolated."
    ]
    result, report = read_table(output), json.loads(out)
    pd.testing.assert_frame_equal(result[["t", "v"]], rows)
    assert not result["skrdae_score"].isna().any()
    # What a series without any gap has, but for what is interpolated.
    whole = _write(_series(), tmp_path / "whole.csv")
    _run(capsys, *_call(whole, "-o", tmp_path / "w.csv"))
    expected = read_table(tmp_path / "w.csv").set_index("t")["skrdae_score"][result["t"]]
    assert np.corrcoef(expected, result["skrdae_score"])[0, 1] > 0.99
    assert report["rows"] == len(rows)
    assert report["without_score"] == 0
    assert report["flagged"] == result["skrdae_label"].sum()
    for stretch in report["anomalies"]:
        part = result[stretch["first_row"] : stretch["last_row"] + 1]
        assert part["skrdae_label"].all()
        assert stretch["start"] <= part["t"].iloc[0] <= part["t"].iloc[-1] <= stretch["end"]
    # The model does the same with what comes later.
    status, again, err = _run(capsys, "score", model, skipped, "-o", tmp_path / "s.csv", "--json")
    assert (status, len(err)) == (0, 1)
    assert json.loads(again)["anomalies"] == report["anomalies"]
    assert (tmp_path / "s.csv").read_bytes() == output.read_bytes()
    status, again, _ = _run(capsys, "score", model, output, "--json")
    assert json.loads(again)["anomalies"] == report["anomalies"]


def test_longer_gaps_stay_and_are_told(skipped, tmp_path, capsys):
    output = tmp_path / "o.csv"
    status, out, err = _run(capsys, *_call(skipped, "--resample", "auto", "-o", output))
    assert status == 0
    assert "1 longer gap stays" in err[0]
    assert not read_table(output)["skrdae_score"].isna().any()
    # Rows between gaps closer than a window have no score, and somebody says why.
    window = _call(skipped, "--resample", "auto", "-o", output, window=80)
    status, out, err = _run(capsys, *window)
    result = read_table(output)
    n_without = int(result["skrdae_score"].isna().sum())
    assert (status, n_without > 0) == (0, True)
    assert f"{n_without} rows have no score" in out
    assert f"{n_without} of {len(result)} rows have no score, because" in err[1]
    assert "--max-gap" in err[1]
    assert "--ignore-gaps" in err[1]


def test_windows_may_reach_over_gaps(tmp_path, capsys):
    days = _series("2020-01-01", "B")
    data, model = _write(days, tmp_path / "days.csv"), tmp_path / "model"
    call = _call(data, "--ignore-gaps", "-o", tmp_path / "o.csv", "--json", "--save", model)
    status, out, err = _run(capsys, *call)
    assert status == 0
    n_weekends = int((np.diff(days["t"]) > np.timedelta64(36, "h")).sum())
    assert err == [f"skrdae detect: note: {n_weekends} gaps in the times are ignored."]
    # As if there were no times.
    steps = _write(days.assign(t=range(N)), tmp_path / "steps.csv")
    _run(capsys, *_call(steps, "-o", tmp_path / "p.csv"))
    same = ["skrdae_score", "skrdae_label"]
    found = read_table(tmp_path / "o.csv")
    pd.testing.assert_frame_equal(found[same], read_table(tmp_path / "p.csv")[same])
    assert found["skrdae_label"].sum() > 0
    stretch = json.loads(out)["anomalies"][0]
    assert stretch["start"] == str(days["t"][stretch["first_row"]])
    status, again, _ = _run(capsys, "score", model, data, "--json")
    assert json.loads(again)["anomalies"] == json.loads(out)["anomalies"]
    # It is not for rows in any order.
    back = _write(days[::-1], tmp_path / "back.csv")
    status, _, err = _run(capsys, *_call(back, "--ignore-gaps"))
    assert (status, len(err)) == (1, 1)
    assert "the newest first" in err[0]
    assert "--sort" in err[0]
    assert _run(capsys, *_call(back, "--ignore-gaps", "--sort"))[0] == 0
    assert _run(capsys, "score", model, back)[0] == 1


def test_rows_in_any_order_are_told_from_uneven_ones(tmp_path, capsys):
    table = _series()
    irregular = np.cumsum(np.random.default_rng(0).exponential(60, N))
    cases = {
        "newest": (table[::-1], "in column 't', but the newest first", "--sort"),
        "mixed": (
            table.sample(frac=1, random_state=0),
            "not in the order of their times",
            "--sort",
        ),
        "twice": (
            pd.concat([table, table]).sort_values("t"),
            "600 of 1200 rows have",
            "--resample",
        ),
        "uneven": (
            table.assign(t=pd.Timestamp("2026") + pd.to_timedelta(irregular, unit="s")),
            "do not follow each other in even steps",
            "--resample",
        ),
    }
    for name, (rows, words, remedy) in cases.items():
        data = _write(rows, tmp_path / f"{name}.csv")
        status, out, err = _run(capsys, *_call(data))
        assert (status, out, len(err)) == (1, "", 1)
        assert words in err[0]
        assert remedy in err[0]
        given = (
            ["--sort"]
            if remedy == "--sort"
            else ["--resample", "60s" if name == "uneven" else "auto"]
        )
        status, _, err = _run(capsys, *_call(data, *given, "-o", tmp_path / "o.csv"))
        assert status == 0
        assert read_table(tmp_path / "o.csv")["skrdae_score"].notna().mean() > 0.9
        # Of a grid the order of rows does not matter.
        if name == "newest":
            _run(capsys, *_call(data, "--resample", "auto", "-o", tmp_path / "r.csv"))
            sort, grid = (read_table(tmp_path / f"{n}.csv") for n in "or")
            assert np.array_equal(sort["skrdae_score"], grid["skrdae_score"])
            assert np.array_equal(grid["t"], read_table(data)["t"])


def test_rows_of_one_time_are_averaged(tmp_path, capsys):
    twice = pd.concat([_series(), _series().assign(v=0.0)]).sort_values("t", kind="stable")
    data = _write(twice, tmp_path / "twice.csv")
    status, _, err = _run(capsys, *_call(data, "--resample", "1s", "-o", tmp_path / "o.csv"))
    assert status == 0
    assert f"{N} rows share a step with another and are averaged" in err[0]
    scores = read_table(tmp_path / "o.csv")["skrdae_score"].to_numpy().reshape(-1, 2)
    assert np.array_equal(scores[:, 0], scores[:, 1])


def test_a_model_takes_what_it_was_fitted_to(tmp_path, capsys):
    model = tmp_path / "model"
    _run(capsys, *_call(_write(_series(), tmp_path / "t.csv"), "--save", model))
    table = _series()
    for rows, words in (
        (table[:39], "the model looks at windows of 40 steps, and there are 39"),
        (table[::2], "fitted to steps of 1s, and these rows are 2s apart"),
        (table.assign(t=pd.date_range("2026", periods=N, freq="750ms")), "750ms apart"),
        (table[::-1], "the newest first"),
        (pd.concat([table[:30], table[60:90]]), "no more than 30 follow each other"),
        (table.assign(t="soon"), "'soon' in row 0, which is no time"),
        (table.rename(columns={"v": "w"}), "no column 'v'; it has 't' and 'w'"),
    ):
        status, out, err = _run(capsys, "score", model, _write(rows, tmp_path / "new.csv"))
        assert (status, out, len(err)) == (1, "", 1)
        assert words in err[0]
        assert "--window-size" not in err[0]
    gap = _write(table.drop(range(300, 340)).drop(range(350, 360)), tmp_path / "new.csv")
    status, out, err = _run(capsys, "score", model, gap)
    assert (status, len(err)) == (0, 2)
    assert "into 3 stretches" in err[0]
    assert "10 of 550 rows have no score" in err[1]
    assert "fit a model with --resample or --ignore-gaps" in err[1]


def test_models_that_python_fitted_to_times(tmp_path, capsys):
    table = _series()
    data = _write(table, tmp_path / "t.csv")
    holed = _write(table.drop(range(300, 310)), tmp_path / "h.csv")
    strict = WindowedDetector(RobustPCA(), window_size=40)
    save(strict.fit(table.set_index("t")), tmp_path / "model")
    status, _, err = _run(
        capsys, "score", tmp_path / "model", _write(table[["v"]], tmp_path / "v.csv")
    )
    assert status == 1
    assert "does not say which column holds them" in err[0]
    save(make_pipeline(TableEncoder("t"), strict).fit(table), tmp_path / "model")
    assert _run(capsys, "score", tmp_path / "model", data)[0] == 0
    status, _, err = _run(capsys, "score", tmp_path / "model", holed)
    assert status == 1
    assert "fitted in Python to refuse any" in err[0]


def test_labels_of_a_calibrated_model(tmp_path, capsys):
    table, model = _series(), tmp_path / "model"
    data, output = _write(table, tmp_path / "t.csv"), tmp_path / "o.csv"
    windowed = WindowedDetector(RobustPCA(), window_size=10)
    series = CalibratedDetector(windowed, max_fpr=0.1, random_state=0)
    save(series.fit(table.set_index("t")), model)
    status, _, err = _run(capsys, "score", model, _write(table[["v"]], tmp_path / "v.csv"))
    assert status == 1
    assert "does not say which column holds them" in err[0]
    pipeline = make_pipeline(TableEncoder("t"), series).fit(table)
    save(pipeline, model)
    status, out, _ = _run(capsys, "score", model, data, "-o", output, "--json", "--explain")
    report = json.loads(out)
    expected = pipeline.predict(table)
    by_score = pipeline.decision_function(table) > series.threshold_
    assert (status, report["model"], report["threshold"]) == (0, "RobustPCA", None)
    assert not np.array_equal(expected, by_score)  # or this would tell nothing
    assert np.array_equal(read_table(output)["skrdae_label"], expected)
    assert "start" in report["anomalies"][0]
    rows = CalibratedDetector(RobustPCA(), max_fpr=0.3, cv=3, random_state=0)
    wide = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 3)), columns=[*"abc"])
    save(rows.fit(wide), model)
    _run(capsys, "score", model, _write(wide, tmp_path / "w.csv"), "-o", output)
    assert np.array_equal(read_table(output)["skrdae_label"], rows.predict(wide))


def test_times_written_as_digits(tmp_path, capsys):
    table = _series("2024-01-29", "D")[:200]
    _run(capsys, *_call(_write(table, tmp_path / "iso.csv"), "-o", tmp_path / "iso.o.csv"))
    expected = read_table(tmp_path / "iso.o.csv")["skrdae_score"]
    since = (table["t"] - pd.Timestamp("1970")) // pd.Timedelta("1s")
    for name, times, said in (
        ("ymd", table["t"].dt.strftime("%Y%m%d"), "20240129 is 2024-01-29"),
        ("dmy", table["t"].dt.strftime("%d%m%Y"), "29012024 is 2024-01-29"),
        ("s", since, "seconds since 1970: 1706486400 is 2024-01-29"),
        ("ms", since * 1000, "milliseconds since 1970: 1706486400000 is 2024-01-29"),
    ):
        data = _write(table.assign(t=times), tmp_path / f"{name}.csv")
        call = _call(data, "-o", tmp_path / "o.csv", "--save", tmp_path / "model")
        status, _, err = _run(capsys, *call)
        assert (status, len(err)) == (0, 1)
        assert said in err[0]
        assert np.array_equal(read_table(tmp_path / "o.csv")["skrdae_score"], expected)
        status, _, err = _run(capsys, "score", tmp_path / "model", data, "-o", tmp_path / "o.csv")
        assert (status, err) == (0, [])
        assert np.array_equal(read_table(tmp_path / "o.csv")["skrdae_score"], expected)
        form = {"ymd": "%Y%m%d", "dmy": "%d%m%Y"}.get(name, f"epoch {name}")
        status, _, err = _run(capsys, *call, "--time-format", form)
        assert (status, err) == (0, [])
        assert np.array_equal(read_table(tmp_path / "o.csv")["skrdae_score"], expected)
        # In a file of numbers the zeros are gone.
        numbers = table.assign(t=pd.to_numeric(times))
        numbers.to_parquet(tmp_path / "t.parquet")
        call = _call(tmp_path / "t.parquet", "-o", tmp_path / "o.csv", "--time-format", form)
        assert _run(capsys, *call)[0] == 0
        assert np.array_equal(read_table(tmp_path / "o.csv")["skrdae_score"], expected)


def test_days_and_hours_in_columns_of_their_own(tmp_path, capsys):
    table = _series(freq="h")
    parts = table.assign(t=table["t"].dt.strftime("%d.%m.%Y"), h=table["t"].dt.strftime("%H.%M"))
    data, model = _write(parts, tmp_path / "t.csv"), tmp_path / "model"
    options = ["--time-column", "h", "-o", tmp_path / "o.csv", "--save", model, "--json"]
    status, out, err = _run(capsys, *_call(data, *options))
    assert (status, err) == (0, [])
    _run(capsys, *_call(_write(table, tmp_path / "w.csv"), "-o", tmp_path / "p.csv"))
    found, expected = (read_table(tmp_path / f"{n}.csv")["skrdae_score"] for n in "op")
    assert np.array_equal(found, expected)
    assert json.loads(out)["anomalies"][0]["start"].startswith("2026-01-1")
    status, again, _ = _run(capsys, "score", model, data, "--json")
    assert json.loads(again)["anomalies"] == json.loads(out)["anomalies"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--resample", "auto"], "--resample is for series"),
        (["--ignore-gaps"], "--ignore-gaps is for series"),
        (["--time-format", "%Y"], "--time-format is for series"),
        (["--time-column", "t", "--max-gap", "3"], "--max-gap only works together"),
        (["--time-column", "t", "--resample", "60"], "--resample has to be a time with its unit"),
        (["--time-column", "t", "--window-size", "601"], "set --window-size to 600 or less"),
        (["--contamination", "auto", "--model", "robust-pca"], "--contamination auto is for"),
        (["--time-column", "u"], "no column 'u'; it has 't' and 'v'"),
    ],
)
def test_options_that_do_not_go_together(options, words, tmp_path, capsys):
    data = _write(_series(), tmp_path / "t.csv")
    status, out, err = _run(capsys, "detect", data, *options)
    # What no file could make right is a wrong call.
    is_wrong_call = "is for" in words or "works together" in words
    assert (status, out, len(err)) == (2 if is_wrong_call else 1, "", 1)
    assert words in err[0]


def test_a_series_without_a_period_is_told(tmp_path, capsys):
    noise = _series().assign(v=np.random.default_rng(0).normal(size=N))
    data = _write(noise, tmp_path / "t.csv")
    status, _, err = _run(capsys, *_call(data, window="auto"))
    assert (status, len(err)) == (1, 1)
    assert "--window-size auto found no period" in err[0]
    assert _run(capsys, *_call(_write(_series(), tmp_path / "t.csv"), window="auto"))[0] == 0


@pytest.mark.parametrize(
    ("kind", "facts", "words"),
    [
        (
            "rate",
            {"found": 2.0, "usual": 60.0, "first": "noon"},
            "2s apart, first at noon, and .* 1min",
        ),
        (
            "unsorted",
            {"first": "noon"},
            "not in the order of their times, first at noon. Use --sort",
        ),
        ("duplicate", {}, "the same time"),
        ("uneven", {"count": 3, "usual": None}, "even steps"),
        ("short", {"size": 40, "longest": 39}, "a window has 40 steps, and no more than 39"),
        ("anything new", {}, "cannot be used as they are"),
    ],
)
def test_what_a_detector_finds_wrong_with_a_series(
    kind, facts, words, tmp_path, capsys, monkeypatch
):
    class Refusal(ValueError):
        pass

    def refuse(self, X):
        error = Refusal("X.resample('2s').mean(), on_gap='split'")
        error.kind, error.facts = kind, facts
        raise error

    data, model = _write(_series(), tmp_path / "t.csv"), tmp_path / "model"
    assert _run(capsys, *_call(data, "--save", model))[0] == 0
    monkeypatch.setattr(WindowedDetector, "fit", refuse)
    monkeypatch.setattr(WindowedDetector, "scores_and_labels", refuse)
    for call in (_call(data), ["score", model, data]):
        status, out, err = _run(capsys, *call)
        assert (status, out, len(err)) == (1, "", 1)
        assert re.search(words, err[0])
        assert "on_gap" not in err[0]
