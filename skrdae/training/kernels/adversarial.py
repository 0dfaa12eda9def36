"""GANs: whole epochs on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from skrdae.networks.compiled import KINDS, Layers
from skrdae.networks.gan import ROUNDS, MemberGAN
from skrdae.networks.mlp import MemberMLP
from skrdae.objectives.adversarial import (
    KAPPA,
    SPECTRAL_EVERY,
    BidirectionalGAN,
    GeneratorInversion,
    HingeGAN,
)
from skrdae.rows import MemberRows, Share
from skrdae.training.kernels.adversarial_loops import (
    train_encoder_of_gan,
    train_generator_and_discriminator,
)
from skrdae.training.kernels.bidirectional_loops import train_bidirectional
from skrdae.training.kernels.members import train_members
from skrdae.training.kernels.registry import epochs_of

if TYPE_CHECKING:
    from skrdae.training.trainer import Trainer


@epochs_of(MemberGAN, HingeGAN)
def train_gans(trainer: Trainer, rows: MemberRows, n_epochs: int) -> torch.Tensor:
    """Train discriminators and generators by compiled loops, a member a thread."""
    return _train_together(trainer, rows, n_epochs, train_generator_and_discriminator)


@epochs_of(MemberGAN, BidirectionalGAN)
def train_bidirectional_gans(trainer: Trainer, rows: MemberRows, n_epochs: int) -> torch.Tensor:
    """Train discriminators, generators and encoders by compiled loops, a member a thread."""
    return _train_together(trainer, rows, n_epochs, train_bidirectional)


def _train_together(
    trainer: Trainer, rows: MemberRows, n_epochs: int, loop: Callable[..., tuple[float, ...]]
) -> torch.Tensor:
    """Train all parts of an objective by a loop that takes them in their order."""
    objective: Any = trainer.objective
    vectors = objective.spectral.flat.numpy()
    trained = objective.trained(trainer.network)
    parts = [optimiser.compiled(trained[name]) for name, optimiser in trainer.optimisers.items()]

    def learn(k: int, n_done: int, part: Share, noise: NDArray[np.float32]) -> tuple[float, ...]:
        states: list[Any] = []
        for adam, layers in (own[k] for own in parts):
            states += adam._replace(n_done=adam.n_done + n_done), layers
        shown = vectors[k], part.rows, part.order, noise, part.n_batches
        return loop(*states, *shown, SPECTRAL_EVERY, ROUNDS)

    return train_members(trainer, rows, n_epochs, len(parts), learn)


@epochs_of(MemberGAN, GeneratorInversion)
def train_encoders(trainer: Trainer, rows: MemberRows, n_epochs: int) -> torch.Tensor:
    """Train encoders by compiled loops, a member a thread."""
    network: Any = trainer.network
    encoders = trainer.adam.compiled(network.encoder)
    n_members = network.n_members
    frozen = [
        (*_flat(network.generator, k), *_flat(network.discriminator, k, 1))
        for k in range(n_members)
    ]

    def learn(k: int, n_done: int, part: Share, noise: NDArray[np.float32]) -> tuple[float, float]:
        adam, encoder = encoders[k]
        state = adam._replace(n_done=adam.n_done + n_done)
        sizes = part.n_batches, np.float32(KAPPA)
        return train_encoder_of_gan(state, encoder, *frozen[k], part.rows, part.order, *sizes)

    return train_members(trainer, rows, n_epochs, 2, learn)


def _flat(
    network: MemberMLP, member: int, n_left_out: int = 0
) -> tuple[NDArray[np.float32], Layers]:
    """Return a copy of a member's parameters in one piece, the last layers left out."""
    weights = network.weights[: len(network.weights) - n_left_out]
    parameters = list(network.parameters())[: 2 * len(weights)]
    values = np.concatenate([p[member].numpy().ravel() for p in parameters])
    ends = np.cumsum([p[member].numel() for p in parameters])
    sizes = np.array([weights[0].shape[1], *(weight.shape[2] for weight in weights)])
    kinds = np.array([KINDS[name] for name in network.activations[: len(weights)]])
    return values, Layers(sizes, kinds, np.concatenate([[0], ends[:-1]]))
