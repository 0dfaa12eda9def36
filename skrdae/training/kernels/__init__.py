"""Faster code for pairs of a network and an objective, held to automatic differentiation by tests.

A kernel is registered for a network and an objective; what has none is trained by autograd.
"""

from skrdae.training.kernels import adversarial, autoencoder, variational
from skrdae.training.kernels.registry import epoch_kernel, epochs_of, step_kernel, steps_of

__all__ = [
    "adversarial",
    "autoencoder",
    "epoch_kernel",
    "epochs_of",
    "step_kernel",
    "steps_of",
    "variational",
]
