"""Flagged steps of a series that belong together."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from skrdae.monitoring.reasons import encodable


@dataclass
class Incident:
    """What began with a flagged step and has not ended.

    Attributes
    ----------
    first, last, highest : dict
        The first and the last flagged step, and the one with the highest score: ``row``, ``score``,
        and what else is known of it.
    detector : object
        What scored the highest step, as it was then.
    newest : object
        A copy of the last window of the highest step.
    n_flagged : int
    n_quiet : int
        Steps since the last flagged one.
    """

    first: dict[str, Any]
    detector: Any = None
    newest: Any = None
    n_flagged: int = 0
    n_quiet: int = 0
    last: dict[str, Any] = field(default_factory=dict)
    highest: dict[str, Any] = field(default_factory=dict)

    def add(self, step: dict[str, Any], detector: Any, newest: Any) -> None:
        """Take a flagged step.

        Parameters
        ----------
        step : dict
            As `first`.
        detector : object
            A snapshot of what scored it.
        newest : object
            Its last window, maybe a view.
        """
        self.last, self.n_quiet = step, 0
        self.n_flagged += 1
        if not self.highest or step["score"] > self.highest["score"]:
            # The caller may use the memory again before the incident ends.
            copied = newest.copy() if hasattr(newest, "copy") else deepcopy(newest)
            self.highest, self.detector, self.newest = step, detector, copied


def step_of(row: int, score: float, p_value: float | None, name: object | None) -> dict[str, Any]:
    """Return what an alert says of a step.

    Parameters
    ----------
    row : int
        Counted from the first step that the monitor saw.
    score : float
    p_value : float or None
    name : object or None
        What the index of a table calls it.

    Returns
    -------
    dict
    """
    step: dict[str, Any] = {"row": row, "score": score}
    if p_value is not None:
        step["p_value"] = p_value
    return step if name is None else {**step, "name": encodable(name)}


def told(step: dict[str, Any]) -> str:
    """Return the name or the number of a step."""
    return str(step.get("name", step["row"]))
