import numpy as np
from detector_contract import DetectorContract

from skrdae import VAEDetector


def _fit(X, **options):
    return VAEDetector(**({"random_state": 0} | options)).fit(X)


class TestContract(DetectorContract):
    detector = VAEDetector
    variants = (
        {},
        {"likelihood": "bernoulli"},
        {"n_samples": 3, "n_estimators": 1},
        {"n_estimators": 1, "beta": 0.0, "activation": "relu", "hidden_layer_sizes": (16, 5)},
        {"likelihood": "bernoulli", "n_samples": 2, "n_estimators": 2, "latent_dim": 1},
    )
    wrong = (
        ({"latent_dim": 0}, "latent_dim"),
        ({"latent_dim": 2.0}, "latent_dim"),
        ({"latent_dim": True}, "latent_dim"),
        ({"beta": -0.1}, "beta"),
        ({"beta": np.nan}, "beta"),
        ({"likelihood": "poisson"}, "likelihood"),
        ({"n_samples": -1}, "n_samples"),
        ({"n_samples": 1.5}, "n_samples"),
        ({"hidden_layer_sizes": ()}, "hidden_layer_sizes"),
        ({"hidden_layer_sizes": (8, 0)}, "hidden_layer_sizes"),
        ({"hidden_layer_sizes": 8}, "hidden_layer_sizes"),
        ({"activation": "swish"}, "activation"),
        ({"n_epochs": 0}, "n_epochs"),
        ({"contamination": "auto"}, "contamination"),
        ({"likelihood": "bernoulli", "scaler": None}, r"scaler='minmax'.*likelihood='gaussian'"),
        ({"likelihood": "bernoulli", "scaler": "robust"}, r"scaler='minmax'"),
    )
