"""The template of every detector of rows: fit, score, threshold, label, pickle."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import ClassifierTags, Tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import (
    check_array,
    check_is_fitted,
)

from skrdae._bases import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from skrdae._columns import numbers_only
from skrdae._device import plain_torch, resolve_device
from skrdae._random import member_seeds
from skrdae._typing import (
    Callbacks,
    FloatArray,
    FloatRowsOrSparse,
    IntArray,
    MatrixLike,
    RandomStateLike,
    Record,
    Scaling,
    Thresholder,
)
from skrdae._validation import (
    check_data,
    check_parameters,
    outside,
    refitting,
    snapshot,
    warn_of_constants,
)
from skrdae.detectors.agreed import Agreed
from skrdae.detectors.device_memory import fits_in_memory, scores_in_memory
from skrdae.detectors.labelling import judged, label
from skrdae.detectors.progress import Progress, callbacks_of, watched
from skrdae.detectors.resuming import Resumption
from skrdae.detectors.scored import ScoredDetector
from skrdae.model import FittedModel, member_weights
from skrdae.networks.member import MemberModule
from skrdae.preprocessing import SCALERS, ColumnScaler
from skrdae.registry import parameters
from skrdae.rows import Rows, training_rows
from skrdae.scorers.base import NetworkFunction, Scorer
from skrdae.thresholds import PeaksOverThreshold
from skrdae.training.rounds import Session

# Rows looked at to see whether they differ, and so many of a sparse matrix, which may be wide.
_DISTINCT_ROWS, _DISTINCT_SPARSE = 1000, 100
# What one fit leaves for the next: see resuming and streaming.
_CARRIED = ("_kept", "_stream")


@dataclass(frozen=True)
class Task:
    """What a training gets.

    Attributes
    ----------
    rows : Rows
        Scaled, of shape (n, d).
    scaler : ColumnScaler
    seeds : ndarray of shape (n_estimators,)
    session : Session
        What it goes on from and reports to.
    names : ndarray of shape (d,)
        Of the columns, or their numbers.
    """

    rows: Rows
    scaler: ColumnScaler
    seeds: IntArray
    session: Session
    names: NDArray[Any]


@dataclass
class Learnt:
    """What a training returns.

    Attributes
    ----------
    network : MemberModule
    scorer : Scorer
    attributes : dict
        What the detector sets besides, such as ``history_``.
    """

    network: MemberModule
    scorer: Scorer
    attributes: dict[str, Any] = field(default_factory=dict)


@parameters
class BaseTorchDetector(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ScoredDetector):
    """Base class of the detectors of rows: PyOD's contract outside, PyTorch inside.

    A subclass lists its parameters as annotated attributes with defaults, and what they may be in
    ``_parameter_constraints``, and supplies :meth:`_learn`, which trains a network and returns it
    with an object that scores. Everything else is here: checking, scaling, devices, seeds, one
    scale for several members, threshold, labels, probabilities, pickling.
    """

    if TYPE_CHECKING:
        model_: FittedModel = field(init=False)
        history_: list[Record] = field(init=False)
        n_features_in_: int = field(init=False)
        n_estimators: int = field(init=False)
        random_state: RandomStateLike = field(init=False)

    scaler: Scaling = "robust"
    contamination: float | Literal["auto"] | Thresholder = 0.1
    device: str | torch.device = "auto"
    verbose: int = 0
    callbacks: Callbacks = None

    _parameter_constraints = {
        "lr": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "scaler": [StrOptions({s for s in SCALERS if s is not None}), None],
        "contamination": [
            Interval(Real, 0, 0.5, closed="right"),
            HasMethods(["fit", "predict"]),
        ],
        "device": [str, torch.device],
        "random_state": ["random_state"],
        "verbose": [Interval(Integral, 0, None, closed="left"), "boolean"],
        "callbacks": "no_validation",  # by callbacks_of, which says more
    }
    _boolean_parameters = ("verbose", "warm_start", "store_decomposition")
    _advice_on_collapse = (
        "The training collapsed: change lr, train for longer or shorter, or try another "
        "random_state."
    )
    #: The ``bound`` of the ColumnScaler.
    _bound = 10.0
    #: Whether X may be a sparse matrix.
    _accepts_sparse = False
    #: Parameters that have no part in a training, and may differ when one goes on.
    _set_later: ClassVar[tuple[str, ...]] = ()
    #: Whether two fits on a GPU are the same; others are made there on demand only.
    _repeatable_on_gpu = True
    #: Whether `fit` warns of constant columns; what wraps a detector and does so sets it to False.
    warns_of_constants = True
    #: Set while one member of an ensemble is trained apart from the others.
    _agreed: ClassVar[Agreed | None] = None
    #: Whether ``contamination="auto"`` has a meaning.
    _has_votes = False
    if not TYPE_CHECKING:
        # What an ensemble of networks has for parameters, for detectors that are none.
        n_estimators, random_state = 1, None

    # ---------------------------------------------------------------- what a subclass supplies

    @abstractmethod
    def _learn(self, task: Task) -> Learnt:
        """Train on scaled rows."""

    @property
    @abstractmethod
    def _n_rounds(self) -> int:
        """How many rows the history will have at most."""

    @property
    def _scaling(self) -> Scaling:
        """The method of the ColumnScaler."""
        return self.scaler

    @property
    def _fits_sparse(self) -> bool:
        """Whether X may be a sparse matrix in `fit`, with these parameters."""
        return self._accepts_sparse

    def _beside_parameters(self) -> dict[str, str]:
        """Return what a training depends on besides, as text, for another that goes on with it."""
        return {}

    def _vote_threshold(self, model: FittedModel, learnt: Learnt) -> float | None:
        """Return the score from which on members vote, if there is one."""
        return None

    # ------------------------------------------------------------------------ what a fit found

    @property
    def network_(self) -> Any:
        """The trained networks."""
        return self.model_.network

    @property
    def scaler_(self) -> ColumnScaler:
        """The fitted scaler of the columns."""
        return self.model_.scaler

    @property
    def device_(self) -> torch.device:
        """The device that rows are scored on."""
        return self.model_.device

    # ------------------------------------------------------------------------------ fitting

    @fits_in_memory
    def fit(self, X: MatrixLike, y: ArrayLike | None = None) -> Self:
        """Fit the detector.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training data, which may contain anomalies. ``RobustDeepAutoencoder`` and
            ``VAEDetector`` also accept CSR matrices, in all methods that take X.
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
            draft._fit(X, y)
        return self

    def _check_parameters(self) -> None:
        """Raise on a wrong parameter. A subclass adds what its table cannot say."""
        if isinstance(self.contamination, str) and not self._has_votes:
            raise ValueError(
                "contamination must be a share in (0, 0.5], PeaksOverThreshold() or a pythresh "
                f"object for {type(self).__name__}; got {self.contamination!r}. ('auto' is for "
                "RobustDeepAutoencoder and other robust autoencoders, whose λ it reads.)"
            )
        check_parameters(self)
        callbacks_of(self.callbacks)
        if isinstance(self.contamination, type):
            raise TypeError(
                f"contamination must be an object, not the class {self.contamination.__name__}: "
                f"write {self.contamination.__name__}()."
            )
        if isinstance(self.contamination, PeaksOverThreshold):
            self.contamination._check_parameters()

    def _fit(self, X: MatrixLike, y: ArrayLike | None) -> None:
        before = self._forget()
        self._check_parameters()
        X = self._check_data(X, reset=True)
        self._fit_checked(X, None, before)

    def _forget(self) -> dict[str, Any]:
        """Drop what an earlier fit found, and return it."""
        fitted = {k: v for k, v in vars(self).items() if k.endswith("_") or k in _CARRIED}
        for name in fitted:
            delattr(self, name)
        return fitted

    def _fit_checked(
        self,
        X: FloatRowsOrSparse,
        seeds: IntArray | None,
        before: dict[str, Any],
        name: str | None = None,
    ) -> None:
        """Train on checked rows, score them and set the threshold.

        Parameters
        ----------
        seeds : ndarray of shape (n_estimators,), optional
            Drawn with `random_state` by default.
        before : dict
            What an earlier fit found.
        name : str, optional
            Of the detector that a user called, for messages.
        """
        scaler, device = self._learn_scale(X)
        resumption = Resumption(self, X, before)
        if resumption.seeds is None:
            drawn = member_seeds(self.random_state, self.n_estimators) if seeds is None else seeds
            resumption.seeds = drawn
        rows = training_rows(X, scaler, device)
        # Members follow one another where X is sparse.
        n_rounds = self._n_rounds * (self.n_estimators if issparse(X) else 1)
        with watched(
            self.callbacks,
            shows=bool(self.verbose),
            n_rounds=n_rounds,
            n_done=resumption.n_done,
            name=name or type(self).__name__,
        ) as progress:
            session = Session(progress, resumption.keep, resumption.state)
            task = Task(rows, scaler, resumption.seeds, session, self._column_names())
            learnt = self._learn(task)
        resumption.interrupted = self._warn_of_interrupt(progress, n_rounds, name)
        model = FittedModel(scaler, learnt.network, learnt.scorer, np.ones(1))
        scores = self._map(model, model.scorer.scores, rows)
        del rows, task  # before the threshold, which may need as much memory
        self._judge(model, learnt, scores, X)
        self._conclude(X, learnt)
        resumption.finish()

    def _learn_scale(self, X: FloatRowsOrSparse) -> tuple[ColumnScaler, torch.device]:
        """Learn how to scale the columns, and find the device."""
        device = resolve_device(self.device)
        if self.device == "auto" and (issparse(X) or not self._repeatable_on_gpu):
            device = torch.device("cpu")
        if self._agreed is not None:
            return self._agreed.scaler, device
        scaler = ColumnScaler(self._scaling, self._bound).fit(X)
        if X.shape[0] > 1 and self.warns_of_constants:
            constant = self._column_names()[scaler.constant_]
            warn_of_constants(constant.tolist(), "Columns")
        return scaler, device

    def _column_names(self) -> NDArray[Any]:
        return getattr(self, "feature_names_in_", np.arange(self.n_features_in_))

    def _judge(
        self, model: FittedModel, learnt: Learnt, scores: FloatArray, X: FloatRowsOrSparse
    ) -> None:
        """Weigh the members by their scores of rows, (K, n), set the threshold, keep it all."""
        if not np.isfinite(scores).all():
            raise ValueError(
                f"The training of {type(self).__name__} diverged and gives scores that are not "
                f"finite. Lower lr (now {getattr(self, 'lr', None)!r}), or scale X (scaler is "
                f"{self.scaler!r})."
            )
        model = replace(model, weights=member_weights(scores))
        if (np.ptp(scores, axis=1) == 0).all() and _n_different(model.rows(X)) > 2:
            warnings.warn(
                f"{type(self).__name__} gives every training row the same score, so it tells "
                f"nothing apart. {self._advice_on_collapse}",
                ConvergenceWarning,
                stacklevel=outside(),
            )
        found = judged(
            model,
            model.weighted(scores),
            self.contamination,
            model.rows(X),
            self._vote_threshold(model, learnt),
        )
        vars(self).update(learnt.attributes | found)
        self.classes_ = np.array([0, 1])

    def _warn_of_interrupt(
        self, progress: Progress, n_rounds: int, name: str | None = None
    ) -> bool:
        """Warn if a training was interrupted, and return whether it was."""
        interrupted = progress.interrupted and progress.n_rows < n_rounds
        if interrupted:
            warnings.warn(
                f"{name or type(self).__name__} was interrupted after {progress.n_rows} of at most "
                f"{n_rounds} iterations; it is fitted as far as it came.",
                ConvergenceWarning,
                stacklevel=outside(),
            )
        return interrupted

    def _conclude(self, X: FloatRowsOrSparse, learnt: Learnt) -> None:
        """Do what a detector adds once it is fitted to X, which is checked."""

    def _check_data(self, X: MatrixLike, *, reset: bool) -> Any:
        """Return X as rows of floats; see :func:`~skrdae._validation.check_data`."""
        return check_data(self, X, reset=reset, sparse=self._accepts_sparse)

    def _as_given(self, rows: FloatArray, X: MatrixLike) -> FloatArray:
        """Return rows in the shape that X came in."""
        return rows

    # ------------------------------------------------------------------------------ scoring

    def _validated(self, X: MatrixLike) -> FloatRowsOrSparse:
        check_is_fitted(self)
        return self._check_data(X, reset=False)

    def _map(self, model: FittedModel, function: NetworkFunction, rows: Rows) -> FloatArray:
        return model.map(function, rows)

    @scores_in_memory
    def _members(self, function: NetworkFunction, X: FloatRowsOrSparse) -> FloatArray:
        """Apply a function of each member and scaled rows to checked X: (K, n, …)."""
        return self._map(self.model_, function, self.model_.rows(X))

    @scores_in_memory
    def _average(self, function: NetworkFunction, X: FloatRowsOrSparse) -> FloatArray:
        """Do the same, averaged over the members: (n, …)."""
        return self.model_.average(function, self.model_.rows(X))

    def _score(self, X: FloatRowsOrSparse) -> FloatArray:
        return self._average(self.model_.scorer.scores, X)

    @scores_in_memory
    def _labels_of(self, X: FloatRowsOrSparse, scores: FloatArray) -> IntArray:
        return label(self.model_, scores, self.threshold_, self.model_.rows(X))

    @property
    def _flagged_share(self) -> float:
        return self.model_.share

    def _flag_above_threshold(self) -> None:
        """Let ``threshold_``, set from outside, decide, whatever decided so far."""
        vars(self).pop("thresholder_", None)
        self.model_ = replace(self.model_, by_vote=False, share=float(self.labels_.mean()))

    def decision_function(self, X: MatrixLike) -> FloatArray:
        """Return the anomaly score of each row; the higher, the more anomalous.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), float64
            On the training data it equals ``decision_scores_``. The score of a row is bit for bit
            the same, whatever other rows are scored in the same call (for recurrent networks this
            holds on a CPU).
        """
        self = snapshot(self)
        return self._score(self._validated(X))

    def explain(self, X: MatrixLike) -> FloatArray:
        """Return the contribution of each feature to the score of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_features), float64
            Non-negative. The contributions to a row add up to its ``decision_function``, within the
            rounding of single precision.
        """
        self = snapshot(self)
        X = self._validated(X)
        return self._average(self.model_.scorer.shares, X)

    # ------------------------------------------------------------------------------- codes

    def transform(self, X: MatrixLike) -> FloatArray:
        """Encode rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_estimators × code size)
            The members' codes side by side.
        """
        self = snapshot(self)
        X = self._validated(X)
        codes = self._members(self.model_.scorer.codes, X)  # shape: (K, n, units)
        return np.concatenate(list(codes), axis=1)

    @scores_in_memory
    def inverse_transform(self, X: ArrayLike) -> FloatArray:
        """Decode codes to data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_estimators × code size)
            Codes, as returned by :meth:`transform`.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            In the units of the training data, averaged over the members.
        """
        self = snapshot(self)
        check_is_fitted(self)
        codes = check_array(numbers_only(X), dtype=np.float32)
        if codes.shape[1] != self._n_features_out:
            raise ValueError(
                f"X has {codes.shape[1]} columns, but transform gives {self._n_features_out}."
            )
        n_members = len(self.model_.weights)
        decoded = self.model_.decode(np.stack(np.split(codes, n_members, axis=1)))
        total = sum(member.astype(np.float64) for member in decoded)
        return self.scaler_.inverse_transform(total / n_members)

    @property
    def _n_features_out(self) -> int:
        return len(self.model_.weights) * self.model_.code_size

    # ------------------------------------------------------------------------- scikit-learn

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "network_" in state:
            raise ValueError(
                f"This {type(self).__name__} was pickled by skrdae 0.1. Load it with "
                "skrdae==0.1.0, write it with skrdae.save, and read that file here with "
                "skrdae.load; or fit it again."
            )
        vars(self).update(state)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        # PyOD's labels 0 and 1 are not the −1 and +1 of scikit-learn's outlier detectors.
        tags.estimator_type = None
        tags.input_tags.sparse = self._fits_sparse
        if self._accepts_sparse:
            # scikit-learn's check of sparse matrices asks whoever has predict_proba for these.
            tags.classifier_tags = ClassifierTags(multi_class=False)
        return tags


def _n_different(rows: Rows) -> int:
    """Count rows that differ by more than rounding errors, among the first ones.

    Two of them lie on either side of their centre, and so tie by right.
    """
    wide = rows.shape[1] > _DISTINCT_ROWS
    some = rows.take(slice(0, _DISTINCT_SPARSE if wide else _DISTINCT_ROWS)).cpu().numpy()
    return len(np.unique(np.round(some, 6), axis=0))
