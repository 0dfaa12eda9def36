"""Thresholds on scores. Rows with a score above the threshold are flagged."""

from skrdae.thresholds.fdr import fdr_labels
from skrdae.thresholds.peaks import PeaksOverThreshold
from skrdae.thresholds.rules import (
    RULES,
    labels_threshold,
    max_f1_threshold,
    max_fpr_threshold,
    mean_std_threshold,
    quantile_threshold,
    thresholder_threshold,
    tune_threshold,
)

__all__ = [
    "RULES",
    "PeaksOverThreshold",
    "fdr_labels",
    "labels_threshold",
    "max_f1_threshold",
    "max_fpr_threshold",
    "mean_std_threshold",
    "quantile_threshold",
    "thresholder_threshold",
    "tune_threshold",
]
