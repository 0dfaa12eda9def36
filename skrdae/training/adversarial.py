"""Adversarial training of the stacked GAN, and training of its encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from skrdae._parallel import in_parallel, one_blas_thread
from skrdae._typing import Record
from skrdae.networks.compiled import KINDS, Layers
from skrdae.networks.gan import ROUNDS, MemberGAN, SpectralBound
from skrdae.networks.mlp import MemberMLP
from skrdae.networks.workspace import Workspace
from skrdae.training.adam import MemberAdam
from skrdae.training.compiled_gan import (
    train_encoder_of_gan,
    train_generator_and_discriminator,
)
from skrdae.training.history import AdversarialRecord, EncoderRecord
from skrdae.training.minibatch import gather, normal, shuffled_batches
from skrdae.training.state import copied, fill, generator_states, set_generators

# Of Adam, for generator and discriminator: short memories, because their goals move.
_BETAS, _EPS = (0.5, 0.9), 1e-8
# Steps of the discriminator between two of its projections. Its weights move little in a step.
_SPECTRAL_EVERY = 5
# Weight of the discriminator's features in the encoder's loss.
_KAPPA = 1.0


def train_adversarial(
    network: MemberGAN,
    rows: torch.Tensor,
    *,
    n_epochs: int,
    batch_size: int,
    lr: float,
    generators: Sequence[torch.Generator],
    on_iteration: Callable[[Record], object] | None = None,
    state: Mapping[str, Any] | None = None,
    on_state: Callable[[Callable[[], dict[str, Any]]], object] | None = None,
) -> list[Record]:
    """Train generator and discriminator against each other, one step of each a batch.

    The discriminator lowers the hinge loss E max(0, 1 − D(x)) + E max(0, 1 + D(G(z))); every few
    steps its weight matrices are brought back to spectral norm one where they exceed it. The
    generator lowers −E D(G(z)).

    Parameters
    ----------
    network : MemberGAN
        K members; trained in place.
    rows : Tensor of shape (K, n, d)
        Of each member; an expanded view if all see the same.
    n_epochs, batch_size : int
    lr : float
    generators : list of K torch.Generator
        Give each member's order of rows and samples.
    on_iteration : callable, optional
        Called with each row of the history; where it says True, this epoch is the last.
    state : dict, optional
        Of another call with the same arguments, to go on from.
    on_state : callable, optional
        Called after each epoch with a function that returns the state.

    Returns
    -------
    list of dict
        The rows of :class:`~skrdae.training.history.AdversarialRecord`.

    References
    ----------
    Goodfellow, I. et al., Generative Adversarial Nets, 2014. T. Miyato et al., Spectral
    Normalization for Generative Adversarial Networks, ICLR 2018.
    """
    maker, critic = network.generator, network.discriminator
    of_maker = MemberAdam(maker, lr, _BETAS, _EPS)
    of_critic = MemberAdam(critic, lr, _BETAS, _EPS)
    optimisers = of_maker, of_critic
    spectral = SpectralBound(critic)
    workspace = Workspace(rows.device)
    run = _run_compiled if rows.device.type == "cpu" else _run
    history: list[Record] = []
    tensors = [*maker.parameters(), *critic.parameters(), *spectral.vectors]
    if state is not None:
        history = list(state["history"])
        fill(tensors, state["tensors"])
        of_maker.restore(state["maker"])
        of_critic.restore(state["critic"])
        set_generators(generators, state["generators"])

    def reached() -> dict[str, Any]:
        return {
            "history": list(history),
            "n_steps": of_critic.n_steps,
            "tensors": copied(tensors),
            "maker": of_maker.state(),
            "critic": of_critic.state(),
            "generators": generator_states(generators),
        }

    for epoch in range(len(history) + 1, n_epochs + 1):
        losses = run(network, optimisers, spectral, rows, batch_size, generators, workspace)
        by_network = (losses / rows.shape[1]).mean(dim=1).tolist()
        history.append(AdversarialRecord(epoch, *by_network).row())
        if on_state is not None:
            on_state(reached)
        if on_iteration is not None and on_iteration(history[-1]):
            break
    spectral.finish()
    of_maker.release()
    of_critic.release()
    return history


def _run(
    network: MemberGAN,
    optimisers: tuple[MemberAdam, MemberAdam],
    spectral: SpectralBound,
    rows: torch.Tensor,
    batch_size: int,
    generators: Sequence[torch.Generator],
    workspace: Workspace,
) -> torch.Tensor:
    """Train for an epoch; return the losses of discriminator and generator, added up, (2, K)."""
    maker, critic = network.generator, network.discriminator
    of_maker, of_critic = optimisers
    maker_grads, critic_grads = of_maker.grads_of(maker), of_critic.grads_of(critic)
    maker_space, critic_space = workspace.part("generator"), workspace.part("discriminator")
    n_members, n_rows, n_features = rows.shape
    losses = rows.new_zeros(2, n_members)
    for batch in shuffled_batches(n_rows, batch_size, generators, rows.device):
        m = batch.shape[1]
        both = workspace.take("both", n_members, 2 * m, n_features)
        gather(rows, batch, out=both[:, :m])
        z = normal(generators, workspace.take("z", n_members, m, network.latent_dim))
        made = maker.values(z, maker_space)
        both[:, m:] = made[-1]
        # The discriminator: +1 for data, −1 for what was made.
        values = critic.values(both, critic_space)
        sign = workspace.take("sign", n_members, 2 * m, 1)
        sign[:, :m], sign[:, m:] = -1.0, 1.0
        loss = torch.mul(values[-1], sign, out=workspace.take("loss", *sign.shape))
        loss.add_(1).relu_()
        losses[0] += loss.sum(dim=(1, 2))
        grad = loss.sign_().mul_(sign).mul_(1 / m)
        critic.backward_from(values, grad, critic_grads, critic_space)
        of_critic.step()
        if of_critic.n_steps % _SPECTRAL_EVERY == 0:
            spectral.apply()
        # The generator, from the same z.
        values = critic.values(made[-1], critic_space)
        losses[1] -= values[-1].sum(dim=(1, 2))
        grad = workspace.take("grad", n_members, m, 1).fill_(-1 / m)
        grad = critic.backward_from(values, grad, None, critic_space, to_input=True)
        maker.backward_from(made, grad, maker_grads, maker_space)
        of_maker.step()
    return losses


def _run_compiled(
    network: MemberGAN,
    optimisers: tuple[MemberAdam, MemberAdam],
    spectral: SpectralBound,
    rows: torch.Tensor,
    batch_size: int,
    generators: Sequence[torch.Generator],
    workspace: Workspace,
) -> torch.Tensor:
    """Do the same on a CPU."""
    n_samples = rows.shape[1]
    n_batches = -(-n_samples // batch_size)
    makers = optimisers[0].compiled(network.generator)
    critics = optimisers[1].compiled(network.discriminator)
    losses = torch.zeros(2, len(rows), dtype=torch.float64, device="cpu")
    settings = n_batches, _SPECTRAL_EVERY, ROUNDS

    def train(k: int) -> None:
        order = torch.randperm(n_samples, generator=generators[k], device="cpu").numpy()
        z = torch.empty(1, n_samples, network.latent_dim, dtype=torch.float32, device="cpu")
        for part in z.tensor_split(n_batches, dim=1):  # as they are drawn elsewhere
            normal([generators[k]], part)
        vectors, data, noise = spectral.flat[k].numpy(), rows[k].numpy(), z[0].numpy()
        found = train_generator_and_discriminator(
            *makers[k], *critics[k], vectors, data, order, noise, *settings
        )
        losses[0, k], losses[1, k] = map(float, found)

    with one_blas_thread:
        in_parallel(train, range(len(rows)))
    for optimiser in optimisers:
        optimiser.count(n_batches)
    return losses


def train_encoder(
    network: MemberGAN,
    rows: torch.Tensor,
    *,
    n_epochs: int,
    batch_size: int,
    lr: float,
    generators: Sequence[torch.Generator],
    on_iteration: Callable[[Record], object] | None = None,
    state: Mapping[str, Any] | None = None,
    on_state: Callable[[Callable[[], dict[str, Any]]], object] | None = None,
) -> list[Record]:
    """Train the encoder for the frozen generator and discriminator (f-AnoGAN's izi_f).

    The loss of a row is ‖x − G(E(x))‖² + κ (d / n_f) ‖f(x) − f(G(E(x)))‖² for d features of the
    data and n_f of the discriminator, with κ = 1.

    Parameters and result are those of :func:`train_adversarial`, the rows of the history those of
    :class:`~skrdae.training.history.EncoderRecord`.

    References
    ----------
    Schlegl, T. et al., f-AnoGAN: Fast unsupervised anomaly detection with generative adversarial
    networks, Medical Image Analysis 54, 2019.
    """
    encoder = network.encoder
    assert encoder is not None
    optimiser = MemberAdam(encoder, lr)
    workspace = Workspace(rows.device)
    run = _run_encoder_compiled if rows.device.type == "cpu" else _run_encoder
    history: list[Record] = []
    if state is not None:
        history = list(state["history"])
        fill(encoder.parameters(), state["tensors"])
        optimiser.restore(state["adam"])
        set_generators(generators, state["generators"])

    def reached() -> dict[str, Any]:
        return {
            "history": list(history),
            "tensors": copied(encoder.parameters()),
            "adam": optimiser.state(),
            "generators": generator_states(generators),
        }

    for epoch in range(len(history) + 1, n_epochs + 1):
        losses = run(network, encoder, optimiser, rows, batch_size, generators, workspace)
        error, feature_error = (losses / rows.shape[1]).mean(dim=1).tolist()
        history.append(EncoderRecord(epoch, error, feature_error).row())
        if on_state is not None:
            on_state(reached)
        if on_iteration is not None and on_iteration(history[-1]):
            break
    optimiser.release()
    return history


def _run_encoder(
    network: MemberGAN,
    encoder: MemberMLP,
    optimiser: MemberAdam,
    rows: torch.Tensor,
    batch_size: int,
    generators: Sequence[torch.Generator],
    workspace: Workspace,
) -> torch.Tensor:
    """Train for an epoch; return the errors of rows and features, added up, (2, K)."""
    maker, critic = network.generator, network.discriminator
    grads = optimiser.grads_of(encoder)
    spaces = [workspace.part(name) for name in ("encoder", "generator", "discriminator")]
    n_members, n_rows, n_features = rows.shape
    losses = rows.new_zeros(2, n_members)
    for batch in shuffled_batches(n_rows, batch_size, generators, rows.device):
        m = batch.shape[1]
        shape = (n_members, m, n_features)
        x = gather(rows, batch, out=workspace.take("batch", *shape))
        codes = encoder.values(x, spaces[0])
        made = maker.values(codes[-1], spaces[1])
        both = workspace.take("both", n_members, 2 * m, n_features)
        both[:, :m], both[:, m:] = made[-1], x
        values = network.features(both, spaces[2])
        by_feature = values[-1][:, :m] - values[-1][:, m:]
        losses[1] += by_feature.square().sum(dim=(1, 2))
        by_feature.mul_(2 * _KAPPA * n_features / (by_feature.shape[2] * m))
        halves = [value[:, :m] for value in values]
        grad = critic.backward_from(halves, by_feature, None, spaces[2], to_input=True)
        error = torch.sub(made[-1], x, out=workspace.take("error", *shape))
        losses[0] += error.square().sum(dim=(1, 2))
        grad.add_(error, alpha=2 / m)
        grad = maker.backward_from(made, grad, None, spaces[1], to_input=True)
        encoder.backward_from(codes, grad, grads, spaces[0])
        optimiser.step()
    return losses


def _run_encoder_compiled(
    network: MemberGAN,
    encoder: MemberMLP,
    optimiser: MemberAdam,
    rows: torch.Tensor,
    batch_size: int,
    generators: Sequence[torch.Generator],
    workspace: Workspace,
) -> torch.Tensor:
    """Do the same on a CPU."""
    n_samples = rows.shape[1]
    n_batches = -(-n_samples // batch_size)
    encoders = optimiser.compiled(encoder)
    losses = torch.zeros(2, len(rows), dtype=torch.float64, device="cpu")

    def train(k: int) -> None:
        order = torch.randperm(n_samples, generator=generators[k], device="cpu").numpy()
        frozen = *_flat(network.generator, k), *_flat(network.discriminator, k, 1)
        found = train_encoder_of_gan(
            *encoders[k], *frozen, rows[k].numpy(), order, n_batches, np.float32(_KAPPA)
        )
        losses[0, k], losses[1, k] = map(float, found)

    with one_blas_thread:
        in_parallel(train, range(len(rows)))
    optimiser.count(n_batches)
    return losses


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
