"""X = L + S of the members in training: what is left of X by their networks, and its prox."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Self

import numpy as np
import torch

from skrdae._memory import matrix_like, take_rows
from skrdae._parallel import in_parallel
from skrdae._typing import IntArray
from skrdae.networks.member import MemberModule
from skrdae.networks.workspace import Workspace
from skrdae.penalties.base import GroupPenalty
from skrdae.rows import SPARSE_PART, HeldMemberRows, LazyMemberRows, MemberRows, Share

# Values a pass over all rows works on at once, few enough to stay in the cache, and the least and
# most rows.
_PART, _LEAST_ROWS, _MOST_ROWS = 2**17, 256, 1024
# Values on another device, of each member.
_PART_ELSEWHERE = 2**21

# Values whose change from one iteration to the next is watched, and rows at least.
_WATCHED, _LEAST_WATCHED = 2**21, 1024


class Split(MemberRows):
    """The rows of L = X − S, which networks are trained on, and the residual X − D(E(L)).

    Attributes
    ----------
    norms : Tensor
        Of the groups of the residual; see :meth:`~skrdae.penalties.base.GroupPenalty.norms`.
    error : Tensor of shape (K,)
        ‖L − D(E(L))‖².
    """

    norms: torch.Tensor
    error: torch.Tensor

    @abstractmethod
    def find_residual(self, network: MemberModule, bound: float, penalty: GroupPenalty) -> None:
        """Find the residual of the network as it is, its norms and the error."""

    @abstractmethod
    def shrink(self, penalty: GroupPenalty, lam: torch.Tensor) -> torch.Tensor:
        """Set S to the prox of the residual, only after :meth:`find_residual`.

        Returns
        -------
        Tensor of shape (3, K)
            ‖S‖, ‖X − D(E(L)) − S‖, and the change of D(E(L)) + S since the prox before, all as
            shares of ‖X‖.
        """


def split_of(rows: MemberRows) -> HeldSplit | LazySplit:
    """Return the rows as L, with S = 0."""
    if isinstance(rows, LazyMemberRows):
        return LazySplit(rows)
    assert isinstance(rows, HeldMemberRows)
    return HeldSplit(rows)


class HeldSplit(HeldMemberRows, Split):
    """The split of rows that are held in memory, or in a file.

    Beside the data it holds one matrix for each member, which is L while the network is trained and
    the residual from then until the prox. Everything else is made for a few rows at a time.
    """

    rest: torch.Tensor | None  # X − D(E(L)) − S of the iteration before, in the rows watched

    def __init__(self, rows: HeldMemberRows) -> None:
        self.data = rows.tensor
        super().__init__(matrix_like(self.data, self.data.shape).copy_(self.data))
        self.watched = _watched_rows(*self.shape[1:])
        self.workspace = Workspace(self.device)
        self.rest = None  # until the first prox
        self._total, self._total_watched = self._over_parts(self._sizes, (2, self.shape[0]))

    def _over_parts(
        self,
        function: Callable[[slice, Workspace], torch.Tensor],
        shape: tuple[int, ...],
        rows_independent: bool = True,
    ) -> torch.Tensor:
        """Add up what a function of a few rows and a workspace gives, as many at once as may be.

        The parts are the same for any number of members and threads, and so are sums over them.
        """
        size = part_rows(self.shape[2], self.device)
        parts = [slice(start, start + size) for start in range(0, self.shape[1], size)]
        parallel = self.device.type == "cpu" and rows_independent
        n_groups = min(torch.get_num_threads(), len(parts)) if parallel else 1
        ends = [len(parts) * group // n_groups for group in range(n_groups + 1)]

        def work(group: int) -> list[torch.Tensor]:
            workspace = self.workspace.part(group)
            with torch.no_grad():  # a thread's own affair
                mine = parts[ends[group] : ends[group + 1]]
                return [function(rows, workspace) for rows in mine]

        groups = list(range(n_groups))
        found = in_parallel(work, groups) if parallel else [work(0)]
        first = found[0][0]
        sums = torch.zeros(shape, dtype=torch.float64, device=first.device)
        for group in found:
            for values in group:
                sums += values
        return sums.cpu()

    def _watched(self, rows: slice) -> tuple[torch.Tensor | slice, slice]:
        """Return which of a part's rows are watched, and where they lie among those watched."""
        if self.watched is None:
            return slice(None), rows
        first, last = torch.searchsorted(
            self.watched, torch.tensor([rows.start, rows.stop], device="cpu")
        )
        return (self.watched[first:last] - rows.start).to(self.device), slice(first, last)

    def _sizes(self, rows: slice, workspace: Workspace) -> torch.Tensor:
        """‖X‖² of a part, and of the rows watched."""
        data = self.data[:, rows]
        whole = _squares(data)
        if self.watched is None:
            return torch.stack([whole, whole])
        return torch.stack([whole, _squares(data[:, self._watched(rows)[0]])])

    def start_again(self) -> None:
        """Set S to zero."""
        self.tensor.copy_(self.data)

    def find_residual(self, network: MemberModule, bound: float, penalty: GroupPenalty) -> None:
        def find(rows: slice, workspace: Workspace) -> torch.Tensor:
            low_rank, data = self.tensor[:, rows], self.data[:, rows]
            shown = workspace.take("batch", *low_rank.shape)
            torch.clamp(low_rank, -bound, bound, out=shown)
            fit = network(shown, workspace)
            error = _squares(torch.sub(low_rank, fit, out=shown))
            torch.sub(data, fit, out=low_rank)
            return error

        self.error = self._over_parts(find, (self.shape[0],), network.rows_independent)
        if penalty.across_rows:
            self.norms = penalty.measures(self.tensor, self.data)
        else:
            size = part_rows(self.shape[2], self.device)
            parts = zip(
                *(torch.split(x, size, dim=1) for x in (self.tensor, self.data)), strict=True
            )
            self.norms = torch.cat([penalty.measures(*part) for part in parts], dim=1)

    def shrink(self, penalty: GroupPenalty, lam: torch.Tensor) -> torch.Tensor:
        first = self.rest is None
        if self.rest is None:
            self.rest = self.data.new_empty(
                self.shape[0], n_watched(*self.shape[1:]), self.shape[2]
            )
        before = self.rest

        def shrink(rows: slice, workspace: Workspace) -> torch.Tensor:
            data, residual = self.data[:, rows], self.tensor[:, rows]
            norms = self.norms if penalty.across_rows else self.norms[:, rows]
            if bool(lam.isinf().all()):
                sparse, rest = None, residual
                squares = _squares(rest)
                sums = [torch.zeros_like(squares), squares]
            else:
                sparse = workspace.take("batch", *residual.shape)
                penalty.prox(residual, lam, norms, out=sparse)
                rest = residual.sub_(sparse)
                sums = [_squares(sparse), _squares(rest)]
            # D(E(L)) + S is X − rest, so that their changes are the same. Before the first
            # iteration it is zero.
            here, there = self._watched(rows)
            rest, old = rest[:, here], before[:, there]
            sums.append(_squares(torch.sub(data[:, here] if first else old, rest)))
            old.copy_(rest)
            low_rank = self.tensor[:, rows]
            if sparse is None:
                low_rank.copy_(data)
            else:
                torch.sub(data, sparse, out=low_rank)
            return torch.stack(sums)

        sums = self._over_parts(shrink, (3, self.shape[0]))
        totals = torch.stack([self._total, self._total, self._total_watched])
        return sums.sqrt() / torch.where(totals > 0, totals, torch.ones_like(totals)).sqrt()

    def branch(self, members: torch.Tensor) -> Self:
        """Return the split of some members, which may be named several times."""
        other = copy.copy(self)
        shared = self.shape[0] == 1 or self.data.stride(0) == 0
        other.data = (
            self.data[:1].expand(len(members), -1, -1) if shared else take_rows(self.data, members)
        )
        other.tensor = take_rows(self.tensor, members)
        other.shape = (len(members), *self.shape[1:])
        for name in ("norms", "rest", "error", "_total", "_total_watched"):
            value = getattr(self, name, None)
            if value is not None:
                setattr(other, name, value[members.to(value.device)])
        return other


