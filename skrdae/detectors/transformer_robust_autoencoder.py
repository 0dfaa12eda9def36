"""TransformerRobustAutoencoder: X = L + S for windows of time series, a Transformer for L."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Literal

import torch
from numpy.typing import ArrayLike
from sklearn.utils._param_validation import Interval, StrOptions

from skrdae._typing import FloatArray
from skrdae._validation import snapshot
from skrdae.detectors.robust import BaseRobustAutoencoder
from skrdae.detectors.shaped import ChannelWindows
from skrdae.networks.transformer import PatchTransformer
from skrdae.networks.workspace import Workspace
from skrdae.registry import detector

# Patches of a window by default, at most.
_PATCHES = 16


@detector
class TransformerRobustAutoencoder(ChannelWindows, BaseRobustAutoencoder):
    """Robust Transformer autoencoder for windows of time series: X = L + S.

    An encoder cuts a window into patches of steps, lets the patches attend to each other, and makes
    a code of them all. A decoder makes the window of the code, from a learnt query for each patch.
    Training alternates as in :class:`RobustDeepAutoencoder`: the network is trained on L = X − S,
    then S is set to the prox of X − D(E(L)). A residual larger than λ moves to S and no longer
    influences the training. A *larger* λ finds *fewer* anomalies; ``lam=inf`` is the plain
    Transformer autoencoder.

    Each row of X is a window. To score the time steps of a series, put the detector into a
    :class:`WindowedDetector`. :meth:`attention` tells which patches of a window the encoder looked
    at.

    Parameters
    ----------
    lam : float, "auto" or str, default="auto"
        λ ≥ 0, the threshold of the prox, in units of the scaled data. A string such as
        ``"1.5*median"`` is a multiple of the median norm of the groups of the residual, found anew
        in each iteration for each member. ``"auto"`` recomputes λ in each
        iteration so that a share `contamination` of the groups of `penalty` has a non-zero S;
        ``lam_`` holds the final value. With several members, each has a share of its own, between
        half and twice `contamination`.
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
    patch_size : int or "auto", default="auto"
        Steps of a patch; a window must have as many at least. The last patch is filled up with
        zeros. ``"auto"`` is a sixteenth of the window, rounded up.
    code_size : int, default=16
        Units of the code.
    width : int, default=32
        Units of a token; a multiple of 4 · `n_heads`.
    n_heads : int, default=4
        Heads of each attention layer.
    n_layers : int, default=1
        Attention layers of the encoder, and of the decoder.
    max_iter : int, default=10
        Number of outer iterations; each is `n_epochs` of training followed by the prox.
    n_epochs : int, default=1
        Number of passes over the data within an outer iteration.
    batch_size : int or "auto", default="auto"
        Largest number of windows in a gradient step; batches are of equal size within one window.
        ``"auto"`` is n / 24, but at least 32 and at most 128, where n is the number of windows a
        member is trained on.
    lr : float, default=1e-2
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
    network_ : StackedModule
        The trained networks, each a :class:`~skrdae.networks.transformer.PatchTransformer`; their
        weights have the member axis first.
    scaler_ : ColumnScaler
    device_ : torch.device
    thresholder_ : object
        The fitted copy of `contamination`. Only if that is an object.
    low_rank_, sparse_ : ndarray of shape (n_samples, n_steps · n_channels)
        The decomposition of the training data. Only with ``store_decomposition=True``.
    classes_ : ndarray of shape (2,)
        The classes of the columns of ``predict_proba``: 0 (normal) and 1 (anomalous).
    patch_size_ : int
        Steps of a patch.
    n_features_in_ : int
        Values of a window: steps × channels.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X. Only if they are all strings.

    Notes
    -----
    Every method takes windows either as rows, of shape (n_samples, n_steps · n_channels), or as a
    three-dimensional array of shape (n_samples, n_steps, n_channels).

    There is no dropout: training is short, and a fit is repeatable.

    References
    ----------
    Vaswani, A. et al., Attention Is All You Need, NeurIPS 2017; Y. Nie et al., A Time Series is
    Worth 64 Words: Long-term Forecasting with Transformers, ICLR 2023 (patches); C. Zhou and R. C.
    Paffenroth, Anomaly Detection with Robust Deep Autoencoders, KDD 2017 (the decomposition).

    Examples
    --------
    >>> import numpy as np
    >>> from skrdae import TransformerRobustAutoencoder
    >>> rng = np.random.default_rng(0)
    >>> phase = rng.uniform(0, 2 * np.pi, size=(200, 1))
    >>> X = np.sin(phase + np.arange(20) / 3) + 0.05 * rng.normal(size=(200, 20))
    >>> X[7] = rng.permutation(X[7])  # the same values in another order
    >>> detector = TransformerRobustAutoencoder(random_state=0).fit(X)
    >>> int(detector.decision_scores_.argmax())
    7
    """

    patch_size: int | Literal["auto"] = "auto"
    code_size: int = 16
    width: int = 32
    n_heads: int = 4
    n_layers: int = 1
    max_iter: int = 10
    lr: float = 1e-2
    n_estimators: int = 1

    _parameter_constraints = {
        **ChannelWindows._parameter_constraints,
        **BaseRobustAutoencoder._parameter_constraints,
        "patch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        **{
            name: [Interval(Integral, 1, None, closed="left")]
            for name in ("code_size", "width", "n_heads", "n_layers")
        },
    }
    _bound = 3.0

    @property
    def patch_size_(self) -> int:
        """Steps of a patch."""
        return self.network_.template[0].patch_size

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.width % (4 * self.n_heads):
            raise ValueError(
                f"width={self.width} is not a multiple of 4 · n_heads = {4 * self.n_heads}: each "
                "head gets an equal part of a token, of 4, 8, 12, … units."
            )

    def _check_shape(self, shape: tuple[int, ...], fitted: tuple[int, ...] | None) -> None:
        super()._check_shape(shape, fitted)
        if fitted is not None or self.patch_size == "auto":
            return
        n_steps = shape[0] if len(shape) == 2 else shape[0] // int(self.n_channels)
        if n_steps < self.patch_size:
            raise ValueError(
                f"X has windows of {n_steps} steps, shorter than a patch: patch_size is "
                f"{self.patch_size}. Set it to {n_steps} at most, or cut longer windows."
            )

    def _new_module(self, n_features: int) -> torch.nn.Module:
        row_shape = n_features // int(self.n_channels), int(self.n_channels)
        patch_size: Any = self.patch_size
        if patch_size == "auto":
            patch_size = -(-row_shape[0] // _PATCHES)
        return PatchTransformer(
            row_shape,
            int(patch_size),
            int(self.code_size),
            int(self.width),
            int(self.n_heads),
            int(self.n_layers),
        )

    def _code_size(self, n_features: int) -> int:
        return int(self.code_size)

    def attention(self, X: ArrayLike) -> FloatArray:
        """Return how much each patch of a window attends to the others in the encoder.

        Patch p holds the steps from p · ``patch_size_`` on.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_steps · n_channels)
            Or (n_samples, n_steps, n_channels).

        Returns
        -------
        ndarray of shape (n_samples, n_layers, n_patches, n_patches), float64
            The weights with which a layer, given by the second axis, adds up what the patches of
            the last axis say to the patch of the third. They sum to one over the last axis, and are
            averaged over heads and members. Attention tells what the network looked at; what made a
            score high is what :meth:`explain` tells.
        """
        self = snapshot(self)
        rows, clip = self._validated(X), self.model_.scorer.clip

        def weights(network: Any, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
            return network.map("attention", clip(rows).expand(network.n_members, *rows.shape))

        return self._members(weights, rows).mean(axis=0)

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
