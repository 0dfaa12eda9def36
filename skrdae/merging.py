"""One detector from members that were trained apart: on parts of the data, on other machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from skrdae._device import plain_torch
from skrdae._random import member_seeds
from skrdae._typing import FloatRows, IntArray, MatrixLike, Record
from skrdae._validation import refitting, warn_of_constants
from skrdae._warned import recorded
from skrdae.detectors.agreed import Agreed
from skrdae.detectors.base import BaseTorchDetector, Learnt, Task
from skrdae.detectors.resuming import told_parameters
from skrdae.detectors.robust_autoencoder_cv import RobustDeepAutoencoderCV
from skrdae.detectors.robust_pca import RobustPCA
from skrdae.detectors.samples import rows_to_look_at
from skrdae.model import FittedModel
from skrdae.preprocessing import ColumnMoments, ColumnScaler
from skrdae.rows import HeldRows, LazyRows
from skrdae.training.rounds import Session

# What concerns a training and has no part in what it finds.
_QUIET = {"callbacks": None, "verbose": 0, "warm_start": False, "checkpoint_path": None}
# Parameters in which detectors that are merged may differ.
_MAY_DIFFER = {*_QUIET, "device", "max_samples", "n_estimators", "random_state"}
_NAMES = ("n_features_in_", "feature_names_in_")
#: What `fit` says of the rows that it was given.
_OF_ROWS = ("decision_scores_", "labels_", "low_rank_", "sparse_", "errors_")


@dataclass(frozen=True, eq=False)
class Agreement:
    """What members that are trained apart share; made by :func:`agree`.

    It is small, and can be pickled and sent to where the data are.

    Attributes
    ----------
    detector : object
        A clone of the detector that is to be fitted.
    scaler : ColumnScaler
        How the columns are scaled.
    level : float or None
        What rows are divided by for the network, of detectors that do so.
    seeds : ndarray of shape (n_estimators,)
        One for each member.
    names : dict
        Number and names of the columns.
    """

    detector: Any
    scaler: ColumnScaler
    level: float | None
    seeds: IntArray
    names: dict[str, Any]

    def fit_member(self, member: int, X: MatrixLike) -> Any:
        """Train one member on rows of its own.

        Parameters
        ----------
        member : int
            Its number, from 0 to `n_estimators` − 1. With ``lam="auto"`` each number has a λ of its
            own.
        X : array-like of shape (n_samples, n_features)
            The rows, of which the member takes `max_samples`.

        Returns
        -------
        object
            A fitted detector with one member, for :func:`merge`.

        Raises
        ------
        ValueError, TypeError
            If there is no such member, or X is invalid or has other columns than those agreed on.
        """
        if not isinstance(member, Integral) or isinstance(member, bool):
            raise TypeError(f"member must be an int, the number of a member; got {member!r}.")
        if not 0 <= member < len(self.seeds):
            raise ValueError(
                f"member must be a number from 0 to {len(self.seeds) - 1}; got {member!r}."
            )
        fitted: Any = clone(self.detector)
        options = {**_QUIET, "n_estimators": 1}
        fitted.set_params(**{k: v for k, v in options.items() if k in fitted.get_params()})
        fitted._agreed = Agreed(self.scaler, self.level, member, len(self.seeds))
        with refitting(fitted) as draft, plain_torch():
            draft._check_parameters()
            rows = _dense(draft._check_data(X, reset=True))
            _check_names(draft, self.names, "X")
            draft._fit_checked(rows, self.seeds[member : member + 1], {})
        del fitted._agreed
        return fitted


def agree(detector: Any, X: MatrixLike, moments: ColumnMoments | None = None) -> Agreement:
    """Find out on a sample what members that are trained apart have to share.

    Parameters
    ----------
    detector : object
        A detector of rows, with `n_estimators` as the number of all members.
    X : array-like of shape (n_samples, n_features)
        A random sample of the data of all members.
    moments : ColumnMoments, optional
        Of all rows. With them ``scaler="minmax"`` and ``"standard"`` scale as a fit to all rows
        would, and ``"robust"`` takes quantiles only from the sample.

    Returns
    -------
    Agreement

    Raises
    ------
    ValueError, TypeError
        If the detector has no members that could be trained apart, or a parameter or X is invalid.
    """
    check_detector(detector)
    probe: Any = clone(detector)
    probe._check_parameters()
    rows = _dense(probe._check_data(X, reset=True))
    scaler = ColumnScaler(probe._scaling, probe._bound).fit(rows, moments)
    warn_of_constants(probe._column_names()[scaler.constant_].tolist(), "Columns")
    seeds = member_seeds(probe.random_state, probe.n_estimators)
    names = {name: getattr(probe, name) for name in _NAMES if hasattr(probe, name)}
    return Agreement(clone(detector), scaler, _level(probe, rows, scaler), seeds, names)


def _level(probe: Any, rows: FloatRows, scaler: ColumnScaler) -> float | None:
    """Return what a detector divides rows by, told from the shortest of its trainings."""
    options: dict[str, Any] = dict.fromkeys(getattr(probe, "_lengths", ()), 1)
    if not options:
        return None
    options |= {"n_estimators": 1, "max_samples": None, "device": "cpu", **_QUIET}
    probe.set_params(**{k: v for k, v in options.items() if k in probe.get_params()})
    some = rows[rows_to_look_at(len(rows)).numpy()]
    device = torch.device("cpu")
    held = HeldRows(LazyRows(some, scaler, device).take(slice(None)))
    task = Task(held, scaler, np.zeros(1, np.int64), Session(), probe._column_names())
    with recorded(), plain_torch():  # and not shown: the training ends at once
        found = probe._learn(task)
    level: float | None = getattr(found.scorer, "level", None)
    return level


def merge(detectors: Sequence[Any], X: MatrixLike) -> Any:
    """Make one detector of fitted detectors whose members were trained on parts of the data.

    The members are weighed by their scores of X, and X sets the threshold, as the training data do
    in `fit`. What comes out is an ordinary fitted detector: it scores, explains, and can be saved
    and exported.

    Parameters
    ----------
    detectors : sequence of detectors
        Fitted, of one class and with the same parameters, but for `n_estimators`, `max_samples`,
        `random_state`, `device` and the like. They have to scale the columns alike: fit them by
        :meth:`skrdae.merging.Agreement.fit_member`.
    X : array-like of shape (n_samples, n_features)
        A random sample of the data of all members. ``decision_scores_`` and ``labels_`` belong to
        its rows.

    Returns
    -------
    object
        A fitted detector with the parameters of the first one, and with all members, in order.

    Raises
    ------
    ValueError, TypeError
        If the detectors do not go together, or X is invalid.

    Examples
    --------
    >>> import numpy as np
    >>> from skrdae import RobustDeepAutoencoder, merge
    >>> from skrdae.merging import agree
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(400, 2)) @ rng.normal(size=(2, 6))
    >>> X[:5] += rng.normal(scale=8, size=(5, 6))
    >>> parts = np.array_split(rng.permutation(X), 4)  # on four machines
    >>> detector = RobustDeepAutoencoder(n_estimators=4, contamination=0.0125, random_state=0)
    >>> agreement = agree(detector, X[::2])
    >>> members = [agreement.fit_member(k, part) for k, part in enumerate(parts)]
    >>> merged = merge(members, X)
    >>> np.flatnonzero(merged.labels_).tolist()
    [0, 1, 2, 3, 4]
    """
    detectors = list(detectors)
    _check_together(detectors)
    if hasattr(X, "__dask_graph__"):
        raise TypeError(
            f"X must be rows in memory, a sample of the data; got {type(X).__name__} of Dask. "
            "skrdae.dask.fit samples and merges by itself."
        )
    first = detectors[0]
    merged: Any = clone(first)
    if "n_estimators" in merged.get_params():
        merged.set_params(n_estimators=sum(len(one.model_.weights) for one in detectors))
    with plain_torch():
        models = [one.model_.to(first.device_) for one in detectors]
        rows = _dense(merged._check_data(X, reset=True))
        _check_names(merged, vars(first), "X")
        learnt = Learnt(
            models[0].network.joined([model.network for model in models[1:]]),
            _joined_scorer(models),
            _joined_attributes(detectors),
        )
        members = sum(len(model.weights) for model in models)
        model = FittedModel(models[0].scaler, learnt.network, learnt.scorer, np.ones(members))
        scores = merged._map(model, model.scorer.scores, model.rows(rows))
        merged._judge(model, learnt, scores, rows)
        merged._conclude(rows, learnt)
    return merged


def without_rows(detector: Any) -> Any:
    """Return a fitted detector without what it says of the rows that it was fitted to.

    That is all that :func:`merge` needs of it, and does not grow with the rows.
    """
    light = clone(detector)
    vars(light).update({k: v for k, v in vars(detector).items() if k not in _OF_ROWS})
    return light


# ---------------------------------------------------------------------------------- checks


def check_detector(detector: Any) -> None:
    """Raise a TypeError unless a detector has members that can be trained apart."""
    name = type(detector).__name__
    if not isinstance(detector, BaseTorchDetector):
        raise TypeError(
            f"detector must be a detector of rows of this package, such as RobustDeepAutoencoder; "
            f"got {detector!r}."
        )
    if isinstance(detector, RobustDeepAutoencoderCV):
        raise TypeError(
            f"{name} is fitted to all rows several times: fit it to a sample, and train "
            "RobustDeepAutoencoder(lam=search.best_lam_) on the parts."
        )


def _check_together(detectors: list[Any]) -> None:
    """Raise unless fitted detectors can be one."""
    if not detectors:
        raise ValueError("detectors is empty: there is nothing to merge.")
    first = detectors[0]
    for number, one in enumerate(detectors):
        check_detector(one)
        where = f"detectors[{number}]"
        if "model_" not in vars(one):
            raise ValueError(f"{where} is not fitted.")
        if type(one) is not type(first):
            raise ValueError(
                f"{where} is a {type(one).__name__}, and detectors[0] a {type(first).__name__}."
            )
        if number and isinstance(one, RobustPCA):
            raise ValueError("RobustPCA has one network and no members: fit it to a sample.")
        if not number:
            ours = told_parameters(first, _MAY_DIFFER)
        theirs = told_parameters(one, _MAY_DIFFER)
        for name, value in ours.items():
            if theirs[name] != value:
                raise ValueError(
                    f"{where} has {name}={theirs[name]}, and detectors[0] has {value}: only "
                    "detectors of one configuration can be merged."
                )
        _check_names(one, vars(first), where)
        _check_scaler(one, first, where)


def _check_names(detector: Any, wanted: dict[str, Any], where: str) -> None:
    n_features, n_wanted = detector.n_features_in_, wanted["n_features_in_"]
    if n_features != n_wanted:
        raise ValueError(f"{where} has {n_features} columns, and {n_wanted} were agreed on.")
    names, known = getattr(detector, "feature_names_in_", None), wanted.get("feature_names_in_")
    if (names is None) != (known is None) or (names is not None and (names != known).any()):
        raise ValueError(
            f"The columns of {where} have other names, or another order: "
            f"{None if names is None else names.tolist()}, and "
            f"{None if known is None else known.tolist()} were agreed on."
        )


def _check_scaler(one: Any, first: Any, where: str) -> None:
    ours, theirs = first.scaler_, one.scaler_
    same: NDArray[np.bool_] = np.ones(len(ours.center_), bool)
    for name in ("center_", "scale_", "constant_"):
        same &= getattr(ours, name) == getattr(theirs, name)
    if not same.all() or ours.bound_ != theirs.bound_:
        column = "" if same.all() else f" (column {first._column_names()[~same].tolist()[0]!r})"
        raise ValueError(
            f"{where} scales the columns in another way than detectors[0]{column}. Members of one "
            "ensemble share their scales: agreement = skrdae.merging.agree(detector, sample), and "
            "then fit them by agreement.fit_member(number, rows)."
        )


def _dense(rows: Any) -> FloatRows:
    if not isinstance(rows, np.ndarray):
        raise TypeError("Members are trained apart on dense rows only: pass X.toarray().")
    return rows


# ----------------------------------------------------------------------------------- joins


def _joined_scorer(models: list[FittedModel]) -> Any:
    try:
        return models[0].scorer.joined([model.scorer for model in models[1:]])
    except ValueError as error:
        raise ValueError(
            f"The detectors do not score alike: {error}. Fit them by one agreement, see "
            "skrdae.merging.agree."
        ) from None


def _joined_attributes(detectors: list[Any]) -> dict[str, Any]:
    """Return what detectors have beside their models, of all members together."""
    found: dict[str, Any] = {}
    for name in ("history_", "encoder_history_"):
        if hasattr(detectors[0], name):
            weights = [len(one.model_.weights) for one in detectors]
            found[name] = _joined_history([getattr(one, name) for one in detectors], weights)
    if hasattr(detectors[0], "n_iter_"):
        found["n_iter_"] = max(one.n_iter_ for one in detectors)
    if hasattr(detectors[0], "noise_variance_"):
        found["noise_variance_"] = np.concatenate([one.noise_variance_ for one in detectors])
    if hasattr(detectors[0], "rank_"):
        found["rank_"] = detectors[0].rank_
    if hasattr(detectors[0], "lam_"):
        given = [np.atleast_1d(np.float32(one.lam_)) for one in detectors]
        found["lam_"] = np.concatenate(given) if len(detectors) > 1 else detectors[0].lam_
    return found


def _joined_history(histories: list[list[Record]], weights: list[int]) -> list[Record]:
    """Average histories round by round, over the members still in training."""
    joined: list[Record] = []
    for place in range(max(map(len, histories))):
        rows = [
            (history[place], history[place].get("n_training", weight))
            for history, weight in zip(histories, weights, strict=True)
            if place < len(history)
        ]
        n_members = sum(count for _, count in rows)
        row: Record = {}
        for name, value in rows[0][0].items():
            if isinstance(value, int):
                row[name] = n_members if name == "n_training" else value
            else:
                row[name] = sum(one[name] * count for one, count in rows) / n_members
        joined.append(row)
    return joined


def some_rows(X: Any, places: IntArray) -> Any:
    """Return some rows of an array or a DataFrame, all of them without a copy."""
    return X if len(places) == _num_samples(X) else _safe_indexing(X, places)
