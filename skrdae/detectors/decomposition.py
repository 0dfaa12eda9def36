"""What detectors that split X = L + S have in common, however the network for L was found."""

from __future__ import annotations

from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse

from skrdae._typing import FloatArray, FloatRowsOrSparse
from skrdae._validation import snapshot
from skrdae.detectors.base import BaseTorchDetector, Learnt, Task
from skrdae.networks.member import MemberModule
from skrdae.penalties import penalty_of
from skrdae.registry import parameters
from skrdae.scorers.residual import ResidualScorer


@parameters
class BaseDecomposition(BaseTorchDetector):
    """Base class of the detectors that split X = L + S.

    A subclass has ``penalty`` at least as an attribute. Its training hands its network and the λ
    that new rows are shrunk by to :meth:`_scored`.
    """

    if TYPE_CHECKING:
        lam_: float | NDArray[Any] = field(init=False)
        n_iter_: int = field(init=False)
        low_rank_: FloatArray = field(init=False)
        sparse_: FloatArray = field(init=False)
        penalty: Any = field(init=False)

    store_decomposition: bool = False

    #: How residuals become a score, for those without such a parameter.
    score_function = "norm"

    @property
    def _scores_by_norm(self) -> bool:
        """Whether the score is Ω of a row's residual, not the sum of its logarithmic terms."""
        if self.score_function == "auto":
            return self.scaler is None or isinstance(self.contamination, str)
        return self.score_function == "norm"

    def _scored(
        self,
        task: Task,
        network: MemberModule,
        lam: torch.Tensor,
        norms: torch.Tensor | None,
        history: list[dict[str, Any]],
    ) -> Learnt:
        """Return what was learnt, with the scale of the residuals if scores need it."""
        scorer = ResidualScorer(task.scaler.bound_, penalty_of(self.penalty), lam, norms)
        if not self._scores_by_norm:
            scorer = replace(scorer, scale=scorer.measured(network, task.rows))
        found = lam.item() if len(lam) == 1 else lam.cpu().numpy()
        attributes = {"lam_": found, "n_iter_": len(history), "history_": history}
        return Learnt(network, scorer, attributes)

    def _conclude(self, X: FloatRowsOrSparse, learnt: Learnt) -> None:
        if self.store_decomposition:
            self.low_rank_, self.sparse_ = self.decompose(X)

    def decompose(self, X: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Split data into L, which the network can explain, and a sparse S: X = L + S.

        The network is not trained further. S starts at zero and is repeatedly replaced by the prox
        of X − D(E(X − S)). With ``penalty="l21_features"`` the columns are shrunk as in training.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        low_rank : ndarray of shape (n_samples, n_features)
            L, in the units of X, averaged over the members.
        sparse : ndarray of shape (n_samples, n_features)
            S = X − L, exactly zero where S is zero in every member.
        """
        self = snapshot(self)
        rows = self._validated(X)
        if issparse(rows):
            raise TypeError("decompose gives dense matrices: pass some rows, as X[:100].toarray().")
        scorer: Any = self.model_.scorer
        sparse = self.scaler_.unscale(self._members(scorer.sparse, rows).mean(axis=0), rows)
        return self._as_given(rows - sparse, X), self._as_given(sparse, X)
