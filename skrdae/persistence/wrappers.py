"""What holds other estimators: WindowedDetector, CalibratedDetector and more; what is saved."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from skrdae._schema import (
    Sizes,
    array,
    boolean,
    choice,
    each,
    either,
    misfit,
    nothing,
    number,
    optional,
    size,
    text,
    whole,
)
from skrdae._validation import check_parameters
from skrdae.detectors.base import BaseTorchDetector
from skrdae.detectors.calibrated import CalibratedDetector
from skrdae.detectors.channels import ChannelDetectors
from skrdae.detectors.held_out import HeldOutWindows
from skrdae.detectors.loudest import LoudestChannel
from skrdae.detectors.outlier_adapter import OutlierAdapter
from skrdae.detectors.windowed import WindowedDetector
from skrdae.persistence.columns import TRANSFORMERS, n_columns_out
from skrdae.persistence.detectors import NAMES
from skrdae.persistence.kinds import KINDS, Kind, instance, parameters, simple
from skrdae.persistence.labels import LABELLED, THRESHOLDER, check_thresholder
from skrdae.persistence.splitters import SPLITTERS
from skrdae.thresholds import quantile_threshold

#: What may be saved, and be a step of a pipeline.
ESTIMATORS = (
    BaseTorchDetector,
    CalibratedDetector,
    OutlierAdapter,
    WindowedDetector,
    *TRANSFORMERS,
    Pipeline,
)
# An adapter does not hold another one.
_HELD = instance(BaseTorchDetector, WindowedDetector)
_TEMPLATE = instance(BaseTorchDetector, WindowedDetector, fitted=False)
# Characters of what an index holds, for example "times" or "period[M]".
_LONGEST_KIND = 50
# Steps from one window to the next, at most.
_LARGEST_STRIDE = 2**31


def _windowed(detector: Any, where: str, sizes: Sizes) -> None:
    scores, labels, size_ = detector.decision_scores_, detector.labels_, detector.window_size_
    held = detector.detector_
    n_held, wanted = held.n_features_in_, size_ * sizes["features"]
    if n_held != wanted:
        misfit(f"{where}.detector_.n_features_in_", n_held, f"{wanted}, the values of a window")
    if isinstance(held, ChannelDetectors | LoudestChannel) and held.n_steps != size_:
        # Then it has as many channels as the series, too.
        misfit(f"{where}.detector_.n_steps", held.n_steps, f"{size_}, the steps of a window")
    if len(scores) < max(size_, len(detector.window_scores_)):
        raise ValueError(f"{where}.decision_scores_ has {len(scores)} steps, too few for a window")
    covered = ~np.isnan(scores)
    if not covered.any() or labels[~covered].any():
        raise ValueError(f"{where}.labels_ flags steps without a score, or none has one")
    limits = detector._own_limits
    if limits is not None and len(limits) != size_:
        misfit(f"the length of {where}._own_limits", len(limits), f"{size_}, the steps of a window")
    check_thresholder(detector, detector.window_threshold_, where)


def _index_kind(value: Any, where: str, sizes: Sizes) -> None:
    optional(text)(value, where, sizes)
    if value and len(value) > _LONGEST_KIND:
        misfit(where, value, "what an index holds")


def _median(found: dict[str, Any]) -> float:
    return float(np.median(found["window_scores_"]))


def _unknown(found: dict[str, Any]) -> None:
    """Stand for what earlier versions did not write."""


def _joint(found: dict[str, Any]) -> str:
    return "joint"


def _high(found: dict[str, Any]) -> float:
    return quantile_threshold(found["window_scores_"], 0.1 / found["window_size_"])


KINDS[WindowedDetector] = Kind(
    parameters(WindowedDetector, detector=_TEMPLATE),
    {
        **LABELLED,
        "decision_scores_": array(np.float64, "rows", nan=True),
        "window_size_": whole(1),
        "window_scores_": array(np.float64, "windows"),
        "window_threshold_": optional(number()),
        "detector_": instance(
            BaseTorchDetector, WindowedDetector, ChannelDetectors, LoudestChannel
        ),
        "_spacing": optional(number(5e-324)),
        "_stride": whole(1, _LARGEST_STRIDE),
        "_aggregate": choice("mean", "max", "median"),
        "_on_gap": choice("raise", "split"),
        "_by_windows": boolean,
        "_ordinary": number(),
        "_ordinary_by_channel": optional(array(np.float64, "features")),
        "_end_threshold": number(),
        "_own_limits": optional(
            array(np.float64, "steps of a window", "features", low=5e-324, high=np.inf)
        ),
        "_index_kind": _index_kind,
    },
    {**NAMES, **THRESHOLDER},
    _windowed,
    check_parameters,
    {
        "_ordinary": _median,
        "_end_threshold": _high,
        "_index_kind": _unknown,
        "_ordinary_by_channel": _unknown,
        "_own_limits": _unknown,
        "channels": _joint,
    },
)


def _by_channel(held: ChannelDetectors, where: str, sizes: Sizes) -> None:
    n_channels, n_scores = len(held.detectors), len(held.centers)
    if n_scores != n_channels * (1 + (held.joint is not None)):
        misfit(f"the length of {where}.centers", n_scores, "that of the detectors' scores")
    for place, detector in enumerate(held.detectors):
        if detector.n_features_in_ != held.n_steps:
            name = f"{where}.detectors[{place}].n_features_in_"
            misfit(name, detector.n_features_in_, f"{held.n_steps}, the steps of a window")
    if held.joint is not None and held.joint.n_features_in_ != held.n_features_in_:
        misfit(f"{where}.joint.n_features_in_", held.joint.n_features_in_, str(held.n_features_in_))


KINDS[ChannelDetectors] = Kind(
    {
        "detectors": each(instance(BaseTorchDetector)),
        "joint": optional(instance(BaseTorchDetector)),
        "n_steps": whole(1),
        "centers": array(np.float64, "scores of channels"),
        "scales": array(np.float64, "scores of channels", low=5e-324),
    },
    whole=_by_channel,
)


def _loudest(held: LoudestChannel, where: str, sizes: Sizes) -> None:
    if len(held.centers) != 2 * held.n_channels:
        misfit(f"the length of {where}.centers", len(held.centers), f"{2 * held.n_channels}")
    if len(held.typical) != held.n_channels:
        misfit(f"the length of {where}.typical", len(held.typical), f"{held.n_channels}")
    if held.joint.n_features_in_ != held.n_features_in_:
        misfit(f"{where}.joint.n_features_in_", held.joint.n_features_in_, str(held.n_features_in_))


KINDS[LoudestChannel] = Kind(
    {
        "joint": instance(BaseTorchDetector),
        "n_steps": whole(1),
        "n_channels": whole(1),
        "centers": array(np.float64, "scores of channels"),
        "below": array(np.float64, "scores of channels", low=5e-324),
        "above": array(np.float64, "scores of channels", low=5e-324),
        "typical": array(np.float64, "channels", low=5e-324),
    },
    whole=_loudest,
)


def _adapted(adapter: Any, where: str, sizes: Sizes) -> None:
    found = adapter.detector_.n_features_in_
    if found != sizes["features"]:
        misfit(f"{where}.detector_.n_features_in_", found, str(sizes["features"]))


KINDS[OutlierAdapter] = Kind(
    parameters(OutlierAdapter, detector=_TEMPLATE),
    {"n_features_in_": size("features"), "detector_": _HELD, "offset_": number()},
    NAMES,
    _adapted,
)


def _held_out(windows: HeldOutWindows, where: str, sizes: Sizes) -> None:
    if windows.lengths.sum() != len(windows.scores):
        misfit(f"the sum of {where}.lengths", windows.lengths.sum(), f"{len(windows.scores)}")


def _never(found: dict[str, Any]) -> float:
    """Return the p-value of what was never looked for."""
    return 1.0


KINDS[HeldOutWindows] = Kind(
    {
        "scores": array(np.float64, "windows"),
        "lengths": array(np.int64, "runs", low=1),
        "n_overlapping": whole(1),
        "p_standing_out": number(0, 1),
    },
    whole=_held_out,
    later={"p_standing_out": _never},
)


def _calibrated(detector: Any, where: str, sizes: Sizes) -> None:
    held, windows = detector.detector_, detector._held_out
    if windows is None and np.isnan(detector.decision_scores_).any():
        raise ValueError(f"{where}.decision_scores_ has rows without a score")
    if held.n_features_in_ != sizes["features"]:
        misfit(f"{where}.detector_.n_features_in_", held.n_features_in_, str(sizes["features"]))
    if (type(held) is WindowedDetector) != (windows is not None):
        misfit(f"{where}.detector_", held, "what the calibration scores are for")


KINDS[CalibratedDetector] = Kind(
    parameters(
        CalibratedDetector,
        detector=_TEMPLATE,
        cv=either(instance(*SPLITTERS), simple),
    ),
    {
        **LABELLED,
        "decision_scores_": array(np.float64, "rows", nan=True),
        "detector_": _HELD,
        "_share": number(0, 1),
        "_by_p_value": boolean,
        "_held_out": optional(instance(HeldOutWindows)),
    },
    NAMES,
    _calibrated,
    check_parameters,
    {"_held_out": _unknown},
)


def _steps(value: Any, where: str, sizes: Sizes) -> None:
    each(_step)(value, where, sizes)
    names = [name for name, _ in value]
    if not names or len({*names}) < len(names) or any("__" in name for name in names):
        raise ValueError(f"{where} has no steps, one of a name twice, or one with '__' in it")


def _step(value: Any, where: str, sizes: Sizes) -> None:
    if type(value) is not tuple or len(value) != 2:
        misfit(where, value, "a name and an estimator")
    text(value[0], where, sizes)
    if value[1] is not None and value[1] != "passthrough":
        instance(*ESTIMATORS)(value[1], f"{where[:200]}[1]", sizes)


def _leaves(pipeline: Pipeline) -> list[Any]:
    """Return the estimators of a pipeline, those of pipelines within it too, in order."""
    steps = [step for _, step in pipeline.steps if step is not None and step != "passthrough"]
    return [
        leaf for step in steps for leaf in (_leaves(step) if type(step) is Pipeline else [step])
    ]


def _pipeline(pipeline: Pipeline, where: str, sizes: Sizes) -> None:
    """Check that each step takes as many columns as the one before gives."""
    for before, after in pairwise(_leaves(pipeline)):
        given = n_columns_out(before)
        if given != after.n_features_in_:
            told = "no columns" if given is None else f"{given} columns"
            raise ValueError(
                f"{where}: {type(before).__name__} gives {told}, and the {type(after).__name__} "
                f"after it takes {after.n_features_in_}"
            )


KINDS[Pipeline] = Kind(
    parameters(
        Pipeline,
        steps=_steps,
        memory=nothing,  # or it would write to a folder
        verbose=boolean,
        transform_input=optional(each(text)),
    ),
    whole=_pipeline,
)

_check = instance(*ESTIMATORS)


def check_saved(estimator: Any) -> None:
    """Raise a ValueError unless an estimator is fitted, and all that it holds fits together.

    It reads attributes only, and calls a method only after checking the attributes that the method
    uses. What passes can be used: every array has a size, type and values that a fit could have
    given it.
    """
    with np.errstate(all="ignore"):
        _check(estimator, type(estimator).__name__, {})
