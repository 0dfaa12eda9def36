"""GANs: whole epochs on a CPU."""

from __future__ import annotations

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
    """Train generators and discriminators by compiled loops, a member a thread."""
    network: Any = trainer.network
    objective: Any = trainer.objective
    vectors = objective.spectral.flat.numpy()
    makers = trainer.optimisers["maker"].compiled(network.generator)
    critics = trainer.optimisers["critic"].compiled(network.discriminator)

    def learn(k: int, n_done: int, part: Share, noise: NDArray[np.float32]) -> tuple[float, float]:
        (of_maker, maker), (of_critic, critic) = makers[k], critics[k]
        return train_generator_and_discriminator(
            of_maker._replace(n_done=of_maker.n_done + n_done),
            maker,
            of_critic._replace(n_done=of_critic.n_done + n_done),
            critic,
            vectors[k],
            part.rows,
            part.order,
            noise,
            part.n_batches,
            SPECTRAL_EVERY,
            ROUNDS,
        )

    return train_members(trainer, rows, n_epochs, 2, learn)


@epochs_of(MemberGAN, BidirectionalGAN)
def train_bidirectional_gans(trainer: Trainer, rows: MemberRows, n_epochs: int) -> torch.Tensor:
    """Train generators, encoders and discriminators by compiled loops, a member a thread."""
    network: Any = trainer.network
    objective: Any = trainer.objective
    vectors = objective.spectral.flat.numpy()
    parts = [
        trainer.optimisers[name].compiled(part) for name, part in objective.trained(network).items()
    ]

    def learn(
        k: int, n_done: int, part: Share, noise: NDArray[np.float32]
    ) -> tuple[float, float, float]:
        (of_critic, critic), (of_maker, maker), (of_coder, coder) = (own[k] for own in parts)
        return train_bidirectional(
            of_critic._replace(n_done=of_critic.n_done + n_done),
            critic,
            of_maker._replace(n_done=of_maker.n_done + n_done),
            maker,
            of_coder._replace(n_done=of_coder.n_done + n_done),
            coder,
            vectors[k],
            part.rows,
            part.order,
            noise,
            part.n_batches,
            SPECTRAL_EVERY,
            ROUNDS,
        )

    return train_members(trainer, rows, n_epochs, 3, learn)


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
