"""From scores to labels: by a threshold, by a pythresh object, or by the members' votes."""

from numbers import Real

from skrdae.thresholds import labels_threshold, quantile_threshold, thresholder_threshold


class LabelMixin:
    """What ``contamination`` stands for in a detector.

    The detector supplies ``decision_scores_`` and ``_map``, and ``_member_votes`` where
    ``contamination="auto"`` is allowed.
    """

    def _set_threshold(self, X):
        scores = self.decision_scores_
        self._mu, self._sigma = float(scores.mean()), float(scores.std())
        self._by_vote = isinstance(self.contamination, str)
        if self._by_vote:
            self.labels_ = self._votes(X)
            self.threshold_ = self._vote_threshold()
        elif isinstance(self.contamination, Real):
            self.threshold_ = quantile_threshold(scores, self.contamination)
            self.labels_ = self._label(scores)
        else:
            self.thresholder_, self.threshold_ = thresholder_threshold(self.contamination, scores)
            self.labels_ = self._label(scores)
        # The contamination as a number, for PyOD's confidence and rejection.
        given = isinstance(self.contamination, Real)
        self._share = float(self.contamination if given else self.labels_.mean())

    def _flag_above_threshold(self):
        """Let ``threshold_``, set from outside, decide, whatever decided so far."""
        self._by_vote = False
        vars(self).pop("thresholder_", None)
        self._share = float(self.labels_.mean())

    def _vote_threshold(self):
        return labels_threshold(self.decision_scores_, self.labels_)

    def _votes(self, X):
        """Label rows by what more than half of the members say."""
        votes = self._map(self._member_votes, X)
        return (votes.mean(axis=0) > 0.5).astype(int)

    def _label(self, scores):
        return (scores > self.threshold_).astype(int)

    def _labels_of(self, X, scores):
        return self._votes(X) if self._by_vote else self._label(scores)
