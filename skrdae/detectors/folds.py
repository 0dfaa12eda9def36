"""Folds: what a splitter gives, and whether each can be scored with labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import KFold, StratifiedKFold, check_cv
from sklearn.utils.multiclass import type_of_target

from skrdae._typing import BoolArray, FloatRows

#: Pairs of training and test places.
Folds: TypeAlias = Sequence[tuple[NDArray[np.intp], NDArray[np.intp]]]


class _Splits(Protocol):
    def split(self, X: Any, y: Any = None, groups: Any = None) -> Any: ...


#: What scikit-learn calls ``cv``.
Splitter: TypeAlias = int | _Splits | Iterable[tuple[ArrayLike, ArrayLike]] | None


def folds_of(
    splitter: Splitter, X: FloatRows, y: ArrayLike | None, *, stratify: bool, seed: int | None
) -> Folds:
    """Return pairs of training and test places; a number of folds is shuffled by the seed.

    Without a seed the folds of a number are blocks of rows that follow each other.

    Raises
    ------
    TypeError, ValueError
        If `splitter` is none, cannot split these rows or leaves a part empty.
    """
    cv = 5 if splitter is None else splitter
    if isinstance(cv, type):
        raise TypeError(f"cv must be an object, not the class: write {cv.__name__}().")
    if isinstance(cv, Integral):
        two = stratify and y is not None and type_of_target(y) == "binary"
        y = y if two else None
        cv = (StratifiedKFold if two else KFold)(cv, shuffle=seed is not None, random_state=seed)
    places = np.arange(len(X))
    try:
        folds = [(places[train], places[test]) for train, test in check_cv(cv).split(X, y)]
    except (TypeError, ValueError, IndexError) as error:
        raise ValueError(
            f"cv={splitter!r} could not split X: {error} (One that stratifies needs y.)"
        ) from error
    if not folds or not all(len(train) and len(test) for train, test in folds):
        raise ValueError(
            "cv gives no folds, or an empty one. (A generator can be used once only: pass "
            "list(splitter.split(X, y)).)"
        )
    return folds


def check_classes(folds: Folds, y: BoolArray) -> None:
    """Raise a ValueError if a test part has rows of one class only."""
    for number, (_, test) in enumerate(folds):
        if y[test].all() or not y[test].any():
            kind = "normal rows" if y[test].any() else "anomalies"
            raise ValueError(
                f"cv leaves no {kind} in the test part of fold {number}, so that it cannot be "
                f"scored with labels. There are {int(y.sum())} anomalies in y: use "
                "StratifiedKFold(shuffle=True) with no more folds than that."
            )
