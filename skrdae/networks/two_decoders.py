"""The stacked networks of USAD: one encoder, two decoders."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from skrdae.networks.member import MemberModule
from skrdae.networks.mlp import MemberMLP


class MemberTwoDecoders(MemberModule):
    """K encoders with two decoders each, side by side.

    The last activation of the decoders is tanh, so what they make lies in [−1, 1]: the error that
    the second decoder is trained to raise cannot grow without end.

    Parameters
    ----------
    n_features : int
        Values of a window, step by step, the channels of a step side by side.
    n_channels : int
        It divides `n_features`.
    hidden_layer_sizes : tuple of int
        Units of the encoder's hidden layers. The decoders mirror them.
    latent_dim : int
        Units of a code.
    activation : str
        Of all other layers; a key of :data:`~skrdae.networks.mlp.ACTIVATIONS`.
    generators : list of K torch.Generator
        One a member; the initial weights are drawn from them (Glorot uniform).
    device : torch.device
    """

    rows_independent = True

    encoder: MemberMLP
    first: MemberMLP
    second: MemberMLP

    def __init__(
        self,
        n_features: int,
        n_channels: int,
        hidden_layer_sizes: Sequence[int],
        latent_dim: int,
        activation: str,
        generators: Sequence[torch.Generator],
        device: torch.device,
    ) -> None:
        super().__init__()
        self.n_steps, self.n_channels = n_features // n_channels, n_channels
        self.latent_dim = latent_dim
        hidden = list(hidden_layer_sizes)
        inner = [activation] * len(hidden)
        sizes = [n_features, *hidden, latent_dim]
        self.encoder = MemberMLP(sizes, [*inner, activation], generators, device)
        self.first = MemberMLP(sizes[::-1], [*inner, "tanh"], generators, device)
        self.second = MemberMLP(sizes[::-1], [*inner, "tanh"], generators, device)

    @property
    def row_shape(self) -> tuple[int, int]:
        """Steps and channels of a window."""
        return self.n_steps, self.n_channels
