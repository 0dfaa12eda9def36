"""scikit-learn's splitters, which check their parameters when they are made."""

from __future__ import annotations

import inspect
from typing import Any

from sklearn import model_selection

from skrdae._schema import boolean, whole
from skrdae.persistence.kinds import KINDS, PARAMETERS, Kind, simple

SPLITTERS = (
    model_selection.KFold,
    model_selection.StratifiedKFold,
    model_selection.ShuffleSplit,
    model_selection.StratifiedShuffleSplit,
    model_selection.TimeSeriesSplit,
)
# A fit for each.
_MOST_SPLITS = 10_000


def _made_again(splitter: Any) -> None:
    """Raise unless a splitter is what its class makes of its parameters."""
    names = inspect.signature(type(splitter)).parameters
    again = type(splitter)(**{name: getattr(splitter, name) for name in names})
    if vars(again) != vars(splitter):
        raise ValueError(f"{splitter} is {again} when it is made again")


for _class in SPLITTERS:
    _checks = {"n_splits": whole(1, _MOST_SPLITS), "shuffle": boolean} | PARAMETERS
    KINDS[_class] = Kind(
        {name: _checks.get(name, simple) for name in vars(_class())}, settings=_made_again
    )
