"""Rules that set a threshold by scores."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from numbers import Real
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from pyod.models.base import BaseDetector
from sklearn.base import clone
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import precision_recall_curve
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from skrdae._typing import BoolArray, FloatArray, MatrixLike
from skrdae._validation import check_labels
from skrdae.metrics import anomaly_scores, deciding_step
from skrdae.thresholds.peaks import PeaksOverThreshold

_Detector = TypeVar("_Detector")
_Thresholder = TypeVar("_Thresholder")
#: A rule of :func:`tune_threshold` by its name, or an object.
RuleLike: TypeAlias = Literal["percentile", "mean_std", "max_f1", "max_fpr"] | Any
_Rule: TypeAlias = tuple[
    Callable[[FloatArray, Any, Any], float],
    bool,
    tuple[float | None, float | None] | None,
    float | None,
]


def quantile_threshold(scores: ArrayLike, contamination: float) -> float:
    """Return the (1 − contamination) quantile of the scores.

    Parameters
    ----------
    scores : ndarray of shape (n_samples,)
    contamination : float in (0, 0.5]

    Returns
    -------
    float

    Examples
    --------
    >>> from skrdae.thresholds import quantile_threshold
    >>> quantile_threshold([1.0, 2.0, 3.0, 4.0, 5.0], contamination=0.25)
    4.0
    """
    return float(np.percentile(np.asarray(scores), 100 * (1 - contamination)))


def mean_std_threshold(scores: ArrayLike, k: float = 3.0) -> float:
    """Return mean + k·σ of the scores, σ their standard deviation.

    Parameters
    ----------
    scores : ndarray of shape (n_samples,)
    k : float

    Returns
    -------
    float

    Examples
    --------
    >>> from skrdae.thresholds import mean_std_threshold
    >>> mean_std_threshold([1.0, 1.0, 3.0, 3.0], k=2)
    4.0
    """
    scores = np.asarray(scores, np.float64)
    if np.ptp(scores) == 0:  # their mean could be rounded to below them
        return float(scores[0])
    return float(scores.mean() + k * scores.std())


def max_f1_threshold(scores: ArrayLike, y: ArrayLike) -> float:
    """Return the threshold with the largest F1; if there are several, the highest of them.

    Parameters
    ----------
    scores : ndarray of shape (n_samples,)
    y : ndarray of shape (n_samples,)
        1 for anomalies, 0 for normal rows.

    Returns
    -------
    float
        Halfway between the lowest score flagged and the next below it. If y holds no anomaly, F1 is
        not defined: the largest score, which flags nothing, with an ``UndefinedMetricWarning``.

    Examples
    --------
    >>> from skrdae.thresholds import max_f1_threshold
    >>> max_f1_threshold([1.0, 2.0, 3.0, 4.0], [0, 1, 0, 1])
    1.5
    """
    scores, y = np.asarray(scores, np.float64), check_labels(y)
    check_consistent_length(scores, y)
    if not y.any():
        warnings.warn(
            "There are no anomalies in y, so that no F1 is defined; the threshold is the largest "
            "score. Tune it on validation data with anomalies among them.",
            UndefinedMetricWarning,
            stacklevel=2,
        )
        return float(scores.max())
    precision, recall, cuts = precision_recall_curve(y, scores)  # flags what is at a cut, too
    precision, recall = precision[:-1], recall[:-1]
    f1 = 2 * precision * recall / np.where(recall > 0, precision + recall, 1.0)
    return _just_under(cuts, np.flatnonzero(np.isclose(f1, f1.max(), rtol=1e-12, atol=0))[-1])


def _just_under(ordered: FloatArray, place: int) -> float:
    """Return what lies between one of some different, rising numbers and the one before it."""
    if place == 0:
        return float(np.nextafter(ordered[0], -np.inf))
    lower, upper = ordered[place - 1], ordered[place]
    middle = lower + (upper - lower) / 2
    return float(middle if middle < upper else lower)


def max_fpr_threshold(scores: ArrayLike, y: ArrayLike, max_fpr: float = 0.01) -> float:
    """Return the lowest threshold that flags no more than a share of the normal rows.

    Parameters
    ----------
    scores : ndarray of shape (n_samples,)
    y : ndarray of shape (n_samples,)
        1 for anomalies, 0 for normal rows.
    max_fpr : float in [0, 1]
        The largest false-positive rate allowed.

    Returns
    -------
    float
        On new data the false-positive rate differs from this by chance: with n normal rows in the
        validation data and m new ones, its standard error is about √(max_fpr · (1/n + 1/m)). If y
        holds no normal row, the rate is not defined: a threshold below all scores, with an
        ``UndefinedMetricWarning``.

    Examples
    --------
    >>> from skrdae.thresholds import max_fpr_threshold
    >>> max_fpr_threshold([1.0, 2.0, 3.0, 4.0, 9.0], [0, 0, 0, 0, 1], max_fpr=0.25)
    3.0
    """
    scores, y = np.asarray(scores, np.float64), check_labels(y)
    check_consistent_length(scores, y)
    normal = np.sort(scores[~y])[::-1]
    # The product of, say, 0.07 and 100 is a little more, and that of 0.29 and 100 less, than whole.
    allowed = int(np.floor(max_fpr * len(normal) * (1 + 1e-12)))
    if len(normal) == 0:
        warnings.warn(
            "There are no normal rows in y, so that no false-positive rate is defined; the "
            "threshold is below all scores. Tune it on validation data with normal rows.",
            UndefinedMetricWarning,
            stacklevel=2,
        )
    if allowed >= len(normal):
        return float(np.nextafter(scores.min(), -np.inf))
    return float(normal[allowed])


def labels_threshold(scores: ArrayLike, labels: ArrayLike) -> float:
    """Return the threshold on the scores that comes closest to the labels.

    Parameters
    ----------
    scores : ndarray of shape (n_samples,)
    labels : ndarray of shape (n_samples,)
        True or 1 for anomalies.

    Returns
    -------
    float
        A value between the two groups if every anomaly scores above every normal row. If they
        overlap, the value that as many scores exceed as there are anomalies. If there are no
        anomalies, the largest score.

    Examples
    --------
    >>> from skrdae.thresholds import labels_threshold
    >>> labels_threshold([1.0, 2.0, 6.0], [0, 0, 1])
    4.0
    """
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels, bool)
    if not labels.any():
        return float(scores.max())
    if labels.all():
        return float(np.nextafter(scores.min(), -np.inf))
    lower, upper = scores[~labels].max(), scores[labels].min()
    if lower < upper:
        return float(lower + (upper - lower) / 2)
    ordered = np.sort(scores)
    return float(ordered[len(scores) - labels.sum() - 1])


#: rule → (threshold from scores, y and value; whether it needs y; what `value` may be, and is by
#: default)
RULES: dict[str, _Rule] = {
    "percentile": (lambda s, y, q: float(np.percentile(s, q)), False, (0, 100), 90.0),
    "mean_std": (lambda s, y, k: mean_std_threshold(s, k), False, (None, None), 3.0),
    "max_f1": (lambda s, y, _: max_f1_threshold(s, y), True, None, None),
    "max_fpr": (max_fpr_threshold, True, (0, 1), 0.01),
}


def tune_threshold(
    detector: _Detector,
    X_val: MatrixLike,
    y_val: ArrayLike | None = None,
    rule: RuleLike = "max_f1",
    *,
    value: float | None = None,
) -> _Detector:
    """Return a copy of a fitted detector with its threshold chosen on validation data.

    Parameters
    ----------
    detector : object
        A fitted detector of this package or of PyOD, or a pipeline that ends in one. It is not
        changed.
    X_val : array-like of shape (n_samples, n_features)
        Validation data. Avoid the data that the detector was fitted to, whose scores are a little
        too low.
    y_val : array-like of shape (n_samples,), optional
        1 for anomalies, 0 for normal rows. Only ``"max_f1"`` and ``"max_fpr"`` need it.
    rule : str, PeaksOverThreshold or pythresh object, default="max_f1"
        Where the threshold lies.

        - ``"percentile"``: at this percentile of the scores, `value` from 0 to 100 (90);
        - ``"mean_std"``: at mean + `value`·σ of the scores (3);
        - ``"max_f1"``: where F1 is largest;
        - ``"max_fpr"``: as low as it can be with a false-positive rate of at most `value` (0.01);
        - a :class:`PeaksOverThreshold` or an object of pythresh: the threshold of a copy that is
          fitted to the scores.
    value : float, optional
        The parameter of the rule; its default is in brackets above.

    Returns
    -------
    object
        The copy, with the new ``threshold_`` and the ``labels_`` of the training data that follow
        from it; ``predict`` flags rows with a higher score. The ``contamination`` of PyOD's own
        detectors becomes the share flagged. ``fit`` and ``clone`` discard the new threshold.

    Raises
    ------
    NotFittedError
        If the detector is not fitted.
    TypeError
        If it is not a detector.
    ValueError
        If the rule is unknown, `value` out of its range, or labels are missing or other than 0
        and 1.

    Examples
    --------
    >>> import numpy as np
    >>> from skrdae import RobustDeepAutoencoder
    >>> from skrdae.thresholds import tune_threshold
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(300, 4)), np.arange(300) % 30 == 0
    >>> X[y] *= 6
    >>> detector = RobustDeepAutoencoder(random_state=0).fit(X[:150])
    >>> tuned = tune_threshold(detector, X[150:], y[150:], "max_fpr", value=0.02)
    >>> flagged = tuned.predict(X[150:]) == 1
    >>> int(flagged[~y[150:]].sum()), int((~y[150:]).sum())
    (2, 145)
    """
    last = deciding_step(detector)
    if not isinstance(last, BaseDetector):
        raise TypeError(
            "detector must be a detector of this package or of PyOD, or a pipeline that ends in "
            f"one; got {detector!r}."
        )
    check_is_fitted(last, "decision_scores_")
    named = isinstance(rule, str)
    if (named and rule not in RULES) or not (
        named or (hasattr(rule, "fit") and not isinstance(rule, type))
    ):
        raise ValueError(
            f"rule must be one of {', '.join(map(repr, RULES))}, PeaksOverThreshold() or a "
            f"pythresh object; got {rule!r}."
        )
    function, needs_labels, limits, default = RULES[rule] if named else _pythresh(rule)
    if limits is None and value is not None:
        raise ValueError(f"value has no meaning with rule={rule!r}; leave it out.")
    if limits is not None:
        value = default if value is None else value
        value = check_scalar(value, "value", Real, min_val=limits[0], max_val=limits[1])
        if not np.isfinite(value):
            raise ValueError(f"value must be finite; got {value!r}.")
    if isinstance(y_val, str) or (needs_labels and y_val is None):
        raise ValueError(
            f"rule={rule!r} compares with labels: pass y_val, 1 for anomalies."
            if y_val is None
            else f"y_val has to hold labels; got {y_val!r}. The rule comes after it."
        )
    scores = anomaly_scores(detector, X_val)
    if y_val is not None:
        y_val = check_labels(y_val)
        check_consistent_length(scores, y_val)
    tuned = copy.deepcopy(detector)
    _move_threshold(deciding_step(tuned), function(scores, y_val, value))
    return tuned


def _pythresh(thresholder: object) -> _Rule:
    """Return what RULES would hold of a pythresh object."""
    return (lambda s, y, _: thresholder_threshold(thresholder, s)[1]), False, None, None


def _move_threshold(detector: Any, threshold: float) -> None:
    """Make a fitted detector flag what scores above a threshold."""
    detector.threshold_ = threshold
    detector.labels_ = (np.asarray(detector.decision_scores_) > threshold).astype(int)
    if hasattr(detector, "_flag_above_threshold"):
        detector._flag_above_threshold()
    else:
        # PyOD compares with its threshold only where the contamination is a number, and takes
        # that number for the share flagged in its confidence. It has to be one that PyOD allows.
        share, least = detector.labels_.mean(), 1 / len(detector.labels_)
        detector.contamination = float(np.clip(share, min(least, 0.5), 0.5))


def thresholder_threshold(
    thresholder: _Thresholder, scores: FloatArray
) -> tuple[_Thresholder, float]:
    """Fit a copy of a PeaksOverThreshold or a pythresh object and return its threshold.

    Parameters
    ----------
    thresholder : object
        With pythresh's ``fit``, ``predict``, ``labels_`` and ``thresh_``. It is copied.
    scores : ndarray of shape (n_samples,)

    Returns
    -------
    fitted : object
        The copy.
    threshold : float
        In the scores' own units; pythresh's ``thresh_`` is in units of scores scaled to [0, 1].
    """
    if isinstance(thresholder, PeaksOverThreshold):
        thresholder._check_parameters()
    try:
        fitted: Any = clone(thresholder, safe=False)
        fitted.fit(scores)
        if isinstance(thresholder, PeaksOverThreshold):
            return fitted, fitted.thresh_
        labels = np.asarray(fitted.labels_).ravel().astype(bool)
        if len(labels) != len(scores):
            raise ValueError(f"it gave {len(labels)} labels for {len(scores)} scores")
        threshold = labels_threshold(scores, labels)
        if getattr(fitted, "thresh_", None) is not None:
            threshold = _find_cut(fitted, scores, labels, threshold)
    except Exception as error:
        raise ValueError(
            f"{thresholder!r} could not be fitted to the scores ({error}). A contamination or rule "
            "that is an object has to have pythresh's fit(scores), labels_ and predict(scores)."
        ) from error
    return fitted, threshold


def _find_cut(fitted: Any, scores: FloatArray, labels: BoolArray, threshold: float) -> float:
    """Return where a thresholder's own cut lies, for rows that will fall into the gap."""

    def flags(score: float) -> bool:
        return bool(fitted.predict(np.full(2, score))[0])  # a single score it makes a scalar

    lower, upper = scores[~labels].max(initial=-np.inf), scores[labels].min(initial=np.inf)
    # Where all training rows are on one side, look further and further out on the other.
    reach = np.ptp(scores) or max(abs(scores[0]), 1.0)
    while upper == np.inf and reach < np.finfo(float).max / 4:
        if flags(lower + reach):
            upper = lower + reach
        reach *= 2
    while lower == -np.inf and reach < np.finfo(float).max / 4:
        if not flags(upper - reach):
            lower = upper - reach
        reach *= 2
    if not -np.inf < lower < upper < np.inf:
        return threshold
    while lower < (middle := lower + (upper - lower) / 2) < upper:
        if flags(middle):
            upper = middle
        else:
            lower = middle
    return float(lower)
