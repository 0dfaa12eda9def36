"""Training of the GAN on a CPU, whole epochs as compiled loops, one member at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skrdae._compiled import compiled
from skrdae._typing import IntArray
from skrdae.networks.compiled import (
    KINDS,
    ONE,
    TWO,
    ZERO,
    Layers,
    backward,
    block,
    forward,
    places_of,
    space_for,
)
from skrdae.networks.compiled_norms import bound_norm
from skrdae.training.kernels.adam import Adam, adam_step, gather, most_rows, span

_RELU, _TANH, _SIGMOID = KINDS["relu"], KINDS["tanh"], KINDS["sigmoid"]
#: Rows are taken as they are, not clipped.
NO_BOUND = np.float32(np.inf)


@compiled
def train_generator_and_discriminator(
    critic_adam: Adam,
    critic: Layers,
    maker_adam: Adam,
    maker: Layers,
    vectors: NDArray[np.float32],
    data: NDArray[np.float32],
    order: IntArray,
    noise: NDArray[np.float32],
    n_batches: int,
    bound_every: int,
    n_rounds: int,
) -> tuple[float, float]:
    """Train a member's generator and discriminator for an epoch, one step of each a batch.

    Parameters
    ----------
    critic_adam, maker_adam : Adam
        Of the discriminator and the generator, changed in place.
    critic, maker : Layers
    vectors : ndarray, float32
        Those of the power iteration of the discriminator's layers, one after another; changed in
        place.
    data : ndarray of shape (n, d), float32
    order : ndarray of shape (n,), int64
        In which the rows are shown, dealt out evenly to the batches.
    noise : ndarray of shape (n, latent_dim), float32
        Standard normal, a code for each row of the epoch.
    n_batches : int
    bound_every : int
        Steps of the discriminator between two bounds of its spectral norms.
    n_rounds : int
        Of power iteration, each time.

    Returns
    -------
    discriminator, generator : float
        The losses, added up over the rows.
    """
    n_rows, n_features = len(order), data.shape[1]
    latent_dim = noise.shape[1]
    most = most_rows(n_rows, n_batches)
    places, made_places = places_of(critic, 2 * most), places_of(maker, most)
    space, slopes = space_for(places[-1]), space_for(places[-1])
    made_space, made_slopes = space_for(made_places[-1]), space_for(made_places[-1])
    last, made_last = places[len(critic.kinds)], made_places[len(maker.kinds)]
    of_critic, of_maker = 0.0, 0.0
    for batch in range(n_batches):
        first, end = span(n_rows, n_batches, batch)
        m = end - first
        size = m * n_features
        made = made_space[made_last : made_last + size]
        block(made_space, 0, m, latent_dim)[:] = noise[first:end]
        forward(maker_adam.values, maker, made_space, made_places, m)
        # The discriminator: high for data, low for what is made.
        gather(data, order[first:end], NO_BOUND, block(space, 0, m, n_features))
        space[size : 2 * size] = made
        step = critic_adam.n_done + batch + 1
        of_critic = tell_apart(critic_adam, critic, space, slopes, places, m, step, of_critic)
        if step % bound_every == 0:
            bound_norms(critic_adam.values, critic, vectors, n_rounds)
        share = ONE / np.float32(m)
        # The generator, from the same codes.
        space[:size] = made
        forward(critic_adam.values, critic, space, places, m)
        for i in range(m):
            of_maker -= space[last + i]
            slopes[last + i] = -share
        back_to_input(critic_adam.values, critic, space, slopes, places, m)
        made_slopes[made_last : made_last + size] = slopes[:size]
        grads = maker_adam.grads[0]
        backward(maker_adam.values, grads, maker, made_space, made_slopes, made_places, m, False)
        adam_step(maker_adam, maker, maker_adam.n_done + batch + 1)
    return of_critic, of_maker


@compiled
def train_encoder_of_gan(
    adam: Adam,
    encoder: Layers,
    maker_values: NDArray[np.float32],
    maker: Layers,
    critic_values: NDArray[np.float32],
    features: Layers,
    data: NDArray[np.float32],
    order: IntArray,
    n_batches: int,
    kappa: np.float32,
) -> tuple[float, float]:
    """Train a member's encoder for an epoch, generator and discriminator as they are.

    Parameters
    ----------
    adam : Adam
        Of the encoder, changed in place.
    encoder : Layers
    maker_values : ndarray, float32
        The generator's parameters.
    maker : Layers
    critic_values : ndarray, float32
        The discriminator's parameters.
    features : Layers
        Of the discriminator without its last layer.
    data : ndarray of shape (n, d), float32
    order : ndarray of shape (n,), int64
    n_batches : int
    kappa : float32
        Weight of the discriminator's features.

    Returns
    -------
    error, feature_error : float
        Squared, added up over the rows.
    """
    n_rows, n_features = len(order), data.shape[1]
    n_seen, latent_dim = features.sizes[-1], encoder.sizes[-1]
    most = most_rows(n_rows, n_batches)
    places, made_places = places_of(encoder, most), places_of(maker, most)
    seen_places = places_of(features, 2 * most)
    space, slopes = space_for(places[-1]), space_for(places[-1])
    made_space, made_slopes = space_for(made_places[-1]), space_for(made_places[-1])
    seen_space, seen_slopes = space_for(seen_places[-1]), space_for(seen_places[-1])
    last, made_last = places[len(encoder.kinds)], made_places[len(maker.kinds)]
    seen_last = seen_places[len(features.kinds)]
    error, feature_error = 0.0, 0.0
    for batch in range(n_batches):
        first, end = span(n_rows, n_batches, batch)
        m = end - first
        size, code_size, seen_size = m * n_features, m * latent_dim, m * n_seen
        gather(data, order[first:end], NO_BOUND, block(space, 0, m, n_features))
        forward(adam.values, encoder, space, places, m)
        made_space[:code_size] = space[last : last + code_size]
        forward(maker_values, maker, made_space, made_places, m)
        # The discriminator sees what is made, and after it the rows.
        seen_space[:size] = made_space[made_last : made_last + size]
        seen_space[size : 2 * size] = space[:size]
        forward(critic_values, features, seen_space, seen_places, 2 * m)
        share = TWO / np.float32(m)
        weight = kappa * np.float32(n_features) / np.float32(n_seen) * share
        for i in range(seen_last, seen_last + seen_size):
            s = seen_space[i] - seen_space[i + seen_size]
            seen_slopes[i] = s * weight
            feature_error += s * s
        # The way back is for what is made alone, the first half.
        back_to_input(critic_values, features, seen_space, seen_slopes, seen_places, m)
        for i in range(size):
            s = made_space[made_last + i] - space[i]
            made_slopes[made_last + i] = seen_slopes[i] + s * share
            error += s * s
        back_to_input(maker_values, maker, made_space, made_slopes, made_places, m)
        slopes[last : last + code_size] = made_slopes[:code_size]
        backward(adam.values, adam.grads[0], encoder, space, slopes, places, m, False)
        adam_step(adam, encoder, adam.n_done + batch + 1)
    return error, feature_error


@compiled
def tell_apart(
    adam: Adam,
    critic: Layers,
    space: NDArray[np.float32],
    slopes: NDArray[np.float32],
    places: IntArray,
    m: int,
    step: int,
    total: float,
) -> float:
    """Make the discriminator's `step`: high for the first m rows in its space, low for m others.

    Returns
    -------
    float
        `total` and the hinges, added up over the rows.
    """
    forward(adam.values, critic, space, places, 2 * m)
    last, share = places[len(critic.kinds)], ONE / np.float32(m)
    for i in range(2 * m):
        sign = -ONE if i < m else ONE
        loss = ONE + sign * space[last + i]
        slopes[last + i] = sign * share if loss > ZERO else ZERO
        total += max(loss, ZERO)
    backward(adam.values, adam.grads[0], critic, space, slopes, places, 2 * m, False)
    adam_step(adam, critic, step)
    return total


@compiled
def bound_norms(
    values: NDArray[np.float32], layers: Layers, vectors: NDArray[np.float32], n_rounds: int
) -> None:
    """Bound the spectral norm of every layer's weight."""
    first = 0
    for layer in range(len(layers.kinds)):
        fan_in, fan_out = layers.sizes[layer], layers.sizes[layer + 1]
        weight = block(values, layers.starts[2 * layer], fan_in, fan_out)
        bound_norm(weight, vectors[first : first + fan_out], n_rounds)
        first += fan_out


@compiled
def back_to_input(
    values: NDArray[np.float32],
    layers: Layers,
    space: NDArray[np.float32],
    slopes: NDArray[np.float32],
    places: IntArray,
    rows: int,
) -> None:
    """Fill in the gradient of every layer's value from the last one's, not the parameters'."""
    for layer in range(len(layers.kinds) - 1, -1, -1):
        fan_in, fan_out = layers.sizes[layer], layers.sizes[layer + 1]
        value = space[places[layer + 1] : places[layer + 1] + rows * fan_out]
        slope = slopes[places[layer + 1] : places[layer + 1] + rows * fan_out]
        kind = layers.kinds[layer]
        if kind == _TANH:
            for i in range(rows * fan_out):
                slope[i] *= ONE - value[i] * value[i]
        elif kind == _RELU:
            for i in range(rows * fan_out):
                slope[i] = slope[i] if value[i] > ZERO else ZERO
        elif kind == _SIGMOID:
            for i in range(rows * fan_out):
                slope[i] *= value[i] * (ONE - value[i])
        weight = block(values, layers.starts[2 * layer], fan_in, fan_out)
        below = block(slopes, places[layer], rows, fan_in)
        np.dot(slope.reshape(rows, fan_out), weight.T, below)
