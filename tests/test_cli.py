import errno
import gzip
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
from optional import Optional
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from skrdae import OutlierAdapter, RobustDeepAutoencoder, RobustPCA, WindowedDetector, save
from skrdae.cli import main
from skrdae.commands.arguments import MODELS, WINDOW_MODELS
from skrdae.demo import one_class_digits
from skrdae.tables import TableEncoder, read_table

pd = Optional("pandas")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A table with text and missing values, and a series with a dropout and a clock put back."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    n = 400
    power = rng.normal(50, 5, n)
    plant = pd.DataFrame(
        {
            "machine": rng.choice(["press", "mill", "lathe"], n),
            "power": power,
            "temperature": 0.8 * power + rng.normal(size=n),
            "shift": rng.integers(1, 4, n),
        }
    )
    plant.loc[[17, 300], "temperature"] += 400
    plant.loc[::29, "power"] = np.nan
    plant.loc[3, "machine"] = None
    plant.to_csv(folder / "plant.csv", index=False)
    plant.to_parquet(folder / "plant.parquet")
    plant[["power", "temperature"]].ffill().bfill().to_csv(folder / "numbers.csv", index=False)
    stamps = pd.date_range("2026-01-01", periods=900, freq="5min").to_series()
    stamps.iloc[700:] -= pd.Timedelta("1h")
    values = np.sin(np.arange(900) / 4) + 0.05 * rng.normal(size=900)
    values[400:420] = 0
    series = pd.DataFrame({"time": stamps.to_numpy(), "flow": values})
    series.to_csv(folder / "series.csv", index=False)
    series[699::-1].to_csv(folder / "back.csv", index=False)
    dates = pd.date_range("2026-01-01", periods=288, freq="h").strftime("%d.%m.%Y %H:%M")
    series[:288].assign(time=dates).to_csv(folder / "dates.csv", index=False)
    plant[["power"]].to_csv(folder / "commas.csv", index=False, sep=";", decimal=",")
    (folder / "long.csv").write_text("a,b\nx,1,2\ny,2,3\n")
    (folder / "cut.csv.gz").write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 999)[:-20])
    (folder / "folder.csv").mkdir()
    return folder


def _run(capsys, *arguments):
    status = main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return status, out, err


ONE_GAP = "skrdae detect: note: 1 gap in the times splits the series into 2 stretches.\n"
ASKED = ("--missing", "median", "--categories", "one-hot", "--contamination", "0.005")


def test_a_table_with_text_and_missing_values(folder, tmp_path, capsys):
    paths = [tmp_path / name for name in ("out.csv", "out.png", "model")]
    options = ("-o", paths[0], "--plot", paths[1], "--save", paths[2])
    status, out, err = _run(capsys, "detect", folder / "plant.csv", *ASKED, *options)
    assert status == 0
    assert err.splitlines() == [
        "skrdae detect: note: Text becomes a column of 0 and 1 for each value: 'machine' (3).",
        "skrdae detect: warning: Column 'power': 14 missing values are filled in.",
        "skrdae detect: warning: Column 'machine': 1 values are missing; they belong to no "
        "category.",
    ]
    assert out.startswith("2 of 400 rows flagged by RobustDeepAutoencoder")
    result, plant = read_table(paths[0]), read_table(folder / "plant.csv")
    pd.testing.assert_frame_equal(result[plant.columns], plant)
    assert np.flatnonzero(result["skrdae_label"]).tolist() == [17, 300]
    assert set(result["skrdae_score"].nlargest(2).index) == {17, 300}
    assert paths[1].read_bytes().startswith(b"\x89PNG")

    # A later file, in another order and form, is scored by what was learnt.
    status, out, _ = _run(
        capsys, "score", paths[2], folder / "plant.parquet", "--json", "-o", tmp_path / "o.parquet"
    )
    report = json.loads(out)
    assert status == 0
    assert sorted(a["row"] for a in report["anomalies"]) == [17, 300]
    assert report["flagged"] == 2
    again = pd.read_parquet(tmp_path / "o.parquet")
    assert np.array_equal(again["skrdae_score"], result["skrdae_score"])
    # What an earlier call added is not data.
    status, out, _ = _run(capsys, "score", paths[2], paths[0], "--json", "--exit-code")
    assert status == 3
    assert json.loads(out)["anomalies"] == report["anomalies"]
    _run(capsys, "detect", paths[0], *ASKED, "-o", tmp_path / "second.csv")
    assert read_table(tmp_path / "second.csv").equals(result)
    quiet = plant.drop(index=[17, 300])
    quiet.to_csv(tmp_path / "quiet.csv")
    assert _run(capsys, "score", paths[2], tmp_path / "quiet.csv", "--exit-code")[0] == 0


