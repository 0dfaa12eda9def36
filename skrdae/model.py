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
    """What a fit found: the networks of a detector, and how they score rows.

    A fitted detector has it as ``model_``. It is never changed in place; `fit` and
    ``tune_threshold`` put another one in its place.

    Attributes
    ----------
    scaler : ColumnScaler
        Fitted to the training data.
    network : MemberModule
        The trained networks of the K members.
    scorer : Scorer
        How rows are scored with the network.
    weights : ndarray of shape (K,)
        A row scores the sum of the members' scores times these; see :func:`member_weights`.
    share : float
        The share of rows that is flagged, as a contamination.
    by_vote : bool
        Whether a row is flagged if more than half of the members flag it, and not if its score is
        above the threshold.

    Examples
    --------
    >>> import numpy as np
    >>> from skrdae import RobustDeepAutoencoder
    >>> X = np.random.default_rng(0).normal(size=(100, 6))
    >>> detector = RobustDeepAutoencoder(n_estimators=3, random_state=0).fit(X)
    >>> model = detector.model_
    >>> scores = model.map(model.scorer.scores, model.rows(X))  # one row for each member
    >>> scores.shape
    (3, 100)
    >>> np.array_equal(model.weighted(scores), detector.decision_scores_)
    True
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
        """Return rows as a scorer takes them: scaled, float32, on the device.

        Parameters
        ----------
        X : ndarray or CSR matrix of shape (n, d)
            Finite numbers, as :meth:`~skrdae.detectors.base.BaseTorchDetector.fit` checks.

        Returns
        -------
        LazyRows
            Scaled when they are asked for.
        """
        return LazyRows(X, self.scaler, self.device)

    def map(
        self,
        function: NetworkFunction,
        rows: Rows,
        on_chunk: Callable[[torch.Tensor], object] | None = None,
    ) -> FloatArray:
        """Apply a function to all rows, chunk by chunk.

        Parameters
        ----------
        function : callable
            It takes the network, scaled rows, (n, d), and a
            :class:`~skrdae.networks.workspace.Workspace`, and returns a tensor of shape (K, n, …).
            The methods of a :class:`~skrdae.scorers.base.Scorer` are such functions.
        rows : Rows
        on_chunk : callable, optional
            Called with the result of each chunk, the last of which is filled up with zeros.

        Returns
        -------
        ndarray of shape (K, n, …), float64
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
        """Apply a function as :meth:`map` does, and sum the members' results times `weights`.

        Parameters
        ----------
        function : callable
        rows : Rows

        Returns
        -------
        ndarray of shape (n, …), float64
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
        """Sum results of the members times `weights`: (K, …) → (…)."""
        # Added up one by one: NumPy's sum goes about it differently for one row than for many.
        total = values[0] * self.weights[0]
        for value, weight in zip(values[1:], self.weights[1:], strict=True):
            total += value * weight
        return total

    def votes(self, rows: Rows) -> BoolArray:
        """Return which rows more than half of the members flag: booleans of shape (n,)."""
        scorer: Any = self.scorer  # one that has them
        votes: Any = scorer.votes
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
        """Return the model of some members.

        Parameters
        ----------
        members : LongTensor
            Their places along the member axis.

        Returns
        -------
        FittedModel
            With the `weights` of this one, which do not hold for it: set them.
        """
        network = self.network.select(members.to(self.device))
        return replace(self, network=network, scorer=self.scorer.select(members))

    def to(self, device: torch.device) -> Self:
        """Return the model on a device: a copy if it was on another."""
        network = self.network
        if network.device != device:
            network = copy.deepcopy(network).to(device)
        return replace(self, network=network, scorer=self.scorer.to(device))

    def __getstate__(self) -> dict[str, Any]:
        if "packed" in vars(self):
            return dict(vars(self)["packed"])
        # Nothing of a GPU may be alive in a pickle: it has to load on a machine without one.
        on_cpu = self.to(torch.device("cpu"))
        state = {field.name: getattr(on_cpu, field.name) for field in fields(self)}
        return {**state, "device": str(self.device)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Network and scorer go to their device when they are first asked for. A process that only
        # hands the model on, as one of joblib's may, does not open the GPU for it.
        there = {"network", "scorer", "device"}
        vars(self).update({k: v for k, v in state.items() if k not in there}, packed=state)

    def __getattr__(self, name: str) -> Any:
        state = vars(self).get("packed")
        if name in vars(self):  # another thread has just been here
            return vars(self)[name]
        if state is None or name not in ("network", "scorer"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        network, device = state["network"], device_if_there(state["device"])
        if network.device != device:
            network = copy.deepcopy(network).to(device)
        vars(self).update(network=network, scorer=state["scorer"].to(device))
        vars(self).pop("packed", None)
        found: Any = vars(self)[name]
        return found


def member_weights(scores: FloatArray) -> FloatArray:
    """Return the weights with which the members' scores add up to the score of a row.

    Each member's scores are divided by their median, which a far outlier does not move. The
    average over the members is multiplied by the mean of the medians, so that it has their units.

    Parameters
    ----------
    scores : ndarray of shape (K, n)
        Of the training rows.

    Returns
    -------
    ndarray of shape (K,)

    Examples
    --------
    >>> import numpy as np
    >>> from skrdae.model import member_weights
    >>> scores = np.array([[1.0, 2.0, 9.0], [10.0, 20.0, 60.0]])
    >>> weights = member_weights(scores)
    >>> (weights @ scores).tolist()
    [5.5, 11.0, 41.25]
    """
    medians = np.median(scores, axis=1)
    medians[medians == 0] = 1.0
    return medians.mean() / medians / len(medians)
