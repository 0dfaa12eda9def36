"""Deep, robust anomaly detectors for scikit-learn and PyOD."""

from skrdae.detectors.anogan import AnoGANDetector
from skrdae.detectors.lstm_robust_autoencoder import LSTMRobustAutoencoder
from skrdae.detectors.outlier_adapter import OutlierAdapter
from skrdae.detectors.robust_autoencoder import RobustDeepAutoencoder
from skrdae.detectors.robust_autoencoder_cv import RobustDeepAutoencoderCV
from skrdae.detectors.robust_pca import RobustPCA
from skrdae.detectors.vae import VAEDetector
from skrdae.detectors.windowed import WindowedDetector
from skrdae.onnx import to_onnx
from skrdae.persistence import load, save

__all__ = [
    "AnoGANDetector",
    "LSTMRobustAutoencoder",
    "OutlierAdapter",
    "RobustDeepAutoencoder",
    "RobustDeepAutoencoderCV",
    "RobustPCA",
    "VAEDetector",
    "WindowedDetector",
    "load",
    "save",
    "to_onnx",
]
__version__ = "0.1.0.dev0"
