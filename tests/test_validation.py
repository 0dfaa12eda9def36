import sys

import pytest

from skrdae import RobustDeepAutoencoder
from skrdae._validation import unchanged_on_failure


def _fail(detector):
    with unchanged_on_failure(detector):
        detector.lr, detector.new_ = 7.0, 1
        raise ValueError("no")


def test_a_failure_changes_nothing():
    detector = RobustDeepAutoencoder()
    before = vars(detector).copy()
    with pytest.raises(ValueError, match="no"):
        _fail(detector)
    assert vars(detector) == before


def test_an_interrupt_while_things_are_put_back_loses_none_of_them():
    steps = 0
    for last in range(1, 100):
        detector = RobustDeepAutoencoder()
        before = vars(detector).copy()
        steps = 0

        def interrupt(frame, event, argument, last=last):
            nonlocal steps
            if frame.f_code.co_name != "unchanged_on_failure":
                return None if event == "call" else interrupt
            steps += event == "line"
            if event == "line" and steps == last:
                raise KeyboardInterrupt
            return interrupt

        found = sys.gettrace()
        sys.settrace(interrupt)
        try:
            with pytest.raises((ValueError, KeyboardInterrupt)):
                _fail(detector)
        finally:
            sys.settrace(found)
        assert before.keys() <= vars(detector).keys()
        if steps < last:
            break
    assert 5 < last < 99  # it was interrupted at each of its lines
    assert vars(detector) == before
