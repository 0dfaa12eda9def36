"""Epochs of members, one at a time each and side by side, for kernels on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from skrdae._parallel import in_parallel, one_blas_thread
from skrdae.rows import MemberRows, Share
from skrdae.training.batches import draw_noise, draw_order, n_batches_of

if TYPE_CHECKING:
    from skrdae.training.trainer import Trainer

#: Trains a member on a part of its epoch. It gets the member's place, the steps made before by this
#: call of :func:`train_members`, the part, and its noise; it returns the measures added up.
Learn: TypeAlias = Callable[[int, int, Share, NDArray[np.float32]], tuple[float, ...]]


def train_members(
    trainer: Trainer,
    rows: MemberRows,
    n_epochs: int,
    n_measures: int,
    learn: Learn,
    *,
    parallel: bool = True,
) -> torch.Tensor:
    """Train every member for some epochs.

    Parameters
    ----------
    trainer : Trainer
    rows : MemberRows
    n_epochs, n_measures : int
    learn : callable
    parallel : bool, default=True
        Whether members train side by side, a thread each.

    Returns
    -------
    Tensor of shape (n_measures, K), float64
        The measures of the last epoch, added up over the rows.
    """
    n_members, n_rows, _ = rows.shape
    n_batches = n_batches_of(n_rows, trainer.batch_size)
    noise_size = trainer.objective.noise_size(trainer.network)
    measures = torch.zeros(n_measures, n_members, dtype=torch.float64, device="cpu")

    def train(k: int) -> None:
        for epoch in range(n_epochs):
            order = draw_order(trainer.generators[k], n_rows).numpy()
            noise = draw_noise(trainer.generators[k], n_rows, n_batches, noise_size).numpy()
            measures[:, k] = 0
            for part in rows.shares(k, order, n_batches):
                drawn = noise[part.first : part.first + len(part.order)]
                found = learn(k, epoch * n_batches + part.n_done, part, drawn)
                for measure, value in enumerate(found):
                    measures[measure, k] += float(value)

    with one_blas_thread:
        if parallel:
            in_parallel(train, range(n_members))
        else:
            for k in range(n_members):
                train(k)
    for optimiser in trainer.optimisers.values():
        optimiser.count(n_epochs * n_batches)
    return measures
