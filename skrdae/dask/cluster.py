"""The workers of a cluster: whether they are there, and can train detectors."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import distributed

# What trains and scores, and what its results are made of.
_PACKAGES = ("skrdae", "torch")


def client_of(client: distributed.Client | None) -> Any:
    """Return a client, by default that which was created last.

    Raises
    ------
    ValueError
        If there is none, or it has no workers, or one of them lacks the package or has another
        version of it or of PyTorch than this process.
    """
    if client is None:
        try:
            client = distributed.get_client()
        except ValueError:
            raise ValueError(
                "There is no Dask client. Create one first: from dask.distributed import Client; "
                "client = Client(), for the cores of this machine, or Client('scheduler:8786')."
            ) from None
    if client.asynchronous:
        raise ValueError("The Dask client is asynchronous: create one with asynchronous=False.")
    found: Any = client.get_versions(packages=list(_PACKAGES))
    if not found["workers"]:
        raise ValueError(
            "The Dask cluster has no workers: wait until they are there, as by "
            "client.wait_for_workers(1)."
        )
    here = found["client"]["packages"]
    for address, worker in found["workers"].items():
        for package in _PACKAGES:
            ours, theirs = (_release(side.get(package)) for side in (here, worker["packages"]))
            if theirs is None:
                raise ValueError(
                    f"The Dask worker at {address} cannot import {package}: install it in the "
                    "environment of every worker."
                )
            if theirs != ours:
                raise ValueError(
                    f"The Dask worker at {address} has {package} {theirs}, and this process has "
                    f"{ours}: install the same version everywhere."
                )
    return client


def _release(version: str | None) -> str | None:
    """Return a version without what PyTorch adds for the kind of device, as in 2.6.0+cpu."""
    return None if version is None else str(version).split("+")[0]


def results(client: Any, tasks: Sequence[Any]) -> list[Any]:
    """Compute tasks, and return their results, in order.

    A task returns a pair: its result, and warnings as (category, message). Each is told once.
    """
    futures = client.compute(list(tasks))
    try:
        found = client.gather(futures)
    except BaseException:
        client.cancel(futures)
        raise
    for category, message in dict.fromkeys(w for _, told in found for w in told):
        warnings.warn(message, category, stacklevel=4)
    return [result for result, _ in found]
