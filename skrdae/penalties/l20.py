"""ℓ2,0: rows are counted, and one that is anomalous goes to S as a whole."""

from __future__ import annotations

import math

import torch

from skrdae.penalties.l21 import L21

# The root mean square of a row's values below which it is nearly zero.
_LEAST = 0.05


def least_size(n_features: int) -> float:
    """Return the norm below which a row is nearly zero."""
    return _LEAST * math.sqrt(n_features)


class L20(L21):
    r"""ℓ2,0 by sample, :math:`\Omega(S) = \#\{i: S_{i\cdot} \ne 0\}`: the number of anomalous rows.

    λ is a share of a row: one of whose norm the network leaves more than λ goes to S as a whole,
    and has no part in the training any more. The others stay as they are. (ℓ2,1 takes λ off every
    row, so that an anomalous one still pulls at the network as much as any other.) It is the
    minimiser of ½‖S − R‖² if each row that is not zero costs ½ λ² ‖x‖². (The ``objective`` of a
    history charges λ for each row.)

    Norms are those of the scaled data. Of a row that is nearly zero, as a black image is, whatever
    is left would be a large share: where ‖x‖ is below m = 0.05 √n_features, the norm of an image
    whose pixels are all 0.05, the share is multiplied by (‖x‖ / m)². So a row of zeros has no share
    and never goes to S.

    As the score of a row, its share of Ω would be 0 or 1; :meth:`row_values` returns the norm of
    the residual instead, as for ℓ2,1. Without the rows, :meth:`norms` are what λ is compared with.

    Examples
    --------
    >>> import torch
    >>> from skrdae.penalties import L20
    >>> rows = torch.tensor([[[6.0, 8.0], [0.6, 0.8]]])
    >>> residual = 0.3 * rows
    >>> residual[0, 1] = 0.6 * rows[0, 1]
    >>> norms = L20().measures(residual, rows)
    >>> S = L20().prox(residual, torch.tensor([0.5]), norms)
    >>> (S != 0).any(dim=-1).tolist()
    [[False, True]]
    """

    def measures(self, residual: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        sizes, least = self.norms(rows), least_size(rows.shape[-1])
        return self.norms(residual) / torch.where(sizes < least, least**2 / sizes, sizes)

    def prox(
        self,
        residual: torch.Tensor,
        lam: torch.Tensor,
        norms: torch.Tensor | None = None,
        out: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the residual's rows whose norm is above λ, and zeros in the place of the others.

        As in :meth:`GroupPenalty.prox`; `norms` are those of :meth:`measures`.
        """
        if norms is None:
            norms = self.norms(residual)
        return torch.mul(residual, (norms > lam.view(-1, 1, 1)).to(residual.dtype), out=out)

    def value_after_prox(self, norms: torch.Tensor, lam: torch.Tensor) -> torch.Tensor:
        dtype = torch.float32 if norms.device.type == "mps" else torch.float64
        return (norms > lam.view(-1, 1, 1)).sum(dim=(1, 2)).to(dtype)
