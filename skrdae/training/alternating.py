"""Alternating minimisation for X = L + S: train on L, then shrink what is left over to S."""

from dataclasses import dataclass

import torch

from skrdae.training.stack import Stack


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
    """

    lam: torch.Tensor
    norms: torch.Tensor | None
    n_iter: int
    converged: bool
    history: list


def alternate(
    network,
    data,
    penalty,
    *,
    lam,
    quantile,
    bound,
    max_iter,
    n_epochs,
    batch_size,
    lr,
    tol,
    generators,
    on_iteration=None,
):
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

    Returns
    -------
    AlternatingResult

    References
    ----------
    Zhou, C. and R. C. Paffenroth, Anomaly Detection with Robust Deep Autoencoders, KDD 2017.
    """
    stack = Stack(network, data, penalty, lam, quantile, bound, lr, generators)
    stack.train(n_epochs, batch_size)
    stack.find_residual()
    return _go_on(stack, network, max_iter, n_epochs, batch_size, tol, on_iteration)


def alternate_path(
    network,
    data,
    penalty,
    *,
    lams,
    bound,
    max_iter,
    n_epochs,
    batch_size,
    lr,
    tol,
    generators,
    n_at_once,
):
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
        result = _go_on(stack, trained, max_iter, n_epochs, batch_size, tol, networks_only=True)
        yield places, trained, result.norms


def plain_norms(network, data, penalty, *, bound, max_iter, n_epochs, batch_size, lr, generators):
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


def _go_on(
    stack, network, max_iter, n_epochs, batch_size, tol, on_iteration=None, networks_only=False
):
    """Finish what a stack has begun, which has its first residual; fill in `network`."""
    n_members = len(stack.generators)
    final_lam = stack.data.new_zeros(n_members)
    final_norms = None
    history, stopped = [], False
    # Whether the last prox is of any use.
    shrink_last = not networks_only or stack.penalty.across_rows
    for iteration in range(1, max_iter + 1):
        if iteration > 1:
            stack.train(n_epochs, batch_size)
            if iteration < max_iter or shrink_last:
                stack.find_residual()
        done = torch.zeros(len(stack.generators), dtype=torch.bool, device="cpu")
        if iteration < max_iter or shrink_last:
            record, criteria = stack.shrink(iteration)
            history.append(record)
            stopped = on_iteration is not None and on_iteration(record)
            if tol is not None:
                done = criteria < tol
        ends = stopped or iteration == max_iter
        leaving = torch.ones_like(done) if ends else done
        if bool(leaving.any()):
            places = stack.members[leaving]
            network.assign(places, stack.network.select(leaving))
            final_lam[places] = stack.lam[leaving]
            if stack.penalty.across_rows:
                if final_norms is None:
                    final_norms = stack.norms.new_zeros(n_members, *stack.norms.shape[1:])
                final_norms[places] = stack.norms[leaving]
            if bool(done.all()) or ends:
                break
            stack.keep(~leaving)
    converged = tol is None or stopped or bool(done.all())
    return AlternatingResult(final_lam, final_norms, iteration, converged, history)
