"""Autoencoders with sparse codes: whole epochs on a CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skrdae._compiled import compiled
from skrdae._typing import IntArray
from skrdae.networks.compiled import (
    ONE,
    TWO,
    Layers,
    backward,
    block,
    forward,
    places_of,
    space_for,
)
from skrdae.networks.mlp import MemberAutoencoder
from skrdae.objectives.reconstruction import SparseReconstruction
from skrdae.rows import MemberRows, Share
from skrdae.training.kernels.adam import Adam, adam_step, gather, most_rows, span
from skrdae.training.kernels.members import train_members
from skrdae.training.kernels.registry import epochs_of

if TYPE_CHECKING:
    from skrdae.training.trainer import Trainer


@epochs_of(MemberAutoencoder, SparseReconstruction)
def train_sparse_autoencoders(trainer: Trainer, rows: MemberRows, n_epochs: int) -> None:
    """Train by compiled loops, a member a thread."""
    network: Any = trainer.network
    objective: Any = trainer.objective
    bound, sparsity = np.float32(objective.bound), np.float32(objective.sparsity)
    members = trainer.adam.compiled(network)

    def learn(k: int, n_done: int, part: Share, noise: NDArray[np.float32]) -> tuple[()]:
        adam, layers = members[k]
        state = adam._replace(n_done=adam.n_done + n_done)
        batches = part.rows, part.order, part.n_batches
        half = network.n_encoder_layers
        train_sparse_autoencoder(state, layers, half, *batches, bound, sparsity)
        return ()

    train_members(trainer, rows, n_epochs, 0, learn)


@compiled
def train_sparse_autoencoder(
    adam: Adam,
    layers: Layers,
    n_encoder_layers: int,
    data: NDArray[np.float32],
    order: IntArray,
    n_batches: int,
    bound: np.float32,
    sparsity: np.float32,
) -> None:
    """Train a member for an epoch to reconstruct its rows by least squares, from sparse codes.

    Parameters
    ----------
    adam : Adam
        Changed in place.
    layers : Layers
        Of the encoder, and after them those of the decoder.
    n_encoder_layers : int
    data : ndarray of shape (n, d), float32
    order : ndarray of shape (n,), int64
        In which the rows are shown, dealt out evenly to the batches.
    n_batches : int
    bound : float32
        Values beyond ±bound are clipped, as input and as target.
    sparsity : float32
        Weight of the ℓ1 norm of the codes.
    """
    half, n_features = n_encoder_layers, data.shape[1]
    encoder = Layers(layers.sizes[: half + 1], layers.kinds[:half], layers.starts[: 2 * half])
    decoder = Layers(layers.sizes[half:], layers.kinds[half:], layers.starts[2 * half :])
    code_size = layers.sizes[half]
    places = places_of(layers, most_rows(len(order), n_batches))
    space, slopes = space_for(places[-1]), space_for(places[-1])
    grads = adam.grads[0]
    for batch in range(n_batches):
        first, last = span(len(order), n_batches, batch)
        n_rows = last - first
        gather(data, order[first:last], bound, block(space, 0, n_rows, n_features))
        forward(adam.values, layers, space, places, n_rows)
        end = places[len(layers.kinds)]
        x, fit, slope = space[: n_rows * n_features], space[end:], slopes[end:]
        share = ONE / np.float32(n_rows)
        for i in range(n_rows * n_features):
            slope[i] = (fit[i] - x[i]) * (TWO * share)
        backward(adam.values, grads, decoder, space, slopes, places[half:], n_rows, True)
        code = block(space, places[half], n_rows, code_size)
        of_code = block(slopes, places[half], n_rows, code_size)
        pull = sparsity * share
        for i in range(n_rows):
            for j in range(code_size):
                of_code[i, j] += pull * np.sign(code[i, j])
        backward(adam.values, grads, encoder, space, slopes, places, n_rows, False)
        adam_step(adam, layers, adam.n_done + batch + 1)
