"""Variational autoencoders: whole epochs on a CPU, and steps elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits

from skrdae._compiled import compiled
from skrdae._typing import IntArray
from skrdae.networks.compiled import (
    HALF,
    ONE,
    TWO,
    ZERO,
    Layers,
    backward,
    block,
    forward,
    places_of,
    space_for,
    tanh,
)
from skrdae.networks.mlp import sigmoid_
from skrdae.networks.variational import MemberVAE
from skrdae.objectives.elbo import (
    FOLLOW,
    VARIANCE_FLOOR,
    EvidenceLowerBound,
    noise_variance_of,
)
from skrdae.rows import MemberRows, Share
from skrdae.training.kernels.adam import Adam, adam_step, gather, most_rows, span
from skrdae.training.kernels.members import train_members
from skrdae.training.kernels.registry import epochs_of, steps_of

if TYPE_CHECKING:
    from skrdae.training.trainer import Trainer

_CONSTANTS = np.float32(FOLLOW), np.float32(VARIANCE_FLOOR)


@epochs_of(MemberVAE, EvidenceLowerBound)
def train_variational_autoencoders(
    trainer: Trainer, rows: MemberRows, n_epochs: int
) -> torch.Tensor:
    """Train by compiled loops, a member a thread."""
    network: Any = trainer.network
    objective: Any = trainer.objective
    encoders = trainer.adam.compiled(network.encoder)
    decoders = trainer.adam.compiled(network.decoder)
    beta, variance = np.float32(objective.beta), objective.variance.numpy()

    def learn(k: int, n_done: int, part: Share, noise: NDArray[np.float32]) -> tuple[float, float]:
        (adam, encoder), (_, decoder) = encoders[k], decoders[k]
        return train_variational_autoencoder(
            adam._replace(n_done=adam.n_done + n_done),
            encoder,
            decoder,
            part.rows,
            part.order,
            noise,
            part.n_batches,
            beta,
            objective.gaussian,
            variance[k, 0],
            *_CONSTANTS,
        )

    return train_members(trainer, rows, n_epochs, 2, learn)


@steps_of(MemberVAE, EvidenceLowerBound)
def variational_step(trainer: Trainer) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return a step with gradients written out, for all members at once."""
    network: Any = trainer.network
    objective: Any = trainer.objective
    latent_dim, variance, beta = network.latent_dim, objective.variance, objective.beta
    encoder_grads = trainer.adam.grads_of(network.encoder)
    decoder_grads = trainer.adam.grads_of(network.decoder)
    workspace = trainer.workspace
    encoder_space, decoder_space = workspace.part("encoder"), workspace.part("decoder")

    def step(x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        n_rows = x.shape[1]
        encoded = network.encoder.values(x, encoder_space)
        mean, log_variance = torch.split(encoded[-1], latent_dim, dim=-1)
        spread = torch.exp(0.5 * log_variance)
        decoded = network.decoder.values(torch.addcmul(mean, spread, noise), decoder_space)
        out = decoded[-1]
        grad = workspace.take("grad", *out.shape)
        weight: torch.Tensor | float = beta
        if objective.gaussian:
            torch.sub(out, x, out=grad)
            square = grad.square().mean(dim=1, keepdim=True)
            variance.lerp_(noise_variance_of(square), FOLLOW)
            level = variance.mean(dim=2, keepdim=True)
            error = square.sum(dim=(1, 2)) * n_rows
            weight = 2 * beta * level
            grad.mul_(level / variance).mul_(2 / n_rows)
        else:
            sigmoid_(grad.copy_(out))
            error = binary_cross_entropy_with_logits(out, x, reduction="none").sum(dim=(1, 2))
            grad.sub_(x).mul_(1 / n_rows)
        excess = spread.square().sub_(1)
        kl = (mean.square() + excess).sub_(log_variance).sum(dim=(1, 2)).mul_(0.5)
        from_z = network.decoder.backward_from(
            decoded, grad, decoder_grads, decoder_space, to_input=True
        )
        weight = weight / n_rows
        grad = workspace.take("grad of code", *encoded[-1].shape)
        torch.add(from_z, mean * weight, out=grad[..., :latent_dim])
        by_noise = (from_z * noise).mul_(spread).mul_(0.5)
        torch.add(by_noise, excess.mul_(weight * 0.5), out=grad[..., latent_dim:])
        network.encoder.backward_from(encoded, grad, encoder_grads, encoder_space)
        trainer.adam.step()
        return torch.stack([error, kl])

    return step


@compiled
def train_variational_autoencoder(
    adam: Adam,
    encoder: Layers,
    decoder: Layers,
    data: NDArray[np.float32],
    order: IntArray,
    noise: NDArray[np.float32],
    n_batches: int,
    beta: np.float32,
    gaussian: bool,
    variance: NDArray[np.float32],
    follow: np.float32,
    floor: np.float32,
) -> tuple[float, float]:
    """Train a member for an epoch to maximise its evidence lower bound.

    Parameters
    ----------
    adam : Adam
        Of both networks, changed in place.
    encoder, decoder : Layers
    data : ndarray of shape (n, d), float32
    order : ndarray of shape (n,), int64
    noise : ndarray of shape (n, latent_dim), float32
        Standard normal, of each row of the epoch.
    n_batches : int
    beta : float32
    gaussian : bool
        The likelihood; Bernoulli otherwise.
    variance : ndarray of shape (d,), float32
        Of a Gaussian likelihood, changed in place: a share `follow` of the way to each batch's mean
        square errors, but not below `floor`.
    follow, floor : float32

    Returns
    -------
    error, kl : float
        Added up over the rows.
    """
    n_rows, n_features = len(order), data.shape[1]
    latent_dim = noise.shape[1]
    most = most_rows(n_rows, n_batches)
    places, out_places = places_of(encoder, most), places_of(decoder, most)
    space, slopes = space_for(places[-1]), space_for(places[-1])
    out_space, out_slopes = space_for(out_places[-1]), space_for(out_places[-1])
    last, out_last = places[len(encoder.kinds)], out_places[len(decoder.kinds)]
    everything = np.float32(np.inf)
    weights = np.empty(n_features, np.float32)
    error, kl, grads = 0.0, 0.0, adam.grads[0]
    for batch in range(n_batches):
        first, end = span(n_rows, n_batches, batch)
        rows = end - first
        x = block(space, 0, rows, n_features)
        gather(data, order[first:end], everything, x)
        drawn = noise[first:end]
        forward(adam.values, encoder, space, places, rows)
        code = block(space, last, rows, 2 * latent_dim)
        z = block(out_space, 0, rows, latent_dim)
        for i in range(rows):
            for j in range(latent_dim):
                z[i, j] = code[i, j] + np.exp(HALF * code[i, latent_dim + j]) * drawn[i, j]
        forward(adam.values, decoder, out_space, out_places, rows)
        fit = block(out_space, out_last, rows, n_features)
        slope = block(out_slopes, out_last, rows, n_features)
        share = ONE / np.float32(rows)
        if gaussian:
            found, level = _gaussian_slopes(x, fit, slope, weights, variance, follow, floor)
            weight = TWO * beta * level * share
        else:
            found = _bernoulli_slopes(x, fit, slope, weights)
            weight = beta * share
        error += found
        backward(adam.values, grads, decoder, out_space, out_slopes, out_places, rows, True)
        of_z = block(out_slopes, 0, rows, latent_dim)
        of_code = block(slopes, last, rows, 2 * latent_dim)
        for i in range(rows):
            for j in range(latent_dim):
                mean, log_variance = code[i, j], code[i, latent_dim + j]
                spread = np.exp(HALF * log_variance)
                excess = spread * spread - ONE
                kl += 0.5 * (mean * mean + (excess - log_variance))
                of_code[i, j] = of_z[i, j] + mean * weight
                by_noise = of_z[i, j] * drawn[i, j] * spread * HALF
                of_code[i, latent_dim + j] = by_noise + excess * (weight * HALF)
        backward(adam.values, grads, encoder, space, slopes, places, rows, False)
        step = adam.n_done + batch + 1
        adam_step(adam, encoder, step)
        adam_step(adam, decoder, step)
    return error, kl


@compiled
def _gaussian_slopes(
    x: NDArray[np.float32],
    fit: NDArray[np.float32],
    slope: NDArray[np.float32],
    weights: NDArray[np.float32],
    variance: NDArray[np.float32],
    follow: np.float32,
    floor: np.float32,
) -> tuple[float, np.float32]:
    """Follow the errors with the variance; write the gradient of the weighted errors.

    Returns the squared errors added up, and the variance's mean.
    """
    n_rows, n_features = x.shape
    share = ONE / np.float32(n_rows)
    weights[:] = ZERO
    for i in range(n_rows):
        for j in range(n_features):
            s = fit[i, j] - x[i, j]
            slope[i, j] = s
            weights[j] += s * s
    error, level = 0.0, 0.0
    for j in range(n_features):
        error += weights[j]
        variance[j] += follow * (max(weights[j] * share, floor) - variance[j])
        level += variance[j]
    mean = np.float32(level / n_features)
    for j in range(n_features):
        weights[j] = mean / variance[j] * (TWO * share)
    for i in range(n_rows):
        for j in range(n_features):
            slope[i, j] *= weights[j]
    return error, mean


@compiled
def _bernoulli_slopes(
    x: NDArray[np.float32],
    logit: NDArray[np.float32],
    slope: NDArray[np.float32],
    products: NDArray[np.float32],
) -> float:
    """Write the gradient of the cross-entropies; return them added up.

    They are max(z, 0) − z x − log p, p the logistic function of |z|. Of p, between a half and one,
    products are taken, because logarithms cost more than all the rest.
    """
    n_rows, n_features = x.shape
    share = ONE / np.float32(n_rows)
    sums = np.zeros(n_features, np.float32)
    error = 0.0
    products[:] = ONE
    for i in range(n_rows):
        for j in range(n_features):
            z = logit[i, j]
            half = HALF * tanh(HALF * abs(z))
            sums[j] += max(z, ZERO) - z * x[i, j]
            products[j] *= HALF + half
            slope[i, j] = (HALF + (half if z > ZERO else -half) - x[i, j]) * share
        if i % 64 == 63 or i == n_rows - 1:
            for j in range(n_features):
                error += sums[j] - np.log(products[j])
            sums[:] = ZERO
            products[:] = ONE
    return error
