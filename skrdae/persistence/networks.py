"""The networks: shapes that follow each other from layer to layer."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import Any

import torch

from skrdae._schema import Check, Sizes, choice, each, misfit, nothing, size, whole
from skrdae.networks.denoiser import MemberDenoiser
from skrdae.networks.gan import MemberGAN
from skrdae.networks.mlp import ACTIVATIONS, MemberAutoencoder, MemberMLP
from skrdae.networks.recurrent import (
    CELLS,
    MemberRecurrent,
    MemberRecurrentAutoencoder,
    layer_shapes,
    layer_size,
)
from skrdae.networks.sequential import MemberLSTMVAE, MemberOmniAnomaly, MemberSequenceVAE
from skrdae.networks.stacked import StackedModule
from skrdae.networks.two_decoders import MemberTwoDecoders
from skrdae.networks.variational import MemberVAE
from skrdae.persistence.kinds import KINDS, Kind, instance, of_type
from skrdae.training.schemas import weights

_ACTIVATIONS = each(choice(*ACTIVATIONS))
# What a network may make of values of one: the squares of what it makes of data are then numbers
# in single precision.
_FARTHEST = 1e12


def _check_number(network: Any, n_parameters: int, where: str) -> None:
    """Raise unless a network has so many parameters, before a check is made for each."""
    if len(network._parameters) != n_parameters:
        raise ValueError(f"{where} has {len(network._parameters)} weights, not {n_parameters}")


def _check_parameters(network: Any, checks: dict[str, Check], where: str, sizes: Sizes) -> None:
    """Raise unless a network has these parameters, in this order, and no parts."""
    if list(network._parameters) != list(checks) or network._modules:
        found = ", ".join(network._parameters)
        raise ValueError(f"{where} has the weights {found[:200]}, not {', '.join(checks)}")
    for name, check in checks.items():
        check(network._parameters[name], f"{where}.{name}", sizes)


def _check_layers(
    network: MemberMLP,
    units: Sequence[int | str],
    where: str,
    sizes: Sizes,
    last: Collection[str] = ("identity",),
) -> None:
    """Raise unless a network has layers of so many units.

    Parameters
    ----------
    network : MemberMLP
    units : list of int or str
        Of each layer, or the name of that number; input first.
    last : collection of str
        What the activation of the last layer may be. The others share one.
    """
    kinds = network.activations
    n_layers = len(units) - 1
    if n_layers < 2 or len(kinds) != n_layers or len({*kinds[:-1]}) > 1 or kinds[-1] not in last:
        told = ", ".join(kinds)[:200]
        raise ValueError(f"{where} of {n_layers} layers has the activations {told or 'of none'}")
    _check_number(network, 2 * n_layers, where)
    checks = {}
    for layer, (above, below) in enumerate(pairwise(units)):
        checks[f"weight_{layer}"] = weights("members", above, below)
        checks[f"bias_{layer}"] = weights("members", 1, below)
    _check_parameters(network, checks, where, sizes)
    _check_reach(network, where)


@torch.no_grad()
def _check_reach(network: MemberMLP, where: str) -> None:
    """Raise if a network makes numbers of ordinary rows that are too large to score with."""
    weights, biases = network.weights, network.biases
    ones = weights[0].new_ones(len(weights[0]), 1, weights[0].shape[1])
    signs = ones.clone()
    signs[..., ::2] = -1.0
    values = torch.cat([ones, -ones, signs], dim=1)
    # Not by the network itself, whose loops would first have to be compiled.
    for weight, bias, kind in zip(weights, biases, network.activations, strict=True):
        values = ACTIVATIONS[kind][0](torch.bmm(values, weight).add_(bias))
    farthest = values.abs().max()
    if not farthest <= _FARTHEST:
        raise ValueError(
            f"{where} has weights that are too large together: it makes {farthest:.3g} of values "
            "of 1"
        )


def _hidden(network: MemberMLP, name: str = "units") -> list[str]:
    """Return names for the numbers of units of the hidden layers."""
    return [f"{name} {layer}" for layer in range(1, len(network.activations))]


def _check_parts(network: Any, names: list[str], where: str) -> None:
    """Raise unless a network is made of MemberMLPs of these names, and of nothing else."""
    if list(network._modules) != names or network._parameters:
        raise ValueError(f"{where} is not made of {', '.join(names)}")
    for name, part in network._modules.items():
        instance(MemberMLP)(part, f"{where}.{name}", {})


def _autoencoder(network: MemberAutoencoder, where: str, sizes: Sizes) -> None:
    half = network.n_encoder_layers
    if len(network.activations) != 2 * half:
        misfit(f"{where}.n_encoder_layers", half, "half the number of layers")
    encoder = ["features", *_hidden(network)[:half]]
    _check_layers(network, encoder + encoder[-2::-1], where, sizes, ACTIVATIONS)


def _vae(network: MemberVAE, where: str, sizes: Sizes) -> None:
    _check_parts(network, ["encoder", "decoder"], where)
    hidden = _hidden(network.encoder)
    encoder: list[int | str] = ["features", *hidden, 2 * sizes["latent"]]
    _check_layers(network.encoder, encoder, f"{where}.encoder", sizes)
    decoder = ["latent", *hidden[::-1], "features"]
    _check_layers(network.decoder, decoder, f"{where}.decoder", sizes)


def _gan(network: MemberGAN, where: str, sizes: Sizes) -> None:
    encodes = "encoder" not in vars(network)
    names = ["generator", "discriminator", *(["encoder"] if encodes else [])]
    _check_parts(network, names, where)
    hidden = _hidden(network.generator)
    generator = ["latent", *hidden[::-1], "features"]
    _check_layers(network.generator, generator, f"{where}.generator", sizes, ACTIVATIONS)
    critic = network.discriminator
    _check_number(critic, 2 * len(critic.activations), f"{where}.discriminator")
    joint = encodes and network.joint
    seen = sizes["features"] + sizes["latent"] if joint else "features"
    units: list[int | str] = [seen, *_hidden(critic, "critic's units"), 1]
    _check_layers(critic, units, f"{where}.discriminator", sizes)
    if network.encoder is not None:
        encoder = ["features", *hidden, "latent"]
        _check_layers(network.encoder, encoder, f"{where}.encoder", sizes)


def _denoiser(network: MemberDenoiser, where: str, sizes: Sizes) -> None:
    units: list[int | str] = [sizes["features"] + 1, *_hidden(network), "features"]
    _check_layers(network, units, where, sizes)
    if {*network.activations} != {"identity"}:  # SiLU is beside them
        misfit(f"{where}.activations", network.activations, "those of a denoiser")


def _two_decoders(network: MemberTwoDecoders, where: str, sizes: Sizes) -> None:
    _check_steps(network, where, sizes)
    _check_parts(network, ["encoder", "first", "second"], where)
    encoder: list[int | str] = ["features", *_hidden(network.encoder), "latent"]
    _check_layers(network.encoder, encoder, f"{where}.encoder", sizes, ACTIVATIONS)
    for name, decoder in (("first", network.first), ("second", network.second)):
        _check_layers(decoder, encoder[::-1], f"{where}.{name}", sizes, ("tanh",))


def _check_steps(network: Any, where: str, sizes: Sizes) -> None:
    """Raise unless steps and channels are as many as the features."""
    if network.n_steps * network.n_channels != sizes["features"]:
        steps = f"{network.n_steps} steps of {network.n_channels} channels"
        raise ValueError(f"{where} has {steps} for {sizes['features']} features")


def _recurrent(network: MemberRecurrentAutoencoder, where: str, sizes: Sizes) -> None:
    units = _encoder_units(network, None, where, sizes)
    more = _linear("readout", units[0], network.n_channels)
    _check_recurrent(network, more, where, sizes)


def _sequence(network: MemberSequenceVAE, where: str, sizes: Sizes) -> None:
    _sequence_with(network, {}, where, sizes)


def _sequence_with(
    network: MemberSequenceVAE, more: dict[str, Check], where: str, sizes: Sizes
) -> None:
    """Check a network with a latent variable for each step, and weights of its own."""
    units = _encoder_units(network, network.latent_dim, where, sizes)
    linear = _linear("code", units[-1], 2 * network.latent_dim)
    linear |= _linear("value", units[0], 2 * network.n_channels)
    _check_recurrent(network, linear | more, where, sizes)


def _encoder_units(network: Any, decoder_inputs: int | None, where: str, sizes: Sizes) -> list[int]:
    """Return the units of an encoder's layers, whose last the decoder reads if nothing else."""
    _check_steps(network, where, sizes)
    shapes = network.shapes
    units = [units for _, units in shapes[: network.n_encoder_layers]]
    if not units or shapes != layer_shapes(
        network.n_channels, units, units[-1] if decoder_inputs is None else decoder_inputs
    ):
        raise ValueError(f"{where}.shapes are not those of an encoder and the decoder it mirrors")
    return units


