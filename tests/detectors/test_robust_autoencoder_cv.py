import copy
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from detector_contract import DetectorContract
from optional import Optional
from sklearn.base import clone
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, StratifiedKFold

import skrdae.detectors.path_fits as module
from skrdae import RobustDeepAutoencoder, RobustDeepAutoencoderCV
from skrdae.metrics import (
    agreement,
    average_precision_scorer,
    excess_mass_scorer,
    f1_scorer,
    roc_auc_scorer,
)

pd = Optional("pandas")

LAMS = np.geomspace(8, 1, 4)
MULTIPLES = ["3.0*median", "1.5*median", "0.75*median"]
FOLDS = StratifiedKFold(3, shuffle=True, random_state=0)


class TestContract(DetectorContract):
    detector = RobustDeepAutoencoderCV
    found = 5  # the sixth has no value that is far off by itself
    far = 3e3  # a logarithm is slow to grow
    brief = {"max_iter": 2}
    variants = ({"lams": 3, "n_estimators": 2}, {"lams": [4.0, 2.0], "contamination": "auto"})
    fewest_rows = 5
    wrong = (
        ({"lams": 0}, "lams"),
        ({"lams": []}, "lams"),
        ({"lams": [1.0, 3.0, 2.0]}, "sorted"),
        ({"lams": [1.0, 1.0]}, "sorted"),
        ({"lams": [1.0, -1.0]}, "lams"),
        ({"lams": [1.0, np.nan]}, "lams"),
        ({"lams": [[1.0, 2.0]]}, "lams"),
        ({"lams": [[1.0], [2.0, 3.0]]}, "lams must be a number"),
        ({"lams": "many"}, "lams"),
        ({"lams": ["2*median", 1.0]}, "but not both"),
        ({"lams": ["2*mean"]}, "lams must hold numbers"),
        ({"lams": ["1*median", "median"]}, "twice"),
        ({"lams": 2.5}, "lams"),
        ({"lams": True}, "lams"),
        ({"lams": None}, "lams"),
        ({"cv": "five"}, "cv"),
        ({"cv": 1}, "n_splits"),
        ({"scoring": "accuracy"}, "scoring"),
        ({"scoring": 3}, "scoring"),
        ({"scoring": "roc_auc"}, "pass y"),
        ({"penalty": "l3"}, "penalty"),
        ({"max_samples": 0}, "max_samples"),
        ({"hidden_layer_sizes": ()}, "hidden_layer_sizes"),
    )

    def make(self, **options):
        return super().make(**({"lams": 2, "cv": 2, "n_estimators": 2} | options))


def _grid_scores(search):
    results = search.cv_results_
    return np.array([results[f"split{i}_test_score"] for i in range(search.n_splits_)]).T


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"n_estimators": 1},
        {"penalty": "l1"},
        {"penalty": "l21_features", "contamination": "auto"},
        {"contamination": "auto", "scoring": f1_scorer},
        {"contamination": "auto", "scoring": f1_scorer, "n_estimators": 1},
        {"max_samples": 60, "scoring": average_precision_scorer},
        {"n_estimators": 2, "tol": 0.3, "max_iter": 12},
        {"max_iter": 1, "n_epochs": 3},
        {"scaler": None, "random_state": np.random.RandomState(3)},
        {"lams": MULTIPLES, "contamination": "auto", "scoring": f1_scorer},
        {"lams": MULTIPLES, "n_estimators": 1, "max_iter": 1},
        {"lams": MULTIPLES, "n_estimators": 2, "tol": 0.3, "max_iter": 12},
        {"lams": MULTIPLES, "penalty": "l21_features", "contamination": "auto"},
    ],
    ids=lambda options: ", ".join(options) or "defaults",
)
@pytest.mark.filterwarnings("ignore:scaler=None, but")
def test_it_equals_a_grid_search(options, cancer):
    X, y = cancer
    options = {"random_state": 0, "n_estimators": 3} | options
    scoring, lams = options.pop("scoring", roc_auc_scorer), options.pop("lams", LAMS)
    state = options["random_state"]
    if isinstance(state, np.random.RandomState):  # a search copies it, a fit draws from it
        options["random_state"] = np.random.RandomState(3)
    grid = GridSearchCV(
        RobustDeepAutoencoder(**options | {"random_state": state}),
        {"lam": lams},
        scoring=scoring,
        cv=FOLDS,
    ).fit(X, y)
    path = RobustDeepAutoencoderCV(lams, cv=FOLDS, scoring=scoring, **options).fit(X, y)
    assert np.array_equal(path.lams_, LAMS if lams is LAMS else [3.0, 1.5, 0.75])
    assert np.array_equal(path.scores_path_, _grid_scores(grid))
    assert path.best_lam_ == grid.best_params_["lam"]
    best = grid.best_estimator_
    assert np.array_equal(path.lam_, path.best_lam_ if lams is LAMS else best.lam_)
    assert np.array_equal(path.decision_scores_, best.decision_scores_)
    assert np.array_equal(path.labels_, best.labels_)
    assert np.array_equal(path.decompose(X)[1], best.decompose(X)[1])
    assert np.array_equal(path.transform(X), best.transform(X))
    assert path.history_ == best.history_


