"""The verdict on a window: whether scores have drifted, and whether too many rows are flagged."""

from __future__ import annotations

from typing import Literal

import numpy as np

from skrdae._typing import BoolArray, FloatArray
from skrdae.monitoring.drift import P_VALUE, Evidence, ScoreReference
from skrdae.monitoring.rates import FlagReference
from skrdae.monitoring.window import WindowReport


class Judge:
    """Holds windows against a reference. A verdict depends on the window and the reference alone.

    Parameters
    ----------
    scores : ndarray of shape (n_samples,)
        Of the reference; see :class:`ScoreReference`.
    flagged : ndarray of bool of shape (n_samples,)
        Which of its rows are flagged.
    drift, drift_limit, rate_limit
        See :class:`Monitor`.
    p_values : ndarray of shape (n_samples,), optional
        Of the same rows. Windows that have p-values are held against these, if they differ.

    Attributes
    ----------
    scores : ScoreReference
    flags : FlagReference
    """

    def __init__(
        self,
        scores: FloatArray,
        flagged: BoolArray,
        drift: Literal["psi", "ks"],
        drift_limit: float | None,
        rate_limit: float | None,
        p_values: FloatArray | None = None,
    ) -> None:
        self.scores = ScoreReference(scores)
        self._p_values = None
        if p_values is not None and len(np.unique(1 - p_values[~np.isnan(p_values)])) > 1:
            self._p_values = ScoreReference(1 - p_values)
        self.flags = FlagReference(flagged[~np.isnan(scores)])
        self._drift, self._drift_limit, self._rate_limit = drift, drift_limit, rate_limit

    def report(
        self,
        first_row: int,
        scores: FloatArray,
        flagged: BoolArray,
        p_values: FloatArray | None = None,
    ) -> WindowReport:
        """Return the report on a window.

        Parameters
        ----------
        first_row : int
        scores : ndarray of shape (n_rows,)
        flagged : ndarray of bool of shape (n_rows,)
        p_values : ndarray of shape (n_rows,), optional
            NaN for rows without one.

        Returns
        -------
        WindowReport
        """
        n_rows, n_flagged = len(scores), int(flagged.sum())
        reference, values = self.scores, scores
        if self._p_values is not None and p_values is not None and not np.isnan(p_values).any():
            reference, values = self._p_values, 1 - p_values
        evidence = reference.evidence(values)
        index = reference.stability_index(values)
        statistic, p_value = reference.kolmogorov_smirnov(values, evidence.n_compared)
        drifts = self._drifts(reference, scores, index, p_value, evidence)
        too_often = self.flags.too_often(n_flagged, n_rows, evidence, self._rate_limit)
        return WindowReport(
            first_row=first_row,
            n_rows=n_rows,
            n_flagged=n_flagged,
            n_effective=evidence.n_effective,
            alert_rate=n_flagged / n_rows,
            stability_index=index,
            ks_statistic=statistic,
            ks_p_value=p_value,
            drifting=drifts is True,
            drift_unknown=drifts is None,
            rate_is_high=too_often is True,
            rate_unknown=too_often is None,
        )

    def _drifts(
        self,
        reference: ScoreReference,
        scores: FloatArray,
        index: float,
        p_value: float,
        evidence: Evidence,
    ) -> bool | None:
        limit = self._drift_limit
        if self._drift == "ks":
            beyond = p_value < (P_VALUE if limit is None else limit)
        elif limit is None:
            beyond = index > reference.stability_limit(evidence.n_compared)
        else:  # whatever chance may do
            return index > limit
        # p-values have an end, and many scores may share one: how far off scores are, and whether
        # they repeat, only they can tell.
        if (beyond and evidence.known) or self.scores.beyond_dependence(scores):
            return True
        return False if evidence.enough else None

    def shortage(self, window_size: int) -> str | None:
        """Return what keeps windows from a verdict on drift, and the remedy; None if nothing does.

        Parameters
        ----------
        window_size : int

        Returns
        -------
        str or None
        """
        expected = self.scores.expected_evidence(window_size)
        if expected.enough or (self._drift == "psi" and self._drift_limit is not None):
            return None
        n_rows = len(self.scores.scores)
        n_window, n_reference = self.scores.rows_needed()
        if self.scores.settled:
            shortage = (
                f"By how much neighbouring scores depend on each other, the reference of {n_rows} "
                f"rows is worth {self.scores.n_effective:.3g} independent ones and a window of "
                f"{window_size} rows {expected.n_effective:.3g}. These are too few to tell a shift "
                "of one standard deviation from chance"
            )
        else:
            shortage = (
                f"The scores of the reference change so slowly that its {n_rows} rows are too few "
                "to tell a shift from chance"
            )
        remedy = f"Set window_size to at least {n_window}."
        if n_reference > n_rows:
            remedy = f"Pass a reference of at least {n_reference} rows"
            remedy += "." if n_window <= window_size else f", and set window_size to {n_window}."
        return (
            f"{shortage}, and drift_unknown says so in the reports. {remedy} (If the rows have no "
            "order in time, shuffle the reference.)"
        )
