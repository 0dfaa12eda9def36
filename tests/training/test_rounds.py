import pytest

from skrdae.training.rounds import Session, Training, run


class _Counting(Training):
    def __init__(self, ends_at=None):
        self.history, self._ends_at = [], ends_at

    def advance(self):
        self.finished = len(self.history) + 1 == self._ends_at
        return {"epoch": len(self.history) + 1}

    def state(self):
        return {"history": list(self.history)}

    def restore(self, state):
        self.history = list(state["history"])


def _epochs(training):
    return [row["epoch"] for row in training.history]


def test_rounds_are_done_counted_and_told():
    told = []
    training = _Counting()
    run(training, 3, Session(told.append))
    assert _epochs(training) == [1, 2, 3]
    assert told == training.history
    assert not training.stopped


def test_who_is_told_may_put_an_end_to_it():
    training = _Counting()
    run(training, 5, Session(lambda row: row["epoch"] == 2))
    assert _epochs(training) == [1, 2]
    assert training.stopped


def test_a_training_that_is_finished_goes_no_further():
    training = _Counting(ends_at=2)
    run(training, 5, Session())
    assert _epochs(training) == [1, 2]
    assert not training.stopped


def test_the_state_after_each_round_is_gone_on_from():
    states = []
    run(_Counting(), 3, Session(keep=lambda make: states.append(make())))
    assert [len(state["history"]) for state in states] == [1, 2, 3]
    told = []
    training = _Counting()
    run(training, 5, Session(told.append, state=states[1]))
    assert _epochs(training) == [1, 2, 3, 4, 5]
    assert [row["epoch"] for row in told] == [3, 4, 5]  # those before were told before


def test_the_state_is_kept_before_anybody_is_told():
    """So that a round at which somebody interrupts is not lost."""
    events = []

    def interrupt(row):
        events.append("told")
        raise KeyboardInterrupt

    training = _Counting()
    with pytest.raises(KeyboardInterrupt):
        run(training, 5, Session(interrupt, lambda make: events.append(len(make()["history"]))))
    assert events == [1, "told"]


def test_as_many_rounds_as_there_are_already_are_no_further_ones():
    training = _Counting()
    run(training, 2, Session(state={"history": [{"epoch": 1}, {"epoch": 2}]}))
    assert _epochs(training) == [1, 2]
