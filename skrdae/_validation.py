"""Checks of what users hand in: one table of parameters a detector, one function for data."""

from __future__ import annotations

import contextlib
import numbers
import sys
import warnings
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any, Literal, TypeGuard, TypeVar, overload

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.utils._param_validation import (
    InvalidParameterError,
    validate_parameter_constraints,
)
from sklearn.utils.validation import check_array, column_or_1d, validate_data

from skrdae._bases import BaseEstimator
from skrdae._columns import numbers_only
from skrdae._typing import BoolArray, FloatArray, FloatRows, FloatRowsOrSparse, MatrixLike

_T = TypeVar("_T")
_Estimator = TypeVar("_Estimator", bound=BaseEstimator)
# Columns that a warning lists.
_LISTED = 10
_LARGEST_WHOLE = 2**63 - 1


def check_parameters(estimator: Any) -> None:
    """Check an estimator's parameters against its ``_parameter_constraints``.

    Raises
    ------
    InvalidParameterError
        A ValueError and a TypeError. It names the parameter, what is allowed, and what came.
    """
    parameters = estimator.get_params(deep=False)
    name = type(estimator).__name__
    validate_parameter_constraints(estimator._parameter_constraints, parameters, caller_name=name)
    for key, value in parameters.items():
        # To Python a bool is a number, but `batch_size=True` is a mistake.
        if isinstance(value, bool | np.bool_) and key not in estimator._boolean_parameters:
            raise InvalidParameterError(
                f"The {key!r} parameter of {name} must not be a boolean. Got {value!r} instead."
            )
        # A whole number may be one that no array can hold.
        if isinstance(value, numbers.Integral) and abs(int(value)) > _LARGEST_WHOLE:
            raise InvalidParameterError(
                f"The {key!r} parameter of {name} must be at most {_LARGEST_WHOLE}, or a float "
                f"where it may be one. Got a whole number of {len(str(value))} digits instead."
            )


def check_layer_sizes(sizes: Any, name: str = "hidden_layer_sizes") -> tuple[int, ...]:
    """Return layer sizes as a tuple of ints.

    Raises
    ------
    TypeError
        If `sizes` is no sequence of integers.
    ValueError
        If there is none, or one below 1.
    """
    entries: list[int] | None
    try:
        entries = list(sizes)
    except TypeError:
        entries = None
    if isinstance(sizes, str | bytes) or entries is None:
        raise TypeError(f"{name} must be a sequence of layer sizes such as (64, 8); got {sizes!r}.")
    if not all(isinstance(s, numbers.Integral) and not isinstance(s, bool) for s in entries):
        raise TypeError(f"{name} must hold integers only; got {sizes!r}.")
    if not entries or min(entries) < 1:
        raise ValueError(
            f"{name} must name at least one layer, each of at least 1 unit; got {sizes!r}."
        )
    return tuple(int(s) for s in entries)


@overload
def check_data(
    estimator: Any, X: ArrayLike, *, reset: bool, sparse: Literal[False] = False
) -> FloatRows: ...
@overload
def check_data(
    estimator: Any, X: MatrixLike, *, reset: bool, sparse: bool
) -> FloatRowsOrSparse: ...
def check_data(
    estimator: Any, X: MatrixLike, *, reset: bool, sparse: bool = False
) -> FloatRowsOrSparse:
    """Return X as a float array; see :func:`sklearn.utils.validation.validate_data`.

    With ``sparse=True`` it may be a CSR matrix, too.

    Feature count and names are learnt with ``reset=True`` and held against those with ``False``.

    Raises
    ------
    ValueError, TypeError
        If X has more than two axes, misses values, or has columns that do not hold numbers, see
        :func:`~skrdae._columns.numbers_only`; and what scikit-learn raises.
    """
    # scikit-learn would hand it back as it is, but takes longer to find that out than it takes to
    # score a row.
    if not reset and _is_plain(X, estimator):
        return X
    X = numbers_only(X)
    _check_axes(X, type(estimator).__name__)
    accepted = "csr" if sparse else False
    if isinstance(X, np.ndarray) and not X.dtype.isnative:
        X = X.astype(X.dtype.newbyteorder("="))  # single precision stays what it is
    options: Any = {"reset": reset, "dtype": [np.float64, np.float32], "accept_sparse": accepted}
    try:
        return validate_data(estimator, X, **options)
    except ValueError as error:
        if "contains NaN" not in str(error):
            raise
    # scikit-learn names no columns, and recommends estimators for other tasks.
    values = validate_data(estimator, X, ensure_all_finite="allow-nan", **options)
    raise ValueError(_missing_values(values, getattr(estimator, "feature_names_in_", None)))


def _check_axes(X: Any, taker: str) -> None:
    """Raise a ValueError if X has more than the two axes of rows."""
    if getattr(X, "ndim", 2) > 2:
        raise ValueError(
            f"X has {X.ndim} axes, its shape is {tuple(X.shape)}, but {taker} takes rows: an array "
            "of shape (n_samples, n_features). Make one row of each sample: "
            "X.reshape(len(X), -1). (Images, of shape (n_samples, height, width), can go to "
            "ConvRobustAutoencoder as they are, windows of time series, of shape (n_samples, "
            "n_steps, n_channels), to LSTMRobustAutoencoder; whole series go to WindowedDetector.)"
        )


