"""What detectors that split X = L + S have in common once they know how L is encoded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse

from skrdae._typing import FloatArray, FloatRowsOrSparse
from skrdae._validation import snapshot
from skrdae.detectors.base import BaseTorchDetector
from skrdae.detectors.encoding import EncoderMixin
from skrdae.detectors.residual_scale import log_terms, residual_scale, rows_to_measure
from skrdae.networks.workspace import Workspace
from skrdae.penalties import GroupPenalty, penalty_of
from skrdae.training.minibatch import map_chunks
from skrdae.training.sparse import SparseRows

if TYPE_CHECKING:
    from skrdae.networks.mlp import MemberAutoencoder
    from skrdae.networks.recurrent import MemberRecurrentAutoencoder

# Alternations between prox and network in `decompose`. S settles geometrically; ten leave
# changes far below the noise of any training.
_DECOMPOSE_ITER = 10


class BaseDecomposition(EncoderMixin, BaseTorchDetector):
    """Base class of the detectors that split X = L + S, however the network for L was found.

    A subclass's training hands its network to :meth:`_freeze`, with the λ that new rows are shrunk
    by, and sets ``_residual_scale`` to what :meth:`_measure` returns. It has the parameter
    ``store_decomposition``, and ``penalty`` at least as an attribute.
    """

    network_: MemberAutoencoder | MemberRecurrentAutoencoder
    lam_: float | NDArray[np.float32]
    n_iter_: int
    low_rank_: FloatArray
    sparse_: FloatArray

    penalty: str | GroupPenalty
    store_decomposition: bool
    _residual_scale: torch.Tensor | None

    _boolean_parameters = (*BaseTorchDetector._boolean_parameters, "store_decomposition")
    #: How residuals become a score, for those without such a parameter.
    score_function: Literal["auto", "log", "norm"] = "norm"

    @property
    def _scores_by_norm(self) -> bool:
        """Whether the score is Ω of a row's residual, not the sum of its logarithmic terms."""
        if self.score_function == "auto":
            return self.scaler is None or isinstance(self.contamination, str)
        return self.score_function == "norm"

    def _freeze(
        self,
        network: MemberAutoencoder | MemberRecurrentAutoencoder,
        lam: torch.Tensor,
        norms: torch.Tensor | None,
    ) -> None:
        """Keep what scoring needs: the networks, their λ and the norms of groups over rows."""
        self.network_, self._lam, self._norms = network, lam, norms
        self.lam_ = lam.item() if len(lam) == 1 else lam.cpu().numpy()
        self._penalty = penalty_of(self.penalty)

    def _measure(self, data: torch.Tensor | SparseRows) -> torch.Tensor | None:
        """Return each member's scale of each feature's residuals, if scores need it."""
        if self._scores_by_norm:
            return None
        if isinstance(data, SparseRows):
            return self._measure_apart(data.rows(rows_to_measure(*data.shape).numpy()))
        rows = data[rows_to_measure(*data.shape).to(data.device)]
        residual = map_chunks(
            lambda chunk, workspace: self._residual(chunk, chunk, workspace),
            rows,
            apart=self.network_.rows_apart,
        )
        # On the CPU, because NumPy sorts there.
        return residual_scale(residual.cpu(), self._clip(rows).cpu())

    def _measure_apart(self, rows: NDArray[np.float32]) -> torch.Tensor:
        """Do the same for one member after another, of rows that may be wide."""
        network = self.network_
        scales: list[Any] = []  # none is None, as scores need them
        for k in range(network.n_members):
            self.network_ = network.select(torch.tensor([k], device="cpu"))
            scales.append(self._measure(torch.from_numpy(rows)))
        self.network_ = network
        return torch.cat(scales)

    def _conclude(self, X: FloatRowsOrSparse) -> None:
        if self.store_decomposition:
            self.low_rank_, self.sparse_ = self.decompose(X)

    # ------------------------------------------------------------------------------- scoring

    def _residual(
        self, rows: torch.Tensor, low_rank: torch.Tensor, workspace: Workspace
    ) -> torch.Tensor:
        """X − D(E(L)) of every member: (n, d), and (K, n, d) or (n, d) → (K, n, d)."""
        shown = self._clip(low_rank).expand(self.network_.n_members, *rows.shape)
        out = workspace.take("residual", *shown.shape)
        return torch.sub(rows, self.network_(shown, workspace), out=out)

    def _member_scores(self, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        residual = self._residual(rows, rows, workspace)
        if self._residual_scale is None:
            return self._penalty.row_values(residual)
        return log_terms(residual, self._residual_scale.to(residual.device)).sum(dim=-1)

    def _member_shares(self, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        residual = self._residual(rows, rows, workspace)
        if self._residual_scale is None:
            return self._penalty.row_shares(residual)
        return log_terms(residual, self._residual_scale.to(residual.device))

    def _prox(self, residual: torch.Tensor) -> torch.Tensor:
        lam = self._lam.to(residual.device)
        norms = None if self._norms is None else self._norms.to(residual.device)
        return self._penalty.prox(residual, lam, norms)

    def _member_sparse(self, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        """S of every member with the network as it is: (n, d) → (K, n, d)."""
        sparse = self._prox(self._residual(rows, rows, workspace))
        for _ in range(_DECOMPOSE_ITER - 1):
            again = self._prox(self._residual(rows, rows - sparse, workspace))
            # A row whose cleaned version the network explains within λ would go back to S = 0
            # and from there to where it was, for ever: it keeps the S it has.
            vanished = (again == 0).all(dim=-1, keepdim=True)
            sparse = torch.where(vanished, sparse, again)
        return sparse

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
        sparse = self.scaler_.unscale(self._map(self._member_sparse, rows).mean(axis=0), rows)
        return rows - sparse, sparse

    def _member_codes(self, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        cleaned = self._clip(rows - self._member_sparse(rows, workspace))
        return self.network_.encode(cleaned, workspace)

    def _member_decode(self, codes: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        return self.network_.decode(codes, workspace)

    @property
    def _code_size(self) -> int:
        return self.network_.code_size
