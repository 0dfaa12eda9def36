"""The template of every detector: fit, score, threshold, label, pickle."""

from __future__ import annotations

import copy
import warnings
from abc import abstractmethod
from collections.abc import Callable
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import ClassifierTags, Tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from skrdae._bases import BaseDetector, BaseEstimator
from skrdae._device import device_if_there, plain_torch, resolve_device
from skrdae._memory import is_mapped, matrix
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
from skrdae._validation import check_parameters, outside, refitting, warn_of_constants
from skrdae.detectors.labelling import LabelMixin
from skrdae.detectors.probability import ProbabilityMixin
from skrdae.detectors.progress import Progress, callbacks_of, watched
from skrdae.detectors.scoring import ScoringMixin, dense
from skrdae.networks.mlp import OUTPUT_RANGES
from skrdae.networks.workspace import RowFunction, Workspace
from skrdae.preprocessing import SCALERS, ColumnScaler
from skrdae.training.sparse import SparseRows, range_of

if TYPE_CHECKING:
    from skrdae.networks.gan import MemberGAN
    from skrdae.networks.member import MemberModule
    from skrdae.networks.variational import MemberVAE

# Rows looked at to see whether they differ, and so many of a sparse matrix, which may be wide.
_DISTINCT_ROWS, _DISTINCT_SPARSE = 1000, 100


