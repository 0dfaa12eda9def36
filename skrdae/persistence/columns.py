"""What makes columns of columns: scikit-learn's scalers, TableEncoder and EvenSteps."""

from __future__ import annotations

import contextlib
import inspect
import math
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
from sklearn import preprocessing

from skrdae._schema import (
    LARGEST_OF_DATA,
    Check,
    Sizes,
    anything,
    array,
    boolean,
    each,
    either,
    mapping,
    misfit,
    number,
    optional,
    size,
    text,
)
from skrdae._validation import check_parameters
from skrdae.persistence.kinds import KINDS, Kind, check_columns, column_names, of_data, parameters
from skrdae.tables import EvenSteps, TableEncoder
from skrdae.tables.problems import MOST_CATEGORIES

SCALERS = (
    preprocessing.MaxAbsScaler,
    preprocessing.MinMaxScaler,
    preprocessing.RobustScaler,
    preprocessing.StandardScaler,
)
TRANSFORMERS = (*SCALERS, EvenSteps, TableEncoder)
# Characters of the form that times are written in.
_LONGEST_FORMAT = 200

_FLOATS = (np.float32, np.float64)


def _values(low: float = -LARGEST_OF_DATA) -> Check:
    return of_data(_FLOATS, "features", low=low)


_POSITIVE = _values(math.ulp(0.0))
_N_SEEN = either(array((np.int32, np.int64), "features", low=0), number(0))
_NAMES = {"feature_names_in_": column_names("features")}
#: scaler → what it has once it is fitted, and the parameters that say whether that may be None
_FITTED: dict[Any, tuple[dict[str, Check], dict[str, str]]] = {
    preprocessing.MaxAbsScaler: (
        {"n_samples_seen_": _N_SEEN, "max_abs_": _values(0), "scale_": _POSITIVE},
        {},
    ),
    preprocessing.MinMaxScaler: (
        {
            "n_samples_seen_": _N_SEEN,
            "scale_": _POSITIVE,
            "min_": _values(),
            "data_min_": _values(),
            "data_max_": _values(),
            "data_range_": _values(0),
        },
        {},
    ),
    preprocessing.RobustScaler: (
        {"center_": optional(_values()), "scale_": optional(_POSITIVE)},
        {"with_centering": "center_", "with_scaling": "scale_"},
    ),
    preprocessing.StandardScaler: (
        {
            "n_samples_seen_": _N_SEEN,
            "mean_": optional(_values()),
            "var_": optional(_values(0)),
            "scale_": optional(_POSITIVE),
        },
        {"with_mean": "mean_", "with_std": "scale_"},
    ),
}


def _scaled(scaler: Any, where: str, sizes: Sizes) -> None:
    for parameter, attribute in _FITTED[type(scaler)][1].items():
        if getattr(scaler, parameter) and getattr(scaler, attribute) is None:
            raise ValueError(f"{where} has {parameter}=True, and {attribute} is None")


def _defaults(cls: Any) -> dict[str, Callable[[dict[str, Any]], Any]]:
    """Return what parameters are where a version did not have them: what they are by default."""

    def always(value: Any) -> Callable[[dict[str, Any]], Any]:
        return lambda attributes: value

    return {p.name: always(p.default) for p in inspect.signature(cls).parameters.values()}


for _class, (_checks, _) in _FITTED.items():
    KINDS[_class] = Kind(
        parameters(_class),
        {"n_features_in_": size("features"), **_checks},
        _NAMES,
        _scaled,
        _class._validate_params,
        _defaults(_class),
    )


# -------------------------------------------------------------------------------- TableEncoder


def _columns(value: Any, where: str, sizes: Sizes) -> None:
    if type(value) is not list:
        misfit(where, value, "a list of names")
    check_columns(value, where)


def _format(value: Any, where: str, sizes: Sizes) -> None:
    text(value, where, sizes)
    if len(value) > _LONGEST_FORMAT:
        misfit(where, value, f"text of at most {_LONGEST_FORMAT} characters")
    try:
        with contextlib.suppress(ValueError):  # which is what comes of another format, too
            datetime.strptime("", value)
    except re.error:
        misfit(where, value, "a format with each directive once")


def _categories(value: Any, where: str, sizes: Sizes) -> None:
    each(text)(value, where, sizes)
    if value != sorted({*value}) or len(value) > MOST_CATEGORIES:
        raise ValueError(f"{where} does not hold up to {MOST_CATEGORIES} texts in order")


def _encoded(encoder: TableEncoder, where: str, sizes: Sizes) -> None:
    names = [*encoder.numeric_columns_, *encoder.categories_, *encoder.dropped_columns_]
    check_columns(names, where)
    known = vars(encoder).get("feature_names_in_")
    if len({*names}) < len(names) or len(names) > sizes["features"]:
        raise ValueError(f"{where} has a column twice, or more than it was fitted to")
    if (known is not None) != encoder._by_name or (known is not None and not {*names} <= {*known}):
        raise ValueError(f"{where} has columns that it was not fitted to")
    if not encoder.numeric_columns_ and not encoder.categories_:
        raise ValueError(f"{where} has no columns left")
    if len(encoder.fill_values_) != len(encoder.numeric_columns_):
        raise ValueError(f"{where}.fill_values_ has not one value for each column of numbers")
    unknown = np.isnan(encoder.fill_values_)
    if unknown.any() and not unknown.all():
        raise ValueError(f"{where}.fill_values_ is NaN for some columns and not for others")


KINDS[TableEncoder] = Kind(
    parameters(TableEncoder, time_format=optional(_format)),
    {
        "n_features_in_": size("features"),
        "numeric_columns_": _columns,
        "categories_": mapping(anything, _categories),
        "dropped_columns_": _columns,
        "time_format_": optional(_format),
        "fill_values_": of_data(np.float64, "columns of numbers", nan=True, empty=True),
        "_by_name": boolean,
    },
    _NAMES,
    _encoded,
    check_parameters,
)


KINDS[EvenSteps] = Kind(
    parameters(EvenSteps),
    {"n_features_in_": size("features"), "step_": number(math.ulp(0.0)), "centred_": boolean},
    _NAMES,
    settings=check_parameters,
)


def n_columns_out(step: Any) -> int | None:
    """Return how many columns a fitted estimator's `transform` gives, None if it has none."""
    if isinstance(step, TableEncoder):
        return len(step.numeric_columns_) + sum(map(len, step.categories_.values()))
    if isinstance(step, (*SCALERS, EvenSteps)):
        return step.n_features_in_
    return step._n_features_out if hasattr(step, "transform") else None
