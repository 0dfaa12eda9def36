import os
import signal
import threading
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from skrdae import (
    AnoGANDetector,
    LSTMRobustAutoencoder,
    RobustDeepAutoencoder,
    RobustDeepAutoencoderCV,
    RobustPCA,
    USADDetector,
    VAEDetector,
)

DETECTORS = {
    "rda": RobustDeepAutoencoder(n_estimators=2, max_iter=6, random_state=0),
    "rda, tol": RobustDeepAutoencoder(n_estimators=2, max_iter=6, tol=1e-9, random_state=0),
    "cv": RobustDeepAutoencoderCV(3, cv=2, n_estimators=1, max_iter=6, random_state=0),
    "pca": RobustPCA(tol=1e-12, max_iter=50),
    "vae": VAEDetector(n_estimators=2, n_epochs=6, random_state=0),
    "gan": AnoGANDetector(n_estimators=2, n_epochs=6, n_encoder_epochs=3, random_state=0),
    "usad": USADDetector(n_estimators=2, n_epochs=6, random_state=0),
    "lstm": LSTMRobustAutoencoder(max_iter=6, random_state=0),
}


@pytest.fixture(autouse=True)
def _interactive():
    """Ctrl-C means what it does in a session; for what runs in the background it may not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    return rng.normal(size=(100, 2)) @ rng.normal(size=(2, 6)) + 0.1 * rng.normal(size=(100, 6))


@pytest.fixture(params=DETECTORS)
def detector(request):
    return clone(DETECTORS[request.param])


def _after(n, what=lambda: True):
    """Return a callback that does something at the n-th row, and the rows it saw."""
    rows = []

    def callback(row):
        rows.append(row)
        return what() if len(rows) == n else None

    return callback, rows


def test_a_callback_sees_the_history_and_ends_the_training(detector, X):
    callback, rows = _after(3)
    with np.errstate(all="raise"):
        detector.set_params(callbacks=callback).fit(X)
    assert len(detector.history_) == 3
    assert rows[:3] == detector.history_
    assert np.array_equal(detector.decision_function(X), detector.decision_scores_)
    rows[0]["iteration"] = "changed"  # a copy
    assert detector.history_[0].get("iteration") != "changed"


def test_a_training_that_is_stopped_is_a_shorter_one(X):
    callback, _ = _after(2)
    stopped = RobustDeepAutoencoder(max_iter=9, callbacks=[callback], random_state=0).fit(X)
    short = RobustDeepAutoencoder(max_iter=2, random_state=0).fit(X)
    assert np.array_equal(stopped.decision_scores_, short.decision_scores_)
    assert stopped.n_iter_ == 2


def test_callbacks_that_only_look_change_nothing(X):
    first, seen = _after(1, lambda: None)
    second, seen_too = _after(1, lambda: False)
    watched = RobustDeepAutoencoder(callbacks=[first, second], random_state=0).fit(X)
    plain = RobustDeepAutoencoder(random_state=0).fit(X)
    assert np.array_equal(watched.decision_scores_, plain.decision_scores_)
    assert seen == seen_too == watched.history_


def _raise():
    raise KeyboardInterrupt


@pytest.mark.parametrize("how", [_raise, lambda: os.kill(os.getpid(), signal.SIGINT)])
def test_an_interruption_leaves_a_detector_that_works(detector, X, how):
    callback, _ = _after(2, how)
    before = signal.getsignal(signal.SIGINT)
    with pytest.warns(ConvergenceWarning, match="was interrupted after"):
        detector.set_params(callbacks=callback).fit(X)
    assert signal.getsignal(signal.SIGINT) is before
    assert len(detector.history_) == 2
    assert np.isfinite(detector.decision_function(X)).all()
    assert detector.predict(X).sum() > 0


@pytest.mark.parametrize("in_callback", [True, False])
def test_asked_twice_it_stops_at_once_and_is_as_before(X, in_callback, monkeypatch):
    detector = RobustDeepAutoencoder(random_state=0).fit(X)
    scores = detector.decision_scores_

    def impatient(row):
        signal.raise_signal(signal.SIGINT)
        if in_callback:
            signal.raise_signal(signal.SIGINT)

    if not in_callback:
        again = type(detector)._map

        def interrupted(self, *args):
            signal.raise_signal(signal.SIGINT)
            return again(self, *args)

        # Once the training is over, Ctrl-C means what it always does.
        monkeypatch.setattr(type(detector), "_map", interrupted)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        with pytest.raises(KeyboardInterrupt):
            detector.set_params(callbacks=impatient).fit(X)
    assert detector.decision_scores_ is scores
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interruption_in_the_last_iteration_changes_nothing(X):
    callback, _ = _after(5, _raise)
    RobustDeepAutoencoder(max_iter=5, callbacks=callback, random_state=0).fit(X)  # no warning


def test_a_handler_that_a_callback_installs_stays(X):
    def own(*_):
        pass

    def install(row):
        signal.signal(signal.SIGINT, own)

    RobustDeepAutoencoder(callbacks=install, random_state=0).fit(X)
    assert signal.getsignal(signal.SIGINT) is own


def test_in_another_thread_and_beside_another_handler_signals_are_left_alone(X):
    handlers = []
    callback, _ = _after(1, lambda: handlers.append(signal.getsignal(signal.SIGINT)))
    detector = RobustDeepAutoencoder(callbacks=callback, random_state=0)
    thread = threading.Thread(target=detector.fit, args=(X,))
    thread.start()
    thread.join()
    assert set(handlers) == {signal.default_int_handler}
    own = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        handlers.clear()
        callback, _ = _after(1, lambda: handlers.append(signal.getsignal(signal.SIGINT)))
        detector.set_params(callbacks=callback).fit(X)
        assert set(handlers) == {signal.SIG_IGN}
    finally:
        signal.signal(signal.SIGINT, own)


@pytest.mark.parametrize("callbacks", [3, "log", [len, 3], [dict]])
def test_what_is_no_callback_is_refused(X, callbacks):
    with pytest.raises(TypeError, match="callbacks must be"):
        RobustDeepAutoencoder(callbacks=callbacks).fit(X)


def test_nothing_is_printed_but_at_verbose(X, capfd):
    RobustDeepAutoencoder(random_state=0, callbacks=lambda row: None).fit(X)
    assert capfd.readouterr() == ("", "")
    RobustDeepAutoencoder(random_state=0, verbose=1).fit(X)
    assert "RobustDeepAutoencoder" in capfd.readouterr().err