def test_every_number_of_every_fit_is_that_of_a_grid_search(cancer):
    X, y = cancer

    def digest(detector, X, y):
        assert torch.is_grad_enabled()
        numbers = detector.decision_function(X).sum(), detector.transform(X).sum()
        stored = detector.threshold_, detector.decision_scores_.sum(), detector.labels_.sum()
        return float(sum(numbers) + sum(stored) + detector.decompose(X)[1].sum())

    for options in ({"tol": 0.3, "max_iter": 9}, {"penalty": "l21_features"}, {"penalty": "l1"}):
        options |= {"n_estimators": 3, "contamination": "auto", "random_state": 0}
        for lams in (LAMS, MULTIPLES):
            grid = GridSearchCV(
                RobustDeepAutoencoder(**options), {"lam": lams}, scoring=digest, cv=FOLDS
            ).fit(X, y)
            path = RobustDeepAutoencoderCV(lams, cv=FOLDS, scoring=digest, **options).fit(X, y)
            assert np.array_equal(path.scores_path_, _grid_scores(grid))


@pytest.mark.parametrize("bytes_", [1, 2**20, 2**24])
def test_how_many_are_trained_at_once_changes_nothing(bytes_, cancer, monkeypatch):
    X, y = cancer
    options = {"n_estimators": 3, "max_iter": 3, "random_state": 0}
    expected = RobustDeepAutoencoderCV(LAMS, cv=FOLDS, scoring="roc_auc", **options).fit(X, y)
    monkeypatch.setattr(module, "_STACK_BYTES", bytes_)
    path = clone(expected).fit(X, y)
    assert np.array_equal(path.scores_path_, expected.scores_path_)


@pytest.mark.parametrize("penalty", ["l21", "l1", "l21_features"])
@pytest.mark.parametrize("scoring", ["roc_auc", None])
def test_folds_that_are_trained_beside_each_other_give_the_same(
    scoring, penalty, cancer, monkeypatch
):
    X, y = cancer
    X, y = X[:182], y[:182]  # folds of 36 and 37 rows, so that not all are alike
    options = {"n_estimators": 2, "max_samples": 0.5, "max_iter": 9, "tol": 0.3}
    path = RobustDeepAutoencoderCV(
        LAMS, cv=5, scoring=scoring, penalty=penalty, random_state=0, **options
    )
    expected = path.fit(X, y).scores_path_
    calls, alternate_path = [], module.alternate_path

    def counted(network, *args, **kwargs):
        calls.append(network.n_members)
        return alternate_path(network, *args, **kwargs)

    monkeypatch.setattr(module, "alternate_path", counted)
    # As on a GPU with room for three.
    monkeypatch.setattr(module, "_room_for", lambda beginning, n_folds: n_folds <= 3)
    found = clone(path).fit(X, y)
    assert np.array_equal(found.scores_path_, expected)
    assert found.lam_ == path.lam_
    assert sorted(calls) == [4, 6]


