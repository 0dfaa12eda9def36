"""Fitted models: the scaler, the networks, the scorers, and how they go together."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from skrdae._schema import (
    Sizes,
    array,
    boolean,
    choice,
    misfit,
    nothing,
    number,
    optional,
    size,
    tensor,
    whole,
)
from skrdae.model import FittedModel
from skrdae.networks.denoiser import MemberDenoiser
from skrdae.networks.gan import MemberGAN
from skrdae.networks.sequential import MemberLSTMVAE, MemberOmniAnomaly
from skrdae.networks.stacked import StackedModule
from skrdae.networks.two_decoders import MemberTwoDecoders
from skrdae.networks.variational import MemberVAE
from skrdae.penalties import PENALTIES
from skrdae.persistence.kinds import KINDS, Kind, instance, of_data
from skrdae.persistence.networks import AUTOENCODERS
from skrdae.preprocessing import SCALERS, ColumnScaler
from skrdae.scorers.denoising import DenoisingScorer
from skrdae.scorers.generative import ElboScorer
from skrdae.scorers.likelihood import LikelihoodScorer
from skrdae.scorers.mismatch import MismatchScorer
from skrdae.scorers.residual import ResidualScorer
from skrdae.scorers.smoothed import SmoothedScorer
from skrdae.scorers.two_decoders import TwoDecodersScorer
from skrdae.training.schemas import variance

# Steps of a search, and draws of codes, for each row that is scored.
_MOST_STEPS = _MOST_DRAWS = 10_000
# A normal number beyond that was not drawn.
_DRAWN: dict[str, float] = {"low": -100.0, "high": 100.0}
# Levels and β that single precision has.
_LEAST_LEVEL, _LARGEST_LEVEL, _LARGEST_BETA = 1e-44, 1e37, 1e9
_BOUND = number(1e-6, 1e15)

_PENALTIES = tuple(map(type, PENALTIES.values()))
for _class in _PENALTIES:
    KINDS[_class] = Kind({})


def _bounded(scaler: ColumnScaler, where: str, sizes: Sizes) -> None:
    # Data that are left as they are have the bound in multiples of the largest value, or of one.
    if scaler.bound_ < scaler.bound or (scaler.method and scaler.bound_ != scaler.bound):
        misfit(f"{where}.bound_", scaler.bound_, f"what bound={scaler.bound:g} gives")
    moves = scaler.center_.any() or (scaler.scale_ != 1).any() or scaler.constant_.any()
    if scaler.method is None and moves:
        raise ValueError(f"{where} leaves the data as they are, but its attributes do not")


KINDS[ColumnScaler] = Kind(
    {
        "method": choice(*SCALERS),
        "bound": _BOUND,
        "bound_": _BOUND,
        "center_": of_data(np.float64, "features"),
        "scale_": of_data(np.float64, "features", low=math.ulp(0.0)),
        "constant_": array(np.bool_, "features"),
    },
    whole=_bounded,
    later={"constant_": lambda found: np.zeros(len(found["scale_"]), bool)},
)


# -------------------------------------------------------------------------------------- scorers


def image_shape(value: Any, where: str, sizes: Sizes) -> None:
    """Check that a value is the shape of images of so many features."""
    if type(value) is not tuple or len(value) not in (2, 3):
        misfit(where, value, "height, width and maybe channels")
    for n in value:
        whole(1)(n, where, sizes)
    if math.prod(value) != sizes["features"]:
        misfit(where, value, f"a shape of {sizes['features']} values")


#: λ of each member.
LAM = tensor(torch.float32, "members", low=0, high=math.inf)
_LEVEL = number(_LEAST_LEVEL, _LARGEST_LEVEL)


def _residual(scorer: ResidualScorer, where: str, sizes: Sizes) -> None:
    if scorer.penalty.across_rows != (scorer.norms is not None):
        misfit(f"{where}.norms", scorer.norms, f"what goes with {scorer.penalty}")


def _noise_levels(value: Any, where: str, sizes: Sizes) -> None:
    if type(value) is not tuple:
        misfit(where, value, "a tuple")
    size("noise levels")(len(value), f"the length of {where}", sizes)
    for level in value:
        number(1e-6, 1e6)(level, where, sizes)


def _elbo(scorer: ElboScorer, where: str, sizes: Sizes) -> None:
    whole(0, _MOST_DRAWS)(sizes["draws"], f"{where}'s number of draws", sizes)


KINDS[ResidualScorer] = Kind(
    {
        "bound": _BOUND,
        "penalty": instance(*_PENALTIES),
        "lam": LAM,
        "norms": optional(tensor(torch.float32, "members", 1, "features", low=0)),
        "scale": optional(tensor(torch.float32, "members", 1, "features", low=1e-13, high=1e20)),
    },
    whole=_residual,
)
KINDS[SmoothedScorer] = Kind(
    {
        **KINDS[ResidualScorer].fields,
        "scale": nothing,
        "image_shape": image_shape,
        "level": number(1e-30, 1e30),
    },
    whole=_residual,
)
KINDS[ElboScorer] = Kind(
    {
        "bound": _BOUND,
        "level": _LEVEL,
        "likelihood": choice("gaussian", "bernoulli"),
        "beta": number(0, _LARGEST_BETA),
        "variance": variance(),
        "draws": tensor(torch.float32, "members", "draws", "latent", empty=True, **_DRAWN),
    },
    whole=_elbo,
)
KINDS[MismatchScorer] = Kind(
    {
        "bound": _BOUND,
        "level": _LEVEL,
        "lam": number(0, 1),
        "n_search_iter": whole(0, _MOST_STEPS),
    }
)
KINDS[DenoisingScorer] = Kind(
    {
        "bound": _BOUND,
        "level": _LEVEL,
        "noise_levels": _noise_levels,
        "scale": tensor(torch.float32, "members", 1, "noise levels", low=1e-7, high=1e20),
    }
)
KINDS[LikelihoodScorer] = Kind({"bound": _BOUND, "level": _LEVEL})
KINDS[TwoDecodersScorer] = Kind({"bound": _BOUND, "level": _LEVEL, "alpha": number(0, 1)})
#: scorer → the networks that it can score with
_NETWORKS: dict[type, tuple[type, ...]] = {
    ResidualScorer: AUTOENCODERS,
    SmoothedScorer: (StackedModule,),
    ElboScorer: (MemberVAE,),
    MismatchScorer: (MemberGAN,),
    DenoisingScorer: (MemberDenoiser,),
    LikelihoodScorer: (MemberLSTMVAE, MemberOmniAnomaly),
    TwoDecodersScorer: (MemberTwoDecoders,),
}


# --------------------------------------------------------------------------------------- models


def _scores(model: FittedModel, where: str, sizes: Sizes) -> None:
    """Check what the parts of a model have to do with each other."""
    network: Any = model.network
    scorer: Any = model.scorer
    if not isinstance(network, _NETWORKS[type(scorer)]):
        misfit(f"{where}.network", network, f"what a {type(scorer).__name__} scores with")
    if scorer.bound != model.scaler.bound_:
        misfit(f"{where}.scorer.bound", scorer.bound, f"{model.scaler.bound_:g}, the scaler's")
    if model.by_vote and not hasattr(scorer, "votes"):
        raise ValueError(f"{where}.by_vote is set, and its members have no votes")
    if isinstance(network, MemberGAN) and network.encoder is None and not scorer.n_search_iter:
        raise ValueError(f"{where} has neither an encoder nor a search")
    if isinstance(network, MemberGAN) and network.joint and scorer.n_search_iter:
        misfit(
            f"{where}.scorer.n_search_iter", scorer.n_search_iter, "0 with a discriminator of pairs"
        )
    total, wanted = float((1 / model.weights).sum()), sizes["members"] ** 2
    if not abs(total - wanted) <= 1e-6 * wanted:  # but for rounding
        misfit(f"the sum of 1 / {where}.weights", total, f"{wanted}, the members squared")


KINDS[FittedModel] = Kind(
    {
        "scaler": instance(ColumnScaler),
        "network": instance(*{network for known in _NETWORKS.values() for network in known}),
        "scorer": instance(*_NETWORKS),
        "weights": array(np.float64, "members", low=math.ulp(0.0)),
        "share": number(0, 1),
        "by_vote": boolean,
    },
    whole=_scores,
)
