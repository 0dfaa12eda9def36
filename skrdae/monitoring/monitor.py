"""A detector at work: scores in batches, windows of them held against those of training."""

from __future__ import annotations

import logging
import os
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from skrdae._typing import FloatArray, MatrixLike
from skrdae._validation import outside
from skrdae.detectors.judgement import Judgement
from skrdae.monitoring import alert
from skrdae.monitoring.alert import AlertKind, Handler
from skrdae.monitoring.arguments import check_arguments, check_no_labels, is_number
from skrdae.monitoring.batch import BatchReport
from skrdae.monitoring.dispatch import Dispatcher
from skrdae.monitoring.drift import ScoreReference
from skrdae.monitoring.labels import (
    are_rows,
    flagging_threshold,
    has_p_values,
    judged,
    judged_in_training,
    n_alike,
    scores_of,
    unfitted,
)
from skrdae.monitoring.metrics import PrometheusMetrics
from skrdae.monitoring.reasons import facts_of
from skrdae.monitoring.verdict import Judge
from skrdae.thresholds import quantile_threshold

_log = logging.getLogger("skrdae.monitoring")
# What depends on the detector, and changes with it. The detector comes last: a thread that sees the
# new one sees the rest of it as well.
_OF_THE_DETECTOR = (
    "threshold_",
    "reference_",
    "expected_rate_",
    "_judge",
    "_uses_own_labels",
    "_ranks_by_reference",
    "detector",
)
# The monitors of this process.
_MONITORS: weakref.WeakSet[Monitor] = weakref.WeakSet()