def test_names_and_callables_are_the_same(cancer):
    X, y = cancer
    scorings = "roc_auc", roc_auc_scorer, lambda detector, X, y: detector.score(X, y)
    path = RobustDeepAutoencoderCV(LAMS, cv=FOLDS, n_estimators=2, random_state=0)
    first, second, third = (
        clone(path).set_params(scoring=scoring).fit(X, y).scores_path_ for scoring in scorings
    )
    assert np.array_equal(first, second)
    assert np.array_equal(first, third)


def test_a_number_of_folds_is_shuffled_and_stratified(cancer):
    X, y = cancer
    order = np.argsort(y, kind="stable")  # the worst case for folds in order
    X, y = X[order], y[order]
    for cv, n_folds in ((None, 5), (3, 3)):
        detector = RobustDeepAutoencoderCV(
            LAMS, cv=cv, scoring="roc_auc", n_estimators=2, random_state=7
        ).fit(X, y)
        folds = StratifiedKFold(n_folds, shuffle=True, random_state=7)
        expected = clone(detector).set_params(cv=folds).fit(X, y)
        assert np.array_equal(detector.scores_path_, expected.scores_path_)
    without = RobustDeepAutoencoderCV(LAMS, cv=3, n_estimators=2, random_state=7).fit(X)
    folds = KFold(3, shuffle=True, random_state=7)
    assert np.array_equal(
        without.scores_path_, clone(without).set_params(cv=list(folds.split(X))).fit(X).scores_path_
    )


def test_the_bar_shows_the_path(plane, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")  # or a fast fit's rate leaves no room for the score
    y = np.arange(len(plane)) < 6
    options = {"n_estimators": 1, "max_iter": 1, "random_state": 0, "verbose": 1}
    RobustDeepAutoencoderCV([4.0, 2.0], cv=FOLDS, scoring="roc_auc", **options).fit(plane, y)
    assert re.search(r"λ path: 100%.* 6/6 .*lam=2, score=\d", capsys.readouterr().err)


# ------------------------------------------------------------------------------------ the grid


@pytest.mark.parametrize("n_estimators", [1, 2])
@pytest.mark.parametrize("penalty", ["l21", "l1", "l21_features"])
def test_the_grid_starts_where_s_stays_empty(penalty, n_estimators, plane):
    options = {"penalty": penalty, "n_estimators": n_estimators, "contamination": "auto"}
    options["random_state"] = 0
    path = RobustDeepAutoencoderCV(6, cv=2, **options).fit(plane)
    assert len(path.lams_) == 6
    np.testing.assert_allclose(path.lams_[1:] / path.lams_[:-1], path.lams_[1] / path.lams_[0])
    assert path.lams_[0] == pytest.approx(path.lam_max_)
    plain = RobustDeepAutoencoder(np.inf, **options).fit(plane)
    at_top = RobustDeepAutoencoder(f"{path.lam_max_!r}*median", **options).fit(plane)
    under = RobustDeepAutoencoder(f"{0.999 * path.lam_max_!r}*median", **options).fit(plane)
    assert not any(row["sparse_share"] for row in at_top.history_)
    assert any(row["sparse_share"] for row in under.history_)
    assert np.array_equal(at_top.decision_scores_, plain.decision_scores_)
    assert not at_top.labels_.any()
    assert path.lams_[-1] == 1  # at the other end λ is the median itself
    one = RobustDeepAutoencoderCV(1, cv=2, **options).fit(plane)
    assert one.best_lam_ == f"{path.lam_max_!r}*median"


def test_rising_and_falling_grids_agree(cancer):
    X, y = cancer
    options = {"cv": FOLDS, "scoring": "roc_auc", "n_estimators": 2, "random_state": 0}
    falling = RobustDeepAutoencoderCV(LAMS, **options).fit(X, y)
    rising = RobustDeepAutoencoderCV(LAMS[::-1].tolist(), **options).fit(X, y)
    assert np.array_equal(falling.scores_path_, rising.scores_path_[::-1])
    infinite = RobustDeepAutoencoderCV([np.inf, 8.0], **options).fit(X, y)
    assert np.array_equal(infinite.scores_path_[1], falling.scores_path_[0])


# ------------------------------------------------------------------------------ without labels


def test_without_labels_it_takes_what_agrees_with_the_others(cancer):
    X, y = cancer
    folds = list(FOLDS.split(X, y))
    path = RobustDeepAutoencoderCV(LAMS, cv=folds, n_estimators=2, random_state=0).fit(X, y)
    expected = []
    for train, test in FOLDS.split(X, y):
        fits = [
            RobustDeepAutoencoder(lam, n_estimators=2, random_state=0).fit(X[train]) for lam in LAMS
        ]
        expected.append(agreement([fit.decision_function(X[test]) for fit in fits]))
    assert np.array_equal(path.scores_path_, np.transpose(expected))
    # y is not looked at, whatever it holds.
    for other in (None, np.arange(len(X)), np.array(["a"] * len(X))):
        assert np.array_equal(clone(path).fit(X, other).scores_path_, path.scores_path_)
    clone(path).set_params(cv=2).fit(X, np.zeros(3))


def test_label_free_scorers_work(plane):
    path = RobustDeepAutoencoderCV(
        [8.0, 1.0], cv=2, scoring=excess_mass_scorer, n_estimators=2, random_state=0
    ).fit(plane[:, :3])
    assert np.isfinite(path.scores_path_).all()


# ----------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (None, "pass y"),
        (np.where(np.arange(300) < 9, -1, 1), "y == -1"),
        (np.arange(300), "0 .normal. and 1"),
        (np.zeros(300), "0 anomalies in y"),
        (np.ones(300), "normal rows"),
        (np.zeros(299), "inconsistent"),
    ],
)
@pytest.mark.filterwarnings("ignore:The least populated class:UserWarning")
def test_labels_have_to_fit(y, words, plane):
    detector = RobustDeepAutoencoderCV(LAMS, scoring="roc_auc", random_state=0)
    before = vars(detector).copy()
    with pytest.raises(ValueError, match=words):
        detector.fit(plane, y)
    assert vars(detector) == before


