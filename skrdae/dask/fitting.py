"""Fits to Dask collections: scales from a first pass, members trained where the rows are."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from operator import getitem
from typing import Any

import numpy as np
from dask.delayed import delayed
from distributed import Client
from sklearn.base import clone

from skrdae._typing import IntArray
from skrdae._validation import refitting
from skrdae._warned import recorded
from skrdae.dask.cluster import client_of, results
from skrdae.dask.partitions import (
    Draw,
    Look,
    Sample,
    default_sample_size,
    joined,
    look,
    named,
    parts_of,
    rows_of_parts,
    sample_of,
    shared_out,
    take,
)
from skrdae.dask.series import fit_series
from skrdae.detectors.calibrated import CalibratedDetector
from skrdae.detectors.samples import rows_a_member
from skrdae.merging import Agreement, agree, check_detector, merge, some_rows, without_rows

#: A member that is trained on fewer rows, less than a batch, learns next to nothing.
FEWEST_ROWS = 32
#: Partitions that a member draws from, if there are as many: those of a sorted file differ.
FEWEST_PARTITIONS = 16


def fit(
    detector: Any, X: Any, *, sample_size: int | None = None, client: Client | None = None
) -> Any:
    """Fit a detector to a Dask array or DataFrame.

    Each of the `n_estimators` members is trained by a worker, on rows of its own partitions: member
    k of K has the partitions k, k + K, k + 2K and so on, and draws its `max_samples` from them, a
    float meaning a share of their rows. If these are fewer than 16 partitions, or have fewer rows
    than a member gets in a fit in memory, it draws rows of others, too (but not for a share). All
    that has to be known of all rows comes from a
    first pass over X: scales, from the range and the moments of all rows and the quantiles of a
    random sample, and the threshold, from the same sample.

    Parameters
    ----------
    detector : object
        A detector of rows of this package; a :class:`~skrdae.WindowedDetector`; or a
        :class:`~skrdae.CalibratedDetector` around one of these. It is left as it is.
    X : Dask array or DataFrame, or list of series
        Of shape (n_samples, n_features), in chunks of whole rows whose number may be unknown. Rows
        may have a shape of their own, as images. Keep it in the memory of the workers,
        ``X.persist()``, if it fits in there: X is read twice. Of a detector of series, a list of
        series: Dask arrays, Dask DataFrames or delayed objects. Such a detector is fitted to a
        random sample of whole series, in this process.
    sample_size : int, optional
        Rows of the sample, or steps of the series in it, by default 100,000 (fewer of very wide
        rows). If X has no more rows, the sample is all of X.
    client : distributed.Client, optional
        By default the one created last.

    Returns
    -------
    object
        A clone of the detector, fitted. ``decision_scores_`` and ``labels_`` belong to the rows of
        the sample.

    Raises
    ------
    ValueError, TypeError
        If there is no client, if workers lack the package or have other versions, if a parameter or
        a partition of X is invalid (the message names it), or if the partitions of a member
        have fewer than 32 rows.

    Examples
    --------
    >>> import dask.array as da
    >>> from dask.distributed import Client
    >>> import skrdae.dask
    >>> from skrdae import RobustDeepAutoencoder
    >>> with Client(processes=False, dashboard_address=":0") as client:
    ...     X = da.random.default_rng(0).normal(size=(10_000, 5), chunks=(1000, -1))
    ...     detector = skrdae.dask.fit(RobustDeepAutoencoder(random_state=0), X)
    ...     share = skrdae.dask.predict(detector, X).mean().compute()
    >>> print(f"{share:.2f}")
    0.10
    """
    whole = isinstance(sample_size, Integral) and not isinstance(sample_size, bool)
    if sample_size is not None and not (whole and int(sample_size) > 0):
        raise ValueError(f"sample_size must be a positive whole number; got {sample_size!r}.")
    if getattr(detector, "_takes_series", False):
        return fit_series(client_of(client), detector, X, sample_size)
    calibrated = isinstance(detector, CalibratedDetector)
    n_folds = _n_folds(detector) if calibrated else 1
    inner = detector.detector if calibrated else detector
    check_detector(inner)
    clone(inner)._check_parameters()  # before any partition is read
    client = client_of(client)
    parts = parts_of(X)
    size = default_sample_size(X) if sample_size is None else int(sample_size)
    wanted = rows_of_parts(X, len(parts), size)
    looks: list[Look] = results(
        client,
        [
            delayed(look)(inner, part, number, n, n_folds)
            for number, (part, n) in enumerate(zip(parts, wanted, strict=True))
        ],
    )
    sample = sample_of(looks, size)
    if calibrated:
        return _calibrated(client, detector, parts, looks, sample)
    return _fitted(client, [inner], parts, looks, sample, [-1])[0]


def _fitted(
    client: Client,
    detectors: Sequence[Any],
    parts: list[Any],
    looks: list[Look],
    sample: Sample,
    folds: Sequence[int],
) -> list[Any]:
    """Fit detectors to the rows outside of their folds, all of their members beside each other."""
    members, agreements = [], []
    draws: dict[int, list[Draw]] = {}  # by partition
    for detector, fold in zip(detectors, folds, strict=True):
        places, moments = sample.outside(fold)
        agreement = agree(detector, some_rows(sample.rows, places), moments)
        agreements.append((agreement, places))
        if _has_members(detector):
            plan = Plan(agreement, looks, fold)
            there = delayed(plan.training)
            for member in range(len(agreement.seeds)):
                members.append((there, member, *plan.rows(member, draws)))
    n_folds = len(looks[0].counts)
    taken = {k: delayed(take)(parts[k], k, mine, n_folds) for k, mine in draws.items()}
    tasks = [
        delayed(train)(there, member, [delayed(getitem)(taken[k], i) for k, i in places], what)
        for there, member, places, what in members
    ]
    trained = iter(results(client, tasks))
    fitted = []
    for detector, (agreement, places) in zip(detectors, agreements, strict=True):
        rows = some_rows(sample.rows, places)
        if _has_members(detector):
            found = merge([next(trained) for _ in agreement.seeds], rows)
            found.set_params(**clone(detector).get_params(deep=False))
        else:
            found = agreement.fit_member(0, rows)
        fitted.append(found)
    return fitted


def _has_members(detector: Any) -> bool:
    return "n_estimators" in detector.get_params()


class Plan:
    """Which member is trained on how many rows of which partitions.

    Parameters
    ----------
    agreement : Agreement
    looks : list of Look
    fold : int
        Whose rows are left out.
    """

    def __init__(self, agreement: Agreement, looks: list[Look], fold: int) -> None:
        self.fold = fold
        counts = np.array([found.counts for found in looks])
        self.sizes: IntArray = counts.sum(axis=1) - (counts[:, fold] if fold >= 0 else 0)
        self.filled = np.flatnonzero(self.sizes)
        if self.sizes.sum() < FEWEST_ROWS:
            of_fold = " outside of a fold" if fold >= 0 else ""
            raise ValueError(
                f"X has {self.sizes.sum()} rows{of_fold}, fewer than {FEWEST_ROWS}: too few to "
                "train on."
            )
        self.seeds = agreement.seeds
        # The rows that a member gets are drawn already.
        detector = clone(agreement.detector)
        self.max_samples = detector.get_params().get("max_samples", 1.0)
        if "max_samples" in detector.get_params():
            detector.set_params(max_samples=1.0)
        values = vars(agreement) | {"detector": detector}
        self.training = Agreement(**values)

    def partitions(self, member: int) -> tuple[IntArray, int]:
        """Return the numbers of a member's partitions, and how many of their rows it gets."""
        n_groups = min(len(self.seeds), len(self.filled))
        groups = [self.filled[(member + i) % n_groups :: n_groups] for i in range(n_groups)]
        own = groups[0]
        share = isinstance(self.max_samples, Real) and not isinstance(self.max_samples, Integral)
        if share:
            return own, rows_a_member(self.max_samples, int(self.sizes[own].sum()))
        # As many rows as in one fit, and from all over the data: of other partitions, too, where
        # its own do not give them.
        wanted = rows_a_member(self.max_samples, int(self.sizes.sum()))
        order = np.concatenate(groups)
        n_needed = int(np.searchsorted(np.cumsum(self.sizes[order]), wanted)) + 1
        return np.sort(order[: max(len(own), n_needed, FEWEST_PARTITIONS)]), wanted

    def rows(self, member: int, draws: dict[int, list[Draw]]) -> tuple[list[tuple[int, int]], str]:
        """Add what a member draws from its partitions to the draws.

        Returns
        -------
        places : list of (int, int)
            The number of a partition, and the place of the draw in its list.
        what : str
            The member and its partitions, for messages.
        """
        mine, n_rows = self.partitions(member)
        sizes = self.sizes[mine]
        what = f"Member {member}, with partition{'s' * (len(mine) > 1)} {_listed(mine)} of X"
        if sizes.sum() < FEWEST_ROWS:
            raise ValueError(
                f"{what}, has {sizes.sum()} rows to be trained on, fewer than {FEWEST_ROWS}: make "
                "fewer and larger partitions (X.rechunk, X.repartition), or lower n_estimators."
            )
        places = []
        for number, n in zip(mine.tolist(), shared_out(n_rows, sizes).tolist(), strict=True):
            if n:
                of_partition = draws.setdefault(number, [])
                places.append((number, len(of_partition)))
                of_partition.append(Draw(n, int(self.seeds[member]), self.fold))
        return places, what


