"""Scaled rows, whatever X is: an array, a file mapped into memory, a CSR matrix, a GPU's memory.

Training and scoring take rows from here and never ask what X is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import issparse

from skrdae._memory import is_mapped, matrix, take_rows
from skrdae._parallel import in_parallel
from skrdae._typing import FloatRows, FloatRowsOrSparse, IntArray
from skrdae.preprocessing import ColumnScaler

# Values that are scaled and moved to the device at once, and of how many rows the number is a
# multiple: on a CPU, on another device, and of a sparse matrix.
_BLOCK, _BLOCK_ROWS, _SPARSE_ROWS = 2**22, (2**12, 2**14), 2**8
# Values that a thread copies at once.
_PIECE = 2**20
#: Rows of a sparse matrix that a pass over all of them makes dense at once.
SPARSE_PART = 256

#: Makes of rows, (n, d), what members see of them.
RowChange: TypeAlias = Callable[[torch.Tensor], torch.Tensor]


class Rows(ABC):
    """The scaled rows of X, float32, however X is stored.

    Attributes
    ----------
    shape : tuple of int
        (n, d), the rows and the features.
    device : torch.device
        Where :meth:`take` and :meth:`blocks` return them.

    Examples
    --------
    >>> import torch
    >>> from skrdae.rows import HeldRows
    >>> rows = HeldRows(torch.arange(6.0).reshape(3, 2))
    >>> rows.shape, rows.range()
    ((3, 2), (0.0, 5.0))
    >>> rows.take(torch.tensor([2, 0])).tolist()
    [[4.0, 5.0], [0.0, 1.0]]
    >>> two_members = rows.of_members(torch.tensor([[0, 1], [1, 2]]), 2)
    >>> two_members.shape
    (2, 2, 2)
    """

    shape: tuple[int, int]
    device: torch.device
    #: Whether X is a sparse matrix, of which a few rows are made dense at a time.
    sparse = False

    def __len__(self) -> int:
        return self.shape[0]

    @abstractmethod
    def take(self, places: torch.Tensor | slice) -> torch.Tensor:
        """Return some rows.

        Parameters
        ----------
        places : LongTensor or slice
            Numbers of the rows.

        Returns
        -------
        Tensor of shape (n, d)
            Not to be changed: it may be a view.
        """

    @abstractmethod
    def blocks(self) -> Iterator[torch.Tensor]:
        """Yield all rows in turn, in blocks of shape (n, d) that fit into memory."""

    @abstractmethod
    def range(self) -> tuple[float, float]:
        """Return the smallest and the largest value."""

    @abstractmethod
    def of_members(
        self,
        places: torch.Tensor | None,
        n_members: int,
        change: RowChange | None = None,
    ) -> MemberRows:
        """Return the rows that each member of an ensemble is trained on.

        Parameters
        ----------
        places : LongTensor of shape (K, n), or None
            Numbers of each member's rows; None gives all rows to every member.
        n_members : int
            K.
        change : callable, optional
            A function of rows, (n, d), that returns what the members see instead. It must not
            change its argument.

        Returns
        -------
        MemberRows
        """


class HeldRows(Rows):
    """Rows that are in one tensor.

    Parameters
    ----------
    tensor : Tensor of shape (n, d), float32
    """

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor
        self.shape, self.device = (tensor.shape[0], tensor.shape[1]), tensor.device

    def take(self, places: torch.Tensor | slice) -> torch.Tensor:
        return self.tensor[places if isinstance(places, slice) else places.to(self.device)]

    def blocks(self) -> Iterator[torch.Tensor]:
        yield self.tensor

    def range(self) -> tuple[float, float]:
        return float(self.tensor.min()), float(self.tensor.max())

    def of_members(
        self,
        places: torch.Tensor | None,
        n_members: int,
        change: RowChange | None = None,
    ) -> HeldMemberRows:
        if places is None:
            data = self.tensor if change is None else change(self.tensor)
            return HeldMemberRows(data.expand(n_members, -1, -1))
        data = take_rows(self.tensor, places.flatten().to(self.device))
        data = data if change is None else change(data)
        return HeldMemberRows(data.view(*places.shape, data.shape[1]))


class LazyRows(Rows):
    """Rows that are made dense, scaled and moved to the device when they are asked for.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, d)
        Not scaled.
    scaler : ColumnScaler
        Fitted.
    device : torch.device
    """

    def __init__(self, X: FloatRowsOrSparse, scaler: ColumnScaler, device: torch.device) -> None:
        self._X, self._scaler, self.sparse = X, scaler, issparse(X)
        self.shape, self.device = (X.shape[0], X.shape[1]), device

    def take(self, places: torch.Tensor | slice) -> torch.Tensor:
        rows = dense(self._X[places if isinstance(places, slice) else places.numpy()])
        if self.device.type != "cuda":
            return torch.from_numpy(self._scaler.transform(rows)).to(self.device)
        # From memory that the device reads itself, while this thread goes on.
        kind = torch.float32 if rows.dtype == np.float32 else torch.float64
        pinned = torch.empty(rows.shape, dtype=kind, device="cpu", pin_memory=True)
        in_parallel(lambda part: np.copyto(part[1], part[0]), _pieces(rows, pinned.numpy()))
        return self._scaler.transform_on(pinned.to(self.device, non_blocking=True))

    def blocks(self) -> Iterator[torch.Tensor]:
        multiple = _SPARSE_ROWS if self.sparse else _BLOCK_ROWS[self.device.type != "cpu"]
        size = max(1, _BLOCK // (self.shape[1] * multiple)) * multiple
        for start in range(0, len(self), size):
            yield self.take(slice(start, start + size))

    def range(self) -> tuple[float, float]:
        size = SPARSE_PART if self.sparse else len(self)
        parts = (self.take(slice(i, i + size)) for i in range(0, len(self), size))
        ends = [(float(part.min()), float(part.max())) for part in parts]
        return min(low for low, _ in ends), max(high for _, high in ends)

    def of_members(
        self,
        places: torch.Tensor | None,
        n_members: int,
        change: RowChange | None = None,
    ) -> MemberRows:
        if self.sparse:
            return LazyMemberRows(self, places, n_members, change)
        if places is None:
            return HeldRows(self.take(slice(None))).of_members(None, n_members, change)
        data = self.take(places.flatten())
        data = data if change is None else change(data)
        return HeldMemberRows(data.view(*places.shape, data.shape[1]))


def _pieces(rows: FloatRows, out: NDArray[Any]) -> list[tuple[FloatRows, NDArray[Any]]]:
    """Return pairs of parts of two arrays, a few MB each."""
    size = max(1, _PIECE // rows.shape[1])
    return [(rows[i : i + size], out[i : i + size]) for i in range(0, len(rows), size)]


def dense(X: Any) -> FloatRows:
    """Return rows that may be sparse as an array."""
    return X.toarray() if issparse(X) else X


def training_rows(X: FloatRowsOrSparse, scaler: ColumnScaler, device: torch.device) -> Rows:
    """Return the rows to train on.

    On a CPU they are held in memory, or in a temporary file if X is a file mapped into memory. A
    sparse X, and one for a GPU, is scaled when rows are asked for.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, d)
        Not scaled.
    scaler : ColumnScaler
        Fitted.
    device : torch.device

    Returns
    -------
    Rows

    Raises
    ------
    ValueError
        If X is sparse and the device is not the CPU.
    """
    if issparse(X):
        if device.type != "cpu":
            raise ValueError("A sparse X is trained on by the CPU: set device='cpu'.")
        return LazyRows(X, scaler, device)
    if device.type != "cpu":
        return LazyRows(X, scaler, device)  # of which members may need a part only
    mapped = is_mapped(X)
    ready = scaler.method is None and X.dtype == np.float32 and X.flags.c_contiguous
    # An axis of one row or column may have any stride, and torch takes none that is negative.
    ready = ready and min(X.strides) > 0
    if ready and X.flags.writeable and not mapped:  # which torch insists on
        return HeldRows(torch.from_numpy(X))  # only ever read
    data = matrix(X.shape, mapped=mapped)
    scaler.transform(X, out=data.numpy())
    return HeldRows(data)


# ------------------------------------------------------------------------- rows of each member


class Share(NamedTuple):
    """A part of one member's epoch.

    Attributes
    ----------
    rows : ndarray of shape (n, d), float32
    order : ndarray of int64
        The numbers of the rows, in the order in which they are shown.
    n_batches : int
        The batches of this part, to which the order is dealt out evenly.
    first, n_done : int
        How many rows and batches of the epoch come before this part.
    """

    rows: NDArray[np.float32]
    order: IntArray
    n_batches: int
    first: int
    n_done: int


class MemberRows(ABC):
    """The rows that each of K members is trained on; made by :meth:`Rows.of_members`.

    Attributes
    ----------
    shape : tuple of int
        (K, n, d).
    device : torch.device
    """

    shape: tuple[int, int, int]
    device: torch.device

    @abstractmethod
    def shares(self, member: int, order: IntArray, n_batches: int) -> Iterator[Share]:
        """Yield an epoch of one member in parts, for kernels on a CPU.

        Rows in memory are one part; a sparse matrix gives one for each batch.

        Parameters
        ----------
        member : int
        order : ndarray of shape (n,), int64
            In which the rows are shown.
        n_batches : int
            To which the order is dealt out evenly.

        Yields
        ------
        Share
        """

    @abstractmethod
    def parts(self, most_rows: int) -> Iterator[torch.Tensor]:
        """Yield all rows in turn, a few of them at a time.

        Parameters
        ----------
        most_rows : int
            Largest n of a part; of a sparse matrix a part may have fewer rows.

        Yields
        ------
        Tensor of shape (K, n, d)
            Or (1, n, d) if all members see the same rows.
        """


class HeldMemberRows(MemberRows):
    """Rows of members that are in one tensor.

    Parameters
    ----------
    tensor : Tensor of shape (K, n, d)
        An expanded view if all members see the same rows.
    """

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor
        n_members, n_rows, n_features = tensor.shape
        self.shape, self.device = (n_members, n_rows, n_features), tensor.device

    def shares(self, member: int, order: IntArray, n_batches: int) -> Iterator[Share]:
        yield Share(self.tensor[member].numpy(), order, n_batches, 0, 0)

    def parts(self, most_rows: int) -> Iterator[torch.Tensor]:
        yield from torch.split(self.tensor, most_rows, dim=1)


class LazyMemberRows(MemberRows):
    """Rows of members that are made when they are asked for; see :meth:`Rows.of_members`."""

    def __init__(
        self,
        rows: LazyRows,
        places: torch.Tensor | None,
        n_members: int,
        change: RowChange | None = None,
    ) -> None:
        self.rows, self.places, self._change = rows, places, change
        n_rows = len(rows) if places is None else places.shape[1]
        self.shape, self.device = (n_members, n_rows, rows.shape[1]), rows.device

    def member(self, k: int) -> LazyMemberRows:
        """Return the rows of one member."""
        places = None if self.places is None else self.places[k : k + 1]
        return LazyMemberRows(self.rows, places, 1, self._change)

    def take(self, k: int, places: torch.Tensor | slice) -> torch.Tensor:
        """Return some rows of a member, (n, d)."""
        found = self.rows.take(places if self.places is None else self.places[k][places])
        return found if self._change is None else self._change(found)

    def shares(self, member: int, order: IntArray, n_batches: int) -> Iterator[Share]:
        first = 0
        for number, batch in enumerate(np.array_split(order, n_batches)):
            rows = self.take(member, torch.from_numpy(batch)).numpy()
            yield Share(rows, np.arange(len(batch)), 1, first, number)
            first += len(batch)

    def parts(self, most_rows: int) -> Iterator[torch.Tensor]:
        n_members = 1 if self.places is None else self.shape[0]
        size = max(1, SPARSE_PART // n_members)
        for start in range(0, self.shape[1], size):
            places = slice(start, start + size)
            yield torch.stack([self.take(k, places) for k in range(n_members)])
