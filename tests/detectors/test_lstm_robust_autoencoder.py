from detector_contract import DetectorContract

from skrdae import LSTMRobustAutoencoder


class TestContract(DetectorContract):
    detector = LSTMRobustAutoencoder
    variants = (
        {},
        {"cell": "gru", "hidden_layer_sizes": (5,), "max_iter": 2},
        {"penalty": "l1", "n_estimators": 2, "max_iter": 2},
        {"penalty": "l21_features", "contamination": "auto", "max_iter": 2},
    )
    wrong = (
        ({"cell": "rnn"}, "cell"),
        ({"n_channels": 0}, "n_channels"),
        ({"n_channels": 3}, "n_channels=3 does not divide"),
        ({"n_channels": 1.0}, "n_channels"),
        ({"hidden_layer_sizes": ()}, "hidden_layer_sizes"),
        ({"hidden_layer_sizes": "auto"}, "hidden_layer_sizes"),
        ({"lam": -1}, "lam"),
        ({"penalty": "l2"}, "penalty"),
        ({"max_iter": 0}, "max_iter"),
    )
    after_fit = (({}, {"n_channels": 3, "cell": "gru"}),)
