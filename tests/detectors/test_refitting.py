"""Threads that score while another one fits the same detector see one fit or the other."""

import pickle
import sys
import threading

import numpy as np
import pytest
from optional import Optional
from pyod.models.pca import PCA

from skrdae import (
    AnoGANDetector,
    LSTMRobustAutoencoder,
    OutlierAdapter,
    RobustDeepAutoencoder,
    RobustPCA,
    USADDetector,
    VAEDetector,
    WindowedDetector,
)
from skrdae.tables import TableEncoder

pytestmark = pytest.mark.slow

pd = Optional("pandas")

RNG = np.random.default_rng(0)
#: Two sets of rows of one width, and one of another.
ROWS = RNG.normal(size=(80, 4)), 5 + 3 * RNG.normal(size=(80, 4)), RNG.normal(size=(60, 7))
METHODS = (
    "decision_function", "predict", "predict_proba", "predict_with_rejection", "explain",
    "transform", "decompose", "score_parts", "sample", "score_samples", "score_new",
)  # fmt: skip
DETECTORS = {
    "RobustDeepAutoencoder": lambda: RobustDeepAutoencoder(
        max_iter=1, n_estimators=2, random_state=0
    ),
    "RobustPCA": lambda: RobustPCA(tol=1e-3),
    "VAEDetector": lambda: VAEDetector(n_epochs=1, random_state=0),
    "AnoGANDetector": lambda: AnoGANDetector(
        n_epochs=1, n_encoder_epochs=1, inference="encoder", random_state=0
    ),
    "LSTMRobustAutoencoder": lambda: LSTMRobustAutoencoder(
        max_iter=1, hidden_layer_sizes=(2,), random_state=0
    ),
    "USADDetector": lambda: USADDetector(n_epochs=1, random_state=0),
    # It flags steps, or it would warn, and threads disturb the filters of warnings.
    "WindowedDetector": lambda: WindowedDetector(PCA(contamination=0.4), window_size=6),
    "OutlierAdapter": lambda: OutlierAdapter(RobustPCA(tol=1e-3)),
}


@pytest.fixture
def _threads_take_turns_often():
    found = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(found)


def _results(detector, method):
    """Return what a method gives for rows of the first kind, as something that can be compared."""
    options = {"return_confidence": True} if method in ("predict", "predict_proba") else {}
    if isinstance(detector, OutlierAdapter):
        options = {}
    arguments = (3, 0) if method == "sample" else (ROWS[0],)
    made = getattr(detector, method)(*arguments, **options)
    parts = made if isinstance(made, tuple) else (made,)
    return tuple(np.asarray(part).tobytes() for part in parts)


@pytest.mark.usefixtures("_threads_take_turns_often")
@pytest.mark.filterwarnings("ignore:No step of X is flagged")
@pytest.mark.parametrize("name", DETECTORS)
def test_a_scorer_sees_one_fit_or_the_other(name):
    make = DETECTORS[name]
    detector = make().fit(ROWS[0])
    methods = [method for method in METHODS if hasattr(detector, method)]
    fits = [make().fit(rows) for rows in ROWS[:2]]
    known = {method: {_results(fit, method) for fit in fits} for method in methods}
    known |= {"sample": known.get("sample", set()) | _samples(make)}
    fitted = threading.Event()
    wrong, seen = [], set()

    def score():
        while not fitted.is_set():
            for method in methods:
                try:
                    found = _results(detector, method)
                except ValueError as error:  # it knows rows of the other width
                    if "4 features" not in str(error):
                        wrong.append((method, error))
                    continue
                except Exception as error:  # pragma: no cover - what must not be
                    wrong.append((method, error))
                    continue
                seen.add((method, found))
                if found not in known[method]:
                    wrong.append((method, "a mixture"))

    threads = [threading.Thread(target=score, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for turn in range(12):
            detector.fit(ROWS[(turn + 1) % 3])
            copied = pickle.loads(pickle.dumps(detector))
            assert copied.n_features_in_ == detector.n_features_in_
    finally:
        fitted.set()
    for thread in threads:
        thread.join(60)
    assert not wrong
    assert len(seen) > 1


def _samples(make):
    """Return rows drawn after each fit; they may be of any width."""
    if not hasattr(make(), "sample"):
        return set()
    return {_results(make().fit(rows), "sample") for rows in ROWS}


@pytest.mark.usefixtures("_threads_take_turns_often")
def test_chunks_and_encoders_change_at_once():
    detector = RobustDeepAutoencoder(max_iter=1, random_state=0).partial_fit(ROWS[0])
    table = pd.DataFrame({"a": RNG.normal(size=40), "kind": ["x", "y"] * 20})
    encoder = TableEncoder(categories="one-hot").fit(table)
    other = table.assign(kind=["x", "y", "z", "y"] * 10)
    done, wrong = threading.Event(), []

    def score():
        while not done.is_set():
            try:
                labels, confidence = detector.predict(ROWS[0], return_confidence=True)
                if not np.isfinite(confidence).all() or len(labels) != 80:
                    wrong.append("scores")
                if not np.isfinite(detector.decision_function(ROWS[0])).all():
                    wrong.append("scores")
            except Exception as error:  # pragma: no cover - what must not be
                wrong.append(error)

    thread = threading.Thread(target=score, daemon=True)
    thread.start()
    try:
        for turn in range(10):
            detector.partial_fit(ROWS[turn % 2])
            encoder.fit(other if turn % 2 else table)
    finally:
        done.set()
    thread.join(60)
    assert not wrong
    assert detector.n_samples_seen_ == 880


def test_the_old_fit_lasts_until_the_new_one_is_there():
    rows, seen = ROWS[0], []
    detector = RobustDeepAutoencoder(max_iter=2, random_state=0).fit(rows)
    before = detector.decision_scores_

    def look(record):
        seen.append(np.array_equal(detector.decision_function(rows), before))
        detector.set_params(lr=0.002)  # for the next fit

    detector.set_params(callbacks=look).fit(ROWS[1])
    assert seen == [True, True]
    assert not np.array_equal(detector.decision_function(rows), before)
    assert detector.lr == 0.002
    unfitted = RobustDeepAutoencoder(max_iter=1, callbacks=lambda _: vars(unfitted)["network_"])
    with pytest.raises(KeyError, match="network_"):
        unfitted.fit(rows)
    assert not hasattr(unfitted, "network_")


def test_a_parameter_may_be_a_property():
    class Renamed(RobustPCA):
        def __init__(self, contamination=0.1, tol=1e-7):
            super().__init__(contamination=contamination, tol=tol)

        @property
        def tol(self):
            return self.tolerance

        @tol.setter
        def tol(self, value):
            self.tolerance = value

    X = np.random.default_rng(0).normal(size=(50, 3))
    found = Renamed(tol=1e-5).fit(X)
    assert np.array_equal(found.decision_scores_, RobustPCA(tol=1e-5).fit(X).decision_scores_)
