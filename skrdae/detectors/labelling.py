"""From scores to labels: by a threshold, by an object that sets one, or by the members' votes."""

from __future__ import annotations

from dataclasses import replace
from numbers import Real
from typing import Any, Literal

import numpy as np

from skrdae._typing import FloatArray, IntArray, Thresholder
from skrdae.model import FittedModel
from skrdae.rows import Rows
from skrdae.thresholds import labels_threshold, quantile_threshold, thresholder_threshold


def judged(
    model: FittedModel,
    scores: FloatArray,
    contamination: float | Literal["auto"] | Thresholder,
    rows: Rows,
    vote_threshold: float | None = None,
) -> dict[str, Any]:
    """Set the threshold of a detector, and label the rows that it was fitted to.

    Parameters
    ----------
    model : FittedModel
    scores : ndarray of shape (n,)
        Of the training rows.
    contamination : float, "auto", PeaksOverThreshold or pythresh object
    rows : Rows
        The training rows, for votes.
    vote_threshold : float, optional
        The score from which on members vote, if there is one.

    Returns
    -------
    dict
        The fitted attributes ``model_``, ``decision_scores_``, ``threshold_``, ``labels_`` and,
        for an object, ``thresholder_``.
    """
    found: dict[str, Any] = {"decision_scores_": scores}
    share: float | None = None
    if isinstance(contamination, str):
        model = replace(model, by_vote=True)
        labels = label(model, scores, np.nan, rows)
        threshold = labels_threshold(scores, labels) if vote_threshold is None else vote_threshold
    else:
        if isinstance(contamination, float | Real):  # to type checkers a float is no Real
            share = float(contamination)
            threshold = quantile_threshold(scores, share)
        else:
            found["thresholder_"], threshold = thresholder_threshold(contamination, scores)
        labels = label(model, scores, threshold, rows)
    model = replace(model, share=float(labels.mean()) if share is None else share)
    return found | {"model_": model, "labels_": labels, "threshold_": threshold}


def label(model: FittedModel, scores: FloatArray, threshold: float, rows: Rows) -> IntArray:
    """Return 1 for rows that are flagged, given their scores, and 0 for the others."""
    flagged = model.votes(rows) if model.by_vote else scores > threshold
    return flagged.astype(int)