class BaseTorchDetector(LabelMixin, ProbabilityMixin, ScoringMixin, BaseDetector):
    """Base class of the detectors: PyOD's contract outside, PyTorch inside.

    A subclass stores its parameters in ``__init__``, lists what they may be in
    ``_parameter_constraints``, and supplies three methods: :meth:`_train`, which makes the
    network, :meth:`_member_scores`, which scores one chunk of rows with it, and
    :meth:`_member_shares`, which splits those scores over the features. Everything else is here:
    checking, scaling, devices, seeds, one scale for several members, threshold, labels,
    probabilities, pickling.
    """

    decision_scores_: FloatArray
    threshold_: float
    labels_: IntArray
    history_: list[Record]
    network_: MemberModule | MemberVAE | MemberGAN
    scaler_: ColumnScaler
    device_: torch.device
    thresholder_: Thresholder
    classes_: IntArray
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]

    batch_size: int | Literal["auto"]
    n_estimators: int
    output_activation: str
    scaler: Scaling
    contamination: float | Literal["auto"] | Thresholder
    device: str | torch.device
    random_state: RandomStateLike
    verbose: int
    callbacks: Callbacks

    _parameter_constraints: dict[str, Any] = {
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
    _boolean_parameters: tuple[str, ...] = ("verbose",)
    _advice_on_collapse = (
        "The training collapsed: change lr, train for longer or shorter, or try another "
        "random_state."
    )
    #: The ``bound`` of the ColumnScaler.
    _bound = 10.0
    #: Whether X may be a sparse matrix.
    _accepts_sparse = False
    #: Whether `fit` warns of constant columns; who sets it to False does so.
    _tells_of_constants = True

    @property
    def _fits_sparse(self) -> bool:
        """Whether it may be one in `fit`, with these parameters."""
        return self._accepts_sparse

    # PyOD's base class overrides these with versions that fail scikit-learn's checks.
    get_params = BaseEstimator.get_params
    set_params = BaseEstimator.set_params
    __repr__ = BaseEstimator.__repr__
    _get_param_names: Any = vars(BaseEstimator)["_get_param_names"]

    # ---------------------------------------------------------------- what a subclass supplies

    @abstractmethod
    def _train(
        self, data: torch.Tensor, seeds: IntArray, on_iteration: Callable[[Record], object]
    ) -> None:
        """Train on scaled data and set the fitted attributes.

        Parameters
        ----------
        data : Tensor of shape (n, d)
        seeds : ndarray of shape (n_estimators,)
        on_iteration : callable
            To be called with each row of the history; where it says True, the training stops.
        """

    @abstractmethod
    def _member_scores(self, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        """Score rows: a (n, d) tensor → (K, n), the higher the more anomalous."""

    @abstractmethod
    def _member_shares(self, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        """Split :meth:`_member_scores` over the features: (n, d) → (K, n, d)."""

    #: Where ``contamination="auto"`` has a meaning, a method that says which rows each member finds
    #: anomalous: (rows, workspace), (n, d) → (K, n), 1.0 or 0.0.
    # It is None elsewhere, where the check of parameters keeps anybody from calling it.
    _member_votes: RowFunction = None  # type: ignore[assignment]

    @property
    @abstractmethod
    def _n_rounds(self) -> int:
        """How many rows the history will have at most."""

    @property
    def _n_done(self) -> int:
        """How many there are already when a training goes on."""
        return 0

    @property
    def _scaling(self) -> Scaling:
        """The method of the ColumnScaler."""
        return self.scaler

    # ------------------------------------------------------------------ what it may call

    def _rows_a_batch(self, n_rows: int) -> int:
        """Return the batch size for members trained on so many rows."""
        if self.batch_size == "auto":
            return min(max(n_rows // 24, 32), 128)
        return self.batch_size

    def _warn_of_reach(self, data: torch.Tensor | SparseRows) -> None:
        """Warn if the data lie where `output_activation` cannot go."""
        low, high = OUTPUT_RANGES[self.output_activation]
        found = range_of(data)
        if found[0] < low - 1e-5 or found[1] > high + 1e-5:
            warnings.warn(
                f"output_activation={self.output_activation!r} gives values from {low} to {high}, "
                f"but with scaler={self.scaler!r} the data reach from {found[0]:.3g} to "
                f"{found[1]:.3g}. Set scaler='minmax' or output_activation='identity'; or, if all "
                "columns have one unit, as pixels do, divide X by its largest value.",
                UserWarning,
                stacklevel=outside(),
            )

    def _clip(self, rows: torch.Tensor) -> torch.Tensor:
        return rows.clamp(-self.scaler_.bound_, self.scaler_.bound_)

    # ------------------------------------------------------------------------------ fitting

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
        """
        with refitting(self) as draft, plain_torch():
            draft._fit(X, y)
        return self

    def _check_parameters(self) -> None:
        """Raise on a wrong parameter. A subclass adds what its table cannot say."""
        if isinstance(self.contamination, str) and self._member_votes is None:
            raise ValueError(
                f"contamination must be a share in (0, 0.5] or a pythresh object for "
                f"{type(self).__name__}; got {self.contamination!r}. ('auto' is for "
                "RobustDeepAutoencoder, whose λ it reads.)"
            )
        check_parameters(self)
        callbacks_of(self.callbacks)
        if isinstance(self.contamination, type):
            raise TypeError(
                f"contamination must be an object, not the class {self.contamination.__name__}: "
                f"write {self.contamination.__name__}()."
            )

    def _fit(self, X: MatrixLike, y: ArrayLike | None) -> None:
        X = self._start(X)
        self._complete(X, member_seeds(self.random_state, self.n_estimators))

    def _start(self, X: MatrixLike) -> FloatRowsOrSparse:
        """Check the parameters and X, which is returned as an array; learn how to scale it."""
        self._check_parameters()
        self._forget()
        X = self._check_data(X, reset=True)
        self._learn_scale(X)
        return X

    def _forget(self) -> None:
        """Drop what an earlier fit found."""
        for name in [n for n in vars(self) if n.endswith("_") and not n.startswith("_")]:
            delattr(self, name)

    def _learn_scale(self, X: FloatRowsOrSparse) -> None:
        self.device_ = resolve_device(self.device)
        if issparse(X) and self.device == "auto":  # they are trained on there only
            self.device_ = torch.device("cpu")
        self.scaler_ = ColumnScaler(self._scaling, self._bound).fit(X)
        if X.shape[0] > 1 and self._tells_of_constants:
            names = getattr(self, "feature_names_in_", np.arange(self.n_features_in_))
            warn_of_constants(names[self.scaler_.constant_].tolist(), "Columns")
        self._classes = 2  # PyOD's number of predict_proba's columns
        self.classes_ = np.array([0, 1])

    def _training_rows(self, X: FloatRowsOrSparse) -> torch.Tensor | SparseRows:
        """Return X scaled, on the device; in a file if X is in one, sparse if X is."""
        if issparse(X):
            if self.device_.type != "cpu":
                raise ValueError("A sparse X is trained on by the CPU: set device='cpu'.")
            return SparseRows(X, self.scaler_.transform)
        if self.device_.type != "cpu":
            return self._to_device(X)
        mapped = is_mapped(X)
        ready = self.scaler_.method is None and X.dtype == np.float32 and X.flags.c_contiguous
        # An axis of one row or column may have any stride, and torch takes none that is negative.
        ready = ready and min(X.strides) > 0
        if ready and X.flags.writeable and not mapped:  # which torch insists on
            return torch.from_numpy(X)  # only ever read
        data = matrix(X.shape, mapped=mapped)
        self.scaler_.transform(X, out=data.numpy())
        return data

    def _complete(self, X: FloatRowsOrSparse, seeds: IntArray) -> None:
        """Train on checked data, score them and set the threshold."""
        data = self._training_rows(X)
        options: dict[str, Any] = {
            "shows": self.verbose,
            # Members follow one another there.
            "n_rounds": self._n_rounds * (self.n_estimators if issparse(X) else 1),
            "n_done": self._n_done,
            "name": type(self).__name__,
        }
        with watched(self.callbacks, **options) as progress:
            # SparseRows come to those alone that take them.
            self._train(data, seeds, progress)  # type: ignore[arg-type]
        self._warn_of_interrupt(progress, options["n_rounds"])
        if isinstance(data, SparseRows):
            scores = self._map(self._member_scores, X)
        else:
            scores = self._map_tensor(self._member_scores, data)
        del data  # before the threshold, which may need as much memory
        self._judge(scores, X)
        self._conclude(X)

    def _judge(self, scores: FloatArray, X: FloatRowsOrSparse) -> None:
        """Weigh the members by their scores of rows, (K, n), and set the threshold."""
        self._weigh(scores)
        if (np.ptp(scores, axis=1) == 0).all() and self._n_different(X) > 2:
            warnings.warn(
                f"{type(self).__name__} gives every training row the same score, so it tells "
                f"nothing apart. {self._advice_on_collapse}",
                ConvergenceWarning,
                stacklevel=outside(),
            )
        self._set_threshold(X)

    def _warn_of_interrupt(self, progress: Progress, n_rounds: int) -> None:
        if progress.interrupted and progress.n_rows < n_rounds:
            self._on_interrupt()
            warnings.warn(
                f"{type(self).__name__} was interrupted after {progress.n_rows} of at most "
                f"{n_rounds} iterations; it is fitted as far as it came.",
                ConvergenceWarning,
                stacklevel=outside(),
            )

    def _on_interrupt(self) -> None:
        """Do what a detector adds where a training was interrupted."""

    def _conclude(self, X: FloatRowsOrSparse) -> None:
        """Do what a detector adds once it is fitted to X, which is checked."""

    def _weigh(self, scores: FloatArray) -> None:
        """Bring the members' training scores, (K, n), to one scale."""
        if not np.isfinite(scores).all():
            raise ValueError(
                f"The training of {type(self).__name__} diverged and gives scores that are not "
                f"finite. Lower lr (now {getattr(self, 'lr', None)!r}), or scale X (scaler is "
                f"{self.scaler!r})."
            )
        # Each member's scores are divided by their median, which a far outlier does not move,
        # and the average is put back in the members' units.
        medians = np.median(scores, axis=1)
        medians[medians == 0] = 1.0
        self._weights = medians.mean() / medians / len(medians)
        self.decision_scores_ = self._weighted(scores)

    def _n_different(self, X: FloatRowsOrSparse) -> int:
        """Count rows that differ by more than rounding errors, among the first ones.

        Two of them lie on either side of their centre, and so tie by right.
        """
        rows = dense(X[: _DISTINCT_SPARSE if issparse(X) else _DISTINCT_ROWS])
        return len(np.unique(np.round(self.scaler_.transform(rows), 6), axis=0))

    # ------------------------------------------------------------------------- scikit-learn

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__().copy()
        # Nothing of a GPU may be alive in a pickle: it has to load on a machine without one. The
        # name of the device stays.
        for key, value in state.items():
            if isinstance(value, torch.nn.Module) and self.device_.type != "cpu":
                state[key] = copy.deepcopy(value).cpu()
            elif isinstance(value, torch.Tensor):
                state[key] = value.cpu()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if "device_" in state:
            self._move(device_if_there(self.device_))

    def _move(self, device: torch.device) -> None:
        """Move what scores to a device."""
        self.device_ = device
        for key, value in vars(self).items():
            if isinstance(value, torch.nn.Module | torch.Tensor):
                vars(self)[key] = value.to(device)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # The default goes by way of the pickle, and so would leave the GPU.
        other = memo[id(self)] = type(self).__new__(type(self))
        other.__dict__.update(copy.deepcopy(vars(self), memo))
        return other

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        # PyOD's labels 0 and 1 are not the −1 and +1 of scikit-learn's outlier detectors.
        tags.estimator_type = None
        tags.input_tags.sparse = self._fits_sparse
        if self._accepts_sparse:
            # scikit-learn's check of sparse matrices asks whoever has predict_proba for these.
            tags.classifier_tags = ClassifierTags(multi_class=False)
        return tags
