"""Scorers for model selection, for detectors with high or with low scores of anomalies."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from pyod.models.base import BaseDetector
from scipy.stats import rankdata
from sklearn.base import is_outlier_detector
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_array, column_or_1d

from skrdae._typing import BoolArray, FloatArray, MatrixLike
from skrdae._validation import check_labels, check_labels_given

# Points drawn to measure volumes, always the same ones: their error is common to all candidates.
_N_UNIFORM = 10_000
# Of those, how many have to lie among the rows, for a volume known to a tenth of itself.
_N_INSIDE = 100
# The criteria look at level sets that hold at least this share of the rows.
_MASS = 0.9


# ------------------------------------------------------------------------------------ polarity


def deciding_step(estimator: Any) -> Any:
    """Return the final estimator within searches, pipelines and frozen estimators.

    Parameters
    ----------
    estimator : object

    Returns
    -------
    object
        The estimator whose ``predict`` and ``decision_function`` are the ones in use.
    """
    while True:
        if isinstance(estimator, Pipeline):
            estimator = estimator.steps[-1][1]
        elif hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        elif isinstance(estimator, FrozenEstimator):
            estimator = estimator.estimator
        else:
            return estimator


def high_is_normal(estimator: Any) -> bool:
    """Return whether high scores mean normal, as in scikit-learn's outlier detectors.

    Parameters
    ----------
    estimator : object

    Returns
    -------
    bool
    """
    last = deciding_step(estimator)
    # PyOD's detectors carry the same tag, but score and label the other way round.
    if isinstance(last, BaseDetector) or hasattr(last, "decision_scores_"):
        return False
    return is_outlier_detector(last)


def _check_scores_rows(estimator: object) -> None:
    if isinstance(estimator, type) or not any(
        hasattr(estimator, method) for method in ("decision_function", "predict_proba")
    ):
        name = getattr(estimator, "__name__", type(estimator).__name__)
        what = "is a class" if isinstance(estimator, type) else "has no decision_function"
        raise TypeError(
            f"{name} {what}, so it cannot be scored as an anomaly detector. (LocalOutlierFactor "
            "has one with novelty=True.)"
        )


def anomaly_scores(estimator: Any, X: MatrixLike) -> FloatArray:
    """Return the scores of a fitted estimator; the higher, the more anomalous.

    Parameters
    ----------
    estimator : object
        A detector of this package or of PyOD, an outlier detector of scikit-learn, a classifier
        whose second class is the anomalies, or a pipeline or search that ends in one of these.
    X : array-like of shape (n_samples, n_features)

    Returns
    -------
    ndarray of shape (n_samples,), float64
        Steps to which a ``WindowedDetector`` gives no score get the lowest score of the others.

    Examples
    --------
    >>> import numpy as np
    >>> from pyod.models.iforest import IForest
    >>> from sklearn.ensemble import IsolationForest
    >>> from skrdae.metrics import anomaly_scores
    >>> X = np.r_[np.random.default_rng(0).normal(size=(50, 2)), [[9.0, 9.0]]]
    >>> detectors = IsolationForest(random_state=0), IForest(random_state=0)
    >>> [int(anomaly_scores(d.fit(X), X).argmax()) for d in detectors]
    [50, 50]
    """
    scores = scores_or_nan(estimator, X)
    return np.nan_to_num(scores, nan=np.nanmin(scores))


def scores_or_nan(estimator: Any, X: MatrixLike) -> FloatArray:
    """Return the scores of :func:`anomaly_scores`, with NaN for steps that have none."""
    _check_scores_rows(estimator)
    if hasattr(estimator, "decision_function"):
        scores = estimator.decision_function(X)
    else:
        probabilities = np.asarray(estimator.predict_proba(X))
        if probabilities.ndim != 2 or probabilities.shape[1] != 2:
            raise ValueError(
                f"{type(estimator).__name__} tells {probabilities.shape[-1]} classes apart; an "
                "anomaly detector has to tell two."
            )
        scores = probabilities[:, 1]
    last = deciding_step(estimator)
    holes: Any = "allow-nan" if getattr(last, "_leaves_steps_out", False) else True
    scores = check_array(
        scores, ensure_2d=False, allow_nd=True, ensure_all_finite=holes, input_name="scores"
    )
    scores = column_or_1d(scores.reshape(len(scores), -1)).astype(np.float64)
    return -scores if high_is_normal(last) else scores


# ---------------------------------------------------------------------------- with labels


def _two_classes(y: ArrayLike | None, name: str) -> BoolArray | None:
    """Check labels; warn and return None where they hold one class only."""
    y = check_labels(check_labels_given(y, name))
    if y.all() or not y.any():
        warnings.warn(
            f"y holds {'anomalies' if y.all() else 'normal rows'} only, so {name} is not defined "
            "and gives NaN. Use StratifiedKFold(shuffle=True), with no more folds than anomalies.",
            UndefinedMetricWarning,
            stacklevel=3,
        )
        return None
    return y


def roc_auc_scorer(estimator: Any, X: MatrixLike, y: ArrayLike | None = None) -> float:
    """Score a fitted detector by the area under its ROC curve.

    Pass it as ``scoring=`` to ``GridSearchCV`` and its like. Detectors of this package, PyOD's and
    scikit-learn's are comparable in one search, though their scores point in opposite directions.

    Parameters
    ----------
    estimator : object
        See :func:`anomaly_scores`.
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
        1 for anomalies, 0 for normal rows.

    Returns
    -------
    float
        NaN, with an ``UndefinedMetricWarning``, if y holds one class only.

    Raises
    ------
    ValueError
        If there is no y, or it holds anything but 0 and 1.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.ensemble import IsolationForest
    >>> from sklearn.model_selection import GridSearchCV, StratifiedKFold
    >>> from sklearn.pipeline import Pipeline
    >>> from skrdae import RobustDeepAutoencoder
    >>> from skrdae.metrics import roc_auc_scorer
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(200, 3)), np.arange(200) % 20 == 0
    >>> X[y] *= 4
    >>> detectors = [IsolationForest(random_state=0), RobustDeepAutoencoder(random_state=0)]
    >>> search = GridSearchCV(
    ...     Pipeline([("detector", None)]),
    ...     {"detector": detectors},
    ...     scoring=roc_auc_scorer,
    ...     cv=StratifiedKFold(3, shuffle=True, random_state=0),
    ... ).fit(X, y)
    >>> bool(search.cv_results_["mean_test_score"].min() > 0.9)
    True
    """
    y = _two_classes(y, "roc_auc_scorer")
    return np.nan if y is None else float(roc_auc_score(y, anomaly_scores(estimator, X)))


def average_precision_scorer(estimator: Any, X: MatrixLike, y: ArrayLike | None = None) -> float:
    """Score a fitted detector by its average precision.

    Average precision depends on the top of the ranking, so it is stricter than the area under the
    ROC curve if anomalies are few. Random scores get the share of anomalies. Parameters, NaN and
    errors are as in :func:`roc_auc_scorer`.

    Returns
    -------
    float
    """
    y = _two_classes(y, "average_precision_scorer")
    return np.nan if y is None else float(average_precision_score(y, anomaly_scores(estimator, X)))


def f1_scorer(estimator: Any, X: MatrixLike, y: ArrayLike | None = None) -> float:
    """Score a fitted detector by the F1 of the rows it flags.

    Unlike the other scorers it depends on the threshold, and so on `contamination`. ``predict`` may
    mark anomalies by 1 or by −1. Parameters, NaN and errors are as in :func:`roc_auc_scorer`.

    Returns
    -------
    float
    """
    y = _two_classes(y, "f1_scorer")
    if y is None:
        return np.nan
    _check_scores_rows(estimator)
    predicted = column_or_1d(np.asarray(estimator.predict(X)))
    flagged = predicted == (-1 if high_is_normal(estimator) else 1)
    return float(f1_score(y, flagged, zero_division=0.0))


def precision_at_n_scorer(estimator: Any, X: MatrixLike, y: ArrayLike | None = None) -> float:
    """Score a fitted detector by its precision at n, where n is the number of anomalies in y.

    Scores tied at the n-th place count in proportion, so that the order of the rows does not
    matter. Parameters, NaN and errors are as in :func:`roc_auc_scorer`.

    Returns
    -------
    float
    """
    y = _two_classes(y, "precision_at_n_scorer")
    if y is None:
        return np.nan
    scores = anomaly_scores(estimator, X)
    n = int(y.sum())
    cut = np.partition(scores, -n)[-n]
    above, tied = scores > cut, scores == cut
    hits = y[above].sum() + (n - above.sum()) * y[tied].mean()
    return float(hits / n)


#: name → scorer that compares with labels.
SCORERS = {
    "roc_auc": roc_auc_scorer,
    "average_precision": average_precision_scorer,
    "f1": f1_scorer,
    "precision_at_n": precision_at_n_scorer,
}


# ------------------------------------------------------------------------- without labels


def agreement(rankings: ArrayLike) -> FloatArray:
    """Rate candidates by how well the ranking of each agrees with the average ranking.

    Parameters
    ----------
    rankings : array-like of shape (n_candidates, n_samples)
        The scores of each candidate, in any unit.

    Returns
    -------
    ndarray of shape (n_candidates,)
        The correlation of each candidate's ranks with the mean of all candidates' ranks; 0 for
        constant scores.

    References
    ----------
    Ma, M. Q., Y. Zhao, X. Zhang and L. Akoglu, The Need for Unsupervised Outlier Model Selection: A
    Review and Evaluation of Internal Evaluation Strategies, SIGKDD Explorations 25(1), 2023.

    Examples
    --------
    >>> from skrdae.metrics import agreement
    >>> agreement([[1, 2, 3, 4], [10, 20, 40, 30], [4, 1, 2, 3]]).round(2).tolist()
    [0.87, 0.76, 0.22]
    """
    ranks = rankdata(rankings, axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    mean = ranks.mean(axis=0)
    lengths = np.linalg.norm(ranks, axis=1) * np.linalg.norm(mean)
    return ranks @ mean / np.where(lengths > 0, lengths, 1.0)


def _volumes(estimator: Any, X: Any, name: str) -> tuple[FloatArray, FloatArray | None]:
    """Return the mass and the volume of level sets around the least anomalous rows.

    Returns
    -------
    mass : ndarray of shape (n_levels,)
        Shares of the rows, rising to 1.
    volume : ndarray of shape (n_levels,)
        Shares of the box around X, found with points drawn uniformly from it. None, with a
        warning, where there are too few of them to tell.
    """
    values = check_array(X, dtype=np.float64, input_name="X")
    low, width = values.min(axis=0), np.ptp(values, axis=0)
    random = np.random.RandomState(0)
    box = low + width * random.uniform(size=(_N_UNIFORM, values.shape[1]))
    if hasattr(X, "columns"):  # a frame of pandas, or of polars, whose columns are a list
        box = type(X)(box, **{"schema" if isinstance(X.columns, list) else "columns": X.columns})
    rows, points = anomaly_scores(estimator, X), anomaly_scores(estimator, box)
    levels, counts = np.unique(rows, return_counts=True)
    mass = np.cumsum(counts) / len(rows)
    volume = np.searchsorted(np.sort(points), levels, side="right") / _N_UNIFORM
    if (inside := volume[mass >= _MASS][0] * _N_UNIFORM) < _N_INSIDE:
        warnings.warn(
            f"{name} cannot measure a volume: of {_N_UNIFORM} points drawn from the box around X "
            f"only {inside:.0f} are as normal as {_MASS:.0%} of the rows, as is usual with many "
            f"features (here {values.shape[1]}). It gives NaN.",
            UndefinedMetricWarning,
            stacklevel=3,
        )
        return mass, None
    return mass, volume


def excess_mass_scorer(estimator: Any, X: ArrayLike, y: object = None) -> float:
    r"""Score a fitted detector without labels, by excess mass; larger is better.

    A good score puts many rows into level sets of little volume. With
    :math:`EM(t) = \max_u\, P(s \le u) - t\,\mathrm{Vol}(s \le u)`, s the anomaly score, this is
    the integral of EM from 0 to where it falls to 0.9, volumes as shares of the box around X.

    Use it as a diagnostic, not to select a model: it rewards scores that follow the density of the
    data, which need not find the anomalies that matter to you, and the candidates it prefers have
    been found to be no better than random ones (Ma et al., 2023). Volumes are estimated with 10,000
    points drawn at random from the box around X. With ten or twenty features hardly any of them lie
    near the data, and the volume cannot be estimated.

    Parameters
    ----------
    estimator : object
        See :func:`anomaly_scores`.
    X : array-like of shape (n_samples, n_features)
    y : Ignored

    Returns
    -------
    float
        NaN, with an ``UndefinedMetricWarning``, where fewer than 100 points lie in a level set.

    References
    ----------
    Goix, N., How to Evaluate the Quality of Unsupervised Anomaly Detection Algorithms?, 2016.

    M. Q. Ma, Y. Zhao, X. Zhang and L. Akoglu, The Need for Unsupervised Outlier Model Selection: A
    Review and Evaluation of Internal Evaluation Strategies, SIGKDD Explorations 25(1), 2023.
    """
    mass, volume = _volumes(estimator, X, "excess_mass_scorer")
    return np.nan if volume is None else _excess_mass(mass, volume)


def _excess_mass(mass: FloatArray, volume: FloatArray) -> float:
    """Integrate max(mass − t·volume) over t, from 0 to where it is 0.9.

    The maximum of lines is convex, and its corners lie where two lines meet: it is followed from
    corner to corner.
    """
    t, line, area = 0.0, len(mass) - 1, 0.0
    while True:
        # Lines that fall more slowly take over where they meet the present one.
        slower = np.flatnonzero(volume < volume[line])
        meets = (mass[line] - mass[slower]) / (volume[line] - volume[slower])
        end = (mass[line] - _MASS) / volume[line] if volume[line] > 0 else np.inf
        nearest = meets.min(initial=np.inf)
        stop = min(end, nearest)
        area += (stop - t) * (mass[line] - volume[line] * (t + stop) / 2)
        if end <= nearest:
            return float(area)
        # Of several that meet in one point the slowest is the one that stays on top.
        at_once = slower[meets == nearest]
        t, line = stop, at_once[volume[at_once].argmin()]


def mass_volume_scorer(estimator: Any, X: ArrayLike, y: object = None) -> float:
    r"""Score a fitted detector without labels, by the mass-volume curve; larger is better.

    The score is minus the integral, over α from 0.9 to 1, of the volume of the smallest level set
    that holds a share α of the rows. The limits, parameters and references of
    :func:`excess_mass_scorer` apply here, too.

    Returns
    -------
    float
        Between −0.1 and 0. NaN, with an ``UndefinedMetricWarning``, where the volume is too small
        to be measured.
    """
    mass, volume = _volumes(estimator, X, "mass_volume_scorer")
    if volume is None:
        return np.nan
    # MV(α) is a step function: the volume of the first level that holds α.
    widths = np.diff(np.maximum(mass, _MASS), prepend=_MASS)
    return float(-(widths * volume).sum())