def _listed(numbers: IntArray) -> str:
    shown = ", ".join(map(str, numbers[:5].tolist()))
    return shown + (f" and {len(numbers) - 5} more" if len(numbers) > 5 else "")


def train(agreement: Agreement, member: int, rows: list[Any], what: str) -> tuple[Any, Any]:
    """Train a member; return it without what it says of its rows, and the warnings."""
    with recorded() as caught, named(what):
        found = agreement.fit_member(member, joined(rows))
    told = [(category, text) for category, text in caught if category.__module__ != "builtins"]
    return without_rows(found), told


# -------------------------------------------------------------------------------- p-values


def _n_folds(detector: CalibratedDetector) -> int:
    clone(detector)._begin()  # which checks the parameters
    cv: Any = 5 if detector.cv is None else detector.cv
    if not (isinstance(cv, Integral) and int(cv) > 1):
        raise ValueError(
            f"cv must be None or a number of folds for a Dask collection; got {detector.cv!r}."
        )
    return int(cv)


def _calibrated(
    client: Client,
    detector: CalibratedDetector,
    parts: list[Any],
    looks: list[Look],
    sample: Sample,
) -> CalibratedDetector:
    """Fit a clone to all rows, and one to those outside of each fold; calibrate with the sample."""
    fitted: Any = clone(detector)
    n_folds = len(looks[0].counts)
    folds = [-1, *range(n_folds)]
    with refitting(fitted) as draft:
        seed = draft._begin()
        rows = draft._checked(sample.rows, reset=True)
        wanted = [draft._clone(seed) for _ in folds]
        draft.detector_, *clones = _fitted(client, wanted, parts, looks, sample, folds)
        tests = [np.flatnonzero(sample.folds == fold) for fold in range(n_folds)]
        draft._calibrate(rows, tests, clones)
    return fitted
