"""Volume under the surface of precision and recall, for labels whose edges are uncertain."""

import numpy as np

_N_THRESHOLDS = 250


def vus_pr(y, scores, longest=144):
    """Return the VUS-PR of scores.

    For each length of a buffer, labels are stretched on both sides by half of it, falling off from
    1 like the root of a line, and anomalies count as found only in the share of them that has a
    flagged step; the areas under the curves of precision and recall are averaged over the lengths.

    Parameters
    ----------
    y : ndarray of shape (n_timesteps,)
        1 for anomalous steps.
    scores : ndarray of shape (n_timesteps,)
        The higher the more anomalous.
    longest : int, default=144
        Of the buffers, which start at 0.

    Returns
    -------
    float

    References
    ----------
    J. Paparrizos et al., Volume Under the Surface: A New Accuracy Evaluation Measure for
    Time-Series Anomaly Detection, VLDB 2022.

    Examples
    --------
    >>> import numpy as np
    >>> y = np.zeros(400)
    >>> y[200:240] = 1
    >>> perfect = vus_pr(y, y, longest=0)
    >>> shifted = vus_pr(y, np.roll(y, 10), longest=40)
    >>> bool(perfect > 0.99 > shifted > vus_pr(y, np.roll(y, 10), longest=0))
    True
    """
    y, scores = np.asarray(y, float), np.asarray(scores, float)
    order = np.sort(scores)[::-1]
    thresholds = order[np.linspace(0, len(y) - 1, _N_THRESHOLDS).astype(int)]
    areas = [_area(y, scores, thresholds, length) for length in range(0, longest + 1, 4)]
    return float(np.mean(areas))


def _area(y, scores, thresholds, length):
    stretched, bounds = _stretched(y, length)
    positive = (y.sum() + stretched.sum()) / 2
    # Sums over the flagged steps, by rank.
    by_rank = np.argsort(-scores, kind="stable")
    found = np.cumsum(stretched[by_rank])
    n_flagged = np.searchsorted(-scores[by_rank], -thresholds, side="right")
    peaks = np.array([scores[a:b].max() for a, b in bounds])
    met = (peaks[:, None] >= thresholds).mean(axis=0)
    recall = np.minimum(found[n_flagged - 1] / positive, 1) * met
    precision = found[n_flagged - 1] / n_flagged
    recall = np.concatenate([[0.0], recall])
    return float((np.diff(recall) * precision).sum())


def _stretched(y, length):
    """Return labels with buffers, and the bounds of each anomaly with its buffers."""
    edges = np.diff(np.concatenate([[0.0], y, [0.0]]))
    starts, stops = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    stretched, half, bounds = y.copy(), length // 2, []
    for a, b in zip(starts, stops, strict=True):
        after = np.arange(b, min(b + half, len(y)))
        before = np.arange(max(a - half, 0), a)
        stretched[after] += np.sqrt(1 - (after - b + 1) / max(length, 1))
        stretched[before] += np.sqrt(1 - (a - before) / max(length, 1))
        bounds.append((max(a - half, 0), min(b + half, len(y))))
    return np.minimum(stretched, 1.0), bounds
