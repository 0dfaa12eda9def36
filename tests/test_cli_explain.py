"""``--explain``, ``--na``, ``--version``, and what is told of labels."""

import json
import re

import numpy as np
import pytest
from optional import Optional
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skrdae
from skrdae import OutlierAdapter, RobustPCA, save
from skrdae.cli import main
from skrdae.commands.arguments import make_parser
from skrdae.tables import read_table

pd = Optional("pandas")


def _run(capsys, *call):
    status = main([str(part) for part in call])
    out, err = capsys.readouterr()
    return status, out, err


@pytest.fixture
def plant(tmp_path):
    """A table in which row 7 has a wrong temperature, and row 20 is of a machine of its own."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"machine": rng.choice(["mill", "press"], 200)})
    table["power"] = rng.normal(50, 5, 200)
    table["temperature"] = 0.8 * table["power"] + rng.normal(size=200)
    table["speed"] = rng.normal(size=200)
    table.loc[7, "temperature"] += 90
    table.loc[20, "machine"] = "lathe"
    table.to_csv(tmp_path / "plant.csv", index=False)
    return table


CALL = ("--categories", "one-hot", "--contamination", "0.01", "--explain")


@pytest.mark.parametrize("model", ["robust-autoencoder", "robust-pca", "vae"])
def test_the_column_at_fault_is_named_first(model, plant, tmp_path, capsys):
    data, saved = tmp_path / "plant.csv", tmp_path / "model"
    files = ("-o", tmp_path / "o.csv", "--save", saved)
    call = ("detect", data, *CALL, "--model", model)
    status, out, _ = _run(capsys, *call, *files, "--json")
    assert status == 0
    anomalies = json.loads(out)["anomalies"]
    (reasons,) = (a["reasons"] for a in anomalies if a["row"] == 7)
    assert reasons[0]["column"] == "temperature"
    for anomaly in anomalies:
        shares = [reason["share"] for reason in anomaly["reasons"]]
        assert len(shares) <= 3
        assert shares == sorted(shares, reverse=True)
        assert 0 < sum(shares) <= 1 + 1e-6
    # A category counts as one column.
    assert {r["column"] for a in anomalies for r in a["reasons"]} <= {*plant.columns}
    result = read_table(tmp_path / "o.csv")
    flagged = result["skrdae_label"] == 1
    for place in (1, 2, 3):
        assert result[f"skrdae_reason_{place}"][~flagged].isna().all()
        assert result[f"skrdae_share_{place}"][~flagged].isna().all()
    assert result["skrdae_reason_1"][7] == "temperature"
    assert result["skrdae_share_1"][7] == pytest.approx(reasons[0]["share"])
    # People read it beside the score, and a saved model says the same.
    status, out, _ = _run(capsys, *call)
    assert "  reasons" in out
    assert f"  temperature {reasons[0]['share']:.0%}, " in out
    _, out, _ = _run(capsys, "score", saved, tmp_path / "o.csv", "--explain", "--json")
    assert json.loads(out)["anomalies"] == anomalies


def test_shares_are_those_of_explain(tmp_path, capsys):
    X = np.random.default_rng(0).normal(size=(60, 2))
    table = pd.DataFrame(X, columns=["a", "b"])
    table.to_csv(tmp_path / "t.csv", index=False)
    detector = RobustPCA(contamination=0.05).fit(table)
    save(detector, tmp_path / "m")
    _, out, _ = _run(capsys, "score", tmp_path / "m", tmp_path / "t.csv", "--explain", "--json")
    for anomaly in json.loads(out)["anomalies"]:
        found = detector.explain(table.iloc[[anomaly["row"]]])[0]
        told = {r["column"]: r["share"] for r in anomaly["reasons"]}
        expected = {n: s for n, s in zip("ab", found / found.sum(), strict=True) if s > 0}
        assert told == pytest.approx(expected)


def test_reasons_of_models_that_were_fitted_in_python(tmp_path, capsys):
    X = np.random.default_rng(0).normal(size=(80, 4))
    table = pd.DataFrame(X, columns=list("abcd"))
    table.loc[5, "c"] = 60
    table.to_csv(tmp_path / "t.csv", index=False)
    scaled = make_pipeline(StandardScaler(), RobustPCA(contamination=0.02))
    cases = {
        "named": scaled.fit(table),
        "bare": RobustPCA(contamination=0.02).fit(table.to_numpy()),
        "adapted": OutlierAdapter(RobustPCA(contamination=0.02)).fit(table),
    }
    for name, first in {"named": "c", "bare": "column 2", "adapted": "c"}.items():
        save(cases[name], tmp_path / name)
        call = ("score", tmp_path / name, tmp_path / "t.csv", "--explain", "--json")
        (top, *_) = json.loads(_run(capsys, *call)[1])["anomalies"]
        assert (top["row"], top["reasons"][0]["column"]) == (5, first)


@pytest.mark.parametrize("resample", [(), ("--resample", "1h")])
def test_the_channel_at_fault_is_named_for_a_stretch(resample, tmp_path, capsys):
    rng = np.random.default_rng(0)
    angles = np.arange(600) / 4
    table = pd.DataFrame({"time": pd.date_range("2026-01-01", periods=600, freq="h")})
    for name, shift in (("pressure", 0), ("level", 1), ("flow", 2)):
        table[name] = np.sin(angles + shift) + 0.1 * rng.normal(size=600)
    table.loc[400:420, "level"] = 2.5
    table.drop(index=[100, 250]).to_csv(tmp_path / "t.csv", index=False)
    call = ("--time-column", "time", "--window-size", 24, "--explain")
    gaps = resample or ("--ignore-gaps",)
    files = ("-o", tmp_path / "o.csv", "--save", tmp_path / "m")
    status, out, _ = _run(capsys, "detect", tmp_path / "t.csv", *call, *gaps, *files, "--json")
    assert status == 0
    (first, *_) = json.loads(out)["anomalies"]
    assert first["reasons"][0]["column"] == "level"
    assert first["start"] >= "2026-01-17"
    written = pd.read_csv(tmp_path / "o.csv")
    flagged = written["skrdae_label"] == 1
    assert (written.loc[flagged, "skrdae_reason_1"] == "level").mean() > 0.9
    assert written.loc[~flagged, "skrdae_reason_1"].isna().all()
    shares = written.loc[flagged, [f"skrdae_share_{k}" for k in (1, 2, 3)]].sum(axis=1)
    assert np.allclose(shares, 1)
    # The saved model says the same, and so do lines for people.
    call = ("score", tmp_path / "m", tmp_path / "t.csv", "--explain")
    assert json.loads(_run(capsys, *call, "--json")[1])["anomalies"][0] == first
    assert re.search(r"reasons\n2026-01-\d\d .*  level \d+%", _run(capsys, *call)[1])


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_reasons_of_an_earlier_result_do_not_stay(ending, plant, tmp_path, capsys):
    first, again = tmp_path / "first.csv", tmp_path / f"again.{ending}"
    call = ("--model", "robust-pca", "--categories", "one-hot")
    data = tmp_path / "plant.csv"
    assert _run(capsys, "detect", data, *call, "--explain", "-o", first)[0] == 0
    assert "skrdae_reason_1" in pd.read_csv(first).columns
    assert _run(capsys, "detect", first, *call, "-o", again)[0] == 0
    names = (pd.read_csv if ending == "csv" else pd.read_parquet)(again).columns
    assert [n for n in names if n.startswith("skrdae_")] == ["skrdae_score", "skrdae_label"]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_texts_that_mean_missing(ending, tmp_path, capsys):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"a": rng.integers(1, 9, 60), "b": rng.normal(size=60).round(3).astype(str)}
    )
    table.loc[[3, 4], "a"] = -999
    table.loc[9, "b"] = "ERR"
    path = tmp_path / f"t.{ending}"
    (table.to_csv if ending == "csv" else table.to_parquet)(path, index=False)
    call = ("detect", path, "--model", "robust-pca", "--missing", "median")
    status, _, err = _run(capsys, *call, "--na", "-999", "--na", "ERR")
    assert status == 0
    assert "'a': 2 missing values are filled in" in err
    assert "'b': 1 missing values are filled in" in err
    assert _run(capsys, *call, "--na", "-999")[0] == 1
    found = read_table(path, na=["-999", "ERR"])
    assert found["a"].isna().sum() == 2


def test_texts_that_mean_missing_beside_decimal_commas(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a;b\n1,5;2\n-999,0;3\nkaputt;-999\n2,5;4\n")
    found = read_table(path, separator=";", decimal=",", na=["kaputt", "-999"])
    np.testing.assert_array_equal(found["a"], [1.5, np.nan, np.nan, 2.5])
    np.testing.assert_array_equal(found["b"], [2, 3, np.nan, 4])


def test_columns_that_look_like_labels_are_told(plant, tmp_path, capsys):
    for name, pair in {"is_anomaly": (0, 1), "Label": ("good", "bad"), "y": (False, True)}.items():
        plant[name] = [pair[row == 7] for row in range(len(plant))]
    plant["target"] = np.arange(200.0) ** 2  # of many values: no label
    plant["power"] = 1.0 * (plant["power"] > 50)  # of two, but called otherwise
    plant.to_csv(tmp_path / "t.csv", index=False)
    call = ("detect", tmp_path / "t.csv", "--categories", "one-hot", "--model", "robust-pca")
    lines = [line for line in _run(capsys, *call)[2].splitlines() if "looks like a label" in line]
    assert [line.split("--ignore ")[1].split()[0] for line in lines] == ["is_anomaly", "y", "Label"]
    ignored = ("--ignore", "is_anomaly", "--ignore", "y", "--ignore", "Label")
    assert "looks like a label" not in _run(capsys, *call, *ignored)[2]


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"skrdae {skrdae.__version__}\n"


def test_help_of_score_names_what_only_detect_has():
    (commands,) = (a.choices for a in make_parser()._actions if isinstance(a.choices, dict))
    detect, score = ({*commands[name]._option_string_actions} for name in ("detect", "score"))
    named = {*re.findall(r"--[a-z-]+", commands["score"].description)}
    assert named == detect - score
    assert score <= detect
