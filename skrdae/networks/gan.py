"""The stacked generative adversarial network, with an encoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from skrdae.networks.compiled_norms import bound_norm
from skrdae.networks.member import MemberModule
from skrdae.networks.mlp import MemberMLP
from skrdae.networks.workspace import Workspace

#: Rounds of power iteration between steps.
ROUNDS = 2
# At the start and at the end.
_MANY_ROUNDS = 50


class MemberGAN(MemberModule):
    """K generators, discriminators and encoders side by side.

    Parameters
    ----------
    n_features : int
    hidden_layer_sizes : tuple of int
        Units of the encoder's hidden layers. The generator mirrors them.
    latent_dim : int
    discriminator_layer_sizes : tuple of int
        Units of the discriminator's hidden layers, the last of which gives its features f.
    activation : str
        Of the hidden layers; a key of :data:`~skrdae.networks.mlp.ACTIVATIONS`.
    output_activation : str
        Of the generator's last layer.
    encodes : bool
        Whether there is an encoder.
    generators : list of K torch.Generator
        Of random numbers.
    device : torch.device
    joint : bool, default=False
        Whether the discriminator sees pairs of a row and its code, and not rows alone.
    """

    rows_independent = True

    encoder: MemberMLP | None

    def __init__(
        self,
        n_features: int,
        hidden_layer_sizes: Sequence[int],
        latent_dim: int,
        discriminator_layer_sizes: Sequence[int],
        activation: str,
        output_activation: str,
        encodes: bool,
        generators: Sequence[torch.Generator],
        device: torch.device,
        joint: bool = False,
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        hidden = list(hidden_layer_sizes)
        inner = [activation] * len(hidden)
        self.generator = MemberMLP(
            [latent_dim, *hidden[::-1], n_features],
            [*inner, output_activation],
            generators,
            device,
        )
        layers = list(discriminator_layer_sizes)
        self.discriminator = MemberMLP(
            [n_features + latent_dim if joint else n_features, *layers, 1],
            [activation] * len(layers) + ["identity"],
            generators,
            device,
        )
        self.encoder = None
        if encodes:
            sizes = [n_features, *hidden, latent_dim]
            self.encoder = MemberMLP(sizes, [*inner, "identity"], generators, device)

    @property
    def joint(self) -> bool:
        """Whether the discriminator sees pairs of a row and its code."""
        return self.discriminator.weights[0].shape[1] != self.generator.weights[-1].shape[2]

    def seen(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """Return what the discriminator sees of rows (K, n, d) with codes (K, n, latent_dim)."""
        return torch.cat([x, z], dim=-1) if self.joint else x

    def features(
        self, shown: torch.Tensor, workspace: Workspace | None = None
    ) -> list[torch.Tensor]:
        """Return the discriminator's values up to its last hidden layer, f, input first."""
        return self.discriminator.values(shown, workspace, len(self.discriminator.weights) - 1)


class SpectralBound:
    """Keeps the spectral norm of every weight matrix of a network at about one or below.

    With norms of one, and activations whose slope is at most one, each member is a function with
    Lipschitz constant at most one. The norms are estimated by power iteration from vectors that are
    kept, so between two calls, and until the iteration has converged, they may be above one.

    Parameters
    ----------
    network : MemberMLP

    References
    ----------
    Miyato, T. et al., Spectral Normalization for Generative Adversarial Networks, ICLR 2018.
    H. Gouk et al., Regularisation of neural networks by enforcing Lipschitz continuity, 2021
    (dividing the weights themselves, after the step).
    """

    def __init__(self, network: MemberMLP) -> None:
        self._weights = network.weights
        sizes = [weight.shape[2] for weight in self._weights]
        #: The vectors of all layers, one after another: (K, numbers).
        self.flat = self._weights[0].new_ones(network.n_members, sum(sizes))
        #: Views of it, (K, 1, out) a layer.
        self.vectors = [part.unsqueeze(1) for part in torch.split(self.flat, sizes, dim=1)]
        self.apply(_MANY_ROUNDS)

    def apply(self, n_rounds: int = ROUNDS) -> None:
        """Divide the weights by their spectral norms, where these exceed one.

        Parameters
        ----------
        n_rounds : int, default=2
            Of power iteration.
        """
        on_cpu = self.flat.device.type == "cpu"
        bound = _bound_one_by_one if on_cpu else bound_stacked
        for weight, vector in zip(self._weights, self.vectors, strict=True):
            bound(weight, vector, n_rounds)

    def finish(self) -> None:
        """Find the norms anew, with many rounds, and bring them to one or below."""
        self.apply(_MANY_ROUNDS)


def _bound_one_by_one(weight: torch.Tensor, vector: torch.Tensor, n_rounds: int) -> None:
    for mine, start in zip(weight.numpy(), vector.numpy(), strict=True):
        bound_norm(mine, start[0], n_rounds)


def bound_stacked(weight: torch.Tensor, vector: torch.Tensor, n_rounds: int) -> None:
    """Divide the members' matrices by their spectral norms, all at once.

    Parameters
    ----------
    weight : Tensor of shape (K, in, out)
    vector : Tensor of shape (K, 1, out)
        From which power iteration starts; replaced by what it reaches.
    n_rounds : int
        Of power iteration.
    """
    for _ in range(n_rounds):
        other = torch.bmm(vector, weight.transpose(1, 2))
        other.div_(torch.linalg.vector_norm(other, dim=2, keepdim=True).add_(1e-12))
        vector.copy_(torch.bmm(other, weight))
        norm = torch.linalg.vector_norm(vector, dim=2, keepdim=True)
        vector.div_(norm + 1e-12)
    weight.div_(norm.clamp_(min=1))
