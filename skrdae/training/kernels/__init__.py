"""Faster code than automatic differentiation, registered for pairs of a network and an objective.

Pairs without a kernel are trained by autograd, which tests compare every kernel with.
"""

from skrdae.training.kernels import (
    adversarial,
    adversarial_steps,
    autoencoder,
    sparse,
    two_decoders,
    variational,
)
from skrdae.training.kernels.registry import epoch_kernel, epochs_of, step_kernel, steps_of

__all__ = [
    "adversarial",
    "adversarial_steps",
    "autoencoder",
    "epoch_kernel",
    "epochs_of",
    "sparse",
    "step_kernel",
    "steps_of",
    "two_decoders",
    "variational",
]
