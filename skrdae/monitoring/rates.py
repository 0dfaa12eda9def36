"""Whether rows are flagged more often than they were."""

from __future__ import annotations

import math

from scipy.special import betaln
from scipy.stats import betabinom

from skrdae._typing import BoolArray
from skrdae.monitoring.dependence import AutocorrelationTime
from skrdae.monitoring.drift import P_VALUE, RARE, Evidence

# So much more often than expected rows have to be flagged.
_FACTOR = 2
# If nearly all rows of a window are flagged, it does not matter how they depend on each other.
_NEARLY_ALL = 0.8


class FlagReference:
    """Which rows of the reference are flagged.

    Parameters
    ----------
    flagged : ndarray of bool of shape (n_rows,)
        In time order.

    Attributes
    ----------
    share : float
        Of the rows that are flagged, never quite zero.
    """

    share: float

    def __init__(self, flagged: BoolArray) -> None:
        self._n_rows, self._n_flagged = len(flagged), int(flagged.sum())
        self.share = (self._n_flagged + 0.5) / (self._n_rows + 1)
        self._time = AutocorrelationTime(flagged)

    def too_often(
        self, n_flagged: int, n_rows: int, evidence: Evidence, limit: float | None = None
    ) -> bool | None:
        """Say whether rows of a window are flagged too often.

        Parameters
        ----------
        n_flagged, n_rows : int
            Of the window.
        evidence : Evidence
            What its scores can tell. Flags may depend on each other for longer than scores; then
            their autocorrelation time in the reference counts.
        limit : float, optional
            The share above which it is too often. By default twice that of the reference, where
            chance would flag so many less than once in a thousand times. How often rows are flagged
            is known from the reference only so well, the less so the fewer rows it has.

        Returns
        -------
        bool or None
            None where chance might flag the whole window, or cannot be told. If nearly all rows are
            flagged, it is too often whatever the evidence, provided that the reference is long
            enough to say that a row is rarely flagged.
        """
        if limit is not None:
            return n_flagged > limit * n_rows
        if n_flagged >= _NEARLY_ALL * n_rows and self._chance_of_one(evidence) <= RARE:
            return True
        if not evidence.known:
            return None
        time = max(evidence.time, self._time.of_windows(n_rows))
        # After k flagged ones of n rows the share of flagged ones follows beta(k + 1, n − k).
        a = self._n_flagged / time + 1
        b = max((self._n_rows - self._n_flagged) / time, 1.0)
        k, n = math.floor(n_flagged / time), math.ceil(n_rows / time)
        more = n_flagged > _FACTOR * self.share * n_rows
        if more and betabinom.sf(k - 1, n, a, b) < P_VALUE:
            return True
        chance_of_all = math.exp(betaln(n + a, b) - betaln(a, b))
        return False if chance_of_all < P_VALUE else None

    def _chance_of_one(self, evidence: Evidence) -> float:
        """Return the probability that a row is flagged, by as many as the reference is worth."""
        n_reference = min(evidence.n_reference, self._n_rows / self._time.overall)
        return (self._n_flagged / self._n_rows * n_reference + 1) / (n_reference + 2)
