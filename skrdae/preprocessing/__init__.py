"""What is done to data before a network sees them: columns are scaled, series cut in windows."""

from skrdae.preprocessing.scaler import CHANGED, LARGEST, SCALERS, ColumnScaler
from skrdae.preprocessing.windows import Windows, dominant_period, spread_places

__all__ = [
    "CHANGED",
    "LARGEST",
    "SCALERS",
    "ColumnScaler",
    "Windows",
    "dominant_period",
    "spread_places",
]