def test_folds_without_anomalies_are_named_before_anything_is_trained(plane, monkeypatch):
    monkeypatch.setattr(module, "alternate_path", None)
    y = (np.arange(300) < 6).astype(int)
    detector = RobustDeepAutoencoderCV(LAMS, cv=KFold(3), scoring="roc_auc")
    with pytest.raises(ValueError, match="no anomalies in the test part of fold 1"):
        detector.fit(plane, y)


@pytest.mark.parametrize(
    ("cv", "words"),
    [
        ([], "no folds"),
        ([([], [1, 2])], "empty one"),
        ([([1, 2], [])], "empty one"),
        ([([1, 2], [999])], "could not split"),
        ([1, 2], "could not split"),
        (KFold, "not the class"),
        (StratifiedKFold(2), "needs y"),
        (GroupKFold(2), "groups"),
    ],
)
def test_folds_that_are_none_are_named(cv, words, plane):
    with pytest.raises((ValueError, TypeError), match=words):
        RobustDeepAutoencoderCV(LAMS, cv=cv, n_estimators=1).fit(plane)


def test_folds_are_places_or_masks_and_a_generator_is_used_once(plane):
    options = {"n_estimators": 1, "random_state": 0}
    places = [(np.arange(150), np.arange(150, 300)), (np.arange(150, 300), np.arange(150))]
    expected = RobustDeepAutoencoderCV(LAMS, cv=places, **options).fit(plane).scores_path_
    first = np.arange(300) < 150
    masks = [(first, ~first), (~first, first)]
    given = RobustDeepAutoencoderCV(LAMS, cv=masks, **options).fit(plane)
    assert np.array_equal(given.scores_path_, expected)
    generator = RobustDeepAutoencoderCV(LAMS, cv=(fold for fold in places), **options)
    assert np.array_equal(generator.fit(plane).scores_path_, expected)
    with pytest.raises(ValueError, match="once only"):
        generator.fit(plane)


def test_a_scoring_that_is_no_number(plane):
    detector = RobustDeepAutoencoderCV(LAMS, cv=2, scoring=lambda d, X: "good", n_estimators=1)
    with pytest.raises(TypeError, match="must return a number"):
        detector.fit(plane)


