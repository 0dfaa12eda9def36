"""Parts of a Dask collection: what is learnt of each in the first pass, and draws of rows."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import dask.array as da
import numpy as np
from dask.base import is_dask_collection
from dask.delayed import Delayed
from dask.local import get_sync
from dask.optimization import cull
from distributed import Future
from scipy.sparse import issparse
from sklearn.base import clone
from sklearn.utils.validation import _num_samples

from skrdae._typing import IntArray
from skrdae.merging import some_rows
from skrdae.preprocessing import ColumnMoments

#: Rows of the sample that scales and thresholds are told from, and its values at most.
SAMPLE_ROWS, SAMPLE_VALUES = 100_000, 2**24
# Where parts may be of very different size, so many times the rows are asked for.
_SURPLUS = 2
# Seeds of the draws: of the sample, of folds, of members. They are the same in every fit.
_SAMPLE, _FOLDS, _MEMBERS = range(3)


class Look(NamedTuple):
    """What the first pass learns of a partition.

    Attributes
    ----------
    counts : ndarray of shape (n_folds,)
        Its rows, by fold.
    names : dict
        Number and names of its columns. Empty, as all that follows, if there are no rows.
    moments : dict of ColumnMoments
        Of all rows (−1) and, if there are several folds, of the rows of each that has some.
    sample : array or DataFrame, or None
        Some of its rows.
    places : ndarray
        Where they are.
    """

    counts: IntArray
    names: dict[str, Any]
    moments: dict[int, ColumnMoments]
    sample: Any
    places: IntArray


class Part:
    """A partition that is not loaded yet, with all tasks that load it.

    As a task of its own a loaded partition may be moved to another worker. What needs this one
    loads it.

    Parameters
    ----------
    graph : dict
    key : str or tuple
        Of the partition.
    """

    def __init__(self, graph: dict[Any, Any], key: Any) -> None:
        self.graph, self.key = graph, key


def loaded(part: Any) -> Any:
    """Return the rows of a partition."""
    return get_sync(part.graph, part.key) if isinstance(part, Part) else part


def parts_of(X: Any) -> list[Any]:
    """Return the partitions of a Dask array or DataFrame.

    They are as :class:`Part` if no two partitions share a task, and as delayed objects otherwise,
    or if some are in the memory of workers.

    Raises
    ------
    TypeError, ValueError
        If X is neither, or its chunks hold parts of rows.
    """
    if is_frame(X):
        return _apart(list(X.to_delayed()))
    if not is_array(X):
        raise TypeError(
            f"X must be a Dask array or a Dask DataFrame; got {type(X).__name__}. For data in "
            "memory use the detector's own methods, or dask.array.from_array(X, chunks=(n, -1))."
        )
    check_chunks(X)
    return _apart(list(X.to_delayed().ravel()))


def _apart(parts: list[Delayed]) -> list[Any]:
    graphs: dict[int, dict[Any, Any]] = {}  # partitions may have one in common
    seen: set[Any] = set()
    found = []
    for part in parts:
        shared = part.__dask_graph__()
        if id(shared) not in graphs:
            graphs[id(shared)] = dict(shared)
        try:
            graph, _ = cull(graphs[id(shared)], [part.key])
        except KeyError:  # of what a worker holds, which is no task of the graph
            return list(parts)
        needed = {key for task in graph.values() for key in getattr(task, "dependencies", ())}
        in_memory = needed - graph.keys() or any(map(_is_future, graph.values()))
        if in_memory or not seen.isdisjoint(graph):
            return list(parts)
        seen.update(graph)
        found.append(Part(graph, part.key))
    return found


def _is_future(task: Any) -> bool:
    return isinstance(getattr(task, "value", task), Future)


def is_array(X: Any) -> bool:
    """Whether X is a Dask array."""
    return isinstance(X, da.Array)


def is_frame(X: Any) -> bool:
    """Whether X is a Dask DataFrame; dask.dataframe need not be there to tell."""
    known = is_dask_collection(X) and not isinstance(X, Delayed)  # which has any attribute
    return known and hasattr(X, "map_partitions") and hasattr(X, "columns")


def check_chunks(X: Any) -> None:
    """Raise a ValueError if chunks of a Dask array do not hold whole rows."""
    if X.ndim < 2:
        raise ValueError(
            f"X has {X.ndim} axis, and rows have two: (n_samples, n_features). A series of one "
            "channel is X[:, None]."
        )
    if any(n > 1 for n in X.numblocks[1:]):
        raise ValueError(
            f"X is split along its features, into chunks of {X.chunksize}, but a detector needs "
            "whole rows: X.rechunk({1: -1})."
        )


def default_sample_size(X: Any) -> int:
    """Return how many rows the sample has if nothing else is asked for."""
    width = len(X.columns) if is_frame(X) else math.prod(X.shape[1:])
    known = width if np.isfinite(width) else 1  # the number of columns may be unknown, too
    return max(1, min(SAMPLE_ROWS, SAMPLE_VALUES // max(1, int(known))))


def rows_of_parts(X: Any, n_parts: int, sample_size: int) -> list[int]:
    """Return how many rows of each partition are asked for in the first pass."""
    lengths = np.array(X.chunks[0] if is_array(X) else [np.nan], float)
    if np.isfinite(lengths).all():
        share = min(1.0, sample_size / max(lengths.sum(), 1))
        return [math.ceil(share * n) for n in lengths]
    return [math.ceil(_SURPLUS * sample_size / n_parts)] * n_parts


def fold_numbers(number: int, n_rows: int, n_folds: int) -> IntArray:
    """Return the fold of each row of a partition, the same every time it is asked for."""
    return np.random.default_rng([_FOLDS, number]).integers(n_folds, size=n_rows)


@contextlib.contextmanager
def named(what: str) -> Iterator[None]:
    """Say in errors what they are about."""
    try:
        yield
    except (ValueError, TypeError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{what}: {error}") from None


def look(detector: Any, part: Any, number: int, n_wanted: int, n_folds: int) -> tuple[Look, Any]:
    """Check a partition, and return what the first pass learns of it."""
    part = loaded(part)
    if issparse(part):
        raise TypeError(
            f"Partition {number} of X: it is sparse, and members are trained apart on dense rows "
            "only: X.map_blocks(lambda block: block.toarray())."
        )
    n_rows = _num_samples(part)
    folds = fold_numbers(number, n_rows, n_folds)
    counts = np.bincount(folds, minlength=n_folds)
    if not n_rows:
        return Look(counts, {}, {}, None, np.arange(0)), ()
    with named(f"Partition {number} of X"):
        probe: Any = clone(detector)
        rows = probe._check_data(part, reset=True)
    names = {"n_features_in_": probe.n_features_in_}
    if hasattr(probe, "feature_names_in_"):
        names["feature_names_in_"] = probe.feature_names_in_
    places = np.arange(n_rows)
    if n_wanted < n_rows:
        random = np.random.default_rng([_SAMPLE, number])
        places = np.sort(random.choice(n_rows, n_wanted, replace=False))
    moments = {-1: ColumnMoments.of(rows)}
    if n_folds > 1:
        filled = np.flatnonzero(counts).tolist()
        moments |= {fold: ColumnMoments.of(rows[folds == fold]) for fold in filled}
    return Look(counts, names, moments, some_rows(part, places), places), ()


class Draw(NamedTuple):
    """Rows of a partition that a member is trained on.

    Attributes
    ----------
    n_rows : int
    seed : int
        That of the member.
    fold : int
        Whose rows are left out; −1 is none.
    """

    n_rows: int
    seed: int
    fold: int


def take(part: Any, number: int, draws: list[Draw], n_folds: int) -> list[Any]:
    """Draw rows of a partition, for several members at once, so that it need not be moved."""
    part = loaded(part)
    folds, found = fold_numbers(number, _num_samples(part), n_folds), []
    for draw in draws:
        places = np.flatnonzero(folds != draw.fold)
        if draw.n_rows < len(places):
            random = np.random.default_rng([_MEMBERS, number, draw.seed])
            places = np.sort(random.choice(places, draw.n_rows, replace=False))
        found.append(some_rows(part, places))
    return found


def shared_out(total: int, sizes: IntArray) -> IntArray:
    """Split a number of rows over parts in proportion to their sizes."""
    exact = total * sizes / sizes.sum()
    found = np.floor(exact).astype(np.int64)
    left = total - found.sum()
    found[np.argsort(found - exact, kind="stable")[:left]] += 1
    return found


def joined(samples: list[Any]) -> Any:
    """Put rows of several partitions below each other."""
    if len(samples) == 1:
        return samples[0]
    if hasattr(samples[0], "iloc"):
        import pandas as pd

        return pd.concat(samples)
    return np.concatenate(samples)


class Sample(NamedTuple):
    """A sample of all rows, in which each partition has its share.

    Attributes
    ----------
    rows : array or DataFrame
    folds : ndarray
        The fold of each row.
    moments : dict of ColumnMoments
        Of all rows of X, not only of these, as in a :class:`Look`.
    """

    rows: Any
    folds: IntArray
    moments: dict[int, ColumnMoments]

    def outside(self, fold: int) -> tuple[IntArray, ColumnMoments | None]:
        """Return where rows outside of a fold are, and the moments of all such rows of X."""
        places = np.flatnonzero(self.folds != fold)
        if fold < 0:
            return places, self.moments[-1]
        others: Any = [self.moments[k] for k in sorted(self.moments) if k not in (-1, fold)]
        return places, reduce(add, others) if others else None


def sample_of(looks: list[Look], sample_size: int) -> Sample:
    """Put what was learnt of the partitions together, with about so many rows at most.

    Raises
    ------
    ValueError
        If there are no rows, or partitions differ in their columns.
    """
    filled = [(number, found) for number, found in enumerate(looks) if found.sample is not None]
    if not filled:
        raise ValueError(f"X has no rows: each of its {len(looks)} partitions is empty.")
    first_number, first = filled[0]
    for number, found in filled:
        if found.names["n_features_in_"] != first.names["n_features_in_"]:
            raise ValueError(
                f"Partition {number} of X has {found.names['n_features_in_']} columns, and "
                f"partition {first_number} has {first.names['n_features_in_']}."
            )
        ours, theirs = (list(one.names.get("feature_names_in_", ())) for one in (first, found))
        if ours != theirs:
            raise ValueError(
                f"The columns of partition {number} of X are {theirs}, and those of partition "
                f"{first_number} are {ours}."
            )
    share = min(len(found.places) / found.counts.sum() for _, found in filled)
    share = min(share, sample_size / sum(found.counts.sum() for _, found in filled))
    rows, folds = [], []
    for number, found in filled:
        n_rows = int(found.counts.sum())
        n_kept = min(len(found.places), math.ceil(share * n_rows))
        random = np.random.default_rng([_SAMPLE, number, 1])
        kept = np.sort(random.permutation(len(found.places))[:n_kept])
        if len(kept):
            rows.append(some_rows(found.sample, kept))
            numbers = fold_numbers(number, n_rows, len(found.counts))
            folds.append(numbers[found.places[kept]])
    moments: dict[int, Any] = {}
    for _, found in filled:
        for fold, of_part in found.moments.items():
            moments[fold] = moments[fold] + of_part if fold in moments else of_part
    return Sample(joined(rows), np.concatenate(folds), moments)
