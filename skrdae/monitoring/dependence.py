"""How strongly scores that follow each other in time depend on each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.fft import irfft, next_fast_len, rfft
from scipy.stats import rankdata

from skrdae._typing import FloatArray

# A series shows how much the mean of so many rows varies if it is this many times as long.
_LENGTHS = 10
# Two standard errors of how τ grows, relatively, from a twentieth of the length to a tenth where
# there are no slow changes: 4 √(l / 6m) for l = m / 20.
_GROWTH = 0.37
# Relative, of scores that count as the same.
_PRECISION = 1e-6


class AutocorrelationTime:
    """How many consecutive rows are worth one independent row.

    The mean of n consecutive rows of a stationary series varies as much as the mean of n / τ
    independent ones, where τ = 1 + 2 Σ (1 − h/n) ρ(h) over the lags h = 1 … n − 1, and ρ is the
    autocorrelation. Several series that describe the same rows may be given; the largest τ counts.

    Parameters
    ----------
    *series : array-like of shape (n_rows,)
        In time order, finite. Constant ones say nothing and are left out.

    Attributes
    ----------
    overall : float
        τ of a long stretch, at least 1. It is estimated by the initial monotone sequence: sums of
        neighbouring autocorrelations, up to the first that is not positive, none larger than the
        one before. Geyer takes sums of two; here the largest τ of sums of 2, 4, 8, … counts,
        since a short period ends the sequence of pairs before slow changes show.
    settled : bool
        Whether the series is long enough for its slowest changes: from windows of a twentieth of
        its length to windows of a tenth, τ grows by no more than chance explains.

    References
    ----------
    Geyer, C. J., Practical Markov Chain Monte Carlo, Statistical Science 7(4), 1992.
    """

    overall: float
    settled: bool

    def __init__(self, *series: ArrayLike) -> None:
        found = [r for x in series if (r := _autocorrelation(np.asarray(x, float))) is not None]
        self.overall = max([_initial_monotone_sequence(r) for r in found], default=1.0)
        longest = len(found[0]) // _LENGTHS if found else 0
        short = [_of_means(r[:longest]) for r in found]
        self._of_windows: FloatArray = np.max(short, axis=0) if longest else np.empty(0)
        half = longest // 2
        self.settled = half == 0 or all(t[-1] <= (1 + _GROWTH) * t[half - 1] for t in short)

    def of_windows(self, n_rows: int) -> float:
        """Return τ for windows of so many rows.

        Where the series is ten times as long, its autocorrelations up to that lag are summed, so
        that windows of whole periods count for what they are. Otherwise it is `overall`.

        Parameters
        ----------
        n_rows : int

        Returns
        -------
        float
            At least 1.
        """
        if n_rows <= len(self._of_windows):
            return float(self._of_windows[n_rows - 1])
        return self.overall


def _autocorrelation(x: FloatArray) -> FloatArray | None:
    """Return the autocorrelation at all lags, or None for a constant series."""
    if len(x) == 0 or np.ptp(x) == 0:
        return None
    length = next_fast_len(2 * len(x))
    spectrum = rfft(x - x.mean(), length)
    covariance: FloatArray = irfft(np.abs(spectrum) ** 2, length)[: len(x)]
    return covariance / covariance[0]


def _initial_monotone_sequence(autocorrelation: FloatArray) -> float:
    n_lags, size, found = len(autocorrelation), 2, 1.0
    while size <= max(n_lags // (2 * _LENGTHS), 2) and size <= n_lags:
        sums = autocorrelation[: n_lags // size * size].reshape(-1, size).sum(axis=1)
        ends = np.flatnonzero(sums <= 0)
        if len(ends):
            sums = sums[: ends[0]]
        found = max(found, float(2 * np.minimum.accumulate(sums).sum() - 1))
        size *= 2
    return found


def _of_means(autocorrelation: FloatArray) -> FloatArray:
    """Return τ of the means of 1, 2, … rows."""
    lags = np.arange(len(autocorrelation))
    sums = autocorrelation.cumsum() - (lags * autocorrelation).cumsum() / (lags + 1)
    return np.maximum(2 * sums - 1, 1.0)


def location_and_spread(scores: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the ranks of scores, centred and between ±½, and their distance from the middle.

    Ranks, because what is done with the scores depends on their order alone, and one huge score
    would hide all else. The distance, because a spread that changes slowly leaves no trace in the
    autocorrelation of the ranks.

    Parameters
    ----------
    scores : ndarray of shape (n_rows,)

    Returns
    -------
    location, spread : ndarray of shape (n_rows,)
    """
    ranks = (rankdata(scores) - 0.5) / len(scores) - 0.5
    return ranks, np.abs(ranks)


def roughness(ranks: FloatArray) -> float:
    """Return the mean difference between neighbours: 1/3 for independent rows without ties.

    Parameters
    ----------
    ranks : ndarray of shape (n_rows,)
        See :func:`location_and_spread`.

    Returns
    -------
    float
    """
    return float(np.abs(np.diff(ranks)).mean())


def mean_difference(ranks: FloatArray) -> float:
    """Return the mean difference between ranks drawn at random: the roughness of a shuffle.

    Parameters
    ----------
    ranks : ndarray of shape (n_rows,)
        See :func:`location_and_spread`.

    Returns
    -------
    float
    """
    n_rows = len(ranks)
    weights = 2 * np.arange(n_rows) - n_rows + 1
    return float(2 * (weights * np.sort(ranks)).sum() / (n_rows * (n_rows - 1)))


def repeated(scores: FloatArray) -> float:
    """Return the share of neighbours whose scores are the same up to single precision.

    The same row may be scored a little differently at another place in its batch.

    Parameters
    ----------
    scores : ndarray of shape (n_rows,)

    Returns
    -------
    float
    """
    steps, size = np.abs(np.diff(scores)), np.abs(scores)
    return float((steps <= _PRECISION * np.maximum(size[1:], size[:-1])).mean())
