"""Training of the bidirectional GAN on a CPU: whole epochs as compiled loops, one member."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skrdae._compiled import compiled
from skrdae._typing import IntArray
from skrdae.networks.compiled import (
    ONE,
    Layers,
    backward,
    block,
    forward,
    places_of,
    space_for,
)
from skrdae.training.kernels.adam import Adam, adam_step, gather, most_rows, span
from skrdae.training.kernels.adversarial_loops import (
    NO_BOUND,
    back_to_input,
    bound_norms,
    tell_apart,
)


@compiled
def train_bidirectional(
    critic_adam: Adam,
    critic: Layers,
    maker_adam: Adam,
    maker: Layers,
    coder_adam: Adam,
    coder: Layers,
    vectors: NDArray[np.float32],
    data: NDArray[np.float32],
    order: IntArray,
    noise: NDArray[np.float32],
    n_batches: int,
    bound_every: int,
    n_rounds: int,
) -> tuple[float, float, float]:
    """Train a member's discriminator, generator and encoder for an epoch, a step of each a batch.

    Parameters
    ----------
    critic_adam, maker_adam, coder_adam : Adam
        Of the discriminator, the generator and the encoder, changed in place.
    critic, maker, coder : Layers
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
    discriminator, generator, encoder : float
        The losses, added up over the rows.
    """
    n_rows, n_features = len(order), data.shape[1]
    latent_dim = noise.shape[1]
    most = most_rows(n_rows, n_batches)
    places, made_places = places_of(critic, 2 * most), places_of(maker, most)
    code_places = places_of(coder, most)
    space, slopes = space_for(places[-1]), space_for(places[-1])
    made_space, made_slopes = space_for(made_places[-1]), space_for(made_places[-1])
    code_space, code_slopes = space_for(code_places[-1]), space_for(code_places[-1])
    last, made_last = places[len(critic.kinds)], made_places[len(maker.kinds)]
    code_last = code_places[len(coder.kinds)]
    of_critic, of_maker, of_coder = 0.0, 0.0, 0.0
    for batch in range(n_batches):
        first, end = span(n_rows, n_batches, batch)
        m = end - first
        rows = block(code_space, 0, m, n_features)
        gather(data, order[first:end], NO_BOUND, rows)
        forward(coder_adam.values, coder, code_space, code_places, m)
        block(made_space, 0, m, latent_dim)[:] = noise[first:end]
        forward(maker_adam.values, maker, made_space, made_places, m)
        # Pairs: rows with their codes, and after them what is made with what it is made of.
        pairs = block(space, 0, 2 * m, n_features + latent_dim)
        pairs[:m, :n_features] = rows
        pairs[:m, n_features:] = block(code_space, code_last, m, latent_dim)
        pairs[m:, :n_features] = block(made_space, made_last, m, n_features)
        pairs[m:, n_features:] = noise[first:end]
        step = critic_adam.n_done + batch + 1
        of_critic = tell_apart(critic_adam, critic, space, slopes, places, m, step, of_critic)
        if step % bound_every == 0:
            bound_norms(critic_adam.values, critic, vectors, n_rounds)
        share = ONE / np.float32(m)
        # Generator and encoder, from the same pairs: each has a part in half of them.
        forward(critic_adam.values, critic, space, places, 2 * m)
        for i in range(m):
            of_coder += space[last + i]
            of_maker -= space[last + m + i]
            slopes[last + i] = share
            slopes[last + m + i] = -share
        back_to_input(critic_adam.values, critic, space, slopes, places, 2 * m)
        of_pairs = block(slopes, 0, 2 * m, n_features + latent_dim)
        block(made_slopes, made_last, m, n_features)[:] = of_pairs[m:, :n_features]
        grads = maker_adam.grads[0]
        backward(maker_adam.values, grads, maker, made_space, made_slopes, made_places, m, False)
        adam_step(maker_adam, maker, maker_adam.n_done + batch + 1)
        block(code_slopes, code_last, m, latent_dim)[:] = of_pairs[:m, n_features:]
        grads = coder_adam.grads[0]
        backward(coder_adam.values, grads, coder, code_space, code_slopes, code_places, m, False)
        adam_step(coder_adam, coder, coder_adam.n_done + batch + 1)
    return of_critic, of_maker, of_coder
