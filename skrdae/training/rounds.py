"""Trainings round by round: history, who watches them, and where they go on from."""

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
    """What a training goes on from and whom it reports to.

    Attributes
    ----------
    tell : callable, optional
        Called with each row of the history; where it says True, this round is the last.
    keep : callable, optional
        Called after each round with a function that returns the state.
    state : dict, optional
        Of another training with the same arguments, to go on from.
    """

    tell: Callable[[Record], object] | None = None
    keep: Callable[[MakeState], object] | None = None
    state: Mapping[str, Any] | None = None


class Training(ABC):
    """A training that goes on round by round.

    Attributes
    ----------
    history : list of dict
        A row each round.
    finished : bool
        Whether further rounds would change nothing.
    stopped : bool
        Whether somebody put an end to it.
    """

    history: list[Record]
    finished = stopped = False

    @abstractmethod
    def advance(self) -> Record:
        """Do the next round; return its row of the history."""

    def state(self) -> dict[str, Any]:
        """Return what :meth:`restore` needs: tensors copied to the CPU, numbers, lists, dicts."""
        raise NotImplementedError

    def restore(self, state: Mapping[str, Any]) -> None:
        """Become what another training of the same arguments was."""
        raise NotImplementedError


def run(training: Training, n_rounds: int, session: Session) -> None:
    """Do the rounds that a training lacks, at most `n_rounds` in all."""
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
