"""Alternating minimisation for X = L + S: train on L, then shrink what is left over to S."""

import copy
from dataclasses import dataclass

import torch

from skrdae.networks.workspace import Workspace
from skrdae.training.adam import MemberAdam
from skrdae.training.history import IterationRecord
from skrdae.training.minibatch import train_epochs

#: Rows a pass over all of them works on at once: few enough to stay in the cache.
PART_ROWS = 1024


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
        Called with each row of the history.

    Returns
    -------
    AlternatingResult

    References
    ----------
    C. Zhou and R. C. Paffenroth, Anomaly Detection with Robust Deep Autoencoders, KDD 2017.
    """
    stack = _Stack(network, data, penalty, lam, quantile, bound, lr, generators)
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
    trunk = _Stack(network, data, penalty, None, None, bound, lr, generators)
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
    stack = _Stack(network, data, penalty, None, None, bound, lr, generators)
    largest = 0.0
    for _ in range(max_iter):
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
    history = []
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
            if on_iteration is not None:
                on_iteration(record)
            if tol is not None:
                done = criteria < tol
        leaving = done if iteration < max_iter else torch.ones_like(done)
        if bool(leaving.any()):
            places = stack.members[leaving]
            network.assign(places, stack.network.select(leaving))
            final_lam[places] = stack.lam[leaving]
            if stack.penalty.across_rows:
                if final_norms is None:
                    final_norms = stack.norms.new_zeros(n_members, *stack.norms.shape[1:])
                final_norms[places] = stack.norms[leaving]
            if bool(done.all()) or iteration == max_iter:
                break
            stack.keep(~leaving)
    converged = tol is None or bool(done.all())
    return AlternatingResult(final_lam, final_norms, iteration, converged, history)


class _Stack:
    """The members still training and their state.

    Beside the data it holds three matrices for each member: L, the residual of this iteration and
    what was left of the last one. Everything else is made for a few rows at a time.
    """

    def __init__(self, network, data, penalty, lam, quantile, bound, lr, generators):
        self.members = torch.arange(len(generators), device=data.device)
        self.network = network.select(self.members)
        self.optimiser = MemberAdam(self.network, lr)
        self.penalty, self.quantile, self.bound = penalty, quantile, bound
        self.generators = list(generators)
        self.workspace = Workspace(data.device)
        self.data = data
        self.low_rank = data.clone(memory_format=torch.contiguous_format)  # L
        self.residual = torch.empty_like(self.low_rank)  # X − D(E(L))
        self.rest = None  # X − D(E(L)) − S of the iteration before
        self.norms = None  # of the groups of the residual
        self.error = None  # ‖L − D(E(L))‖²
        self.lam = None if lam is None else torch.tensor(lam, dtype=data.dtype, device=data.device)
        self.penalty_value = 0.0  # Ω(S)
        self.total = sum(_squares(self.data[:, rows]) for rows in self._parts()).sqrt()

    def _parts(self):
        """Slices of rows, the same for any number of members: so are sums over them."""
        n_samples = self.data.shape[1]
        return [slice(start, start + PART_ROWS) for start in range(0, n_samples, PART_ROWS)]

    def train(self, n_epochs, batch_size):
        train_epochs(
            self.network,
            self.optimiser,
            self.low_rank,
            bound=self.bound,
            n_epochs=n_epochs,
            batch_size=batch_size,
            generators=self.generators,
            workspace=self.workspace,
        )

    def shrink(self, iteration):
        """Take the prox of the residual; return the history row and each member's criterion.

        Only after :meth:`find_residual`.
        """
        # With λ = ∞ or at the start, S and its penalty are zero.
        charge = 0.0
        if self.lam is not None:
            charge = torch.nan_to_num(self.lam * self.penalty_value).cpu()
        if self.quantile is not None:
            self.lam = self.penalty.lam_quantile(self.norms, self.quantile)
        self.penalty_value = self.penalty.value_after_prox(self.norms, self.lam)
        sparse, rest, change = self._split_residual()
        scale = torch.where(self.total > 0, self.total, torch.ones_like(self.total))
        constraint, change = rest.sqrt() / scale, change.sqrt() / scale
        record = IterationRecord(
            iteration=iteration,
            objective=(self.error + charge).mean().item(),
            sparse_share=(sparse.sqrt() / scale).mean().item(),
            constraint=constraint.mean().item(),
            change=change.mean().item(),
            lam=self.lam.mean().item(),
            n_training=len(self.generators),
        )
        return record.row(), torch.minimum(constraint, change)

    def find_residual(self):
        """Fill in the residual, its norms and the error, with the network as it is."""
        self.error = 0.0
        for rows in self._parts():
            low_rank, data = self.low_rank[:, rows], self.data[:, rows]
            shown = self.workspace.take("batch", *low_rank.shape)
            torch.clamp(low_rank, -self.bound, self.bound, out=shown)
            fit = self.network(shown, self.workspace)
            torch.sub(data, fit, out=self.residual[:, rows])
            self.error = self.error + _squares(torch.sub(low_rank, fit, out=shown))
        if self.penalty.across_rows:
            self.norms = self.penalty.norms(self.residual)
        else:
            norms = [self.penalty.norms(self.residual[:, rows]) for rows in self._parts()]
            self.norms = torch.cat(norms, dim=1)

    def _split_residual(self):
        """Set L = X − S and the rest; return ‖S‖², ‖rest‖² and ‖change of the rest‖²."""
        first = self.rest is None
        if first:
            self.rest = torch.empty_like(self.residual)
        sums = torch.zeros(3, len(self.generators), dtype=torch.float64, device="cpu")
        for rows in self._parts():
            data, residual, before = self.data[:, rows], self.residual[:, rows], self.rest[:, rows]
            norms = self.norms if self.penalty.across_rows else self.norms[:, rows]
            sparse = self.workspace.take("batch", *residual.shape)
            self.penalty.prox(residual, self.lam, norms, out=sparse)
            torch.sub(data, sparse, out=self.low_rank[:, rows])
            residual.sub_(sparse)
            sums[0] += _squares(sparse)
            sums[1] += _squares(residual)
            # D(E(L)) + S is X − rest, so that their changes are the same. Before the first
            # iteration it is zero.
            sums[2] += _squares(torch.sub(data if first else before, residual, out=before))
        self.residual, self.rest = self.rest, self.residual
        return sums

    def branch(self, lams):
        """Return a stack of all members for each λ, which goes on from the first residual."""
        n_members = len(self.generators)
        places = torch.arange(n_members, device=self.data.device).repeat(len(lams))
        other = copy.copy(self)
        other.members = torch.arange(len(places), device=self.data.device)
        other.network = self.network.select(places)
        other.optimiser = self.optimiser.select(other.network, places)
        other.generators = [_same(self.generators[k]) for k in places.tolist()]
        other.lam = self.data.new_tensor(lams).repeat_interleave(n_members)
        shared = n_members == 1 or self.data.stride(0) == 0
        other.data = self.data[:1].expand(len(places), -1, -1) if shared else self.data[places]
        other.residual, other.norms = self.residual[places], self.norms[places]
        other.low_rank = torch.empty_like(other.residual)
        other.error, other.total = self.error[places.cpu()], self.total[places.cpu()]
        return other

    def keep(self, mask):
        """Drop the members outside the mask."""
        network = self.network.select(mask)
        self.optimiser = self.optimiser.select(network, mask)
        self.network = network
        kept = mask.nonzero().flatten().tolist()
        for name in ("members", "lam", "penalty_value", "norms", "total"):
            setattr(self, name, getattr(self, name)[mask])
        for name in ("low_rank", "residual", "rest"):
            setattr(self, name, getattr(self, name)[mask])
        # One matrix that all members see stays one.
        self.data = self.data[: len(kept)] if self.data.stride(0) == 0 else self.data[mask]
        self.generators = [self.generators[k] for k in kept]
        if self.quantile is not None:
            self.quantile = [self.quantile[k] for k in kept]


def _same(generator):
    """Return a generator that will draw the same numbers."""
    other = torch.Generator(device="cpu")
    other.set_state(generator.get_state())
    return other


def _squares(values):
    """Return the sum of squares of each member's matrix, in double precision on the CPU."""
    norms = torch.linalg.vector_norm(values, dim=(1, 2))
    return norms.cpu().double().square()
