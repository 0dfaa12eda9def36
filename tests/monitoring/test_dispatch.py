import multiprocessing
import os
import threading
import time

import numpy as np
import pytest

from skrdae.monitoring import Monitor, dispatch


class _Nothing:
    """A detector that is never asked."""


def _monitor(*handlers, **options):
    reference = np.random.default_rng(0).normal(size=500)
    return Monitor(
        _Nothing(), reference=reference, threshold=3.0, window_size=50, handlers=handlers, **options
    )


def _highest(alert):
    return alert.details["rows"][0]["score"]


class _Hanging:
    """A handler that does not return from its first call until it is released."""

    def __init__(self):
        self.entered, self.released, self.told = threading.Event(), threading.Event(), []

    def __call__(self, alert):
        self.entered.set()
        self.released.wait(60)
        self.told.append(_highest(alert))


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch):
    monkeypatch.setattr(dispatch, "_PATIENCE", 0.05)


def _started(target, *arguments):
    thread = threading.Thread(target=target, args=arguments)
    thread.start()
    return thread


def test_a_handler_that_hangs_holds_up_its_own_thread_only(caplog):
    first, hanging, last = [], _Hanging(), []
    handlers = (
        lambda alert: first.append(_highest(alert)),
        hanging,
        lambda alert: last.append(_highest(alert)),
    )
    monitor = _monitor(*handlers)
    held = _started(monitor.update_scores, [4.0])
    assert hanging.entered.wait(60)
    for score in (5.0, 6.0):
        other = _started(monitor.update_scores, [score])
        other.join(60)
        assert not other.is_alive()
    assert held.is_alive()
    # The others have been told, in order: also of the alert whose thread is held up.
    assert first == last == [4.0, 5.0, 6.0]
    assert hanging.told == []
    assert monitor.n_waiting_alerts_ == 2
    assert monitor.n_rows_ == 3
    assert caplog.text.count("has not returned for") == 1
    hanging.released.set()
    held.join(60)
    assert hanging.told == [4.0, 5.0, 6.0]
    assert monitor.n_waiting_alerts_ == 0
    assert monitor.n_handler_errors_ == 0
    # From now on as before: the thread that brings the rows calls all of them.
    monitor.update_scores([7.0])
    assert first == hanging.told == last == [4.0, 5.0, 6.0, 7.0]


def test_what_waits_is_bounded(monkeypatch, caplog):
    monkeypatch.setattr(dispatch, "_LONGEST_QUEUE", 3)
    hanging, told = _Hanging(), []
    monitor = _monitor(hanging, lambda alert: told.append(_highest(alert)))
    held = _started(monitor.update_scores, [4.0])
    assert hanging.entered.wait(60)
    scores = [5.0 + i for i in range(5)]
    for score in scores:
        monitor.update_scores([score])
    assert monitor.n_waiting_alerts_ == 3
    assert monitor.n_handler_errors_ == 2
    assert told == [4.0, *scores]
    dropped = [r.message for r in caplog.records if "will not be told" in r.message]
    assert len(dropped) == 2
    assert "the highest score is 8 " in dropped[0]
    hanging.released.set()
    held.join(60)
    assert hanging.told == [4.0, *scores[:3]]


def test_handlers_have_been_called_when_update_returns(monkeypatch):
    monkeypatch.setattr(dispatch, "_PATIENCE", 60.0)
    order, missing = [], []

    def handler(alert):
        order.append(_highest(alert))
        time.sleep(0.0005)

    monitor = _monitor(handler)

    def work(first):
        for i in range(25):
            score = 4.0 + first + 8 * i
            monitor.update_scores([score])
            if score not in order:
                missing.append(score)

    threads = [_started(work, i) for i in range(8)]
    for thread in threads:
        thread.join()
    assert missing == []
    assert sorted(order) == [4.0 + i for i in range(200)]
    for first in range(8):  # each thread's own in its order
        found = [score for score in order if (score - 4) % 8 == first]
        assert found == sorted(found)


def test_all_handlers_are_told_in_one_order():
    told = [[], [], []]
    monitor = _monitor(*(lambda alert, t=t: t.append(_highest(alert)) for t in told))
    threads = [
        _started(lambda i=i: [monitor.update_scores([4.0 + i + 8 * k]) for k in range(50)])
        for i in range(8)
    ]
    for thread in threads:
        thread.join()
    monitor.update_scores([0.0])  # takes up what a thread may have left behind
    assert told[0] == told[1] == told[2]
    assert len(told[0]) == 400


def test_a_handler_may_bring_rows_itself():
    told = []

    def handler(alert):
        told.append(_highest(alert))
        if len(told) < 4:
            monitor.update_scores([told[-1] + 1])
            told.append("returned")

    monitor = _monitor(handler)
    monitor.update_scores([4.0])
    assert told == [4.0, "returned", 5.0, "returned", 6.0]
    assert monitor.n_rows_ == 3


def test_an_interrupt_in_a_handler_ends_that_call_alone():
    told = []

    def handler(alert):
        told.append(_highest(alert))
        if len(told) == 1:
            raise KeyboardInterrupt

    monitor = _monitor(handler)
    with pytest.raises(KeyboardInterrupt):
        monitor.update_scores([4.0])
    other = _started(monitor.update_scores, [5.0])
    other.join(60)
    assert told == [4.0, 5.0]
    assert monitor.n_rows_ == 2


def _update_in_child(monitor, queue):
    monitor.update_scores([9.0])
    queue.put((monitor.n_rows_, monitor.n_waiting_alerts_))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_waits_for_no_thread_of_its_parent():
    context = multiprocessing.get_context("fork")
    queue, hanging = context.Queue(), _Hanging()
    monitor = _monitor(hanging, lambda alert: queue.put(_highest(alert)))
    held = _started(monitor.update_scores, [4.0])
    assert hanging.entered.wait(60)
    monitor.update_scores([5.0])
    assert [queue.get(timeout=60) for _ in range(2)] == [4.0, 5.0]
    locked, done = threading.Event(), threading.Event()

    def lock():  # as if another thread was in the middle of something
        with monitor._lock:
            locked.set()
            done.wait(60)

    locker = _started(lock)
    assert locked.wait(60)
    hanging.released.set()
    child = context.Process(target=_update_in_child, args=(monitor, queue))
    child.start()
    done.set()
    locker.join()
    # Its own alert only: those of the parent are the parent's.
    assert [queue.get(timeout=60) for _ in range(2)] == [9.0, (3, 0)]
    child.join(60)
    held.join(60)
    assert hanging.told == [4.0, 5.0]
