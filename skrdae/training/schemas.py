"""What the states of trainings hold: see :mod:`skrdae.training.state`.

A state from a file is checked against these before a training goes on from it. They are made for
the network that the training begins with.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn

from skrdae._schema import (
    Check,
    Sizes,
    boolean,
    each,
    either,
    history,
    listed,
    misfit,
    nothing,
    optional,
    record,
    size,
    tensor,
)
from skrdae.history import (
    AdversarialRecord,
    DenoisingRecord,
    EncoderRecord,
    IterationRecord,
    SequenceRecord,
    TwoDecodersRecord,
    VariationalRecord,
)
from skrdae.networks.denoiser import MemberDenoiser
from skrdae.networks.gan import MemberGAN
from skrdae.networks.sequential import MemberSequenceVAE
from skrdae.networks.two_decoders import MemberTwoDecoders
from skrdae.networks.variational import MemberVAE
from skrdae.objectives.two_decoders import TwoDecodersLoss
from skrdae.penalties.base import GroupPenalty
from skrdae.training.adam import flat_size
from skrdae.training.split import n_watched

#: No weight is larger: beyond, scores would not be finite.
LARGEST_WEIGHT = 1e9
#: No noise variance is smaller, which training keeps ten times above.
LEAST_VARIANCE = 1e-3

# The state of a generator: seed, numbers left of a block of 624, whether there is a seed, the place
# of the next one, the block, and normal numbers kept for the next call.
_GENERATOR = struct.Struct("=Qii Q 624Q ddd ii f?xxx")

Shapes: TypeAlias = Sequence[tuple[int, ...]]


def shapes_of(network: nn.Module) -> Shapes:
    """Return the shapes of a network's parameters."""
    return [tuple(parameter.shape) for parameter in network.parameters()]


def weights(*shape: int | str) -> Check:
    """Return a check of a parameter of a network."""
    return tensor(torch.float32, *shape, low=-LARGEST_WEIGHT, high=LARGEST_WEIGHT)


def adam(shapes: Shapes, members: str = "members", steps: str = "steps") -> Check:
    """Return a check of the state of Adam for some of a network's members."""

    def check(value: object, where: str, sizes: Sizes) -> None:
        n = flat_size([(sizes[members], *shape[1:]) for shape in shapes])
        mean, square = tensor(torch.float32, n), tensor(torch.float32, n, low=0)
        record({"mean": mean, "square": square, "n_steps": size(steps, 0)})(value, where, sizes)

    return check


def generators(members: str = "members") -> Check:
    """Return a check of the states of the members' generators."""
    return each(generator_state, members)


def generator_state(value: Any, where: str, sizes: Sizes) -> None:
    """Check that a tensor is the state of a torch.Generator on the CPU.

    PyTorch checks the places in a state one by one but not together, and can be made to read beyond
    the end of the block.
    """
    tensor(torch.uint8, _GENERATOR.size, low=0, high=255)(value, where, sizes)
    _, left, seeded, place, *rest = _GENERATOR.unpack(value.cpu().numpy().tobytes())
    block, normal, flags = rest[:624], rest[624:627], rest[627:]
    begun = left + place == 625 and 1 <= place <= 624
    fits = seeded == 1 and (begun or (left, place) == (1, 0)) and max(block) < 2**32
    fits = fits and flags[0] in (0, 1) and value[-4].item() in (0, 1)
    if not fits or not np.isfinite([*normal, flags[2]]).all():
        misfit(where, value, "the state of a random generator")


def _parameters(shapes: Shapes, members: str = "members") -> list[Check]:
    return [weights(members, *shape[1:]) for shape in shapes]


