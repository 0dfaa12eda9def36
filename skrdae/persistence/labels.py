"""Labels and thresholds of every detector, and the rule that set a threshold."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from skrdae._schema import Check, Sizes, array, misfit, number, size
from skrdae.persistence.kinds import KINDS, Kind, instance, parameters
from skrdae.thresholds import PeaksOverThreshold

_INTEGERS = (np.int32, np.int64)
_LARGEST = float(np.finfo(np.float64).max)


def _classes(value: Any, where: str, sizes: Sizes) -> None:
    """Check that a value is the array of 0 and 1."""
    array(_INTEGERS, 2)(value, where, sizes)
    if value.tolist() != [0, 1]:
        raise ValueError(f"{where} holds {value.tolist()}, not 0 and 1")


#: Of every detector, with labels of what it was fitted to.
LABELLED: dict[str, Check] = {
    "n_features_in_": size("features"),
    "classes_": _classes,
    "labels_": array(_INTEGERS, "rows", low=0, high=1),
    "threshold_": number(high=math.inf),
}


def _peaks(rule: PeaksOverThreshold, where: str, sizes: Sizes) -> None:
    if rule.thresh_ < rule.initial_threshold_:
        misfit(f"{where}.thresh_", rule.thresh_, f"{rule.initial_threshold_} or more")


KINDS[PeaksOverThreshold] = Kind(
    parameters(PeaksOverThreshold),
    {
        "thresh_": number(high=_LARGEST),
        "initial_threshold_": number(),
        "shape_": number(-1.001),
        "scale_": number(0),
        "labels_": array(_INTEGERS, "scores", low=0, high=1),
    },
    whole=_peaks,
    settings=lambda rule: rule._check_parameters(),
)
#: Of a detector with a rule of its own for the threshold.
THRESHOLDER = {"thresholder_": instance(PeaksOverThreshold)}


def check_thresholder(detector: Any, threshold: object, where: str) -> None:
    """Raise unless the threshold of a detector is that of its rule, if it has one."""
    rule = vars(detector).get("thresholder_")
    if rule is not None and rule.thresh_ != threshold:
        misfit(f"{where}.thresholder_.thresh_", rule.thresh_, f"{threshold}, which rows exceed")
