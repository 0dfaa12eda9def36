"""Alternating minimisation for X = L + S: train on L, then shrink what is left over to S."""

from dataclasses import dataclass

import torch

from skrdae.training.adam import MemberAdam
from skrdae.training.history import IterationRecord
from skrdae.training.minibatch import PASS_ROWS, train_epochs


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
        Whether every member met a criterion.
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
    network : MemberMLP
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
        Called with each row of the history.

    Returns
    -------
    AlternatingResult

    References
    ----------
    C. Zhou and R. C. Paffenroth, Anomaly Detection with Robust Deep Autoencoders, KDD 2017.
    """
    stack = _Stack(network, data, penalty, lam, quantile, bound, lr, generators)
    final_lam = torch.zeros(len(generators), device=data.device)
    final_norms = None
    history = []
    for iteration in range(1, max_iter + 1):
        stack.train(n_epochs, batch_size)
        record, criteria = stack.shrink(iteration)
        history.append(record)
        if on_iteration is not None:
            on_iteration(record)
        done = criteria < tol if tol is not None else torch.zeros_like(criteria, dtype=torch.bool)
        leaving = done if iteration < max_iter else torch.ones_like(done)
        if bool(leaving.any()):
            places = stack.members[leaving]
            network.assign(places, stack.network.select(leaving))
            final_lam[places] = stack.lam[leaving]
            if penalty.across_rows:
                if final_norms is None:
                    final_norms = stack.norms.new_zeros(len(generators), *stack.norms.shape[1:])
                final_norms[places] = stack.norms[leaving]
            if bool(done.all()) or iteration == max_iter:
                break
            stack.keep(~leaving)
    converged = tol is None or bool(done.all())
    return AlternatingResult(final_lam, final_norms, iteration, converged, history)


class _Stack:
    """The members still training and their state."""

    def __init__(self, network, data, penalty, lam, quantile, bound, lr, generators):
        self.members = torch.arange(len(generators), device=data.device)
        self.network = network.select(self.members)
        self.optimiser = MemberAdam(self.network, lr)
        self.penalty, self.quantile, self.bound = penalty, quantile, bound
        self.generators = list(generators)
        self.data = data
        self.lam = None if lam is None else torch.tensor(lam, dtype=data.dtype, device=data.device)
        self.clean = data.clamp(-bound, bound)  # L, as the network sees it
        self.sparse = None  # S; None while it is zero
        self.rest = None  # X − D(E(L)) − S of the iteration before
        self.norms = None
        self.total = _sums(data.square()).sqrt()  # shape: (K,)

    def train(self, n_epochs, batch_size):
        train_epochs(
            self.network,
            self.optimiser,
            self.clean,
            n_epochs=n_epochs,
            batch_size=batch_size,
            generators=self.generators,
        )

    def shrink(self, iteration):
        """Take the prox of the residual; return the history row and each member's criterion."""
        residual = torch.cat(
            [
                x - self.network(low_rank)
                for x, low_rank in zip(
                    self.data.split(PASS_ROWS, 1), self.clean.split(PASS_ROWS, 1), strict=True
                )
            ],
            dim=1,
        )
        if self.sparse is None:
            objective = _sums(residual.square())
        else:
            objective = _sums((residual - self.sparse).square())
            value = self.penalty.value(self.sparse)
            # With λ = ∞, S is zero and so is its penalty.
            objective += torch.where(value > 0, self.lam * value, torch.zeros_like(value))
        if self.quantile is not None:
            self.lam = self.penalty.lam_quantile(residual, self.quantile)
        if self.penalty.across_rows:
            self.norms = self.penalty.norms(residual)
        self.sparse = self.penalty.prox(residual, self.lam)
        self.clean = (self.data - self.sparse).clamp_(-self.bound, self.bound)
        rest = residual.sub_(self.sparse)
        # D(E(L)) + S is X − rest, so that their changes are the same.
        change = self.data - rest if self.rest is None else self.rest - rest
        self.rest = rest
        scale = torch.where(self.total > 0, self.total, torch.ones_like(self.total))
        constraint = _sums(rest.square()).sqrt() / scale
        change = _sums(change.square()).sqrt() / scale
        record = IterationRecord(
            iteration=iteration,
            objective=objective.mean().item(),
            sparse_share=(_sums(self.sparse.square()).sqrt() / scale).mean().item(),
            constraint=constraint.mean().item(),
            change=change.mean().item(),
            lam=self.lam.mean().item(),
            n_training=len(self.generators),
        )
        return record.row(), torch.minimum(constraint, change)

    def keep(self, mask):
        """Drop the members outside the mask."""
        network = self.network.select(mask)
        self.optimiser = self.optimiser.select(network, mask)
        self.network = network
        self.members, self.lam, self.total = self.members[mask], self.lam[mask], self.total[mask]
        self.data, self.clean = self.data[mask], self.clean[mask]
        self.sparse, self.rest = self.sparse[mask], self.rest[mask]
        kept = mask.nonzero().flatten().tolist()
        self.generators = [self.generators[k] for k in kept]
        if self.quantile is not None:
            self.quantile = [self.quantile[k] for k in kept]


def _sums(values):
    """Sum over rows and features in double precision (single on MPS, which has no other)."""
    dtype = torch.float32 if values.device.type == "mps" else torch.float64
    return values.sum(dim=(1, 2), dtype=dtype)
