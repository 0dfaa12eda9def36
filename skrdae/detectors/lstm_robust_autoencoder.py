"""LSTMRobustAutoencoder: X = L + S for windows of time series, a recurrent network for L."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from numpy.typing import ArrayLike
from sklearn.utils._param_validation import StrOptions

from skrdae._typing import FloatArray
from skrdae._validation import check_layer_sizes
from skrdae.detectors.robust import BaseRobustAutoencoder
from skrdae.detectors.shaped import ChannelWindows
from skrdae.networks.recurrent import CELLS, MemberRecurrentAutoencoder
from skrdae.registry import detector


@detector
class LSTMRobustAutoencoder(ChannelWindows, BaseRobustAutoencoder):
    """Robust recurrent autoencoder for windows of time series: X = L + S.

    An encoder of LSTM or GRU layers reads a window step by step; its final state is the code. A
    decoder gets the code as its input at every step, and a linear layer maps its states to the
    reconstructed window. Training alternates as in :class:`RobustDeepAutoencoder`: the network is
    trained on L = X − S, then S is set to the prox of X − D(E(L)). A residual larger than λ moves
    to S and no longer influences the training. A *larger* λ finds *fewer* anomalies; ``lam=inf`` is
    the plain LSTM autoencoder.

    Each row of X is a window. To score the time steps of a series, put the detector into a
    :class:`WindowedDetector`.

    Parameters
    ----------
    lam : float, "auto" or str, default="auto"
        λ ≥ 0, the threshold of the prox, in units of the scaled data. A string such as
        ``"1.5*median"`` is a multiple of the median norm of the groups of the residual, found anew
        in each iteration for each member. ``"auto"`` recomputes λ in each
        iteration so that a share `contamination` of the groups of `penalty` has a non-zero S;
        ``lam_`` holds the final value. With several members, each has a share of its own, between
        half and twice `contamination`.
    cell : {"lstm", "gru"}, default="lstm"
        Type of the recurrent layers. On a CPU the LSTM trains several times as fast as the GRU.
    n_channels : int, default=1
        Number of values in a time step. A row holds all channels of the first step, then all of the
        second, and so on, so its length has to be a multiple of `n_channels`.
    penalty : {"l21", "l1", "l21_features", "l20"} or GroupPenalty, default="l21"
        Ω. ``"l21"`` sums the norms of rows (whole windows are anomalous), ``"l1"`` absolute values
        (single readings), ``"l21_features"`` the norms of columns. A column is one channel at one
        place in the window, over all windows: it suits windows cut at fixed times, a day each say,
        where a column is an hour of the day; in sliding windows every reading passes through all
        of them. ``"l20"`` counts windows, see :class:`~skrdae.penalties.L20`. One of your own is an
        instance of a :class:`~skrdae.penalties.GroupPenalty`.
    hidden_layer_sizes : sequence of int, default=(32, 16)
        Units of the encoder's layers; the last is the size of the code. The decoder mirrors the
        encoder.
    max_iter : int, default=10
        Number of outer iterations; each is `n_epochs` of training followed by the prox.
    n_epochs : int, default=1
        Number of passes over the data within an outer iteration.
    batch_size : int or "auto", default="auto"
        Largest number of windows in a gradient step; batches are of equal size within one window.
        ``"auto"`` is n / 24, but at least 32 and at most 128, where n is the number of windows a
        member is trained on.
    lr : float, default=3e-3
        Learning rate of Adam.
    tol : float or None, default=None
        Training stops when ‖X − D(E(L)) − S‖_F or the change of D(E(L)) + S in an iteration is
        below `tol` · ‖X‖_F; if `max_iter` is reached first, a ``ConvergenceWarning`` is raised.
        ``None`` always makes `max_iter` iterations.
    n_estimators : int, default=1
        Number of members of the ensemble; they differ in seed, rows and λ. Their scores are brought
        to one scale and averaged. The training time is proportional to it.
    max_samples : int, float, "auto" or None, default=None
        Windows each member is trained on, drawn without replacement: a number, a share,
        ``"auto"`` for min(256, n_samples), or ``None`` for all windows, but 10,000 at most.
    scaler : {"robust", "standard", "minmax"} or None, default="robust"
        Scaling of the columns inside the detector, see
        :class:`~skrdae.preprocessing.ColumnScaler`.
    contamination : float, "auto", PeaksOverThreshold or pythresh object, default=0.1
        How windows are flagged, as in :class:`RobustDeepAutoencoder`. A float is the share of the
        training windows to flag, in (0, 0.5]. ``"auto"`` flags a window if its S is not zero in
        more than half of the members. :class:`~skrdae.thresholds.PeaksOverThreshold` or a pythresh
        object sets the threshold; a copy of it is fitted.
    store_decomposition : bool, default=False
        Keep the decomposition of the training data in ``low_rank_`` and ``sparse_``.
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
        If True, a second `fit` to the same X continues the training of the first. Only `max_iter`
        may differ, and has to be larger. The result is bit for bit that of one training of the
        whole length.
    checkpoint_path : str, path-like or None, default=None
        A file to which the state of the training is written after each outer iteration. If the file
        exists, `fit` continues from it. A completed training removes it; an interrupted one keeps
        it.

    Attributes
    ----------
    decision_scores_ : ndarray of shape (n_samples,)
        Scores of the training windows, in units of a residual of the scaled data.
    threshold_ : float
        Windows with a higher score are flagged.
    labels_ : ndarray of shape (n_samples,)
        1 for the training windows that are flagged, 0 for the others.
    lam_ : float, or ndarray of shape (n_estimators,) with several members
        λ of the last iteration.
    n_iter_ : int
        Number of outer iterations made.
    history_ : list of dict
        One dict for each outer iteration; see :class:`~skrdae.history.IterationRecord`.
    model_ : FittedModel
        What scoring needs, see :class:`~skrdae.model.FittedModel`; the next three are its parts.
    network_ : MemberRecurrentAutoencoder
        The trained networks; their weights have the member axis first.
    scaler_ : ColumnScaler
    device_ : torch.device
    thresholder_ : object
        The fitted copy of `contamination`. Only if that is an object.
    low_rank_, sparse_ : ndarray of shape (n_samples, n_steps · n_channels)
        The decomposition of the training data. Only with ``store_decomposition=True``.
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

    References
    ----------
    Malhotra, P. et al., LSTM-based Encoder-Decoder for Multi-sensor Anomaly Detection, 2016 (the
    network); C. Zhou and R. C. Paffenroth, Anomaly Detection with Robust Deep Autoencoders, KDD
    2017 (the decomposition).

    Examples
    --------
    >>> import numpy as np
    >>> from skrdae import LSTMRobustAutoencoder
    >>> rng = np.random.default_rng(0)
    >>> phase = rng.uniform(0, 2 * np.pi, size=(200, 1))
    >>> X = np.sin(phase + np.arange(20) / 3) + 0.05 * rng.normal(size=(200, 20))
    >>> X[7] = rng.permutation(X[7])  # the same values in another order
    >>> detector = LSTMRobustAutoencoder(random_state=0).fit(X)
    >>> int(detector.decision_scores_.argmax())
    7
    """

    cell: Literal["lstm", "gru"] = "lstm"
    hidden_layer_sizes: Sequence[int] = (32, 16)
    max_iter: int = 10
    lr: float = 3e-3
    n_estimators: int = 1

    _parameter_constraints = {
        **ChannelWindows._parameter_constraints,
        **BaseRobustAutoencoder._parameter_constraints,
        "cell": [StrOptions(set(CELLS))],
    }

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_layer_sizes(self.hidden_layer_sizes)

    def _new_network(
        self, n_features: int, generators: Sequence[torch.Generator], device: torch.device
    ) -> MemberRecurrentAutoencoder:
        sizes = check_layer_sizes(self.hidden_layer_sizes)
        return MemberRecurrentAutoencoder(
            n_features, int(self.n_channels), sizes, self.cell, generators, device
        )

    def decompose(self, X: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Split windows into L, which the network can explain, and a sparse S: X = L + S.

        See :meth:`RobustDeepAutoencoder.decompose`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_steps · n_channels)
            Or (n_samples, n_steps, n_channels).

        Returns
        -------
        low_rank : ndarray of the shape of X
            L, in the units of X, averaged over the members.
        sparse : ndarray of the shape of X
            S = X − L, exactly zero where S is zero in every member.
        """
        return super().decompose(X)
