"""Which columns of a table make its rows anomalous, told through pipelines and encoders."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.utils.validation import check_is_fitted

from skrdae._typing import IntArray, SeriesLike
from skrdae.detectors.outlier_adapter import OutlierAdapter
from skrdae.tables import EvenSteps, TableEncoder

if TYPE_CHECKING:
    from pandas import DataFrame


class MixedColumnsError(ValueError):
    """A step of a pipeline makes columns that do not come from one column each.

    Attributes
    ----------
    step : str
        The class of the step.
    """

    def __init__(self, step: Any, reason: str) -> None:
        self.step = type(step).__name__
        super().__init__(
            f"{self.step}, a step of the pipeline, {reason}, so that scores cannot be split over "
            "the columns of X. Call the detector's own explain on what that step makes."
        )


def explain(estimator: Any, X: SeriesLike) -> DataFrame:
    """Split the scores of rows, or of the steps of a series, over the columns of a table.

    In a pipeline, what the detector tells of the columns that it sees is brought back to the
    columns of X: those that a column was encoded in are summed.

    Parameters
    ----------
    estimator : object
        A fitted detector with ``explain``, also as the last step of a
        :class:`~sklearn.pipeline.Pipeline`, in an :class:`OutlierAdapter`, a
        :class:`~sklearn.frozen.FrozenEstimator` or a search such as
        :class:`~sklearn.model_selection.GridSearchCV`.
    X : array-like of shape (n_samples, n_columns)
        As for the estimator's ``decision_function``.

    Returns
    -------
    DataFrame of shape (n_samples, n_columns)
        The contribution of each column to the score of each row (for an :class:`OutlierAdapter`, of
        the detector in it, whose high scores are anomalous); NaN for steps of a series without a
        score. Columns are those of X; without names, "x0" and so on. The index is that of X, or
        that of what the steps before the detector make, if they add or leave out rows.

    Raises
    ------
    TypeError
        If the detector has no ``explain``.
    ValueError
        If a step of the pipeline makes columns of several others, as PCA does, or does not tell
        from which they come. The message names the step.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklearn.compose import make_column_transformer
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> import skrdae
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"power": rng.normal(size=200), "valve": rng.choice(["a", "b"], 200)})
    >>> X.loc[7, "power"] = 9
    >>> encode = make_column_transformer(
    ...     (OneHotEncoder(sparse_output=False), ["valve"]), remainder="passthrough"
    ... )
    >>> detector = skrdae.RobustDeepAutoencoder(random_state=0)
    >>> parts = skrdae.explain(make_pipeline(encode, detector).fit(X), X)
    >>> parts.columns.tolist(), parts.loc[7].idxmax()
    (['power', 'valve'], 'power')
    """
    import pandas as pd

    *steps, detector = steps_of(estimator)
    detector_, adapted = _unwrapped(detector)
    if not hasattr(detector_, "explain"):
        raise TypeError(_no_explain(detector_))
    check_is_fitted(detector_)
    seen: Any = X
    for step in steps:
        seen = step.transform(seen)
    if adapted and not getattr(detector_, "_takes_series", False):
        seen = detector._checked(seen)
    found = np.asarray(detector_.explain(seen), float)
    found = found.reshape(len(found), -1)  # windows with channels, images
    names = _names(X, [*steps, detector_])
    origins = origins_of(steps, names)
    if len(origins) != found.shape[1]:
        raise ValueError(
            f"{type(detector_).__name__} explains {found.shape[1]} features, but there are "
            f"{len(origins)} columns."
        )
    given: list[Any] = [seen, X]
    index = next((x.index for x in given if hasattr(x, "iloc") and len(x) == len(found)), None)
    parts = pd.DataFrame(summed(found, origins, len(names)), index=index, columns=names)
    own = _names_of(X)
    if own is None or own == names or not set(own) & set(names):
        return parts
    # X in another order, or with columns that no step looks at.
    needed = [names[place] for place in sorted(set(origins.tolist()))]
    own = [name for name in own if name in names or steps]
    return parts.reindex(columns=[*own, *(n for n in needed if n not in own)], fill_value=0.0)


def _no_explain(detector: Any) -> str:
    held = getattr(detector, "detector", detector)
    told = f"{type(held).__name__} has no explain: its scores cannot be split over columns."
    if isinstance(held, Pipeline) and held is not detector:
        inner = type(detector).__name__
        told += f" Put the steps before it: make_pipeline(steps, {inner}(detector))."
    if getattr(detector, "_takes_series", False) and hasattr(detector, "channels"):
        told += " With channels='separate' WindowedDetector has one for any detector."
    return told


def steps_of(estimator: Any) -> list[Any]:
    """Return the steps of a pipeline that do something, those of pipelines within it too."""
    if isinstance(estimator, Pipeline):
        steps = (step for _, step in estimator.steps if step not in (None, "passthrough"))
        return [inner for step in steps for inner in steps_of(step)]
    if hasattr(estimator, "best_estimator_"):
        return steps_of(estimator.best_estimator_)
    if isinstance(estimator, FrozenEstimator):
        return steps_of(estimator.estimator)
    return [estimator]


def _unwrapped(detector: Any) -> tuple[Any, bool]:
    """Return the detector within an OutlierAdapter, and whether there was one."""
    if not isinstance(detector, OutlierAdapter):
        return detector, False
    check_is_fitted(detector)
    return detector.detector_, True


def _names_of(X: Any) -> list[Any] | None:
    """Return the names of the columns of a table."""
    if hasattr(X, "column_names"):  # Arrow
        return list(X.column_names)
    return list(X.columns) if hasattr(X, "columns") else None


def _names(X: Any, steps: list[Any]) -> list[Any]:
    """Return the names of the columns that the first step was fitted to, or those of X."""
    known = getattr(steps[0], "feature_names_in_", None)
    named = getattr(X, "ndim", 2) == 1 and getattr(X, "name", None) is not None  # a flat series
    if known is not None and not named:
        return list(known)
    own = [X.name] if named else _names_of(X)
    if own is None:
        return [f"x{place}" for place in range(steps[0].n_features_in_)]
    return own


def summed(found: NDArray[np.float64], origins: IntArray, n_columns: int) -> NDArray[np.float64]:
    """Add up contributions of features, (n, n_features), by the columns that they come from."""
    total = np.zeros((len(found), n_columns))
    for place, origin in enumerate(origins):
        total[:, origin] += found[:, place]
    return total


def origins_of(steps: Sequence[Any], names: Sequence[Any]) -> IntArray:
    """Return for each column that the last of some steps makes the one that it comes from.

    Parameters
    ----------
    steps : sequence of fitted transformers
    names : sequence
        Of the columns that the first of them takes.

    Returns
    -------
    ndarray of shape (n_features_out,), int
        Places among the `names`.

    Raises
    ------
    MixedColumnsError
        If that cannot be told.
    """
    origins, current = np.arange(len(names)), list(names)
    for step in steps:
        origins = origins[_origins(step, current)]
        if hasattr(step, "get_feature_names_out"):
            current = list(step.get_feature_names_out(_known_names(step, current)))
    return origins


def _known_names(step: Any, names: list[Any]) -> list[Any] | None:
    """Return names that a step accepts as those of its columns."""
    known = getattr(step, "feature_names_in_", None)
    return [str(name) for name in names] if known is None else list(known)


def _origins(step: Any, names: list[Any]) -> IntArray:
    """Return for each column that a step makes the place of the one that it comes from."""
    if step in ("passthrough", None) or isinstance(step, EvenSteps):
        return np.arange(len(names))
    if isinstance(step, Pipeline):
        return origins_of(steps_of(step), names)
    if isinstance(step, ColumnTransformer):
        return np.array(list(_of_parts(step, names)), int)
    if isinstance(step, FeatureUnion):
        parts = [_origins(part, names) for _, part in step.transformer_list if part != "drop"]
        return np.concatenate(parts)
    if isinstance(step, TableEncoder):
        places = {name: place for place, name in enumerate(names)}
        encoded = ((name, len(values)) for name, values in step.categories_.items())
        counts = [*((name, 1) for name in step.numeric_columns_), *encoded]
        return np.array([places[name] for name, count in counts for _ in range(count)], int)
    return _of_names(step, len(names))


def _of_parts(step: ColumnTransformer, names: list[Any]) -> Iterator[int]:
    """Yield what each column that a ColumnTransformer makes comes from."""
    for name, part, columns in step.transformers_:  # in the order of what they make
        if part == "drop":
            continue
        at = step.output_indices_[name]
        if at.start == at.stop:  # of no columns
            continue
        chosen = _places(columns, getattr(step, "feature_names_in_", names))
        yield from chosen[_origins(part, [names[place] for place in chosen])]


def _places(columns: Any, names: Sequence[Any]) -> IntArray:
    """Return the places of columns: a name, a place, several, a slice of either, or a mask."""
    import pandas as pd

    every = pd.Series(np.arange(len(names)), index=list(names))
    ends = (columns.start, columns.stop) if isinstance(columns, slice) else np.ravel(columns)
    by_name = any(isinstance(value, str) for value in ends)
    found = every.loc[columns] if by_name else every.to_numpy()[columns]
    return np.atleast_1d(np.asarray(found, int))


def _of_names(step: Any, n_columns: int) -> IntArray:
    """Tell what columns come from by their names, given names that are in no other name."""
    if not hasattr(step, "get_feature_names_out"):
        hint = " (set feature_names_out='one-to-one')" if hasattr(step, "feature_names_out") else ""
        raise MixedColumnsError(step, f"does not tell what its columns come from{hint}")
    marks = np.array([f"\0{place}\0" for place in range(n_columns)], dtype=object)
    named = copy.copy(step)
    if hasattr(named, "feature_names_in_"):
        named.feature_names_in_ = marks
    made = named.get_feature_names_out(marks)
    found = [{int(place) for place in re.findall("\0(\\d+)\0", str(name))} for name in made]
    if any(len(places) != 1 for places in found):
        raise MixedColumnsError(step, "makes columns of several others")
    return np.array([places.pop() for places in found], int)