@pytest.mark.parametrize("model", ["robust-autoencoder", "robust-pca", "vae", "lstm"])
def test_a_series(model, folder, tmp_path, capsys):
    options = ["--time-column", "time", "--model", model, "--window-size", 25, "--json"]
    options += ["--plot", tmp_path / "series.png", "--save", tmp_path / "model"]
    status, out, err = _run(capsys, "detect", folder / "series.csv", *options)
    report = json.loads(out)
    assert (status, err) == (0, ONE_GAP)
    highest = report["anomalies"][0]
    assert highest["first_row"] < 420
    assert highest["last_row"] >= 400
    assert highest["start"].startswith("2026-01-02 ")
    assert report["without_score"] == 0
    assert (tmp_path / "series.png").stat().st_size > 10_000
    status, out, _ = _run(capsys, "score", tmp_path / "model", folder / "series.csv", "--json")
    again = json.loads(out)
    assert again["anomalies"] == report["anomalies"]
    assert again["model"] == report["model"]


@pytest.mark.parametrize("model", [m for m in WINDOW_MODELS if m != "lstm"])
def test_models_of_windows_take_all_channels(model, tmp_path, capsys):
    steps = np.arange(120)
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"time": pd.date_range("2026-01-01", periods=120, freq="h")})
    for name, pace in (("flow", 2), ("heat", 3)):
        table[name] = np.sin(steps / pace) + 0.05 * rng.normal(size=120)
    table.loc[80:83, ["flow", "heat"]] = 5
    table.to_csv(tmp_path / "series.csv", index=False)
    options = ["--time-column", "time", "--model", model, "--window-size", 8, "--json"]
    options += ["--save", tmp_path / "model"]
    status, out, err = _run(capsys, "detect", tmp_path / "series.csv", *options)
    report = json.loads(out)
    assert (status, err) == (0, "")
    assert report["model"] == MODELS[model]
    highest = report["anomalies"][0]
    assert highest["first_row"] <= 83
    assert highest["last_row"] >= 80
    status, out, _ = _run(capsys, "score", tmp_path / "model", tmp_path / "series.csv", "--json")
    assert status == 0
    assert json.loads(out)["anomalies"] == report["anomalies"]


def test_a_series_in_any_order(folder, tmp_path, capsys):
    options = ["--time-column", "time", "--window-size", 25, "--json", "-o"]
    shuffled = read_table(folder / "series.csv")[:700]
    shuffled.sample(frac=1, random_state=0).to_csv(tmp_path / "mixed.csv", index=False)
    shuffled.to_csv(tmp_path / "right.csv", index=False)
    _, right, _ = _run(capsys, "detect", tmp_path / "right.csv", *options, tmp_path / "a.csv")
    saved = ["--sort", "--save", tmp_path / "model"]
    _, found, err = _run(
        capsys, "detect", tmp_path / "mixed.csv", *options, tmp_path / "b.csv", *saved
    )
    assert err == ""
    # The table keeps the order of the file.
    result, mixed = read_table(tmp_path / "b.csv"), read_table(tmp_path / "mixed.csv")
    assert result["time"].equals(mixed["time"])
    assert result.sort_values("time", ignore_index=True).equals(read_table(tmp_path / "a.csv"))
    times = [
        [(a["start"], a["end"], a["score"]) for a in json.loads(r)["anomalies"]]
        for r in (right, found)
    ]
    assert times[0] == times[1] != []
    status, out, err = _run(capsys, "score", tmp_path / "model", tmp_path / "mixed.csv")
    assert (status, out) == (1, "")
    assert "not in the order of their times in column 'time'" in err
    assert "--sort" in err
    _, again, _ = _run(
        capsys, "score", tmp_path / "model", tmp_path / "mixed.csv", "--json", "--sort"
    )
    assert json.loads(again)["anomalies"] == json.loads(found)["anomalies"]
    shuffled[::2].to_csv(tmp_path / "half.csv", index=False)
    status, _, err = _run(capsys, "score", tmp_path / "model", tmp_path / "half.csv")
    assert status == 1
    assert "the model was fitted to steps of 5min, and these rows are 10min apart" in err


