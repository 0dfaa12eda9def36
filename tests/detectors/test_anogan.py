import numpy as np
import pytest
import torch
from detector_contract import DetectorContract

from skrdae import AnoGANDetector


def _fit(X, **options):
    return AnoGANDetector(**({"random_state": 0} | options)).fit(X)


class TestContract(DetectorContract):
    detector = AnoGANDetector
    variants = (
        {},
        {"inference": "search", "n_estimators": 2, "n_search_iter": 10},
        {"inference": "hybrid", "n_estimators": 1, "n_search_iter": 5, "lam": 0.5},
        {"activation": "relu", "hidden_layer_sizes": (16, 8), "n_estimators": 3, "lam": 1.0},
    )
    wrong = (
        ({"lam": -0.1}, "lam"),
        ({"lam": 1.1}, "lam"),
        ({"lam": "auto"}, "lam"),
        ({"latent_dim": 0}, "latent_dim"),
        ({"latent_dim": 2.0}, "latent_dim"),
        ({"inference": "both"}, "inference"),
        ({"n_search_iter": 0}, "n_search_iter"),
        ({"hidden_layer_sizes": ()}, "hidden_layer_sizes"),
        ({"discriminator_layer_sizes": (8, 0)}, "discriminator_layer_sizes"),
        ({"discriminator_layer_sizes": "auto"}, "discriminator_layer_sizes"),
        ({"activation": "swish"}, "activation"),
        ({"output_activation": None}, "output_activation"),
        ({"n_epochs": 0}, "n_epochs"),
        ({"n_encoder_epochs": 0}, "n_encoder_epochs"),
        ({"contamination": "auto"}, "contamination"),
    )
