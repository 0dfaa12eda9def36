"""GANs: whole epochs on a CPU, and steps elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from skrdae._parallel import in_parallel, one_blas_thread
from skrdae.networks.compiled import KINDS, Layers
from skrdae.networks.gan import ROUNDS, MemberGAN
from skrdae.networks.mlp import MemberMLP
from skrdae.objectives.adversarial import (
    KAPPA,
    SPECTRAL_EVERY,
    GeneratorInversion,
    HingeGAN,
)
from skrdae.rows import MemberRows
from skrdae.training.batches import draw_noise, draw_order, n_batches_of
from skrdae.training.kernels.adversarial_loops import (
    train_encoder_of_gan,
    train_generator_and_discriminator,
)
from skrdae.training.kernels.registry import epochs_of, steps_of

if TYPE_CHECKING:
    from skrdae.training.trainer import Trainer


@epochs_of(MemberGAN, HingeGAN)
def train_by_loops(trainer: Trainer, rows: MemberRows, n_epochs: int) -> torch.Tensor:
    """Train generators and discriminators by compiled loops, a member a thread."""
    network: Any = trainer.network
    objective: Any = trainer.objective
    vectors = objective.spectral.flat.numpy()
    makers = trainer.optimisers["maker"].compiled(network.generator)
    critics = trainer.optimisers["critic"].compiled(network.discriminator)

    def learn(k: int, n_done: int, part: Any, noise: NDArray[np.float32]) -> tuple[float, float]:
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

    return _train(trainer, rows, n_epochs, learn)


@epochs_of(MemberGAN, GeneratorInversion)
def train_encoders_by_loops(trainer: Trainer, rows: MemberRows, n_epochs: int) -> torch.Tensor:
    """Train encoders by compiled loops, a member a thread."""
    network: Any = trainer.network
    encoders = trainer.adam.compiled(network.encoder)
    n_members = network.n_members
    frozen = [
        (*_flat(network.generator, k), *_flat(network.discriminator, k, 1))
        for k in range(n_members)
    ]

    def learn(k: int, n_done: int, part: Any, noise: NDArray[np.float32]) -> tuple[float, float]:
        adam, encoder = encoders[k]
        state = adam._replace(n_done=adam.n_done + n_done)
        sizes = part.n_batches, np.float32(KAPPA)
        return train_encoder_of_gan(state, encoder, *frozen[k], part.rows, part.order, *sizes)

    return _train(trainer, rows, n_epochs, learn)


def _train(
    trainer: Trainer,
    rows: MemberRows,
    n_epochs: int,
    learn: Callable[[int, int, Any, NDArray[np.float32]], tuple[float, float]],
) -> torch.Tensor:
    """Train members side by side; return what `learn` returned, added up, (2, K)."""
    n_members, n_rows, _ = rows.shape
    n_batches = n_batches_of(n_rows, trainer.batch_size)
    noise_size = trainer.objective.noise_size(trainer.network)
    losses = torch.zeros(2, n_members, dtype=torch.float64, device="cpu")

    def train(k: int) -> None:
        for epoch in range(n_epochs):
            order = draw_order(trainer.generators[k], n_rows).numpy()
            noise = draw_noise(trainer.generators[k], n_rows, n_batches, noise_size).numpy()
            losses[:, k] = 0
            for part in rows.shares(k, order, n_batches):
                drawn = noise[part.first : part.first + len(part.order)]
                first, second = learn(k, epoch * n_batches + part.n_done, part, drawn)
                losses[0, k] += float(first)
                losses[1, k] += float(second)

    with one_blas_thread:
        in_parallel(train, range(n_members))
    for optimiser in trainer.optimisers.values():
        optimiser.count(n_epochs * n_batches)
    return losses


@steps_of(MemberGAN, HingeGAN)
def step_by_hand(trainer: Trainer) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return a step of discriminators and generators with gradients written out."""
    network: Any = trainer.network
    objective, workspace = trainer.objective, trainer.workspace
    maker, critic = network.generator, network.discriminator
    of_maker, of_critic = trainer.optimisers["maker"], trainer.optimisers["critic"]
    maker_grads, critic_grads = of_maker.grads_of(maker), of_critic.grads_of(critic)
    maker_space, critic_space = workspace.part("generator"), workspace.part("discriminator")

    def step(x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        n_members, m, n_features = x.shape
        both = workspace.take("both", n_members, 2 * m, n_features)
        made = maker.values(noise, maker_space)
        both[:, :m], both[:, m:] = x, made[-1]
        # The discriminator: +1 for data, −1 for what was made.
        values = critic.values(both, critic_space)
        sign = workspace.take("sign", n_members, 2 * m, 1)
        sign[:, :m], sign[:, m:] = -1.0, 1.0
        loss = torch.mul(values[-1], sign, out=workspace.take("loss", *sign.shape))
        loss.add_(1).relu_()
        of_discriminator = loss.sum(dim=(1, 2))
        grad = loss.sign_().mul_(sign).mul_(1 / m)
        critic.backward_from(values, grad, critic_grads, critic_space)
        of_critic.step()
        objective.after_step("critic", of_critic.n_steps)
        # The generator, from the same z.
        values = critic.values(made[-1], critic_space)
        of_generator = -values[-1].sum(dim=(1, 2))
        grad = workspace.take("grad", n_members, m, 1).fill_(-1 / m)
        grad = critic.backward_from(values, grad, None, critic_space, to_input=True)
        maker.backward_from(made, grad, maker_grads, maker_space)
        of_maker.step()
        return torch.stack([of_discriminator, of_generator])

    return step


@steps_of(MemberGAN, GeneratorInversion)
def encoder_step_by_hand(
    trainer: Trainer,
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return a step of encoders with gradients written out."""
    network: Any = trainer.network
    workspace = trainer.workspace
    encoder, maker, critic = network.encoder, network.generator, network.discriminator
    grads = trainer.adam.grads_of(encoder)
    spaces = [workspace.part(name) for name in ("encoder", "generator", "discriminator")]

    def step(x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        n_members, m, n_features = x.shape
        codes = encoder.values(x, spaces[0])
        made = maker.values(codes[-1], spaces[1])
        both = workspace.take("both", n_members, 2 * m, n_features)
        both[:, :m], both[:, m:] = made[-1], x
        values = network.features(both, spaces[2])
        by_feature = values[-1][:, :m] - values[-1][:, m:]
        feature_error = by_feature.square().sum(dim=(1, 2))
        by_feature.mul_(2 * KAPPA * n_features / (by_feature.shape[2] * m))
        halves = [value[:, :m] for value in values]
        grad = critic.backward_from(halves, by_feature, None, spaces[2], to_input=True)
        difference = torch.sub(made[-1], x, out=workspace.take("error", *x.shape))
        error = difference.square().sum(dim=(1, 2))
        grad.add_(difference, alpha=2 / m)
        grad = maker.backward_from(made, grad, None, spaces[1], to_input=True)
        encoder.backward_from(codes, grad, grads, spaces[0])
        trainer.adam.step()
        return torch.stack([error, feature_error])

    return step


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
