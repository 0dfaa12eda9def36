import numpy as np
from detector_contract import DetectorContract

from skrdae import DenoisingDetector


class TestContract(DetectorContract):
    detector = DenoisingDetector
    brief = {"n_epochs": 10, "hidden_layer_sizes": (32, 32)}
    for_tables = {"n_epochs": 5}  # long trainings learn what is planted
    variants = (
        {},
        {"n_estimators": 2, "noise_levels": [0.2], "scaler": "robust"},
    )
    wrong = (
        ({"noise_levels": ()}, "noise_levels"),
        ({"noise_levels": 0.3}, "noise_levels"),
        ({"noise_levels": "0.3"}, "noise_levels"),
        ({"noise_levels": (0.1, "0.3")}, "noise_levels"),
        ({"noise_levels": (True,)}, "noise_levels"),
        ({"noise_levels": (0.1, -0.3)}, "noise_levels"),
        ({"noise_levels": (0.1, np.nan)}, "noise_levels"),
        ({"hidden_layer_sizes": ()}, "hidden_layer_sizes"),
        ({"n_epochs": 0}, "n_epochs"),
        ({"max_samples": 0}, "max_samples"),
    )
    after_fit = (({}, {"noise_levels": (0.2, 0.5)}),)
