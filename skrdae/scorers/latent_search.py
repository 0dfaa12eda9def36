"""The search of AnoGAN: for each row the code whose image comes closest."""

from __future__ import annotations

import functools

import torch
from torch import nn

from skrdae.networks.gan import MemberGAN
from skrdae.networks.workspace import Workspace
from skrdae.training.adam import MemberAdam

# Step of Adam in z, whose prior has standard deviation one.
_LR = 0.1


class Mismatch:
    """How far generated rows are from given ones: (1 − λ)‖x − x̂‖₁ + λ‖f(x) − f(x̂)‖₁.

    Parameters
    ----------
    network : MemberGAN
        Only read.
    rows : Tensor of shape (n, d)
    shown : Tensor of shape (K, n, d)
        The rows as the networks see them.
    z : Tensor of shape (K, n, latent_dim)
        Their codes, which a joint discriminator sees with them.
    lam : float
    workspace : Workspace
    """

    _made: list[torch.Tensor]
    _values: list[torch.Tensor]

    def __init__(
        self,
        network: MemberGAN,
        rows: torch.Tensor,
        shown: torch.Tensor,
        z: torch.Tensor,
        lam: float,
        workspace: Workspace,
    ) -> None:
        self.network, self.rows, self.lam = network, rows, lam
        self._spaces = workspace.part("generator"), workspace.part("discriminator")
        pairs = network.seen(shown, z)
        self._features = network.features(pairs, self._spaces[1])[-1].clone()

    def at(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Take the generator's rows for codes (K, n, latent_dim) as x̂.

        Returns
        -------
        residual : Tensor of shape (K, n, d)
            x̂ − x.
        by_feature : Tensor of shape (K, n, features)
            f(x̂) − f(x).
        """
        self._made = self.network.generator.values(z, self._spaces[0])
        pairs = self.network.seen(self._made[-1], z)
        self._values = self.network.features(pairs, self._spaces[1])
        return self._made[-1] - self.rows, self._values[-1] - self._features

    def objective(self, residual: torch.Tensor, by_feature: torch.Tensor) -> torch.Tensor:
        """Return the mismatch of every row: (K, n)."""
        total = residual.abs().sum(dim=-1).mul_(1 - self.lam)
        return total.add_(by_feature.abs().sum(dim=-1), alpha=self.lam)

    def gradient(self, residual: torch.Tensor, by_feature: torch.Tensor) -> torch.Tensor:
        """Return the gradient with respect to the z of the last :meth:`at`; overwrites both.

        The discriminator must not be a joint one.
        """
        maker, critic = self.network.generator, self.network.discriminator
        of_maker, of_critic = self._transposed
        grad = critic.backward_from(
            self._values,
            by_feature.sign_().mul_(self.lam),
            None,
            self._spaces[1],
            to_input=True,
            transposed=of_critic,
        )
        grad.add_(residual.sign_(), alpha=1 - self.lam)
        return maker.backward_from(
            self._made, grad, None, self._spaces[0], to_input=True, transposed=of_maker
        )

    @functools.cached_property
    def _transposed(self) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        network = self.network
        return network.generator.transposed_weights(), network.discriminator.transposed_weights()


class _Codes(nn.Module):
    def __init__(self, z: torch.Tensor) -> None:
        super().__init__()
        self.z = nn.Parameter(z.clone(), requires_grad=False)


def search(mismatch: Mismatch, start: torch.Tensor, n_iter: int) -> torch.Tensor:
    """Lower each row's mismatch by Adam on its own code.

    Every row's objective is its own, summed and not averaged, and Adam works entry by entry, so
    that no row has a part in another's result.

    Parameters
    ----------
    mismatch : Mismatch
    start : Tensor of shape (K, n, latent_dim)
    n_iter : int
        Steps. More of them never give a code with a larger objective.

    Returns
    -------
    Tensor of shape (K, n, latent_dim)
        The best code met.

    References
    ----------
    Schlegl, T. et al., Unsupervised Anomaly Detection with Generative Adversarial Networks to
    Guide Marker Discovery, IPMI 2017.
    """
    codes = _Codes(start)
    optimiser = MemberAdam(codes, _LR, eps=1e-8)
    (grad,) = optimiser.grads.values()
    best = start.clone()
    lowest = start.new_full(start.shape[:2], torch.inf)
    for step in range(n_iter + 1):
        parts = mismatch.at(codes.z)
        objective = mismatch.objective(*parts)
        better = objective < lowest
        best = torch.where(better[..., None], codes.z, best)
        lowest = torch.where(better, objective, lowest)
        if step < n_iter:
            grad.copy_(mismatch.gradient(*parts))
            optimiser.step()
            optimiser.flush()
    return best
