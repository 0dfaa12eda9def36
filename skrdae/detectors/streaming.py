"""Training on one chunk of rows after another."""

from __future__ import annotations

import copy
import warnings
from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from skrdae._device import plain_torch
from skrdae._random import member_generators, member_seeds
from skrdae._typing import FloatRows, IntArray, MatrixLike, Record
from skrdae._validation import check_data, outside, refitting
from skrdae.detectors.progress import watched
from skrdae.detectors.resuming import told_parameters
from skrdae.training.state import generator_states, set_generators

if TYPE_CHECKING:
    from skrdae.detectors.base import BaseTorchDetector as _Detector

    _T = TypeVar("_T")

    def available_if(check: Callable[[Any], bool]) -> Callable[[_T], _T]:
        """Return what scikit-learn's returns, which hides the types of what it decorates."""
else:
    from sklearn.utils.metaestimators import available_if

    _Detector = object

# Rows that are remembered, a uniform sample of all that came.
_MEMORY = 4096
# What chunks do not go with: parameters, and their only value.
_NOT_IN_CHUNKS = {
    "tol": None,
    "store_decomposition": False,
    "warm_start": False,
    "checkpoint_path": None,
}
# Parameters that may change from chunk to chunk.
_MAY_CHANGE = {
    "batch_size",
    "callbacks",
    "contamination",
    "device",
    "lam",
    "lr",
    "max_iter",
    "max_samples",
    "n_epochs",
    "random_state",
    "verbose",
    *_NOT_IN_CHUNKS,
}


