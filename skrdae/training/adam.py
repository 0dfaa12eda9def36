"""Adam on one flat buffer for all members of a stacked network."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from skrdae.networks.compiled import KINDS, Layers
from skrdae.networks.mlp import MemberMLP
from skrdae.training.kernels.adam import Adam

# On a GPU the fused kernel gives a stretch of memory to each block of threads, and a few long ones
# leave most of the card idle. So many fit in one launch; shorter ones than this gain nothing.
_GPU_PIECES, _LEAST_PIECE = 32, 1024
# The fused kernel treats what does not fill a vector register at the end of a tensor with other
# instructions, which round differently. Up to this multiple it has no such remainder. Every
# parameter starts at one, because products depend on how their operands are aligned, too.
_REGISTER = 64


def _filled_up(shape: Sequence[int]) -> int:
    size = math.prod(shape)
    return size + -size % _REGISTER


def flat_size(shapes: Iterable[Sequence[int]]) -> int:
    """Return the size of a flat buffer for parameters of these shapes."""
    return sum(map(_filled_up, shapes))


class MemberAdam:
    """Adam over all parameters of a network at once.

    On construction every parameter becomes a view of one flat buffer, and so do the gradients:
    a step is one call of torch's fused kernel, whatever the number of layers and members, and a
    member's step does not depend, to the last bit, on the others.

    Parameters
    ----------
    network : nn.Module
        Its parameters have the member axis first.
    lr : float
        Learning rate.
    betas : tuple of two floats, default=(0.9, 0.999)
        Decay of the averages of the gradient and of its square.
    eps : float, optional
        ε, which is added to the root of the average square. The default, 1e-2, is far above
        the usual 1e-8. With that, Adam steps as far along a gradient that only a handful of rows
        ever give as along one that all rows agree on, and so learns the anomalies first. It is for
        gradients of a row's squared error, averaged over the batch.
    others : iterable of MemberAdam, default=()
        Optimisers that may have parameters of this network, too. Those parameters stay in the
        buffer that they are in, and each optimiser has averages of its own for them.

    References
    ----------
    Kingma, D. P. and J. Ba, Adam: A Method for Stochastic Optimization, ICLR 2015.
    """

    _EPS = 1e-2
    # Where gradients have ceased, the averages decay to denormal numbers and stay there, and
    # arithmetic with those is many times slower. They are cut off long before.
    _TINY, _FLUSH_EVERY = 1e-30, 64

    def __init__(
        self,
        network: nn.Module,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float | None = None,
        others: Iterable[MemberAdam] = (),
    ) -> None:
        self.lr, self.betas = lr, betas
        self.eps = self._EPS if eps is None else eps
        self.n_steps = 0
        self._parameters = parameters = list(network.parameters())
        self._shapes = [p.shape for p in parameters]
        self._sizes = list(map(_filled_up, self._shapes))
        values, self._grads, self._mean, self._square = parameters[0].new_zeros(4, sum(self._sizes))
        self._values = values
        self._step = values.new_zeros(())
        held = {key: stretch for other in others for key, stretch in other._stretches.items()}
        # By parameter, where its values lie.
        self._stretches: dict[int, torch.Tensor] = dict(
            zip(map(id, parameters), torch.split(values, self._sizes), strict=True)
        )
        self._shared = not held.keys().isdisjoint(self._stretches)
        for parameter, view in zip(parameters, self._views(values), strict=True):
            if id(parameter) in held:
                self._stretches[id(parameter)] = held[id(parameter)]
                continue
            view.copy_(parameter)
            parameter.data = view
        self.grads = dict(zip(map(id, parameters), self._views(self._grads), strict=True))
        self._pieces = self._in_pieces()

    def _in_pieces(self) -> list[list[torch.Tensor]]:
        """Return values, gradients, means and squares in the pieces that a step works on."""
        flat = self._values, self._grads, self._mean, self._square
        if self._shared:  # values lie in several buffers: a parameter at a time
            rest = [list(torch.split(each, self._sizes)) for each in flat[1:]]
            return [list(self._stretches.values()), *rest]
        size = len(self._values)
        if self._values.device.type != "cpu":
            size = max(_LEAST_PIECE, _filled_up([-(-size // _GPU_PIECES)]))
        return [list(torch.split(each, size)) for each in flat]

    def _views(self, flat: torch.Tensor) -> list[torch.Tensor]:
        return [
            piece[: shape.numel()].view(shape)
            for piece, shape in zip(torch.split(flat, self._sizes), self._shapes, strict=True)
        ]

    def grads_of(self, network: nn.Module) -> list[torch.Tensor]:
        """Return the gradient buffers of a network's parameters."""
        return [self.grads[id(p)] for p in network.parameters()]

    @contextlib.contextmanager
    def gradients(
        self, network: nn.Module, members: slice, apart: bool = False
    ) -> Iterator[list[torch.Tensor]]:
        """Let backward passes add to the buffers of some members.

        Parameters
        ----------
        network : nn.Module
            With the same parameters, of these members only.
        members : slice
        apart : bool, default=False
            Whether they add to new buffers of zeros instead, for :meth:`add_grads`.

        Yields
        ------
        list of Tensor
            What they add to.
        """
        parameters = list(network.parameters())
        grads = [grad[members] for grad in self.grads.values()]
        if apart:
            grads = [torch.zeros_like(grad) for grad in grads]
        for parameter, grad in zip(parameters, grads, strict=True):
            parameter.requires_grad_()
            parameter.grad = grad
        try:
            yield grads
        finally:
            for parameter in parameters:
                parameter.grad = None
                parameter.requires_grad_(False)

    def add_grads(self, members: slice, grads: Sequence[torch.Tensor]) -> None:
        """Add gradients that were found apart to the buffers of some members."""
        for total, grad in zip(self.grads.values(), grads, strict=True):
            total[members].add_(grad)

    def zero_grads(self) -> None:
        """Set all gradients to zero."""
        self._grads.zero_()

    def compiled(self, network: MemberMLP, n_pieces: int = 1) -> list[tuple[Adam, Layers]]:
        """Return for each member of a network what the compiled loops work on.

        Parameters
        ----------
        network : MemberMLP
            All or a part of the optimiser's.
        n_pieces : int, default=1
            Of a batch, each with gradients of its own, which are added up.

        Returns
        -------
        list of (Adam, Layers)
            Views of the buffers, in which each member has places of its own. Call :meth:`count`
            afterwards.
        """
        values, mean, square = (t.numpy() for t in (self._values, self._mean, self._square))
        grads = self._grads.numpy()[None]
        if n_pieces > 1:
            grads = self._grads.new_zeros(n_pieces, grads.shape[1]).numpy()  # aligned
        settings = (float(self.lr), *self.betas, self.eps, self.n_steps)
        adam = Adam(values, grads, mean, square, *settings)
        sizes = np.array([network.weights[0].shape[1], *(w.shape[2] for w in network.weights)])
        kinds = np.array([KINDS[name] for name in network.activations])
        # The values lie at the beginning of the storage.
        starts = [
            [p[k].storage_offset() for p in network.parameters()] for k in range(network.n_members)
        ]
        return [(adam, Layers(sizes, kinds, np.array(own))) for own in starts]

    def count(self, n_steps: int) -> None:
        """Take note of steps made by others."""
        self.n_steps += n_steps
        self._step.add_(n_steps)

    def step(self) -> None:
        """Move the parameters by the gradients found in the buffers."""
        self.n_steps += 1
        self._step.add_(1)
        values, grads, mean, square = self._pieces
        # What torch.optim's fused Adam comes down to. Its wrapper takes longer than a small
        # network's whole step.
        torch._fused_adam_(
            values,
            grads,
            mean,
            square,
            [],
            [self._step] * len(values),
            lr=self.lr,
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=0.0,
            eps=self.eps,
            amsgrad=False,
            maximize=False,
        )

    def flush(self) -> None:
        """Keep averages from becoming denormal numbers; to be called after every step."""
        if self.n_steps % self._FLUSH_EVERY == 0:
            self._mean.copy_(torch.hardshrink(self._mean, self._TINY))
            self._square.clamp_(min=self._TINY)

    def state(self) -> dict[str, Any]:
        """Return what another optimiser needs to go on as this one would."""
        return {
            "mean": self._mean.to("cpu", copy=True),
            "square": self._square.to("cpu", copy=True),
            "n_steps": self.n_steps,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on as another optimiser of such a network would have; see :meth:`state`."""
        self._mean.copy_(state["mean"])
        self._square.copy_(state["square"])
        self.n_steps = state["n_steps"]
        self._step.fill_(self.n_steps)

    def release(self) -> None:
        """Give every parameter memory of its own again, so that it can be stored alone."""
        for parameter in self._parameters:
            parameter.data = parameter.data.clone()

    def select(self, network: nn.Module, members: torch.Tensor) -> MemberAdam:
        """Return the optimiser of `network`, made of some of this one's members."""
        other = MemberAdam(network, self.lr, self.betas, self.eps)
        other.n_steps = self.n_steps
        other._step.copy_(self._step)
        for mine, theirs in ((self._mean, other._mean), (self._square, other._square)):
            for view, target in zip(self._views(mine), other._views(theirs), strict=True):
                target.copy_(view[members])
        return other
