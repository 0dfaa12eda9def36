"""Trainings that go on where an earlier one ended, or was ended."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Sequence
from importlib.metadata import version
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.sparse import issparse
from torch import nn

from skrdae._checkpoint import read_tree, write_tree
from skrdae._files import check_target, remove_unfinished
from skrdae._random import member_generators, member_seeds
from skrdae._schema import anything, array, mapping, one_line, record, shortened, text
from skrdae._typing import FloatRows, FloatRowsOrSparse, IntArray, MatrixLike
from skrdae.detectors.samples import rows_a_member
from skrdae.penalties import PENALTIES, GroupPenalty, penalty_of
from skrdae.training.schemas import state_of

if TYPE_CHECKING:
    from skrdae.detectors.base import BaseTorchDetector as _Detector
else:
    _Detector = object

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


class ResumingMixin(_Detector):
    """``warm_start`` and ``checkpoint_path``, for detectors whose training has a state.

    The detector names in ``_lengths`` the parameters that say how long it is trained, and passes
    :meth:`_resuming` on to its training.
    """

    max_samples: float | Literal["auto"] | None
    warm_start: bool
    checkpoint_path: str | os.PathLike[str] | None

    _parameter_constraints: dict[str, Any] = {
        "warm_start": ["boolean"],
        "checkpoint_path": [str, os.PathLike, None],
    }
    _boolean_parameters: tuple[str, ...] = ("warm_start",)
    #: Parameters that may be larger when a training goes on.
    _lengths: tuple[str, ...] = ()
    #: While a fit lasts, where its states come from and go to.
    _training: _Training | None = None

    if TYPE_CHECKING:

        def _new_network(self, n_features: int, generators: Sequence[torch.Generator]) -> nn.Module:
            """Return a network with a member for each generator, not trained."""

    def _fit(self, X: MatrixLike, y: ArrayLike | None) -> None:
        before = self.__dict__.pop("_kept", None)
        X = self._start(X)
        self._training = _Training(self, X, before if self.warm_start else None)
        if self._training.seeds is None:
            self._training.seeds = member_seeds(self.random_state, self.n_estimators)
        if self._training.state is not None:
            self._check_length(self._training.state)
        self._complete(X, self._training.seeds)
        kept = self._training.finish()
        del self._training
        if kept is not None:
            self._kept = kept

    def _resuming(self) -> dict[str, Any]:
        """Return the state to go on from, and what is to be called with new ones."""
        training = self._training
        if training is None:
            return {"state": None, "on_state": None}
        return {"state": training.state, "on_state": training.keep if training.keeps else None}

    @property
    def _n_done(self) -> int:
        state = self._resuming()["state"]
        return 0 if state is None else self._rounds_of(state)

    def _rounds_of(self, state: dict[str, Any]) -> int:
        """Return how many rows the history of a state has."""
        return len(state["history"])

    def _check_state(self, state: Any, shape: tuple[int, int], seeds: IntArray) -> None:
        """Raise unless a state is one of a training on rows of a shape, whatever it came from."""
        (n_samples, n_features), n_members = shape, self.n_estimators
        array(np.int64, n_members, low=0, high=_LARGEST_SEED)(seeds, "seeds", {})
        network = self._new_network(n_features, member_generators(seeds))
        sizes = {
            "members": n_members,
            "features": n_features,
            "samples": rows_a_member(self.max_samples, n_samples),
        }
        penalty = penalty_of(self.penalty) if hasattr(self, "penalty") else None
        state_of(network, n_features, penalty)(state, "state", sizes)

    def _check_length(self, state: dict[str, Any]) -> None:
        """Raise if a training is longer already than it should be."""
        (name,) = self._lengths
        self._check_one_length(name, state)

    def _check_one_length(self, name: str, state: dict[str, Any]) -> None:
        n_done, wanted = len(state["history"]), getattr(self, name)
        if n_done > wanted:
            raise ValueError(
                f"The training to go on with has {n_done} iterations already, and {name} is "
                f"{wanted}: raise it."
            )

    def _on_interrupt(self) -> None:
        if self._training is not None:
            self._training.interrupted = True


class _Training:
    """What a training goes on from, and where its states go."""

    seeds: IntArray | None
    state: dict[str, Any] | None

    def __init__(
        self, detector: ResumingMixin, X: FloatRowsOrSparse, before: dict[str, Any] | None
    ) -> None:
        self.state = self.seeds = None
        self.interrupted = False
        self._make: Callable[[], dict[str, Any]] | None = None
        self._path: Path | None = None
        if detector.checkpoint_path is not None:
            self._path = Path(os.path.realpath(detector.checkpoint_path))  # links are followed
        self._warm = detector.warm_start
        self.keeps = self._warm or self._path is not None
        if not self.keeps:
            return
        if issparse(X):
            raise ValueError(
                "With a sparse X there is neither warm_start nor checkpoint_path: set "
                "warm_start=False and checkpoint_path=None."
            )
        self._settings = _settings(detector, X)

        def check(state: Any, seeds: IntArray) -> None:
            detector._check_state(state, X.shape, seeds)

        if before is not None:
            self._go_on_from(before, check, "warm_start=True goes on with", "set warm_start=False")
        if self._path is not None:
            where = f"checkpoint_path {str(self._path)!r}"
            try:
                check_target(self._path)
            except OSError as error:
                raise ValueError(f"{where} cannot be: {error}") from error
            if self._path.exists():
                self._go_on_from(_read(self._path), check, f"{where} holds", "remove the file")

    def _go_on_from(
        self,
        tree: dict[str, Any],
        check: Callable[[Any, IntArray], None],
        source: str,
        remedy: str,
    ) -> None:
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
        try:
            check(tree["state"], tree["seeds"])
        except ValueError as error:
            raise ValueError(
                f"{source} what is not a state of this training ({one_line(error)}): {remedy} to "
                "begin anew."
            ) from error
        self.seeds, self.state = tree["seeds"], tree["state"]

    def keep(self, make: Callable[[], dict[str, Any]]) -> None:
        """Take note of a state, which a function makes."""
        self._make = make
        if self._path is not None:
            write_tree(self._path, self._tree())

    def _tree(self) -> dict[str, Any]:
        state = self.state if self._make is None else self._make()
        return {"settings": self._settings, "seeds": np.asarray(self.seeds), "state": state}

    def finish(self) -> dict[str, Any] | None:
        """Return what a later fit may go on from, or None; a checkpoint has done its duty."""
        if self._path is not None and not self.interrupted:
            self._path.unlink(missing_ok=True)
            remove_unfinished(self._path)
        return self._tree() if self._warm else None


# Settings that earlier versions did not have, and what they were.
_EARLIER = {"max_samples": "1.0"}
#: What is kept of a training. The rest is checked once it is known to be of the same one.
KEPT = {"settings": mapping(text, text), "seeds": anything, "state": anything}


def _read(path: Path) -> dict[str, Any]:
    tree = read_tree(path)
    try:
        record(KEPT)(tree, "it", {})
    except ValueError as error:
        raise ValueError(f"{path} is no checkpoint: {one_line(error)}.") from error
    return tree


def _settings(detector: ResumingMixin, X: FloatRows) -> dict[str, str]:
    """Return what two trainings have to share for one to go on with the other."""
    digest = hashlib.sha256(f"{X.shape} {X.dtype}".encode())
    for start in range(0, len(X), _ROWS):  # which may lie in a file
        digest.update(np.ascontiguousarray(X[start : start + _ROWS]).data)
    left_out = _NO_PART | {*detector._lengths}
    if not isinstance(getattr(detector, "lam", None), str):  # it sets the threshold only
        left_out = left_out | {"contamination"}
    return {
        "detector": type(detector).__name__,
        "version": version("skrdae"),
        "X": digest.hexdigest(),
        **told_parameters(detector, left_out),
    }


def told_parameters(detector: _Detector, left_out: Collection[str]) -> dict[str, str]:
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