def _missing_values(X: Any, names: NDArray[np.object_] | None) -> str:
    """Return the error message for rows, dense or sparse, that hold NaN."""
    if issparse(X):
        counts = np.bincount(X.indices[np.isnan(X.data)], minlength=X.shape[1])
    else:
        counts = np.isnan(X).sum(axis=0)
    columns = np.flatnonzero(counts)
    labels = columns if names is None else names[columns]
    return (
        f"X contains NaN in {len(columns)} of {X.shape[1]} columns: {listed(labels.tolist())} "
        f"({counts.sum()} missing values in all). Fill them in first, with "
        "skrdae.tables.TableEncoder(missing='median') or scikit-learn's SimpleImputer in front of "
        "the detector in a pipeline; or drop the rows that hold them."
    )


def _is_plain(X: object, estimator: Any) -> TypeGuard[FloatRows]:
    if not (
        type(X) is np.ndarray
        and X.dtype in (np.float64, np.float32)
        and X.ndim == 2
        and len(X) > 0
        and X.shape[1] == estimator.n_features_in_
        and not hasattr(estimator, "feature_names_in_")
    ):
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        return np.isfinite(X.sum())


def plain_values(X: Any, estimator: Any) -> FloatArray | None:
    """Return X in double precision if it is plainly what a fitted estimator takes.

    Parameters
    ----------
    X : object
    estimator : object
        Has `n_features_in_`, and `feature_names_in_` if it was fitted to a table with names.

    Returns
    -------
    ndarray of shape (n_samples, n_features), float64, or None
        None if it takes a closer look to tell, or what is wrong.
    """
    values: FloatArray
    if _is_plain(X, estimator):
        values = X.astype(np.float64, copy=False)
        return values
    names = getattr(estimator, "feature_names_in_", None)
    pandas: Any = sys.modules.get("pandas")
    if names is None or pandas is None or type(X) is not pandas.DataFrame:
        return None
    if len(names) != len(X.columns) or list(names) != X.columns.tolist():
        return None
    values = X.to_numpy()  # objects, if not all columns are numbers
    if values.dtype != np.float64 or not len(values):
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        return values if np.isfinite(values.sum()) else None


def check_labels_given(y: ArrayLike | None, taker: str) -> ArrayLike:
    """Return y if there is one.

    Raises
    ------
    ValueError
        If y is None. The message names scorers that need no labels.
    """
    if y is None:
        raise ValueError(
            f"{taker} compares scores with labels, but y is None: pass y (1 for anomalies, 0 for "
            "normal rows) to it, or to the fit of the search. Without labels choose another "
            "scoring: excess_mass_scorer or mass_volume_scorer of skrdae.metrics."
        )
    return y


def check_labels(y: ArrayLike) -> BoolArray:
    """Return labels as a boolean array, True for anomalies.

    Raises
    ------
    ValueError
        If y is not one column of 0 and 1 (or booleans).
    """
    labels: NDArray[Any]
    labels = column_or_1d(check_array(y, ensure_2d=False, dtype=None, input_name="y"))
    found = np.unique(labels)
    if not np.isin(found, (0, 1)).all():
        shown = ", ".join(map(repr, found[:5].tolist())) + (", …" if len(found) > 5 else "")
        hint = " Of scikit-learn's outlier labels pass y == -1." if set(found) <= {-1, 1} else ""
        raise ValueError(f"y must hold 0 (normal) and 1 (anomaly) only; it holds {shown}.{hint}")
    return labels.astype(bool)


def warn_of_constants(names: Sequence[Any], what: str) -> None:
    """Warn of columns, or channels, that do not change; `names` may be empty."""
    if not names:
        return
    warnings.warn(
        f"{what} of X are constant: {listed(names)}. Any other value in them will count as "
        "anomalous, whatever its unit: leave them out if it should not.",
        UserWarning,
        stacklevel=outside(),
    )


def listed(names: Sequence[Any]) -> str:
    """Return names of columns for a message, which has room for ten."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(map(repr, names[:_LISTED])) + more


def outside() -> int:
    """Return the ``stacklevel`` of a warning that points to the call into this package."""
    frame: FrameType | None
    frame, level = sys._getframe(1), 1
    while frame is not None and frame.f_globals.get("__name__", "").startswith("skrdae."):
        frame, level = frame.f_back, level + 1
    return level


@contextlib.contextmanager
def refitting(estimator: _Estimator) -> Iterator[_Estimator]:
    """Give a copy to fit; when the block ends, its attributes become those of the estimator.

    That is one assignment, so that other threads see the estimator as it was before the fit or as
    it is after it, and nothing in between (see :func:`snapshot`). If the block fails, the estimator
    is as before, and so are the random generators among its attributes.
    """
    before = vars(estimator)
    draft = _twin(estimator, before.copy())
    drawn = [(v, v.get_state()) for v in before.values() if isinstance(v, RandomState)]
    try:
        yield draft
    except BaseException:
        for random, state in drawn:
            random.set_state(state)
        raise
    # Parameters that were set meanwhile, by a callback for example, stay set.
    parameters = {k: v for k, v in vars(estimator).items() if k in estimator._get_param_names()}
    estimator.__dict__ = vars(draft) | parameters


def snapshot(estimator: _T) -> _T:
    """Return the estimator as it is now, which a fit in another thread does not change."""
    return _twin(estimator, vars(estimator))


def _twin(estimator: _T, attributes: dict[str, Any]) -> _T:
    twin = object.__new__(type(estimator))
    twin.__dict__ = attributes
    return twin
