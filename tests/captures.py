"""CUDA graphs played on a CPU.

What is captured is not computed, as on a GPU, and a replay does what was decided at the capture:
which operations there are, but not the Python code around them, such as counters.
"""

import contextlib
import gc

import torch

from skrdae.training.steps import CapturedSteps


class FakeCUDA:
    """Takes the place of what :mod:`skrdae.training.steps` uses of ``torch.cuda``."""

    def __init__(self, monkeypatch):
        self.captures, self.replays, self.eager = [], 0, 0
        #: The order of events: waiting for copies of pinned memory, and copies.
        self.log = []
        self.capturing = None
        self.fails = False
        monkeypatch.setattr(torch.cuda, "Stream", lambda device: _Stream())
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: _Stream())
        monkeypatch.setattr(torch.cuda, "stream", contextlib.nullcontext)
        monkeypatch.setattr(torch.cuda, "Event", lambda: _Event(self.log))
        monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: _Graph(self))
        monkeypatch.setattr(torch.cuda, "graph", self._capture)
        monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor.clone())
        run, fake = CapturedSteps._captured, self

        def captured(steps, size):
            if fake.capturing is None:
                fake.eager += 1
                run(steps, size)
                return
            trainer = steps._trainer
            fake.captures.append((size, trainer.variant(), len(trainer.generators)))
            counts, before = trainer.counts(), _copies(steps)
            fake.capturing.body = lambda: _replay(steps, size, counts, run)
            run(steps, size)
            _put_back(steps, before)

        monkeypatch.setattr(CapturedSteps, "_captured", captured)

    @contextlib.contextmanager
    def _capture(self, graph, *, pool, stream, capture_error_mode):
        assert capture_error_mode == "thread_local"
        assert isinstance(stream, _Stream)
        assert not gc.isenabled()
        assert pool is None or pool == "pool"
        if self.fails:
            raise RuntimeError("operation not permitted when stream is capturing")
        self.capturing = graph
        try:
            yield
        finally:
            self.capturing = None


class _Stream:
    def wait_stream(self, other):
        assert isinstance(other, _Stream)


class _Event:
    def __init__(self, log):
        self._log = log

    def synchronize(self):
        self._log.append("wait")

    def record(self, stream):
        assert isinstance(stream, _Stream)
        self._log.append("sent")


class _Graph:
    def __init__(self, fake):
        self._fake = fake

    def pool(self):
        return "pool"

    def replay(self):
        self._fake.replays += 1
        self.body()


def _replay(steps, size, counts, run):
    """Compute what was captured when the steps made were `counts`; Python's numbers stay."""
    trainer = steps._trainer
    now = trainer.counts()
    trainer.set_counts(counts)
    run(steps, size)
    trainer.set_counts(now)


def _tensors(steps):
    """Return all that a step changes, but for workspaces."""
    trainer = steps._trainer
    adams = trainer.optimisers.values()
    of_adam = [t for a in adams for t in (a._values, a._grads, a._mean, a._square, a._step)]
    return [*of_adam, *trainer.objective.tensors(), steps._places, steps._total]


def _copies(steps):
    return [tensor.clone() for tensor in _tensors(steps)]


def _put_back(steps, before):
    for tensor, value in zip(_tensors(steps), before, strict=True):
        tensor.copy_(value)
