"""AnoGANDetector: how far a row is from the nearest one that a generator can make."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, Literal

import torch
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions
from tqdm.auto import tqdm

from skrdae._random import member_generators
from skrdae._typing import (
    Activation,
    Callbacks,
    FloatArray,
    IntArray,
    RandomStateLike,
    Record,
    Scaling,
    Thresholder,
)
from skrdae._validation import check_layer_sizes, outside
from skrdae.detectors.base import BaseTorchDetector
from skrdae.detectors.encoding import GenerativeMixin
from skrdae.detectors.resuming import ResumingMixin
from skrdae.detectors.samples import MAX_SAMPLES, warn_of_too_few
from skrdae.networks.gan import MemberGAN
from skrdae.networks.mlp import ACTIVATIONS
from skrdae.networks.workspace import RowFunction, Workspace
from skrdae.training.adversarial import train_adversarial, train_encoder
from skrdae.training.latent_search import Mismatch, search
from skrdae.training.minibatch import normal

# A generator whose rows spread by less than this share of the data's has collapsed, and one whose
# rows spread by more than this multiple has diverged.
_COLLAPSED, _DIVERGED = 0.01, 10.0
_N_SPREAD = 256  # rows made to find that out


class AnoGANDetector(ResumingMixin, GenerativeMixin, BaseTorchDetector):
    r"""Generative adversarial network, scored by the distance to the closest generated row.

    A generator G and a discriminator D are trained against each other. The score of a row x is its
    distance from G(z), for the code z that comes closest:

    .. math:: (1 - \lambda)\,\|x - G(z)\|_1 + \lambda\,\|f(x) - f(G(z))\|_1,

    where f is the last hidden layer of D. The two terms are the residual and the discrimination
    part of the score. x is in units of the scaled data. With ``scaler=None`` or ``"minmax"`` and
    ``output_activation="identity"``, one factor for all columns brings the data to unit scale, so
    that λ keeps its meaning. Scoring does not change G or D.

    Parameters
    ----------
    lam : float, default=0.1
        λ in [0, 1], the weight of the discrimination part; the residual has the weight 1 − λ.
    latent_dim : int or "auto", default="auto"
        Number of dimensions of z. ``"auto"`` is √n_features, rounded and at least 2.
    inference : {"encoder", "search", "hybrid"}, default="encoder"
        How z is found. ``"encoder"`` (f-AnoGAN) trains an encoder after G and D, and scores with
        one forward pass. ``"search"`` (AnoGAN) minimises the expression above over z for each row,
        starting from z = 0. ``"hybrid"`` starts the search from the encoder's z.
    n_search_iter : int, default=50
        Number of steps of the search. More steps never make the objective larger.
    hidden_layer_sizes : sequence of int, default=(64,)
        Units of the encoder's hidden layers; the generator mirrors them.
    discriminator_layer_sizes : sequence of int, default=(64, 32)
        Units of the discriminator's hidden layers.
    activation : {"tanh", "relu", "sigmoid", "identity"}, default="tanh"
        Activation function of the hidden layers.
    output_activation : {"identity", "sigmoid", "tanh", "relu"}, default="identity"
        Activation function of the generator's last layer; ``"sigmoid"`` suits data in [0, 1].
    n_epochs : int, default=50
        Number of passes over the data for G and D. With a few hundred rows, or with data in [0, 1],
        use more.
    n_encoder_epochs : int, default=20
        Number of passes over the data for the encoder.
    batch_size : int or "auto", default=256
        Largest number of rows in a gradient step; batches are of equal size within one row.
        ``"auto"`` is n / 24, but at least 32 and at most 128, where n is the number of rows a
        member is trained on.
    lr : float, default=2e-3
        Learning rate of Adam.
    n_estimators : int, default=8
        Number of members of the ensemble, which are trained together; they differ in seed. Their
        scores are brought to one scale and averaged.
    max_samples : int, float, "auto" or None, default=None
        Rows each member is trained on, drawn without replacement: a number, a share,
        ``"auto"`` for min(256, n_samples), or ``None`` for all rows, but 10,000 at most.
    scaler : {"robust", "standard", "minmax"} or None, default="robust"
        Scaling of the columns inside the detector, see
        :class:`~skrdae.preprocessing.ColumnScaler`.
    contamination : float or pythresh object, default=0.1
        How rows are flagged. A float is the share of the training rows to flag, in (0, 0.5]. A
        pythresh object sets the threshold; a copy of it is fitted.
    device : str or torch.device, default="auto"
        ``"auto"`` takes the first that is available of CUDA, MPS and the CPU.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial weights, the order of the rows and the draws of z. Pass an int for
        reproducible results. NumPy's and torch's global generators are neither used nor changed.
    verbose : int, default=0
        1 shows a progress bar of trainings and searches.
    callbacks : callable, list of callables or None, default=None
        Functions that are called with each new row of ``history_`` or ``encoder_history_`` (a
        dict). If one returns True, the current training (of generator and discriminator, or of the
        encoder) stops.
    warm_start : bool, default=False
        If True, a second `fit` to the same X continues the training of the first. Only `n_epochs`
        and `n_encoder_epochs` may differ, and have to be larger. The result is bit for bit that of
        one training of the whole length.
    checkpoint_path : str, path-like or None, default=None
        A file to which the state of the training is written after each epoch. If the file exists,
        `fit` continues from it. A completed training removes it; an interrupted one keeps it.

    Attributes
    ----------
    decision_scores_ : ndarray of shape (n_samples,)
        Scores of the training data.
    threshold_ : float
        Rows with a higher score are flagged.
    labels_ : ndarray of shape (n_samples,)
        1 for the training rows that are flagged, 0 for the others.
    history_ : list of dict
        Losses of discriminator and generator, one dict for each epoch; see
        :class:`~skrdae.training.history.AdversarialRecord`.
    encoder_history_ : list of dict
        Errors of the encoder, one dict for each epoch; see
        :class:`~skrdae.training.history.EncoderRecord`. Empty with ``inference="search"``.
    network_ : MemberGAN
        The trained networks; their weights have the member axis first.
    scaler_ : ColumnScaler
    device_ : torch.device
    thresholder_ : object
        The fitted copy of `contamination`. Only if that is a pythresh object.
    classes_ : ndarray of shape (2,)
        The classes of the columns of ``predict_proba``: 0 (normal) and 1 (anomalous).
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X. Only if they are all strings.

    Notes
    -----
    Spectral normalisation stabilises the training with the hinge loss: every few steps, the
    discriminator's weight matrices whose spectral norm exceeds one are divided by it.

    ``explain`` distributes the discrimination part over the features in the same proportions as the
    residual.

    References
    ----------
    Schlegl, T. et al., Unsupervised Anomaly Detection with Generative Adversarial Networks to
    Guide Marker Discovery, IPMI 2017. T. Schlegl et al., f-AnoGAN: Fast unsupervised anomaly
    detection with generative adversarial networks, Medical Image Analysis 54, 2019. T. Miyato et
    al., Spectral Normalization for Generative Adversarial Networks, ICLR 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from skrdae import AnoGANDetector
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 2)) @ rng.normal(size=(2, 6))  # on a plane
    >>> X[:5] += rng.normal(scale=8, size=(5, 6))  # five rows off it
    >>> detector = AnoGANDetector(contamination=0.025, random_state=0).fit(X)
    >>> np.flatnonzero(detector.labels_).tolist()
    [0, 1, 2, 3, 4]
    """

    encoder_history_: list[Record]
    network_: MemberGAN

    _parameter_constraints = {
        **BaseTorchDetector._parameter_constraints,
        **ResumingMixin._parameter_constraints,
        "lam": [Interval(Real, 0, 1, closed="both")],
        "latent_dim": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "inference": [StrOptions({"encoder", "search", "hybrid"})],
        "n_search_iter": [Interval(Integral, 1, None, closed="left")],
        "hidden_layer_sizes": "no_validation",  # by check_layer_sizes, which says more
        "discriminator_layer_sizes": "no_validation",
        "activation": [StrOptions(set(ACTIVATIONS))],
        "output_activation": [StrOptions(set(ACTIVATIONS))],
        "n_epochs": [Interval(Integral, 1, None, closed="left")],
        "max_samples": MAX_SAMPLES,
        "n_encoder_epochs": [Interval(Integral, 1, None, closed="left")],
    }
    _boolean_parameters = (
        *BaseTorchDetector._boolean_parameters,
        *ResumingMixin._boolean_parameters,
    )
    _lengths = ("n_epochs", "n_encoder_epochs")

    def __init__(
        self,
        lam: float = 0.1,
        *,
        latent_dim: int | Literal["auto"] = "auto",
        inference: Literal["encoder", "search", "hybrid"] = "encoder",
        n_search_iter: int = 50,
        hidden_layer_sizes: Sequence[int] = (64,),
        discriminator_layer_sizes: Sequence[int] = (64, 32),
        activation: Activation = "tanh",
        output_activation: Activation = "identity",
        n_epochs: int = 50,
        n_encoder_epochs: int = 20,
        batch_size: int | Literal["auto"] = 256,
        lr: float = 2e-3,
        n_estimators: int = 8,
        max_samples: float | Literal["auto"] | None = None,
        scaler: Scaling = "robust",
        contamination: float | Thresholder = 0.1,
        device: str | torch.device = "auto",
        random_state: RandomStateLike = None,
        verbose: int = 0,
        callbacks: Callbacks = None,
        warm_start: bool = False,
        checkpoint_path: str | os.PathLike[str] | None = None,
    ) -> None:
        self.lam = lam
        self.latent_dim = latent_dim
        self.inference = inference
        self.n_search_iter = n_search_iter
        self.hidden_layer_sizes = hidden_layer_sizes
        self.discriminator_layer_sizes = discriminator_layer_sizes
        self.activation = activation
        self.output_activation = output_activation
        self.n_epochs = n_epochs
        self.n_encoder_epochs = n_encoder_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.n_estimators = n_estimators
        self.max_samples = max_samples
        self.scaler = scaler
        self.contamination = contamination
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        self.callbacks = callbacks
        self.warm_start = warm_start
        self.checkpoint_path = checkpoint_path

    # ------------------------------------------------------------------------------ training

    @property
    def _n_rounds(self) -> int:
        return self.n_epochs + (self.n_encoder_epochs if self.inference != "search" else 0)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_layer_sizes(self.hidden_layer_sizes)
        check_layer_sizes(self.discriminator_layer_sizes, "discriminator_layer_sizes")

    def _new_network(self, n_features: int, generators: Sequence[torch.Generator]) -> MemberGAN:
        return MemberGAN(
            n_features,
            check_layer_sizes(self.hidden_layer_sizes),
            self._latent_units(n_features),
            check_layer_sizes(self.discriminator_layer_sizes, "discriminator_layer_sizes"),
            self.activation,
            self.output_activation,
            self.inference != "search",
            generators,
            self.device_,
        )

    def _train(
        self, data: torch.Tensor, seeds: IntArray, on_iteration: Callable[[Record], object]
    ) -> None:
        self._warn_of_reach(data)
        warn_of_too_few(self.max_samples, len(data))
        # Kept, because scoring goes by what was fitted and not by what is set later.
        self._lam, self._n_search_iter = float(self.lam), int(self.n_search_iter)
        self._searches = self.inference != "encoder"
        generators = member_generators(seeds)
        self.network_ = self._new_network(data.shape[1], generators)
        rows = self._member_data(data, generators, free=self.output_activation == "identity")
        options: dict[str, Any] = {
            "batch_size": self._rows_a_batch(rows.shape[1]),
            "lr": self.lr,
            "generators": generators,
            "on_iteration": on_iteration,
        }
        # Two trainings, one after the other. Where the first goes on, the second begins anew.
        state, keep = self._resuming().values()
        of_gan, of_encoder = (None, None) if state is None else (state["gan"], state["encoder"])
        if of_gan is not None and len(of_gan["history"]) < self.n_epochs:
            of_encoder = None

        def keep_gan(make: Callable[[], dict[str, Any]]) -> None:
            nonlocal of_gan
            of_gan = made = make()  # now, because what follows changes the networks
            keep(lambda: {"gan": made, "encoder": None})

        self.history_ = train_adversarial(
            self.network_,
            rows,
            n_epochs=self.n_epochs,
            state=of_gan,
            on_state=keep and keep_gan,
            **options,
        )
        self._warn_of_collapse(rows[0], generators)
        self.encoder_history_ = []
        if self.network_.encoder is not None:
            self.encoder_history_ = train_encoder(
                self.network_,
                rows,
                n_epochs=self.n_encoder_epochs,
                state=of_encoder,
                on_state=keep and (lambda make: keep(lambda: {"gan": of_gan, "encoder": make()})),
                **options,
            )

    def _check_length(self, state: dict[str, Any]) -> None:
        self._check_one_length("n_epochs", state["gan"])
        if state["encoder"] is not None:
            self._check_one_length("n_encoder_epochs", state["encoder"])

    def _rounds_of(self, state: dict[str, Any]) -> int:
        n_done = len(state["gan"]["history"])
        if state["encoder"] is not None and n_done >= self.n_epochs:
            n_done += len(state["encoder"]["history"])
        return n_done

    def _warn_of_collapse(self, data: torch.Tensor, generators: list[torch.Generator]) -> None:
        z = normal(generators, data.new_empty(len(generators), _N_SPREAD, self._code_size))
        made = self.network_.generator(z).std(dim=1).norm(dim=-1)  # shape: (K,)
        spread = data.std(dim=0, correction=0).norm()
        if spread < 1e-6:  # constant data, up to rounding errors
            return
        for n, what in (
            (int((made < _COLLAPSED * spread).sum()), "collapsed: all rows it makes are alike"),
            (int((made > _DIVERGED * spread).sum()), "diverged: its rows are far from the data"),
        ):
            if n:
                warnings.warn(
                    f"The generator of {n} of {len(generators)} members {what}. Lower lr (now "
                    f"{self.lr!r}), change n_epochs or batch_size, or try another random_state. "
                    "history_ shows the losses.",
                    ConvergenceWarning,
                    stacklevel=outside(),
                )

    # ------------------------------------------------------------------------------- scoring

    def _found(self, rows: torch.Tensor, workspace: Workspace) -> tuple[Mismatch, torch.Tensor]:
        """Find codes: the mismatch to rows (n, d), and z of shape (K, n, latent_dim)."""
        shown = self._shown(rows)
        mismatch = Mismatch(self.network_, self._in_units(rows), shown, self._lam, workspace)
        if self.network_.encoder is None:
            z = rows.new_zeros(*shown.shape[:2], self._code_size)
        else:
            z = self._encode(shown, workspace)
        return mismatch, search(mismatch, z, self._n_search_iter) if self._searches else z

    def _encode(self, shown: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        # Called only where there is an encoder.
        return self.network_.encoder(shown, workspace.part("encoder"))  # type: ignore[misc]

    def _map_tensor(self, function: RowFunction, data: torch.Tensor) -> FloatArray:
        if not (self.verbose and self._searches):
            return super()._map_tensor(function, data)
        lock = threading.Lock()  # chunks are searched side by side
        with tqdm(total=len(data), desc="search", unit="row") as bar:

            def shown(rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
                found = function(rows, workspace)
                with lock:
                    if function == self._member_scores:
                        bar.set_postfix(score=f"{found.mean():.3g}")
                    bar.update(min(len(rows), bar.total - bar.n))  # the last chunk is filled up
                return found

            return super()._map_tensor(shown, data)

    def _member_scores(self, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        mismatch, z = self._found(rows, workspace)
        return mismatch.objective(*mismatch.at(z))

    def _member_shares(self, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        mismatch, z = self._found(rows, workspace)
        residual, by_feature = mismatch.at(z)
        score = mismatch.objective(residual, by_feature)
        # Where there is no residual there is no score either.
        share = residual.abs_().add_(torch.finfo(residual.dtype).tiny)
        share.div_(share.amax(dim=-1, keepdim=True))
        return share.mul_((score / share.sum(dim=-1))[..., None])

    def _member_score_parts(self, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        mismatch, z = self._found(rows, workspace)
        residual, by_feature = mismatch.at(z)
        parts = [
            (1 - self._lam) * residual.abs_().sum(dim=-1),
            self._lam * by_feature.abs_().sum(dim=-1),
        ]
        return torch.stack(parts, dim=-1)

    def score_parts(self, X: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Return the two parts of each row's score.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        residual : ndarray of shape (n_samples,)
            (1 − λ)‖x − G(z)‖₁.
        discrimination : ndarray of shape (n_samples,)
            λ‖f(x) − f(G(z))‖₁. The two add up to ``decision_function``, within the rounding of
            single precision.
        """
        return self._two_parts(X)

    # ------------------------------------------------------------------------------- codes

    def _member_codes(self, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        if self._searches:
            return self._found(rows, workspace)[1]
        return self._encode(self._shown(rows), workspace)

    def _member_decode(self, codes: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        return self.network_.generator(codes).mul_(self._level)
