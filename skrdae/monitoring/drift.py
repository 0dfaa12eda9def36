"""Whether scores are still distributed as they were."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import kolmogorov
from scipy.stats import chi2

from skrdae._typing import FloatArray
from skrdae.monitoring.dependence import (
    AutocorrelationTime,
    location_and_spread,
    mean_difference,
    repeated,
    roughness,
)

# Bins of the stability index.
_N_BINS = 10
#: How rarely chance alone may look like a drift.
P_VALUE = 1e-3
# The stability index from which a shift is called major.
_MAJOR_SHIFT = 0.25
# As many independent rows, held against a distribution known exactly, show a shift of one standard
# deviation. Fewer of them do not tell their autocorrelation time either.
_ENOUGH = 25
# In fewer than these nothing is seen at all.
_FEWEST = 5
# So many times as long a reference has to be whose slowest changes it is too short to show.
_FOLD = 4
# Neighbours that differ by less than this share of what they do in the reference are far more alike
# than there.
_SMOOTHER = 0.5
# A reference may have been shuffled if its neighbours differ by at least this share of what rows
# drawn at random do, and its autocorrelation time is at most so long. Of shuffled scores, 500 or
# more, hardly one in a hundred is beyond that.
_ROUGH, _SHORT = 0.75, 3.5
# A window is stuck in part if this share of its rows, more than in the reference, repeat a score.
_REPEATED = 0.25
#: What at most one row in fifty does by chance is no chance if most rows of a window do it, however
#: strongly they depend on each other.
RARE = 0.02
_MOST = 0.75
_QUANTILES = (0.5, 0.9, 0.99, 0.999)


@dataclass(frozen=True)
class Evidence:
    """How much a window, held against a reference, can tell.

    Attributes
    ----------
    time : float
        Autocorrelation time in rows; see :class:`AutocorrelationTime`.
    n_effective : float
        Independent rows that the window is worth.
    n_compared : float
        Independent rows that, held against a distribution known exactly, would tell as much as the
        window does against the reference.
    n_reference : float
        Independent rows that the reference is worth; a quarter of that where it is too short for
        its slowest changes.
    known : bool
        Whether window and reference are long enough to know `time`. If not, a distance from the
        reference means nothing.
    """

    time: float
    n_effective: float
    n_compared: float
    n_reference: float
    known: bool

    @property
    def enough(self) -> bool:
        """Whether a shift of one standard deviation would show."""
        return self.known and self.n_compared >= _ENOUGH


class ScoreReference:
    """Reference scores, and the distance of other scores from them.

    Parameters
    ----------
    scores : array-like of shape (n_samples,)
        At least 10, not all the same, none infinite; NaN is a row without a score and is left out.
        In time order if there is one: from it follows how far scores that come one after another
        depend on each other. (What a gap separates depends on each other less. That is as it should
        be: rows that are worth more.)

    Attributes
    ----------
    scores : ndarray of shape (n_samples,)
        Sorted, without NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from skrdae.monitoring import ScoreReference
    >>> rng = np.random.default_rng(0)
    >>> reference = ScoreReference(rng.normal(size=1000))
    >>> same, moved = rng.normal(size=500), rng.normal(loc=1, size=500)
    >>> reference.stability_index(same) < 0.1, reference.stability_index(moved) > 0.25
    (True, True)
    """

    scores: FloatArray

    def __init__(self, scores: ArrayLike) -> None:
        in_order = np.asarray(scores, float).ravel()
        in_order = in_order[~np.isnan(in_order)]
        self.scores = np.sort(in_order)
        if len(self.scores) < _N_BINS or not np.isfinite(self.scores).all():
            raise ValueError(
                f"reference must hold at least {_N_BINS} scores, all finite; got "
                f"{len(self.scores)}, of which {int(np.isfinite(self.scores).sum())} are finite."
            )
        if self.scores[0] == self.scores[-1]:
            raise ValueError("reference holds one score only, over and over: nothing to compare.")
        shares = np.arange(1, _N_BINS) / _N_BINS
        self._edges = np.unique(np.quantile(self.scores, shares))
        self._shares = self._shares_of(self.scores)
        self._quantiles = dict(
            zip(_QUANTILES, np.quantile(self.scores, _QUANTILES).tolist(), strict=True)
        )
        location, spread = location_and_spread(in_order)
        self._time = AutocorrelationTime(location, spread)
        self._roughness = roughness(location)
        self._may_be_shuffled = (
            self._roughness >= _ROUGH * mean_difference(location) and self._time.overall <= _SHORT
        )
        self._repeated = repeated(self.scores)
        self._limits = np.quantile(self.scores, [RARE / 4, 0.5, 1 - RARE / 4])

    def _shares_of(self, scores: FloatArray) -> FloatArray:
        places = np.searchsorted(self._edges, scores)
        counts: NDArray[Any] = np.bincount(places, minlength=len(self._edges) + 1)
        # Half a row more in each bin, because the index of an empty one is infinite.
        return (counts + 0.5) / (len(scores) + 0.5 * len(counts))

    # ------------------------------------------------------------------------------ evidence

    @property
    def n_effective(self) -> float:
        """Independent scores that the reference is worth."""
        return len(self.scores) / self._time.overall

    @property
    def settled(self) -> bool:
        """Whether there are enough scores to show how slowly they change."""
        return self._time.settled

    def expected_evidence(self, n_scores: int) -> Evidence:
        """Return what windows of so many scores can tell if they depend as the reference does.

        Parameters
        ----------
        n_scores : int

        Returns
        -------
        Evidence
        """
        time = self._time.of_windows(n_scores)
        known = self.settled and self.n_effective >= _ENOUGH and n_scores >= _FEWEST * time
        return self._evidence(n_scores, time, known)

    def evidence(self, scores: FloatArray) -> Evidence:
        """Return what a window can tell.

        Parameters
        ----------
        scores : ndarray of shape (n_scores,)
            In time order.

        Returns
        -------
        Evidence
            As the reference has it, with one exception. If the rows of the reference look
            independent and neighbours are far more alike in the window, the reference may have been
            shuffled. Then the window tells how its rows depend on each other, if it is long enough.
            A jump does not make neighbours that much more alike. A trend without noise does, and so
            do rows that are stuck, but those repeat the same score, which no dependence explains
            unless the reference repeats scores too.
        """
        expected = self.expected_evidence(len(scores))
        if not self._may_be_shuffled or repeated(scores) > self._repeated + _REPEATED:
            return expected
        location, spread = location_and_spread(scores)
        if roughness(location) >= _SMOOTHER * self._roughness:
            return expected
        own = AutocorrelationTime(location, spread)
        if own.overall <= expected.time:
            return expected
        known = own.settled and len(scores) >= _ENOUGH * own.overall
        return self._evidence(len(scores), own.overall, known)

    def _evidence(self, n_scores: int, time: float, known: bool) -> Evidence:
        n_compared = 1 / (time / n_scores + time / len(self.scores))
        return Evidence(time, n_scores / time, n_compared, self._n_at_least, known)

    @property
    def _n_at_least(self) -> float:
        return self.n_effective / (1 if self.settled else _FOLD)

    def beyond_dependence(self, scores: FloatArray) -> bool:
        """Say whether a window is unlike the reference however strongly its rows depend.

        Parameters
        ----------
        scores : ndarray of shape (n_scores,)
            In time order.

        Returns
        -------
        bool
            Whether most rows repeat the score before, where hardly any score of the reference
            occurs twice; or most lie above, or most below, what 99 % of the reference lie within,
            half of them at twice the distance from its median.
        """
        stuck = repeated(scores) >= _MOST
        if stuck and self._repeated + 1 / len(self.scores) <= RARE:
            return True
        if RARE / 2 + 2 / self._n_at_least > RARE:  # a row beyond the limits, either way
            return False
        low, middle, high = self._limits
        typical = np.median(scores)
        above = (scores > high).mean() >= _MOST and typical - high > high - middle
        below = (scores < low).mean() >= _MOST and low - typical > middle - low
        return bool(above or below)

    def rows_needed(self) -> tuple[int, int]:
        """Return the sizes of window and reference that would be enough.

        Returns
        -------
        n_window, n_reference : int
            The reference as it is, if there is a window that it can judge.
        """
        n_scores = len(self.scores)
        n_window = n_reference = int(np.ceil(2 * _ENOUGH * self._time.overall))
        if not self.settled:
            n_reference = max(n_reference, _FOLD * n_scores)
        if n_scores < n_reference:
            return n_window, n_reference
        n_window = _ENOUGH
        while not self.expected_evidence(n_window).enough:
            n_window += n_window // 20 + 1
        return n_window, n_scores

    # ----------------------------------------------------------------------------- distances

    def stability_index(self, scores: FloatArray) -> float:
        """Return the population stability index of scores, in bins of the reference's deciles.

        Parameters
        ----------
        scores : ndarray of shape (n_samples,)

        Returns
        -------
        float
            Σ (q − p) log(q / p) over the bins; from 0.25 on a shift is usually called major.

        References
        ----------
        Yurdakul, B., Statistical Properties of Population Stability Index, Western Michigan
        University, 2018.
        """
        p, q = self._shares, self._shares_of(scores)
        return float(((q - p) * np.log(q / p)).sum())

    def stability_limit(self, n_compared: float) -> float:
        """Return the index above which scores have drifted.

        It is 0.25, or, for few scores, what chance exceeds once in a thousand times.

        Parameters
        ----------
        n_compared : float
            See :class:`Evidence`.

        Returns
        -------
        float
        """
        return max(_MAJOR_SHIFT, chi2.ppf(1 - P_VALUE, len(self._edges)) / n_compared)

    def kolmogorov_smirnov(self, scores: FloatArray, n_compared: float) -> tuple[float, float]:
        """Return statistic and p-value of the two-sample Kolmogorov–Smirnov test.

        Parameters
        ----------
        scores : ndarray of shape (n_samples,)
        n_compared : float
            See :class:`Evidence`.

        Returns
        -------
        statistic, p_value : float
        """
        ordered = np.sort(scores)
        # The distance is largest at one of the scores, or just below it.
        statistic = max(
            np.abs(
                np.searchsorted(self.scores, ordered, side) / len(self.scores)
                - np.searchsorted(ordered, ordered, side) / len(ordered)
            ).max()
            for side in ("left", "right")
        )
        # The asymptotic distribution; the exact one takes seconds, and is for independent rows.
        return float(statistic), float(kolmogorov(np.sqrt(n_compared) * statistic))

    def p_values(self, scores: FloatArray, n_alike: float) -> FloatArray:
        """Return for scores how rarely the reference has any as high.

        Parameters
        ----------
        scores : ndarray of shape (n_samples,)
        n_alike : float
            For how many scores of the reference one counts, because neighbours are alike.

        Returns
        -------
        ndarray of shape (n_samples,)
            NaN for rows without a score.
        """
        n_above = len(self.scores) - np.searchsorted(self.scores, scores, side="left")
        found: FloatArray
        found = (n_alike + n_above.astype(np.float64)) / (n_alike + len(self.scores))
        return np.where(np.isnan(scores), np.nan, found)

    def n_above(self, scores: FloatArray) -> dict[float, int]:
        """Return how many scores are above high quantiles of the reference, by quantile."""
        return {q: int((scores > value).sum()) for q, value in self._quantiles.items()}
