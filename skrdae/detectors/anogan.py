"""AnoGANDetector: how far a row is from the nearest one that a generator can make."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence
from dataclasses import field
from numbers import Integral, Real
from typing import Any, Literal, TypeAlias, get_args

import torch
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions
from tqdm.auto import tqdm

from skrdae._random import member_generators
from skrdae._schema import Check
from skrdae._typing import Activation, FloatArray, FloatRowsOrSparse
from skrdae._validation import check_layer_sizes, outside
from skrdae.detectors.base import Learnt, Task
from skrdae.detectors.generative import GenerativeDetector
from skrdae.detectors.samples import rows_a_batch, warn_of_reach, warn_of_too_few
from skrdae.model import FittedModel
from skrdae.networks.gan import MemberGAN
from skrdae.networks.mlp import ACTIVATIONS
from skrdae.objectives.adversarial import BidirectionalGAN, GeneratorInversion, HingeGAN
from skrdae.registry import detector
from skrdae.rows import Rows
from skrdae.scorers.base import NetworkFunction
from skrdae.scorers.mismatch import MismatchScorer
from skrdae.training.batches import normal
from skrdae.training.rounds import MakeState, Session, run
from skrdae.training.schemas import adversarial_state
from skrdae.training.trainer import Epochs, Trainer

#: How the code of a row is found.
Inference: TypeAlias = Literal["encoder", "search", "hybrid", "bidirectional"]

# A generator whose rows spread by less than this share of the data's has collapsed, and one whose
# rows spread by more than this multiple has diverged.
_COLLAPSED, _DIVERGED = 0.01, 10.0
_N_SPREAD = 256  # rows made to find that out


@detector
class AnoGANDetector(GenerativeDetector):
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
    inference : {"encoder", "search", "hybrid", "bidirectional"}, default="encoder"
        How z is found. ``"encoder"`` (f-AnoGAN) trains an encoder after G and D, and scores with
        one forward pass. ``"search"`` (AnoGAN) minimises the expression above over z for each row,
        starting from z = 0. ``"hybrid"`` starts the search from the encoder's z.
        ``"bidirectional"`` (EGBAD) trains the encoder E together with G: D tells pairs (x, E(x))
        from (G(z), z), and the score compares f(x, E(x)) with f(G(E(x)), E(x)).
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
        Number of passes over the data for the encoder, where it is trained after G and D.
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
    contamination : float, PeaksOverThreshold or pythresh object, default=0.1
        How rows are flagged. A float is the share of the training rows to flag, in (0, 0.5].
        :class:`~skrdae.thresholds.PeaksOverThreshold` or a pythresh object sets the threshold; a
        copy of it is fitted.
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
        :class:`~skrdae.history.AdversarialRecord`.
    encoder_history_ : list of dict
        Errors of the encoder, one dict for each epoch; see
        :class:`~skrdae.history.EncoderRecord`. Empty with ``inference="search"`` or
        ``"bidirectional"``.
    model_ : FittedModel
        What scoring needs, see :class:`~skrdae.model.FittedModel`; the next three are its parts.
    network_ : MemberGAN
        The trained networks; their weights have the member axis first.
    scaler_ : ColumnScaler
    device_ : torch.device
    thresholder_ : object
        The fitted copy of `contamination`. Only if that is an object.
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
    detection with generative adversarial networks, Medical Image Analysis 54, 2019. H. Zenati et
    al., Efficient GAN-Based Anomaly Detection, 2018. T. Miyato et al., Spectral Normalization for
    Generative Adversarial Networks, ICLR 2018.

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

    lam: float = field(default=0.1, kw_only=False)
    inference: Inference = "encoder"
    n_search_iter: int = 50
    discriminator_layer_sizes: Sequence[int] = (64, 32)
    output_activation: Activation = "identity"
    n_epochs: int = 50
    n_encoder_epochs: int = 20
    batch_size: int | Literal["auto"] = 256
    lr: float = 2e-3

    _parameter_constraints = {
        **GenerativeDetector._parameter_constraints,
        "lam": [Interval(Real, 0, 1, closed="both")],
        "inference": [StrOptions(set(get_args(Inference)))],
        "n_search_iter": [Interval(Integral, 1, None, closed="left")],
        "discriminator_layer_sizes": "no_validation",  # by check_layer_sizes, which says more
        "output_activation": [StrOptions(set(ACTIVATIONS))],
        "n_encoder_epochs": [Interval(Integral, 1, None, closed="left")],
    }
    _lengths = ("n_epochs", "n_encoder_epochs")

    # ------------------------------------------------------------------------------ training

    @property
    def _n_rounds(self) -> int:
        return self.n_epochs + (self.n_encoder_epochs if self._inverts else 0)

    @property
    def _inverts(self) -> bool:
        """Whether an encoder is trained for generator and discriminator as they are."""
        return self.inference in ("encoder", "hybrid")

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_layer_sizes(self.discriminator_layer_sizes, "discriminator_layer_sizes")

    def _new_network(
        self, n_features: int, generators: Sequence[torch.Generator], device: torch.device
    ) -> MemberGAN:
        return MemberGAN(
            n_features,
            check_layer_sizes(self.hidden_layer_sizes),
            self._latent_units(n_features),
            check_layer_sizes(self.discriminator_layer_sizes, "discriminator_layer_sizes"),
            self.activation,
            self.output_activation,
            self.inference != "search",
            generators,
            device,
            joint=self.inference == "bidirectional",
        )

    def _learn(self, task: Task) -> Learnt:
        warn_of_reach(task.rows, self.output_activation, self.scaler)
        warn_of_too_few(self.max_samples, len(task.rows))
        generators = member_generators(task.seeds)
        network = self._new_network(task.rows.shape[1], generators, task.rows.device)
        unit_scale = self.output_activation == "identity"
        rows, level = self._member_rows(task, generators, unit_scale=unit_scale)
        options: dict[str, Any] = {
            "lr": self.lr,
            "batch_size": rows_a_batch(self.batch_size, rows.shape[1]),
            "generators": generators,
        }
        # Two trainings, one after the other. Where the first goes on, the second begins anew.
        state, tell, keep = task.session.state, task.session.tell, task.session.keep
        of_gan, of_encoder = (None, None) if state is None else (state["gan"], state["encoder"])
        if of_gan is not None and len(of_gan["history"]) < self.n_epochs:
            of_encoder = None

        def keep_gan(make: MakeState) -> None:
            nonlocal of_gan
            assert keep is not None
            of_gan = made = make()  # now, because what follows changes the networks
            keep(lambda: {"gan": made, "encoder": None})

        def keep_encoder(make: MakeState) -> None:
            assert keep is not None
            keep(lambda: {"gan": of_gan, "encoder": make()})

        objective = BidirectionalGAN(network) if network.joint else HingeGAN(network)
        gan = Epochs(Trainer(network, objective, **options), rows)
        run(gan, self.n_epochs, Session(tell, keep and keep_gan, of_gan))
        objective.spectral.finish()
        gan.trainer.release()
        self._warn_of_collapse(network, next(rows.parts(rows.shape[1]))[0], generators)
        encoder_history = []
        if self._inverts:
            training = Epochs(Trainer(network, GeneratorInversion(), **options), rows)
            run(training, self.n_encoder_epochs, Session(tell, keep and keep_encoder, of_encoder))
            training.trainer.release()
            encoder_history = training.history
        n_steps = int(self.n_search_iter) if self.inference in ("search", "hybrid") else 0
        scorer = MismatchScorer(task.scaler.bound_, level, float(self.lam), n_steps)
        found = {"history_": gan.history, "encoder_history_": encoder_history}
        return Learnt(network, scorer, found)

    def _warn_of_collapse(
        self, network: MemberGAN, data: torch.Tensor, generators: list[torch.Generator]
    ) -> None:
        z = normal(generators, data.new_empty(len(generators), _N_SPREAD, network.latent_dim))
        made = network.generator(z).std(dim=1).norm(dim=-1)  # shape: (K,)
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

    def _lengths_of(self, state: dict[str, Any]) -> dict[str, int]:
        n_epochs, encoder = len(state["gan"]["history"]), state["encoder"]
        begun = encoder is not None and n_epochs >= self.n_epochs
        n_encoder_epochs = len(encoder["history"]) if begun else 0
        return {"n_epochs": n_epochs, "n_encoder_epochs": n_encoder_epochs}

    def _state_check(self, network: Any) -> Check:
        return adversarial_state(network)

    # ------------------------------------------------------------------------------- scoring

    def _map(self, model: FittedModel, function: NetworkFunction, rows: Rows) -> FloatArray:
        scorer: Any = model.scorer
        if not (self.verbose and scorer.n_search_iter):
            return super()._map(model, function, rows)
        lock = threading.Lock()  # chunks are searched side by side
        with tqdm(total=len(rows), desc="search", unit="row") as bar:

            def on_chunk(found: torch.Tensor) -> None:
                with lock:
                    if function == scorer.scores:
                        bar.set_postfix(score=f"{found.mean():.3g}")
                    bar.update(min(found.shape[1], bar.total - bar.n))  # the last is filled up

            return model.map(function, rows, on_chunk)

    def _average(self, function: NetworkFunction, X: FloatRowsOrSparse) -> FloatArray:
        return self.model_.weighted(self._members(function, X))

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
            λ‖f(x) − f(G(z))‖₁, of pairs with ``inference="bidirectional"``. The two add up to
            ``decision_function``, within the rounding of single precision.
        """
        return self._two_parts(X)
