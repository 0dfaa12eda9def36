"""Deep, robust anomaly detectors for scikit-learn and PyOD."""

from skrdae.detectors.anogan import AnoGANDetector
from skrdae.detectors.robust_autoencoder import RobustDeepAutoencoder
from skrdae.detectors.vae import VAEDetector

__all__ = ["AnoGANDetector", "RobustDeepAutoencoder", "VAEDetector"]
__version__ = "0.1.0.dev0"
