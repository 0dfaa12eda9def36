"""What every detector must do. A concrete test class supplies ``detector`` and what differs."""

import copy
import io
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
import torch
from optional import Optional
from pyod.models.base import BaseDetector
from sklearn.base import clone
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError, UndefinedMetricWarning
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

pd = Optional("pandas")
pl = Optional("polars")

# How long a training is, whose results scikit-learn's checks do not look at.
LENGTHS = ("max_iter", "n_epochs", "n_encoder_epochs")


class DetectorContract:
    """Inherit, set ``detector`` (a class) and ``variants`` (keyword arguments worth checking)."""

    detector = None
    brief = {}  # short trainings, for all tests but those of the defaults
    variants = ({},)
    wrong = ()  # (keyword arguments, words the message must hold)
    after_fit = ()  # pairs of keyword arguments: fitted with, then set
    fewest_rows = 1  # that can be fitted
    for_tables = {}  # what is set to find rows in tables, if not the defaults
    found = 6  # of the six rows planted in `plane`, at least
    far = 1e3  # where one value alone puts a new row above all others

    common_wrong = (
        ({"contamination": 0.0}, "contamination"),
        ({"contamination": 0.6}, "contamination"),
        ({"contamination": "half"}, "contamination"),
        ({"contamination": np.nan}, "contamination"),
        ({"contamination": True}, "contamination"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 2.5}, "batch_size"),
        ({"lr": 0}, "lr"),
        ({"lr": "fast"}, "lr"),
        ({"n_estimators": 0}, "n_estimators"),
        ({"n_estimators": True}, "n_estimators"),
        ({"scaler": "quantile"}, "scaler"),
        ({"device": "tpu9"}, "device"),
        ({"device": 3}, "device"),
        ({"device": "cuda:99"}, "device"),
        ({"device": "meta"}, "device"),
        ({"random_state": "seed"}, "random_state"),
        ({"verbose": -1}, "verbose"),
    )

    def __init_subclass__(cls):
        cls._fits = {}

    def make(self, **options):
        return self.detector(**({"random_state": 0} | self.brief | options))

    def fitted(self, X, **options):
        """Return a fit to the rows of a fixture. Tests share it, so that none may change it."""
        key = id(X), repr(options)
        if key not in self._fits:
            self._fits[key] = self.make(**options).fit(X)
        return self._fits[key]

    # ------------------------------------------------------------------------- scikit-learn

    def test_check_estimator(self):
        with warnings.catch_warnings():
            # Some checks of scikit-learn itself warn on some versions.
            warnings.simplefilter("ignore")
            shortest = {n: 1 for n in LENGTHS if n in self.detector._get_param_names()}
            results = check_estimator(self.make(**shortest), on_fail=None, on_skip=None)
        assert len(results) > 40
        assert not [r for r in results if r["status"] not in ("passed", "skipped")]
        skipped = {r["check_name"] for r in results if r["status"] == "skipped"}
        assert skipped <= {"check_array_api_input"}

    def test_variants_keep_their_parameters_and_methods_change_nothing(self, plane):
        # What scikit-learn's checks look at, for parameters other than theirs; the tests below
        # do so for repeated fits, for rows in another order, and for few rows and columns.
        X = plane[:60].copy()
        X.flags.writeable = False
        for options in self.variants:
            detector = self.make(**options)
            before = detector.get_params().copy()
            assert detector.fit(X) is detector
            after = detector.get_params()
            assert after.keys() == before.keys()
            assert all(after[name] is before[name] for name in before), options
            assert detector.n_features_in_ == X.shape[1]
            state = vars(detector).copy()
            for method in ("decision_function", "predict", "predict_proba", "explain", "transform"):
                assert len(getattr(detector, method)(X)) == len(X)
            assert vars(detector).keys() == state.keys()
            assert all(vars(detector)[name] is state[name] for name in state), options
            with pytest.raises(ValueError, match="NaN"):
                detector.predict(np.where(np.arange(X.shape[1]) == 2, np.nan, X))

    def test_round_trips_score_the_same(self, plane):
        for options in self.variants:
            detector = self.fitted(plane, **options)
            expected = detector.decision_function(plane)
            buffer = io.BytesIO()
            joblib.dump(detector, buffer)
            buffer.seek(0)
            copies = (
                pickle.loads(pickle.dumps(detector)),
                joblib.load(buffer),
                copy.deepcopy(detector),
                clone(detector).fit(plane),
            )
            for other in copies:
                assert np.array_equal(other.decision_function(plane), expected)
                assert np.array_equal(other.predict(plane[:50]), detector.labels_[:50])

    def test_a_pickle_is_as_small_as_its_weights(self, plane):
        detector = self.fitted(plane)
        weights = sum(p.numel() * 4 for p in detector.network_.parameters())
        assert len(pickle.dumps(detector)) < 2 * weights + 8 * len(plane) * 4 + 20_000

    def test_feature_names(self, plane):
        names = [f"f{j}" for j in range(plane.shape[1])]
        expected = self.fitted(plane).decision_scores_
        for frame in (pd.DataFrame(plane, columns=names), pl.DataFrame(plane, schema=names)):
            detector = self.make().fit(frame)
            assert detector.feature_names_in_.tolist() == names
            assert np.array_equal(detector.decision_scores_, expected)
            assert np.array_equal(detector.decision_function(frame), expected)
        with pytest.raises(ValueError, match="feature names"):
            detector.predict(pd.DataFrame(plane, columns=names[::-1]))
        with pytest.raises(ValueError, match="8 features"):
            self.fitted(plane).predict(plane[:, :5])

    def test_grid_search_in_a_pipeline(self, cancer):
        X, y = cancer
        pipeline = make_pipeline(StandardScaler(), self.make(scaler=None))
        name = self.detector.__name__.lower()
        folds = StratifiedKFold(2, shuffle=True, random_state=0)
        search = GridSearchCV(pipeline, {f"{name}__lr": [1e-3, 1e-2]}, cv=folds).fit(X, y)
        assert search.best_score_ > 0.7
        assert search.best_estimator_.predict(X).shape == y.shape

    def test_not_fitted(self, plane):
        for method in ("decision_function", "predict", "predict_proba", "explain"):
            with pytest.raises(NotFittedError):
                getattr(self.make(), method)(plane)

    # ------------------------------------------------------------------- trusted twice

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("order", ["C", "F"])
    def test_the_data_are_left_as_they_are(self, plane, dtype, order):
        before = (plane[:40] / np.abs(plane).max()).astype(dtype)
        for scaler in (self.make().scaler, None):
            X = np.array(before, order=order)
            detector = self.make(scaler=scaler).fit(X)
            detector.decision_function(X)
            detector.explain(X)
            detector.transform(X)
            assert np.array_equal(X, before)
            assert X.flags.writeable

    def test_scores_do_not_depend_on_the_company(self, cancer):
        X, _ = cancer
        order = np.random.default_rng(0).permutation(len(X))
        for options in self.variants:
            detector = self.fitted(X, **options)
            scores = detector.decision_scores_
            assert np.array_equal(detector.decision_function(X), scores)
            assert np.array_equal(detector.decision_function(X[order]), scores[order])
            alone = [detector.decision_function(X[i : i + 1])[0] for i in range(20)]
            assert np.array_equal(alone, scores[:20])
            for stop in (2, 63, 64, 65, 130):
                assert np.array_equal(detector.decision_function(X[1:stop]), scores[1:stop])
            some = order[:130]
            assert np.array_equal(detector.predict(X[some]), detector.labels_[some])

    def test_two_fits_are_equal_and_global_random_state_is_untouched(self, plane):
        for options in self.variants:
            before = np.random.get_state()[1].copy(), torch.get_rng_state()
            first = self.fitted(plane, **options).decision_scores_
            second = self.make(**options).fit(plane).decision_scores_
            other = self.make(**options, random_state=1).fit(plane).decision_scores_
            self.make(**options, random_state=None).fit(plane[:40])
            assert np.array_equal(first, second)
            assert not np.array_equal(first, other)
            assert np.array_equal(before[0], np.random.get_state()[1])
            assert torch.equal(before[1], torch.get_rng_state())

    def test_a_random_state_object_draws_on(self, plane):
        state = np.random.RandomState(0)
        first = self.make(random_state=state).fit(plane).decision_scores_
        assert np.array_equal(first, self.fitted(plane).decision_scores_)
        assert not np.array_equal(first, self.make(random_state=state).fit(plane).decision_scores_)

    def test_finds_what_is_planted(self, plane, cancer):
        options = {"contamination": 0.02, "random_state": 0} | self.for_tables
        detector = self.detector(**options).fit(plane)
        assert detector.score(plane, np.arange(300) < 6) > 0.999
        assert detector.labels_[:6].sum() >= self.found
        assert detector.labels_.sum() == 6
        X, y = cancer
        assert self.fitted(X).score(X, y) > 0.85

    def test_a_failed_fit_draws_nothing(self, plane):
        state = np.random.RandomState(0)
        before = state.get_state()[1].copy()
        with pytest.raises(ValueError, match="lr"), np.errstate(all="ignore"):
            self.make(random_state=state, lr=1e38).fit(plane)
        assert np.array_equal(before, state.get_state()[1])

    def test_parameters_set_after_a_fit_wait_for_the_next(self, plane):
        detector = self.make().fit(plane)
        scores, labels = detector.decision_function(plane), detector.predict(plane)
        detector.set_params(contamination="auto", scaler=None, n_estimators=2)
        assert np.array_equal(detector.decision_function(plane), scores)
        assert np.array_equal(detector.predict(plane), labels)

        for fitted, then in self.after_fit:
            detector = self.make(**fitted).fit(plane)
            expected = detector.decision_function(plane), detector.explain(plane)
            detector.set_params(**then)
            assert np.array_equal(detector.decision_function(plane), expected[0]), then
            assert np.array_equal(detector.explain(plane), expected[1]), then

    def test_torch_defaults_do_not_matter(self, plane):
        plain = self.fitted(plane)
        expected = plain.decision_scores_
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        try:
            detector = self.make(device=plain.device_).fit(plane)
            assert np.array_equal(detector.decision_function(plane), expected)
        finally:
            torch.set_default_dtype(torch.float32)
            torch.set_default_device(None)

    def test_threads_score_the_same(self, cancer):
        X, _ = cancer
        detector = self.fitted(X)
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: detector.decision_function(X), range(8)))
        assert all(np.array_equal(scores, detector.decision_scores_) for scores in found)

    # ------------------------------------------------------------------- threshold and labels

    def test_contamination_is_the_share_flagged(self, cancer):
        X, _ = cancer
        for share in (0.01, 0.1, 0.5, np.float32(0.1)):
            detector = self.make(contamination=share).fit(X)
            assert detector.labels_.sum() == pytest.approx(share * len(X), abs=1)
            assert np.array_equal(detector.labels_, detector.decision_scores_ > detector.threshold_)
        assert np.array_equal(detector.labels_, detector.fit_predict(X))

    def test_a_pythresh_object_is_copied(self, cancer):
        IQR = pytest.importorskip("pythresh.thresholds.iqr").IQR

        X, _ = cancer
        thresholder = IQR()
        before = copy.deepcopy(vars(thresholder))
        detector = self.make(contamination=thresholder).fit(X)
        assert vars(thresholder) == before
        expected = IQR().fit(detector.decision_scores_)
        assert np.array_equal(detector.labels_, expected.labels_)
        assert np.array_equal(detector.predict(X), expected.labels_)
        assert 0 < detector.labels_.mean() < 0.5
        new = X[:50] + np.random.default_rng(0).normal(size=(50, X.shape[1])) * X.std(axis=0) / 4
        assert np.array_equal(
            detector.predict(new), expected.predict(detector.decision_function(new))
        )
        assert np.array_equal(clone(detector).fit(X).labels_, detector.labels_)
        assert not hasattr(detector.set_params(contamination=0.1).fit(X), "thresholder_")
        for wrong in (IQR, IsolationForest(), StandardScaler()):
            if hasattr(wrong, "predict"):
                with pytest.raises((ValueError, TypeError), match="contamination"):
                    self.make(contamination=wrong).fit(X)

    def test_probabilities_and_confidence_are_pyods(self, cancer):
        X, _ = cancer
        detector = self.fitted(X)
        reference = _AsPyOD(detector)
        for method in ("linear", "unify"):
            np.testing.assert_allclose(
                detector.predict_proba(X, method=method),
                reference.predict_proba(X, method=method),
                atol=1e-12,
            )
        confidence = detector.predict_confidence(X)
        np.testing.assert_allclose(confidence, reference.predict_confidence(X))
        assert ((confidence >= 0) & (confidence <= 1)).all()
        both = detector.predict_proba(X, return_confidence=True)
        assert np.array_equal(both[1], detector.predict(X, return_confidence=True)[1])
        labels, stats = detector.predict_with_rejection(X, return_stats=True)
        expected = reference.predict_with_rejection(X, return_stats=True, c_r=0.1)
        assert np.array_equal(labels, expected[0])
        np.testing.assert_allclose(stats, expected[1])
        assert set(np.unique(labels)) <= {-2, 0, 1}
        with pytest.raises(ValueError, match="method"):
            detector.predict_proba(X, method="logistic")
        for options in ({"delta": 0}, {"delta": "a"}, {"T": -3}, {"T": "a"}):
            with pytest.raises(ValueError, match=next(iter(options))):
                detector.predict_with_rejection(X, **options)

    def test_shares_add_up_to_the_score(self, cancer):
        X, _ = cancer
        for options in self.variants:
            detector = self.fitted(X, **options)
            shares = detector.explain(X).reshape(len(X), -1)  # some give steps and channels
            assert shares.shape == X.shape
            assert (shares >= 0).all()
            np.testing.assert_allclose(shares.sum(axis=1), detector.decision_scores_, rtol=1e-4)

    def test_a_planted_feature_is_named_first(self, cancer):
        X = cancer[0].copy()
        rng = np.random.default_rng(0)
        rows, columns = rng.permutation(len(X))[:10], rng.integers(0, X.shape[1], 10)
        X[rows, columns] += 15 * X.std(axis=0)[columns]
        shares = self.make().fit(X).explain(X[rows]).reshape(len(rows), -1)
        assert np.array_equal(shares.argmax(axis=1), columns)

    def test_score_is_the_area_under_the_curve(self, cancer):
        X, y = cancer
        detector = self.make().fit(X, y)
        assert detector.score(X, y) == roc_auc_score(y, detector.decision_scores_)
        assert np.array_equal(detector.decision_scores_, self.fitted(X).decision_scores_)
        assert detector.score(X, y.astype(bool)) == detector.score(X, y.tolist())
        with pytest.warns(UndefinedMetricWarning):
            assert np.isnan(detector.score(X, np.zeros(len(X))))
        for wrong in (np.where(y, np.nan, 0.0), y.astype(str), np.where(y, -1, 1), y[:-1]):
            with pytest.raises(ValueError, match=r"y\b|inconsistent"):
                detector.score(X, wrong)

    # ------------------------------------------------------------------------------ bad input

    def test_wrong_parameters_are_named(self, plane):
        for options, word in (*self.common_wrong, *self.wrong):
            detector = self.make(**options)
            with pytest.raises((ValueError, TypeError), match=word):
                detector.fit(plane)
            assert vars(detector) == vars(self.make(**options)), options

    def test_a_failed_fit_leaves_the_estimator_as_it_was(self, plane):
        detector = self.make().fit(plane)
        before, scores = vars(detector).copy(), detector.decision_function(plane)
        bad = plane[:, :4].copy()
        bad[3, 2] = np.nan
        with pytest.raises(ValueError, match="NaN"):
            detector.fit(bad)
        with pytest.raises(ValueError, match="contamination"):
            detector.set_params(contamination=2.0).fit(plane)
        with pytest.raises(ValueError, match="lr"), np.errstate(all="ignore"):
            detector.set_params(contamination=0.1, lr=1e38).fit(plane)  # fails late
        detector.set_params(contamination=before["contamination"], lr=before["lr"])
        assert vars(detector).keys() == before.keys()
        assert all(vars(detector)[key] is before[key] for key in before)
        assert np.array_equal(detector.decision_function(plane), scores)

    @pytest.mark.parametrize(
        ("data", "word"),
        [
            (np.array([[1.0, np.nan], [2.0, 3.0]]), "NaN"),
            (np.array([[1.0, np.inf], [2.0, 3.0]]), "infinity"),
            (np.array([1.0, 2.0]), "Reshape"),
            (np.zeros((0, 3)), "0 sample"),
            (np.zeros((3, 0)), "0 feature"),
            (np.array([["a", "b"], ["c", "d"]], dtype=object), "contains text"),
            (
                np.array([[1.7e308, 0.0], [-1.7e308, 1.0], [1.7e308, 2.0], [-1.7e308, 1.0]]),
                "widely",
            ),
            (np.ones((3, 3)) + 1j, "[Cc]omplex"),
        ],
    )
    def test_impossible_data(self, data, word, plane):
        with pytest.raises((ValueError, TypeError), match=word):
            self.make().fit(data)

    def test_awkward_data_give_finite_scores(self):
        rng = np.random.default_rng(0)
        normal = rng.normal(size=(40, 4))
        one_wild = normal.copy()
        one_wild[7, 2] = 1e30
        cases = {
            "one row": normal[:1],
            "two rows": normal[:2],
            "one feature": normal[:, :1],
            "fewer rows than a batch": normal[:5],
            "one more row than a batch": rng.normal(size=(33, 4)),
            "constant column": np.c_[normal, np.full(40, 3.0)],
            "constant column of rounding errors": np.c_[normal, np.full(40, 0.1) * 3],
            "all rows equal": np.ones((40, 3)),
            "all zero": np.zeros((40, 3)),
            "duplicates": np.repeat(normal[:3], 20, axis=0),
            "huge": normal * 1e30,
            "tiny": normal * 1e-30,
            "denormal": normal * 1e-310,
            "one wild cell": one_wild,
            "wide": rng.normal(size=(20, 100)),
        }
        # These become the same numbers whatever the parameters.
        types = {
            "float16": normal.astype(np.float16),
            "float32": normal.astype(np.float32),
            "int": (normal * 10).astype(int),
            "uint8": rng.integers(0, 255, (40, 4)).astype(np.uint8),
            "bool": normal > 0,
            "object": normal.astype(object),
            "Fortran order": np.asfortranarray(normal),
            "list": normal.tolist(),
        }
        for number, options in enumerate(self.variants):
            for name, X in (cases if number else cases | types).items():
                if len(X) < self.fewest_rows:
                    continue
                given = np.array(X, copy=True)
                detector = self.make(**options).fit(X)
                scores = detector.decision_scores_
                assert np.isfinite(scores).all(), (options, name)
                assert np.array_equal(scores, detector.decision_function(X)), (options, name)
                assert np.isfinite(detector.explain(X)).all(), name
                assert np.array_equal(given, np.asarray(X)), name
                if number:
                    continue  # what follows is made of the scores alone
                assert np.isfinite(detector.predict_proba(X)).all(), name
                assert np.isfinite(detector.predict_proba(X, method="unify")).all(), name
                assert np.isfinite(detector.predict_confidence(X)).all(), name
        wild = self.make().fit(one_wild)
        assert wild.decision_scores_.argmax() == 7

    def test_a_far_new_row_scores_highest(self, plane):
        detector = self.fitted(plane)
        far = np.zeros((4, plane.shape[1]))
        far[np.arange(4), np.arange(4)] = [self.far, 1e5, 1e8, 1e30]
        scores = detector.decision_function(far)
        assert np.isfinite(scores).all()
        assert scores.min() > detector.decision_scores_.max()
        assert (np.diff(scores) > 0).all()

    def test_rows_far_outside_have_finite_scores_and_are_flagged(self, plane):
        signs = np.sign(np.random.default_rng(0).normal(size=(10, plane.shape[1])))
        detector = self.fitted(plane)
        for size in (1e4, 1e10, 1e30, 1e200, 1e300):
            scores = detector.decision_function(signs * size)
            assert np.isfinite(scores).all()
            assert np.isfinite(detector.explain(signs * size)).all()
            assert detector.predict(signs * size).all()

    @pytest.mark.parametrize("constant", [0.0, 3.0, -1e-6, 1e9])
    def test_a_change_of_a_constant_column_is_flagged_whatever_its_unit(self, constant, plane):
        with_constant = np.insert(plane, 3, constant, axis=1)
        names = [f"f{j}" for j in range(with_constant.shape[1])]
        frame = pd.DataFrame(with_constant, columns=names)
        with pytest.warns(UserWarning, match="Columns of X are constant: 'f3'. Any other value"):
            detector = self.make(contamination=0.02).fit(frame)
        before = detector.predict(frame)
        assert before.mean() <= 0.05
        # What is the same in single precision is no change.
        assert np.array_equal(detector.predict(frame.astype({"f3": np.float32})), before)
        size = abs(constant) or 1.0
        for change in (-size, 1e-3 * size, size, 1e6 * size):
            changed = frame[:60].assign(f3=constant + change)
            assert detector.predict(changed).mean() > 0.98
            shares = detector.explain(changed)
            shares = shares.reshape(len(shares), -1)
            assert (shares.argmax(axis=1) == 3).mean() > 0.98

    def test_odd_layouts_of_single_precision_are_the_same_numbers(self, plane):
        X = plane.astype(np.float32)
        right = self.make().fit(X).decision_scores_
        assert np.array_equal(self.make().fit(X.astype(">f4")).decision_scores_, right)
        assert np.array_equal(self.make().fit(X[::-1].copy()[::-1]).decision_scores_, right)
        # One row or column may have any stride, and counts as contiguous all the same.
        for options in ({}, {"scaler": None}):
            column = X[: max(self.fewest_rows, 20), :1]
            one = self.make(**options).fit(column.copy()).decision_scores_
            turned = column[:, ::-1]
            assert np.array_equal(self.make(**options).fit(turned).decision_scores_, one)

    def test_silent_by_default_and_a_bar_on_request(self, plane, capfd):
        self.make().fit(plane)
        out, err = capfd.readouterr()
        assert (out, err) == ("", "")
        self.make(verbose=1).fit(plane)
        out, err = capfd.readouterr()
        assert out == ""
        assert self.detector.__name__ in err


class _AsPyOD(BaseDetector):
    """PyOD's own arithmetic over a detector's scores."""

    def __init__(self, detector):
        self.detector, self.contamination = detector, float(detector.contamination)
        self.decision_scores_ = detector.decision_scores_
        self._classes = 2
        self._process_decision_scores()

    def fit(self, X, y=None):
        return self

    def decision_function(self, X):
        return self.detector.decision_function(X)
