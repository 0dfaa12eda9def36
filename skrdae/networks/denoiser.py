"""Stacked networks that are told how much noise is in a row, and remove it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import silu

from skrdae.networks.mlp import MemberMLP
from skrdae.networks.workspace import Workspace


class MemberDenoiser(MemberMLP):
    """K networks D(x, σ) side by side, for rows x with noise of size σ.

    The activation of the hidden layers is SiLU, x / (1 + exp(−x)), which is smooth, as the
    gradient of a density is that D stands for. Its derivative cannot be told from its value, so
    that it is not among :data:`~skrdae.networks.mlp.ACTIVATIONS`.

    Parameters
    ----------
    n_features : int
    hidden_layer_sizes : tuple of int
    generators : list of K torch.Generator
        One a member; the initial weights are drawn from them (Glorot uniform).
    device : torch.device
    """

    def __init__(
        self,
        n_features: int,
        hidden_layer_sizes: Sequence[int],
        generators: Sequence[torch.Generator],
        device: torch.device,
    ) -> None:
        sizes = [n_features + 1, *hidden_layer_sizes, n_features]
        super().__init__(sizes, ["identity"] * (len(sizes) - 1), generators, device)

    @property
    def n_features(self) -> int:
        """Values of a row."""
        return self.weights[-1].shape[2]

    def denoise(
        self, x: torch.Tensor, sigma: torch.Tensor, workspace: Workspace | None = None
    ) -> torch.Tensor:
        """Return D(x, σ): (K, n, d) and σ of shape (n, 1), or (1, 1) for all rows, → (K, n, d)."""
        level = (0.5 * sigma.log()).expand(*x.shape[:2], 1)
        x = torch.cat([x, level], dim=-1)
        n_hidden = len(self.activations) - 1
        for layer in range(n_hidden):
            x = silu(self._layers(x, layer, layer + 1, workspace)[-1])
        return self._layers(x, n_hidden, n_hidden + 1, workspace)[-1]
