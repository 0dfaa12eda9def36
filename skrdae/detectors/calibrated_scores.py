"""What a fitted CalibratedDetector says of new rows and steps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import issparse
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skrdae._typing import FloatArray, IntArray, MatrixLike
from skrdae._validation import check_data, snapshot
from skrdae.detectors.base import BaseTorchDetector
from skrdae.detectors.held_out import ROUNDED, HeldOutWindows, ScoredSteps, row_p_values
from skrdae.detectors.judgement import Judgement
from skrdae.detectors.scored import ScoredDetector
from skrdae.detectors.windowed_scores import ScoredWindows
from skrdae.metrics import anomaly_scores


def _explains(calibrated: Any) -> bool:
    return hasattr(vars(calibrated).get("detector_", calibrated.detector), "explain")


def of_series(calibrated: Any) -> bool:
    """Whether a detector, or the fitted clone of it, takes series."""
    return getattr(vars(calibrated).get("detector_", calibrated.detector), "_takes_series", False)


class CalibratedScorer(ScoredDetector):
    """Scores, p-values and labels by a fitted detector and calibration scores.

    The subclass, :class:`CalibratedDetector`, has the parameters and fits.
    """

    detector: Any
    detector_: Any

    #: Of a series; None for rows.
    _held_out: HeldOutWindows | None = None
    _share: float
    _by_p_value: bool

    @property
    def window_scores_(self) -> FloatArray:
        """Scores of the windows of the training series; see the class."""
        if self._held_out is None:
            raise AttributeError("window_scores_ is there after a fit to series only.")
        return self._held_out.scores

    @property
    def window_size_(self) -> int:
        """Number of steps in a window, after a fit to series."""
        if self._held_out is None:
            raise AttributeError("window_size_ is there after a fit to series only.")
        size: int = self.detector_.window_size_
        return size

    @property
    def _takes_series(self) -> bool:
        return of_series(self)

    @property
    def _leaves_steps_out(self) -> bool:
        return of_series(self)

    def _checked(self, X: Any, *, reset: bool) -> Any:
        """Return X as the detector takes it, of which some rows can be taken."""
        if not self._passes_on():
            return check_data(self, X, reset=reset)
        if reset and isinstance(self.detector, BaseTorchDetector):
            probe = clone(self.detector)
            probe._check_data(X, reset=True)
            self._take_names(probe)
        if issparse(X):
            return X.tocsr()
        return X if hasattr(X, "shape") else np.asarray(X)

    def _passes_on(self) -> bool:
        """Whether the detector gets X as it is; those of PyOD and scikit-learn get arrays."""
        return isinstance(self.detector, BaseTorchDetector | Pipeline)

    def _take_names(self, detector: Any) -> None:
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(detector, name):
                setattr(self, name, getattr(detector, name))

    def _validated(self, X: Any) -> Any:
        check_is_fitted(self, "detector_")
        if self._held_out is None:
            return self._checked(X, reset=False)
        return ScoredSteps(self.detector_, self._held_out, self.detector_._validated(X))

    def _score(self, X: Any) -> FloatArray:
        return X.scores() if isinstance(X, ScoredSteps) else anomaly_scores(self.detector_, X)

    def _labels_of(self, X: Any, scores: FloatArray) -> IntArray:
        # Of rows, those above the threshold are those with a small p-value.
        if self._by_p_value and isinstance(X, ScoredSteps):
            return X.labels(self._share)
        return (scores > self.threshold_).astype(int)

    @property
    def _flagged_share(self) -> float:
        return self._share

    def _flag_above_threshold(self) -> None:
        """Let ``threshold_``, set from outside, decide."""
        self._share, self._by_p_value = float(self.labels_.mean()), False

    def decision_function(self, X: MatrixLike) -> FloatArray:
        """Return the anomaly score of each row; the higher, the more anomalous.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), float64
            The scores of ``detector_``. On the training data they are lower than
            ``decision_scores_``, because it has seen them.
        """
        self = snapshot(self)
        return self._score(self._validated(X))

    def p_values(self, X: MatrixLike) -> FloatArray:
        """Return the p-value of each row: how rare a score as high is among normal rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            New rows, or a series. Those of the training data are not new, and their p-values are
            too large.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            In [1 / (n + 1), 1], n the number of calibration scores. For the steps of a series see
            the notes of the class; NaN for steps that no window covers.
        """
        self = snapshot(self)
        X = self._validated(X)
        if isinstance(X, ScoredSteps):
            return X.p_values()
        return row_p_values(self.decision_scores_, self._score(X))

    def _judged(self, X: Any) -> Judgement:
        """Return scores, labels and p-values of rows, or of the steps of series."""
        self = snapshot(self)
        X = self._validated(X)
        scores = self._score(X)
        of_steps = isinstance(X, ScoredSteps)
        p_values = X.p_values() if of_steps else row_p_values(self.decision_scores_, scores)
        return Judgement(scores, self._labels_of(X, scores), p_values)

    @available_if(of_series)
    def score_new(self, X: ArrayLike) -> float:
        """Return the score of the newest step of a series alone.

        Parameters
        ----------
        X : array-like of shape (n_timesteps, n_channels) or (n_timesteps,)
            The series so far, or its end, see :meth:`WindowedDetector.score_new`.

        Returns
        -------
        float
            NaN if there is a gap within the last window.
        """
        self = snapshot(self)
        newest = self._newest(X)
        return np.nan if newest is None else float(self.detector_._window_scores(newest)[0])

    @available_if(of_series)
    def p_value_new(self, X: ArrayLike) -> float:
        """Return the p-value of the newest step of a series alone.

        Use it for data that arrive step by step: only the last window is scored.

        Parameters
        ----------
        X : array-like of shape (n_timesteps, n_channels) or (n_timesteps,)
            The series so far, or its end, see :meth:`WindowedDetector.score_new`.

        Returns
        -------
        float
            How rare a score as high is among windows of the training series. :meth:`p_values` says
            the same of the last step of X, unless it stands out by itself. NaN if there is a gap
            within the last window. An anomaly makes it small as long as the last window holds it.
        """
        self = snapshot(self)
        newest = self._newest(X)
        if newest is None:
            return np.nan
        return float(self._p_values_of(self.detector_._window_scores(newest))[0])

    @available_if(of_series)
    def predict_new(self, X: ArrayLike) -> int:
        """Return 1 if the newest step of a series is flagged, and 0 if it is not.

        Parameters
        ----------
        X : array-like of shape (n_timesteps, n_channels) or (n_timesteps,)
            The series so far, or its end, see :meth:`WindowedDetector.score_new`.

        Returns
        -------
        int
            1 if :meth:`p_value_new` is `max_fpr` or less. 0 also if the step has no score, because
            there is a gap within the last window: :meth:`score_new` is NaN then.
        """
        self = snapshot(self)
        newest = self._newest(X)
        found = None if newest is None else self._each_as_newest(newest).labels
        return 0 if found is None else int(found[0])

    # ------------------------------------------------------- steps, each by its last window alone

    def _newest(self, X: ArrayLike) -> ScoredWindows | None:
        """Return the window that ends with the newest step; None if there is a gap within it."""
        check_is_fitted(self, "detector_")
        newest: ScoredWindows | None = self.detector_._newest(X)
        return newest

    def _all_windows(self, X: Any) -> ScoredWindows:
        """Return the windows that end with each step, whatever the stride."""
        check_is_fitted(self, "detector_")
        windows: ScoredWindows = self.detector_._all_windows(X)
        return windows

    def _each_as_newest(self, windows: ScoredWindows) -> Judgement:
        """Judge the last step of each window."""
        return self._judged_as_newest(self.detector_._window_scores(windows))

    def _newest_in_training(self) -> Judgement:
        """Judge the steps of the training series, by clones that had not seen them."""
        return self._judged_as_newest(self.window_scores_)

    def _judged_as_newest(self, scores: FloatArray) -> Judgement:
        p_values = self._p_values_of(scores)
        flagged = p_values <= self._share * ROUNDED
        if not self._by_p_value:  # the threshold was set from outside
            flagged = scores > self.threshold_
        return Judgement(scores, flagged.astype(int), p_values)

    def _p_values_of(self, scores: FloatArray) -> FloatArray:
        """Return the p-values of single windows."""
        assert self._held_out is not None
        return self._held_out.p_values(scores, np.ones(len(scores), np.intp))

    @property
    def _newest_threshold(self) -> float:
        """The score of its last window above which the newest step is flagged."""
        if not self._by_p_value:
            return self.threshold_
        assert self._held_out is not None
        known, n_alike = self._held_out.known(1)
        n_above = int(self._share * ROUNDED * (n_alike + len(known)) - n_alike)
        # If all windows are flagged, none has a score that is not.
        return float(known[-min(max(n_above, 0), len(known) - 1) - 1])

    @property
    def _n_alike(self) -> float:
        """For how many calibration scores one counts."""
        return 1.0 if self._held_out is None else self._held_out.known(1)[1]

    @available_if(_explains)
    def explain(self, X: MatrixLike) -> FloatArray:
        """Return the contribution of each feature to the score of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_features), float64
            What ``detector_`` explains; of a series, for each step and channel. Only for detectors
            with an `explain`.
        """
        self = snapshot(self)
        if self._held_out is None:
            check_is_fitted(self, "detector_")
            X = self._checked(X, reset=False)
        found: FloatArray = self.detector_.explain(X)
        return found
