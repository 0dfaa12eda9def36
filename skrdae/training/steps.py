"""The steps of an epoch: launched one by one, or captured as CUDA graphs."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from skrdae.rows import HeldMemberRows, MemberRows
from skrdae.training.batches import gather
from skrdae.training.kernels.registry import Step

if TYPE_CHECKING:
    from skrdae.training.trainer import Trainer

# Steps launched one by one before a capture, for libraries to set themselves up in, and as many as
# a training has to have ahead for a capture to be worth its time.
_WARM_UP, _WORTH_IT = 3, 24


class EagerSteps:
    """Steps whose operations are launched one by one.

    Parameters
    ----------
    trainer : Trainer
    rows : MemberRows
    step : callable
        See :data:`~skrdae.training.kernels.registry.Step`.
    """

    def __init__(self, trainer: Trainer, rows: MemberRows, step: Step) -> None:
        self.rows, self._trainer, self._step = rows, trainer, step

    def epoch(
        self, orders: torch.Tensor, noise: torch.Tensor, sizes: Sequence[int]
    ) -> torch.Tensor | None:
        """Make the steps of an epoch; return the measures added up, (n_measures, K), if any.

        Parameters
        ----------
        orders : LongTensor of shape (K, n), on the CPU
        noise : Tensor of shape (K, n, noise_size), on the CPU
        sizes : list of int
            Rows of each batch.
        """
        device = self.rows.device
        orders, noise = orders.to(device), noise.to(device)
        total: torch.Tensor | None = None
        parts: Any = torch.split  # whose types want a tuple
        for batch, drawn in zip(parts(orders, sizes, 1), parts(noise, sizes, 1), strict=True):
            found = self._step(self._batch(batch), drawn)
            if found is not None:
                total = found.clone() if total is None else total.add_(found)
            self._trainer.after_batch()
        return total

    def _batch(self, batch: torch.Tensor) -> torch.Tensor:
        if isinstance(self.rows, HeldMemberRows):
            shape = *batch.shape, self.rows.shape[2]
            return gather(
                self.rows.tensor, batch, out=self._trainer.workspace.take("batch", *shape)
            )
        parts = [next(self.rows.shares(k, places.numpy(), 1)) for k, places in enumerate(batch)]
        return torch.stack([torch.from_numpy(part.rows) for part in parts])


class CapturedSteps(EagerSteps):
    """Steps that are captured as CUDA graphs and replayed: one launch instead of dozens.

    A graph reads the order and the noise of an epoch from buffers that stay, at places that are on
    the device, too, and that it moves on. There is one graph for each size of a batch and each
    :meth:`~skrdae.training.trainer.Trainer.variant` of a step. The first steps, and epochs of a few
    batches, are launched one by one. Both give the same results bit for bit.

    References
    ----------
    https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
    """

    rows: HeldMemberRows

    def __init__(self, trainer: Trainer, rows: HeldMemberRows, step: Step) -> None:
        super().__init__(trainer, rows, step)
        self._graphs: dict[Any, Any] = {}
        self._stream: Any = torch.cuda.Stream(rows.device)
        self._pool: Any = None
        self._orders: torch.Tensor | None = None
        self._noise = self._places = self._first = self._total = torch.empty(0)
        self._n_eager = 0
        # Copies into it are waited for before it is written to again.
        self._pinned: tuple[torch.Tensor, torch.Tensor] | None = None
        self._copied: Any = torch.cuda.Event()

    def epoch(
        self, orders: torch.Tensor, noise: torch.Tensor, sizes: Sequence[int]
    ) -> torch.Tensor | None:
        """Make the steps of an epoch; see :meth:`EagerSteps.epoch`."""
        if self._orders is None:
            if len(sizes) < _WORTH_IT:
                return super().epoch(orders, noise, sizes)
            self._orders = torch.empty_like(orders, device=self.rows.device)
            self._noise = torch.empty_like(noise, device=self.rows.device)
            self._pinned = orders.pin_memory(), noise.pin_memory()
            self._first = torch.arange(max(sizes), device=self.rows.device)
            self._places = self._first.clone()
        here = torch.cuda.current_stream(self.rows.device)
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            self._send(orders, noise)
            self._places.copy_(self._first)
            if self._total.numel():
                self._total.zero_()
            for size in sizes:
                self._make_step(size)
                self._trainer.after_batch()
        here.wait_stream(self._stream)
        return self._total if self._total.numel() else None

    def _send(self, orders: torch.Tensor, noise: torch.Tensor) -> None:
        assert self._orders is not None
        assert self._pinned is not None
        self._copied.synchronize()
        for source, pinned, target in zip(
            (orders, noise), self._pinned, (self._orders, self._noise), strict=True
        ):
            target.copy_(pinned.copy_(source), non_blocking=True)
        self._copied.record(self._stream)

    def _make_step(self, size: int) -> None:
        if self._n_eager < _WARM_UP:
            self._n_eager += 1
            self._captured(size)
            return
        key = size, self._trainer.variant()
        graph = self._graphs.get(key)
        if graph is None:
            graph = self._graphs[key] = self._capture(size)
        graph.replay()
        self._trainer.count_step()

    def _capture(self, size: int) -> Any:
        graph = torch.cuda.CUDAGraph()
        counts = self._trainer.counts()
        # Other threads may use the device meanwhile. Graphs that are collected would end a capture.
        with (
            _no_collection(),
            torch.cuda.graph(
                graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
            ),
        ):
            self._captured(size)
        self._trainer.set_counts(counts)  # nothing was computed yet
        self._pool = graph.pool()
        return graph

    def _captured(self, size: int) -> None:
        """Do what a graph does."""
        assert self._orders is not None
        places = self._places[:size]
        batch = self._orders.index_select(1, places)
        drawn = self._noise.index_select(1, places) if self._noise.numel() else self._noise
        found = self._step(self._batch(batch), drawn)
        if found is not None:
            if not self._total.numel():
                self._total = torch.zeros_like(found)
            self._total.add_(found)
        self._places.add_(size)


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def steps_for(trainer: Trainer, rows: MemberRows, make: Callable[[Trainer], Step]) -> EagerSteps:
    """Return the steps of a trainer on some rows."""
    if rows.device.type == "cuda" and isinstance(rows, HeldMemberRows):
        return CapturedSteps(trainer, rows, make(trainer))
    return EagerSteps(trainer, rows, make(trainer))
