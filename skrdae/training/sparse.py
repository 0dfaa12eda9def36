"""Training on rows that are dense a batch at a time only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array, csr_matrix

from skrdae._parallel import one_blas_thread
from skrdae._typing import FloatRows, IntArray, Record
from skrdae.networks.mlp import MemberAutoencoder
from skrdae.networks.workspace import Workspace
from skrdae.penalties.base import GroupPenalty
from skrdae.training.adam import MemberAdam
from skrdae.training.alternating import AlternatingResult
from skrdae.training.compiled import train_autoencoder
from skrdae.training.history import IterationRecord
from skrdae.training.minibatch import learn_in_pieces, pieces

#: Rows that a pass over all of them makes dense at once.
SPARSE_PART = 256


class SparseRows:
    """Scaled rows of a sparse matrix, made dense when they are asked for.

    Parameters
    ----------
    X : scipy.sparse CSR matrix or array of shape (n_samples, n_features)
    scale : callable
        Dense rows of X → scaled rows, float32.
    places : ndarray of int, optional
        Rows of X that these are; all by default.

    Attributes
    ----------
    shape : tuple
    """

    shape: tuple[int, int]

    def __init__(
        self,
        X: csr_matrix | csr_array,
        scale: Callable[[FloatRows], NDArray[np.float32]],
        places: IntArray | None = None,
    ) -> None:
        self._X, self._scale, self._places = X, scale, places
        self.shape = (X.shape[0] if places is None else len(places), X.shape[1])

    def __len__(self) -> int:
        return self.shape[0]

    def rows(self, places: slice | IntArray) -> NDArray[np.float32]:
        """Return some rows, a float32 array, by a slice or an array of places."""
        if self._places is not None:
            places = self._places[places]
        return self._scale(self._X[places].toarray())

    def parts(self) -> Iterator[slice]:
        """Yield slices that cover all rows."""
        for start in range(0, len(self), SPARSE_PART):
            yield slice(start, min(start + SPARSE_PART, len(self)))

    def range(self) -> tuple[float, float]:
        """Return the least and the greatest value."""
        ends = [(rows.min(), rows.max()) for rows in map(self.rows, self.parts())]
        return float(min(low for low, _ in ends)), float(max(high for _, high in ends))

    def clipped(self, bound: float) -> SparseRows:
        """Return the rows with values beyond ±bound brought back to it."""
        return SparseRows(self._X, lambda rows: self._scale(rows).clip(-bound, bound), self._places)

    def of_members(self, places: torch.Tensor | None, n_members: int) -> list[SparseRows]:
        """Return each member's rows: those at its places, (K, n), or all."""
        if places is None:
            return [self] * n_members
        return [SparseRows(self._X, self._scale, mine) for mine in places.numpy()]


def range_of(data: torch.Tensor | SparseRows) -> tuple[float, float]:
    """Return the least and the greatest value of rows."""
    return data.range() if isinstance(data, SparseRows) else (float(data.min()), float(data.max()))