def alternating_state(network: nn.Module, n_features: int, penalty: GroupPenalty) -> Check:
    """Return a check of the state of an alternating training."""
    shapes, n_groups = shapes_of(network), None
    if penalty.across_rows:
        row = next(network.parameters()).new_zeros(1, 1, n_features)
        n_groups = penalty.norms(row).shape[2]
    lam, lam_left = (
        tensor(torch.float32, members, low=0, high=math.inf) for members in ("members", "left")
    )
    norms, norms_left = (
        [] if n_groups is None else [tensor(torch.float32, members, 1, n_groups, low=0)]
        for members in ("members", "left")
    )
    stack = record(
        {
            "members": tensor(torch.int64, "left", low=0),
            "weights": listed(*_parameters(shapes, "left")),
            "adam": adam(shapes, "left"),
            "generators": generators("left"),
            "tensors": listed(
                tensor(torch.float32, "left", "samples", "features"),
                tensor(torch.float32, "left", "watched rows", "features"),
                lam_left,
                tensor((torch.float32, torch.float64), "left", low=0),
            ),
        }
    )
    fields = record(
        {
            "history": history(IterationRecord, "iterations"),
            "iteration": size("iterations"),
            "all_done": boolean,
            "weights": listed(*_parameters(shapes)),
            # Norms are found when the first members leave.
            "found": either(listed(lam), listed(lam, *norms)),
            "stack": stack,
            "norms": listed(*norms_left),
        }
    )

    def check(value: Any, where: str, sizes: Sizes) -> None:
        fields(value, where, sizes)
        members = value["stack"]["members"].cpu()
        if members[-1] >= sizes["members"] or bool((members.diff() <= 0).any()):
            raise ValueError(f"{where}.stack.members does not name different members in order")
        watched = n_watched(sizes["samples"], sizes["features"])
        if sizes["watched rows"] != watched:
            raise ValueError(
                f"{where}.stack.tensors[1] has {sizes['watched rows']} rows, not {watched}"
            )

    return check


def variance() -> Check:
    """Return a check of the noise variance of a variational autoencoder."""
    return tensor(torch.float32, "members", 1, "features", low=LEAST_VARIANCE)


def epochs_state(
    parts: Mapping[str, nn.Module], row: type, *more: Check, steps: str = "steps"
) -> Check:
    """Return a check of the state of a training by epochs: see ``training.trainer.Epochs``.

    Parameters
    ----------
    parts : dict of nn.Module
        What the objective trains, in order, by the names of the optimisers.
    row : type
        The TypedDict of a row of the history.
    *more : callable
        Checks of the tensors that the objective has beside the parameters.
    steps : str, default="steps"
        The name of the number of steps, which all optimisers share.
    """
    shapes = {name: shapes_of(part) for name, part in parts.items()}
    different = {id(p): tuple(p.shape) for part in parts.values() for p in part.parameters()}
    own = _parameters(list(different.values()))
    return record(
        {
            "history": history(row),
            "tensors": listed(*own, *more),
            **{name: adam(of_part, steps=steps) for name, of_part in shapes.items()},
            "generators": generators(),
        }
    )


def variational_state(network: MemberVAE) -> Check:
    """Return a check of the state of the training of a variational autoencoder."""
    return epochs_state({"adam": network}, VariationalRecord, variance())


def adversarial_state(network: MemberGAN) -> Check:
    """Return a check of the states of the trainings of a GAN; see its detector."""
    critic, encoder = network.discriminator, network.encoder
    # What follows the spectral norms, for all weight matrices.
    vectors = weights("members", sum(weight.shape[2] for weight in critic.weights))
    parts = {"critic": critic, "maker": network.generator}
    if encoder is not None and network.joint:
        parts["coder"] = encoder
    gan = epochs_state(parts, AdversarialRecord, vectors)
    if encoder is None or network.joint:
        return record({"gan": gan, "encoder": nothing})
    inversion = epochs_state({"adam": encoder}, EncoderRecord, steps="steps of the encoder")
    return record({"gan": gan, "encoder": optional(inversion)})


def two_decoders_state(network: MemberTwoDecoders) -> Check:
    """Return a check of the state of the training of an encoder with two decoders."""
    epoch = tensor(torch.float32, "members", low=0)
    parts = TwoDecodersLoss(torch.empty(0)).trained(network)
    fields = epochs_state(parts, TwoDecodersRecord, epoch)

    def check(value: Any, where: str, sizes: Sizes) -> None:
        fields(value, where, sizes)
        if (value["tensors"][-1] != len(value["history"])).any():
            raise ValueError(f"{where}.tensors[-1] is not the number of epochs")

    return check


def sequence_state(network: MemberSequenceVAE) -> Check:
    """Return a check of the state of the training of a recurrent variational autoencoder."""
    return epochs_state({"adam": network}, SequenceRecord)


def denoising_state(network: MemberDenoiser) -> Check:
    """Return a check of the state of the training of a network that removes noise."""
    averages, n_steps = _parameters(shapes_of(network)), tensor(torch.float32, "members", low=0)
    return epochs_state({"adam": network}, DenoisingRecord, *averages, n_steps)
