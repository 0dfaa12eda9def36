"""ℓ2,1: a row, or a column, is a group."""

from __future__ import annotations

import torch

from skrdae.penalties.base import GroupPenalty


class L21(GroupPenalty):
    r"""ℓ2,1 by sample, :math:`\Omega(S) = \sum_i \|S_{i\cdot}\|_2`: whole rows are anomalous.

    References
    ----------
    Zhou, C. and R. C. Paffenroth, Anomaly Detection with Robust Deep Autoencoders, KDD 2017.

    Examples
    --------
    >>> import torch
    >>> from skrdae.penalties import L21
    >>> residual = torch.tensor([[[3.0, 4.0], [0.6, 0.8]]])
    >>> L21().prox(residual, lam=torch.tensor([2.5])).tolist()
    [[[1.5, 2.0], [0.0, 0.0]]]
    """

    def norms(self, residual: torch.Tensor) -> torch.Tensor:
        return torch.linalg.vector_norm(residual, dim=-1, keepdim=True)

    def row_shares(self, residual: torch.Tensor) -> torch.Tensor:
        norms = self.norms(residual)
        return residual.square() / torch.where(norms > 0, norms, torch.ones_like(norms))

    def row_values(self, residual: torch.Tensor) -> torch.Tensor:
        return torch.linalg.vector_norm(residual, dim=-1)


class L21Features(GroupPenalty):
    r"""ℓ2,1 by feature, :math:`\Omega(S) = \sum_j \|S_{\cdot j}\|_2`: whole columns are anomalous.

    References
    ----------
    Zhou, C. and R. C. Paffenroth, Anomaly Detection with Robust Deep Autoencoders, KDD 2017.

    Examples
    --------
    >>> import torch
    >>> from skrdae.penalties import L21Features
    >>> residual = torch.tensor([[[3.0, 0.6], [4.0, 0.8]]])
    >>> L21Features().prox(residual, lam=torch.tensor([2.5])).tolist()
    [[[1.5, 0.0], [2.0, 0.0]]]
    """

    across_rows = True

    def norms(self, residual: torch.Tensor) -> torch.Tensor:
        return torch.linalg.vector_norm(residual, dim=-2, keepdim=True)

    # In a row alone every column holds one entry, so Ω of the row is its ℓ1 norm.
    def row_shares(self, residual: torch.Tensor) -> torch.Tensor:
        return residual.abs()

    def row_values(self, residual: torch.Tensor) -> torch.Tensor:
        return residual.abs().sum(dim=-1)