class _SparseMember:
    """One member's L = X − S, where S is kept of the rows only in which it is not zero."""

    lam: torch.Tensor

    def __init__(
        self,
        network: MemberAutoencoder,
        rows: SparseRows,
        bound: float,
        lr: float,
        generator: torch.Generator,
    ) -> None:
        self.network, self.rows, self.bound, self.generator = network, rows, bound, generator
        self.optimiser = MemberAdam(network, lr)
        self.workspace = Workspace(torch.device("cpu"))
        self.place = np.full(len(rows), -1)  # of a row's S among those kept
        self.sparse = np.empty((0, rows.shape[1]), np.float32)
        # λ is None until the first prox.
        self.lam, self.penalty_value, self.error = None, 0.0, 0.0  # type: ignore[assignment]

    def low_rank(
        self, places: slice | IntArray, data: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Return rows of L; `data` are those of X, and are written to."""
        data = self.rows.rows(places) if data is None else data
        kept = self.place[places]
        with_s = np.flatnonzero(kept >= 0)
        data[with_s] -= self.sparse[kept[with_s]]
        return data

    def train(self, n_epochs: int, batch_size: int) -> None:
        n_rows = len(self.rows)
        n_batches = -(-n_rows // batch_size)
        most = -(-n_rows // n_batches)
        n_pieces = pieces(most, max(weight[0].numel() for weight in self.network.weights))
        ((adam, layers),) = self.optimiser.compiled(self.network, n_pieces)
        learn = train_autoencoder if n_pieces == 1 else learn_in_pieces
        bound = np.float32(self.bound)
        for epoch in range(n_epochs):
            order = torch.randperm(n_rows, generator=self.generator, device="cpu").numpy()
            for number, batch in enumerate(np.array_split(order, n_batches)):
                block = self.low_rank(batch)
                state = adam._replace(n_done=adam.n_done + epoch * n_batches + number)
                learn(state, layers, block, np.arange(len(batch)), 1, bound)
        self.optimiser.count(n_epochs * n_batches)

    def _residual(self, places: slice | IntArray) -> tuple[NDArray[np.float32], float]:
        """Return rows of X − D(E(L)), and their ‖L − D(E(L))‖²."""
        data = self.rows.rows(places)
        low_rank = self.low_rank(places, data.copy())
        shown = torch.from_numpy(low_rank).clamp(-self.bound, self.bound)[None]
        fit = self.network(shown, self.workspace)[0].numpy()
        error = np.square(low_rank - fit, dtype=np.float64).sum()
        return np.subtract(data, fit, out=data), error

    def find_norms(self) -> torch.Tensor:
        """Return the norm of every row's residual, with the network as it is."""
        norms, self.error = np.empty(len(self.rows), np.float32), 0.0
        for places in self.rows.parts():
            residual, error = self._residual(places)
            norms[places] = torch.linalg.vector_norm(torch.from_numpy(residual), dim=-1).numpy()
            self.error += error
        return torch.from_numpy(norms).view(1, -1, 1)

    def shrink(self, norms: torch.Tensor) -> None:
        """Take the prox of the residual with this member's λ."""
        lam = float(self.lam)
        moving = np.flatnonzero(norms.numpy().ravel() > lam)
        sparse = np.empty((len(moving), self.rows.shape[1]), np.float32)
        factor = (1 - self.lam / norms).numpy().ravel()
        for start in range(0, len(moving), SPARSE_PART):
            places = moving[start : start + SPARSE_PART]
            residual, _ = self._residual(places)
            np.multiply(residual, factor[places, None], out=sparse[start : start + SPARSE_PART])
        self.place[:] = -1
        self.place[moving] = np.arange(len(moving))
        self.sparse = sparse


@torch.no_grad()
def alternate_sparse(
    network: MemberAutoencoder,
    rows: Sequence[SparseRows],
    penalty: GroupPenalty,
    *,
    lam: Sequence[float] | None,
    quantile: Sequence[float] | None,
    bound: float,
    max_iter: int,
    n_epochs: int,
    batch_size: int,
    lr: float,
    generators: Sequence[torch.Generator],
    on_iteration: Callable[[Record], object] | None = None,
) -> AlternatingResult:
    """Do what :func:`~skrdae.training.alternating.alternate` does, for ℓ2,1 by sample.

    Members follow one another, so that one has its S in memory at a time. There is no tolerance
    and no record of changes, for which every row would have to be kept.

    Parameters
    ----------
    network : MemberAutoencoder
        K members, on the CPU; trained in place.
    rows : list of K SparseRows
    penalty : L21
    on_iteration : callable, optional
        Called with each member's rows, one member after another; where it says True, no member has
        more iterations from there on.

    Returns
    -------
    AlternatingResult
    """
    lams: list[torch.Tensor] = []
    histories: list[list[Record]] = []
    stopped: int | None = None
    for k, generator in enumerate(generators):
        place = torch.tensor([k], device="cpu")
        member = _SparseMember(network.select(place), rows[k], bound, lr, generator)
        size = np.sqrt(sum(np.square(rows[k].rows(p), dtype=float).sum() for p in rows[k].parts()))
        history: list[Record] = []
        for iteration in range(1, (stopped or max_iter) + 1):
            with one_blas_thread:
                member.train(n_epochs, batch_size)
            norms = member.find_norms()
            charge = 0.0 if member.lam is None else float(member.lam) * member.penalty_value
            if quantile is not None:
                member.lam = penalty.lam_quantile(norms, [quantile[k]])
            elif lam is not None:
                member.lam = torch.tensor([lam[k]], dtype=torch.float32, device="cpu")
            member.penalty_value = float(penalty.value_after_prox(norms, member.lam))
            member.shrink(norms)
            left = norms.double().clamp(max=float(member.lam)).square().sum().sqrt()
            moved = (norms.double() - float(member.lam)).clamp(min=0).square().sum().sqrt()
            record = IterationRecord(
                iteration=iteration,
                objective=member.error + np.nan_to_num(charge),
                sparse_share=float(moved) / (size or 1.0),
                constraint=float(left) / (size or 1.0),
                change=np.nan,
                lam=float(member.lam),
                n_training=1,
            )
            history.append(record.row())
            if on_iteration is not None and on_iteration(history[-1]):
                stopped = iteration
                break
        network.assign(place, member.network)
        lams.append(member.lam)
        histories.append(history)
    means = [
        {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
        | {"iteration": rows[0]["iteration"], "n_training": len(generators)}
        for rows in zip(*histories, strict=False)  # as far as all came
    ]
    return AlternatingResult(torch.cat(lams), None, len(means), True, means)
