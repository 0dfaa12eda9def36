"""Trainings round by round: history, callbacks, interrupts and states."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from skrdae._typing import Record

#: Returns the state of a training, which another one goes on from.
MakeState: TypeAlias = Callable[[], dict[str, Any]]


@dataclass
class Session:
    """Where a training starts, and what is told of it.

    Attributes
    ----------
    tell : callable, optional
        Called with each row of the history. If it returns True, the training ends.
    keep : callable, optional
        Called after each round with a function that returns the state; see
        :meth:`Training.state`. To get the state takes a copy of all weights, so the function is
        called only where a state is kept.
    state : dict, optional
        The state of an earlier training with the same arguments, from which this one continues.
    """

    tell: Callable[[Record], object] | None = None
    keep: Callable[[MakeState], object] | None = None
    state: Mapping[str, Any] | None = None


class Training(ABC):
    """A training that is made round by round, by :func:`run`.

    A subclass sets an empty `history` and defines :meth:`advance`; :meth:`state` and
    :meth:`restore`, too, if the training can be continued later.

    Attributes
    ----------
    history : list of dict
        One row for each round.
    finished : bool
        Whether further rounds would change nothing.
    stopped : bool
        Whether a callback ended it.
    """

    history: list[Record]
    finished = stopped = False

    @abstractmethod
    def advance(self) -> Record:
        """Make the next round, and return its row of the history."""

    def state(self) -> dict[str, Any]:
        """Return what :meth:`restore` needs: tensors copied to the CPU, numbers, lists, dicts."""
        raise NotImplementedError(f"A {type(self).__name__} cannot be gone on with.")

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from the :meth:`state` of another training with the same arguments."""
        raise NotImplementedError(f"A {type(self).__name__} cannot go on with another.")


def run(training: Training, n_rounds: int, session: Session) -> None:
    """Make rounds until a training has `n_rounds` of them, is finished, or is stopped.

    Parameters
    ----------
    training : Training
    n_rounds : int
        Length of the history at the end; rounds of an earlier training count.
    session : Session

    Examples
    --------
    >>> from skrdae.training.rounds import Session, Training, run
    >>> class Halving(Training):
    ...     def __init__(self):
    ...         self.history, self.value = [], 8.0
    ...
    ...     def advance(self):
    ...         self.value /= 2
    ...         return {"value": self.value}
    >>> halving = Halving()
    >>> run(halving, 10, Session(tell=lambda row: row["value"] < 2))
    >>> halving.history, halving.stopped
    ([{'value': 4.0}, {'value': 2.0}, {'value': 1.0}], True)
    """
    if session.state is not None:
        training.restore(session.state)
    while len(training.history) < n_rounds and not training.finished:
        record = training.advance()
        training.history.append(record)
        if session.keep is not None:
            session.keep(training.state)
        if session.tell is not None and session.tell(record):
            training.stopped = True
            break
