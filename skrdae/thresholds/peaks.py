"""A threshold from the tail of the scores: peaks over threshold."""

from __future__ import annotations

from dataclasses import field
from numbers import Real
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq, minimize_scalar
from sklearn.utils._param_validation import Interval, InvalidParameterError
from sklearn.utils.validation import check_array, check_is_fitted, column_or_1d

from skrdae._bases import BaseEstimator
from skrdae._typing import FloatArray, IntArray
from skrdae._validation import check_parameters
from skrdae.registry import parameters

# Exceedances that a shape is estimated from, at least.
_FEWEST = 10
# Places at which the likelihood is compared, before the best of them is refined.
_N_PLACES = 100
# exp(s) - 1 is above -1 from here on, in double precision.
_LOWEST = -36.0
_LARGEST = float(np.finfo(np.float64).max)


@parameters
class PeaksOverThreshold(BaseEstimator):
    r"""Threshold that a small share of the scores to come exceeds, by extreme value theory.

    The scores above a high quantile t are few, and rarer ones have not been seen yet. But what
    scores exceed t by follows nearly a generalised Pareto distribution, whatever the distribution
    of the scores. With its shape ξ and scale σ, fitted by maximum likelihood, the threshold that
    scores exceed with probability q is

    .. math:: z_q = t + \frac{\sigma}{\xi} \left(\left(\frac{q\,n}{N_t}\right)^{-\xi} - 1\right),

    where N_t of the n scores exceed t. It can lie above all scores so far.

    Pass it as the `contamination` of a detector of this package, or of one of PyOD's that accept
    pythresh objects; as the rule of :func:`tune_threshold`; or fit it to any scores of which high
    ones are anomalous.

    Parameters
    ----------
    risk : float, default=1e-3
        q, the share of normal scores that may exceed the threshold, in (0, 1 − `level`).
    level : float, default=0.98
        The quantile of the scores that t is, in (0, 1).

    Attributes
    ----------
    thresh_ : float
        z_q. Scores above it are flagged.
    labels_ : ndarray of shape (n_samples,)
        1 for the scores that are flagged, 0 for the others.
    initial_threshold_ : float
        t.
    shape_ : float
        ξ: above 0 for tails heavier than that of an exponential distribution, below 0 for
        distributions that end somewhere.
    scale_ : float
        σ. 0 if no score exceeds t.

    Notes
    -----
    Scores that are NaN, as those of steps that no window covers, are left out, and not flagged.

    ξ is at least −1, where the likelihood ceases to be bounded. It is 0, the exponential
    distribution, if less than ten scores exceed t: use `level` below 0.98 for less than 500 rows.
    If no more than a share `risk` of the scores exceed t, as with many ties, the threshold is t.

    **Anomalies among the scores** are part of the tail. They make it heavier, so that the threshold
    is higher than `risk` says, and even the anomalies may be below it; a lower `level` does not
    help. Set the threshold on data that are normal, with :func:`tune_threshold`.

    References
    ----------
    A. Siffer et al., Anomaly Detection in Streams with Extreme Value Theory, KDD 2017. Y. Su et
    al., Robust Anomaly Detection for Multivariate Time Series through Stochastic Recurrent Neural
    Network, KDD 2019. S. D. Grimshaw, Computing Maximum Likelihood Estimates for the Generalized
    Pareto Distribution, Technometrics 35, 1993.

    Examples
    --------
    >>> import numpy as np
    >>> from skrdae.thresholds import PeaksOverThreshold
    >>> rng = np.random.default_rng(0)
    >>> scores = rng.exponential(size=5000)
    >>> rule = PeaksOverThreshold(risk=1e-4).fit(scores)
    >>> print(f"{rule.thresh_:.1f} for {-np.log(1e-4):.1f}")
    9.3 for 9.2
    >>> rule.predict([1.0, 8.0, 20.0])
    array([0, 0, 1])

    With a detector of another package:

    >>> from sklearn.ensemble import IsolationForest
    >>> X = rng.normal(size=(1000, 2))
    >>> forest = IsolationForest(random_state=0).fit(X)
    >>> rule = PeaksOverThreshold().fit(-forest.score_samples(X))
    >>> rule.predict(-forest.score_samples([[0.0, 0.0], [9.0, 9.0]]))
    array([0, 1])
    """

    if TYPE_CHECKING:
        thresh_: float = field(init=False)
        labels_: IntArray = field(init=False)
        initial_threshold_: float = field(init=False)
        shape_: float = field(init=False)
        scale_: float = field(init=False)

    risk: float = field(default=1e-3, kw_only=False)
    level: float = 0.98

    _parameter_constraints = {
        "risk": [Interval(Real, 0, 1, closed="neither")],
        "level": [Interval(Real, 0, 1, closed="neither")],
    }
    _boolean_parameters = ()

    def _check_parameters(self) -> None:
        check_parameters(self)
        if self.risk + self.level >= 1:
            raise InvalidParameterError(
                f"risk must be below 1 - level, the share of the scores that the tail is fitted "
                f"to; got risk={self.risk!r} and level={self.level!r}."
            )

    def fit(self, scores: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Fit the tail and set the threshold.

        Parameters
        ----------
        scores : array-like of shape (n_samples,)
        y : Ignored
            Not used; present by scikit-learn's convention.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter is invalid, or there are no scores, or infinite ones.
        """
        self._check_parameters()
        options = {"ensure_2d": False, "dtype": np.float64, "input_name": "scores"}
        checked = check_array(scores, ensure_all_finite="allow-nan", **options)
        given: FloatArray = column_or_1d(checked)
        known = given[~np.isnan(given)]
        if not len(known):
            raise ValueError("All scores are NaN: there is nothing to set a threshold by.")
        initial = float(np.quantile(known, self.level, method="inverted_cdf"))
        # Of the largest numbers there are, the difference can be too large for one.
        with np.errstate(over="ignore"):
            excess = np.minimum(known[known > initial] - initial, _LARGEST)
        shape, scale = _fit_tail(excess) if len(excess) else (0.0, 0.0)
        share = min(self.risk * len(known) / max(len(excess), 1), 1.0)
        self.initial_threshold_, self.shape_, self.scale_ = initial, shape, scale
        self.thresh_ = min(initial + scale * _unit_quantile(shape, share), _LARGEST)
        self.labels_ = self.predict(given)
        return self

    def predict(self, scores: ArrayLike) -> IntArray:
        """Label scores.

        Parameters
        ----------
        scores : array-like of shape (n_samples,)

        Returns
        -------
        ndarray of shape (n_samples,), int
            1 for scores above ``thresh_``, 0 for others and NaN.
        """
        check_is_fitted(self, "thresh_")
        given: FloatArray = column_or_1d(np.asarray(scores, np.float64))
        return (given > self.thresh_).astype(int)


def _unit_quantile(shape: float, share: float) -> float:
    """Return what a share of a generalised Pareto distribution of scale one exceeds."""
    size = -np.log(share)
    if abs(shape) < 1e-12:
        return float(size)
    with np.errstate(over="ignore"):
        return float(np.expm1(shape * size) / shape)


def _fit_tail(excess: FloatArray) -> tuple[float, float]:
    """Return shape and scale of the generalised Pareto distribution of the largest likelihood.

    Given θ = ξ/σ it is largest at ξ = mean log(1 + θ·excess), so that only θ is left to be searched
    for. In units of the largest excess θ is above −1; the search is for log(1 + θ).
    """
    largest = excess.max()
    exponent = np.frexp(largest)[1]  # without it, quotients of the smallest numbers may overflow
    unit = np.ldexp(excess, -exponent) / np.ldexp(largest, -exponent)
    if len(excess) < _FEWEST:
        return 0.0, float(unit.mean() * largest)

    def shape_at(place: float) -> float:
        return float(np.log1p(np.expm1(place) * unit).mean())

    def scale_at(place: float) -> float:
        theta = float(np.expm1(place))
        return shape_at(place) / theta if theta else float(unit.mean())

    def loss(place: float) -> float:
        """Return the negative logarithm of the likelihood of an excess, but for a constant."""
        return float(np.log(scale_at(place))) + shape_at(place)

    low, high = _LOWEST, float(np.log1p(100 / max(unit.min(), 1e-300)))
    if shape_at(low) < -1:
        low = brentq(lambda place: shape_at(place) + 1, low, 0)
    places = np.linspace(low, high, _N_PLACES)
    losses = [loss(place) for place in places]
    best = int(np.argmin(losses))
    around = places[max(best - 1, 0)], places[min(best + 1, _N_PLACES - 1)]
    found = minimize_scalar(loss, bounds=around, method="bounded", options={"xatol": 1e-9})
    place = float(found.x) if found.fun < losses[best] else float(places[best])
    return shape_at(place), scale_at(place) * float(largest)
