"""Functions of rows, applied to chunks of one size."""

from __future__ import annotations

import torch

from skrdae._parallel import in_parallel
from skrdae.networks.workspace import RowFunction, Workspace

#: The rows of a chunk are a multiple of this; the last one is filled up. The last bits of matrix
#: products and of vectorised functions depend on shapes. With one shape for all chunks, a row's
#: score does not depend on the rows scored with it. It is small, so that a single row is cheap.
CHUNK_ROWS = 64
#: The most rows of a chunk if products do not depend on shapes.
LARGE_CHUNK_ROWS = 256
#: The same on a GPU, where a chunk costs a round of kernel launches, whatever its size.
GPU_CHUNK_ROWS = 2**14


def map_chunks(
    function: RowFunction, data: torch.Tensor, *, rows_independent: bool = False
) -> torch.Tensor:
    """Apply a function to rows, chunk by chunk.

    Parameters
    ----------
    function : callable
        Takes the data of a chunk and a :class:`~skrdae.networks.workspace.Workspace`, and returns a
        tensor of shape (K, n, …). Rows must not influence each other.
    data : Tensor of shape (…, n, d)
        The last chunk is filled up with zeros, whose results are cut off.
    rows_independent : bool, default=False
        Whether the function's products do not depend on the number of rows. Then chunks on a CPU
        are larger if there are enough rows, and all of torch's threads work, each on chunks of its
        own.

    Returns
    -------
    Tensor of shape (K, n, …)
        The results for all rows.
    """
    n_rows = data.shape[-2]
    if data.device.type != "cpu" or not rows_independent:
        size = CHUNK_ROWS if data.device.type == "cpu" else GPU_CHUNK_ROWS
        return _map_part(function, data, size)
    # One thread each, because how torch shares an operation out depends on its size, and the last
    # bits on that.
    n_parts = min(torch.get_num_threads(), -(-n_rows // LARGE_CHUNK_ROWS))
    rows = -(-n_rows // (n_parts * LARGE_CHUNK_ROWS)) * LARGE_CHUNK_ROWS
    parts = torch.split(data, rows, dim=-2)
    return torch.cat(in_parallel(lambda part: _map_part(function, part), parts), dim=1)


def _map_part(function: RowFunction, data: torch.Tensor, size: int | None = None) -> torch.Tensor:
    workspace = Workspace(data.device)
    n_rows, start, pieces = data.shape[-2], 0, []
    with torch.no_grad():  # a thread's own affair
        while start < n_rows:
            left = n_rows - start
            size_here = size or min(-(-left // CHUNK_ROWS) * CHUNK_ROWS, LARGE_CHUNK_ROWS)
            chunk = data[..., start : start + size_here, :]
            n_real = chunk.shape[-2]
            workspace.n_used = n_real
            if n_real < size_here:
                shape = (*chunk.shape[:-2], size_here - n_real, chunk.shape[-1])
                chunk = torch.cat([chunk, chunk.new_zeros(shape)], dim=-2)
            # Copied, because the function may write its next result to the same place.
            pieces.append(function(chunk, workspace)[:, :n_real].clone())
            start += n_real
    return torch.cat(pieces, dim=1)
