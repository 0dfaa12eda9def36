"""From scores to a threshold and labels."""

import numpy as np
from sklearn.base import clone


def quantile_threshold(scores, contamination):
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
    return float(np.percentile(scores, 100 * (1 - contamination)))


def labels_threshold(scores, labels):
    """Return a threshold that says of the scores what the labels say, as far as one can.

    Parameters
    ----------
    scores : ndarray of shape (n_samples,)
    labels : ndarray of shape (n_samples,)
        True or 1 for anomalies.

    Returns
    -------
    float
        Where every anomaly scores above every normal row, a value between the two groups; where
        they overlap, the value above which as many scores lie as there are anomalies; where
        nothing is anomalous, the largest score.

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


def thresholder_threshold(thresholder, scores):
    """Fit a copy of a pythresh object and return the threshold it stands for.

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
    try:
        fitted = clone(thresholder, safe=False)
        fitted.fit(scores)
        labels = np.asarray(fitted.labels_).ravel().astype(bool)
        if len(labels) != len(scores):
            raise ValueError(f"it gave {len(labels)} labels for {len(scores)} scores")
        threshold = labels_threshold(scores, labels)
        if getattr(fitted, "thresh_", None) is not None:
            threshold = _find_cut(fitted, scores, labels, threshold)
    except Exception as error:
        raise ValueError(
            f"contamination={thresholder!r} could not be fitted to the scores ({error}). It has to "
            "be a float in (0, 0.5], 'auto', or an object with pythresh's fit(scores), labels_ "
            "and predict(scores)."
        ) from error
    return fitted, threshold


def _find_cut(fitted, scores, labels, threshold):
    """Return where a thresholder's own cut lies, for rows that will fall into the gap."""

    def flags(score):
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