def _linear(name: str, n_inputs: int, units: int) -> dict[str, Check]:
    return {
        f"{name}_weight": weights("members", n_inputs, units),
        f"{name}_bias": weights("members", 1, units),
    }


def _check_recurrent(
    network: MemberRecurrent, more: dict[str, Check], where: str, sizes: Sizes
) -> None:
    """Raise unless a network has the weights of its recurrent layers, and those besides."""
    _check_number(network, len(network.shapes) + len(more), where)
    checks = {
        f"layer_{layer}": weights("members", layer_size(*shape, network.cell))
        for layer, shape in enumerate(network.shapes)
    }
    _check_parameters(network, checks | more, where, sizes)


def _omni_anomaly(network: MemberOmniAnomaly, where: str, sizes: Sizes) -> None:
    n_flows, units = network.n_flows, network.latent_dim
    more = {"before_weight": weights("members", units, 2 * units)}
    if n_flows:
        more |= {
            "flow_weight": weights("members", n_flows, units),
            "flow_scale": weights("members", n_flows, units),
            "flow_bias": weights("members", n_flows, 1),
        }
    _sequence_with(network, more, where, sizes)


def _two_sizes(value: Any, where: str, sizes: Sizes) -> None:
    of_type(tuple)(value, where, sizes)
    if len(value) != 2:
        misfit(where, value, "a pair")
    for entry in value:
        whole(1)(entry, where, sizes)


