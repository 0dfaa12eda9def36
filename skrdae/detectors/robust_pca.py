"""RobustPCA: X = L + S with L of low rank, the linear ancestor of the robust autoencoder."""

from __future__ import annotations

import warnings
from dataclasses import field
from numbers import Integral, Real
from typing import Literal

import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions

from skrdae._typing import FloatRowsOrSparse
from skrdae._validation import outside
from skrdae.detectors.base import BaseTorchDetector, Learnt, Task
from skrdae.detectors.decomposition import BaseDecomposition
from skrdae.networks.mlp import MemberAutoencoder
from skrdae.penalties import PENALTIES
from skrdae.registry import detector
from skrdae.scorers.residual_scale import rows_to_measure
from skrdae.training.principal_components import Pursuit
from skrdae.training.rounds import run


@detector
class RobustPCA(BaseDecomposition):
    r"""Robust principal component analysis: X = L + S, low rank plus sparse.

    Solves

    .. math:: \min_{L, S} \|L\|_* + \lambda \|S\|_1 \quad\text{subject to}\quad X = L + S,

    the linear predecessor of :class:`RobustDeepAutoencoder`. The problem is convex, so there is no
    seed and no learning rate. New rows are projected on the principal directions of L. Use it where
    linear structure is enough, or as a baseline for the deep detectors.

    Parameters
    ----------
    lam : float or "auto", default="auto"
        λ > 0, the weight of S against the singular values of L. ``"auto"`` is 1 / √max(n_samples,
        n_features), for which the reference proves exact recovery from data without noise. With
        noisy data the noise goes to S, which then is not sparse. A larger λ makes S sparser and the
        rank of L higher.
    max_iter : int, default=1000
        Largest number of iterations.
    tol : float, default=1e-4
        Iteration stops when the constraint is met to within `tol` · ‖X‖ and the change of S is
        within `tol` times the norm of the multiplier. If `max_iter` is reached first, a
        ``ConvergenceWarning`` is raised.
    scaler : {"robust", "standard", "minmax"} or None, default="robust"
        Scaling of the columns inside the detector, see
        :class:`~skrdae.preprocessing.ColumnScaler`. ``None`` solves the problem for X as it is.
    score_function : {"auto", "log", "norm"}, default="auto"
        As in :class:`RobustDeepAutoencoder`; ``"norm"`` is the sum of absolute residuals.
    contamination : float, PeaksOverThreshold or pythresh object, default=0.1
        How rows are flagged. A float is the share of the training rows to flag, in (0, 0.5].
        :class:`~skrdae.thresholds.PeaksOverThreshold` or a pythresh object sets the threshold; a
        copy of it is fitted.
    store_decomposition : bool, default=False
        Keep L and S of the training data in ``low_rank_`` and ``sparse_``.
    device : str or torch.device, default="auto"
        ``"auto"`` is the CPU, where two fits are the same to the last bit.
    verbose : int, default=0
        1 shows a progress bar of the training.
    callbacks : callable, list of callables or None, default=None
        Functions that are called with each new row of ``history_`` (a dict). If one returns True,
        training stops, and the detector is fitted with what it has learnt so far.

    Attributes
    ----------
    decision_scores_ : ndarray of shape (n_samples,)
        Scores of the training data; the higher, the more anomalous.
    threshold_ : float
        Rows with a higher score are flagged.
    labels_ : ndarray of shape (n_samples,)
        1 for the training rows that are flagged, 0 for the others.
    lam_ : float
        λ.
    rank_ : int
        The rank of L.
    low_rank_, sparse_ : ndarray of shape (n_samples, n_features)
        S, as the problem's solution has it, in X's own units, and L = X − S, which is of rank
        ``rank_`` to within `tol`, about the scaler's centre; with ``store_decomposition=True``.
    n_iter_ : int
    history_ : list of dict
        A row an iteration: ``objective``, ``rank``, ``sparse_share`` (of the entries),
        ``constraint``, ``change``.
    model_ : FittedModel
        What scoring needs, see :class:`~skrdae.model.FittedModel`; the next three are its parts.
    network_ : MemberAutoencoder
        The directions of L as a linear autoencoder; one of zeros where the rank is 0.
    scaler_ : ColumnScaler
    device_ : torch.device
    thresholder_ : object
        The fitted copy of `contamination`. Only if that is an object.
    classes_ : ndarray of shape (2,)
        The classes of the columns of ``predict_proba``: 0 (normal) and 1 (anomalous).
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X. Only if they are all strings.

    See Also
    --------
    RobustDeepAutoencoder : The same decomposition with a deep network for L.

    Notes
    -----
    Each iteration costs an eigenvalue decomposition of a square matrix of the smaller side of X
    and two products with X, in double precision.

    ``decision_function``, ``transform`` and ``decompose`` treat all rows, training rows too, with
    the directions of L frozen, so that ``decompose(X)`` is not ``low_rank_`` and ``sparse_``. The
    score comes from x − P(x), where P projects on those directions; where they are as many as the
    features, the weakest is left out, because nothing else would be left to score by.
    ``decompose`` alternates S ← shrink(x − P(x − S)); it shrinks by the size that a share
    `contamination` (0.1 for an object) of the entries of x − P(x) exceeds in training.

    Values are clipped to ten scales before they are projected, here and in the problem above; what
    lies beyond belongs to S.

    References
    ----------
    Candès, E. J., X. Li, Y. Ma and J. Wright, Robust Principal Component Analysis?, Journal of the
    ACM 58(3), 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from skrdae import RobustPCA
    >>> rng = np.random.default_rng(0)
    >>> low_rank = rng.normal(size=(200, 2)) @ rng.normal(size=(2, 50))
    >>> sparse = 5 * rng.choice([-1, 0, 1], size=(200, 50), p=[0.02, 0.96, 0.02])
    >>> detector = RobustPCA(scaler=None, store_decomposition=True).fit(low_rank + sparse)
    >>> detector.rank_
    2
    >>> bool(np.allclose(detector.sparse_, sparse, atol=0.01))
    True
    """

    lam: float | Literal["auto"] = field(default="auto", kw_only=False)
    max_iter: int = 1000
    tol: float = 1e-4
    score_function: Literal["auto", "log", "norm"] = "auto"

    _parameter_constraints = {
        **{
            name: BaseTorchDetector._parameter_constraints[name]
            for name in ("scaler", "contamination", "device", "verbose", "callbacks")
        },
        "lam": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "score_function": [StrOptions({"log", "norm", "auto"})],
        "store_decomposition": ["boolean"],
    }
    _repeatable_on_gpu = False
    _advice_on_collapse = "Lower lam, or look whether X varies at all."
    penalty = "l1"

    @property
    def _n_rounds(self) -> int:
        return self.max_iter

    def _learn(self, task: Task) -> Learnt:
        data = task.rows.take(slice(None))
        n_features, device = data.shape[1], data.device
        lam = max(data.shape) ** -0.5 if self.lam == "auto" else float(self.lam)
        # Clipped, as new rows are: one wild cell would make all else too small for tol to see. On
        # MPS there is no double precision.
        shown = data.clamp(-task.scaler.bound_, task.scaler.bound_)
        exact = (shown.cpu() if device.type == "mps" else shown).double()
        pursuit = Pursuit(exact, lam=lam, tol=self.tol)
        run(pursuit, self.max_iter, task.session)
        if not (pursuit.finished or pursuit.stopped):
            warnings.warn(
                f"{self.max_iter} iterations did not reach tol={self.tol!r}: raise max_iter or "
                "tol. history_ shows how far they came.",
                ConvergenceWarning,
                stacklevel=outside(),
            )
        # Of as many directions as there are features nothing would be left to score by.
        components = pursuit.components[:, : n_features - 1].to(device, data.dtype)
        threshold = self._entry_threshold(task, components)
        network = _linear_autoencoder(components)
        learnt = self._scored(task, network, threshold, None, pursuit.history)
        learnt.attributes |= {"lam_": lam, "rank_": pursuit.components.shape[1]}
        if self.store_decomposition:
            sparse = pursuit.sparse.to(device) + (data - shown)
            learnt.attributes["sparse_"] = sparse.cpu().numpy()  # see _conclude
        return learnt

    def _entry_threshold(self, task: Task, components: torch.Tensor) -> torch.Tensor:
        """Return the residual's size that a share `contamination` of its entries exceeds."""
        share = float(self.contamination) if isinstance(self.contamination, Real) else 0.1
        rows = task.rows.take(rows_to_measure(*task.rows.shape))
        shown = rows.clamp(-task.scaler.bound_, task.scaler.bound_)
        residual = rows - shown @ components @ components.T
        return PENALTIES["l1"].lam_quantile(residual.abs()[None], [1 - share])

    def _conclude(self, X: FloatRowsOrSparse, learnt: Learnt) -> None:
        if self.store_decomposition:
            self.sparse_ = self.scaler_.unscale(learnt.attributes["sparse_"], X)
            self.low_rank_ = X - self.sparse_


def _linear_autoencoder(components: torch.Tensor) -> MemberAutoencoder:
    """Return the projection on orthonormal columns, (d, rank), as an autoencoder."""
    if not components.shape[1]:
        components = components.new_zeros(len(components), 1)
    n_features, rank = components.shape
    generators = [torch.Generator(device="cpu")]
    network = MemberAutoencoder(
        n_features, (rank,), "identity", "identity", generators, components.device
    )
    encoder, decoder = network.weights
    encoder[0], decoder[0] = components, components.T
    return network