def test_stretches_of_a_series_are_printed_the_highest_first(folder, capsys):
    options = ["--time-column", "time", "--model", "robust-pca", "--window-size", 8]
    call = ("detect", folder / "series.csv", *options)
    for share, more in ((0.2, False), (0.4, True)):
        _, out, _ = _run(capsys, *call, "--contamination", share, "--json")
        found = json.loads(out)["anomalies"]
        assert len(found) > 1
        assert (len(found) > 10) == more
        assert found == sorted(found, key=lambda stretch: -stretch["score"])
        status, out, err = _run(capsys, *call, "--contamination", share)
        assert (status, err) == (0, ONE_GAP)
        first, names, *lines = out.splitlines()
        assert first.endswith("of 900 rows flagged by RobustPCA")
        assert names.split() == ["from", "to", "score"]
        if more:
            assert lines.pop() == "..."
        assert len(lines) == min(len(found), 10)
        for line, stretch in zip(lines, found, strict=False):
            assert line[:27].strip() == stretch["start"]
            assert line[27:54].strip() == stretch["end"]
            assert line[54:].strip() == f"{stretch['score']:.4g}"
            assert len(line) == len(names)


def test_times_that_need_a_format(folder, tmp_path, capsys):
    options = ["--time-column", "time", "--window-size", 24, "--json"]
    saved = ["--time-format", "%d.%m.%Y %H:%M", "--save", tmp_path / "model"]
    status, out, _ = _run(capsys, "detect", folder / "dates.csv", *options, *saved)
    assert status == 0
    assert json.loads(out)["without_score"] == 0
    # Whoever scores need not know.
    status, out, _ = _run(capsys, "score", tmp_path / "model", folder / "dates.csv", "--json")
    assert json.loads(out)["without_score"] == 0


def test_the_result_is_the_file_as_it_was_with_two_columns_more(tmp_path, capsys):
    text = "code;country;power\n" + "".join(
        f"{i:05d};{'NA' if i % 2 else 'DE'};{i % 7},{i % 3}0\n" for i in range(90)
    )
    (tmp_path / "in.csv").write_text(text)
    options = ("--separator", ";", "--decimal", ",", "--ignore", "code", "--ignore", "country")
    status, _, err = _run(capsys, "detect", tmp_path / "in.csv", *options, "-o", tmp_path / "o.csv")
    assert (status, err) == (0, "")
    lines = (tmp_path / "o.csv").read_text().splitlines()
    before = text.splitlines()
    assert lines[0] == before[0] + ";skrdae_score;skrdae_label"
    assert all(a.startswith(b + ";") for a, b in zip(lines[1:], before[1:], strict=True))
    status, _, _ = _run(capsys, "detect", tmp_path / "o.csv", *options)
    assert status == 0


def test_categories_do_not_depend_on_what_else_is_in_a_file(tmp_path, capsys):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"code": rng.choice(["01", "02", "x"], 200), "a": rng.normal(size=200)})
    table.to_csv(tmp_path / "train.csv", index=False)
    some = table[table["code"] != "x"]
    some.to_csv(tmp_path / "later.csv", index=False)
    options = ("--categories", "one-hot", "--save", tmp_path / "model", "-o", tmp_path / "a.csv")
    _run(capsys, "detect", tmp_path / "train.csv", *options)
    _, _, err = _run(
        capsys, "score", tmp_path / "model", tmp_path / "later.csv", "-o", tmp_path / "b.csv"
    )
    assert err == ""
    first, later = read_table(tmp_path / "a.csv"), read_table(tmp_path / "b.csv")
    expected = first["skrdae_score"][some.index]
    assert np.array_equal(later["skrdae_score"], expected)
    table.assign(code="new").to_csv(tmp_path / "later.csv", index=False)
    _, _, err = _run(capsys, "score", tmp_path / "model", tmp_path / "later.csv")
    assert "'code': 200 were not there in training; they belong to no category" in err


