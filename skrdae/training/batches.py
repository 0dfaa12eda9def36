"""The minibatches of an epoch: orders and noise, drawn at once, and the rows of a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def n_batches_of(n_rows: int, batch_size: int) -> int:
    """Return how many batches an epoch has; the rows are dealt out to them evenly."""
    return -(-n_rows // batch_size)


def draw_order(
    generator: torch.Generator, n_rows: int, out: torch.Tensor | None = None
) -> torch.Tensor:
    """Draw the order in which a member sees its rows in an epoch."""
    return torch.randperm(n_rows, generator=generator, device="cpu", out=out)


def draw_noise(
    generator: torch.Generator,
    n_rows: int,
    n_batches: int,
    size: int,
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """Draw normal numbers for a member's epoch, (n_rows, size), batch by batch."""
    noise = torch.empty(n_rows, size, dtype=torch.float32, device="cpu") if out is None else out
    for part in noise.tensor_split(n_batches) if size else ():
        torch.randn(part.shape, generator=generator, dtype=torch.float32, device="cpu", out=part)
    return noise


def sizes_of(n_rows: int, n_batches: int) -> list[int]:
    """Return how many rows each batch of an epoch has: no two differ by more than one."""
    size, more = divmod(n_rows, n_batches)
    return [size + (batch < more) for batch in range(n_batches)]


def draw_epoch(
    generators: Sequence[torch.Generator], n_rows: int, n_batches: int, noise_size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw what an epoch needs.

    Returns
    -------
    orders : LongTensor of shape (K, n_rows)
        In which every member sees its rows.
    noise : Tensor of shape (K, n_rows, noise_size)
        Standard normal.
    """
    n_members = len(generators)
    orders = torch.empty(n_members, n_rows, dtype=torch.int64, device="cpu")
    noise = torch.empty(n_members, n_rows, noise_size, dtype=torch.float32, device="cpu")
    for generator, order, drawn in zip(generators, orders, noise, strict=True):
        draw_order(generator, n_rows, order)
        draw_noise(generator, n_rows, n_batches, noise_size, drawn)
    return orders, noise


def same_generator(generator: torch.Generator) -> torch.Generator:
    """Return a generator that will draw the same numbers."""
    other = torch.Generator(device="cpu")
    other.set_state(generator.get_state())
    return other


class DrawnAhead:
    """What :func:`draw_epoch` will return, drawn before it is asked for.

    Parameters
    ----------
    generators : list of K torch.Generator
        They stay as they are until :meth:`take`.
    n_rows, n_batches, noise_size : int
    """

    def __init__(self, generators: Sequence[torch.Generator], *sizes: int) -> None:
        self._before, self._sizes = [g.get_state() for g in generators], sizes
        copies = [same_generator(g) for g in generators]
        self._epoch = draw_epoch(copies, *sizes)
        self._after = [g.get_state() for g in copies]

    def take(
        self, generators: Sequence[torch.Generator], *sizes: int
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Return what was drawn if the generators would draw it now, and move them on."""
        states = [g.get_state() for g in generators]
        if sizes != self._sizes or len(states) != len(self._before):
            return None
        if not all(map(torch.equal, states, self._before)):
            return None
        for generator, state in zip(generators, self._after, strict=True):
            generator.set_state(state)
        return self._epoch


def gather(
    data: torch.Tensor, batch: torch.Tensor, out: torch.Tensor | None = None
) -> torch.Tensor:
    """Return each member's rows of a batch: data (K, n, d), batch (K, m) → (K, m, d).

    `data` is one matrix that all members see, expanded, or lies in one piece.
    """
    n_members, n_rows, width = data.shape
    if out is None:
        out = data.new_empty(*batch.shape, width)
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
    shape, dtype = out.shape[1:], out.dtype
    drawn = [torch.randn(shape, generator=g, dtype=dtype, device="cpu") for g in generators]
    return out.copy_(torch.stack(drawn))