def _stacked(network: StackedModule, where: str, sizes: Sizes) -> None:
    """Check all that a network is without its template: see ``templates``."""
    if not network._parameters or network._modules:
        raise ValueError(f"{where} has no weights, or has parts")
    for name, value in network._parameters.items():
        found = f"{where}.{name[:200]}"
        if value is None or not value.ndim:
            misfit(found, value, "a weight of each member")
        weights("members", *value.shape[1:])(value, found, sizes)


KINDS[MemberMLP] = Kind({"activations": _ACTIVATIONS})
KINDS[StackedModule] = Kind({"code_size": whole(1)}, whole=_stacked)
KINDS[MemberAutoencoder] = Kind(
    {"activations": _ACTIVATIONS, "n_encoder_layers": whole(1)}, whole=_autoencoder
)
KINDS[MemberVAE] = Kind({"latent_dim": size("latent")}, whole=_vae)
# Without an encoder it is None, and else a part.
KINDS[MemberGAN] = Kind({"latent_dim": size("latent")}, extra={"encoder": nothing}, whole=_gan)
KINDS[MemberDenoiser] = Kind({"activations": _ACTIVATIONS}, whole=_denoiser)
KINDS[MemberTwoDecoders] = Kind(
    {"latent_dim": size("latent"), "n_steps": whole(1), "n_channels": whole(1)},
    whole=_two_decoders,
)
KINDS[MemberRecurrentAutoencoder] = Kind(
    {
        "cell": choice(*CELLS),
        "n_channels": whole(1),
        "n_steps": whole(1),
        "n_encoder_layers": whole(1),
        "shapes": each(_two_sizes),
    },
    whole=_recurrent,
)

_SEQUENCE: dict[str, Check] = {
    "n_channels": whole(1),
    "n_steps": whole(1),
    "n_encoder_layers": whole(1),
    "latent_dim": whole(1),
    "shapes": each(_two_sizes),
}
KINDS[MemberLSTMVAE] = Kind({"cell": choice("lstm"), **_SEQUENCE}, whole=_sequence)
KINDS[MemberOmniAnomaly] = Kind(
    {"cell": choice("gru"), **_SEQUENCE, "n_flows": whole()}, whole=_omni_anomaly
)

#: The networks that score rows by what they cannot reconstruct.
AUTOENCODERS = (MemberAutoencoder, MemberRecurrentAutoencoder, StackedModule)
