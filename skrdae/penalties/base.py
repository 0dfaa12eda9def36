"""What every penalty shares: group soft thresholding."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch


class GroupPenalty(ABC):
    """A sum of Euclidean norms over groups of entries that do not overlap.

    A penalty differs from another only in what a group is: an entry, a row, a column. All methods
    take residuals of shape (n_members, n_samples, n_features) and treat the members apart.

    To add one, subclass this and define :meth:`norms`, :meth:`row_values` and :meth:`row_shares`;
    :meth:`spread` too, if a group is neither an entry nor a row or column; set :attr:`across_rows`
    if a group reaches over several rows. A detector takes an instance as its ``penalty``.

    References
    ----------
    Parikh, N. and S. Boyd, Proximal Algorithms, Foundations and Trends in Optimization 1(3), 2014,
    section 6.5.4.
    """

    #: Whether a group holds entries of several rows, so that a row alone does not tell its norm.
    across_rows = False

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({fields})"

    @abstractmethod
    def norms(self, residual: torch.Tensor) -> torch.Tensor:
        """Return each group's Euclidean norm, once.

        Parameters
        ----------
        residual : Tensor of shape (n_members, n_samples, n_features)

        Returns
        -------
        Tensor of shape (n_members, n_samples or 1, n_groups)
            With one row if groups reach over rows.
        """

    def measures(self, residual: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Return what :meth:`prox` compares with λ: by default the norms.

        Parameters
        ----------
        residual : Tensor of shape (n_members, n_samples, n_features)
        rows : Tensor of shape (n_members or 1, n_samples, n_features)
            What it was left of.

        Returns
        -------
        Tensor
            Of the shape of :meth:`norms`.
        """
        return self.norms(residual)

    def spread(self, values: torch.Tensor) -> torch.Tensor:
        """Hand what was found for each group to the group's entries.

        Parameters
        ----------
        values : Tensor
            Of the shape of :meth:`norms`.

        Returns
        -------
        Tensor
            Of a shape that broadcasts to (n_members, n_samples, n_features). As it is, by default:
            norms of entries, rows and columns broadcast by themselves.
        """
        return values

    @abstractmethod
    def row_shares(self, residual: torch.Tensor) -> torch.Tensor:
        """Split each row's own penalty, Ω of that row alone, over the row's entries.

        Parameters
        ----------
        residual : Tensor of shape (n_members, n_samples, n_features)

        Returns
        -------
        Tensor of shape (n_members, n_samples, n_features)
            Not negative; the sum over the last axis is :meth:`row_values`.
        """

    @abstractmethod
    def row_values(self, residual: torch.Tensor) -> torch.Tensor:
        """Return Ω of each row alone, a tensor of shape (n_members, n_samples)."""

    def value(self, sparse: torch.Tensor) -> torch.Tensor:
        """Return Ω(S) of each member, a float64 tensor of shape (n_members,)."""
        return self.value_after_prox(self.norms(sparse), sparse.new_zeros(len(sparse)))

    def value_after_prox(self, norms: torch.Tensor, lam: torch.Tensor) -> torch.Tensor:
        """Return Ω of the prox of a residual with these norms, without making it.

        Parameters
        ----------
        norms : Tensor of shape (n_members, …)
            As :meth:`norms` returns them.
        lam : Tensor of shape (n_members,)

        Returns
        -------
        Tensor of shape (n_members,)
        """
        # Single precision on MPS, which has no other.
        dtype = torch.float32 if norms.device.type == "mps" else torch.float64
        return (norms - lam.view(-1, 1, 1)).clamp_(min=0).sum(dim=(1, 2), dtype=dtype)

    def prox(
        self,
        residual: torch.Tensor,
        lam: torch.Tensor,
        norms: torch.Tensor | None = None,
        out: torch.Tensor | None = None,
    ) -> torch.Tensor:
        r"""Return the minimiser of :math:`\tfrac12\|S - R\|_F^2 + \lambda\,\Omega(S)`.

        Each group g is scaled by ``max(1 - lam / norm_g, 0)``.

        Parameters
        ----------
        residual : Tensor of shape (n_members, n_samples, n_features)
            R.
        lam : Tensor of shape (n_members,)
            The threshold of each member, not negative. Infinity gives S = 0.
        norms : Tensor, optional
            The groups' norms where they are known from elsewhere: for a penalty whose groups
            reach over rows, new rows are shrunk by the norms found in training.
        out : Tensor, optional
            Where to write the result.

        Returns
        -------
        Tensor of shape (n_members, n_samples, n_features)
        """
        if norms is None:
            norms = self.norms(residual)
        lam = lam.view(-1, 1, 1)
        # A group at or under the threshold is exactly zero, and so is 0 / 0 kept out.
        factor = torch.where(norms > lam, 1 - lam / norms, torch.zeros_like(norms))
        return torch.mul(residual, self.spread(factor), out=out)

    def lam_max(self, residual: torch.Tensor) -> torch.Tensor:
        """Return the smallest λ of each member for which the prox is zero, shape (n_members,)."""
        return self.norms(residual).amax(dim=(1, 2))

    @staticmethod
    def lam_quantile(norms: torch.Tensor, quantile: Sequence[float]) -> torch.Tensor:
        """Return the λ of each member under or at which a share of its groups falls.

        Parameters
        ----------
        norms : Tensor of shape (n_members, …)
            As :meth:`norms` returns them.
        quantile : sequence of n_members floats in [0, 1]
            The share of the groups that the prox leaves at zero. At least one group stays and,
            below 1 and where there are several, at least one moves.

        Returns
        -------
        Tensor of shape (n_members,)
            One of the member's group norms.
        """
        if norms.device.type == "mps":  # which has no kthvalue everywhere
            return GroupPenalty.lam_quantile(norms.cpu(), quantile).to(norms.device)
        norms = norms.flatten(1)  # shape: (K, groups)
        n_groups = norms.shape[1]
        # Of few groups at least one moves and one stays.
        ranks = [
            n_groups if q == 1 else max(min(round(q * n_groups), n_groups - 1), 1) for q in quantile
        ]
        # kthvalue, because torch.quantile refuses more than 2 ** 24 entries.
        return torch.stack(
            [row.kthvalue(rank).values for row, rank in zip(norms, ranks, strict=True)]
        )
