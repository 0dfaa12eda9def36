"""LSTMRobustAutoencoder: X = L + S for windows of time series, a recurrent network for L."""

from numbers import Integral

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from skrdae._validation import check_layer_sizes
from skrdae.detectors.robust import BaseRobustAutoencoder
from skrdae.networks.recurrent import CELLS, MemberRecurrentAutoencoder


class LSTMRobustAutoencoder(BaseRobustAutoencoder):
    _parameter_constraints = {
        **BaseRobustAutoencoder._parameter_constraints,
        "cell": [StrOptions(set(CELLS))],
        "n_channels": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        lam="auto",
        *,
        cell="lstm",
        n_channels=1,
        penalty="l21",
        hidden_layer_sizes=(32, 16),
        max_iter=4,
        n_epochs=1,
        batch_size="auto",
        lr=1e-3,
        tol=None,
        n_estimators=1,
        max_samples=1.0,
        scaler="robust",
        contamination=0.1,
        store_decomposition=False,
        device="auto",
        random_state=None,
        verbose=0,
    ):
        self.lam = lam
        self.cell = cell
        self.n_channels = n_channels
        self.penalty = penalty
        self.hidden_layer_sizes = hidden_layer_sizes
        self.max_iter = max_iter
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.tol = tol
        self.n_estimators = n_estimators
        self.max_samples = max_samples
        self.scaler = scaler
        self.contamination = contamination
        self.store_decomposition = store_decomposition
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _check_parameters(self):
        super()._check_parameters()
        check_layer_sizes(self.hidden_layer_sizes)

    def _warn_of_reach(self, data):
        """Do nothing: the last layer is linear, and reaches everywhere."""

    def _new_network(self, n_features, generators):
        sizes = check_layer_sizes(self.hidden_layer_sizes)
        return MemberRecurrentAutoencoder(
            n_features, int(self.n_channels), sizes, self.cell, generators, self.device_
        )
