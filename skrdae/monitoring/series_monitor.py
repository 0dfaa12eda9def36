"""A detector of series at work: step by step, as data arrive."""

from __future__ import annotations

import logging
import time
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from skrdae._validation import snapshot
from skrdae.detectors.judgement import Judgement
from skrdae.detectors.series import newest_steps
from skrdae.metrics import deciding_step
from skrdae.monitoring import alert
from skrdae.monitoring.alert import AlertKind
from skrdae.monitoring.batch import BatchReport
from skrdae.monitoring.incident import Incident, step_of
from skrdae.monitoring.labels import last_step
from skrdae.monitoring.monitor import Monitor
from skrdae.monitoring.reasons import reasons_of_newest

_log = logging.getLogger("skrdae.monitoring")


class SeriesMonitor(Monitor):
    """Watch a fitted detector of series in production, step by step, and send alerts.

    Call :meth:`update` whenever a step arrives. The step is judged by its last window. An anomaly
    stays in the last window for as many steps as that holds, and flags come and go meanwhile. So
    flagged steps make one **incident**: it begins with a flagged step, and ends when none of as
    many steps as a window holds is flagged. There is one alert when it begins and one when it ends.

    Rate of alerts and drift are watched as :class:`Monitor` does. With a
    :class:`~skrdae.CalibratedDetector` the p-values of the steps decide on both.

    Parameters
    ----------
    detector : object
        A fitted :class:`~skrdae.WindowedDetector`, a :class:`~skrdae.CalibratedDetector` around
        one, or a pipeline that ends in either.
    reference : array-like, optional
        A normal series (two-dimensional, or a list of series) that the detector was not fitted to;
        or scores of single windows, in time order (one-dimensional). By default the scores of the
        training windows; those of a :class:`~skrdae.CalibratedDetector` are of windows that were
        new to it. A detector with a `stride` above 1 needs a reference.
    threshold : float, optional
        Steps with a higher score are flagged. By default those that ``predict_new`` of a
        :class:`~skrdae.CalibratedDetector` flags, or those at the end of a series that ``predict``
        of a :class:`~skrdae.WindowedDetector` flags.
    window_size, drift, drift_limit, rate_limit, handlers, metrics, name
        As for :class:`Monitor`. `window_size` is the number of steps over which rate and drift are
        judged: many times the window of the detector.

    Attributes
    ----------
    anomalous_ : bool
        Whether there is an incident.
    threshold_ : float
        The score of its last window above which a step is flagged, or what comes closest to it.
    reference_, expected_rate_, n_rows_, drifting_, rate_is_high_, n_handler_errors_, \
n_waiting_alerts_
        As for :class:`Monitor`. Rows are steps.

    Notes
    -----
    Steps without a score, those less than a window behind a gap, neither begin nor end anything.
    They count in the ``row`` of alerts, but not in `n_rows_`.

    Examples
    --------
    >>> import numpy as np
    >>> from skrdae import CalibratedDetector, RobustDeepAutoencoder, WindowedDetector
    >>> from skrdae.monitoring import SeriesMonitor
    >>> rng = np.random.default_rng(0)
    >>> series = np.sin(np.arange(6000) / 4) + 0.1 * rng.normal(size=6000)
    >>> series[5800] += 3
    >>> windowed = WindowedDetector(RobustDeepAutoencoder(), window_size=25)
    >>> detector = CalibratedDetector(windowed, max_fpr=0.005, random_state=0).fit(series[:5000])
    >>> alerts = []
    >>> monitor = SeriesMonitor(detector, window_size=1000, handlers=alerts.append)
    >>> for stop in range(5750, 5900):
    ...     report = monitor.update(series[:stop])  # or its last 25 steps
    >>> [(alert.kind, alert.resolved) for alert in alerts]
    [('anomalies', False), ('anomalies', True)]
    >>> alerts[0].details["rows"][0]["row"]  # 5800, the 52nd to arrive
    51
    """

    _incident: Incident | None = None
    # With those without a score, which n_rows_ leaves out.
    _n_steps = 0

    @property
    def anomalous_(self) -> bool:
        """Whether there is an incident."""
        return self._incident is not None

    def update(self, X: ArrayLike) -> BatchReport:
        """Judge the newest step of a series and record the result.

        Parameters
        ----------
        X : array-like of shape (n_timesteps, n_channels) or (n_timesteps,)
            The series so far, or its end: at least the last `window_size_` steps of the detector.
            The index of a DataFrame names the step in alerts.

        Returns
        -------
        BatchReport
            Of one row, the newest step. Its score is NaN if there is a gap within the last window.

        Raises
        ------
        ValueError
            As raised by the detector if it cannot score the step, which is ignored then.
        """
        started, detector = time.perf_counter(), self.detector
        last, seen = last_step(detector, X)
        last = snapshot(last)
        newest: Any = newest_steps(seen, last.window_size_)
        window = last._newest(newest)
        gap = Judgement(np.array([np.nan]))
        found = gap if window is None else last._each_as_newest(window)
        seconds = time.perf_counter() - started
        taken = self._take(
            found, seconds, lambda report: self._alert_on(report, last, newest), detector
        )
        return taken or self.update(X)

    def _alert_on(self, report: BatchReport, last: Any = None, newest: Any = None) -> None:
        """Begin an incident, go on with it, or end it."""
        size = deciding_step(self.detector).window_size_
        for place in np.flatnonzero(~np.isnan(report.scores)).tolist():
            incident = self._incident
            if report.labels[place]:
                p_value = None if report.p_values is None else float(report.p_values[place])
                name = newest.index[-1] if hasattr(newest, "iloc") else None
                row, score = self._n_steps + place, float(report.scores[place])
                step = step_of(row, score, p_value, name)
                if incident is None:
                    step["reasons"] = self._reasons(last, newest)
                    incident = self._incident = Incident(step)
                    report.alerts.append(alert.of_step(self.name, step, self.threshold_))
                incident.add(step, last, newest)
            elif incident is not None:
                incident.n_quiet += 1
                if incident.n_quiet >= size:
                    self._incident = None
                    reasons = self._reasons(incident.detector, incident.newest)
                    incident.highest["reasons"] = reasons
                    report.alerts.append(alert.of_end(self.name, incident, self.threshold_))
        self._n_steps += len(report.scores)

    def _reasons(self, last: Any, newest: Any) -> list[dict[str, Any]]:
        if newest is None:  # the step was scored elsewhere
            return []
        try:
            return reasons_of_newest(last, newest)
        except Exception:  # an alert without reasons is better than none
            _log.exception("%s: the flagged step could not be explained", self.name)
            return []

    def _end_all(self) -> list[AlertKind]:
        begun: list[AlertKind] = ["anomalies"] if self.anomalous_ else []
        self._incident = None
        return begun + super()._end_all()

    # ---------------------------------------------------------------------------- the reference

    def _in_training(self) -> Judgement:
        last = self._series_detector()
        stride = (last if hasattr(last, "_stride") else last.detector_)._stride
        if stride > 1:
            raise ValueError(
                f"detector was fitted to windows {stride} steps apart, whose scores depend on each "
                "other less than those of the steps to come: pass reference, a normal series."
            )
        found: Judgement = last._newest_in_training()
        return found

    def _own_threshold(self) -> float:
        found: float = self._series_detector()._newest_threshold
        return found

    def _judged(self, X: Any) -> Judgement:
        """Judge each step of series as it was when it was the newest."""
        last, seen = last_step(self.detector, X)
        last = snapshot(last)
        found: Judgement = last._each_as_newest(last._all_windows(seen))
        return found

    def _of_rows(self, X: Any) -> Judgement:
        self._series_detector()
        return self._judged(X)

    def _series_detector(self) -> Any:
        last = deciding_step(self.detector)
        if not hasattr(last, "_newest_in_training") or not last._takes_series:
            raise TypeError(
                f"detector must be a WindowedDetector, or a CalibratedDetector around one; got "
                f"{type(last).__name__}, which takes rows: use Monitor."
            )
        check_is_fitted(last, "detector_")
        return last
