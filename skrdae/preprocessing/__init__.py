"""Preprocessing inside the detectors: scaling of columns, and windows of series."""

from skrdae.preprocessing.moments import ColumnMoments
from skrdae.preprocessing.scaler import CHANGED, LARGEST, SCALERS, ColumnScaler
from skrdae.preprocessing.windows import Windows, dominant_period, spread_places

__all__ = [
    "CHANGED",
    "LARGEST",
    "SCALERS",
    "ColumnMoments",
    "ColumnScaler",
    "Windows",
    "dominant_period",
    "spread_places",
]
