"""ℓ1: every entry is a group."""

from __future__ import annotations

import torch

from skrdae.penalties.base import GroupPenalty


class L1(GroupPenalty):
    r"""The ℓ1 norm, :math:`\Omega(S) = \sum_{ij} |S_{ij}|`: single entries are anomalous.

    References
    ----------
    Zhou, C. and R. C. Paffenroth, Anomaly Detection with Robust Deep Autoencoders, KDD 2017.

    Examples
    --------
    >>> import torch
    >>> from skrdae.penalties import L1
    >>> residual = torch.tensor([[[4.0, -0.5], [-2.0, 1.0]]])
    >>> L1().prox(residual, lam=torch.tensor([1.0])).tolist()
    [[[3.0, -0.0], [-1.0, 0.0]]]
    """

    def norms(self, residual: torch.Tensor) -> torch.Tensor:
        return residual.abs()

    def row_shares(self, residual: torch.Tensor) -> torch.Tensor:
        return residual.abs()

    def row_values(self, residual: torch.Tensor) -> torch.Tensor:
        return residual.abs().sum(dim=-1)
