"""Whether scores are still distributed as they were."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import betabinom, chi2, ks_2samp

from skrdae._typing import Floats

# Bins of the stability index.
_N_BINS = 10
#: How rarely chance alone may look like a drift.
P_VALUE = 1e-3
# The stability index from which a shift is called major.
_MAJOR_SHIFT = 0.25
# So much oftener than expected rows have to be flagged.
_RATE_FACTOR = 2
_QUANTILES = (0.5, 0.9, 0.99, 0.999)


class ScoreReference:
    """Scores as they should be, and how far others are from them.

    Parameters
    ----------
    scores : array-like of shape (n_samples,)
        At least 10, finite, and not all the same.

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

    scores: Floats

    def __init__(self, scores: ArrayLike) -> None:
        self.scores = np.sort(np.asarray(scores, float).ravel())
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

    def _shares_of(self, scores: Floats) -> Floats:
        places = np.searchsorted(self._edges, scores)
        counts: NDArray[Any] = np.bincount(places, minlength=len(self._edges) + 1)
        # Half a row more in each bin, because the index of an empty one is infinite.
        return (counts + 0.5) / (len(scores) + 0.5 * len(counts))

    def stability_index(self, scores: Floats) -> float:
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

    def stability_limit(self, n_scores: int) -> float:
        """Return the index above which so many scores have drifted.

        It is 0.25, or, for few scores, what chance exceeds once in a thousand times.

        Parameters
        ----------
        n_scores : int

        Returns
        -------
        float
        """
        by_chance = chi2.ppf(1 - P_VALUE, len(self._edges))
        return max(_MAJOR_SHIFT, by_chance * (1 / n_scores + 1 / len(self.scores)))

    def kolmogorov_smirnov(self, scores: Floats) -> tuple[float, float]:
        """Return statistic and p-value of the two-sample Kolmogorov–Smirnov test.

        Parameters
        ----------
        scores : ndarray of shape (n_samples,)

        Returns
        -------
        statistic, p_value : float
        """
        # The exact distribution takes seconds for large samples, and agrees with this one.
        found = ks_2samp(self.scores, scores, method="asymp")
        return float(found.statistic), float(found.pvalue)

    def share_above(self, threshold: float) -> float:
        """Return the share of the reference above a threshold, never quite zero."""
        return (self._count_above(threshold) + 0.5) / (len(self.scores) + 1)

    def _count_above(self, threshold: float) -> int:
        return len(self.scores) - int(np.searchsorted(self.scores, threshold, side="right"))

    def too_often(
        self, n_flagged: int, n_rows: int, threshold: float, limit: float | None = None
    ) -> bool:
        """Say whether a threshold is exceeded too often.

        Parameters
        ----------
        n_flagged, n_rows : int
            Of these rows so many are above the threshold.
        threshold : float
        limit : float, optional
            The share above which it is too often. By default twice that of the reference, where
            chance would have so many less than once in a thousand times. How often the threshold
            is exceeded is known from the reference only so well, the less so the fewer scores it
            has.

        Returns
        -------
        bool
        """
        if limit is not None:
            return n_flagged > limit * n_rows
        if n_flagged <= _RATE_FACTOR * self.share_above(threshold) * n_rows:
            return False
        # Above what is above k of n scores lie further ones with a probability whose distribution
        # is beta(k + 1, n - k), whatever that of the scores.
        above = self._count_above(threshold)
        below = max(len(self.scores) - above, 1)
        return bool(betabinom.sf(n_flagged - 1, n_rows, above + 1, below) < P_VALUE)

    def n_above(self, scores: Floats) -> dict[float, int]:
        """Return how many scores are above high quantiles of the reference, by quantile."""
        return {q: int((scores > value).sum()) for q, value in self._quantiles.items()}
