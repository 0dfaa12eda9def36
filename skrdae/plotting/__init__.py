"""Pictures of detectors and of what they find, as displays in the manner of scikit-learn.

Each display has ``from_estimator`` and ``from_predictions``, draws itself by ``plot`` on any axes
and keeps them as ``ax_`` and ``figure_``. They need matplotlib, which comes with the extra
``plot``.
"""

from skrdae.plotting.decomposition import DecompositionDisplay
from skrdae.plotting.explanation import ExplanationDisplay
from skrdae.plotting.history import HistoryDisplay
from skrdae.plotting.lam_path import LamPathDisplay
from skrdae.plotting.latent import LatentSpaceDisplay
from skrdae.plotting.scores import ScoreDisplay
from skrdae.plotting.series import SeriesDisplay

__all__ = [
    "DecompositionDisplay",
    "ExplanationDisplay",
    "HistoryDisplay",
    "LamPathDisplay",
    "LatentSpaceDisplay",
    "ScoreDisplay",
    "SeriesDisplay",
]
