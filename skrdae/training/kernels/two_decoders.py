"""USAD: whole epochs on a CPU as compiled loops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
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
from skrdae.networks.two_decoders import MemberTwoDecoders
from skrdae.objectives.two_decoders import TwoDecodersLoss
from skrdae.rows import MemberRows, Share
from skrdae.training.batches import n_batches_of
from skrdae.training.kernels.adam import Adam, adam_step, gather, most_rows, span
from skrdae.training.kernels.adversarial_loops import back_to_input
from skrdae.training.kernels.members import train_members
from skrdae.training.kernels.registry import epochs_of

if TYPE_CHECKING:
    from skrdae.training.trainer import Trainer

_NO_BOUND = np.float32(np.inf)


class _Optimised(NamedTuple):
    """What an optimiser moves: the encoder, and a decoder, of a member.

    The encoder's values are the same for both optimisers. Gradients of what is applied twice are in
    two pieces, which the step adds up.
    """

    encoder: Adam
    decoder: Adam


@epochs_of(MemberTwoDecoders, TwoDecodersLoss)
def train_two_decoders(trainer: Trainer, rows: MemberRows, n_epochs: int) -> torch.Tensor:
    """Train by compiled loops, a member a thread."""
    network: Any = trainer.network
    objective: Any = trainer.objective
    first, second = trainer.optimisers["first"], trainer.optimisers["second"]
    encoders, seconds = first.compiled(network.encoder, 2), second.compiled(network.second, 2)
    again, firsts = second.compiled(network.encoder, 2), first.compiled(network.first)
    n_batches = n_batches_of(rows.shape[1], trainer.batch_size)
    before = objective.epoch.tolist()

    def learn(k: int, n_done: int, part: Share, noise: NDArray[np.float32]) -> tuple[float, ...]:
        values = encoders[k][0].values  # where the encoder is the first of both, at one place
        adams = encoders[k][0], firsts[k][0], again[k][0]._replace(values=values), seconds[k][0]
        of_encoder, of_first, of_again, of_second = (
            adam._replace(n_done=adam.n_done + n_done) for adam in adams
        )
        return _train_member(
            _Optimised(of_encoder, of_first),
            _Optimised(of_again, of_second),
            encoders[k][1],
            firsts[k][1],
            seconds[k][1],
            part.rows,
            part.order,
            part.n_batches,
            np.float32(1 / (before[k] + 1 + n_done // n_batches)),
        )

    measures = train_members(trainer, rows, n_epochs, 3, learn)
    objective.epoch.add_(n_epochs)
    return measures


@compiled
def _train_member(
    one: _Optimised,
    two: _Optimised,
    encoder: Layers,
    first: Layers,
    second: Layers,
    data: NDArray[np.float32],
    order: IntArray,
    n_batches: int,
    share: np.float32,
) -> tuple[float, float, float]:
    """Train a member for an epoch: E and D₁, then E and D₂, a step of each a batch.

    Parameters
    ----------
    one, two : _Optimised
        With D₁ and with D₂; changed in place.
    encoder, first, second : Layers
    data : ndarray of shape (n, d), float32
    order : ndarray of shape (n,), int64
        In which the rows are shown, dealt out evenly to the batches.
    n_batches : int
    share : float32
        1/n.

    Returns
    -------
    first_error, both_error, second_error : float
        Squared, added up over the rows.
    """
    n_rows, n_features, units = len(order), data.shape[1], encoder.sizes[-1]
    most = most_rows(n_rows, n_batches)
    # Of the encoder and D₂ twice: for W, and for what AE₁ makes of it.
    places, made_places = places_of(encoder, most), places_of(first, most)
    space, slopes = space_for(places[-1]), space_for(places[-1])
    far_space, far_slopes = space_for(places[-1]), space_for(places[-1])
    made, made_slopes = space_for(made_places[-1]), space_for(made_places[-1])
    near, near_slopes = space_for(made_places[-1]), space_for(made_places[-1])
    both, both_slopes = space_for(made_places[-1]), space_for(made_places[-1])
    code, last = places[len(encoder.kinds)], made_places[len(first.kinds)]
    values = one.encoder.values
    firsts, seconds = one.decoder.values, two.decoder.values
    of_first, of_both, of_second = 0.0, 0.0, 0.0
    for batch in range(n_batches):
        start, end = span(n_rows, n_batches, batch)
        m = end - start
        size, code_size = m * n_features, m * units
        rows = space[:size]
        gather(data, order[start:end], _NO_BOUND, block(space, 0, m, n_features))
        unit = TWO / np.float32(m)
        for part in range(2):
            # AE₁, and AE₂ of it.
            forward(values, encoder, space, places, m)
            made[:code_size] = space[code : code + code_size]
            forward(firsts, first, made, made_places, m)
            far_space[:size] = made[last : last + size]
            forward(values, encoder, far_space, places, m)
            both[:code_size] = far_space[code : code + code_size]
            forward(seconds, second, both, made_places, m)
            sign = ONE if part == 0 else -ONE
            for i in range(size):
                s = both[last + i] - rows[i]
                both_slopes[last + i] = sign * (ONE - share) * unit * s
                if part == 0:
                    of_both += s * s
            if part == 0:
                back_to_input(seconds, second, both, both_slopes, made_places, m)
            else:
                grads = two.decoder.grads[1]
                backward(seconds, grads, second, both, both_slopes, made_places, m, True)
            far_slopes[code : code + code_size] = both_slopes[:code_size]
            adam = one.encoder if part == 0 else two.encoder
            backward(values, adam.grads[1], encoder, far_space, far_slopes, places, m, True)
            made_slopes[last : last + size] = far_slopes[:size]
            if part == 0:
                for i in range(size):
                    s = made[last + i] - rows[i]
                    made_slopes[last + i] += share * unit * s
                    of_first += s * s
                grads = one.decoder.grads[0]
                backward(firsts, grads, first, made, made_slopes, made_places, m, True)
                slopes[code : code + code_size] = made_slopes[:code_size]
            else:
                near[:code_size] = space[code : code + code_size]
                forward(seconds, second, near, made_places, m)
                for i in range(size):
                    s = near[last + i] - rows[i]
                    near_slopes[last + i] = share * unit * s
                    of_second += s * s
                back_to_input(firsts, first, made, made_slopes, made_places, m)
                grads = two.decoder.grads[0]
                backward(seconds, grads, second, near, near_slopes, made_places, m, True)
                for i in range(code_size):
                    slopes[code + i] = made_slopes[i] + near_slopes[i]
            backward(values, adam.grads[0], encoder, space, slopes, places, m, False)
            adam_step(adam, encoder, adam.n_done + batch + 1)
            if part == 0:
                adam_step(one.decoder, first, one.decoder.n_done + batch + 1)
            else:
                adam_step(two.decoder, second, two.decoder.n_done + batch + 1)
    return of_first, of_both, of_second
