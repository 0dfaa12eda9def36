"""What a fit found: the one object that scores, and that is pickled, saved, exported and moved."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from skrdae._device import device_if_there, plain_torch
from skrdae._typing import BoolArray, FloatArray, FloatRowsOrSparse
from skrdae.chunks import map_chunks
from skrdae.networks.member import MemberModule
from skrdae.networks.workspace import Workspace
from skrdae.preprocessing import ColumnScaler
from skrdae.rows import LazyRows, Rows
from skrdae.scorers.base import NetworkFunction, Scorer


@dataclass(frozen=True, eq=False)
class FittedModel:
    """The members of a fitted detector, and how they score.

    Attributes
    ----------
    scaler : ColumnScaler
    network : MemberModule
        K members.
    scorer : Scorer
    weights : ndarray of shape (K,)
        Of the members' scores, which bring them to one scale; see :func:`weights_of`.
    share : float
        The share of rows flagged, as a contamination.
    by_vote : bool
        Whether more than half of the members flag a row, and not the threshold.
    """

    scaler: ColumnScaler
    network: MemberModule
    scorer: Scorer
    weights: FloatArray
    share: float = 0.1
    by_vote: bool = False

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.network.device

    def rows(self, X: FloatRowsOrSparse) -> LazyRows:
        """Return checked rows as the scorer sees them."""
        return LazyRows(X, self.scaler, self.device)

    def map(
        self,
        function: NetworkFunction,
        rows: Rows,
        on_chunk: Callable[[torch.Tensor], object] | None = None,
    ) -> FloatArray:
        """Apply a function of the network, scaled rows and a workspace; return NumPy's float64.

        Parameters
        ----------
        function : callable
            (n, d) → (K, n, …).
        rows : Rows
        on_chunk : callable, optional
            Called with each chunk's result.

        Returns
        -------
        ndarray of shape (K, n, …)
        """

        def apply(chunk: torch.Tensor, workspace: Workspace) -> torch.Tensor:
            found = function(self.network, chunk, workspace)
            if on_chunk is not None:
                on_chunk(found)
            return found

        pieces: list[FloatArray] = []
        waiting: list[torch.Tensor] = []

        def fetch() -> None:
            pieces.extend(found.cpu().numpy().astype(np.float64) for found in waiting)
            waiting.clear()

        with plain_torch():
            for block in rows.blocks():
                found = map_chunks(apply, block, rows_independent=self.network.rows_independent)
                # A GPU works on this block while the one before is fetched and the next is scaled.
                fetch()
                waiting.append(found)
            fetch()
        return np.concatenate(pieces, axis=1) if len(pieces) > 1 else pieces[0]

    def average(self, function: NetworkFunction, rows: Rows) -> FloatArray:
        """Apply a function as :meth:`map` does, and average over the members as they are weighted.

        Returns
        -------
        ndarray of shape (n, …)
        """
        if self.device.type != "cuda":
            return self.weighted(self.map(function, rows))
        # There, because what is left is less to fetch.
        weights = torch.from_numpy(self.weights).to(self.device)

        def apply(network: Any, chunk: torch.Tensor, workspace: Workspace) -> torch.Tensor:
            values = function(network, chunk, workspace).double()
            values *= weights.view(-1, *[1] * (values.ndim - 1))
            return values.cumsum(dim=0)[-1:]  # one by one, as `weighted` adds them up

        return self.map(apply, rows)[0]

    def weighted(self, values: FloatArray) -> FloatArray:
        """Average over the members, (K, …) → (…), each weighted to one scale."""
        # Added up one by one: NumPy's sum goes about it differently for one row than for many.
        total = values[0] * self.weights[0]
        for value, weight in zip(values[1:], self.weights[1:], strict=True):
            total += value * weight
        return total

    def votes(self, rows: Rows) -> BoolArray:
        """Return which rows more than half of the members flag."""
        votes: Any = self.scorer.votes
        return self.map(votes, rows).mean(axis=0) > 0.5

    def decode(self, codes: NDArray[Any]) -> NDArray[np.float32]:
        """Decode each member's codes: (K, n, units) → (K, n, d), NumPy in and out."""
        with plain_torch():
            decoded = map_chunks(
                partial(self.scorer.decode, self.network),
                torch.tensor(codes, dtype=torch.float32, device=self.device),
                rows_independent=self.network.rows_independent,
            )
            return decoded.cpu().numpy()

    @property
    def code_size(self) -> int:
        """Units of a member's code."""
        return self.scorer.code_size(self.network)

    def select(self, members: torch.Tensor) -> Self:
        """Return the model of some members, by their places, whose weights are still unknown."""
        network = self.network.select(members.to(self.device))
        return replace(self, network=network, scorer=self.scorer.select(members))

    def to(self, device: torch.device) -> Self:
        """Return the model on a device; copied, if it was on another."""
        network = self.network
        if network.device != device:
            network = copy.deepcopy(network).to(device)
        return replace(self, network=network, scorer=self.scorer.to(device))

    def __getstate__(self) -> dict[str, Any]:
        # Nothing of a GPU may be alive in a pickle: it has to load on a machine without one.
        on_cpu = self.to(torch.device("cpu"))
        state = {field.name: getattr(on_cpu, field.name) for field in fields(self)}
        return {**state, "device": str(self.device)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        device = device_if_there(state.pop("device"))
        vars(self).update(state)
        vars(self).update(vars(self.to(device)))


def weights_of(scores: FloatArray) -> FloatArray:
    """Return weights that bring the members' training scores, (K, n), to one scale.

    Each member's scores are divided by their median, which a far outlier does not move, and the
    average is put back in the members' units.
    """
    medians = np.median(scores, axis=1)
    medians[medians == 0] = 1.0
    return medians.mean() / medians / len(medians)
