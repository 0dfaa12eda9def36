import sys

import numpy as np
import pytest

from skrdae import RobustDeepAutoencoder
from skrdae._validation import refitting, snapshot


def _fail(detector):
    with refitting(detector) as draft:
        draft.lr, draft.new_ = 7.0, 1
        draft.random_state.random_sample(3)
        raise ValueError("no")


def test_a_failure_changes_nothing():
    detector = RobustDeepAutoencoder(random_state=np.random.RandomState(0))
    before = vars(detector).copy()
    with pytest.raises(ValueError, match="no"):
        _fail(detector)
    assert vars(detector) == before
    drawn = detector.random_state.random_sample()
    assert drawn == np.random.RandomState(0).random_sample()


def test_attributes_change_all_at_once():
    detector = RobustDeepAutoencoder()
    detector.old_ = 1
    before = vars(detector)
    with refitting(detector) as draft:
        del draft.old_
        draft.new_ = 2
        assert vars(detector) is before
        assert detector.old_ == 1
        detector.set_params(lr=0.5)  # meanwhile, by somebody else
    assert detector.new_ == 2
    assert not hasattr(detector, "old_")
    assert detector.lr == 0.5
    assert before["old_"] == 1  # whoever holds these attributes keeps them


def test_a_snapshot_keeps_what_was_fitted():
    detector = RobustDeepAutoencoder()
    detector.scale_ = 1
    seen = snapshot(detector)
    with refitting(detector) as draft:
        draft.scale_ = 2
    assert (seen.scale_, detector.scale_) == (1, 2)
    assert type(seen) is type(detector)


@pytest.mark.parametrize("fails", [True, False])
def test_an_interrupt_leaves_the_old_state_or_the_new_one(fails):
    seen = set()
    for last in range(1, 100):
        detector = RobustDeepAutoencoder(random_state=np.random.RandomState(0))
        detector.old_ = 1
        before = vars(detector).copy()
        steps = 0

        def interrupt(frame, event, argument, last=last):
            nonlocal steps
            if frame.f_code.co_name != "refitting":
                return None if event == "call" else interrupt
            steps += event == "line"
            if event == "line" and steps == last:
                raise KeyboardInterrupt
            return interrupt

        found = sys.gettrace()
        sys.settrace(interrupt)
        try:
            with refitting(detector) as draft:
                del draft.old_
                draft.new_ = 1
                if fails:
                    raise ValueError("no")
        except (ValueError, KeyboardInterrupt):
            pass
        finally:
            sys.settrace(found)
        is_old = vars(detector) == before
        assert is_old or (detector.new_ == 1 and not hasattr(detector, "old_"))
        seen.add(is_old)
        if steps < last:
            break
    assert 5 < last < 99  # it was interrupted at each of its lines
    assert seen == ({True} if fails else {True, False})
