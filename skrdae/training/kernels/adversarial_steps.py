"""GANs on a GPU: steps with gradients written out, for all members at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from skrdae.networks.gan import MemberGAN
from skrdae.objectives.adversarial import KAPPA, GeneratorInversion, HingeGAN
from skrdae.training.kernels.registry import steps_of

if TYPE_CHECKING:
    from skrdae.training.trainer import Trainer


@steps_of(MemberGAN, HingeGAN)
def hinge_step(trainer: Trainer) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return a step of the discriminator and one of the generator, from the same codes."""
    network: Any = trainer.network
    generator, critic = network.generator, network.discriminator
    of_critic, of_maker = trainer.optimisers["critic"], trainer.optimisers["maker"]
    critic_grads, maker_grads = of_critic.grads_of(critic), of_maker.grads_of(generator)
    workspace = trainer.workspace
    maker_space, both_space = workspace.part("generator"), workspace.part("both")
    critic_space = workspace.part("discriminator")

    def step(x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        n_members, n_rows, n_features = x.shape
        made = generator.values(noise, maker_space)
        both = both_space.take("rows", n_members, 2 * n_rows, n_features)
        torch.cat([x, made[-1]], dim=1, out=both)
        values = critic.values(both, both_space)
        # The hinges are 1 − D of data, and 1 + D of what is made.
        hinges = values[-1]
        hinges[:, :n_rows].neg_()
        hinges.add_(1).relu_()
        critic_loss = hinges.sum(dim=(1, 2))
        grad = hinges.sign_().mul_(1 / n_rows)
        grad[:, :n_rows].neg_()
        critic.backward_from(values, grad, critic_grads, both_space)
        of_critic.step()
        trainer.objective.after_step("critic", of_critic.n_steps)

        values = critic.values(made[-1], critic_space)
        maker_loss = values[-1].sum(dim=(1, 2)).neg_()
        grad = values[-1].fill_(-1 / n_rows)
        grad = critic.backward_from(values, grad, None, critic_space, to_input=True)
        generator.backward_from(made, grad, maker_grads, maker_space)
        of_maker.step()
        trainer.objective.after_step("maker", of_maker.n_steps)
        return torch.stack([critic_loss, maker_loss])

    return step


@steps_of(MemberGAN, GeneratorInversion)
def inversion_step(trainer: Trainer) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return a step of the encoder; generator and discriminator stay as they are."""
    network: Any = trainer.network
    generator, encoder = network.generator, network.encoder
    grads = trainer.adam.grads_of(encoder)
    workspace = trainer.workspace
    encoder_space, maker_space = workspace.part("encoder"), workspace.part("generator")
    seen_space = workspace.part("features")
    # Copies of what does not change.
    maker_weights = generator.transposed_weights()
    seen_weights = network.discriminator.transposed_weights()

    def step(x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        n_members, n_rows, n_features = x.shape
        codes = encoder.values(x, encoder_space)
        made = generator.values(codes[-1], maker_space)
        both = seen_space.take("rows", n_members, 2 * n_rows, n_features)
        torch.cat([made[-1], x], dim=1, out=both)
        seen = network.features(both, seen_space)
        # The way back is for what is made alone.
        difference = seen[-1][:, :n_rows] - seen[-1][:, n_rows:]
        feature_error = difference.square().sum(dim=(1, 2))
        difference.mul_(2 * KAPPA * n_features / difference.shape[2] / n_rows)
        of_made = [value[:, :n_rows] for value in seen]
        grad = network.discriminator.backward_from(
            of_made, difference, None, seen_space, to_input=True, transposed=seen_weights
        )
        error = torch.sub(made[-1], x, out=workspace.take("error", *x.shape))
        grad.add_(error, alpha=2 / n_rows)
        total = error.square_().sum(dim=(1, 2))
        grad = generator.backward_from(
            made, grad, None, maker_space, to_input=True, transposed=maker_weights
        )
        encoder.backward_from(codes, grad, grads, encoder_space)
        trainer.adam.step()
        return torch.stack([total, feature_error])

    return step
