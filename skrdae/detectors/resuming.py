"""Trainings that go on where an earlier one ended, or was ended."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.sparse import issparse

from skrdae._checkpoint import read_tree, write_tree
from skrdae._files import check_target, remove_unfinished
from skrdae._schema import anything, array, mapping, one_line, record, shortened, text
from skrdae._typing import FloatRows, FloatRowsOrSparse, IntArray
from skrdae._version import __version__
from skrdae.penalties import PENALTIES, GroupPenalty, penalty_of
from skrdae.training.rounds import MakeState

# Rows read at once for their digest.
_ROWS = 4096

# The largest seed of a member.
_LARGEST_SEED = 2**31

# Characters of a parameter that can still be read in a message.
_LONG = 200

# Parameters that have no part in a training.
_NO_PART = {
    "callbacks",
    "checkpoint_path",
    "device",
    "score_function",
    "store_decomposition",
    "verbose",
    "warm_start",
}


class Resumption:
    """What a fit goes on from, and where its states go.

    It does nothing for a detector without ``warm_start`` and ``checkpoint_path``. Others name in
    ``_lengths`` the parameters that say how long they are trained, and supply ``_check_state`` and
    ``_lengths_of``.

    Parameters
    ----------
    detector : BaseTorchDetector
    X : ndarray or CSR matrix
        Checked.
    before : dict
        What an earlier fit found.

    Attributes
    ----------
    seeds : ndarray or None
        Those of the training to go on with.
    state : dict or None
        Where it was.
    keep : callable or None
        To be called with a function that returns a state.
    interrupted : bool
        Whether the training was.
    """

    seeds: IntArray | None = None
    state: dict[str, Any] | None = None
    keep: Callable[[MakeState], None] | None = None
    interrupted = False

    def __init__(self, detector: Any, X: FloatRowsOrSparse, before: dict[str, Any]) -> None:
        self._detector = detector
        self._make: MakeState | None = None
        self._path: Path | None = None
        self._warm = getattr(detector, "warm_start", False)
        path = getattr(detector, "checkpoint_path", None)
        if path is not None:
            self._path = Path(os.path.realpath(path))  # links are followed
        if not self._warm and self._path is None:
            return
        self.keep = self._keep
        if issparse(X):
            raise ValueError(
                "With a sparse X there is neither warm_start nor checkpoint_path: set "
                "warm_start=False and checkpoint_path=None."
            )
        self._settings, self._shape = _settings(detector, X), X.shape
        if self._warm and "_kept" in before:
            told = "warm_start=True goes on with", "set warm_start=False"
            self._go_on_from(before["_kept"], *told)
        if self._path is not None:
            where = f"checkpoint_path {str(self._path)!r}"
            try:
                check_target(self._path)
            except OSError as error:
                raise ValueError(f"{where} cannot be: {error}") from error
            if self._path.exists():
                self._go_on_from(_read(self._path), f"{where} holds", "remove the file")
        if self.state is not None:
            for name, n_done in detector._lengths_of(self.state).items():
                _check_length(name, n_done, getattr(detector, name))

    @property
    def n_done(self) -> int:
        """How many rounds there were before."""
        if self.state is None:
            return 0
        return sum(self._detector._lengths_of(self.state).values())

    def _go_on_from(self, tree: dict[str, Any], source: str, remedy: str) -> None:
        found = tree["settings"]
        for name in ["detector", "X", "lam", *sorted({*found, *self._settings})]:
            before, now = found.get(name, _EARLIER.get(name)), self._settings.get(name)
            if before == now:
                continue
            told = shortened(f"{name}={before}", _LONG)
            what = f"{told}, and here it is {shortened(str(now), _LONG)}"
            if name == "X":
                what = "other rows, or the same of another type"
            raise ValueError(f"{source} a training with {what}: {remedy} to begin anew.")
        n_members = self._detector.n_estimators
        try:
            array(np.int64, n_members, low=0, high=_LARGEST_SEED)(tree["seeds"], "seeds", {})
            self._detector._check_state(tree["state"], self._shape, tree["seeds"])
        except ValueError as error:
            raise ValueError(
                f"{source} what is not a state of this training ({one_line(error)}): {remedy} to "
                "begin anew."
            ) from error
        self.seeds, self.state = tree["seeds"], tree["state"]

    def _keep(self, make: MakeState) -> None:
        self._make = make
        if self._path is not None:
            write_tree(self._path, self._tree())

    def _tree(self) -> dict[str, Any]:
        state = self.state if self._make is None else self._make()
        return {"settings": self._settings, "seeds": np.asarray(self.seeds), "state": state}

    def finish(self) -> None:
        """Leave what a later fit may go on from; a checkpoint has done its duty."""
        if self._path is not None and not self.interrupted:
            self._path.unlink(missing_ok=True)
            remove_unfinished(self._path)
        if self._warm:
            self._detector._kept = self._tree()


def _check_length(name: str, n_done: int, wanted: int) -> None:
    """Raise if a training is longer already than it should be."""
    if n_done > wanted:
        raise ValueError(
            f"The training to go on with has {n_done} iterations already, and {name} is "
            f"{wanted}: raise it."
        )


# Settings that earlier versions did not have, and what they were.
_EARLIER = {"max_samples": "1.0", "sparsity": "0"}
#: What is kept of a training. The rest is checked once it is known to be of the same one.
KEPT = {"settings": mapping(text, text), "seeds": anything, "state": anything}


def _read(path: Path) -> dict[str, Any]:
    tree = read_tree(path)
    try:
        record(KEPT)(tree, "it", {})
    except ValueError as error:
        raise ValueError(f"{path} is no checkpoint: {one_line(error)}.") from error
    return tree


def _settings(detector: Any, X: FloatRows) -> dict[str, str]:
    """Return what two trainings have to share for one to go on with the other."""
    digest = hashlib.sha256(f"{X.shape} {X.dtype}".encode())
    for start in range(0, len(X), _ROWS):  # which may lie in a file
        digest.update(np.ascontiguousarray(X[start : start + _ROWS]).data)
    left_out = _NO_PART | {*detector._lengths, *detector._set_later}
    if getattr(detector, "lam", None) != "auto":  # it sets the threshold only
        left_out = left_out | {"contamination"}
    return {
        "detector": type(detector).__name__,
        "version": __version__,
        "X": digest.hexdigest(),
        **told_parameters(detector, left_out),
        **detector._beside_parameters(),
    }


def told_parameters(detector: Any, left_out: Collection[str]) -> dict[str, str]:
    """Return the parameters of a detector as text that can be compared."""
    parameters = detector.get_params(deep=False)
    told = {name: _told(value) for name, value in parameters.items() if name not in left_out}
    if "penalty" in told:
        named = {_told(penalty): repr(name) for name, penalty in PENALTIES.items()}
        penalty = _told(penalty_of(parameters["penalty"]))
        told["penalty"] = named.get(penalty, penalty)  # "l21" and L21() are one
    rows = parameters.get("max_samples")
    if "max_samples" in told and isinstance(rows, Real) and not isinstance(rows, Integral):
        told["max_samples"] = repr(float(rows))  # 1.0 is all rows, 1 is one
    return told


def _told(value: object, other: Callable[[Any], str] = lambda v: type(v).__name__) -> str:
    if isinstance(value, bool | np.bool_ | Integral):
        return repr(int(value))
    if isinstance(value, Real):
        number = float(value)
        return repr(int(number)) if number.is_integer() else repr(number)
    if isinstance(value, GroupPenalty):  # of which all has a part in the training
        return f"{type(value).__name__}({_told(vars(value), repr) if vars(value) else ''})"
    if isinstance(value, dict):
        return ", ".join(f"{key}={_told(field, other)}" for key, field in value.items())
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().tolist()
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, tuple | list):
        told = repr([_told(v, other) for v in value])
        # The whole of a long one counts, but is not to be read.
        return told if len(told) < _LONG else hashlib.sha256(told.encode()).hexdigest()[:16]
    return repr(value) if value is None or isinstance(value, str) else other(value)
