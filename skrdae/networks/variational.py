"""The stacked variational autoencoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import softplus

from skrdae.networks.member import MemberModule
from skrdae.networks.mlp import MemberMLP
from skrdae.networks.workspace import Workspace

#: The largest log σ² that scores see: its exponential, and what is made of it, stay finite in
#: single precision however far from the training data a row lies.
MOST_LOG_VARIANCE = 40.0


class MemberVAE(MemberModule):
    """K variational autoencoders of the same shape side by side.

    The encoder gives mean and log-variance of q(z|x), the decoder the parameter of p(x|z): the
    mean of a Gaussian or the logit of a Bernoulli variable.

    Parameters
    ----------
    n_features : int
    hidden_layer_sizes : tuple of int
        Units of the encoder's hidden layers. The decoder mirrors them.
    latent_dim : int
    activation : str
        Of the hidden layers; a key of :data:`~skrdae.networks.mlp.ACTIVATIONS`.
    generators : list of K torch.Generator
    device : torch.device
    """

    rows_independent = True

    def __init__(
        self,
        n_features: int,
        hidden_layer_sizes: Sequence[int],
        latent_dim: int,
        activation: str,
        generators: Sequence[torch.Generator],
        device: torch.device,
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        hidden = list(hidden_layer_sizes)
        activations = [activation] * len(hidden) + ["identity"]
        sizes = [n_features, *hidden, 2 * latent_dim]
        self.encoder = MemberMLP(sizes, activations, generators, device)
        sizes = [latent_dim, *hidden[::-1], n_features]
        self.decoder = MemberMLP(sizes, activations, generators, device)

    def encode(
        self, x: torch.Tensor, workspace: Workspace | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and log-variance of q(z|x): (K, n, d) → two of (K, n, latent_dim)."""
        part = None if workspace is None else workspace.part("encoder")
        return self.moments(self.encoder(x, part))

    def moments(self, encoded: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and log-variance, the latter at most 40, of what the encoder gave."""
        mean, log_variance = torch.split(encoded, self.latent_dim, dim=-1)
        return mean, log_variance.clamp(max=MOST_LOG_VARIANCE)

    def decode(self, z: torch.Tensor, workspace: Workspace | None = None) -> torch.Tensor:
        """Return the parameter of p(x|z): (K, n, latent_dim) → (K, n, d)."""
        return self.decoder(z, None if workspace is None else workspace.part("decoder"))


def gaussian_kl(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    r"""Return the divergence of N(μ, σ²) from N(0, I), a value for each latent dimension.

    .. math:: -\tfrac12 (1 + \log\sigma^2 - \mu^2 - \sigma^2)

    Parameters
    ----------
    mean, log_variance : Tensor
        Of the same shape.

    Returns
    -------
    Tensor of that shape
        Not negative.

    References
    ----------
    Kingma, D. P. and M. Welling, Auto-Encoding Variational Bayes, ICLR 2014.

    Examples
    --------
    >>> import torch
    >>> from skrdae.networks.variational import gaussian_kl
    >>> gaussian_kl(torch.tensor([0.0, 2.0]), torch.tensor([0.0, 0.0])).tolist()
    [0.0, 2.0]
    """
    log_variance = _wide(log_variance)
    excess = torch.expm1(log_variance).sub_(log_variance)  # σ² − 1 − log σ² ≥ 0, no cancellation
    return excess.add_(_wide(mean).square()).mul_(0.5).clamp_(min=0).to(mean.dtype)


def gaussian_spread(log_variance: torch.Tensor) -> torch.Tensor:
    """Return the standard deviation, exp(½ log σ²)."""
    return torch.exp(0.5 * _wide(log_variance)).to(torch.float32)


def bernoulli_error(logit: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy −x log p − (1 − x) log(1 − p) of p = sigmoid(logit), in nats.

    Parameters
    ----------
    logit, x : Tensor
        Of shapes that go together; x in [0, 1].
    """
    logit, x = _wide(logit), _wide(x)
    return softplus(logit).sub_(x * logit).clamp_(min=0).to(torch.float32)


def _wide(values: torch.Tensor) -> torch.Tensor:
    # In double precision, where the device has it: what is rounded to single afterwards does not
    # show which of a kernel's code paths, that round exp differently, a value took.
    return values if values.device.type == "mps" else values.double()