def test_warnings_point_to_the_call(plane):
    detector = RobustDeepAutoencoderCV(
        LAMS, cv=2, n_estimators=1, max_samples=10_000, output_activation="sigmoid", tol=1e-9
    )
    with pytest.warns() as found:
        detector.fit(plane)
    assert len(found) >= 3
    assert {warning.filename for warning in found} == {__file__}


def test_a_scoring_that_is_always_nan(plane):
    wide = np.random.default_rng(0).normal(size=(60, 300))
    detector = RobustDeepAutoencoderCV(
        [8.0, 1.0], cv=2, scoring=excess_mass_scorer, n_estimators=1, random_state=0
    )
    with (
        pytest.warns(UndefinedMetricWarning),
        pytest.raises(ValueError, match="gave NaN"),
    ):
        detector.fit(wide)


# -------------------------------------------------------------------------------------- memory

_PEAK = """
import sys
from pathlib import Path
import numpy as np, torch
torch.set_num_threads(1)
from skrdae import RobustDeepAutoencoderCV
import skrdae.detectors.path_fits as module

def memory(key):
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if key in x)
    return 1024 * int(line.split()[1])

for limit, options in eval(sys.argv[1]):
    X = np.random.default_rng(0).normal(size=options.pop("size")).astype(np.float32)
    brief = {"activation": "relu", "max_iter": 1, "n_epochs": 1}
    detector = RobustDeepAutoencoderCV(
        [9.0, 8.0], cv=2, n_estimators=2, device="cpu", random_state=0, **brief
    )
    detector.fit(X[:500])
    module._STACK_BYTES = limit
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    detector.set_params(lams=np.geomspace(9, 3, 16), n_estimators=4, **options).fit(X)
    print(memory("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
def test_memory_is_bounded():
    matrices = {"size": (6000, 40), "hidden_layer_sizes": (1,)}  # of 64 members: 92 MB
    weights = {"size": (60, 80), "hidden_layer_sizes": (256, 16)}  # and their copies: 84 MB
    small = {"max_samples": 64, "hidden_layer_sizes": (1,)}
    scores = {"size": (60_000, 5), **small}  # of 30,000 rows each: 31 MB
    cases = [(2**24, case) for case in (scores, weights, matrices)]
    cases += [(2**28, case) for case in (weights, matrices)]
    command = [sys.executable, "-c", _PEAK, repr(cases)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=120)
    found = done.stdout.split()
    limited, large = [int(peak) for peak in found[:3]], [int(peak) for peak in found[3:]]
    assert max(limited) < 60e6
    # Where more is allowed more is taken, or the limit would be no limit.
    for little, much in zip(limited[1:], large, strict=True):
        assert 2 * little < much < 2**28


# ------------------------------------------------------------------------------------- devices


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("penalty", ["l21", "l1", "l21_features"])
def test_gpu_agrees_with_cpu(penalty, cancer):
    X, y = cancer
    for options in ({}, {"tol": 0.3, "max_iter": 9}):  # with members that leave
        paths = [
            RobustDeepAutoencoderCV(
                4,
                cv=FOLDS,
                scoring="roc_auc",
                penalty=penalty,
                contamination="auto",
                device=device,
                random_state=0,
                **options,
            ).fit(X, y)
            for device in ("cuda", "cpu")
        ]
        np.testing.assert_allclose(paths[0].lams_, paths[1].lams_, rtol=1e-2)
        np.testing.assert_allclose(paths[0].scores_path_, paths[1].scores_path_, atol=0.02)
        assert copy.deepcopy(paths[0]).device_.type == "cuda"


def test_constant_columns_are_told_once():
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 3)), columns=["a", "b", "c"])
    X["b"] = 1.0
    with pytest.warns(UserWarning, match="are constant: 'b'") as caught:
        RobustDeepAutoencoderCV(2, cv=3, n_estimators=1, max_iter=1, random_state=0).fit(X)
    assert len([w for w in caught if "constant" in str(w.message)]) == 1
