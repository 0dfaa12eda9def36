"""Templates of stacked modules, which a file does not hold: the detector makes them anew."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from skrdae._schema import one_line
from skrdae.detectors.robust import BaseRobustAutoencoder
from skrdae.networks.stacked import StackedModule, blank, new_template

# What making a template may take beside what the weights account for: calls of torch, a call for
# each weight, values of one tensor, and of a number among the parameters.
_CALLS, _CALLS_A_WEIGHT, _VALUES, _NUMBER = 1000, 100, 10**6, 1000
# What a network may make of values of one; see `networks`.
_FARTHEST = 1e12


class _Bounded(TorchFunctionMode):
    """While it lasts, torch may be called so many times, for tensors of so many values."""

    def __init__(self, n_calls: int, n_values: int) -> None:
        super().__init__()
        self._n_left, self._n_values = n_calls, n_values

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self._n_left -= 1
        found = func(*args, **(kwargs or {}))
        if self._n_left < 0 or (isinstance(found, torch.Tensor) and found.numel() > self._n_values):
            raise ValueError("it is far larger than the weights")
        return found


def settle(detector: Any, network: StackedModule, where: str) -> None:
    """Give a network from a file its template, or hold the one that it has against a new one.

    Raises
    ------
    ValueError
        If the detector's parameters, as they are now, stand for another network.
    """
    try:
        template = _made_again(detector, network)
        again = copy.copy(network)
        again.template = [blank(template, network.device)]
        found = _probed(again, detector.n_features_in_)
        same = "template" not in vars(network) or torch.equal(
            found, _probed(network, detector.n_features_in_)
        )
    except MemoryError:
        raise
    except Exception as error:  # whatever the code of a module does with parameters from a file
        raise ValueError(
            f"{where} is not the network that the parameters of the {type(detector).__name__} "
            f"stand for ({one_line(error)}): set them back to those of the fit, or fit again"
        ) from error
    if not same:
        raise ValueError(
            f"{where} is another network than the one that the parameters of the "
            f"{type(detector).__name__} stand for: set them back to those of the fit, or fit again"
        )
    if "template" not in vars(network):  # as it comes from a file
        network.template = again.template


def _made_again(detector: Any, network: StackedModule) -> nn.Module:
    """Return the module that a detector's parameters stand for, if it goes with the weights."""
    n_features = detector.n_features_in_
    shapes = {k.replace("/", "."): v.shape[1:] for k, v in network.named_parameters()}
    n_values = sum(weight.numel() for weight in network.parameters())
    _check_numbers(detector, max(n_values, _NUMBER))

    def make() -> nn.Module:
        return detector._new_module(n_features)

    # First without memory, because the parameters come from a stranger, maybe.
    n_calls = _CALLS + _CALLS_A_WEIGHT * len(shapes)
    with torch.device("meta"), _Bounded(n_calls, max(_VALUES, n_values)):
        module = make()
    made = {name: parameter.shape for name, parameter in module.named_parameters()}
    if list(made.items()) != list(shapes.items()):
        raise ValueError("its weights have other names or shapes")
    if network.code_size != detector._code_size(n_features):
        raise ValueError(f"its code has {network.code_size} units")
    return new_template(make, torch.Generator(device="cpu"))


def _check_numbers(detector: Any, most: int) -> None:
    """Raise if a number among the parameters of a subclass would make a huge module."""
    shared = {*BaseRobustAutoencoder._get_param_names()}
    waiting = [v for k, v in detector.get_params(deep=False).items() if k not in shared]
    while waiting:
        value = waiting.pop()
        if isinstance(value, np.ndarray):
            value = value.tolist()
        if isinstance(value, list | tuple):
            waiting.extend(value)
        elif isinstance(value, Real) and most < abs(float(value)) < math.inf:
            raise ValueError(f"the parameter {value} is larger than all its weights account for")


@torch.no_grad()
def _probed(network: StackedModule, n_features: int) -> torch.Tensor:
    """Return what a network makes of some rows, if it is as it should be."""
    ones = torch.ones(n_features, device=network.device)
    signs = ones.clone()
    signs[::2] = -1.0
    rows = torch.stack([ones, -ones, signs]).expand(network.n_members, -1, -1)
    codes = network.encode(rows)
    found = network.decode(codes)
    if codes.shape != (*rows.shape[:2], network.code_size) or found.shape != rows.shape:
        raise ValueError("its codes or what it makes of them have another shape")
    if not found.abs().max() <= _FARTHEST:
        raise ValueError("its weights are too large together")
    return torch.cat([codes, found], dim=-1)
