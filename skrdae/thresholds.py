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
    fitted = clone(thresholder, safe=False)
    fitted.fit(scores)
    labels = np.asarray(fitted.labels_).ravel().astype(bool)
    threshold = labels_threshold(scores, labels)
    lower, upper = scores[~labels].max(initial=-np.inf), scores[labels].min(initial=np.inf)
    if getattr(fitted, "thresh_", None) is not None and -np.inf < lower < upper < np.inf:
        # Find the cut inside the gap, for rows that will fall there.
        while lower < (middle := lower + (upper - lower) / 2) < upper:
            if fitted.predict(np.full(2, middle))[0]:  # of one score alone pythresh makes a scalar
                upper = middle
            else:
                lower = middle
        threshold = float(lower)
    return fitted, threshold
