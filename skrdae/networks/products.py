"""Stacked matrix products whose slices do not depend on how many are stacked."""

import functools

import torch

# From this many multiplications on, a product is worth a call of its own.
_LARGE = 2**20
# Below it torch's bmm uses a plain loop, for one matrix as for many.
_TINY = 400
# Up to this inner dimension, batched and single kernels add up in the same order.
_SHORT = 256


def member_matmul(a, b, out=None):
    """Multiply matrices member by member: (K, m, k) @ (K, k, n) → (K, m, n).

    Each slice is equal, to the last bit, to the same product made alone. A BLAS may split a
    long inner dimension, or treat a vector, otherwise in a batched call than in a single one;
    products of such shapes, and large ones, which gain nothing from batching, are made one
    after another.
    """
    n_members, rows, inner = a.shape
    columns = b.shape[2]
    if a.device.type != "cpu" or _batches(n_members, rows, inner, columns):
        return torch.bmm(a, b, out=out)
    if out is None:
        out = a.new_empty(n_members, rows, columns)
    for k in range(n_members):
        if rows == 1 or columns == 1:
            # How a vector product adds up depends on where its result lies in memory, unless
            # that is at the start of a block of its own.
            out[k] = torch.mm(a[k], b[k])
        else:
            torch.mm(a[k], b[k], out=out[k])
    return out


@functools.lru_cache(maxsize=4096)
def _batches(n_members, rows, inner, columns):
    """Whether a CPU's batched product of these shapes is that of its slices."""
    size = rows * inner * columns
    if size < _TINY:
        return True
    if rows == 1 or columns == 1:
        return False
    return n_members == 1 or (inner <= _SHORT and size < _LARGE)
