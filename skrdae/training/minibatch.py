"""Passes over rows: shuffled minibatches for training, chunks of one size for everything else."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from skrdae._parallel import in_parallel, one_blas_thread
from skrdae._typing import IntArray
from skrdae.networks.compiled import Layers
from skrdae.networks.mlp import MemberAutoencoder, MemberMLP
from skrdae.networks.recurrent import MemberRecurrentAutoencoder
from skrdae.networks.workspace import RowFunction, Workspace
from skrdae.training.adam import MemberAdam
from skrdae.training.compiled import Adam, learn_piece, move, spaces_for, train_autoencoder

#: The rows of a chunk are a multiple of this, the last one filled up. A matrix product's last bits,
#: and those of functions that are vectorised, depend on shapes; that forward passes see one of them
#: only is what makes a row's score independent of the rows scored with it. Small, so that a single
#: row is cheap.
CHUNK_ROWS = 64
#: The most rows of a chunk, where products do not depend on shapes.
LARGE_CHUNK_ROWS = 256
#: The same on a GPU, where a chunk costs a round of kernel launches, whatever its size.
GPU_CHUNK_ROWS = 4096

# Multiplications in a batch's largest product from which on it is split, rows of a piece, and the
# most pieces, because each has gradients of its own.
_LARGE, _PIECE_ROWS, _MOST_PIECES = 2**21, 128, 16


def map_chunks(
    function: RowFunction,
    data: torch.Tensor,
    *,
    apart: bool = False,
) -> torch.Tensor:
    """Apply a row-wise function to data in chunks of one size.

    Parameters
    ----------
    function : callable
        Takes the data of a chunk and a :class:`~skrdae.networks.workspace.Workspace`, and returns a
        tensor with the rows on axis 1. Rows must not influence each other.
    data : Tensor of shape (…, n, d)
        The last chunk is filled up with zeros, whose results are cut off.
    apart : bool, default=False
        On a CPU, whether chunks are larger where there are enough rows, and worked on by all of
        torch's threads, each on chunks of its own. For functions whose products do not depend on
        the number of rows.

    Returns
    -------
    Tensor of shape (K, n, …)
        The results for all rows.
    """
    n_rows = data.shape[-2]
    if data.device.type != "cpu" or not apart:
        size = CHUNK_ROWS if data.device.type == "cpu" else GPU_CHUNK_ROWS
        return _map_part(function, data, size)
    # One thread each, because how torch shares an operation out depends on its size, and the last
    # bits on that.
    n_parts = min(torch.get_num_threads(), -(-n_rows // LARGE_CHUNK_ROWS))
    rows = -(-n_rows // (n_parts * LARGE_CHUNK_ROWS)) * LARGE_CHUNK_ROWS
    parts = torch.split(data, rows, dim=-2)
    return torch.cat(in_parallel(lambda part: _map_part(function, part), parts), dim=1)


def _map_part(
    function: RowFunction,
    data: torch.Tensor,
    size: int | None = None,
) -> torch.Tensor:
    workspace = Workspace(data.device)
    n_rows, start, pieces = data.shape[-2], 0, []
    with torch.no_grad():  # a thread's own affair
        while start < n_rows:
            left = n_rows - start
            size_here = size or min(-(-left // CHUNK_ROWS) * CHUNK_ROWS, LARGE_CHUNK_ROWS)
            chunk = data[..., start : start + size_here, :]
            n_real = chunk.shape[-2]
            if n_real < size_here:
                shape = (*chunk.shape[:-2], size_here - n_real, chunk.shape[-1])
                chunk = torch.cat([chunk, chunk.new_zeros(shape)], dim=-2)
            # Copied, because the function may write its next result to the same place.
            pieces.append(function(chunk, workspace)[:, :n_real].clone())
            start += n_real
    return torch.cat(pieces, dim=1)


def shuffled_batches(
    n_rows: int, batch_size: int, generators: Sequence[torch.Generator], device: torch.device
) -> Sequence[torch.Tensor]:
    """Yield the batches of one epoch, each a LongTensor of shape (K, rows of the batch).

    Every member has an order of its own. The rows are dealt out evenly, so that no batch is
    much smaller than the others and none is dropped.
    """
    orders = [torch.randperm(n_rows, generator=g, device="cpu") for g in generators]
    n_batches = -(-n_rows // batch_size)
    return torch.stack(orders).to(device).tensor_split(n_batches, dim=1)


def gather(
    data: torch.Tensor, batch: torch.Tensor, out: torch.Tensor | None = None
) -> torch.Tensor:
    """Return each member's rows of a batch: data (K, n, d), batch (K, m) → (K, m, d).

    `data` is one matrix that all members see, expanded, or lies in one piece.
    """
    n_members, n_rows, width = data.shape
    if out is None:
        out = data.new_empty(*batch.shape, width)
    elif not out.is_contiguous():
        return out.copy_(gather(data, batch))
    # As rows of one matrix, because a call a member takes several times as long.
    if n_members == 1 or data.stride(0) == 0:
        rows, places = data[0], batch
    else:
        starts = torch.arange(n_members, device=data.device).mul_(n_rows).unsqueeze(1)
        rows, places = data.view(-1, width), batch + starts
    torch.index_select(rows, 0, places.reshape(-1), out=out.view(-1, width))
    return out


def normal(generators: Sequence[torch.Generator], out: torch.Tensor) -> torch.Tensor:
    """Fill `out`, of shape (K, …), with normal numbers, each member's from its own generator."""
    if out.device.type == "cpu":
        for k, generator in enumerate(generators):
            torch.randn(
                out.shape[1:], generator=generator, dtype=out.dtype, device="cpu", out=out[k]
            )
        return out
    shape, dtype = out.shape[1:], out.dtype
    drawn = [torch.randn(shape, generator=g, dtype=dtype, device="cpu") for g in generators]
    # Not blocking: the device need not have finished what it was given before.
    return out.copy_(torch.stack(drawn), non_blocking=True)


