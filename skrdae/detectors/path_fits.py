"""The fits of a whole λ path to the folds of a cross-validation, many members trained as one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from skrdae._device import plain_torch
from skrdae._random import member_generators
from skrdae._typing import FloatRows, IntArray
from skrdae.detectors.base import Learnt, Task
from skrdae.detectors.lam import lam_rule
from skrdae.detectors.robust_autoencoder import RobustDeepAutoencoder
from skrdae.model import FittedModel
from skrdae.networks.member import MemberModule
from skrdae.networks.mlp import MemberAutoencoder
from skrdae.penalties import penalty_of
from skrdae.rows import HeldMemberRows, MemberRows, training_rows
from skrdae.scorers.residual_scale import rows_to_measure
from skrdae.training.lam_path import alternate_path, largest_multiple
from skrdae.training.rounds import Session
from skrdae.training.split import part_rows

# What the matrices of the members trained at once may take: on a CPU a bound on memory, on a GPU a
# share of what is free there.
_STACK_BYTES, _SHARE_OF_GPU = 2**28, 0.25


class PathFit(NamedTuple):
    """A detector fitted to a fold with a λ of the path; both are given by their numbers."""

    fold: int
    place: int
    detector: RobustDeepAutoencoder


class Beginning:
    """Where the fits of every λ to the same rows begin: members that are not trained.

    Parameters
    ----------
    stem : RobustDeepAutoencoder
        Not fitted.
    X : ndarray or CSR matrix of shape (n, d)
    seeds : ndarray of shape (K,)
    """

    def __init__(self, stem: RobustDeepAutoencoder, X: FloatRows, seeds: IntArray) -> None:
        self.X = X
        stem.n_features_in_ = X.shape[1]
        # The fit to all rows tells of constants.
        stem.warns_of_constants = False
        self.scaler, device = stem._learn_scale(X)
        rows: Any = training_rows(X, self.scaler, device)
        self.task = Task(rows, self.scaler, seeds, Session(), np.arange(X.shape[1]))
        self.generators = member_generators(seeds)
        self.network = stem._new_network(X.shape[1], self.generators, device)
        self.member_rows: Any = stem._member_rows(self.task, self.generators)
        self.schedule = stem._schedule(self.task, self.member_rows.shape[1])
        self.penalty = penalty_of(stem.penalty)

    def largest_multiple(self) -> float:
        """Return how many medians the largest norm is that plain autoencoders leave."""
        return largest_multiple(
            self.network, self.member_rows, self.penalty, self.schedule, self.generators
        )

    def n_bytes(self) -> int:
        """Return how much memory the members of one λ take."""
        one = _member_bytes(self.network, self.member_rows, len(self.X))
        return one * len(self.generators)


def path_fits(
    stem: RobustDeepAutoencoder,
    folds: Iterable[FloatRows],
    seeds: IntArray,
    lams: Sequence[float | str],
) -> Iterator[PathFit]:
    """Fit a detector to each fold with each λ.

    On a GPU, where many members take hardly longer than a few, the folds are trained beside each
    other, and otherwise one after another. Members do not meet, so that both find the same (on a
    CPU to the last bit).

    Parameters
    ----------
    stem : RobustDeepAutoencoder
        What is fitted; its λ is not used.
    folds : iterable of arrays of shape (n, d)
        The rows to train on.
    seeds : ndarray of shape (K,)
        The same for every fit.
    lams : list
        As the detector takes them: either numbers, or multiples of the median.

    Yields
    ------
    PathFit
        A fold's fits in the order of the path.
    """
    together: list[tuple[int, Beginning]] = []
    for number, X in enumerate(folds):
        with plain_torch():
            beginning = Beginning(stem, X, seeds)
        if together and not _alike(beginning, together[0][1]):
            yield from _plainly(_fits(stem, together, lams))
            together.clear()
        together.append((number, beginning))
        if not _room_for(beginning, len(together) + 1):
            yield from _plainly(_fits(stem, together, lams))
            together.clear()
        del X, beginning  # before the rows of the next fold are taken
    if together:
        yield from _plainly(_fits(stem, together, lams))


def _alike(one: Beginning, other: Beginning) -> bool:
    """Return whether the members of two folds can be trained as one stack."""
    same_shape: bool = one.member_rows.shape == other.member_rows.shape
    return same_shape and one.schedule.bound == other.schedule.bound


def _room_for(beginning: Beginning, n_folds: int) -> bool:
    """Return whether so many folds are to be trained beside each other."""
    device = beginning.task.rows.device
    # Beside the members of one λ stand those of the first iteration, which all λ go on from.
    return device.type == "cuda" and 2 * n_folds * beginning.n_bytes() <= _most_bytes(device)


def _most_bytes(device: torch.device) -> int:
    if device.type != "cuda":
        return _STACK_BYTES
    # What torch holds in reserve is free, too.
    reserved = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(_SHARE_OF_GPU * (torch.cuda.mem_get_info(device)[0] + reserved))


def _fits(
    stem: RobustDeepAutoencoder,
    folds: list[tuple[int, Beginning]],
    lams: Sequence[float | str],
) -> Iterator[PathFit]:
    first = folds[0][1]
    n_members, n_folds = len(first.generators), len(folds)
    rows, network = first.member_rows, first.network
    if n_folds > 1:  # members of all folds begin alike
        rows = HeldMemberRows(torch.cat([fold.member_rows.tensor for _, fold in folds]))
        network = network.select(torch.arange(n_members, device="cpu").repeat(n_folds))
    one = n_folds * first.n_bytes()
    for _, fold in folds:
        fold.member_rows = None  # the stack has them
    path = alternate_path(
        network,
        rows,
        first.penalty,
        first.schedule,
        [generator for _, fold in folds for generator in fold.generators],
        lam_rule(lams),
        n_at_once=max(1, _most_bytes(rows.device) // one),
    )
    for places, networks, lam, norms in path:
        # Axes: λ, fold, member.
        numbers = torch.arange(networks.n_members, device="cpu").view(-1, n_folds, n_members)
        for k, (number, fold) in enumerate(folds):
            mine, lam_, norms_ = networks, lam, norms
            if n_folds > 1:
                chosen = numbers[:, k].flatten()
                mine, lam_ = networks.select(chosen), lam[chosen.to(lam.device)]
                norms_ = None if norms is None else norms[chosen.to(norms.device)]
            found = _judged(stem, fold, lams[places], mine, lam_, norms_)
            for place, detector in enumerate(found, places.start):
                yield PathFit(number, place, detector)


def _judged(
    stem: RobustDeepAutoencoder,
    fold: Beginning,
    lams: Sequence[float | str],
    networks: MemberModule,
    lam: torch.Tensor,
    norms: torch.Tensor | None,
) -> Iterator[RobustDeepAutoencoder]:
    """Yield the detectors that trained networks are, those of one λ after those of another."""
    n_members = len(fold.generators)
    learnt = stem._scored(fold.task, networks, lam, norms, [])
    stack = FittedModel(fold.scaler, networks, learnt.scorer, np.ones(1))
    scores = stack.map(learnt.scorer.scores, fold.task.rows)
    for i, value in enumerate(lams):
        mine = torch.arange(i * n_members, (i + 1) * n_members, device="cpu")
        model = stack.select(mine)
        detector = RobustDeepAutoencoder(**stem.get_params(deep=False) | {"lam": value})
        detector.n_features_in_ = fold.X.shape[1]
        found = lam.cpu()[mine]
        lam_ = found.item() if n_members == 1 else found.numpy()
        fitted = Learnt(model.network, model.scorer, {"lam_": lam_})
        detector._judge(model, fitted, scores[mine.numpy()], fold.X)
        yield detector


def _plainly(fits: Iterator[PathFit]) -> Iterator[PathFit]:
    """Yield the same, with torch in the caller's mode only where it is used."""
    while True:
        with plain_torch():
            fit = next(fits, None)
        if fit is None:
            return
        yield fit


def _member_bytes(network: MemberAutoencoder, rows: MemberRows, n_scored: int) -> int:
    """Return how much memory one more member takes; the formula of the class's notes."""
    n_rows, n_features = rows.shape[1:]
    units = sum(bias.shape[2] for bias in network.biases)
    n_weights = sum(p[0].numel() for p in network.parameters())
    at_once = min(n_rows, part_rows(n_features, rows.device))
    matrices, work = 2 * n_rows * n_features, 2 * at_once * (units + n_features)
    n_measured = len(rows_to_measure(n_scored, n_features)) * n_features
    return 4 * (matrices + work + 8 * n_weights + 4 * n_scored + 4 * n_measured)
