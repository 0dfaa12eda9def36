"""What a training can be continued from: what warm_start and partial_fit keep."""

from __future__ import annotations

from typing import Any

import numpy as np

from skrdae._schema import Check, Sizes, anything, array, each, mapping, record, text, whole
from skrdae.detectors.resuming import KEPT
from skrdae.detectors.streaming import MEMORY, Stream
from skrdae.networks.stacked import StackedModule
from skrdae.persistence.kinds import KINDS, Kind, instance, of_data, of_type
from skrdae.persistence.templates import settle
from skrdae.training.schemas import generators

#: Of a detector with warm_start; see :func:`check_kept`.
RESUMED = {"_kept": anything}


def check_kept(detector: Any, check: Check, where: str, sizes: Sizes) -> None:
    """Check what a training with warm_start goes on from; `check` is of its state."""
    kept = vars(detector).get("_kept")
    if kept is None:
        return
    record(KEPT)(kept, f"{where}._kept", sizes)
    array(np.int64, "members", low=0)(kept["seeds"], f"{where}._kept.seeds", sizes)
    check(kept["state"], f"{where}._kept.state", sizes)


KINDS[Stream] = Kind(
    {
        "settings": mapping(text, text),
        "network": anything,  # see check_stream
        "adam": anything,
        "extra": anything,
        "generators": generators(),
        "rows": of_data((np.float32, np.float64), "rows", "features"),
        "history": each(anything),
        "n_seen": whole(1),
        "random": of_type(np.random.RandomState),
    }
)
#: Of a detector with partial_fit; see :func:`check_stream`.
STREAMED = {"_stream": instance(Stream), "n_samples_seen_": whole(1)}


def check_stream(detector: Any, check: Check, where: str, sizes: Sizes) -> None:
    """Check what partial_fit goes on from; `check` is of what the trainings differ in."""
    stream = vars(detector).get("_stream")
    if (stream is None) != ("n_samples_seen_" not in vars(detector)):
        raise ValueError(f"{where} has only one of n_samples_seen_ and what chunks left")
    if stream is None:
        return
    network, where = detector.network_, f"{where}._stream"
    instance(type(network))(stream.network, f"{where}.network", sizes)
    if isinstance(network, StackedModule):
        settle(detector, stream.network, f"{where}.network")
    check(stream, where, sizes)
    if stream.settings.get("n_estimators") != str(sizes["members"]):
        raise ValueError(f"{where}.settings are not of {sizes['members']} members")
    n_seen = stream.n_seen
    if n_seen != detector.n_samples_seen_ or len(stream.rows) != min(n_seen, MEMORY):
        raise ValueError(f"{where} remembers {len(stream.rows)} of {n_seen} rows")
    if "_kept" in vars(detector):
        raise ValueError(f"{where} is there beside a training by fit")