class LazySplit(Split):
    """The split of one member's rows that are made when they are asked for.

    S is kept of the rows only in which it is not zero, and the residual is made again where it is
    needed. It is for ℓ2,1 by row.
    """

    def __init__(self, rows: LazyMemberRows) -> None:
        self.rows, self.shape, self.device = rows, rows.shape, rows.device
        self.place = np.full(self.shape[1], -1)  # of a row's S among those kept
        self.sparse = np.empty((0, self.shape[2]), np.float32)
        squares = [part.double().square().sum().item() for part in rows.parts(SPARSE_PART)]
        self._size = sum(squares) ** 0.5 or 1.0

    def _low_rank(self, places: slice | IntArray, data: torch.Tensor) -> torch.Tensor:
        """Return rows of L; `data` are those of X, and are written to."""
        kept = self.place[places]
        with_sparse = np.flatnonzero(kept >= 0)
        data.numpy()[with_sparse] -= self.sparse[kept[with_sparse]]
        return data

    def _take(self, places: slice | IntArray) -> torch.Tensor:
        of_tensor = places if isinstance(places, slice) else torch.from_numpy(places)
        return self.rows.take(0, of_tensor)

    def shares(self, member: int, order: IntArray, n_batches: int) -> Iterator[Share]:
        parts = np.array_split(order, n_batches)
        for share, batch in zip(self.rows.shares(0, order, n_batches), parts, strict=True):
            self._low_rank(batch, torch.from_numpy(share.rows))
            yield share

    def parts(self, most_rows: int) -> Iterator[torch.Tensor]:
        for start in range(0, self.shape[1], SPARSE_PART):
            places = slice(start, start + SPARSE_PART)
            yield self._low_rank(places, self._take(places))[None]

    def _residual(self, places: slice | IntArray) -> tuple[torch.Tensor, float]:
        """Return rows of X − D(E(L)), and their ‖L − D(E(L))‖²."""
        data = self._take(places)
        low_rank = self._low_rank(places, data.clone())
        shown = low_rank.clamp(-self._bound, self._bound)[None]
        fit = self._network(shown, self._workspace)[0]
        return data - fit, (low_rank - fit).double().square().sum().item()

    def find_residual(self, network: MemberModule, bound: float, penalty: GroupPenalty) -> None:
        self._network, self._bound, self._workspace = network, bound, Workspace(self.device)
        norms, error = [], 0.0
        for start in range(0, self.shape[1], SPARSE_PART):
            residual, of_part = self._residual(slice(start, start + SPARSE_PART))
            norms.append(penalty.norms(residual[None]))
            error += of_part
        self.norms = torch.cat(norms, dim=1)
        self.error = torch.tensor([error], dtype=torch.float64, device="cpu")

    def shrink(self, penalty: GroupPenalty, lam: torch.Tensor) -> torch.Tensor:
        norms = self.norms.flatten().double()
        moving = np.flatnonzero((self.norms > lam).flatten().numpy())
        sparse = np.empty((len(moving), self.shape[2]), np.float32)
        for start in range(0, len(moving), SPARSE_PART):
            places = moving[start : start + SPARSE_PART]
            residual, _ = self._residual(places)
            moved = penalty.prox(residual[None], lam, self.norms[:, places])
            sparse[start : start + SPARSE_PART] = moved[0].numpy()
        self.place[:] = -1
        self.place[moving] = np.arange(len(moving))
        self.sparse = sparse
        limit = float(lam)
        of_sparse = (norms - limit).clamp(min=0).square().sum().sqrt()
        left = norms.clamp(max=limit).square().sum().sqrt()
        change = torch.full_like(left, np.nan)  # for which every row would have to be kept
        return torch.stack([of_sparse, left, change])[:, None] / self._size


def part_rows(n_features: int, device: torch.device) -> int:
    """Return how many rows a pass over all of them works on at once."""
    if device.type != "cpu":  # where a part costs a round of launches, whatever its size
        return max(_PART_ELSEWHERE // n_features, _MOST_ROWS)
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


def _squares(values: torch.Tensor) -> torch.Tensor:
    """Return the sum of squares of each member's matrix, in double precision."""
    norms = torch.linalg.vector_norm(values, dim=(1, 2))
    norms = norms.cpu() if norms.device.type == "mps" else norms  # which has none
    return norms.double().square()