def test_columns_that_are_dropped_are_named(tmp_path, capsys):
    table = pd.DataFrame(
        {"note": ["ok", "late"] * 50, "a": np.random.default_rng(0).normal(size=100)}
    )
    table.to_csv(tmp_path / "t.csv", index=False)
    _, _, err = _run(capsys, "detect", tmp_path / "t.csv", "--categories", "drop")
    assert err == "skrdae detect: warning: Column 'note' holds text and is left out.\n"
    table["a"] = table["a"].astype(object)
    table.loc[3, "a"] = "off"
    table.to_csv(tmp_path / "t.csv", index=False)
    status, _, err = _run(capsys, "detect", tmp_path / "t.csv", "--categories", "drop")
    assert status == 1
    assert "'a' ('off' in row 3; 1 of 100 values) is not numeric throughout" in err


def test_an_adapter_is_scored_like_what_it_holds(folder, tmp_path, capsys):
    table = read_table(folder / "numbers.csv")
    adapter = OutlierAdapter(RobustDeepAutoencoder(random_state=0, contamination=0.01)).fit(table)
    save(adapter, tmp_path / "model")
    status, out, _ = _run(capsys, "score", tmp_path / "model", folder / "numbers.csv", "--json")
    assert status == 0
    assert json.loads(out)["flagged"] == (adapter.predict(table) == -1).sum() > 0


def test_what_fails_at_the_end_leaves_no_half_file(folder, tmp_path, capsys, monkeypatch):
    def refuse(*arguments, **options):
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", refuse)
    for name, option in (("o.csv", "-o"), ("p.png", "--plot"), ("m", "--save")):
        status, out, err = _run(capsys, "detect", folder / "numbers.csv", option, tmp_path / name)
        assert (status, out) == (1, "")
        assert err == f"skrdae detect: {tmp_path / name} could not be written: no space left\n"
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_breaks_down_is_a_line(folder, tmp_path, capsys, monkeypatch):
    encoder = TableEncoder().fit(read_table(folder / "numbers.csv"))
    del encoder.fill_values_
    model = Pipeline(
        [
            ("encode", encoder),
            ("detect", RobustPCA().fit(np.random.default_rng(0).normal(size=(9, 2)))),
        ]
    )
    (tmp_path / "model").touch()
    monkeypatch.setattr("skrdae.commands.scoring.load", lambda path, device: model)
    status, out, err = _run(capsys, "score", tmp_path / "model", folder / "numbers.csv")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "it is damaged, or no model that skrdae wrote" in err


def test_a_seed_is_that_of_the_training(folder, tmp_path, capsys):
    table = read_table(folder / "numbers.csv")
    scores = []
    for seed in (0, 7):
        options = ("--seed", seed, "-o", tmp_path / "o.csv")
        assert _run(capsys, "detect", folder / "numbers.csv", *options)[0] == 0
        scores.append(read_table(tmp_path / "o.csv")["skrdae_score"])
        expected = RobustDeepAutoencoder(random_state=seed).fit(table).decision_scores_
        assert np.array_equal(scores[-1], expected)
    assert not np.array_equal(*scores)


def test_every_model_takes_a_table(folder, capsys):
    for model in ("robust-pca", "vae", "anogan"):
        status, out, _ = _run(
            capsys, "detect", folder / "plant.csv", *ASKED, "--model", model, "--json"
        )
        assert status == 0
        assert json.loads(out)["flagged"] == 2


def test_models_that_python_saved(folder, tmp_path, capsys):
    table = read_table(folder / "numbers.csv")
    detector = RobustDeepAutoencoder(random_state=0, contamination=0.01)
    for X in (table, table.to_numpy()):  # with names, and without
        save(detector.fit(X), tmp_path / "model")
        status, out, _ = _run(capsys, "score", tmp_path / "model", folder / "numbers.csv", "--json")
        assert status == 0
        rows = {a["row"] for a in json.loads(out)["anomalies"]}
        assert rows == set(np.flatnonzero(detector.labels_))
    votes = RobustDeepAutoencoder(random_state=0, contamination="auto", lam=2.0).fit(table)
    save(votes, tmp_path / "model")
    _, out, _ = _run(capsys, "score", tmp_path / "model", folder / "numbers.csv", "--json")
    assert json.loads(out)["flagged"] == votes.labels_.sum() > 0
    series = read_table(folder / "series.csv")[["flow"]]
    windowed = WindowedDetector(RobustDeepAutoencoder(random_state=0), window_size=25)
    save(windowed.fit(series), tmp_path / "model")
    options = ("--json", "--plot", tmp_path / "p.png")
    _, out, _ = _run(capsys, "score", tmp_path / "model", folder / "series.csv", *options)
    assert json.loads(out)["flagged"] == windowed.labels_.sum() > 0


