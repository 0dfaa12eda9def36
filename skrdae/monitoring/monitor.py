"""A detector at work: scores in batches, windows of them held against those of training."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from skrdae._typing import Floats, Integers, RowsOrSparse
from skrdae.metrics import anomaly_scores, deciding_step
from skrdae.monitoring.alert import Alert, AlertKind
from skrdae.monitoring.drift import P_VALUE, ScoreReference
from skrdae.monitoring.metrics import PrometheusMetrics
from skrdae.thresholds import quantile_threshold

_log = logging.getLogger("skrdae.monitoring")
# Rows that an alert lists, those with the highest scores.
_LISTED = 10


@dataclass(frozen=True)
class WindowReport:
    """What a window of rows, one after another, looks like beside the reference.

    Attributes
    ----------
    first_row : int
        Of the window, counted from the first row that the monitor saw.
    n_rows, n_flagged : int
    alert_rate : float
        Share of the rows that are flagged.
    stability_index : float
        See :meth:`ScoreReference.stability_index`.
    ks_statistic, ks_p_value : float
        Of the Kolmogorov–Smirnov test.
    drifting, rate_is_high : bool
        What the monitor makes of it.
    """

    first_row: int
    n_rows: int
    n_flagged: int
    alert_rate: float
    stability_index: float
    ks_statistic: float
    ks_p_value: float
    drifting: bool
    rate_is_high: bool


@dataclass(frozen=True)
class BatchReport:
    """What became of a batch.

    Attributes
    ----------
    scores : ndarray of shape (n_rows,)
    labels : ndarray of shape (n_rows,)
        1 where the score is above the monitor's threshold.
    alerts : list of Alert
        What the handlers were told.
    windows : list of WindowReport
        Of the windows that this batch completed.
    """

    scores: Floats
    labels: Integers
    alerts: list[Alert] = field(default_factory=list)
    windows: list[WindowReport] = field(default_factory=list)


class Monitor:
    """Watch the scores of a fitted detector, batch by batch, and tell who wants to know.

    Rows above the threshold are an alert, one for each batch that has any. The scores of every
    `window_size` rows are held against the reference: if too many are flagged, or the scores have
    drifted, that is an alert when it begins, and another when it has ended, not one for each
    window. How the rows are cut into batches makes no difference to the windows.

    Parameters
    ----------
    detector : object
        A fitted detector of this package or of PyOD, an outlier detector of scikit-learn, or a
        pipeline or search that ends in one.
    reference : array-like of shape (n_samples,), optional
        Scores as they should be, the higher the more anomalous. By default those of training; those
        of other normal rows are better, because a detector knows the rows it was trained on.
    threshold : float, optional
        Rows that score above are flagged. By default the detector's ``threshold_``.
    window_size : int, default=1000
        Rows of a window. At least 50.
    drift : {"psi", "ks"}, default="psi"
        What tells a drift: the population stability index, which looks at how large a shift is, or
        the Kolmogorov–Smirnov test, which in large windows finds the smallest.
    drift_limit : float, optional
        The index above which, or p-value below which, scores drift. By default 0.25 (more where
        chance would exceed that) or 0.001.
    rate_limit : float in (0, 1), optional
        The share of flagged rows above which there are too many. By default twice that of the
        reference, where this is not by chance, given how well so many scores can tell.
    handlers : callable or sequence of callable, default=()
        Called with each :class:`Alert`, in order. One that raises is logged, and does not keep the
        others from being called. See :class:`LoggingHandler` and :class:`WebhookHandler`.
    metrics : PrometheusMetrics, optional
        Kept up to date.
    name : str, default="skrdae"
        What alerts and metrics call this monitor. Monitors that share metrics need names of their
        own.

    Attributes
    ----------
    threshold_ : float
    reference_ : ScoreReference
    expected_rate_ : float
        Share of the reference above the threshold.
    n_rows_ : int
        Rows seen that have a score.
    drifting_, rate_is_high_ : bool
        As of the last window.
    n_handler_errors_ : int
        Times that a handler raised.

    Notes
    -----
    Any number of threads may call it. Handlers are called by the thread that brought the rows, one
    at a time.

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
    n_handler_errors_: int
    _pending: Floats
    _recent: Floats

    def __init__(
        self,
        detector: Any,
        *,
        reference: ArrayLike | None = None,
        threshold: float | None = None,
        window_size: int = 1000,
        drift: Literal["psi", "ks"] = "psi",
        drift_limit: float | None = None,
        rate_limit: float | None = None,
        handlers: Callable[[Alert], object] | Sequence[Callable[[Alert], object]] = (),
        metrics: PrometheusMetrics | None = None,
        name: str = "skrdae",
    ) -> None:
        # Integral is for NumPy's; mypy does not know that int is one.
        if not isinstance(window_size, int | Integral) or isinstance(window_size, bool):
            raise TypeError(f"window_size must be a number of rows; got {window_size!r}.")
        if window_size < 50:
            raise ValueError(f"window_size must be at least 50; got {window_size}.")
        if drift not in ("psi", "ks"):
            raise ValueError(f"drift must be 'psi' or 'ks'; got {drift!r}.")
        for parameter, value in (("drift_limit", drift_limit), ("rate_limit", rate_limit)):
            if value is not None and not (_is_number(value) and value > 0):
                raise ValueError(f"{parameter} must be a number above 0; got {value!r}.")
        if rate_limit is not None and rate_limit >= 1:
            raise ValueError(f"rate_limit must be a share below 1; got {rate_limit!r}.")
        if drift == "ks" and drift_limit is not None and drift_limit >= 1:
            raise ValueError(f"drift_limit is a p-value, below 1; got {drift_limit!r}.")
        handlers = [handlers] if callable(handlers) else list(handlers)
        for handler in handlers:
            if not callable(handler):
                raise TypeError(f"handlers must be callable; got {handler!r}.")
        if metrics is not None and not hasattr(metrics, "observe"):
            raise TypeError(f"metrics must be a PrometheusMetrics; got {metrics!r}.")
        if not isinstance(name, str) or not name:
            raise TypeError(f"name must be a text; got {name!r}.")
        last = deciding_step(detector)
        if reference is None:
            reference = _of_detector(last, "decision_scores_", "reference")
            reference = reference[~np.isnan(reference)]  # steps that no window covers
        if threshold is None:
            threshold = float(_of_detector(last, "threshold_", "threshold"))
        if not _is_number(threshold):
            raise ValueError(f"threshold must be a finite number; got {threshold!r}.")
        self.detector = detector
        self.window_size, self.drift = int(window_size), drift
        self.drift_limit, self.rate_limit = drift_limit, rate_limit
        self.handlers, self.metrics, self.name = handlers, metrics, name
        self.reference_ = ScoreReference(reference)
        self.threshold_ = float(threshold)
        self.expected_rate_ = self.reference_.share_above(self.threshold_)
        self.n_rows_ = self.n_handler_errors_ = 0
        self.drifting_ = self.rate_is_high_ = False
        self._pending, self._recent, self._n_closed = np.empty(0), np.empty(0), 0
        self._lock = threading.RLock()
        if metrics is not None:
            metrics.observe(self)

    # ------------------------------------------------------------------------------ watching

    def update(self, X: RowsOrSparse) -> BatchReport:
        """Score a batch of rows and take note of them.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            As the detector takes it. The index of a DataFrame names the rows in alerts.

        Returns
        -------
        BatchReport

        Raises
        ------
        ValueError
            What the detector says of rows that it cannot score. They then count as not seen.
        """
        started = time.perf_counter()
        scores = self._scores(X)
        seconds = time.perf_counter() - started
        names = getattr(X, "index", None)
        return self._take(scores, None if callable(names) else names, seconds)

    def _scores(self, X: RowsOrSparse) -> Floats:
        if getattr(deciding_step(self.detector), "_leaves_steps_out", False):
            return np.asarray(self.detector.decision_function(X), float)  # NaN where there is none
        return anomaly_scores(self.detector, X)

    def update_scores(self, scores: ArrayLike) -> BatchReport:
        """Take note of rows that were scored elsewhere.

        For series, for instance: ``monitor.update_scores([detector.score_new(series)])`` whenever
        a step arrives.

        Parameters
        ----------
        scores : array-like of shape (n_rows,)
            The higher the more anomalous. NaN is a row without a score.

        Returns
        -------
        BatchReport
        """
        scores = np.asarray(scores, float)
        if scores.ndim != 1:
            raise ValueError(f"scores must have one dimension; got shape {scores.shape}.")
        return self._take(scores)

    def _take(self, scores: Floats, names: Any = None, seconds: float | None = None) -> BatchReport:
        if np.isinf(scores).any():
            raise ValueError("scores must be finite, or NaN where a row has none.")
        with self._lock:
            report = BatchReport(scores, (scores > self.threshold_).astype(int))
            if report.labels.any():
                self._tell_anomalies(report, names)
            known = scores[~np.isnan(scores)]
            self.n_rows_ += len(known)
            self._pending = np.concatenate([self._pending, known])
            while len(self._pending) >= self.window_size:
                window, self._pending = np.split(self._pending, [self.window_size])
                self._close(window, report)
            if self.metrics is not None:
                self.metrics.observe(self, report, seconds)
        return report

    def _tell_anomalies(self, report: BatchReport, names: Any) -> None:
        flagged = np.flatnonzero(report.labels)
        highest = flagged[np.argsort(-report.scores[flagged], kind="stable")][:_LISTED]
        rows: list[dict[str, Any]]
        rows = [{"row": int(row), "score": float(report.scores[row])} for row in highest]
        if names is not None:
            rows = [{**row, "name": str(names[row["row"]])} for row in rows]
        first = rows[0]
        text = (
            f"{self.name}: {len(flagged)} of {len(report.scores)} rows flagged; the highest score "
            f"is {first['score']:.4g} (row {first.get('name', first['row'])}), the threshold "
            f"{self.threshold_:.4g}"
        )
        details = {
            "n_rows": len(report.scores),
            "n_flagged": len(flagged),
            "threshold": self.threshold_,
            "rows": rows,
        }
        self._tell(report, "anomalies", text, details)

    def _close(self, window: Floats, report: BatchReport) -> None:
        """Hold a window against the reference."""
        n_rows, n_flagged = len(window), int((window > self.threshold_).sum())
        index = self.reference_.stability_index(window)
        statistic, p_value = self.reference_.kolmogorov_smirnov(window)
        found = WindowReport(
            first_row=self._n_closed,
            n_rows=n_rows,
            n_flagged=n_flagged,
            alert_rate=n_flagged / n_rows,
            stability_index=index,
            ks_statistic=statistic,
            ks_p_value=p_value,
            drifting=self._drifts(index, p_value, n_rows),
            rate_is_high=self.reference_.too_often(
                n_flagged, n_rows, self.threshold_, self.rate_limit
            ),
        )
        report.windows.append(found)
        self._recent = window
        self._n_closed += n_rows
        if found.rate_is_high != self.rate_is_high_:
            self.rate_is_high_ = found.rate_is_high
            usual = f"{self.expected_rate_:.2%} are usual"
            text = f"{self.name}: {n_flagged} of the last {n_rows} rows are flagged; {usual}"
            resolved = not found.rate_is_high
            self._tell(report, "alert_rate", text, asdict(found), resolved)
        if found.drifting != self.drifting_:
            self.drifting_ = found.drifting
            what = "have drifted" if found.drifting else "are as they were again"
            text = (
                f"{self.name}: the scores of the last {n_rows} rows {what} (stability index "
                f"{index:.2f}, Kolmogorov–Smirnov statistic {statistic:.2f})"
            )
            self._tell(report, "drift", text, asdict(found), not found.drifting)

    def _drifts(self, index: float, p_value: float, n_rows: int) -> bool:
        if self.drift == "ks":
            return bool(p_value < (P_VALUE if self.drift_limit is None else self.drift_limit))
        if self.drift_limit is None:
            return bool(index > self.reference_.stability_limit(n_rows))
        return bool(index > self.drift_limit)

    def _tell(
        self,
        report: BatchReport,
        kind: AlertKind,
        text: str,
        details: dict[str, Any],
        resolved: bool = False,
    ) -> None:
        alert = Alert(self.name, kind, text, details, resolved)
        report.alerts.append(alert)
        for handler in self.handlers:
            try:
                handler(alert)
            except Exception:  # whatever it is, the rows go on
                self.n_handler_errors_ += 1
                _log.exception("%s: a handler failed on an alert: %s", self.name, text)

    # --------------------------------------------------------------------------- calibrating

    def recalibrate(
        self, contamination: float | None = None, scores: ArrayLike | None = None
    ) -> BatchReport:
        """Take other scores for what is normal from now on, and set the threshold by them.

        Neither the detector nor the rows seen so far are looked at again. What is drifting, or
        flagged too often, counts as resolved.

        Parameters
        ----------
        contamination : float in (0, 0.5], optional
            The share of these scores to flag. By default ``expected_rate_``.
        scores : array-like of shape (n_samples,), optional
            By default those of the last window.

        Returns
        -------
        BatchReport
            With the alerts on what is resolved.

        Raises
        ------
        ValueError
            If there has been no full window yet, or the scores or the share are not as they should
            be. Nothing has changed then.
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
            if not (_is_number(share) and 0 < share <= 0.5):
                raise ValueError(f"contamination must be a share in (0, 0.5]; got {share!r}.")
            self.reference_ = ScoreReference(scores)
            self.threshold_ = quantile_threshold(self.reference_.scores, share)
            self.expected_rate_ = self.reference_.share_above(self.threshold_)
            self._n_closed += len(self._pending)
            self._pending = np.empty(0)
            report = BatchReport(np.empty(0), np.empty(0, int))
            began: tuple[tuple[AlertKind, bool], ...]
            began = (("alert_rate", self.rate_is_high_), ("drift", self.drifting_))
            for kind, was in began:
                if was:
                    text = f"{self.name}: recalibrated, the threshold is {self.threshold_:.4g} now"
                    details = {"threshold": self.threshold_}
                    self._tell(report, kind, text, details, resolved=True)
            self.drifting_ = self.rate_is_high_ = False
            if self.metrics is not None:
                self.metrics.observe(self, report)
        return report


def _is_number(value: float) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and np.isfinite(value)


def _of_detector(detector: Any, attribute: str, parameter: str) -> Floats:
    if not hasattr(detector, attribute):
        raise ValueError(
            f"{type(detector).__name__} has no {attribute}: pass {parameter} (or fit it, if "
            "that is still to be done)."
        )
    return np.asarray(getattr(detector, attribute), float)
