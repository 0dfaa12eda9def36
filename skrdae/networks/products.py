"""Stacked matrix products whose entries do not depend on what they are computed with."""

from __future__ import annotations

import functools

import torch
from torch.nn.functional import pad

# From this many multiplications on, a product is worth a call of its own.
_LARGE = 2**20
# Below it torch's bmm uses a plain loop, for one matrix as for many.
_TINY = 400
# Up to this inner dimension, batched and single kernels add up in the same order.
_SHORT = 256
# Rows of a matrix start at multiples of this many numbers, and products of few rows have a
# multiple of it. A BLAS treats what is not aligned, or left over from its blocks, by other kernels,
# which add up in another order. On some processors; on others it would not be needed.
_ALIGNMENT = 4
_FEW_ROWS = 12


def member_matmul(
    a: torch.Tensor, b: torch.Tensor, out: torch.Tensor | None = None
) -> torch.Tensor:
    """Multiply matrices member by member: (K, m, k) @ (K, k, n) → (K, m, n).

    On a CPU each slice is equal, to the last bit, to the same product made alone, and each row to
    the same row in another place, if the operands start at multiples of 16 bytes and not both are
    transposed. Shapes that a BLAS would treat otherwise are filled up with zeros. Products with a
    long inner dimension, which it may split in a single call, and large ones, which gain nothing
    from batching, are made one after another.
    """
    if a.device.type != "cpu":
        return torch.bmm(a, b, out=out)
    n_members, rows, inner = a.shape
    columns = b.shape[2]
    batches, more_rows, more_columns, turns = _plan(n_members, rows, inner, columns)
    if turns and not more_columns:
        b = b.contiguous()
    if not (more_rows or more_columns):
        return _multiply(a, b, out, batches)
    if more_rows:
        a = pad(a, (0, 0, 0, more_rows))
    if more_columns:
        b = pad(b, (0, more_columns))
    if out is None:
        out = a.new_empty(n_members, rows, columns)
    return out.copy_(_multiply(a, b, None, batches)[:, :rows, :columns])


def _multiply(
    a: torch.Tensor, b: torch.Tensor, out: torch.Tensor | None, batches: bool
) -> torch.Tensor:
    if batches:
        return torch.bmm(a, b, out=out)
    if out is None:
        out = a.new_empty(len(a), a.shape[1], b.shape[2])
    for k in range(len(a)):
        torch.mm(a[k], b[k], out=out[k])
    return out


@functools.lru_cache(maxsize=4096)
def _plan(n_members: int, rows: int, inner: int, columns: int) -> tuple[bool, int, int, bool]:
    """Return how to multiply matrices of these shapes.

    Returns
    -------
    batches : bool
        Whether the batched product is that of its slices.
    more_rows, more_columns : int
        How much to fill up.
    turns : bool
        Whether the right-hand matrix has to lie in memory by rows.
    """
    size = rows * inner * columns
    if size < _TINY:
        return True, 0, 0, False
    more_rows = -rows % _ALIGNMENT if rows < _FEW_ROWS else 0
    batches = n_members == 1 or (inner <= _SHORT and size < _LARGE)
    return batches, more_rows, -columns % _ALIGNMENT, inner % _ALIGNMENT != 0