def test_steps_before_a_detector_are_applied(folder, tmp_path, capsys):
    table = read_table(folder / "numbers.csv")
    detector = RobustPCA(contamination=0.01)
    for steps in (
        [TableEncoder(), StandardScaler(), detector],
        [StandardScaler(), detector],
        ["passthrough", StandardScaler(), None, detector],
        [TableEncoder(), make_pipeline(StandardScaler(), detector)],
        [make_pipeline(TableEncoder(), StandardScaler()), detector],
    ):
        model = make_pipeline(*steps).fit(table)
        save(model, tmp_path / "model")
        options = ("-o", tmp_path / "o.csv")
        status, _, err = _run(capsys, "score", tmp_path / "model", folder / "numbers.csv", *options)
        assert (status, err) == (0, "")
        found = read_table(tmp_path / "o.csv")
        assert np.array_equal(found["skrdae_score"], model.decision_function(table))
        assert np.array_equal(found["skrdae_label"], model.predict(table))
        assert found["skrdae_label"].sum() > 0


def test_models_that_do_not_fit_are_named(folder, tmp_path, capsys):
    table = read_table(folder / "numbers.csv")
    renamed = table.rename(columns={"power": "watts", "temperature": "degrees"})
    columns = "The table has no column 'watts' and 'degrees'; it has 'power' and 'temperature'."
    for model, status, words in (
        (StandardScaler(), 2, "holds a StandardScaler, which is no detector of anomalies"),
        (make_pipeline(TableEncoder()), 2, "holds a Pipeline, which is no detector of anomalies"),
        (RobustPCA(), 1, columns),
        (make_pipeline(TableEncoder(), RobustPCA()), 1, columns),
    ):
        save(model.fit(renamed), tmp_path / "model")
        found, out, err = _run(capsys, "score", tmp_path / "model", folder / "numbers.csv")
        assert (found, out, err.count("\n")) == (status, "", 1)
        assert err.endswith(f"{words}\n")


