"""Training on one chunk of rows after another."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.utils.metaestimators import available_if

from skrdae._bases import BaseEstimator
from skrdae._device import plain_torch
from skrdae._random import member_generators, member_seeds
from skrdae._typing import FloatRows, IntArray, OnRecord, Record
from skrdae._validation import outside, refitting
from skrdae.detectors.base import Task
from skrdae.detectors.device_memory import fits_in_memory
from skrdae.detectors.progress import watched
from skrdae.detectors.resuming import told_parameters
from skrdae.detectors.samples import rows_a_member
from skrdae.model import FittedModel
from skrdae.rows import HeldRows, LazyRows
from skrdae.training.rounds import Session, run
from skrdae.training.state import generator_states, set_generators
from skrdae.training.trainer import Epochs

_Detector = TypeVar("_Detector", bound=BaseEstimator)

# Rows that are remembered, a uniform sample of all that came.
MEMORY = 4096
# Random numbers go on from chunk to chunk.
_NO_SEEDS = np.zeros(0, np.int64)
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


@fits_in_memory
def _partial_fit(self: _Detector, X: ArrayLike, y: ArrayLike | None = None) -> _Detector:
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
        rows that are like those to come. Windows and images may be in their shape, as in `fit`.
    y : Ignored
        Not used; present by scikit-learn's convention.

    Returns
    -------
    self

    Raises
    ------
    ValueError, TypeError
        If a parameter or X is invalid. The estimator is unchanged then.
    torch.OutOfMemoryError
        If the device has too little memory. The estimator is unchanged then, too.
    """
    with refitting(self) as draft, plain_torch():
        _fit_chunk(draft, X)
    return self


_partial_fit.__name__ = "partial_fit"
#: The method of detectors that can go on with further rows. They supply ``_train_chunk(task,
#: stream)``, which trains ``stream.network`` on the rows of a chunk, brings the stream up to date
#: and returns the rows of its history; ``_settled(task, stream)``, which returns what is
#: :class:`~skrdae.detectors.base.Learnt` given the rows that are remembered; and ``_can_stream()``,
#: whose AttributeError says why there is no such method.
if TYPE_CHECKING:
    partial_fit = _partial_fit  # available_if hides the types of what it decorates
else:
    partial_fit = available_if(lambda self: self._can_stream())(_partial_fit)


def _fit_chunk(detector: Any, X: Any) -> None:
    detector._check_parameters()
    for name, value in _NOT_IN_CHUNKS.items():
        if getattr(detector, name, value) != value:
            raise ValueError(
                f"partial_fit goes with {name}={value!r} only; it is {getattr(detector, name)!r}."
            )
    stream = vars(detector).get("_stream")
    settings = told_parameters(detector, _MAY_CHANGE | set(detector._set_later))
    if stream is None and hasattr(detector, "model_"):
        warnings.warn(
            "partial_fit goes on with partial_fit, and begins anew after fit, which keeps no "
            "row. Give the rows to partial_fit from the first chunk on.",
            UserWarning,
            stacklevel=outside(),
        )
    if stream is None:
        detector._forget()  # of a training that this one is not
    if issparse(X):
        raise TypeError("partial_fit takes no sparse X: pass X.toarray(), chunk by chunk.")
    X = detector._check_data(X, reset=stream is None)
    if stream is None:
        scaler, device = detector._learn_scale(X)
        stream = Stream(member_seeds(detector.random_state, detector.n_estimators), settings)
    else:
        scaler, device = detector.scaler_.with_changes(X), detector.device_
    for name, before in stream.settings.items():
        if name not in _MAY_CHANGE and settings.get(name) != before:
            raise ValueError(
                f"The chunks before were trained on with {name}={before}, and it is "
                f"{settings.get(name)} now: set it back, or clone the detector to begin anew."
            )
    stream = stream.opened()
    if stream.network is not None:
        stream.network.to(device)
    n_before, counter = len(stream.history), detector._history_counter

    def task(rows: FloatRows, tell: OnRecord | None) -> Any:
        held = HeldRows(LazyRows(rows, scaler, device).take(slice(None)))
        return Task(held, scaler, _NO_SEEDS, Session(tell), detector._column_names())

    n_rounds = detector._n_rounds
    options: dict[str, Any] = {"shows": detector.verbose, "n_rounds": n_rounds, "n_done": 0}
    with watched(detector.callbacks, name=type(detector).__name__, **options) as progress:
        history = detector._train_chunk(
            task(X, lambda row: progress(_later(row, counter, n_before))), stream
        )
    detector._warn_of_interrupt(progress, n_rounds)
    stream.history += [_later(row, counter, n_before) for row in history]
    stream.remember(X)
    remembered = task(stream.rows, None)
    learnt = detector._settled(remembered, stream)
    model = FittedModel(scaler, learnt.network, learnt.scorer, np.ones(1))
    scores = detector._map(model, model.scorer.scores, remembered.rows)
    learnt.attributes |= {"history_": list(stream.history), "n_samples_seen_": stream.n_seen}
    detector._judge(model, learnt, scores, stream.rows)
    detector._conclude(stream.rows, learnt)
    detector._stream = stream.closed()


def train_epochs(
    detector: Any, task: Task, stream: Stream, *, unit_scale: bool, level: float | None
) -> list[Record]:
    """Train the networks of a detector that is trained by epochs on the rows of a chunk.

    Parameters
    ----------
    detector : EpochsDetector
        With ``_new_network``, and ``_trainer(network, n_rows, generators)``.
    task : Task
    stream : Stream
        Brought up to date.
    unit_scale : bool
        Whether rows are brought to unit scale for the networks.
    level : float or None
        What rows are divided by for them, if that is known.

    Returns
    -------
    list of dict
        Rows of the history.
    """
    if stream.network is None:
        stream.network = detector._new_network(
            task.rows.shape[1], stream.generators, task.rows.device
        )
    rows, stream.level = detector._member_rows(
        task, stream.generators, unit_scale=unit_scale, level=level
    )
    n_so_far = rows_a_member(detector.max_samples, stream.n_seen + len(task.rows))
    trainer = detector._trainer(stream.network, n_so_far, stream.generators)
    training = Epochs(trainer, rows)
    if stream.extra is not None:
        training.restore(stream.extra | {"history": []})
    run(training, detector.n_epochs, task.session)
    trainer.release()
    stream.extra = training.state() | {"history": []}  # the whole of it is the stream's
    return training.history


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
    #: While a chunk is trained on: what the networks' rows are divided by.
    level = 1.0

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
        vars(self).pop("level", None)
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
        n_free = MEMORY if self.rows is None else MEMORY - len(self.rows)
        parts: list[NDArray[Any]] = [X[:n_free]] if self.rows is None else [self.rows, X[:n_free]]
        self.rows, rest = np.concatenate(parts), X[n_free:]
        # The row that comes as the k-th takes the place of one of k drawn, if that is remembered.
        order = np.arange(self.n_seen + len(X) - len(rest), self.n_seen + len(X)) + 1
        places = (self.random.random_sample(len(rest)) * order).astype(np.int64)
        kept = places < MEMORY
        self.rows[places[kept]] = rest[kept]
        self.n_seen += len(X)
