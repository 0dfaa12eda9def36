"""LSTMVAEDetector: how likely a recurrent variational autoencoder finds each value of a window."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import torch
from sklearn.utils._param_validation import Interval

from skrdae._validation import check_layer_sizes
from skrdae.detectors.recurrent_vae import RecurrentVAEDetector
from skrdae.networks.sequential import MemberLSTMVAE
from skrdae.objectives.sequences import ProgressBound
from skrdae.registry import detector

# In units of the prior's standard deviation, so that squares are far from overflowing.
_MOST_PROGRESS = 1e6


@detector
class LSTMVAEDetector(RecurrentVAEDetector):
    r"""LSTM-based variational autoencoder for windows of time series.

    An LSTM encoder reads a window step by step. Each of its states gives the distribution
    :math:`q(z_t)` of a latent variable. An LSTM decoder reads the latent variables, and gives mean
    and variance of every value. The score of a window is its negative log-likelihood, taken at the
    mean of z:

    .. math:: -\sum_{t, c} \log N(x_{tc};\ \mu_{tc}(z),\ \sigma^2_{tc}(z)),

    up to a constant. ``explain`` splits it into steps and channels.

    Each row of X is a window. To score the time steps of a series, put the detector into a
    :class:`WindowedDetector`.

    Parameters
    ----------
    progress : float, default=1.0
        How far the prior of z moves with the progress through the window. The prior of
        :math:`z_t` is N(μ_t, I), where μ_t is zero but for its last entry, which goes from
        −progress at the first step to progress at the last one. It suits windows that begin at
        fixed times, a day each say. With 0 the prior is N(0, I) at every step.
    n_channels : int, default=1
        Number of values in a time step. A row holds all channels of the first step, then all of the
        second, and so on, so its length has to be a multiple of `n_channels`.
    latent_dim : int or "auto", default="auto"
        Number of dimensions of :math:`z_t`. ``"auto"`` is √n_channels, rounded and at least 2.
    hidden_layer_sizes : sequence of int, default=(32,)
        Units of the encoder's layers; the decoder mirrors them.
    n_epochs : int, default=10
        Number of passes over the data. With too many the network learns the anomalies.
    batch_size : int or "auto", default="auto"
        Largest number of windows in a gradient step; batches are of equal size within one window.
        ``"auto"`` is n / 24, but at least 32 and at most 128, where n is the number of windows a
        member is trained on.
    lr : float, default=3e-3
        Learning rate of Adam.
    n_estimators : int, default=1
        Number of members of the ensemble; they differ in seed and rows. Their scores are brought to
        one scale and averaged. The training time is proportional to it.
    max_samples : int, float, "auto" or None, default=None
        Windows each member is trained on, drawn without replacement: a number, a share,
        ``"auto"`` for min(256, n_samples), or ``None`` for all windows, but 10,000 at most.
    scaler : {"robust", "standard", "minmax"} or None, default="robust"
        Scaling of the columns inside the detector, see
        :class:`~skrdae.preprocessing.ColumnScaler`.
    contamination : float, PeaksOverThreshold or pythresh object, default=0.1
        How windows are flagged. A float is the share of the training windows to flag, in (0, 0.5].
        :class:`~skrdae.thresholds.PeaksOverThreshold` or a pythresh object sets the threshold; a
        copy of it is fitted.
    device : str or torch.device, default="auto"
        ``"auto"`` takes the first that is available of CUDA, MPS and the CPU.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial weights, the order of the windows and the members' samples. Pass an int
        for reproducible results. NumPy's and torch's global generators are neither used nor
        changed.
    verbose : int, default=0
        1 shows a progress bar of the training.
    callbacks : callable, list of callables or None, default=None
        Functions that are called with each new row of ``history_`` (a dict). If one returns True,
        training stops, and the detector is fitted with what it has learnt so far.
    warm_start : bool, default=False
        If True, a second `fit` to the same X continues the training of the first. Only `n_epochs`
        may differ, and has to be larger. The result is bit for bit that of one training of the
        whole length.
    checkpoint_path : str, path-like or None, default=None
        A file to which the state of the training is written after each epoch. If the file exists,
        `fit` continues from it. A completed training removes it; an interrupted one keeps it.

    Attributes
    ----------
    decision_scores_ : ndarray of shape (n_samples,)
        Scores of the training windows, in nats up to a constant.
    threshold_ : float
        Windows with a higher score are flagged.
    labels_ : ndarray of shape (n_samples,)
        1 for the training windows that are flagged, 0 for the others.
    history_ : list of dict
        One dict for each epoch; see :class:`~skrdae.history.SequenceRecord`.
    model_ : FittedModel
        What scoring needs, see :class:`~skrdae.model.FittedModel`; the next three are its parts.
    network_ : MemberLSTMVAE
        The trained networks; their weights have the member axis first.
    scaler_ : ColumnScaler
    device_ : torch.device
    thresholder_ : object
        The fitted copy of `contamination`. Only if that is an object.
    classes_ : ndarray of shape (2,)
        The classes of the columns of ``predict_proba``: 0 (normal) and 1 (anomalous).
    n_features_in_ : int
        Values of a window: steps × channels.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X. Only if they are all strings.

    Notes
    -----
    Every method takes windows either as rows, of shape (n_samples, n_steps · n_channels), or as a
    three-dimensional array of shape (n_samples, n_steps, n_channels).

    Variances lie between 0.01 and 100, in units of the scaled data. The constant that is left out
    is the log-likelihood of a value that is met exactly with the least variance, so that no value
    has a negative part in the score.

    The paper also lets the threshold depend on z, by a regression of the scores on it. Here there
    is one threshold for all windows.

    References
    ----------
    Park, D., Y. Hoshi and C. C. Kemp, A Multimodal Anomaly Detector for Robot-Assisted Feeding
    Using an LSTM-Based Variational Autoencoder, IEEE Robotics and Automation Letters 3(3), 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from skrdae import LSTMVAEDetector
    >>> rng = np.random.default_rng(0)
    >>> phase = rng.uniform(0, 2 * np.pi, size=(200, 1))
    >>> X = np.sin(phase + np.arange(20) / 3) + 0.05 * rng.normal(size=(200, 20))
    >>> X[7] = rng.permutation(X[7])  # the same values in another order
    >>> detector = LSTMVAEDetector(random_state=0).fit(X)
    >>> int(detector.decision_scores_.argmax())
    7
    """

    progress: float = 1.0

    _parameter_constraints = {
        **RecurrentVAEDetector._parameter_constraints,
        "progress": [Interval(Real, 0, _MOST_PROGRESS, closed="both")],
    }

    def _new_network(
        self, n_features: int, generators: Sequence[torch.Generator], device: torch.device
    ) -> MemberLSTMVAE:
        return MemberLSTMVAE(
            n_features,
            int(self.n_channels),
            check_layer_sizes(self.hidden_layer_sizes),
            self._latent_units(int(self.n_channels)),
            generators,
            device,
        )

    def _new_objective(self, network: Any) -> ProgressBound:
        return ProgressBound(network, float(self.progress))
