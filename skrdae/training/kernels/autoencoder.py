"""Autoencoders that reconstruct rows: whole epochs on a CPU, and steps elsewhere."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from skrdae._compiled import compiled
from skrdae._parallel import in_parallel
from skrdae._typing import IntArray
from skrdae.networks.compiled import TWO, Layers, backward, block, forward, places_of, space_for
from skrdae.networks.mlp import MemberAutoencoder
from skrdae.networks.recurrent import MemberRecurrentAutoencoder
from skrdae.objectives.reconstruction import Reconstruction
from skrdae.rows import MemberRows, Share
from skrdae.training.batches import n_batches_of
from skrdae.training.kernels.adam import Adam, adam_step, gather, most_rows, move, span
from skrdae.training.kernels.members import train_members
from skrdae.training.kernels.registry import epochs_of, steps_of

if TYPE_CHECKING:
    from skrdae.training.trainer import Trainer

# Multiplications in a batch's largest product from which on it is split, rows of a piece, and the
# most pieces, because each has gradients of its own.
_LARGE, _PIECE_ROWS, _MOST_PIECES = 2**21, 128, 16


@epochs_of(MemberAutoencoder, Reconstruction)
def train_autoencoders(trainer: Trainer, rows: MemberRows, n_epochs: int) -> None:
    """Train by compiled loops, a member a thread."""
    network: Any = trainer.network
    objective: Any = trainer.objective
    bound = np.float32(objective.bound)
    n_rows = rows.shape[1]
    n_batches = n_batches_of(n_rows, trainer.batch_size)
    widest = max(weight[0].numel() for weight in network.weights)
    n_pieces = pieces(n_batches_of(n_rows, n_batches), widest)
    members = trainer.adam.compiled(network, n_pieces)
    # With one member alone there is nothing else for other threads to do.
    alone = n_pieces > 1 and len(members) == 1
    loop = learn_in_pieces if alone else train_autoencoder

    def learn(k: int, n_done: int, part: Share, noise: NDArray[np.float32]) -> tuple[()]:
        adam, layers = members[k]
        state = adam._replace(n_done=adam.n_done + n_done)
        loop(state, layers, part.rows, part.order, part.n_batches, bound)
        return ()

    train_members(trainer, rows, n_epochs, 0, learn, parallel=not alone)


@steps_of(MemberAutoencoder, Reconstruction)
@steps_of(MemberRecurrentAutoencoder, Reconstruction)
def reconstruction_step(trainer: Trainer) -> Callable[[torch.Tensor, torch.Tensor], None]:
    """Return a step with the gradient that the network itself writes."""
    network: Any = trainer.network
    objective: Any = trainer.objective
    bound = objective.bound
    grads = trainer.adam.grads_of(network)

    def step(x: torch.Tensor, noise: torch.Tensor) -> None:
        network.error_gradient(x.clamp_(-bound, bound), grads, trainer.workspace)
        trainer.adam.step()

    return step


def pieces(n_rows: int, n_weights: int) -> int:
    """Return into how many pieces a batch is split.

    Large ones are, so that threads can share the work on a single network. The number must not
    depend on that of threads or members, because the sum of the gradients does on it.
    """
    return min(-(-n_rows // _PIECE_ROWS), _MOST_PIECES) if n_rows * n_weights >= _LARGE else 1


def learn_in_pieces(
    adam: Adam,
    layers: Layers,
    data: NDArray[np.float32],
    order: IntArray,
    n_batches: int,
    bound: np.float32,
) -> None:
    """Do what train_autoencoder does for one member alone, the pieces of a batch side by side."""
    batches = np.array_split(order, n_batches)
    spaces = spaces_for(adam, layers, len(batches[0]))
    for batch, rows in enumerate(batches):
        learn = functools.partial(learn_piece, adam, layers, data, rows, bound, spaces)
        in_parallel(learn, range(len(spaces)))
        # Not by parts: it takes no longer than waiting for several threads.
        move(adam, 0, len(adam.values), adam.n_done + batch + 1)


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
    places = places_of(layers, most_rows(len(order), n_batches))
    space, slopes = space_for(places[-1]), space_for(places[-1])
    for batch in range(n_batches):
        first, last = span(len(order), n_batches, batch)
        rows = order[first:last]
        for piece in range(n_pieces):
            _learn(adam, layers, data, rows, piece, bound, space, slopes, places)
        adam_step(adam, layers, adam.n_done + batch + 1)


@compiled
def spaces_for(adam: Adam, layers: Layers, rows: int) -> NDArray[np.float32]:
    """Return memory for the pieces of a batch of so many rows, two spaces each."""
    n_pieces = len(adam.grads)
    size = places_of(layers, most_rows(rows, n_pieces))[-1]
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
    places = places_of(layers, most_rows(len(rows), len(adam.grads)))
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
    first, last = span(len(batch), len(adam.grads), piece)
    n_rows, n_features = last - first, data.shape[1]
    gather(data, batch[first:last], bound, block(space, 0, n_rows, n_features))
    forward(adam.values, layers, space, places, n_rows)
    end = places[len(layers.kinds)]
    x, fit, slope = space[: n_rows * n_features], space[end:], slopes[end:]
    weight = TWO / np.float32(len(batch))
    for i in range(n_rows * n_features):
        slope[i] = (fit[i] - x[i]) * weight
    backward(adam.values, adam.grads[piece], layers, space, slopes, places, n_rows, False)
