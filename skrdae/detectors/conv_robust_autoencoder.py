"""ConvRobustAutoencoder: X = L + S for images, a convolutional network for L."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils._param_validation import Interval, StrOptions

from skrdae._columns import numbers_only
from skrdae._typing import Activation, FloatArray, FloatRows, Scaling
from skrdae._validation import check_layer_sizes
from skrdae.detectors.base import Learnt, Task
from skrdae.detectors.robust import BaseRobustAutoencoder
from skrdae.detectors.shaped import ShapedRows, n_axes
from skrdae.networks.convolutional import ConvAutoencoder
from skrdae.networks.member import MemberModule
from skrdae.networks.mlp import ACTIVATIONS
from skrdae.penalties import L20, PenaltyLike, penalty_of
from skrdae.penalties.l20 import least_size
from skrdae.registry import detector
from skrdae.scorers.residual_scale import rows_to_measure
from skrdae.scorers.smoothed import SmoothedScorer, sizes
from skrdae.training.lam_rule import LamRule

# A first axis of so few values before two longer ones holds channels, not lines.
_MOST_CHANNELS = 4


@detector
class ConvRobustAutoencoder(ShapedRows, BaseRobustAutoencoder):
    """Robust convolutional autoencoder for images: X = L + S.

    An encoder of convolutions, each of which halves height and width, and a dense layer make the
    code of an image; a decoder, by default a linear one, mirrors them. Training alternates as in
    :class:`RobustDeepAutoencoder`: the network is trained on L = X − S, then S is set to the prox
    of X − D(E(L)). By default an image of which the network cannot explain a share λ goes to S as a
    whole and has no part in the training any more. A *larger* λ finds *fewer* anomalies;
    ``lam=inf`` is the plain autoencoder.

    Images have the shape (n_samples, height, width) or (n_samples, height, width, channels), or
    are flattened to rows. Their pixels should lie in [0, 1]: divide by 255.

    Parameters
    ----------
    lam : float, "auto" or str, default="auto"
        λ ≥ 0, the threshold of the prox: a share of an image's norm for ``"l20"`` (a smaller one
        for black images, see :class:`~skrdae.penalties.L20`), otherwise in the units of the scaled
        data. A string such as ``"1.5*median"`` is a multiple of the median of what `penalty`
        compares with λ, found anew in each iteration for each member. ``"auto"``
        recomputes λ in each iteration so that a share `contamination` of the groups of `penalty`
        has a non-zero S; ``lam_`` holds the final value.
        With ``"l20"`` and a float for `contamination` it is twice that share in all members.
        Otherwise, with several members, each has a share of its own, between half and twice
        `contamination`.
    image_shape : sequence of two or three ints or None, default=None
        Height and width of an image, or height, width and channels. ``None`` takes it from X.
        Rows that are flat are then square images of one channel if their length is a square number
        of at least 16, and otherwise images of a single line. Within a :class:`WindowedDetector`
        ``None`` makes a line of steps of each window, whatever its length.
    channels : sequence of int, default=(8, 16)
        Channels that the convolutions of the encoder make. Each of them halves height and width, so
        an image has to have 2 ** len(channels) lines and columns at least.
    code_size : int, default=16
        Units of the code. A wide code also reconstructs what is anomalous.
    decoder_activation : {"identity", "relu", "tanh", "sigmoid"}, default="identity"
        Activation function between the layers of the decoder. Without one the decoder is linear, so
        that it reconstructs little that is foreign. With ``"relu"`` it reconstructs more of each
        image, which is what images need that are to be cleaned of bad pixels by ``penalty="l1"``.
    output_activation : {"identity", "sigmoid", "tanh", "relu"}, default="identity"
        Activation function of the last layer; ``"sigmoid"`` suits pixels in [0, 1].
    penalty : {"l20", "l21", "l1", "l21_features"} or GroupPenalty, default="l20"
        Ω. ``"l20"`` counts images (whole images are anomalous, and are left out of the training),
        ``"l21"`` sums their norms (they only count less), ``"l1"`` sums absolute values (single
        pixels are anomalous), ``"l21_features"`` the norms of columns (the same pixel in all
        images, such as a stuck one of a camera). One of your own is an instance of a
        :class:`~skrdae.penalties.GroupPenalty`.
    score_function : {"smooth", "norm"}, default="smooth"
        How an image's residual x − D(E(x)) becomes its score. ``"smooth"`` is the norm of the
        residual, blurred by a Gaussian whose standard deviation is 1/28 of the longer side, times
        (m / ‖G x‖)^¾, where ‖G x‖ is the norm of the blurred image, m/4 at least, and m its median
        in training, at least that of an image whose pixels are all 0.05: an
        edge that is a little beside its place counts for little, and a bright or bold image leaves
        more than a faint one. ``"norm"`` is Ω of the residual, and for ``"l20"``, which counts, the
        norm of the residual. It is taken for images of a single line in any case.
    max_iter : int, default=10
        Number of outer iterations; each is `n_epochs` of training followed by the prox.
    n_epochs : int, default=1
        Number of passes over the data within an outer iteration.
    batch_size : int or "auto", default=64
        Largest number of images in a gradient step; batches are of equal size within one image.
        ``"auto"`` is n / 24, but at least 32 and at most 128, where n is the number of images a
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
        Images each member is trained on, drawn without replacement: a number, a share,
        ``"auto"`` for min(256, n_samples), or ``None`` for all images, but 10,000 at most.
    scaler : {"robust", "standard", "minmax"} or None, default=None
        Scaling of the columns inside the detector, see
        :class:`~skrdae.preprocessing.ColumnScaler`. Pixels have one unit and need none.
    contamination : float, "auto", PeaksOverThreshold or pythresh object, default=0.1
        How images are flagged, as in :class:`RobustDeepAutoencoder`. A float is the share of the
        training images to flag, in (0, 0.5]. ``"auto"`` flags an image if its S is not zero in more
        than half of the members. :class:`~skrdae.thresholds.PeaksOverThreshold` or a pythresh
        object sets the threshold; a copy of it is fitted.
    store_decomposition : bool, default=False
        Keep the decomposition of the training data in ``low_rank_`` and ``sparse_``, as rows.
    device : str or torch.device, default="auto"
        ``"auto"`` takes the first that is available of CUDA, MPS and the CPU.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial weights, the order of the images and the members' samples. Pass an int
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
    image_shape_ : tuple of int
        Height and width of an image, and channels if X or `image_shape` has an axis for them.
    decision_scores_ : ndarray of shape (n_samples,)
        Scores of the training images, in units of a residual of the scaled data.
    threshold_ : float
        Images with a higher score are flagged.
    labels_ : ndarray of shape (n_samples,)
        1 for the training images that are flagged, 0 for the others.
    lam_ : float, or ndarray of shape (n_estimators,) with several members
        λ of the last iteration.
    n_iter_ : int
        Number of outer iterations made.
    history_ : list of dict
        One dict for each outer iteration; see :class:`~skrdae.history.IterationRecord`.
    model_ : FittedModel
        What scoring needs, see :class:`~skrdae.model.FittedModel`; the next three are its parts.
    network_ : StackedModule
        The trained networks; their weights have the member axis first.
    scaler_ : ColumnScaler
    device_ : torch.device
    thresholder_ : object
        The fitted copy of `contamination`. Only if that is an object.
    low_rank_, sparse_ : ndarray of shape (n_samples, n_features)
        The decomposition of the training data. Only with ``store_decomposition=True``.
    classes_ : ndarray of shape (2,)
        The classes of the columns of ``predict_proba``: 0 (normal) and 1 (anomalous).
    n_features_in_ : int
        Values of an image.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X. Only if they are all strings.

    References
    ----------
    Masci, J. et al., Stacked Convolutional Auto-Encoders for Hierarchical Feature Extraction, ICANN
    2011 (the network); Zhou, C. and R. C. Paffenroth, Anomaly Detection with Robust Deep
    Autoencoders, KDD 2017 (the decomposition).

    Examples
    --------
    >>> from skrdae import ConvRobustAutoencoder
    >>> from skrdae.demo import one_class_digits
    >>> X, y = one_class_digits(digit=4, seed=0)  # 191 images of 8 × 8 pixels, 10 of other digits
    >>> images = X.reshape(-1, 8, 8)
    >>> detector = ConvRobustAutoencoder(contamination=0.05, random_state=0).fit(images)
    >>> detector.image_shape_, detector.explain(images).shape
    ((8, 8), (191, 8, 8))
    """

    if TYPE_CHECKING:
        image_shape_: tuple[int, ...]

    image_shape: Sequence[int] | None = None
    channels: Sequence[int] = (8, 16)
    code_size: int = 16
    decoder_activation: Activation = "identity"
    output_activation: Activation = "identity"
    penalty: PenaltyLike = "l20"
    score_function: Literal["smooth", "norm"] = "smooth"
    max_iter: int = 10
    batch_size: int | Literal["auto"] = 64
    lr: float = 3e-3
    n_estimators: int = 1
    scaler: Scaling = None

    _parameter_constraints = {
        **BaseRobustAutoencoder._parameter_constraints,
        "image_shape": "no_validation",  # by _given_shape, which says more
        "channels": "no_validation",  # by check_layer_sizes
        "code_size": [Interval(Integral, 1, None, closed="left")],
        "decoder_activation": [StrOptions(set(ACTIVATIONS))],
        "output_activation": [StrOptions(set(ACTIVATIONS))],
        "score_function": [StrOptions({"smooth", "norm"})],
    }
    _scores_by_norm = True  # but for the blur

    # ------------------------------------------------------------------------------ the network

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_layer_sizes(self.channels, "channels")
        self._given_shape()

    def _new_module(self, n_features: int) -> torch.nn.Module:
        channels = check_layer_sizes(self.channels, "channels")
        activations = self.decoder_activation, self.output_activation
        return ConvAutoencoder(self.image_shape_, channels, int(self.code_size), *activations)

    def _code_size(self, n_features: int) -> int:
        return int(self.code_size)

    def _scored(
        self,
        task: Task,
        network: MemberModule,
        lam: torch.Tensor,
        norms: torch.Tensor | None,
        history: list[dict[str, Any]],
    ) -> Learnt:
        learnt = super()._scored(task, network, lam, norms, history)
        # Along a single line, which may be long, nothing is a little beside its place.
        if self.score_function == "smooth" and self.image_shape_[0] > 1:
            rows = task.rows.take(rows_to_measure(*task.rows.shape)).cpu()
            # Where most images are black the usual size is none that others can be held against.
            level = max(sizes(rows, self.image_shape_).median().item(), least_size(rows.shape[1]))
            if self._agreed is not None and self._agreed.level is not None:
                level = self._agreed.level
            learnt.scorer = SmoothedScorer(
                **vars(learnt.scorer), image_shape=self.image_shape_, level=level
            )
        return learnt

    def _lam_rule(self) -> LamRule:
        rule = super()._lam_rule()
        images = rule.unit == "quantile" and isinstance(penalty_of(self.penalty), L20)
        if images and isinstance(self.contamination, Real):
            # Images that are left out cost little, and those that are not, and should be, much.
            share = min(2 * float(self.contamination), 0.5)
            rule = replace(rule, values=[1 - share] * self.n_estimators)
        return rule

    def _beside_parameters(self) -> dict[str, str]:
        return {"image_shape": str(self.image_shape_)}

    # ------------------------------------------------------------------------------ images

    def _given_shape(self) -> tuple[int, ...] | None:
        """Return `image_shape`, if it is one."""
        if self.image_shape is None:
            return None
        try:
            shape = check_layer_sizes(self.image_shape, "image_shape")
        except (TypeError, ValueError) as error:
            raise type(error)(self._no_shape()) from None
        if len(shape) not in (2, 3):
            raise ValueError(self._no_shape())
        return shape

    def _no_shape(self) -> str:
        return (
            "image_shape must be None, (height, width) or (height, width, channels), in whole "
            f"numbers of at least 1; got {self.image_shape!r}."
        )

    def _shape_of(self, found: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the images that X has rows of this shape of."""
        given = self._given_shape()
        if given is not None or len(found) != 1:
            return given or found
        side = math.isqrt(found[0])
        return (side, side) if side >= 4 and side * side == found[0] else (1, found[0])

    def _check_shape(self, shape: tuple[int, ...], fitted: tuple[int, ...] | None) -> None:
        if len(shape) > 3:
            raise ValueError(
                f"X has {len(shape) + 1} axes; images have three, (n_samples, height, width), or "
                "four, (n_samples, height, width, channels)."
            )
        wanted = fitted or self._shape_of(shape)
        height, width, n_channels = (*wanted, 1)[:3]
        first = shape == (n_channels, height, width)
        if len(shape) > 1 and (*shape, 1)[:3] != (height, width, n_channels):
            remedy = " X has its channels first: pass np.moveaxis(X, 1, -1)." if first else ""
            if fitted is None and (*wanted[1:], wanted[0]) == (*shape, 1)[:3]:
                remedy = " image_shape has its channels last: (height, width, channels)."
            what = "image_shape is" if fitted is None else "the detector is fitted to"
            raise ValueError(f"X has images of shape {shape}, but {what} {wanted}.{remedy}")
        if len(shape) == 1 and shape[0] != math.prod(wanted):
            n = math.prod(wanted)
            raise ValueError(f"image_shape={wanted} has {n} values, but X has rows of {shape[0]}.")
        a_line = len(shape) == 1 and self.image_shape is None and height == 1
        if fitted is None and not a_line:
            self._check_size(wanted)

    def _check_size(self, shape: tuple[int, ...]) -> None:
        """Raise if images of a shape are too small, or have their channels first, it seems."""
        given = self.image_shape is not None
        if not given and len(shape) == 3 and shape[0] <= _MOST_CHANNELS < min(shape[1:]):
            raise ValueError(
                f"X has images of shape {shape}, which looks like channels first; they have to be "
                "(height, width, channels): pass np.moveaxis(X, 1, -1), or, if it is right, "
                f"image_shape={shape}."
            )
        least = 2 ** len(check_layer_sizes(self.channels, "channels"))
        if any(1 < n < least for n in shape[:2]):
            raise ValueError(
                f"Images of {shape[0]} × {shape[1]} pixels are too small for {len(self.channels)} "
                f"convolutions that halve them, which need {least} × {least}: give channels fewer "
                f"entries, or see that {'image_shape' if given else 'X'} is (height, width, "
                "channels), with channels last."
            )

    def _check_data(self, X: ArrayLike, *, reset: bool) -> FloatRows:
        if n_axes(X) > 2:
            X = np.asarray(numbers_only(X))
        rows = super()._check_data(X, reset=reset)
        if reset:
            found = X.shape[1:] if isinstance(X, np.ndarray) and X.ndim > 2 else rows.shape[1:]
            self.image_shape_ = self._shape_of(found)
        return rows

    def explain(self, X: ArrayLike) -> FloatArray:
        """Return the contribution of each pixel to the score of each image.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width)
            Or (n_samples, height, width, channels), or (n_samples, n_features).

        Returns
        -------
        ndarray of shape (n_samples, height, width) or with channels, float64
            Non-negative. The contributions to an image add up to its ``decision_function``, within
            the rounding of single precision.
        """
        return super().explain(X)

    def decompose(self, X: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Split images into L, which the network can explain, and a sparse S: X = L + S.

        See :meth:`RobustDeepAutoencoder.decompose`. With ``penalty="l20"`` the S of an image is
        what the network cannot explain of it, or zero.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width)
            Or (n_samples, height, width, channels), or (n_samples, n_features).

        Returns
        -------
        low_rank : ndarray of the shape of X
            L, in the units of X, averaged over the members.
        sparse : ndarray of the shape of X
            S = X − L, exactly zero where S is zero in every member.
        """
        return super().decompose(X)