class Monitor:
    """Watch a fitted detector in production, batch by batch, and send alerts.

    Each batch with flagged rows gives one alert. The scores of every `window_size` rows are
    compared with the reference: if too many rows are flagged, or the scores have drifted, there is
    one alert when that begins and another when it ends, and none for the windows in between. The
    windows do not depend on how the rows are divided into batches.

    Parameters
    ----------
    detector : object
        A fitted detector of this package or of PyOD, an outlier detector of scikit-learn, or a
        pipeline or search that ends in one.
    reference : array-like of shape (n_samples,) or (n_samples, n_features), optional
        Normal data: rows for the detector (two-dimensional, or a list of series), or their scores
        (one-dimensional; the higher, the more anomalous). By default the training scores. Normal
        rows that the detector was not fitted to are better, because training rows tend to get lower
        scores. If the rows to come are in time order, the reference has to be, too: the monitor
        estimates from it how strongly neighbouring rows depend on each other.
    threshold : float, optional
        Rows with a higher score are flagged. By default the detector's own labels are used.
    window_size : int, default=1000
        Number of rows in a window, at least 50. Use many more if neighbouring rows depend on each
        other.
    drift : {"psi", "ks"}, default="psi"
        How drift is detected: by the population stability index, which measures how large a shift
        is, or by the Kolmogorov–Smirnov test, which detects very small shifts in large windows.
    drift_limit : float, optional
        The index above which, or p-value below which, scores drift. By default 0.25 (more where
        chance would exceed that) or 0.001. An index of your own is taken as it is, whatever chance
        may do.
    rate_limit : float in (0, 1), optional
        The share of flagged rows above which there are too many. By default twice that of the
        reference, where this is not by chance, given how well so many rows can tell.
    handlers : callable or sequence of callable, default=()
        Functions that are called with each :class:`Alert`, in order. If one raises, the error is
        logged and the others are still called. See :class:`LoggingHandler` and
        :class:`WebhookHandler`.
    metrics : PrometheusMetrics, optional
        Kept up to date.
    name : str, default="skrdae"
        Name of this monitor in alerts and metrics, without control characters. Monitors that share
        metrics need different names.

    Attributes
    ----------
    threshold_ : float
        Rows that score above are flagged, unless the detector's own labels count. For a detector
        that flags in another way, by vote for instance, the threshold that comes closest.
    reference_ : ScoreReference
    expected_rate_ : float
        Share of the reference that is flagged.
    n_rows_ : int
        Rows seen that have a score.
    drifting_, rate_is_high_ : bool
        As of the last window for which it could be told.
    n_handler_errors_ : int
        Times that a handler raised, and alerts that were dropped because 1,000 were waiting.
    n_waiting_alerts_ : int
        Alerts that wait for a handler that hangs, or has not been called yet.

    Warns
    -----
    UserWarning
        If, by how the reference's scores depend on each other, windows or the reference are too
        short to tell a shift of one standard deviation; it says how long they would have to be.

    Notes
    -----
    Any number of threads may call it. Handlers are called by the thread that brought the rows, each
    handler with one alert at a time, before :meth:`update` returns. If another thread is in a
    handler for more than a second, it hangs: the alerts for it wait, up to 1,000, and the thread
    that is in it delivers them when it returns. So a handler that hangs holds up the thread that
    called it, and others for a second at most. What waits is lost when the process ends. A process
    that is forked begins without it.

    Examples
    --------
    >>> import numpy as np
    >>> from skrdae import RobustDeepAutoencoder
    >>> from skrdae.monitoring import Monitor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(2000, 2)) @ rng.normal(size=(2, 6)) + 0.1 * rng.normal(size=(2000, 6))
    >>> detector = RobustDeepAutoencoder(contamination=0.01, random_state=0).fit(X[:1000])
    >>> alerts = []
    >>> monitor = Monitor(
    ...     detector,
    ...     reference=detector.decision_function(X[1000:1500]),
    ...     window_size=200,
    ...     handlers=[alerts.append],
    ... )
    >>> monitor.update(X[1500:1700]).windows[0].drifting
    False
    >>> monitor.update(X[1700:1900] + rng.normal(size=(200, 6))).windows[0].drifting
    True
    >>> [alert.kind for alert in alerts][-2:]
    ['alert_rate', 'drift']
    """

    threshold_: float
    reference_: ScoreReference
    expected_rate_: float
    n_rows_: int
    drifting_: bool
    rate_is_high_: bool
    # Scores of rows that are in no window yet, 1.0 for those that are flagged, and p-values.
    _pending: FloatArray
    _recent: FloatArray

    def __init__(
        self,
        detector: Any,
        *,
        reference: MatrixLike | None = None,
        threshold: float | None = None,
        window_size: int = 1000,
        drift: Literal["psi", "ks"] = "psi",
        drift_limit: float | None = None,
        rate_limit: float | None = None,
        handlers: Handler | Sequence[Handler] = (),
        metrics: PrometheusMetrics | None = None,
        name: str = "skrdae",
    ) -> None:
        check_arguments(window_size, drift, drift_limit, rate_limit, name)
        handlers = (handlers,) if callable(handlers) else tuple(handlers)
        for handler in handlers:
            if not callable(handler):
                raise TypeError(f"handlers must be callable; got {handler!r}.")
        if metrics is not None and not hasattr(metrics, "observe"):
            raise TypeError(f"metrics must be a PrometheusMetrics; got {metrics!r}.")
        self.detector = detector
        self.window_size, self.drift = int(window_size), drift
        self.drift_limit, self.rate_limit = drift_limit, rate_limit
        self.handlers, self.metrics, self.name = handlers, metrics, name
        self._learn(reference, threshold)
        self.n_rows_ = 0
        self.drifting_ = self.rate_is_high_ = False
        self._pending, self._recent, self._n_closed = np.empty((3, 0)), np.empty(0), 0
        self._lock = threading.RLock()
        self._dispatcher = Dispatcher(name, handlers)
        self._warn_of_shortage()
        if metrics is not None:
            metrics.observe(self)
        _MONITORS.add(self)

    @property
    def n_handler_errors_(self) -> int:
        """Times that a handler raised, and alerts that were dropped."""
        return self._dispatcher.n_errors

    @property
    def n_waiting_alerts_(self) -> int:
        """Alerts that wait for a handler."""
        return self._dispatcher.n_waiting

    # What :class:`SeriesMonitor` does in another way: judge the reference and new data.

    def _in_training(self) -> Judgement:
        return judged_in_training(self.detector)

    def _judged(self, X: Any) -> Judgement:
        return judged(self.detector, X)

    def _own_threshold(self) -> float:
        return flagging_threshold(self.detector)

    def _learn(self, reference: Any, threshold: float | None) -> None:
        """Take from the detector and the reference what new rows are held against."""
        self._uses_own_labels, self._ranks_by_reference = threshold is None, False
        found = self._of_reference(reference)
        if threshold is None:
            threshold = self._own_threshold()
        if not is_number(threshold):
            raise ValueError(f"threshold must be a finite number; got {threshold!r}.")
        self.threshold_ = float(threshold)
        self._refer_to(self._as_it_counts(found))

    def _of_reference(self, reference: Any) -> Judgement:
        if reference is None:
            return self._in_training()
        if are_rows(reference):
            return self._of_rows(reference)
        scores = np.ravel(reference).astype(float)
        check_no_labels("reference", scores)
        return Judgement(scores)

    def _of_rows(self, X: Any) -> Judgement:
        """Return what the detector says of rows, with labels where they count."""
        if self._uses_own_labels or has_p_values(self.detector):
            return self._judged(X)
        return Judgement(scores_of(self.detector, X))

    def _as_it_counts(self, found: Judgement) -> Judgement:
        """Return the labels by the threshold, and p-values by the reference, if they decide."""
        scores, labels, p_values = found.scores, found.labels, found.p_values
        if labels is None or not self._uses_own_labels:
            labels = (scores > self.threshold_).astype(int)
        if self._ranks_by_reference:
            p_values = self.reference_.p_values(scores, n_alike(self.detector))
        return Judgement(scores, np.where(np.isnan(scores), 0, labels), p_values)

    def _refer_to(self, reference: Judgement) -> None:
        assert reference.labels is not None
        options = (self.drift, self.drift_limit, self.rate_limit)
        flagged = reference.labels == 1
        self._judge = Judge(reference.scores, flagged, *options, reference.p_values)
        self.reference_, self.expected_rate_ = self._judge.scores, self._judge.flags.share

    def _warn_of_shortage(self) -> None:
        shortage = self._judge.shortage(self.window_size)
        self._told_shortage = shortage is not None
        if shortage is not None:
            warnings.warn(f"{self.name}: {shortage}", UserWarning, stacklevel=outside())

    # ------------------------------------------------------------------------------ watching

    def update(self, X: MatrixLike) -> BatchReport:
        """Score a batch of rows and record the result.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Rows for the detector. The index of a DataFrame names the rows in alerts.

        Returns
        -------
        BatchReport

        Raises
        ------
        ValueError
            As raised by the detector if it cannot score the rows. The batch is ignored then.
        """
        started, detector = time.perf_counter(), self.detector
        found = self._of_rows(X)
        seconds = time.perf_counter() - started
        names = getattr(X, "index", None)
        now = self._as_it_counts(found)
        assert now.labels is not None
        try:
            listed = alert.listed_rows(now.scores, now.labels)
            facts = facts_of(self.detector, X, listed, now.p_values)
        except Exception:  # an alert without reasons is better than none
            _log.exception("%s: the flagged rows could not be explained", self.name)
            facts = {}
        names = None if callable(names) else names
        taken = self._take(
            found, seconds, lambda report: self._alert_on(report, names, facts), detector
        )
        return taken or self.update(X)

    def update_scores(self, scores: ArrayLike) -> BatchReport:
        """Record rows that were scored elsewhere.

        For series, for instance: ``monitor.update_scores([monitor.detector.score_new(series)])``
        whenever a step arrives. Rows that score above ``threshold_`` are flagged. After a `refit`,
        scores have to be those of the new ``monitor.detector``.

        Parameters
        ----------
        scores : array-like of shape (n_rows,)
            The higher, the more anomalous. NaN stands for a row without a score.

        Returns
        -------
        BatchReport
        """
        scores = np.asarray(scores, float)
        if scores.ndim != 1:
            raise ValueError(f"scores must have one dimension; got shape {scores.shape}.")
        report = self._take(Judgement(scores), None, self._alert_on)
        assert report is not None
        return report

    def _alert_on(
        self,
        report: BatchReport,
        names: Any = None,
        facts: Mapping[int, dict[str, Any]] | None = None,
    ) -> None:
        """Add an alert to the report of a batch with flagged rows."""
        if report.labels.any():
            flagged = (report.scores, report.labels, self.threshold_, names, facts or {})
            report.alerts.append(alert.of_rows(self.name, *flagged))

    def _take(
        self,
        found: Judgement,
        seconds: float | None,
        tell: Callable[[BatchReport], None],
        detector: Any = None,
    ) -> BatchReport | None:
        """Record a batch; `tell` adds the alerts on its flagged rows.

        None, and nothing recorded, if `detector`, which has scored it, has been replaced meanwhile.
        What was scored elsewhere has no detector.
        """
        if np.isinf(found.scores).any():
            raise ValueError("scores must be finite, or NaN where a row has none.")
        known = ~np.isnan(found.scores)
        with self._lock:
            if detector is not None and detector is not self.detector:
                return None
            now = self._as_it_counts(found)
            assert now.labels is not None
            report = BatchReport(now.scores, now.labels, p_values=now.p_values)
            tell(report)
            self.n_rows_ += int(known.sum())
            p_values = np.full(len(known), np.nan) if now.p_values is None else now.p_values
            rows = np.stack([now.scores, now.labels, p_values])[:, known]
            self._pending = np.concatenate([self._pending, rows], axis=1)
            while self._pending.shape[1] >= self.window_size:
                window, self._pending = np.split(self._pending, [self.window_size], axis=1)
                self._close(window, report)
            if self.metrics is not None:
                self.metrics.observe(self, report, seconds)
            places = self._dispatcher.queue(report.alerts)
            unclear = next((w for w in report.windows if w.drift_unknown), None)
            told, self._told_shortage = self._told_shortage, self._told_shortage or bool(unclear)
        if unclear and not told:
            _log.warning(
                "%s: neighbouring rows are far more alike than in the reference: either the rows "
                "are stuck or change smoothly, or the reference was not in time order. The last %d "
                "rows are worth %.3g independent ones, too few to tell whether the scores drift",
                self.name, unclear.n_rows, unclear.n_effective,
            )  # fmt: skip
        self._dispatcher.deliver(places)
        return report

    def _close(self, window: FloatArray, report: BatchReport) -> None:
        """Hold a window, (3, window_size), against the reference."""
        scores, labels, p_values = window
        found = self._judge.report(self._n_closed, scores, labels == 1, p_values)
        report.windows.append(found)
        goes_on = self.drifting_ and (found.drifting or found.drift_unknown)
        recent = [self._recent, scores] if goes_on else [scores]
        most = max(len(self.reference_.scores), self.window_size)
        self._recent = np.concatenate(recent)[-most:]
        self._n_closed += found.n_rows
        # What cannot be told neither begins nor ends anything.
        if not found.rate_unknown and found.rate_is_high != self.rate_is_high_:
            self.rate_is_high_ = found.rate_is_high
            report.alerts.append(alert.of_rate(self.name, found, self.expected_rate_))
        if not found.drift_unknown and found.drifting != self.drifting_:
            self.drifting_ = found.drifting
            report.alerts.append(alert.of_drift(self.name, found))

    # --------------------------------------------------------------------------- calibrating

    def recalibrate(
        self, contamination: float | None = None, scores: ArrayLike | None = None
    ) -> BatchReport:
        """Replace the reference by other scores, and set the threshold by them.

        Neither the detector nor the rows seen so far are looked at again. Rows that score above
        the new ``threshold_`` are flagged from now on, whatever the detector's own labels. What is
        drifting, or flagged too often, counts as resolved.

        Parameters
        ----------
        contamination : float in (0, 0.5], optional
            The share of these scores to flag. By default ``expected_rate_``.
        scores : array-like of shape (n_samples,), optional
            In time order, like the reference. By default those of the last window, or of all
            windows since a drift began (at most as many rows as the reference has).

        Returns
        -------
        BatchReport
            With the alerts on what is resolved.

        Raises
        ------
        ValueError
            If there has been no full window yet, or the scores or the share are not as they should
            be. Nothing has changed then.

        Warns
        -----
        UserWarning
            As for the monitor: a single window may be too short a reference.
        """
        with self._lock:
            if scores is None:
                scores = self._recent
                if len(scores) == 0:
                    raise ValueError(
                        f"No window of {self.window_size} rows is complete yet (of {self.n_rows_} "
                        "rows seen): wait, or pass scores."
                    )
            share = min(self.expected_rate_, 0.5) if contamination is None else contamination
            if not (is_number(share) and 0 < share <= 0.5):
                raise ValueError(f"contamination must be a share in (0, 0.5]; got {share!r}.")
            scores = np.ravel(scores).astype(float)
            check_no_labels("scores", scores)
            reference = ScoreReference(scores)
            threshold = quantile_threshold(reference.scores, share)
            p_values = None
            if has_p_values(self.detector):
                p_values = reference.p_values(scores, n_alike(self.detector))
            self._refer_to(Judgement(scores, (scores > threshold).astype(int), p_values))
            self.threshold_, self._uses_own_labels = threshold, False
            self._ranks_by_reference = p_values is not None
            report, places = self._begin_anew("recalibrated")
        self._dispatcher.deliver(places)
        self._warn_of_shortage()
        return report

    def refit(self, X: Any, reference: MatrixLike | None = None) -> BatchReport:
        """Fit the detector again, to what is normal now, and go on with that.

        A clone of the detector is fitted, of a search one of its ``best_estimator_``. It takes the
        place of `detector`, which does not change.
        Reference, threshold and p-values are those of the new fit, also where a threshold had been
        given before: the scores of two fits are in different units. What is drifting, flagged too
        often or an incident counts as resolved.

        Until the fit is done, other threads go on with the detector as it was. Of two at once, the
        one that ends last counts.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or series
            What the detector is to learn: normal rows or steps since the change, or the last weeks.
            The columns may be others than before. Leave out known faults, but not rows because they
            were flagged: some normal rows are flagged as well.
        reference : array-like, optional
            New normal rows (two-dimensional) or a list of series. No scores: those of the new fit
            do not exist yet.

        Returns
        -------
        BatchReport
            With the alerts on what is resolved.

        Raises
        ------
        ValueError, TypeError
            As raised by the detector's `fit`; if it is frozen; if `reference` holds scores, or is
            missing and the detector keeps no scores of its training. Nothing has changed then.

        Warns
        -----
        UserWarning
            As for the monitor, and by the detector's `fit`.
        """
        if reference is not None and not are_rows(reference):
            raise ValueError(
                "reference must hold rows or series, not scores; pass a series of one channel as "
                "reference[:, None]."
            )
        draft = copy(self)
        draft.detector = unfitted(self.detector).fit(X)
        draft._learn(reference, None)
        with self._lock:
            for name in _OF_THE_DETECTOR:
                setattr(self, name, getattr(draft, name))
            self._recent = np.empty(0)  # scores of another fit
            report, places = self._begin_anew("the detector has been fitted again")
        self._dispatcher.deliver(places)
        self._warn_of_shortage()
        return report

    def _begin_anew(self, why: str) -> tuple[BatchReport, list[int]]:
        """Begin a new window, and end what has begun; queue the alerts on that."""
        self._n_closed += self._pending.shape[1]
        self._pending = np.empty((3, 0))
        report = BatchReport(np.empty(0), np.empty(0, int))
        for kind in self._end_all():
            report.alerts.append(alert.of_new_normal(self.name, kind, why, self.threshold_))
        if self.metrics is not None:
            self.metrics.observe(self, report)
        return report, self._dispatcher.queue(report.alerts)

    def _end_all(self) -> list[AlertKind]:
        """End what has begun, and return what that was."""
        begun: dict[AlertKind, bool] = {"alert_rate": self.rate_is_high_, "drift": self.drifting_}
        self.drifting_ = self.rate_is_high_ = False
        return [kind for kind, lasts in begun.items() if lasts]


def _begin_again() -> None:
    """Free the monitors of a process that was forked from threads that are not in it."""
    for monitor in list(_MONITORS):
        monitor._lock = threading.RLock()
        monitor._dispatcher.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_again)
