"""The figures in tables of README and of two guides are those of a CSV in benchmarks/results."""

import csv
import re
from statistics import mean
from typing import NamedTuple

import pytest
from pages import ROOT, prose, tables

README, GUIDE = ROOT / "README.md", ROOT / "docs" / "which_detector.md"
ALARMS = ROOT / "docs" / "false_alarms.md"
BENCHMARKS = ROOT / "docs" / "benchmarks.md"
MONITORING = ROOT / "docs" / "monitoring.md"
SPEED = ROOT / "docs" / "speed.md"
SCALING = ROOT / "docs" / "scaling_out.md"


def read(name):
    """Return the rows of a CSV."""
    with (ROOT / "benchmarks" / "results" / f"{name}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def plain(cell):
    """Return a cell without its markup."""
    return re.sub(r"[`*]", "", cell)


class Column(NamedTuple):
    """Where the figures of a column come from: a column of a CSV, of rows that meet conditions."""

    csv: str
    figure: str
    rows: dict = {}


class Traced(NamedTuple):
    """A table: its page, its header, what its rows are called in CSVs, and its columns."""

    page: object
    header: str
    key: str
    names: dict
    columns: dict


ADBENCH = "adbench_summary"
OWN_1, OWN_10 = {"labels": "contamination 0.01"}, {"labels": "contamination 0.1"}
BY_P_VALUE = {"labels": "max_fpr 0.01"}
OTHER, SAME = {"fitted_to": "another series"}, {"fitted_to": "this series"}
STEPS = ("white noise", "AR(1), 0.9", "sine and noise", "daily rhythm", "8 channels")
CONV = {"share": "0.0500", "detector": "robust"}
L1 = "mnist_l1_conv_summary"
NAB = ("nab_scores_summary", {"series": "mean"})
SERIES = {
    "WindowedDetector(RobustDeepAutoencoder())": {"detector": "RobustDeepAutoencoder"},
    "WindowedDetector(LSTMRobustAutoencoder())": {"detector": "LSTMRobustAutoencoder"},
    'WindowedDetector(LSTMRobustAutoencoder(cell="gru"))': {
        "detector": "LSTMRobustAutoencoder, GRU"
    },
    "WindowedDetector(TransformerRobustAutoencoder())": {
        "detector": "TransformerRobustAutoencoder"
    },
    **{
        f"WindowedDetector({name}())": {"detector": name}
        for name in ("USADDetector", "LSTMVAEDetector", "OmniAnomalyDetector")
    },
    "WindowedDetector(IForest()) of PyOD": {"detector": "PyOD IForest in WindowedDetector"},
}
COSTS = {
    "RobustDeepAutoencoder()": {"data": "table", "detector": "RobustDeepAutoencoder"},
    "RobustPCA()": {"data": "table", "detector": "RobustPCA"},
    "RobustDeepAutoencoderCV()": {"data": "table", "detector": "RobustDeepAutoencoderCV"},
    "VAEDetector()": {"data": "table", "detector": "VAEDetector"},
    "AnoGANDetector()": {"data": "table", "detector": "AnoGANDetector"},
    "RobustDeepAutoencoder(scaler=None, max_iter=10, n_epochs=10)": {
        "data": "images",
        "detector": "RobustDeepAutoencoder",
    },
    "WindowedDetector(RobustDeepAutoencoder())": {
        "data": "series",
        "detector": "RobustDeepAutoencoder",
    },
    "WindowedDetector(TransformerRobustAutoencoder())": {
        "data": "series",
        "detector": "TransformerRobustAutoencoder",
    },
}
#: a CSV and what others call a detector → what it is called there
ALIASES = {
    ("costs", "PyOD IForest in WindowedDetector"): "PyOD IForest",
    ("adbench_summary", "AnoGANDetector, search"): "AnoGANDetector search",
}


def steps_of_series(*levels):
    """Return the columns of a table of the rates of steps."""
    thresholds = {"own, newest": "own, newest", "newest": "calibrated, newest"}
    return {
        f"{name} {level}": Column(
            "calibration_series", "rate", {"threshold": threshold, "level": f"{level:.4f}"}
        )
        for name, threshold in (thresholds | {"all": "calibrated, all"}).items()
        for level in levels
    }


def planted(key, name):
    """Return the table of what detectors lose on some data to anomalies planted in them."""
    figures = {"": "roc_auc", "lost, ": "loss", "of plain, ": "loss_to_plain"}
    columns = {
        f"{what}{share} %": Column(name, figure, {"share": f"{share / 100:.4f}"})
        for what, figure in (figures | {"below clean, ": "short_to_plain"}).items()
        for share in ((0, 20, 30) if not what else (20, 30))
    }
    names = {row["detector"]: {"detector": row["detector"]} for row in read(name)}
    return Traced(BENCHMARKS, " | ".join([key, *columns]), key, names, columns)


CLEAN, CLEAN_OTHERS = "adbench_clean_summary", "adbench_clean_report_summary"
TABLES = [
    planted("digits", "contamination_summary"),
    planted("ten sets", "contamination_adbench_summary"),
    planted("ten other sets", "contamination_report_summary"),
    Traced(
        SCALING,
        "rows | X, MB | first pass, MB | training, MB",
        "rows",
        {f"{n:,}": {"n_rows": f"{n}"} for n in (100_000, 1_000_000, 10_000_000)},
        {
            "X, MB": Column("cluster_traffic", "megabytes_of_X"),
            "first pass, MB": Column("cluster_traffic", "first_pass_megabytes"),
            "training, MB": Column("cluster_traffic", "training_megabytes"),
        },
    ),
    Traced(
        SCALING,
        "workers | fit, s | scoring, s | both, s | times as fast",
        "workers",
        {},
        {
            "fit, s": Column("cluster_workers", "fit_seconds"),
            "scoring, s": Column("cluster_workers", "score_seconds"),
            "both, s": Column("cluster_workers", "seconds"),
            "times as fast": Column("cluster_workers", "times_as_fast"),
        },
    ),
    Traced(
        SCALING,
        "workers killed | fit, s | scoring, s | a worker, GB | the client, GB",
        "workers killed",
        {n: {"workers_killed": n} for n in ("0", "2")},
        {
            "fit, s": Column("cluster_parquet", "fit_seconds"),
            "scoring, s": Column("cluster_parquet", "score_seconds"),
            "a worker, GB": Column("cluster_parquet", "worker_peak_gigabytes"),
            "the client, GB": Column("cluster_parquet", "client_peak_gigabytes"),
        },
    ),
    Traced(
        SCALING,
        "members | pickled, kB a member | merge, s | scoring, µs a row",
        "members",
        {},
        {
            "pickled, kB a member": Column("cluster_merge", "kilobytes_a_member"),
            "merge, s": Column("cluster_merge", "merge_seconds"),
            "scoring, µs a row": Column("cluster_merge", "microseconds_to_score_a_row"),
        },
    ),
    Traced(
        SCALING,
        "set | one fit | as it lies | shuffled | two seeds apart",
        "set",
        {},
        {
            name: Column("cluster_quality_summary", name)
            for name in ("one fit", "as it lies", "shuffled", "two seeds apart")
        },
    ),
    Traced(
        BENCHMARKS,
        "detector | ROC AUC, 22 | AP, 22 | rank, 22 | ROC AUC, 21 | AP, 21 | rank, 21 | seconds",
        "detector",
        {},
        {
            "ROC AUC, 22": Column(CLEAN, "roc_auc"),
            "AP, 22": Column(CLEAN, "average_precision"),
            "rank, 22": Column(CLEAN, "rank"),
            "ROC AUC, 21": Column(CLEAN_OTHERS, "roc_auc"),
            "AP, 21": Column(CLEAN_OTHERS, "average_precision"),
            "rank, 21": Column(CLEAN_OTHERS, "rank"),
            "seconds": Column(CLEAN, "seconds"),
        },
    ),
    Traced(
        BENCHMARKS,
        "detector | beside | window | n_channels | ours, s | theirs, s | times as fast",
        "detector, window, n_channels",
        {},
        {
            "ours, s": Column("sequences_speed", "seconds"),
            "theirs, s": Column("sequences_speed", "seconds_beside"),
            "times as fast": Column("sequences_speed", "ratio"),
        },
    ),
    Traced(
        SPEED,
        "measured | times the CPU | seconds on the GPU",
        "measured",
        {},
        {"times the CPU": Column("gpu", "figure"), "seconds on the GPU": Column("gpu", "seconds")},
    ),
    Traced(SPEED, "measured | figure | unit", "measured", {}, {"figure": Column("gpu", "figure")}),
    Traced(
        README,
        "your data | detector | seconds a fit",
        "detector",
        COSTS,
        {"seconds a fit": Column("costs", "fit_s")},
    ),
    Traced(
        README,
        "detector | mean ROC AUC | mean AP | mean rank of 18",
        "detector",
        {},
        {
            "mean ROC AUC": Column(ADBENCH, "roc_auc"),
            "mean AP": Column(ADBENCH, "average_precision"),
            "mean rank of 18": Column(ADBENCH, "rank"),
        },
    ),
    Traced(
        README,
        "detector | ROC AUC | AP | VUS-PR",
        "detector",
        SERIES,
        {
            "ROC AUC": Column(NAB[0], "roc_auc", NAB[1]),
            "AP": Column(NAB[0], "average_precision", NAB[1]),
            "VUS-PR": Column(NAB[0], "vus_pr", NAB[1]),
        },
    ),
    Traced(
        GUIDE,
        "detector | ROC AUC | AP | fit, s | times | scoring, s",
        "detector",
        {},
        {
            "ROC AUC": Column(ADBENCH, "roc_auc"),
            "AP": Column(ADBENCH, "average_precision"),
            "fit, s": Column("costs", "fit_s", {"data": "table"}),
            "times": Column("costs", "times_robust", {"data": "table"}),
            "scoring, s": Column("costs", "score_s", {"data": "table"}),
        },
    ),
    Traced(
        GUIDE,
        "detector | F1 | ROC AUC | AP | seconds a fit",
        "detector",
        {},
        {
            "F1": Column("mnist_detectors_summary", "f1"),
            "ROC AUC": Column("mnist_detectors_summary", "roc_auc"),
            "AP": Column("mnist_detectors_summary", "average_precision"),
            "seconds a fit": Column("mnist_detectors_summary", "seconds"),
        },
    ),
    Traced(
        GUIDE,
        'pixels | scaler=None | scaler="robust"',
        "pixels",
        {f"0 to {largest}": {"largest": f"{largest}"} for largest in (1, 16, 255)},
        {
            "scaler=None": Column("pixels_summary", "roc_auc", {"setting": "scaler=None"}),
            'scaler="robust"': Column("pixels_summary", "roc_auc", {"setting": "scaler='robust'"}),
        },
    ),
    Traced(
        GUIDE,
        "detector | ROC AUC | AP | VUS-PR | fit, s | times | scoring, s",
        "detector",
        SERIES,
        {
            "ROC AUC": Column(NAB[0], "roc_auc", NAB[1]),
            "AP": Column(NAB[0], "average_precision", NAB[1]),
            "VUS-PR": Column(NAB[0], "vus_pr", NAB[1]),
            "fit, s": Column("costs", "fit_s", {"data": "series"}),
            "times": Column("costs", "times_robust", {"data": "series"}),
            "scoring, s": Column("costs", "score_s", {"data": "series"}),
        },
    ),
    Traced(
        BENCHMARKS,
        "digit, convolutional | draws | F1 | AP | ROC AUC | seconds a fit",
        "digit, convolutional",
        {name: {"digit": name} | CONV for name in [*map(str, range(10)), "mean"]},
        {
            "F1": Column("conv_mnist_summary", "f1"),
            "AP": Column("conv_mnist_summary", "average_precision"),
            "ROC AUC": Column("conv_mnist_summary", "roc_auc"),
            "seconds a fit": Column("conv_mnist_summary", "seconds"),
        },
    ),
    Traced(
        BENCHMARKS,
        "corrupted | network | error, plain | error, robust | λ | less error | accuracy, plain | "
        "accuracy, robust",
        "corrupted, network",
        {
            f"{share} %, {network}": {"share": f"{share / 100:.4f}", "network": network}
            for share in (10, 25, 50)
            for network in ("dense", "conv")
        },
        {
            "error, plain": Column(L1, "error_plain"),
            "error, robust": Column(L1, "error_robust"),
            "λ": Column(L1, "lam_of_error"),
            "less error": Column(L1, "error_reduction"),
            "accuracy, plain": Column(L1, "accuracy_plain"),
            "accuracy, robust": Column(L1, "accuracy_robust"),
        },
    ),
    Traced(
        BENCHMARKS,
        "pixels | scaler | ROC AUC | AP | ROC AUC, digit 4",
        "pixels, scaler",
        {
            "0 to 1, None": {"largest": "1", "setting": "scaler=None"},
            "0 to 1, None, sigmoid output": {"largest": "1", "setting": "scaler=None, sigmoid"},
            "0 to 16, None": {"largest": "16", "setting": "scaler=None"},
            "0 to 255, None": {"largest": "255", "setting": "scaler=None"},
            'any of these, "robust" (default)': {"setting": "scaler='robust'"},
        },
        {
            "ROC AUC": Column("pixels_summary", "roc_auc"),
            "AP": Column("pixels_summary", "average_precision"),
            "ROC AUC, digit 4": Column("pixels_summary", "roc_auc_of_fours"),
        },
    ),
    Traced(
        BENCHMARKS,
        "inference | ROC AUC | AP | fit, s | scoring, s",
        "inference",
        {},
        {
            "ROC AUC": Column("anogan_inference", "roc_auc"),
            "AP": Column("anogan_inference", "average_precision"),
            "fit, s": Column("anogan_inference", "fit_s"),
            "scoring, s": Column("anogan_inference", "score_s"),
        },
    ),
    Traced(
        BENCHMARKS,
        "code | sparsity | ROC AUC | AP | units near zero | seconds a fit",
        "code, sparsity",
        {},
        {
            "ROC AUC": Column("sparse_codes_summary", "roc_auc"),
            "AP": Column("sparse_codes_summary", "average_precision"),
            "units near zero": Column("sparse_codes_summary", "near_zero"),
            "seconds a fit": Column("sparse_codes_summary", "seconds"),
        },
    ),
    Traced(
        BENCHMARKS,
        "group | cases | number: refit | best | multiple: refit | best of multiples",
        "group",
        {},
        {
            "cases": Column("carrying_lam_summary", "cases", {"unit": "number"}),
            "number: refit": Column("carrying_lam_summary", "f1_refit", {"unit": "number"}),
            "best": Column("carrying_lam_summary", "f1_best", {"unit": "number"}),
            "multiple: refit": Column("carrying_lam_summary", "f1_refit", {"unit": "multiple"}),
            "best of multiples": Column("carrying_lam_summary", "f1_best", {"unit": "multiple"}),
        },
    ),
    Traced(
        BENCHMARKS,
        "detector | chosen | F1 | ROC AUC | AP",
        "detector",
        {},
        {name: Column("demo", name) for name in ("F1", "ROC AUC", "AP")},
    ),
    Traced(
        BENCHMARKS,
        "n_channels | channels | ROC AUC | lowest | ROC AUC, training series | flagged | false | "
        "named",
        "n_channels, channels",
        {
            f"{n}, {how}": {"n_channels": f"{n}", "channels": how}
            for n in (1, 2, 5, 25, 60)
            for how in ("joint", "both", "loudest")
        },
        {
            "ROC AUC": Column("channels_summary", "roc_auc"),
            "lowest": Column("channels_summary", "lowest_roc_auc"),
            "ROC AUC, training series": Column("channels_summary", "roc_auc_training"),
            "flagged": Column("channels_summary", "flagged"),
            "false": Column("channels_summary", "false"),
            "named": Column("channels_summary", "named"),
        },
    ),
    Traced(
        BENCHMARKS,
        "detector | seeds | F1 | false alarms | missed | ROC AUC | VUS-PR",
        "detector",
        {},
        {
            "seeds": Column("skab_summary", "fits"),
            "F1": Column("skab_summary", "f1"),
            "false alarms": Column("skab_summary", "false_alarms"),
            "missed": Column("skab_summary", "missed"),
            "ROC AUC": Column("skab_summary", "roc_auc"),
            "VUS-PR": Column("skab_summary", "vus_pr"),
        },
    ),
    Traced(
        ALARMS,
        "data | rows | columns | detector | own 0.01 | calibrated 0.01 | own 0.05 | "
        "calibrated 0.05 | own 0.1 | calibrated 0.1",
        "data, rows, columns, detector",
        {
            f"t, 3 degrees of freedom, {n}, 20, {name}": {
                "data": "t, 3 degrees of freedom",
                "rows": f"{n}",
                "columns": "20",
                "detector": name,
            }
            for n in (1000, 10_000)
            for name in ("RobustDeepAutoencoder", "VAEDetector", "RobustPCA")
        },
        {
            f"{threshold} {level}": Column(
                "calibration_rates", "rate", {"threshold": threshold, "level": f"{level:.4f}"}
            )
            for threshold in ("own", "calibrated")
            for level in (0.01, 0.05, 0.1)
        },
    ),
    Traced(
        ALARMS,
        "training data | labels | false discoveries | anomalies found | normal rows flagged",
        "training data, labels",
        {
            f"{data}, {label}": {"contamination of the training data": share, "labels": name}
            for data, share in (("normal rows only", "0.0000"), ("10 % anomalies", "0.1000"))
            for label, name in (
                ("fdr_labels, 0.1", "fdr_labels"),
                ("p-values up to 0.05", "p-values"),
                ("own threshold, 0.05", "own threshold"),
            )
        },
        {
            "false discoveries": Column("calibration_discoveries", "false_discoveries"),
            "anomalies found": Column("calibration_discoveries", "anomalies_found"),
            "normal rows flagged": Column("calibration_discoveries", "normal_flagged"),
        },
    ),
    Traced(
        ALARMS,
        "series | detector | own, newest 0.01 | newest 0.01 | all 0.01 | own, newest 0.05 | "
        "newest 0.05 | all 0.05",
        "series, detector",
        {
            f"{kind}, {name}": {"series": kind, "detector": name, "steps": "4000"}
            for kind in STEPS
            for name in ("RobustDeepAutoencoder", "RobustPCA")
        },
        steps_of_series(0.01, 0.05),
    ),
    Traced(
        ALARMS,
        "series | own, newest 0.001 | newest 0.001 | all 0.001 | own, newest 0.01 | newest 0.01 | "
        "all 0.01 | own, newest 0.05 | newest 0.05 | all 0.05",
        "series",
        {kind: {"series": kind, "steps": "20000"} for kind in STEPS},
        steps_of_series(0.001, 0.01, 0.05),
    ),
    Traced(
        ALARMS,
        "series | window | spikes | own 0.01 | false steps | own 0.1 | false, 0.1 | calibrated | "
        "false rate | same series, 0.01 | same series, 0.1",
        "series, window, spikes",
        {
            f"AR(1), 0.9, {w}, {n}": {"series": "AR(1), 0.9", "window": f"{w}", "spikes": f"{n}"}
            for w in (24, 60)
            for n in (5, 50)
        },
        {
            "own 0.01": Column("calibration_spikes", "flagged", OWN_1 | OTHER),
            "false steps": Column("calibration_spikes", "false_steps", OWN_1 | OTHER),
            "own 0.1": Column("calibration_spikes", "flagged", OWN_10 | OTHER),
            "false, 0.1": Column("calibration_spikes", "false_steps", OWN_10 | OTHER),
            "calibrated": Column("calibration_spikes", "flagged", BY_P_VALUE | OTHER),
            "false rate": Column("calibration_spikes", "false_rate", BY_P_VALUE | OTHER),
            "same series, 0.01": Column("calibration_spikes", "flagged", OWN_1 | SAME),
            "same series, 0.1": Column("calibration_spikes", "flagged", OWN_10 | SAME),
        },
    ),
    Traced(
        ALARMS,
        "series | window | end | flagged, own 0.01 | located, own 0.01 | located, own 0.1 | "
        "flagged, calibrated | located, calibrated",
        "series, window, end",
        {
            f"AR(1), 0.9, 24, {end}": {"series": "AR(1), 0.9", "window": "24", "end": end}
            for end in ("beginning", "end")
        },
        {
            "flagged, own 0.01": Column("calibration_ends", "flagged", OWN_1),
            "located, own 0.01": Column("calibration_ends", "located", OWN_1),
            "located, own 0.1": Column("calibration_ends", "located", OWN_10),
            "flagged, calibrated": Column("calibration_ends", "flagged", BY_P_VALUE),
            "located, calibrated": Column("calibration_ends", "located", BY_P_VALUE),
        },
    ),
    Traced(
        MONITORING,
        "seed | faults found | sensor named | false alarms | time of a step, ms | "
        "memory after a day, MB | after 30 days, MB",
        "seed",
        {},
        {
            "faults found": Column("plant_summary", "found"),
            "sensor named": Column("plant_summary", "named"),
            "false alarms": Column("plant_summary", "false_alarms"),
            "time of a step, ms": Column("plant_summary", "cpu_ms_median"),
            "memory after a day, MB": Column("plant_summary", "mb_first_day"),
            "after 30 days, MB": Column("plant_summary", "mb_last_day"),
        },
    ),
    Traced(
        BENCHMARKS,
        "data | detector | fit, s | times | scoring, s",
        "data, detector",
        {},
        {
            "fit, s": Column("costs", "fit_s"),
            "times": Column("costs", "times_robust"),
            "scoring, s": Column("costs", "score_s"),
        },
    ),
]


def _id(table):
    return f"{table.page.name}: {table.header}"


def find(table):
    """Return the rows of a table as dicts, plain but for the marks of the best."""
    for header, rows in tables(table.page):
        header = [plain(cell) for cell in header]
        if " | ".join(header) == table.header:
            return [dict(zip(header, row, strict=True)) for row in rows]
    raise AssertionError(f"{_id(table)}: no such table")


def conditions(table, row):
    """Return what the row's key is in a CSV."""
    keys = [table.key] if table.key in row else table.key.split(", ")
    name = ", ".join(plain(row[key]) for key in keys)
    return table.names.get(name) or {key: plain(row[key]) for key in keys}


def values(column, wanted):
    """Return the figures of the rows of a CSV that meet the conditions."""
    wanted = wanted | column.rows
    alias = ALIASES.get((column.csv, wanted.get("detector")))
    if alias:
        wanted["detector"] = alias
    return {
        row[column.figure]
        for row in read(column.csv)
        if all(row[key] == value for key, value in wanted.items())
    }


@pytest.mark.parametrize("table", TABLES, ids=_id)
def test_figures_are_those_of_the_csv(table):
    for row in find(table):
        wanted = conditions(table, row)
        for name, column in table.columns.items():
            found = values(column, wanted)
            cell = plain(row[name])
            if not cell:  # not measured, or not said
                continue
            assert len(found) == 1, f"{column.csv}.csv, {wanted}: {sorted(found)}"
            # A CSV has four decimals, so that what was rounded up to a half may be one below.
            half_a_unit = 0.5 * 10.0 ** -len(cell.partition(".")[2]) + 0.00005
            assert abs(float(cell) - float(found.pop())) <= half_a_unit, f"{wanted}, {name}"


def test_no_table_of_readme_is_left_out():
    headers = {" | ".join(map(plain, header)) for header, _ in tables(README)}
    assert headers == {table.header for table in TABLES if table.page == README}


@pytest.mark.parametrize("table", [t for t in TABLES if t.page == README], ids=_id)
def test_the_best_are_marked(table):
    rows = find(table)
    for name in set(table.columns) - {"seconds a fit"}:
        figures = [float(plain(row[name])) for row in rows]
        best = min(figures) if "rank" in name else max(figures)
        assert [f"**{plain(row[name])}**" == row[name] for row in rows] == [
            figure == best for figure in figures
        ]


def test_figures_in_the_text_of_readme():
    text = " ".join(prose(README).split())
    scores = {}
    for row in read("adbench"):
        scores.setdefault((row["dataset"], row["detector"]), []).append(float(row["roc_auc"]))
    sets = {dataset for dataset, _ in scores}
    ahead = [
        dataset
        for dataset in sets
        if mean(scores[dataset, "PyOD IForest"]) > mean(scores[dataset, "RobustDeepAutoencoder"])
    ]
    assert f"IForest is ahead on {len(ahead)} of the {len(sets)} tables" in text
    fit = next(r for r in read("speed_fit") if (r["pyod"], r["rows"]) == ("AutoEncoder", "10000"))
    assert f"{float(fit['ratio']):.0f} times as fast as PyOD's AutoEncoder" in text
