"""From scores to labels: by a threshold, by a pythresh object, or by the members' votes."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Literal

from skrdae._typing import FloatArray, FloatRowsOrSparse, IntArray, Thresholder
from skrdae.networks.workspace import RowFunction
from skrdae.thresholds import labels_threshold, quantile_threshold, thresholder_threshold


class LabelMixin:
    """What ``contamination`` stands for in a detector.

    The detector supplies ``decision_scores_`` and ``_map``, and ``_member_votes`` where
    ``contamination="auto"`` is allowed.
    """

    decision_scores_: FloatArray
    threshold_: float
    labels_: IntArray
    thresholder_: Thresholder
    contamination: float | Literal["auto"] | Thresholder
    _member_votes: RowFunction

    if TYPE_CHECKING:

        def _map(
            self,
            function: RowFunction,
            X: FloatRowsOrSparse,
        ) -> FloatArray: ...

    def _set_threshold(self, X: FloatRowsOrSparse) -> None:
        scores, contamination = self.decision_scores_, self.contamination
        self._mu, self._sigma = float(scores.mean()), float(scores.std())
        self._by_vote = isinstance(contamination, str)
        if isinstance(contamination, str):
            self.labels_ = self._votes(X)
            self.threshold_ = self._vote_threshold()
        elif isinstance(contamination, float | Real):  # to type checkers a float is no Real
            self.threshold_ = quantile_threshold(scores, float(contamination))
            self.labels_ = self._label(scores)
        else:
            self.thresholder_, self.threshold_ = thresholder_threshold(contamination, scores)
            self.labels_ = self._label(scores)
        # The contamination as a number, for PyOD's confidence and rejection.
        if isinstance(contamination, float | Real):
            self._share = float(contamination)
        else:
            self._share = float(self.labels_.mean())

    def _flag_above_threshold(self) -> None:
        """Let ``threshold_``, set from outside, decide, whatever decided so far."""
        self._by_vote = False
        vars(self).pop("thresholder_", None)
        self._share = float(self.labels_.mean())

    def _vote_threshold(self) -> float:
        return labels_threshold(self.decision_scores_, self.labels_)

    def _votes(self, X: FloatRowsOrSparse) -> IntArray:
        """Label rows by what more than half of the members say."""
        votes = self._map(self._member_votes, X)
        return (votes.mean(axis=0) > 0.5).astype(int)

    def _label(self, scores: FloatArray) -> IntArray:
        return (scores > self.threshold_).astype(int)

    def _labels_of(self, X: FloatRowsOrSparse, scores: FloatArray) -> IntArray:
        return self._votes(X) if self._by_vote else self._label(scores)
