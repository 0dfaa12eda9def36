"""A generator against a discriminator, and an encoder for both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from skrdae._typing import Record
from skrdae.history import AdversarialRecord, EncoderRecord
from skrdae.networks.gan import MemberGAN, SpectralBound
from skrdae.objectives.base import Objective

#: Steps of the discriminator between two of its projections. Its weights move little in a step.
SPECTRAL_EVERY = 5
#: Weight of the discriminator's features in the encoder's loss.
KAPPA = 1.0


class HingeGAN(Objective):
    """The hinge loss E max(0, 1 − D(x)) + E max(0, 1 + D(G(z))) of D, and −E D(G(z)) of G.

    Discriminator and generator take a step each a batch. Every few steps the discriminator's weight
    matrices are brought back to spectral norm one where they exceed it.

    Parameters
    ----------
    network : MemberGAN
        Its discriminator is bounded at once.

    References
    ----------
    Goodfellow, I. et al., Generative Adversarial Nets, 2014. T. Miyato et al., Spectral
    Normalization for Generative Adversarial Networks, ICLR 2018.
    """

    # Short memories, because the goals move.
    adam: Mapping[str, Any] = {"betas": (0.5, 0.9), "eps": 1e-8}

    def __init__(self, network: MemberGAN) -> None:
        self.spectral = SpectralBound(network.discriminator)

    def trained(self, network: Any) -> dict[str, nn.Module]:
        return {"critic": network.discriminator, "maker": network.generator}

    def noise_size(self, network: Any) -> int:
        return network.latent_dim

    def loss(
        self, part: str, network: Any, x: torch.Tensor, noise: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        made = network.generator(noise)
        if part == "maker":
            total = -network.discriminator(made).sum(dim=(1, 2))
        else:
            hinges = 1 - network.discriminator(x), 1 + network.discriminator(made.detach())
            total = sum(torch.relu(hinge).sum(dim=(1, 2)) for hinge in hinges)
        return total / x.shape[1], total.detach()[None]

    def after_step(self, part: str, n_steps: int) -> None:
        if self.follows(part, n_steps):
            self.spectral.apply()

    def follows(self, part: str, n_steps: int) -> bool:
        return part == "critic" and n_steps % SPECTRAL_EVERY == 0

    def record(self, epoch: int, means: Sequence[float]) -> Record:
        critic, maker = means
        return dict(AdversarialRecord(epoch=epoch, discriminator_loss=critic, generator_loss=maker))

    def tensors(self) -> list[torch.Tensor]:
        return [self.spectral.flat]


class BidirectionalGAN(HingeGAN):
    """A discriminator that tells pairs (x, E(x)) from (G(z), z), against generator and encoder.

    D minimises E max(0, 1 − D(x, E(x))) + E max(0, 1 + D(G(z), z)). G and E share an objective,
    E D(x, E(x)) − E D(G(z), z), of which each has a part in one term. All three take a step a
    batch.

    Parameters
    ----------
    network : MemberGAN
        With an encoder and a joint discriminator, which is bounded at once.

    References
    ----------
    J. Donahue et al., Adversarial Feature Learning, ICLR 2017. V. Dumoulin et al., Adversarially
    Learned Inference, ICLR 2017. H. Zenati et al., Efficient GAN-Based Anomaly Detection, 2018.
    """

    def trained(self, network: Any) -> dict[str, nn.Module]:
        return {**super().trained(network), "coder": network.encoder}

    def loss(
        self, part: str, network: Any, x: torch.Tensor, noise: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        critic = network.discriminator
        if part == "maker":
            total = -critic(network.seen(network.generator(noise), noise)).sum(dim=(1, 2))
        elif part == "coder":
            total = critic(network.seen(x, network.encoder(x))).sum(dim=(1, 2))
        else:
            real = critic(network.seen(x, network.encoder(x).detach()))
            fake = critic(network.seen(network.generator(noise).detach(), noise))
            total = (torch.relu(1 - real) + torch.relu(1 + fake)).sum(dim=(1, 2))
        return total / x.shape[1], total.detach()[None]

    def record(self, epoch: int, means: Sequence[float]) -> Record:
        critic, maker, coder = means
        return super().record(epoch, [critic, maker + coder])


class GeneratorInversion(Objective):
    """‖x − G(E(x))‖² + κ (d / n_f) ‖f(x) − f(G(E(x)))‖², minimised over the encoder E alone.

    d is the number of features of the data, n_f that of the discriminator's features f, and κ = 1.
    It is the loss izi_f of f-AnoGAN.

    References
    ----------
    Schlegl, T. et al., f-AnoGAN: Fast unsupervised anomaly detection with generative adversarial
    networks, Medical Image Analysis 54, 2019.
    """

    def trained(self, network: Any) -> dict[str, nn.Module]:
        return {"adam": network.encoder}

    def loss(
        self, part: str, network: Any, x: torch.Tensor, noise: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        made = network.generator(network.encoder(x))
        real, fake = network.features(x)[-1], network.features(made)[-1]
        error = (x - made).square().sum(dim=(1, 2))
        feature_error = (real - fake).square().sum(dim=(1, 2))
        loss = error + feature_error * (KAPPA * x.shape[2] / real.shape[2])
        return loss / x.shape[1], torch.stack([error.detach(), feature_error.detach()])

    def record(self, epoch: int, means: Sequence[float]) -> Record:
        error, feature_error = means
        return dict(EncoderRecord(epoch=epoch, error=error, feature_error=feature_error))
