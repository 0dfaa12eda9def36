"""Stacked networks that are told how much noise is in a row, and remove it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from skrdae.networks.member import MemberModule
from skrdae.networks.mlp import MemberMLP
from skrdae.networks.workspace import Workspace


class MemberDenoiser(MemberModule):
    r"""K networks D(x, σ) side by side that estimate a row from x, the row with noise of size σ.

    Parameters
    ----------
    n_features : int
    hidden_layer_sizes : tuple of int
    activation : str
        Of the hidden layers; a key of :data:`~skrdae.networks.mlp.ACTIVATIONS`.
    generators : list of K torch.Generator
        One a member; the initial weights are drawn from them (Glorot uniform).
    device : torch.device
    """

    rows_independent = True

    layers: MemberMLP

    def __init__(
        self,
        n_features: int,
        hidden_layer_sizes: Sequence[int],
        activation: str,
        generators: Sequence[torch.Generator],
        device: torch.device,
    ) -> None:
        super().__init__()
        sizes = [n_features + 1, *hidden_layer_sizes, n_features]
        activations = [activation] * len(hidden_layer_sizes) + ["identity"]
        self.layers = MemberMLP(sizes, activations, generators, device)

    @property
    def n_features(self) -> int:
        """Values of a row."""
        return self.layers.weights[-1].shape[2]

    def forward(
        self, x: torch.Tensor, sigma: torch.Tensor, workspace: Workspace | None = None
    ) -> torch.Tensor:
        """Return D(x, σ): (K, n, d) and σ of shape (n, 1), or (1, 1) for all, → (K, n, d)."""
        level = (0.5 * sigma.log()).expand(*x.shape[:2], 1)
        return self.layers(torch.cat([x, level], dim=-1), workspace)
