"""Alternating minimisation for X = L + S: train on L, then shrink what is left over to S."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from skrdae._typing import Record
from skrdae.networks.mlp import MemberAutoencoder
from skrdae.networks.recurrent import MemberRecurrentAutoencoder
from skrdae.penalties.base import GroupPenalty
from skrdae.training.stack import Stack
from skrdae.training.state import copied, set_weights, weights_of


@dataclass
class AlternatingResult:
    """What :func:`alternate` found.

    Attributes
    ----------
    lam : Tensor of shape (K,)
        Each member's λ at its last iteration.
    norms : Tensor or None
        The norms of the groups at the last iteration, for a penalty whose groups reach over rows:
        by them the prox treats new rows as it did these.
    n_iter : int
        Outer iterations of the member that took the most.
    converged : bool
        Whether every member met a criterion, or `on_iteration` put an end to it.
    history : list of dict
        The rows of :class:`IterationRecord`.
    adam : callable or None
        Returns the state of the optimiser, if members shared one.
    """

    lam: torch.Tensor
    norms: torch.Tensor | None
    n_iter: int
    converged: bool
    history: list[Record]
    adam: Callable[[], dict[str, Any]] | None = None


def alternate(
    network: MemberAutoencoder | MemberRecurrentAutoencoder,
    data: torch.Tensor,
    penalty: GroupPenalty,
    *,
    lam: Sequence[float] | None,
    quantile: Sequence[float] | None,
    bound: float,
    max_iter: int,
    n_epochs: int,
    batch_size: int,
    lr: float,
    tol: float | None,
    generators: Sequence[torch.Generator],
    on_iteration: Callable[[Record], object] | None = None,
    state: Mapping[str, Any] | None = None,
    on_state: Callable[[Callable[[], dict[str, Any]]], object] | None = None,
    adam: Mapping[str, Any] | None = None,
) -> AlternatingResult:
    r"""Minimise :math:`\|L - D(E(L))\|_F^2 + \lambda\,\Omega(S)` subject to X = L + S.

    Each outer iteration trains the network on L = X − S for `n_epochs`, without starting it
    anew, and then takes for S the prox of X − D(E(L)). The first S is zero. Members never meet:
    one that has converged leaves the stack and the others go on as if it had not been there.

    Parameters
    ----------
    network : MemberAutoencoder
        K members; its weights are trained in place.
    data : Tensor of shape (K, n, d)
        X, the rows of each member. It may be an expanded view of one matrix.
    penalty : GroupPenalty
        Ω.
    lam : sequence of K floats, or None
        The thresholds; infinity keeps S at zero. ``None`` sets them from `quantile`.
    quantile : sequence of K floats, or None
        With ``lam=None``: λ is this quantile of the groups' norms, anew in each iteration.
    bound : float
        L is clipped to ±bound before the network sees it.
    max_iter, n_epochs, batch_size : int
    lr : float
    tol : float or None
        A member stops when one of its criteria (see :class:`IterationRecord`) falls below.
    generators : list of K torch.Generator
    on_iteration : callable, optional
        Called with each row of the history; where it says True, this iteration is the last.
    state : dict, optional
        Of another call with the same arguments, to go on from.
    on_state : callable, optional
        Called after each iteration with a function that returns the state.
    adam : dict, optional
        State of the optimiser to begin with.

    Returns
    -------
    AlternatingResult

    References
    ----------
    Zhou, C. and R. C. Paffenroth, Anomaly Detection with Robust Deep Autoencoders, KDD 2017.
    """
    stack = Stack(network, data, penalty, lam, quantile, bound, lr, generators)
    found = _Found(network, stack)
    if adam is not None:
        stack.optimiser.restore(adam)
    if state is None:
        stack.train(n_epochs, batch_size)
        stack.find_residual()
    else:
        found.restore(state)
    return _go_on(stack, found, max_iter, n_epochs, batch_size, tol, on_iteration, on_state)


def alternate_path(
    network: MemberAutoencoder | MemberRecurrentAutoencoder,
    data: torch.Tensor,
    penalty: GroupPenalty,
    *,
    lams: Sequence[float],
    bound: float,
    max_iter: int,
    n_epochs: int,
    batch_size: int,
    lr: float,
    tol: float | None,
    generators: Sequence[torch.Generator],
    n_at_once: int,
) -> Iterator[tuple[slice, MemberAutoencoder | MemberRecurrentAutoencoder, torch.Tensor | None]]:
    """Make K fits for each of several λ, as :func:`alternate` would one after another.

    Until the first prox λ plays no part, so that much is trained once for all. What follows the
    last training changes no network and is left out. Parameters not named here are those of
    :func:`alternate`.

    Parameters
    ----------
    network : MemberAutoencoder
        K members, not trained; left as they are.
    lams : sequence of float
        The thresholds; infinity keeps S at zero.
    n_at_once : int
        How many λ are trained together.

    Yields
    ------
    slice
        Places in `lams`.
    MemberAutoencoder
        The networks trained with those λ, all K of one λ before those of the next.
    Tensor or None
        As ``norms`` in :class:`AlternatingResult`, for these networks.
    """
    trunk = Stack(network, data, penalty, None, None, bound, lr, generators)
    trunk.train(n_epochs, batch_size)
    trunk.find_residual()
    for start in range(0, len(lams), n_at_once):
        places = slice(start, min(start + n_at_once, len(lams)))
        stack = trunk.branch(lams[places])
        trained = stack.network.select(stack.members)
        found = _Found(trained, stack)
        result = _go_on(stack, found, max_iter, n_epochs, batch_size, tol, networks_only=True)
        yield places, trained, result.norms


def plain_norms(
    network: MemberAutoencoder | MemberRecurrentAutoencoder,
    data: torch.Tensor,
    penalty: GroupPenalty,
    *,
    bound: float,
    max_iter: int,
    n_epochs: int,
    batch_size: int,
    lr: float,
    generators: Sequence[torch.Generator],
) -> tuple[float, float]:
    """Train plain autoencoders; return how large the norms of their residuals' groups are.

    Parameters are those of :func:`alternate`.

    Returns
    -------
    largest : float
        Of all groups, members and iterations: from this λ on no prox ever leaves anything.
    median : float
        Of the groups and members when the training is over.
    """
    stack = Stack(network, data, penalty, None, None, bound, lr, generators)
    largest = 0.0
    for _ in range(max_iter):
        stack.start_again()
        stack.train(n_epochs, batch_size)
        stack.find_residual()
        largest = max(largest, stack.norms.amax().item())
    return largest, stack.norms.median().item()


class _Found:
    """What members leave behind when they leave the stack, and how far the others are."""

    norms: torch.Tensor | None
    history: list[Record]

    def __init__(
        self, network: MemberAutoencoder | MemberRecurrentAutoencoder, stack: Stack
    ) -> None:
        self.network, self.stack = network, stack
        self.lam = stack.data.new_zeros(len(stack.generators))
        self.norms = None
        self.iteration, self.history, self.all_done = 0, [], False

    def take(self, leaving: torch.Tensor) -> None:
        """Take what members have found, which a mask tells."""
        stack = self.stack
        places = stack.members[leaving]
        self.network.assign(places, stack.network.select(leaving))
        self.lam[places] = stack.lam[leaving]
        if stack.penalty.across_rows:
            if self.norms is None:
                self.norms = stack.norms.new_zeros(len(self.lam), *stack.norms.shape[1:])
            self.norms[places] = stack.norms[leaving]

    def state(self) -> dict[str, Any]:
        return {
            "iteration": self.iteration,
            "history": list(self.history),
            "all_done": self.all_done,
            "weights": weights_of(self.network),
            "found": copied([self.lam] if self.norms is None else [self.lam, self.norms]),
            "norms": copied([self.stack.norms] if self.stack.penalty.across_rows else []),
            "stack": self.stack.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.iteration, self.history = state["iteration"], list(state["history"])
        self.all_done = state["all_done"]
        set_weights(self.network, state["weights"])
        device = self.lam.device
        self.lam, *norms = (t.to(device, copy=True) for t in state["found"])
        self.norms = norms[0] if norms else None
        self.stack.restore(state["stack"])
        for of_stack in state["norms"]:
            self.stack.norms = of_stack.to(device, copy=True)


def _go_on(
    stack: Stack,
    found: _Found,
    max_iter: int,
    n_epochs: int,
    batch_size: int,
    tol: float | None,
    on_iteration: Callable[[Record], object] | None = None,
    on_state: Callable[[Callable[[], dict[str, Any]]], object] | None = None,
    networks_only: bool = False,
) -> AlternatingResult:
    """Finish what a stack has begun, which has its first residual or was restored."""
    stopped: object = False
    # Whether the last prox is of any use.
    shrink_last = not networks_only or stack.penalty.across_rows
    while not (stopped or found.all_done or found.iteration >= max_iter):
        found.iteration += 1
        last = found.iteration == max_iter
        if found.iteration > 1:
            stack.train(n_epochs, batch_size)
            if not last or shrink_last:
                stack.find_residual()
        if last and not shrink_last:
            break
        record, criteria = stack.shrink(found.iteration)
        found.history.append(record)
        done = torch.zeros(len(stack.generators), dtype=torch.bool, device="cpu")
        if tol is not None:
            done = criteria < tol
        found.all_done = bool(done.all())
        if bool(done.any()) and not found.all_done:
            found.take(done)
            stack.keep(~done)
        if on_state is not None:
            on_state(found.state)
        stopped = on_iteration is not None and on_iteration(record)
    found.take(torch.ones(len(stack.generators), dtype=torch.bool, device="cpu"))
    converged = tol is None or bool(stopped) or found.all_done
    return AlternatingResult(
        found.lam, found.norms, found.iteration, converged, found.history, stack.optimiser.state
    )
