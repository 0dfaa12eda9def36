"""Training of dense networks on a CPU, whole epochs as compiled loops, one member at a time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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

# Where averages of gradients are cut off before they become denormal numbers, which are slow.
_TINY = np.float32(1e-30)


class Adam(NamedTuple):
    """A member's parameters and the state of their optimiser.

    Attributes
    ----------
    values, mean, square : ndarray of float32, shape (size,)
        Flat, of all members.
    grads : ndarray of float32, shape (n_pieces, size)
        Of each piece of a batch.
    lr, beta1, beta2, eps : float
    n_done : int
        Steps made before.
    """

    values: NDArray[np.float32]
    grads: NDArray[np.float32]
    mean: NDArray[np.float32]
    square: NDArray[np.float32]
    lr: float
    beta1: float
    beta2: float
    eps: float
    n_done: int


@compiled
def _adam(adam: Adam, layers: Layers, step: int) -> None:
    """Move a network's parameters by their gradients; `step` counts from 1."""
    for layer in range(len(layers.kinds)):
        fan_in, fan_out = layers.sizes[layer], layers.sizes[layer + 1]
        start = layers.starts[2 * layer]
        move(adam, start, start + fan_in * fan_out, step)
        start = layers.starts[2 * layer + 1]
        move(adam, start, start + fan_out, step)


@compiled
def move(adam: Adam, start: int, end: int, step: int) -> None:
    """Move the parameters in a part of the flat arrays by their gradients."""
    step_size = np.float32(adam.lr / (1.0 - adam.beta1**step))
    root = np.float32(np.sqrt(1.0 - adam.beta2**step))
    of_mean, of_square = np.float32(1.0 - adam.beta1), np.float32(1.0 - adam.beta2)
    keep, eps = np.float32(adam.beta2), np.float32(adam.eps)
    values, grads = adam.values[start:end], adam.grads[0, start:end]
    means, squares = adam.mean[start:end], adam.square[start:end]
    for piece in range(1, len(adam.grads)):
        more = adam.grads[piece, start:end]
        for i in range(end - start):
            grads[i] += more[i]
    for i in range(end - start):
        g = grads[i]
        mean = means[i] + of_mean * (g - means[i])
        square = keep * squares[i] + of_square * (g * g)
        mean = ZERO if abs(mean) <= _TINY else mean
        square = max(square, _TINY)
        means[i], squares[i] = mean, square
        values[i] -= step_size * mean / (np.sqrt(square) / root + eps)


@compiled
def _gather(
    data: NDArray[np.float32], order: IntArray, bound: np.float32, out: NDArray[np.float32]
) -> None:
    for i in range(len(order)):
        row = data[order[i]]
        for j in range(len(row)):
            out[i, j] = min(max(row[j], -bound), bound)


@compiled
def _share(n: int, n_parts: int, part: int) -> tuple[int, int]:
    """Return first and last of n things, dealt out evenly, that are a part's."""
    size, more = n // n_parts, n % n_parts
    first = part * size + min(part, more)
    return first, first + size + (1 if part < more else 0)


@compiled
def _most_rows(n_rows: int, n_batches: int) -> int:
    return n_rows // n_batches + (1 if n_rows % n_batches else 0)


@compiled
def train_autoencoder(
    adam: Adam,
    layers: Layers,
    data: NDArray[np.float32],
    order: IntArray,
    n_batches: int,
    bound: np.float32,
) -> None:
    """Train a member for an epoch to reconstruct its rows by least squares.

    A batch is split into as many pieces as there are buffers for gradients.

    Parameters
    ----------
    adam : Adam
        Changed in place.
    layers : Layers
    data : ndarray of shape (n, d), float32
    order : ndarray of shape (n,), int64
        In which the rows are shown, dealt out evenly to the batches.
    n_batches : int
    bound : float32
        Values beyond ±bound are clipped, as input and as target.
    """
    n_pieces = len(adam.grads)
    places = places_of(layers, _most_rows(len(order), n_batches))
    space, slopes = space_for(places[-1]), space_for(places[-1])
    for batch in range(n_batches):
        first, last = _share(len(order), n_batches, batch)
        rows = order[first:last]
        for piece in range(n_pieces):
            _learn(adam, layers, data, rows, piece, bound, space, slopes, places)
        _adam(adam, layers, adam.n_done + batch + 1)


@compiled
def spaces_for(adam: Adam, layers: Layers, rows: int) -> NDArray[np.float32]:
    """Return memory for the pieces of a batch of so many rows, two spaces each."""
    n_pieces = len(adam.grads)
    size = places_of(layers, _most_rows(rows, n_pieces))[-1]
    return space_for(n_pieces * 2 * size).reshape(n_pieces, 2, size)


@compiled
def learn_piece(
    adam: Adam,
    layers: Layers,
    data: NDArray[np.float32],
    rows: IntArray,
    bound: np.float32,
    spaces: NDArray[np.float32],
    piece: int,
) -> None:
    """Write the gradients of one piece of a batch, whose rows are given.

    `spaces` is what :func:`spaces_for` returned for the largest batch; it is overwritten.
    """
    places = places_of(layers, _most_rows(len(rows), len(adam.grads)))
    _learn(adam, layers, data, rows, piece, bound, spaces[piece, 0], spaces[piece, 1], places)


@compiled
def _learn(
    adam: Adam,
    layers: Layers,
    data: NDArray[np.float32],
    batch: IntArray,
    piece: int,
    bound: np.float32,
    space: NDArray[np.float32],
    slopes: NDArray[np.float32],
    places: IntArray,
) -> None:
    first, last = _share(len(batch), len(adam.grads), piece)
    n_rows, n_features = last - first, data.shape[1]
    _gather(data, batch[first:last], bound, block(space, 0, n_rows, n_features))
    forward(adam.values, layers, space, places, n_rows)
    end = places[len(layers.kinds)]
    x, fit, slope = space[: n_rows * n_features], space[end:], slopes[end:]
    weight = TWO / np.float32(len(batch))
    for i in range(n_rows * n_features):
        slope[i] = (fit[i] - x[i]) * weight
    backward(adam.values, adam.grads[piece], layers, space, slopes, places, n_rows, False)


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
    most = _most_rows(n_rows, n_batches)
    places, out_places = places_of(encoder, most), places_of(decoder, most)
    space, slopes = space_for(places[-1]), space_for(places[-1])
    out_space, out_slopes = space_for(out_places[-1]), space_for(out_places[-1])
    last, out_last = places[len(encoder.kinds)], out_places[len(decoder.kinds)]
    everything = np.float32(np.inf)
    weights = np.empty(n_features, np.float32)
    error, kl, grads = 0.0, 0.0, adam.grads[0]
    for batch in range(n_batches):
        first, end = _share(n_rows, n_batches, batch)
        rows = end - first
        x = block(space, 0, rows, n_features)
        _gather(data, order[first:end], everything, x)
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
        _adam(adam, encoder, step)
        _adam(adam, decoder, step)
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
