"""Adversarial training of the stacked GAN, and training of its encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from skrdae._typing import Record
from skrdae.networks.gan import MemberGAN, SpectralBound
from skrdae.networks.workspace import Workspace
from skrdae.training.adam import MemberAdam
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
    maker_optimiser = MemberAdam(maker, lr, _BETAS, _EPS)
    critic_optimiser = MemberAdam(critic, lr, _BETAS, _EPS)
    maker_grads = maker_optimiser.grads_of(maker)
    critic_grads = critic_optimiser.grads_of(critic)
    spectral = SpectralBound(critic)
    workspace = Workspace(rows.device)
    maker_space, critic_space = workspace.part("generator"), workspace.part("discriminator")
    n_members, n_rows, n_features = rows.shape
    history: list[Record] = []
    n_steps = 0
    tensors = [*maker.parameters(), *critic.parameters(), *spectral.vectors]
    if state is not None:
        history, n_steps = list(state["history"]), state["n_steps"]
        fill(tensors, state["tensors"])
        maker_optimiser.restore(state["maker"])
        critic_optimiser.restore(state["critic"])
        set_generators(generators, state["generators"])

    def reached() -> dict[str, Any]:
        return {
            "history": list(history),
            "n_steps": n_steps,
            "tensors": copied(tensors),
            "maker": maker_optimiser.state(),
            "critic": critic_optimiser.state(),
            "generators": generator_states(generators),
        }

    for epoch in range(len(history) + 1, n_epochs + 1):
        losses = rows.new_zeros(2, n_members, 1)
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
            losses[0] += loss.sum(dim=1)
            grad = loss.sign_().mul_(sign).mul_(1 / m)
            critic.backward_from(values, grad, critic_grads, critic_space)
            critic_optimiser.step()
            n_steps += 1
            if n_steps % _SPECTRAL_EVERY == 0:
                spectral.apply()
            # The generator, from the same z.
            values = critic.values(made[-1], critic_space)
            losses[1] -= values[-1].sum(dim=1)
            grad = workspace.take("grad", n_members, m, 1).fill_(-1 / m)
            grad = critic.backward_from(values, grad, None, critic_space, to_input=True)
            maker.backward_from(made, grad, maker_grads, maker_space)
            maker_optimiser.step()
        of_critic, of_maker = (losses.mean(dim=(1, 2)) / n_rows).tolist()
        history.append(AdversarialRecord(epoch, of_critic, of_maker).row())
        if on_state is not None:
            on_state(reached)
        if on_iteration is not None and on_iteration(history[-1]):
            break
    spectral.finish()
    maker_optimiser.release()
    critic_optimiser.release()
    return history


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
    encoder, maker, critic = network.encoder, network.generator, network.discriminator
    assert encoder is not None
    optimiser = MemberAdam(encoder, lr)
    grads = optimiser.grads_of(encoder)
    workspace = Workspace(rows.device)
    spaces = [workspace.part(name) for name in ("encoder", "generator", "discriminator")]
    n_members, n_rows, n_features = rows.shape
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
        error, feature_error = (losses.mean(dim=1) / n_rows).tolist()
        history.append(EncoderRecord(epoch, error, feature_error).row())
        if on_state is not None:
            on_state(reached)
        if on_iteration is not None and on_iteration(history[-1]):
            break
    optimiser.release()
    return history
