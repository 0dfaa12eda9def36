"""USADDetector: two autoencoders with one encoder, trained against each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, replace
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skrdae._schema import Check
from skrdae._typing import Activation, FloatArray, FloatRowsOrSparse, MatrixLike
from skrdae._validation import check_layer_sizes, check_parameters, snapshot
from skrdae.detectors.base import Learnt, Task
from skrdae.detectors.labelling import judged
from skrdae.detectors.sequences import SequenceDetector
from skrdae.model import member_weights
from skrdae.networks.mlp import ACTIVATIONS
from skrdae.networks.two_decoders import MemberTwoDecoders
from skrdae.objectives.two_decoders import TwoDecodersLoss
from skrdae.registry import detector
from skrdae.scorers.two_decoders import TwoDecodersScorer
from skrdae.training.schemas import two_decoders_state


@detector
class USADDetector(SequenceDetector):
    r"""USAD: two autoencoders trained against each other, for windows of time series.

    Two decoders share an encoder: AE₁ = D₁(E(W)) and AE₂ = D₂(E(W)). Both learn to reconstruct a
    window W. AE₂ also learns to tell W from what AE₁ makes of it, by a large error
    ‖W − AE₂(AE₁(W))‖², which AE₁ learns to keep small. The weight of this game grows from epoch to
    epoch. The score of a window is

    .. math:: \alpha\,\|W - AE_1(W)\|^2 + (1 - \alpha)\,\|W - AE_2(AE_1(W))\|^2.

    The second term amplifies small deviations: in the paper, which leaves the threshold as it is, a
    smaller α finds more and raises more false alarms. :meth:`set_alpha` changes it without another
    training, and sets the threshold anew, by `contamination`.

    Each row of X is a window. To score the time steps of a series, put the detector into a
    :class:`WindowedDetector`.

    Parameters
    ----------
    alpha : float, default=0.5
        α in [0, 1]. It has no part in the training.
    n_channels : int, default=1
        Number of values in a time step. A row holds all channels of the first step, then all of the
        second, and so on, so its length has to be a multiple of `n_channels`.
    latent_dim : int or "auto", default="auto"
        Units of the code. ``"auto"`` is √n_features, rounded and at least 2, where n_features is
        steps × channels.
    hidden_layer_sizes : sequence of int, default=(64,)
        Units of the encoder's hidden layers; the decoders mirror them.
    activation : {"tanh", "relu", "sigmoid", "identity"}, default="tanh"
        Activation function of all layers but the decoders' last, which has tanh.
    n_epochs : int, default=5
        Number of passes over the data. In epoch n, the weight of the reconstructions is 1/n and
        that of the game 1 − 1/n. In a long training the game is all there is, and AE₂
        reconstructs nothing any more: look at ``history_``.
    batch_size : int or "auto", default=16
        Largest number of windows in a gradient step; batches are of equal size within one window.
        ``"auto"`` is n / 24, but at least 32 and at most 128, where n is the number of windows a
        member is trained on.
    lr : float, default=1e-3
        Learning rate of Adam, for both optimisers.
    n_estimators : int, default=4
        Number of members of the ensemble; they differ in seed and rows. Their scores are brought to
        one scale and averaged.
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
        Scores of the training windows, in units of squares of what the networks see.
    threshold_ : float
        Windows with a higher score are flagged.
    labels_ : ndarray of shape (n_samples,)
        1 for the training windows that are flagged, 0 for the others.
    errors_ : ndarray of shape (n_estimators, n_samples, 2), float32
        ‖W − AE₁(W)‖² and ‖W − AE₂(AE₁(W))‖² of the training windows, by member.
    history_ : list of dict
        Errors, one dict for each epoch; see :class:`~skrdae.history.TwoDecodersRecord`.
    model_ : FittedModel
        What scoring needs, see :class:`~skrdae.model.FittedModel`; the next three are its parts.
    network_ : MemberTwoDecoders
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

    The paper scales data to [0, 1], the range of its sigmoid outputs. Here a network sees the
    scaled data, clipped to ±3 and divided by 3, and the outputs have tanh. The bound keeps the game
    finite, and a far outlier does not squeeze all other values together. With ``scaler=None`` or
    ``"minmax"`` the largest absolute value takes the place of the 3.

    References
    ----------
    Audibert, J. et al., USAD: UnSupervised Anomaly Detection on Multivariate Time Series, KDD 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from skrdae import USADDetector
    >>> rng = np.random.default_rng(0)
    >>> phase = rng.uniform(0, 2 * np.pi, size=(200, 1))
    >>> X = np.sin(phase + np.arange(20) / 3) + 0.05 * rng.normal(size=(200, 20))
    >>> X[7] = rng.permutation(X[7])  # the same values in another order
    >>> detector = USADDetector(random_state=0).fit(X)
    >>> int(detector.decision_scores_.argmax())
    7
    >>> scores = detector.decision_scores_
    >>> detector.set_alpha(0.9).alpha, bool((detector.decision_scores_ == scores).any())
    (0.9, False)
    """

    if TYPE_CHECKING:
        errors_: NDArray[np.float32] = field(init=False)

    alpha: float = 0.5
    activation: Activation = "tanh"
    n_epochs: int = 5
    batch_size: int | Literal["auto"] = 16
    n_estimators: int = 4

    _parameter_constraints = {
        **SequenceDetector._parameter_constraints,
        "alpha": [Interval(Real, 0, 1, closed="both")],
        "activation": [StrOptions(set(ACTIVATIONS))],
    }
    _bound = 3.0
    _set_later = ("alpha",)

    # ------------------------------------------------------------------------------ training

    def _new_network(
        self, n_features: int, generators: Sequence[torch.Generator], device: torch.device
    ) -> MemberTwoDecoders:
        return MemberTwoDecoders(
            n_features,
            int(self.n_channels),
            check_layer_sizes(self.hidden_layer_sizes),
            self._latent_units(n_features),
            self.activation,
            generators,
            device,
        )

    def _new_objective(self, network: Any) -> TwoDecodersLoss:
        return TwoDecodersLoss(next(network.parameters()).new_zeros(network.n_members))

    def _level(self, task: Task) -> float:
        if task.scaler.method in ("robust", "standard"):
            return task.scaler.bound_
        return max(map(abs, task.rows.range())) or 1.0

    def _new_scorer(self, task: Task, level: float) -> TwoDecodersScorer:
        return TwoDecodersScorer(task.scaler.bound_, level, float(self.alpha))

    def _state_check(self, network: Any) -> Check:
        return two_decoders_state(network)

    def _conclude(self, X: FloatRowsOrSparse, learnt: Learnt) -> None:
        scorer: Any = self.model_.scorer
        self.errors_ = self._members(scorer.errors, X).astype(np.float32)

    # ------------------------------------------------------------------------------- scoring

    def set_alpha(self, alpha: float) -> Self:
        """Set α of a fitted detector, without another training.

        ``decision_scores_``, ``threshold_`` and ``labels_`` become those that `fit` would have
        found with this α; the same share of the training windows is flagged. The parameter `alpha`
        is set, too. (``set_params`` sets the parameter only, which the next `fit` uses.) A
        :class:`WindowedDetector` around the detector keeps the thresholds of the old α: fit it
        again.

        Parameters
        ----------
        alpha : float
            In [0, 1].

        Returns
        -------
        self
        """
        check_is_fitted(self)
        now = snapshot(self)
        wanted = type(self)(alpha=alpha)
        check_parameters(wanted)
        scorer: Any = now.model_.scorer
        scorer = replace(scorer, alpha=float(alpha))
        scores = scorer.combined(torch.from_numpy(now.errors_)).numpy().astype(np.float64)
        model = replace(now.model_, scorer=scorer, weights=member_weights(scores))
        rule = vars(now).get("thresholder_", model.share)
        found = judged(model, model.weighted(scores), rule, model.rows(np.empty((0, 1))))
        # In one assignment: other threads see all of it or nothing.
        self.__dict__ = vars(now) | found | {"alpha": alpha}
        return self

    def score_parts(self, X: MatrixLike) -> tuple[FloatArray, FloatArray]:
        """Return the two parts of each window's score.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_steps · n_channels)
            Or (n_samples, n_steps, n_channels).

        Returns
        -------
        first : ndarray of shape (n_samples,)
            α‖W − AE₁(W)‖².
        both : ndarray of shape (n_samples,)
            (1 − α)‖W − AE₂(AE₁(W))‖². The two add up to ``decision_function``, within the rounding
            of single precision.
        """
        return self._two_parts(X)
