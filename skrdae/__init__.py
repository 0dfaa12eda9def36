"""Deep, robust anomaly detectors for scikit-learn and PyOD."""

import importlib
import threading

from skrdae._version import __version__ as __version__

TYPE_CHECKING = False  # that of typing, without the time that importing it takes
if TYPE_CHECKING:
    from skrdae import (
        dask as dask,
    )
    from skrdae import (
        demo as demo,
    )
    from skrdae import (
        detectors as detectors,
    )
    from skrdae import (
        merging as merging,
    )
    from skrdae import (
        metrics as metrics,
    )
    from skrdae import (
        monitoring as monitoring,
    )
    from skrdae import (
        networks as networks,
    )
    from skrdae import (
        onnx as onnx,
    )
    from skrdae import (
        penalties as penalties,
    )
    from skrdae import (
        persistence as persistence,
    )
    from skrdae import (
        plotting as plotting,
    )
    from skrdae import (
        preprocessing as preprocessing,
    )
    from skrdae import (
        tables as tables,
    )
    from skrdae import (
        thresholds as thresholds,
    )
    from skrdae import (
        training as training,
    )
    from skrdae.detectors.anogan import AnoGANDetector
    from skrdae.detectors.calibrated import CalibratedDetector
    from skrdae.detectors.conv_robust_autoencoder import ConvRobustAutoencoder
    from skrdae.detectors.denoising import DenoisingDetector
    from skrdae.detectors.lstm_robust_autoencoder import LSTMRobustAutoencoder
    from skrdae.detectors.lstm_vae import LSTMVAEDetector
    from skrdae.detectors.omni_anomaly import OmniAnomalyDetector
    from skrdae.detectors.outlier_adapter import OutlierAdapter
    from skrdae.detectors.robust_autoencoder import RobustDeepAutoencoder
    from skrdae.detectors.robust_autoencoder_cv import RobustDeepAutoencoderCV
    from skrdae.detectors.robust_pca import RobustPCA
    from skrdae.detectors.transformer_robust_autoencoder import TransformerRobustAutoencoder
    from skrdae.detectors.usad import USADDetector
    from skrdae.detectors.vae import VAEDetector
    from skrdae.detectors.windowed import WindowedDetector
    from skrdae.explanation import explain
    from skrdae.merging import merge
    from skrdae.onnx import to_onnx
    from skrdae.persistence import load, save

__all__ = [
    "AnoGANDetector",
    "CalibratedDetector",
    "ConvRobustAutoencoder",
    "DenoisingDetector",
    "LSTMRobustAutoencoder",
    "LSTMVAEDetector",
    "OmniAnomalyDetector",
    "OutlierAdapter",
    "RobustDeepAutoencoder",
    "RobustDeepAutoencoderCV",
    "RobustPCA",
    "TransformerRobustAutoencoder",
    "USADDetector",
    "VAEDetector",
    "WindowedDetector",
    "explain",
    "load",
    "merge",
    "save",
    "to_onnx",
]

# Imported on first use (PEP 562): torch, PyOD and the rest take seconds, in which the command line
# could neither answer nor be interrupted.
_HOMES = {
    "AnoGANDetector": "detectors.anogan",
    "CalibratedDetector": "detectors.calibrated",
    "ConvRobustAutoencoder": "detectors.conv_robust_autoencoder",
    "DenoisingDetector": "detectors.denoising",
    "LSTMRobustAutoencoder": "detectors.lstm_robust_autoencoder",
    "LSTMVAEDetector": "detectors.lstm_vae",
    "OmniAnomalyDetector": "detectors.omni_anomaly",
    "OutlierAdapter": "detectors.outlier_adapter",
    "RobustDeepAutoencoder": "detectors.robust_autoencoder",
    "RobustDeepAutoencoderCV": "detectors.robust_autoencoder_cv",
    "RobustPCA": "detectors.robust_pca",
    "USADDetector": "detectors.usad",
    "TransformerRobustAutoencoder": "detectors.transformer_robust_autoencoder",
    "VAEDetector": "detectors.vae",
    "WindowedDetector": "detectors.windowed",
    "explain": "explanation",
    "load": "persistence",
    "merge": "merging",
    "save": "persistence",
    "to_onnx": "onnx",
}
_MODULES = {"dask", "demo", "detectors", "merging", "metrics", "monitoring", "networks", "onnx"}
_MODULES |= {"penalties", "persistence", "plotting", "preprocessing", "tables", "thresholds"}
_MODULES |= {"training"}


# Libraries import each other in circles: two threads that begin at different places of one would
# see modules that are half done.
_ONE_AT_A_TIME = threading.RLock()


if not TYPE_CHECKING:  # or type checkers would find any name here

    def __getattr__(name: str) -> object:
        if name in _HOMES:
            with _ONE_AT_A_TIME:
                value = getattr(importlib.import_module(f"skrdae.{_HOMES[name]}"), name)
            globals()[name] = value
            return value
        if name in _MODULES:
            with _ONE_AT_A_TIME:
                return importlib.import_module(f"skrdae.{name}")
        raise AttributeError(f"module 'skrdae' has no attribute {name!r}")


def __dir__() -> list[str]:
    from importlib.util import find_spec

    # What is listed can be had, as inspect.getmembers expects; the rest comes with the package.
    dask = {"dask"} if find_spec("dask") and find_spec("distributed") else set()
    return sorted({*globals(), *__all__, *(_MODULES - {"dask"} | dask)})
