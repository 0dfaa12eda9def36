"""RobustDeepAutoencoder: X = L + S with a deep autoencoder for L and a sparse S."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from numbers import Real
from typing import Literal

import torch
from sklearn.utils._param_validation import Interval, StrOptions

from skrdae._typing import Activation
from skrdae._validation import check_layer_sizes
from skrdae.detectors.base import Task
from skrdae.detectors.robust import BaseRobustAutoencoder
from skrdae.networks.mlp import ACTIVATIONS, MemberAutoencoder
from skrdae.objectives.reconstruction import SparseReconstruction
from skrdae.penalties import L21, PENALTIES, penalty_of
from skrdae.registry import detector
from skrdae.rows import Rows
from skrdae.training.alternating import Schedule


@detector
class RobustDeepAutoencoder(BaseRobustAutoencoder):
    r"""Robust deep autoencoder: X = L + S, deep low-rank part plus sparse anomalies.

    Solves

    .. math:: \min_{\theta, S} \|L - D(E(L))\|_F^2 + \lambda\,\Omega(S)
              \quad\text{subject to}\quad X = L + S

    by alternation: the autoencoder D(E(·)) is trained on L = X − S, then S is set to the proximal
    operator (prox) of X − D(E(L)). A residual larger than λ moves to S and no longer influences the
    training. So the network can be trained on data that already contain anomalies, without labels.

    A *larger* λ makes S sparser and finds *fewer* anomalies; ``lam=inf`` keeps S at zero and is
    the plain autoencoder.

    Parameters
    ----------
    lam : float, "auto" or str, default="auto"
        λ ≥ 0, the threshold of the prox, in units of the scaled data. A string such as
        ``"1.5*median"`` is a multiple of the median norm of the groups of the residual, found anew
        in each iteration for each member; it means the same on data of another size or scale.
        ``"auto"`` recomputes λ in each iteration so that a share `contamination` of the groups
        (rows for ``"l21"`` and ``"l20"``, entries for ``"l1"``, columns for ``"l21_features"``) has
        a non-zero S. ``lam_`` holds the final value of either. With ``"auto"`` and several members,
        each has a share of its own: they are evenly spaced on a logarithmic scale from half to
        twice `contamination`, and none exceeds one half.
    penalty : {"l21", "l1", "l21_features", "l20"} or GroupPenalty, default="l21"
        The penalty Ω. ``"l21"`` sums the norms of rows (whole samples are anomalous), ``"l1"`` sums
        absolute values (single entries are anomalous), ``"l21_features"`` sums the norms of columns
        (whole features are anomalous). ``"l20"`` counts rows: those of which the network leaves
        more than a share λ of the norm are left out of the training. It is for rows far from zero,
        such as images, and not for tables, whose ordinary rows are near zero once they are scaled.
        Pass an instance of a :class:`~skrdae.penalties.GroupPenalty` for a penalty of your own.
    hidden_layer_sizes : sequence of int or "auto", default="auto"
        Units of the encoder's layers, bottleneck last; the decoder mirrors them. ``"auto"`` is one
        layer of 64 units and a bottleneck of n_features units, but at most max(24, √n_features) and
        at least 2. For few features that is no bottleneck: the training is so short that the
        network learns only what most rows have in common. For a longer one, as for `decompose`,
        a narrower code is better.
    activation : {"tanh", "relu", "sigmoid", "identity"}, default="tanh"
        Activation function of the hidden layers.
    output_activation : {"identity", "sigmoid", "tanh", "relu"}, default="identity"
        Activation function of the last layer; ``"sigmoid"`` suits data in [0, 1].
    max_iter : int, default=5
        Number of outer iterations; each is `n_epochs` of training followed by the prox. The default
        is small because a network trained for long on contaminated data also learns the anomalies.
    n_epochs : int, default=1
        Number of passes over the data within an outer iteration.
    batch_size : int or "auto", default="auto"
        Largest number of rows in a gradient step; batches are of equal size within one row.
        ``"auto"`` is n / 24, but at least 32 and at most 128, where n is the number of rows a
        member is trained on.
    lr : float, default=1e-3
        Learning rate of Adam.
    tol : float or None, default=None
        Training stops when ‖X − D(E(L)) − S‖_F or the change of D(E(L)) + S in an iteration is
        below `tol` · ‖X‖_F; if `max_iter` is reached first, a ``ConvergenceWarning`` is raised.
        ``None`` always makes `max_iter` iterations.
    n_estimators : int, default=8
        Number of members of the ensemble, which are trained together; they differ in seed, rows and
        λ. Their scores are brought to one scale and averaged.
    max_samples : int, float, "auto" or None, default=None
        Rows each member is trained on, drawn without replacement: a number, a share, or ``"auto"``
        for min(256, n_samples), as in ``IsolationForest``. ``None`` takes all rows, but at most
        10,000, because training on more takes longer and detects worse. ``n_estimators=1`` with
        ``max_samples=1.0`` and ``score_function="norm"`` is the published method.
    scaler : {"robust", "standard", "minmax"} or None, default="robust"
        Scaling of the columns inside the detector, see
        :class:`~skrdae.preprocessing.ColumnScaler`.
    sparsity : float, default=0.0
        Weight β ≥ 0 of a penalty β ‖E(L)‖₁ for each row, in units of the squared error, which makes
        most units of a code rest near zero. It lets the code be wide: each row uses a few of its
        units. 0 is the usual autoencoder.
    score_function : {"auto", "log", "norm"}, default="auto"
        How a row's residual x − D(E(x)) becomes its score. ``"log"`` sums log(1 + a²) + a
        √n_features / 100 over the features, where a is the absolute residual divided by the usual
        residual of that feature, so that neither a single feature nor a single extreme value
        dominates the score. ``"norm"`` is Ω of the residual, as published; use it where all
        features have the same unit, as pixels do. ``"auto"`` is ``"norm"`` with ``scaler=None``,
        which implies a common unit, and with ``contamination="auto"``, which compares norms with λ;
        otherwise it is ``"log"``.
    contamination : float, "auto", PeaksOverThreshold or pythresh object, default=0.1
        How rows are flagged. A float is the share of the training rows to flag, in (0, 0.5].
        ``"auto"`` flags a row if its S is not zero in more than half of the members.
        :class:`~skrdae.thresholds.PeaksOverThreshold` or a pythresh object sets the threshold; a
        copy of it is fitted. With ``lam="auto"``, a float also sets λ, and anything else counts as
        0.1 there. ``"auto"`` is meant for ``penalty="l21"``: with ``"l1"`` one entry is enough to
        flag its row, and with ``"l21_features"`` one column is enough to flag every row.
    store_decomposition : bool, default=False
        Keep the decomposition of the training data in ``low_rank_`` and ``sparse_``.
    device : str or torch.device, default="auto"
        ``"auto"`` takes the first that is available of CUDA, MPS and the CPU.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial weights, the order of the rows and the members' samples. Pass an int for
        reproducible results. NumPy's and torch's global generators are neither used nor changed.
    verbose : int, default=0
        1 shows a progress bar of the training.
    callbacks : callable, list of callables or None, default=None
        Functions that are called with each new row of ``history_`` (a dict). If one returns True,
        training stops, and the detector is fitted with what it has learnt so far.
    warm_start : bool, default=False
        If True, a second `fit` to the same X continues the training of the first. Only `max_iter`
        may differ, and has to be larger. The result is bit for bit that of one training of the
        whole length.
    checkpoint_path : str, path-like or None, default=None
        A file to which the state of the training is written after each outer iteration. If the file
        exists, `fit` continues from it. A completed training removes it; an interrupted one keeps
        it.

    Attributes
    ----------
    decision_scores_ : ndarray of shape (n_samples,)
        Scores of the training data, in units of a residual of the scaled data.
    threshold_ : float
        Rows with a higher score are flagged. With ``contamination="auto"`` the members vote, and it
        is the threshold that comes closest to their labels (for one member with ``penalty="l21"``,
        ``lam_``).
    labels_ : ndarray of shape (n_samples,)
        1 for the training rows that are flagged, 0 for the others.
    lam_ : float, or ndarray of shape (n_estimators,) with several members
        λ of the last iteration.
    n_iter_ : int
        Number of outer iterations made.
    history_ : list of dict
        One dict for each outer iteration; see :class:`~skrdae.history.IterationRecord`.
    model_ : FittedModel
        What scoring needs, see :class:`~skrdae.model.FittedModel`; the next three are its parts.
    network_ : MemberAutoencoder
        The trained networks; their weights have the member axis first.
    scaler_ : ColumnScaler
    device_ : torch.device
    thresholder_ : object
        The fitted copy of `contamination`. Only if that is an object.
    low_rank_, sparse_ : ndarray of shape (n_samples, n_features)
        The decomposition of the training data. Only with ``store_decomposition=True``.
    classes_ : ndarray of shape (2,)
        The classes of the columns of ``predict_proba``: 0 (normal) and 1 (anomalous).
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X. Only if they are all strings.

    Notes
    -----
    Training keeps the scaled data in memory in single precision and, for each member, a matrix of
    the size of its training rows; ``penalty="l1"`` adds the absolute residuals and copies of them.
    A ``np.memmap`` of float32 or float64 is not loaded into memory: the scaled data and the
    members' matrices are then kept in temporary files.

    ``transform`` encodes L, the cleaned rows, and not X.

    In ``score_function="log"``, log(1 + a²) is, up to a constant, the negative log-density of a
    Cauchy distribution. The second term makes sure that a value some thousand scales away gets the
    highest score. A single value a hundred scales away in a row of many features does not; if your
    anomalies look like that, use ``"norm"``. The usual residual of a feature is the 0.9 quantile of
    the member's absolute residuals over the training rows (or some thousands of them), divided by
    1.645, and at least a tenth of that of the median feature. With ``"norm"`` the score is ‖x −
    D(E(x))‖ for ``"l21"``, and the sum of absolute values for the other two penalties.

    References
    ----------
    Zhou, C. and R. C. Paffenroth, Anomaly Detection with Robust Deep Autoencoders, KDD 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from skrdae import RobustDeepAutoencoder
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 2)) @ rng.normal(size=(2, 6))  # on a plane
    >>> X[:5] += rng.normal(scale=8, size=(5, 6))  # five rows off it
    >>> detector = RobustDeepAutoencoder(contamination=0.025, random_state=0).fit(X)
    >>> np.flatnonzero(detector.labels_).tolist()
    [0, 1, 2, 3, 4]
    """

    hidden_layer_sizes: Sequence[int] | Literal["auto"] = "auto"
    activation: Activation = "tanh"
    output_activation: Activation = "identity"
    sparsity: float = 0.0
    score_function: Literal["auto", "log", "norm"] = "auto"

    _parameter_constraints = {
        **BaseRobustAutoencoder._parameter_constraints,
        "activation": [StrOptions(set(ACTIVATIONS))],
        "output_activation": [StrOptions(set(ACTIVATIONS))],
        "sparsity": [Interval(Real, 0, 1e6, closed="both")],
        "score_function": [StrOptions({"log", "norm", "auto"})],
    }
    _bound = 3.0
    _accepts_sparse = True

    # ------------------------------------------------------------------------------ the network

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if not self._automatic_sizes():
            check_layer_sizes(self.hidden_layer_sizes)

    def _schedule(self, task: Task, n_rows: int) -> Schedule:
        schedule = super()._schedule(task, n_rows)
        if not self.sparsity:
            return schedule
        objective = SparseReconstruction(schedule.bound, float(self.sparsity))
        return replace(schedule, objective=objective)

    def _automatic_sizes(self) -> bool:
        return isinstance(self.hidden_layer_sizes, str) and self.hidden_layer_sizes == "auto"

    def _layer_sizes(self, n_features: int) -> tuple[int, ...]:
        if self._automatic_sizes():
            return 64, max(2, round(min(n_features, max(24, n_features**0.5))))
        return check_layer_sizes(self.hidden_layer_sizes)

    def _new_network(
        self, n_features: int, generators: Sequence[torch.Generator], device: torch.device
    ) -> MemberAutoencoder:
        sizes = self._layer_sizes(n_features)
        return MemberAutoencoder(
            n_features, sizes, self.activation, self.output_activation, generators, device
        )

    # ------------------------------------------------------------------------------- sparse X

    @property
    def _fits_sparse(self) -> bool:
        return self._accepts_sparse and not self._unlike_sparse()

    def _unlike_sparse(self) -> list[tuple[str, str]]:
        """Return the parameters that do not go with a sparse X, and what they would have to be."""
        named = not isinstance(self.penalty, str) or self.penalty in PENALTIES
        right = {
            ("penalty", "'l21'"): named and type(penalty_of(self.penalty)) is L21,
            ("tol", "None"): self.tol is None,
            ("store_decomposition", "False"): not self.store_decomposition,
        }
        return [pair for pair, fits in right.items() if not fits]

    def _check_rows(self, rows: Rows) -> None:
        for name, value in self._unlike_sparse() if rows.sparse else ():
            raise ValueError(
                f"With a sparse X {name} must be {value}; got {getattr(self, name)!r}."
            )