def test_too_little_memory_is_a_line(folder, capsys, monkeypatch):
    def refuse(*arguments, **options):
        raise MemoryError

    path = folder / "numbers.csv"
    monkeypatch.setattr("pandas.read_csv", refuse)
    status, out, err = _run(capsys, "detect", path)
    assert (status, out) == (1, "")
    assert err == f"skrdae detect: not enough memory for {path}\n"
    monkeypatch.setattr("skrdae.demo.one_class_digits", refuse)
    status, out, err = _run(capsys, "demo")
    assert (status, err) == (1, "skrdae demo: not enough memory for that\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["detect", "nowhere.csv"], "nowhere.csv"),
        (
            ["detect", "plant.csv"],
            "'machine' .* is not numeric.*--categories one-hot.*'power' .*lacks.*--missing median",
        ),
        (
            ["detect", "plant.csv", "--categories", "drop"],
            "'power' .14 of 400 missing, first in row 0. lacks values.*--missing median",
        ),
        (["detect", "plant.csv", "--time-column", "when"], "no column 'when'; it has 'machine'"),
        (["detect", "plant.csv", "--ignore", "speed"], "no column 'speed'"),
        (["detect", "plant.csv", "--separator", ";"], "separated by ','"),
        (["detect", "plant.csv", "-o", "nowhere/out.csv"], "no folder 'nowhere'"),
        (["detect", "numbers.csv", "--save", "/dev/null"], "is no file"),
        (["detect", "numbers.csv", "-o", "folder.csv"], "is no file"),
        (["detect", "long.csv"], "line 1 holds 2 names, and the lines below it 3 values"),
        (["detect", "cut.csv.gz"], "cut.csv.gz: it is compressed, and damaged or cut off"),
        (["detect", "http://127.0.0.1:9/x.csv"], "is an address.*curl.*skrdae detect -"),
        (["detect", "commas.csv", "--decimal", "."], "decimal commas. Set --decimal ,"),
        (
            ["detect", "commas.csv", "--decimal", ".", "--categories", "drop"],
            "decimal commas. Set --decimal ,",
        ),
        (["detect", "dates.csv", "--time-column", "time"], "may be written as.*--time-format"),
        (["detect", "back.csv", "--time-column", "time"], "the newest first.*Use --sort"),
        (["detect", "plant.csv", "--save", "nowhere/model"], "no folder 'nowhere'"),
        (["detect", "numbers.csv", "--device", "abacus"], "abacus"),
        (
            ["detect", "series.csv", "--time-column", "time", "--window-size", "901"],
            "a window has 901 steps, and no more than 700 .*--window-size to 700 or less",
        ),
        (
            ["detect", "series.csv"],
            "'time' .'2026-01-01 00:00:00'. holds times.*--time-column time",
        ),
        (["detect", "."], "directory"),
        (["score", "nowhere", "plant.csv"], "nowhere"),
        (["demo", "-o", "nowhere/demo.png"], "not a file in a folder"),
    ],
)
def test_errors_are_one_line_and_status_1(arguments, words, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    before = sorted(os.listdir())
    status, out, err = _run(capsys, *arguments)
    assert status == 1
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith(f"skrdae {arguments[0]}: ")
    assert re.search(words, err, re.IGNORECASE), err
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["detect", "plant.csv", "-o", "out.xlsx"], r"\.csv or \.parquet"),
        (["detect", "plant.csv", "--plot", "out.docx"], "png"),
        (["detect", "numbers.csv", "--save", "numbers.csv"], "would be written over the data"),
        (["detect", "numbers.csv", "-o", "./numbers.csv"], "would be written over the data"),
        (["detect", "plant.csv", "-o", "x.csv", "--save", "x.csv"], "written over --output"),
        (["score", "m", "numbers.csv", "-o", "m"], "would be written over the model"),
        (["detect", "numbers.csv", "--sort"], "--sort is for series"),
        (["detect", "numbers.csv", "--window-size", "20"], "--window-size is for series"),
        (["detect", "numbers.csv", "--model", "lstm"], "--model lstm is for series.*--time-column"),
        (["detect", "numbers.csv", "--model", "usad"], "--model usad is for series.*--time-column"),
        (["detect", "numbers.csv", "--model", "vae", "--contamination", "auto"], "contamination"),
        (["demo", "-o", "demo.docx"], "png"),
    ],
)
def test_options_that_no_file_makes_right_have_status_2(
    arguments, words, folder, monkeypatch, capsys
):
    monkeypatch.chdir(folder)
    status, out, err = _run(capsys, *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert re.search(words, err), err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "command"),
        (["find"], "invalid choice: 'find'"),
        (["detect"], "data"),
        (
            ["detect", "plant.csv", "--contamination", "0.7"],
            "--contamination: '0.7' is not a share above 0 and up to 0.5, or auto",
        ),
        (["detect", "plant.csv", "--contamination", "few"], "--contamination.*'few'"),
        (["detect", "plant.csv", "--model", "forest"], "choose from '?robust-autoencoder"),
        (["detect", "plant.csv", "--missing", "guess"], "--missing"),
        (
            ["detect", "plant.csv", "--window-size", "day"],
            "--window-size: 'day' is not a number of steps, or auto",
        ),
        (["detect", "plant.csv", "--window-size", "0"], "--window-size: '0' is not"),
        (["detect", "plant.csv", "--seed", "-1"], "--seed: '-1' is not a whole number from 0"),
        (["detect", "plant.csv", "--seed", "x"], "--seed: 'x' is not a whole number from 0"),
        (["detect", "plant.csv", "--seed", "4294967296"], "--seed.*to 4294967295"),
        (["demo", "--seed", "4294967296"], "--seed.*to 4294967295"),
        (
            ["detect", "plant.csv", "--resample", "5m"],
            "--resample: '5m' is not a time with its unit",
        ),
        (["detect", "plant.csv", "--resample", "0s"], "--resample: '0s' is not"),
        (["detect", "plant.csv", "--max-gap", "-1"], "--max-gap: '-1' is not a whole number"),
        (["detect", "plant.csv", "--encoding", "klingon"], "--encoding: 'klingon' is not an encod"),
        (["detect", "plant.csv", "--resample", "1s", "--ignore-gaps"], "not allowed with"),
        (
            ["detect", "plant.csv", "--separator", ";;"],
            "--separator: ';;' is not a single character, tab or space",
        ),
        (["detect", "plant.csv", "--decimal", ""], "--decimal: '' is not a single mark"),
        (["detect", "plant.csv", "--colour", "red"], "--colour"),
        (["score", "model"], "data"),
        (["demo", "--digit", "12"], "--digit"),
    ],
)
def test_wrong_calls_are_one_line_and_status_2(arguments, words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    err = capsys.readouterr().err
    assert stop.value.code == 2
    assert err.count("\n") == 1
    assert "--help" in err
    assert re.search(words, err), err


@pytest.mark.parametrize(
    ("missing", "arguments", "extra"),
    [
        ("pandas", ["detect", "plant.csv"], "tables"),
        ("pyarrow", ["detect", "plant.parquet"], "tables"),
        ("matplotlib.figure", ["detect", "numbers.csv", "--plot", "p.png"], "plot"),
        ("matplotlib.figure", ["demo"], "plot"),
        ("safetensors", ["detect", "numbers.csv", "--save", "m"], "export"),
        ("safetensors", ["score", "m", "numbers.csv"], "export"),
    ],
)
def test_what_is_not_installed_is_named(missing, arguments, extra, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.setitem(sys.modules, missing, None)
    status, _, err = _run(capsys, *arguments)
    assert status == 1
    assert f"skrdae[{extra}]" in err
    assert err.count("\n") == 1


def test_warnings_are_a_line_each(tmp_path, capsys):
    stamps = pd.date_range("2026-01-01", periods=200, freq="5min").delete(range(150, 155))
    series = pd.DataFrame({"time": stamps, "flow": np.sin(np.arange(195) / 4)})
    series.to_csv(tmp_path / "holed.csv", index=False)
    options = ("--time-column", "time", "--window-size", 50, "--model", "robust-pca")
    status, out, err = _run(capsys, "detect", tmp_path / "holed.csv", *options)
    assert status == 0
    lines = [
        line
        for line in err.splitlines()
        if "no row is flagged" not in line and f"{line}\n" != ONE_GAP
    ]
    assert len(lines) == 1
    assert lines[0].startswith("skrdae detect: warning: 45 of 195 rows have no score, because")
    assert all(name in lines[0] for name in ("--resample", "--ignore-gaps", "--window-size"))
    assert "45 rows have no score" in out


def _shell(command, folder):
    return subprocess.run(
        command, shell=True, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


def test_from_a_shell(folder):
    command = f"{sys.executable} -m skrdae detect numbers.csv --model robust-pca"
    done = _shell(f"{command} --contamination 0.4 | head -1", folder)
    assert (done.stderr, done.stdout.count("\n")) == ("", 1)
    done = _shell(f"{command} > /dev/full", folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith("skrdae detect: ")
    assert "Traceback" not in done.stderr


def test_an_interrupt_before_the_fit_is_status_130(folder):
    # A pipe that nobody writes to: the command waits for its table.
    path = folder / "pipe.csv"
    os.mkfifo(path)
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from skrdae.cli import main; print('ready', flush=True); sys.exit(main(sys.argv[1:]))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, "detect", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            assert running.stdout.readline() == "ready\n"
            time.sleep(0.5)
            running.send_signal(signal.SIGINT)
            assert running.wait(timeout=60) == 130
            assert running.stderr.read() == "skrdae detect: interrupted; nothing was written\n"
        finally:
            running.kill()


def test_demo_prints_the_table_and_draws(tmp_path, capsys, monkeypatch):
    picture = tmp_path / "demo.png"
    monkeypatch.setattr("skrdae.demo._LAMS", [1.4, 2.0])
    monkeypatch.setattr("skrdae.demo._CONTAMINATIONS", [0.02, 0.05])
    monkeypatch.setattr("skrdae.demo._N_FOLDS", 2)
    assert main(["demo", "-o", str(picture)]) == 0
    out = capsys.readouterr().out
    rows = {line.split()[0]: line.split() for line in out.splitlines()}
    assert float(rows["RobustDeepAutoencoder"][2]) > 0.5  # F1
    assert float(rows["RobustDeepAutoencoder"][3]) > 0.95  # ROC AUC
    assert float(rows["IsolationForest"][3]) > 0.9
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 10_000


def test_the_digits_hold_the_share_of_others():
    X, y = one_class_digits(3, seed=1)
    assert X.min() == 0
    assert X.max() == 1
    assert y.mean() == pytest.approx(0.05, abs=0.003)
    assert not np.array_equal(X, one_class_digits(3, seed=2)[0])


def test_what_nobody_foresaw_is_a_line_and_can_be_seen(folder, capsys, monkeypatch):
    def fail(*arguments, **options):
        raise ZeroDivisionError("of X")

    monkeypatch.setattr("skrdae.commands.detecting.order_of", fail)
    status, out, err = _run(capsys, "detect", folder / "numbers.csv")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "nobody foresaw (ZeroDivisionError); -v shows it" in err
    status, _, err = _run(capsys, "detect", folder / "numbers.csv", "-v")
    assert status == 1
    assert "Traceback" in err
    assert "ZeroDivisionError: of X" in err


def test_a_training_that_fails_or_does_not_settle_is_told(folder, capsys, monkeypatch):
    call = ("detect", folder / "numbers.csv", "--model", "robust-pca")
    whole = RobustPCA.fit

    def restless(self, X):
        warnings.warn("raise max_iter or tol", ConvergenceWarning, stacklevel=2)
        warnings.warn("of numpy", RuntimeWarning, stacklevel=2)
        return whole(self, X)

    monkeypatch.setattr(RobustPCA, "fit", restless)
    status, _, err = _run(capsys, *call)
    assert status == 0
    assert err == (
        "skrdae detect: warning: the training did not settle: compare with another --seed or "
        "--model.\n"
    )
    _, _, err = _run(capsys, *call, "-v")
    assert "ConvergenceWarning: raise max_iter or tol" in err

    def fails(self, X):
        raise ValueError("gives scores that are not finite. Lower lr")

    monkeypatch.setattr(RobustPCA, "fit", fails)
    status, out, err = _run(capsys, *call)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "the training failed on this table. Another --model or --seed may do" in err


def test_tables_that_say_little(tmp_path, capsys):
    for text, words in (
        ("a,b\n1,2\n", ["one row alone tells little"]),
        ("a,b\n1,2\n3,5\n", ["2 rows alone tell little"]),
        (
            "a,b\n" + "1,2\n" * 20,
            ["Columns 'a' and 'b' never change here", "all rows have the same score"],
        ),
        ("a,b\n" + "".join(f"{i * i % 7},2\n" for i in range(20)), ["Column 'b' never changes"]),
    ):
        (tmp_path / "t.csv").write_text(text)
        status, _, err = _run(capsys, "detect", tmp_path / "t.csv", "--model", "robust-pca")
        assert status == 0
        assert len(err.splitlines()) >= len(words)
        assert all(word in err for word in words)


def test_a_model_of_other_versions_is_told(folder, tmp_path, capsys, monkeypatch):
    table = read_table(folder / "numbers.csv")
    save(make_pipeline(StandardScaler(), RobustPCA()).fit(table), tmp_path / "model")
    monkeypatch.setattr("sklearn.__version__", "0.0")
    status, _, err = _run(capsys, "score", tmp_path / "model", folder / "numbers.csv")
    assert status == 0
    assert err == (
        f"skrdae score: warning: {tmp_path / 'model'} was saved with other versions of the "
        "libraries than those here: check results.\n"
    )


def test_a_result_that_nobody_can_be_told(folder, capsys, monkeypatch):
    class Full(io.StringIO):
        encoding = "ascii"

        def flush(self):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("sys.stdout", Full())
    status = main(["detect", str(folder / "numbers.csv"), "--model", "robust-pca"])
    assert (status, sys.stdout) == (1, None)
    monkeypatch.undo()
    assert "the result cannot be printed: No space left on device" in capsys.readouterr().err
