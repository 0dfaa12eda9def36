"""Stacked recurrent variational autoencoders: a latent variable for each step of a window."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import nn
from torch.nn.functional import softplus

from skrdae.networks.compiled_latent import chain, flows
from skrdae.networks.compiled_recurrence import run_layer
from skrdae.networks.recurrent import MemberRecurrent, glorot, layer_shapes, product
from skrdae.networks.variational import MOST_LOG_VARIANCE
from skrdae.networks.workspace import Workspace

#: Between these the noise variance of a value lies, in units of the data's scale. A step that is
#: always the same would otherwise outweigh all others with its first surprise, and a window of a
#: kind that was never seen could make itself ordinary by a huge variance.
LEAST_VARIANCE, MOST_VARIANCE = 1e-2, 1e2
# What the deviations of q(z) are larger than.
_LEAST_DEVIATION = 1e-4


class Inferred(NamedTuple):
    """What K members find in windows.

    Attributes
    ----------
    z : Tensor of shape (K, n, T, latent_dim)
        The latent variables.
    posterior : Tensor of shape (K, n, T, …)
        What the network knows of q(z|x).
    mean, log_variance : Tensor of shape (K, n, T, c)
        Of p(x|z).
    """

    z: torch.Tensor
    posterior: torch.Tensor
    mean: torch.Tensor
    log_variance: torch.Tensor


class MemberSequenceVAE(MemberRecurrent):
    """Base class of networks that have a latent variable for each step.

    An encoder of recurrent layers reads a window step by step. Its states give q(z_t), a decoder of
    recurrent layers reads z, and a linear layer makes mean and variance of each value of its
    states.

    Parameters
    ----------
    n_features : int
        Values of a window, step by step, the channels of a step side by side.
    n_channels : int
        It divides `n_features`.
    hidden_layer_sizes : tuple of int
        Units of the encoder's layers. The decoder mirrors them.
    latent_dim : int
        Of z_t.
    generators : list of K torch.Generator
        One a member; the initial weights are drawn from them.
    device : torch.device
    """

    code_weight: nn.Parameter
    code_bias: nn.Parameter
    value_weight: nn.Parameter
    value_bias: nn.Parameter

    # With which products are fast, and what the steps leave behind for the way back is near.
    rows_a_piece = 64
    #: The type of the recurrent layers.
    _cell: Literal["lstm", "gru"]

    def __init__(
        self,
        n_features: int,
        n_channels: int,
        hidden_layer_sizes: Sequence[int],
        latent_dim: int,
        generators: Sequence[torch.Generator],
        device: torch.device,
    ) -> None:
        super().__init__()
        self.cell, self.latent_dim = self._cell, latent_dim
        self.n_steps, self.n_channels = n_features // n_channels, n_channels
        sizes = list(hidden_layer_sizes)
        self.n_encoder_layers = len(sizes)
        self.shapes = layer_shapes(n_channels, sizes, latent_dim)
        self._add_layers(generators, device)
        self._add_linear("code", sizes[-1], 2 * latent_dim, generators, device)
        self._add_linear("value", sizes[0], 2 * n_channels, generators, device)

    def _add_linear(
        self,
        name: str,
        n_inputs: int,
        units: int,
        generators: Sequence[torch.Generator],
        device: torch.device,
    ) -> None:
        drawn = torch.cat([glorot(g, 1, n_inputs, units) for g in generators]).to(device)
        self.add(f"{name}_weight", drawn)
        self.add(f"{name}_bias", drawn.new_zeros(len(generators), 1, units))

    @property
    def _fused(self) -> bool:
        return True  # by compiled loops

    @property
    def code_size(self) -> int:
        """Latent variables of a window."""
        return self.n_steps * self.latent_dim

    # ------------------------------------------------------------------ one member, steps first

    @abstractmethod
    def _latent(
        self, member: int, states: torch.Tensor, noise: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw z of the encoder's states, or take its mean if there is no noise.

        Parameters
        ----------
        member : int
        states : Tensor of shape (T, n, units)
        noise : Tensor of shape (T, n, latent_dim), or None

        Returns
        -------
        z : Tensor of shape (T, n, latent_dim)
        posterior : Tensor of shape (T, n, …)
        """

    def _linear(self, name: str, member: int, x: torch.Tensor) -> torch.Tensor:
        weight, bias = (getattr(self, f"{name}_{kind}")[member] for kind in ("weight", "bias"))
        made = product(x.reshape(1, -1, x.shape[2]), weight[None])[0] + bias
        return made.view(*x.shape[:2], -1)

    def _run(
        self, sequence: torch.Tensor, weights: list[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if sequence.device.type != "cpu":
            return super()._run(sequence, weights)
        out = run_layer(self.cell, sequence, weights)
        return out, out[-1]

    def _through(self, sequence: torch.Tensor, layers: list[list[torch.Tensor]]) -> torch.Tensor:
        for weights in layers:
            sequence, _ = self._run(sequence, weights)
        return sequence

    def _read(self, member: int, z: torch.Tensor) -> torch.Tensor:
        """Make mean and log-variance of z, side by side: (T, n, latent_dim) → (T, n, 2c)."""
        states = self._through(z, self._layer_weights(member)[self.n_encoder_layers :])
        mean, spread = self._linear("value", member, states).chunk(2, dim=-1)
        # Halfway at the start. By way of tanh, which does not depend on the place of a value.
        width = math.log(MOST_VARIANCE / LEAST_VARIANCE)
        half = torch.tanh(0.5 * spread) * (0.5 * width)
        return torch.cat([mean, half + (0.5 * width + math.log(LEAST_VARIANCE))], dim=-1)

    def _found(self, member: int, rows: torch.Tensor) -> torch.Tensor:
        """Return z, q and p of windows, and maybe noise beside them: (n, …) → (n, T, …)."""
        n_features = self.n_steps * self.n_channels
        x, drawn = rows[:, :n_features], rows[:, n_features:]
        noise = None
        if drawn.numel():
            noise = torch.unflatten(drawn, 1, (self.n_steps, -1)).transpose(0, 1)
        layers = self._layer_weights(member)[: self.n_encoder_layers]
        z, posterior = self._latent(member, self._through(self._sequence(x), layers), noise)
        return torch.cat([z, posterior, self._read(member, z)], dim=-1).transpose(0, 1)

    # --------------------------------------------------------------------------- all members

    def infer(self, x: torch.Tensor, noise: torch.Tensor | None = None) -> Inferred:
        """Return what the members find in windows: (K, n, T·c).

        Parameters
        ----------
        x : Tensor of shape (K, n, T·c)
        noise : Tensor of shape (K, n, T·latent_dim), optional
            Standard normal, of which z is drawn. By default z is the mean.

        Returns
        -------
        Inferred
        """
        both = x if noise is None else torch.cat([x, noise], dim=-1)
        found = self._map(self._found, both)
        n_ends = found.shape[-1] - self.latent_dim - 2 * self.n_channels
        sizes = [self.latent_dim, n_ends, self.n_channels, self.n_channels]
        return Inferred(*torch.split(found, sizes, dim=-1))

    def encode(self, x: torch.Tensor, workspace: Workspace | None = None) -> torch.Tensor:
        """Return z at its mean, step by step: (K, n, T·c) → (K, n, T·latent_dim)."""
        return self.infer(x).z.flatten(2)

    def decode(self, code: torch.Tensor, workspace: Workspace | None = None) -> torch.Tensor:
        """Return the means of windows: (K, n, T·latent_dim) → (K, n, T·c)."""

        def windows(member: int, rows: torch.Tensor) -> torch.Tensor:
            z = torch.unflatten(rows, 1, (self.n_steps, -1)).transpose(0, 1).contiguous()
            made = self._read(member, z)[..., : self.n_channels]
            return made.transpose(0, 1).flatten(1)

        return self._map(windows, code)

    def forward(self, x: torch.Tensor, workspace: Workspace | None = None) -> torch.Tensor:
        """Return what the members make of windows: (K, n, T·c) → (K, n, T·c)."""
        return self.infer(x).mean.flatten(2)


class MemberLSTMVAE(MemberSequenceVAE):
    """K LSTM-VAEs side by side: q(z_t) is normal, with mean and log-variance linear in the state.

    The `posterior` of :meth:`infer` holds the means, then the log-variances: (K, n, T, 2 ·
    latent_dim).
    """

    _cell = "lstm"

    def _latent(
        self, member: int, states: torch.Tensor, noise: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        mean, log_variance = self._linear("code", member, states).chunk(2, dim=-1)
        log_variance = log_variance.clamp(max=MOST_LOG_VARIANCE)
        posterior = torch.cat([mean, log_variance], dim=-1)
        if noise is None:
            return mean.contiguous(), posterior
        return mean + torch.exp(0.5 * log_variance) * noise, posterior


class MemberOmniAnomaly(MemberSequenceVAE):
    """K networks of OmniAnomaly side by side.

    q(z_t) is normal, with mean and deviation linear in the encoder's state and the z before; z then
    goes through planar flows. The `posterior` of :meth:`infer` is log q(z_t), of shape (K, n, T,
    1).

    Parameters
    ----------
    n_flows : int
        Planar flows.
    others
        As of :class:`MemberSequenceVAE`.
    """

    _cell = "gru"

    before_weight: nn.Parameter
    flow_weight: nn.Parameter
    flow_bias: nn.Parameter
    flow_scale: nn.Parameter

    def __init__(
        self,
        n_features: int,
        n_channels: int,
        hidden_layer_sizes: Sequence[int],
        latent_dim: int,
        n_flows: int,
        generators: Sequence[torch.Generator],
        device: torch.device,
    ) -> None:
        super().__init__(n_features, n_channels, hidden_layer_sizes, latent_dim, generators, device)
        self.n_flows = n_flows
        # Without memory at first: what a random linear map makes of z may grow without end over the
        # steps of a long window.
        shape = len(generators), latent_dim, 2 * latent_dim
        self.add("before_weight", self.code_weight.new_zeros(shape))
        if not n_flows:
            return
        for name in ("flow_weight", "flow_scale"):
            drawn = [glorot(g, n_flows, latent_dim, 1)[..., 0] for g in generators]
            self.add(name, torch.stack(drawn).to(device))
        self.add("flow_bias", self.flow_weight.new_zeros(len(generators), n_flows, 1))

    def _latent(
        self, member: int, states: torch.Tensor, noise: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        inputs, before = self._linear("code", member, states), self.before_weight[member]
        if noise is None:
            noise = inputs.new_zeros(*inputs.shape[:2], self.latent_dim)
        noise = noise.contiguous()
        make = chain if inputs.device.type == "cpu" else _chain_by_steps
        z, deviation = make(inputs, before, noise, _LEAST_DEVIATION)
        log_q = -0.5 * noise.square() - torch.log(deviation)
        log_q = log_q.sum(dim=-1, keepdim=True) - 0.5 * self.latent_dim * math.log(2 * math.pi)
        z, log_det = self._flow(member, z)
        return z, log_q - log_det

    def _flow(self, member: int, z: torch.Tensor) -> tuple[torch.Tensor, Any]:
        """Return z after all flows, and the logarithm of their determinant: (T, n, 1)."""
        if not self.n_flows:
            return z, 0.0
        weight, bias, scale = (
            getattr(self, f"flow_{kind}")[member] for kind in ("weight", "bias", "scale")
        )
        if z.device.type == "cpu":
            return flows(z, weight, bias, *_invertible(weight, scale))
        total: Any = 0.0
        for flow in zip(weight, bias, scale, strict=True):
            z, log_det = planar_flow(z, *flow)
            total = total + log_det
        return z, total


def _chain_by_steps(
    inputs: torch.Tensor, weight: torch.Tensor, noise: torch.Tensor, least: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Do what :func:`~skrdae.networks.compiled_latent.chain` does, on any device."""
    z, drawn, deviations = noise.new_zeros(noise.shape[1:]), [], []
    for now, drawn_now in zip(inputs, noise, strict=True):
        mean, spread = torch.addmm(now, z, weight).chunk(2, dim=-1)
        deviation = softplus(spread) + least
        z = mean + deviation * drawn_now
        drawn.append(z)
        deviations.append(deviation)
    return torch.stack(drawn), torch.stack(deviations)


def _invertible(weight: torch.Tensor, scale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return û of :func:`planar_flow` and wᵀû: (…, d) → (…, d), (…, 1)."""
    along = (weight * scale).sum(dim=-1, keepdim=True)
    wanted = (softplus(along) - 1).clamp(min=-1 + 1e-6)  # at −1 the flow has no inverse
    size = weight.square().sum(dim=-1, keepdim=True).clamp(min=1e-12)
    return scale + (wanted - along) * weight / size, wanted


def planar_flow(
    z: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, scale: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Return :math:`f(z) = z + \hat u \tanh(w^\top z + b)` and :math:`\log|\det f'(z)|`.

    :math:`\hat u` is u, moved along w as far as it takes for f to be invertible:
    :math:`w^\top \hat u = \log(1 + e^{w^\top u}) - 1 > -1`.

    Parameters
    ----------
    z : Tensor of shape (T, n, d)
    weight, scale : Tensor of shape (d,)
        w and u.
    bias : Tensor of shape (1,)
        b.

    Returns
    -------
    moved : Tensor of shape (T, n, d)
    log_det : Tensor of shape (T, n, 1)

    References
    ----------
    Rezende, D. J. and S. Mohamed, Variational Inference with Normalizing Flows, ICML 2015.

    Examples
    --------
    >>> import torch
    >>> from skrdae.networks.sequential import planar_flow
    >>> one, zero = torch.ones(1), torch.zeros(1)
    >>> moved, log_det = planar_flow(torch.zeros(1, 1, 1), one, zero, zero)
    >>> moved.item(), round(log_det.item(), 3)  # u = 0 is moved to log 2 − 1
    (0.0, -0.367)
    """
    moved_scale, wanted = _invertible(weight, scale)
    inner = product(z.reshape(1, -1, z.shape[2]), weight[None, :, None])[0] + bias
    bend = torch.tanh(inner).view(*z.shape[:2], 1)
    log_det = torch.log1p((1 - bend.square()) * wanted)
    return z + bend * moved_scale, log_det