def train_epochs(
    network: MemberAutoencoder | MemberRecurrentAutoencoder,
    optimiser: MemberAdam,
    data: torch.Tensor,
    *,
    bound: float,
    n_epochs: int,
    batch_size: int,
    generators: Sequence[torch.Generator],
    workspace: Workspace,
) -> None:
    """Train every member to reconstruct its own rows by least squares.

    Parameters
    ----------
    network : MemberAutoencoder
        Changed in place.
    optimiser : MemberAdam
        Of this network.
    data : Tensor of shape (K, n, d)
        What to reconstruct.
    bound : float
        Values beyond ±bound are clipped, as input and as target.
    n_epochs, batch_size : int
    generators : list of K torch.Generator
        Give each member's order of rows.
    workspace : Workspace
    """
    options = optimiser, data, bound, n_epochs, batch_size, generators, workspace
    if data.device.type == "cpu" and isinstance(network, MemberMLP):
        _train_compiled(network, *options)
    else:
        _train_stacked(network, *options)


def _train_stacked(
    network: MemberAutoencoder | MemberRecurrentAutoencoder,
    optimiser: MemberAdam,
    data: torch.Tensor,
    bound: float,
    n_epochs: int,
    batch_size: int,
    generators: Sequence[torch.Generator],
    workspace: Workspace,
) -> None:
    grads = optimiser.grads_of(network)
    clips = bool(data.amax() > bound) or bool(data.amin() < -bound)
    for _ in range(n_epochs):
        for batch in shuffled_batches(data.shape[1], batch_size, generators, data.device):
            shape = (*batch.shape, data.shape[2])
            x = gather(data, batch, out=workspace.take("batch", *shape))
            if clips:
                x.clamp_(-bound, bound)
            network.error_gradient(x, grads, workspace)
            optimiser.step()


def _train_compiled(
    network: MemberMLP,
    optimiser: MemberAdam,
    data: torch.Tensor,
    bound: float,
    n_epochs: int,
    batch_size: int,
    generators: Sequence[torch.Generator],
    workspace: Workspace,
) -> None:
    n_rows = data.shape[1]
    n_batches = -(-n_rows // batch_size)
    rows, limit = data.numpy(), np.float32(bound)
    widest = max(weight[0].numel() for weight in network.weights)
    n_pieces = pieces(-(-n_rows // n_batches), widest)
    members = optimiser.compiled(network, n_pieces)
    # With one member alone there is nothing else for other threads to do.
    learn = learn_in_pieces if n_pieces > 1 and len(members) == 1 else train_autoencoder

    def train(k: int) -> None:
        adam, layers = members[k]
        for epoch in range(n_epochs):
            order = torch.randperm(n_rows, generator=generators[k], device="cpu").numpy()
            state = adam._replace(n_done=adam.n_done + epoch * n_batches)
            learn(state, layers, rows[k], order, n_batches, limit)

    with one_blas_thread:
        if learn is learn_in_pieces:
            train(0)
        else:
            in_parallel(train, range(len(members)))
    optimiser.count(n_epochs * n_batches)


def pieces(n_rows: int, n_weights: int) -> int:
    """Return into how many pieces a batch is split.

    Large ones are, so that threads can share the work on a single network. The number must not
    depend on that of threads or members, because the sum of the gradients does on it.
    """
    return min(-(-n_rows // _PIECE_ROWS), _MOST_PIECES) if n_rows * n_weights >= _LARGE else 1


def learn_in_pieces(
    adam: Adam,
    layers: Layers,
    data: NDArray[np.float32],
    order: IntArray,
    n_batches: int,
    bound: np.float32,
) -> None:
    """Do what train_autoencoder does for one member alone, the pieces of a batch side by side."""
    batches = np.array_split(order, n_batches)
    spaces = spaces_for(adam, layers, len(batches[0]))
    for batch, rows in enumerate(batches):
        learn = functools.partial(learn_piece, adam, layers, data, rows, bound, spaces)
        in_parallel(learn, range(len(spaces)))
        # Not by parts: it takes no longer than waiting for several threads.
        move(adam, 0, len(adam.values), adam.n_done + batch + 1)
