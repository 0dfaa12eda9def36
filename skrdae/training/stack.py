"""The state of the alternating training: members, their L and what their networks leave of X."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import torch

from skrdae._memory import matrix_like, taken
from skrdae._parallel import in_parallel
from skrdae._typing import Record
from skrdae.networks.mlp import MemberAutoencoder
from skrdae.networks.recurrent import MemberRecurrentAutoencoder
from skrdae.networks.workspace import Workspace
from skrdae.penalties.base import GroupPenalty
from skrdae.training.adam import MemberAdam
from skrdae.training.history import IterationRecord
from skrdae.training.minibatch import train_epochs
from skrdae.training.state import (
    copied,
    generator_states,
    set_generators,
    set_weights,
    weights_of,
)

# Values a pass over all rows works on at once, few enough to stay in the cache, and the least and
# most rows.
_PART, _LEAST_ROWS, _MOST_ROWS = 2**17, 256, 1024

# Values whose change from one iteration to the next is watched, and rows at least.
_WATCHED, _LEAST_WATCHED = 2**21, 1024


class Stack:
    """The members still training and their state.

    Beside the data it holds one matrix for each member, which is L while the network is trained and
    the residual from then until the prox. Everything else is made for a few rows at a time.
    """

    rest: torch.Tensor  # X − D(E(L)) − S of the iteration before, in the rows watched
    norms: torch.Tensor  # of the groups of the residual
    error: torch.Tensor  # ‖L − D(E(L))‖²
    lam: torch.Tensor
    penalty_value: torch.Tensor | float  # Ω(S)

    def __init__(
        self,
        network: MemberAutoencoder | MemberRecurrentAutoencoder,
        data: torch.Tensor,
        penalty: GroupPenalty,
        lam: Sequence[float] | None,
        quantile: Sequence[float] | None,
        bound: float,
        lr: float,
        generators: Sequence[torch.Generator],
    ) -> None:
        self.members = torch.arange(len(generators), device=data.device)
        self.network = network.select(self.members)
        self.optimiser = MemberAdam(self.network, lr)
        self.penalty, self.quantile, self.bound = penalty, quantile, bound
        self.generators = list(generators)
        self.workspace = Workspace(data.device)
        self.data = data
        self.matrix = matrix_like(data, data.shape).copy_(data)  # L or X − D(E(L))
        self.watched = _watched_rows(*data.shape[1:])
        # Until the first residual and the first prox.
        self.rest = self.norms = self.error = self.lam = None  # type: ignore[assignment]
        if lam is not None:
            self.lam = torch.tensor(lam, dtype=data.dtype, device=data.device)
        self.penalty_value = 0.0
        self.total, self.total_watched = self._over_parts(self._sizes, (2, len(data)))

    def _over_parts(
        self, function: Callable[[slice, Workspace], torch.Tensor], shape: tuple[int, ...]
    ) -> torch.Tensor:
        """Add up what a function of a few rows and a workspace gives, as many at once as may be.

        The parts are the same for any number of members and threads, and so are sums over them.
        """
        n_samples = self.data.shape[1]
        size = part_rows(self.data.shape[2])
        parts = [slice(start, start + size) for start in range(0, n_samples, size)]
        apart = self.data.device.type == "cpu" and self.network.rows_apart
        n_groups = min(torch.get_num_threads(), len(parts)) if apart else 1
        ends = [len(parts) * group // n_groups for group in range(n_groups + 1)]

        def work(group: int) -> list[torch.Tensor]:
            workspace = self.workspace.part(group)
            with torch.no_grad():  # a thread's own affair
                mine = parts[ends[group] : ends[group + 1]]
                return [function(rows, workspace) for rows in mine]

        groups = list(range(n_groups))
        found = in_parallel(work, groups) if apart else [work(0)]
        sums = torch.zeros(shape, dtype=torch.float64, device="cpu")
        for group in found:
            for values in group:
                sums += values
        return sums

    def _watched(self, rows: slice) -> tuple[torch.Tensor | slice, slice]:
        """Return which of a part's rows are watched, and where they lie among those watched."""
        if self.watched is None:
            return slice(None), rows
        first, last = torch.searchsorted(
            self.watched, torch.tensor([rows.start, rows.stop], device="cpu")
        )
        return (self.watched[first:last] - rows.start).to(self.data.device), slice(first, last)

    def _sizes(self, rows: slice, workspace: Workspace) -> torch.Tensor:
        """‖X‖² of a part, and of the rows watched."""
        data = self.data[:, rows]
        whole = _squares(data)
        if self.watched is None:
            return torch.stack([whole, whole])
        return torch.stack([whole, _squares(data[:, self._watched(rows)[0]])])

    def train(self, n_epochs: int, batch_size: int) -> None:
        """Train the network on L."""
        train_epochs(
            self.network,
            self.optimiser,
            self.matrix,
            bound=self.bound,
            n_epochs=n_epochs,
            batch_size=batch_size,
            generators=self.generators,
            workspace=self.workspace,
        )

    def start_again(self) -> None:
        """Set L = X."""
        self.matrix.copy_(self.data)

    def find_residual(self) -> None:
        """Replace L by the residual; find its norms and the error, with the network as it is."""
        self.error = self._over_parts(self._find_part, (len(self.generators),))
        if self.penalty.across_rows:
            self.norms = self.penalty.norms(self.matrix)
        else:
            parts = torch.split(self.matrix, part_rows(self.data.shape[2]), dim=1)
            self.norms = torch.cat([self.penalty.norms(part) for part in parts], dim=1)

    def _find_part(self, rows: slice, workspace: Workspace) -> torch.Tensor:
        low_rank, data = self.matrix[:, rows], self.data[:, rows]
        shown = workspace.take("batch", *low_rank.shape)
        torch.clamp(low_rank, -self.bound, self.bound, out=shown)
        fit = self.network(shown, workspace)
        error = _squares(torch.sub(low_rank, fit, out=shown))
        torch.sub(data, fit, out=low_rank)
        return error

    def shrink(self, iteration: int) -> tuple[Record, torch.Tensor]:
        """Take the prox of the residual; return the history row and each member's criterion.

        Only after :meth:`find_residual`. The matrix is L again.
        """
        # With λ = ∞ or at the start, S and its penalty are zero.
        charge: torch.Tensor | float = 0.0
        if self.lam is not None:
            charge = torch.nan_to_num(self.lam * self.penalty_value).cpu()
        if self.quantile is not None:
            self.lam = self.penalty.lam_quantile(self.norms, self.quantile)
        self.penalty_value = self.penalty.value_after_prox(self.norms, self.lam)
        first = self.rest is None
        if first:
            n_rows, n_features = self.data.shape[1:]
            shape = len(self.generators), n_watched(n_rows, n_features), n_features
            self.rest = self.data.new_empty(shape)
        sums = self._over_parts(
            lambda rows, workspace: self._shrink_part(rows, workspace, first),
            (3, len(self.generators)),
        )
        total, total_watched = (
            torch.where(t > 0, t, torch.ones_like(t)).sqrt()
            for t in (self.total, self.total_watched)
        )
        sparse, constraint = sums[:2].sqrt() / total
        change = sums[2].sqrt() / total_watched
        record = IterationRecord(
            iteration=iteration,
            objective=(self.error + charge).mean().item(),
            sparse_share=sparse.mean().item(),
            constraint=constraint.mean().item(),
            change=change.mean().item(),
            lam=self.lam.mean().item(),
            n_training=len(self.generators),
        )
        return record.row(), torch.minimum(constraint, change)

    def _shrink_part(self, rows: slice, workspace: Workspace, first: bool) -> torch.Tensor:
        """Replace the residual by L = X − S; return ‖S‖², ‖rest‖² and ‖change of the rest‖²."""
        data, residual = self.data[:, rows], self.matrix[:, rows]
        norms = self.norms if self.penalty.across_rows else self.norms[:, rows]
        if bool(self.lam.isinf().all()):
            sparse, rest = None, residual
            sums = [torch.zeros(len(data), dtype=torch.float64, device="cpu"), _squares(rest)]
        else:
            sparse = workspace.take("batch", *residual.shape)
            self.penalty.prox(residual, self.lam, norms, out=sparse)
            rest = residual.sub_(sparse)
            sums = [_squares(sparse), _squares(rest)]
        # D(E(L)) + S is X − rest, so that their changes are the same. Before the first iteration
        # it is zero.
        here, there = self._watched(rows)
        rest, before = rest[:, here], self.rest[:, there]
        sums.append(_squares(torch.sub(data[:, here] if first else before, rest)))
        before.copy_(rest)
        low_rank = self.matrix[:, rows]
        if sparse is None:
            low_rank.copy_(data)
        else:
            torch.sub(data, sparse, out=low_rank)
        return torch.stack(sums)

    def branch(self, lams: Sequence[float]) -> Self:
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
        other.matrix, other.norms = taken(self.matrix, places), self.norms[places]
        for name in ("error", "total", "total_watched"):
            setattr(other, name, getattr(self, name)[places.cpu()])
        return other

    def state(self) -> dict[str, Any]:
        """Return what :meth:`restore` needs, after a prox."""
        return {
            "members": self.members.cpu(),
            "weights": weights_of(self.network),
            "adam": self.optimiser.state(),
            "generators": generator_states(self.generators),
            "tensors": copied(
                [self.matrix, self.rest, self.lam, torch.as_tensor(self.penalty_value)]
            ),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Become what another stack was that began with the same networks, data and parameters."""
        mask = torch.isin(self.members.cpu(), state["members"].cpu())
        if not bool(mask.all()):
            self.keep(mask)
        set_weights(self.network, state["weights"])
        self.optimiser.restore(state["adam"])
        set_generators(self.generators, state["generators"])
        matrix, *others = state["tensors"]
        self.matrix.copy_(matrix)
        self.rest, self.lam, self.penalty_value = (
            t.to(self.data.device, copy=True) for t in others
        )

    def keep(self, mask: torch.Tensor) -> None:
        """Drop the members outside the mask."""
        network = self.network.select(mask)
        self.optimiser = self.optimiser.select(network, mask)
        self.network = network
        kept = mask.nonzero().flatten().tolist()
        for name in ("members", "lam", "penalty_value", "norms", "rest"):
            value = getattr(self, name)
            if torch.is_tensor(value):  # which they are not before the first prox
                setattr(self, name, value[mask])
        places = mask.nonzero().flatten().to(self.data.device)
        self.matrix = taken(self.matrix, places)
        for name in ("total", "total_watched"):
            setattr(self, name, getattr(self, name)[mask.cpu()])
        # One matrix that all members see stays one.
        shared = self.data.stride(0) == 0
        self.data = self.data[: len(kept)] if shared else taken(self.data, places)
        self.generators = [self.generators[k] for k in kept]
        if self.quantile is not None:
            self.quantile = [self.quantile[k] for k in kept]


def part_rows(n_features: int) -> int:
    """Return how many rows a pass over all of them works on at once."""
    return min(max(_PART // n_features, _LEAST_ROWS), _MOST_ROWS)


def n_watched(n_rows: int, n_features: int) -> int:
    """Return how many rows are watched."""
    return min(n_rows, max(_WATCHED // n_features, _LEAST_WATCHED))


def _watched_rows(n_rows: int, n_features: int) -> torch.Tensor | None:
    """Return the places of the rows whose change is watched, rising, or None for all.

    A matrix of what was left in the iteration before is needed for nothing else. Of thousands of
    rows the change is known within a percent.
    """
    n = n_watched(n_rows, n_features)
    if n == n_rows:
        return None
    generator = torch.Generator(device="cpu").manual_seed(0)
    return torch.randperm(n_rows, generator=generator, device="cpu")[:n].sort().values


def _same(generator: torch.Generator) -> torch.Generator:
    """Return a generator that will draw the same numbers."""
    other = torch.Generator(device="cpu")
    other.set_state(generator.get_state())
    return other


def _squares(values: torch.Tensor) -> torch.Tensor:
    """Return the sum of squares of each member's matrix, in double precision on the CPU."""
    norms = torch.linalg.vector_norm(values, dim=(1, 2))
    return norms.cpu().double().square()