class StreamingMixin(_Detector):
    """``partial_fit``, for detectors that can go on with further rows.

    The detector supplies :meth:`_train_on` and :meth:`_settle`.
    """

    n_samples_seen_: int

    #: What the rows of its history are numbered by.
    _history_counter = "iteration"

    @abstractmethod
    def _train_on(
        self, data: torch.Tensor, stream: Stream, on_iteration: Callable[[Record], object]
    ) -> list[Record]:
        """Train on scaled rows of a chunk.

        Parameters
        ----------
        data : Tensor of shape (n, d)
        stream : Stream
            What is known from earlier chunks; to be brought up to date. Its network is a copy.
        on_iteration : callable

        Returns
        -------
        list of dict
            The rows of its history.
        """

    @abstractmethod
    def _settle(self, stream: Stream, remembered: torch.Tensor) -> None:
        """Set what scoring needs, given the rows that are remembered, scaled.

        Parameters
        ----------
        stream : Stream
        remembered : Tensor of shape (n, d)
        """

    def _can_stream(self) -> bool:
        """Whether there is a ``partial_fit``; an AttributeError says why there is none."""
        return True

    @available_if(lambda self: self._can_stream())
    def partial_fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Continue training with a chunk of rows.

        The first call starts a new training; so does a call after `fit`, with a warning. Each chunk
        is trained on like the data of `fit`, starting from the weights that the last chunk left. A
        uniform random sample of some thousand of all rows so far is kept. λ (with ``lam="auto"``),
        the scales of the residuals and the threshold are computed from this sample, and
        ``decision_scores_`` and ``labels_`` belong to its rows. For the rows of a chunk use
        `decision_function` and `predict`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            A chunk of rows. Shuffle the rows before you split them into chunks, if you can. The
            first chunk sets the scaling of the columns, so it should have at least some hundred
            rows that are like those to come.
        y : Ignored
            Not used; present by scikit-learn's convention.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If a parameter or X is invalid. The estimator is unchanged then.
        """
        with refitting(self) as draft, plain_torch():
            draft._partial_fit(X)
        return self

    def _fit(self, X: MatrixLike, y: ArrayLike | None) -> None:
        self.__dict__.pop("_stream", None)
        super()._fit(X, y)

    def _partial_fit(self, X: ArrayLike) -> None:
        self._check_parameters()
        for name, value in _NOT_IN_CHUNKS.items():
            if getattr(self, name, value) != value:
                raise ValueError(
                    f"partial_fit goes with {name}={value!r} only; it is {getattr(self, name)!r}."
                )
        stream, settings = vars(self).get("_stream"), told_parameters(self, _MAY_CHANGE)
        if stream is None and hasattr(self, "network_"):
            warnings.warn(
                "partial_fit goes on with partial_fit, and begins anew after fit, which keeps no "
                "row. Give the rows to partial_fit from the first chunk on.",
                UserWarning,
                stacklevel=outside(),
            )
        if stream is None:
            self._forget()
            self.__dict__.pop("_kept", None)  # of a training that this one is not
        X = check_data(self, X, reset=stream is None)
        if stream is None:
            self._learn_scale(X)
            seeds = member_seeds(self.random_state, self.n_estimators)
            stream = Stream(seeds, settings)
        for name, before in stream.settings.items():
            if name not in _MAY_CHANGE and settings.get(name) != before:
                raise ValueError(
                    f"The chunks before were trained on with {name}={before}, and it is "
                    f"{settings.get(name)} now: set it back, or clone the detector to begin anew."
                )
        if stream.n_seen:
            self.scaler_ = self.scaler_.with_changes(X)
        stream = stream.opened()
        if stream.network is not None:
            stream.network.to(self.device_)
        n_before, counter = len(stream.history), self._history_counter
        data = self._to_device(X)
        options: dict[str, Any] = {"shows": self.verbose, "n_rounds": self._n_rounds, "n_done": 0}
        with watched(self.callbacks, name=type(self).__name__, **options) as progress:
            history = self._train_on(
                data, stream, lambda row: progress(_later(row, counter, n_before))
            )
        self._warn_of_interrupt(progress, self._n_rounds)
        stream.history += [_later(row, counter, n_before) for row in history]
        stream.remember(X)
        remembered = self._to_device(stream.rows)
        self._settle(stream, remembered)
        self._judge(self._map_tensor(self._member_scores, remembered), stream.rows)
        self.history_ = list(stream.history)
        self.n_samples_seen_ = stream.n_seen
        self._stream = stream.closed()


def _later(row: Record, counter: str, n_before: int) -> Record:
    return row | {counter: n_before + row[counter]}


class Stream:
    """What goes from one chunk to the next.

    Attributes
    ----------
    settings : dict
        The parameters that may not change from chunk to chunk.
    network, adam, extra
        Networks, state of their optimiser, and what else a training needs; None at first.
    generators : list of torch.Generator, or of their states
        The former while a chunk is trained on.
    rows : ndarray of shape (n, d) or None
        The rows remembered.
    history : list of dict
    n_seen : int
        Rows that came.
    """

    settings: dict[str, str]
    network: Any
    adam: Any
    extra: Any
    generators: list[Any]
    rows: FloatRows | None
    history: list[Record]
    n_seen: int

    def __init__(self, seeds: IntArray, settings: dict[str, str]) -> None:
        self.settings = settings
        self.network, self.adam, self.extra = None, None, None
        self.generators = generator_states(member_generators(seeds))
        self.rows, self.history, self.n_seen = None, [], 0
        self.random = np.random.RandomState(int(seeds[0]))

    def opened(self) -> Stream:
        """Return a copy that can be trained without changing this one."""
        other = Stream.__new__(Stream)
        vars(other).update(vars(self))
        other.network, other.random = copy.deepcopy(self.network), copy.deepcopy(self.random)
        other.generators = [torch.Generator(device="cpu") for _ in self.generators]
        set_generators(other.generators, self.generators)
        other.history = list(self.history)
        other.rows = None if self.rows is None else self.rows.copy()
        return other

    def closed(self) -> Self:
        """Put the states of generators in their place, which can be kept in files."""
        self.generators = generator_states(self.generators)
        return self

    def __getstate__(self) -> dict[str, Any]:
        # As of the detector: nothing of a GPU may be alive in a pickle.
        state = vars(self).copy()
        if self.network is not None:
            state["network"] = copy.deepcopy(self.network).cpu()
        if isinstance(self.extra, torch.Tensor):
            state["extra"] = self.extra.cpu()
        return state

    def remember(self, X: FloatRows) -> None:
        """Take a chunk into the sample of all rows (Vitter's algorithm R)."""
        n_free = _MEMORY if self.rows is None else _MEMORY - len(self.rows)
        parts: list[NDArray[Any]] = [X[:n_free]] if self.rows is None else [self.rows, X[:n_free]]
        self.rows, rest = np.concatenate(parts), X[n_free:]
        # The row that comes as the k-th takes the place of one of k drawn, if that is remembered.
        order = np.arange(self.n_seen + len(X) - len(rest), self.n_seen + len(X)) + 1
        places = (self.random.random_sample(len(rest)) * order).astype(np.int64)
        kept = places < _MEMORY
        self.rows[places[kept]] = rest[kept]
        self.n_seen += len(X)
