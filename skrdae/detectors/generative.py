"""What detectors have in common whose codes have a prior, N(0, I)."""

from __future__ import annotations

from numbers import Integral

import numpy as np
from sklearn.utils import check_scalar
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from skrdae._random import member_seeds
from skrdae._typing import Activation, FloatArray, RandomStateLike
from skrdae._validation import snapshot
from skrdae.detectors.device_memory import scores_in_memory
from skrdae.detectors.epochs import LatentDetector
from skrdae.networks.mlp import ACTIVATIONS
from skrdae.registry import parameters


@parameters
class GenerativeDetector(LatentDetector):
    """Base class of models whose codes have a prior; their scorer is a ``GenerativeScorer``."""

    activation: Activation = "tanh"

    _parameter_constraints = {
        **LatentDetector._parameter_constraints,
        "activation": [StrOptions(set(ACTIVATIONS))],
    }

    @scores_in_memory
    def sample(self, n_samples: int = 1, random_state: RandomStateLike = None) -> FloatArray:
        """Draw new rows by decoding codes drawn from the prior.

        Parameters
        ----------
        n_samples : int, default=1
        random_state : int, RandomState instance or None, default=None

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            In the units of the training data, without the noise of the likelihood. Each row comes
            from a member chosen at random.
        """
        self = snapshot(self)
        check_is_fitted(self)
        if isinstance(n_samples, bool | np.bool_):
            raise TypeError(f"n_samples must be an integer, not {n_samples!r}.")
        n_samples = check_scalar(n_samples, "n_samples", Integral, min_val=1)
        random = np.random.RandomState(member_seeds(random_state, 1)[0])
        n_members = len(self.model_.weights)
        member = random.randint(n_members, size=n_samples)
        z = random.standard_normal((n_samples, self.model_.code_size))
        decoded = self.model_.decode(np.broadcast_to(z, (n_members, *z.shape)))
        return self.scaler_.inverse_transform(decoded[member, np.arange(n_samples)])
