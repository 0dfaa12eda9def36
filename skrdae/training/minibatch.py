"""Passes over rows: shuffled minibatches for training, chunks of one size for everything else."""

import torch

#: Rows a scoring chunk holds. Every forward pass of a fitted network sees this shape and no
#: other, because a matrix product's last bits depend on its shape: this is what makes a row's
#: score independent of the rows scored with it. Small, so that a single row stays cheap.
CHUNK_ROWS = 64

#: Rows a training pass outside the minibatches takes at once, to bound its memory.
PASS_ROWS = 8192


def map_chunks(function, data):
    """Apply a row-wise function to data in chunks of ``CHUNK_ROWS`` rows.

    Parameters
    ----------
    function : callable
        Takes a (CHUNK_ROWS, d) tensor and returns a tensor, or a tuple of tensors, with the rows
        on axis -2 if there are three axes, else on axis -1. Rows must not influence each other.
    data : Tensor of shape (n, d)
        The last chunk is filled up with zeros, whose results are cut off.

    Returns
    -------
    Tensor or tuple of Tensor
        The results for all n rows, on the CPU.
    """
    n_rows = data.shape[0]
    pieces = []
    for start in range(0, n_rows, CHUNK_ROWS):
        chunk = data[start : start + CHUNK_ROWS]
        n_real = chunk.shape[0]
        if n_real < CHUNK_ROWS:
            chunk = torch.cat([chunk, chunk.new_zeros(CHUNK_ROWS - n_real, data.shape[1])])
        results = function(chunk)
        single = isinstance(results, torch.Tensor)
        results = (results,) if single else results
        pieces.append([_rows(r, n_real).cpu() for r in results])
    joined = tuple(torch.cat(p, dim=_row_axis(p[0])) for p in zip(*pieces, strict=True))
    return joined[0] if single else joined


def _row_axis(result):
    return -2 if result.dim() == 3 else -1


def _rows(result, n):
    return result.narrow(_row_axis(result), 0, n)


def shuffled_batches(n_rows, batch_size, generators, device):
    """Yield the batches of one epoch, each a LongTensor of shape (K, rows of the batch).

    Every member has an order of its own. The rows are dealt out evenly, so that no batch is
    much smaller than the others and none is dropped.
    """
    orders = torch.stack([torch.randperm(n_rows, generator=g) for g in generators]).to(device)
    n_batches = -(-n_rows // batch_size)
    return orders.tensor_split(n_batches, dim=1)


def gather(data, batch):
    """Return each member's rows of a batch: data (K, n, d), batch (K, m) → (K, m, d)."""
    n_members, n_rows, n_features = data.shape
    if n_members == 1:
        return data[0].index_select(0, batch[0])[None]
    offsets = torch.arange(n_members, device=batch.device).mul_(n_rows)[:, None]
    flat = (batch + offsets).view(-1)
    return data.reshape(-1, n_features).index_select(0, flat).view(n_members, -1, n_features)


def train_epochs(network, optimiser, data, *, n_epochs, batch_size, generators):
    """Train every member to reconstruct its own rows by least squares.

    Parameters
    ----------
    network : MemberMLP
        Changed in place.
    optimiser : MemberAdam
        Of this network.
    data : Tensor of shape (K, n, d)
        What to reconstruct.
    n_epochs, batch_size : int
    generators : list of K torch.Generator
        Give each member's order of rows.
    """
    weight_grads = optimiser.grad_of(network.weights)
    bias_grads = optimiser.grad_of(network.biases)
    for _ in range(n_epochs):
        for batch in shuffled_batches(data.shape[1], batch_size, generators, data.device):
            x = gather(data, batch)
            values = network.values(x)
            # Gradient of the squared error of a row, averaged over the rows.
            grad = (values[-1] - x).mul_(2 / x.shape[1])
            network.backward_from(values, grad, weight_grads, bias_grads)
            optimiser.step()
