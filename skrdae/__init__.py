"""Deep, robust anomaly detectors for scikit-learn and PyOD."""

from skrdae.detectors.robust_autoencoder import RobustDeepAutoencoder

__all__ = ["RobustDeepAutoencoder"]
__version__ = "0.1.0.dev0"
