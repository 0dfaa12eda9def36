"""VAEDetector: reconstruction error and divergence of a variational autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, replace
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions

from skrdae._random import member_generators
from skrdae._schema import Check
from skrdae._typing import FloatArray, MatrixLike, Record, Scaling
from skrdae._validation import check_layer_sizes
from skrdae.detectors.base import Learnt, Task
from skrdae.detectors.generative import GenerativeDetector
from skrdae.detectors.samples import (
    rows_a_batch,
    rows_to_look_at,
    warn_of_too_few,
)
from skrdae.detectors.streaming import Stream, partial_fit, train_epochs
from skrdae.networks.variational import MemberVAE
from skrdae.objectives.elbo import EvidenceLowerBound, noise_variance
from skrdae.registry import detector
from skrdae.rows import HeldRows, Rows
from skrdae.scorers.generative import ElboScorer
from skrdae.training.batches import normal, same_generator
from skrdae.training.rounds import run
from skrdae.training.schemas import variational_state
from skrdae.training.trainer import Epochs, Trainer

# How far min-max scaling in single precision may miss the ends of [0, 1].
_ROUNDING = 1e-5


@detector
class VAEDetector(GenerativeDetector):
    r"""Variational autoencoder, scored by reconstruction error plus divergence from the prior.

    An encoder q(z|x) = N(μ, σ²) and a decoder p(x|z) are trained to maximise

    .. math:: E_{q(z|x)}[\log p(x|z)] - \beta\,KL(q(z|x) \| N(0, I)).

    The score of a row is its reconstruction error at z = μ plus β times its KL divergence, so a row
    gets a high score if it is badly reconstructed or if its code lies far from the prior. Scoring
    is deterministic.

    Parameters
    ----------
    latent_dim : int or "auto", default="auto"
        Number of dimensions of z. ``"auto"`` is √n_features, rounded and at least 2.
    beta : float, default=1.0
        Weight β ≥ 0 of the divergence, in training and in the score. With 1 the objective is the
        evidence lower bound; with 0 the model is an autoencoder with noise added to the code.
    likelihood : {"gaussian", "bernoulli"}, default="gaussian"
        The distribution p(x|z). ``"gaussian"`` estimates a noise variance for each feature; the
        error is Σ (x − x̂)² / (2 · variance). ``"bernoulli"`` is for data in [0, 1], such as pixels
        or flags; the error is the cross-entropy. The cross-entropy of a value between 0 and 1 is
        large however well it is reconstructed, so use ``"gaussian"`` for continuous data.
    n_samples : int, default=0
        0 scores at z = μ. A positive number scores by the Monte-Carlo reconstruction probability
        instead: −log p(x|z) averaged over that many draws from q(z|x), without the divergence. The
        draws are made once in ``fit``, so scoring stays deterministic. Anomalies that the decoder
        has learnt, because they are many and alike, stand out by their divergence only and are
        missed then.
    hidden_layer_sizes : sequence of int, default=(64,)
        Units of the encoder's hidden layers; the decoder mirrors them.
    activation : {"tanh", "relu", "sigmoid", "identity"}, default="tanh"
        Activation function of the hidden layers.
    n_epochs : int, default=20
        Number of passes over the data. With too many the network learns the anomalies. With a few
        hundred rows, or with data in [0, 1], whose gradients are small, use more.
    batch_size : int or "auto", default="auto"
        Largest number of rows in a gradient step; batches are of equal size within one row.
        ``"auto"`` is n / 24, but at least 32 and at most 128, where n is the number of rows a
        member is trained on.
    lr : float, default=1e-3
        Learning rate of Adam.
    n_estimators : int, default=8
        Number of members of the ensemble, which are trained together; they differ in seed and rows.
        Their scores are brought to one scale and averaged.
    max_samples : int, float, "auto" or None, default=None
        Rows each member is trained on, drawn without replacement: a number, a share,
        ``"auto"`` for min(256, n_samples), or ``None`` for all rows, but 10,000 at most.
    scaler : {"auto", "robust", "standard", "minmax"} or None, default="auto"
        Scaling of the columns inside the detector, see
        :class:`~skrdae.preprocessing.ColumnScaler`. ``"auto"`` is ``"robust"`` for a Gaussian
        likelihood and ``"minmax"`` for Bernoulli.
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
        Scores of the training data, in nats up to a constant.
    threshold_ : float
        Rows with a higher score are flagged.
    labels_ : ndarray of shape (n_samples,)
        1 for the training rows that are flagged, 0 for the others.
    history_ : list of dict
        One dict for each epoch; see :class:`~skrdae.history.VariationalRecord`.
    noise_variance_ : ndarray of shape (n_estimators, n_features)
        Variance of p(x|z), in units of the scaled data. Only with a Gaussian likelihood.
    model_ : FittedModel
        What scoring needs, see :class:`~skrdae.model.FittedModel`; the next three are its parts.
    network_ : MemberVAE
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
    The noise variances are maximum-likelihood estimates, that is the mean squared errors at z = μ
    (with ``n_samples > 0``, at the z drawn), but at least a hundredth of the mean variance of the
    columns.

    With a Bernoulli likelihood, a value outside [0, 1] is clipped to it, and the square of the
    excess is added to the error.

    References
    ----------
    Kingma, D. P. and M. Welling, Auto-Encoding Variational Bayes, ICLR 2014. J. An and S. Cho,
    Variational Autoencoder based Anomaly Detection using Reconstruction Probability, 2015.
    O. Rybkin et al., Simple and Effective VAE Training with Calibrated Decoders, ICML 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from skrdae import VAEDetector
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 2)) @ rng.normal(size=(2, 6))  # on a plane
    >>> X[:5] += rng.normal(scale=8, size=(5, 6))  # five rows off it
    >>> detector = VAEDetector(contamination=0.025, random_state=0).fit(X)
    >>> np.flatnonzero(detector.labels_).tolist()
    [0, 1, 2, 3, 4]
    """

    if TYPE_CHECKING:
        n_samples_seen_: int = field(init=False)

    beta: float = 1.0
    likelihood: Literal["gaussian", "bernoulli"] = "gaussian"
    n_samples: int = 0
    n_epochs: int = 20
    scaler: Scaling | Literal["auto"] = "auto"  # type: ignore[assignment]  # see _scaling

    _parameter_constraints = {
        **GenerativeDetector._parameter_constraints,
        "beta": [Interval(Real, 0, None, closed="left")],
        "likelihood": [StrOptions({"gaussian", "bernoulli"})],
        "n_samples": [Interval(Integral, 0, None, closed="left")],
        "scaler": [*GenerativeDetector._parameter_constraints["scaler"], StrOptions({"auto"})],
    }
    _accepts_sparse = True
    #: What the rows of the history are numbered by.
    _history_counter = "epoch"

    partial_fit = partial_fit

    # ------------------------------------------------------------------------------ training

    @property
    def _scaling(self) -> Scaling:
        if self.scaler != "auto":
            return self.scaler
        return "minmax" if self.likelihood == "bernoulli" else "robust"

    def _new_network(
        self, n_features: int, generators: Sequence[torch.Generator], device: torch.device
    ) -> MemberVAE:
        sizes, units = check_layer_sizes(self.hidden_layer_sizes), self._latent_units(n_features)
        return MemberVAE(n_features, sizes, units, self.activation, generators, device)

    def _trainer(self, network: MemberVAE, n_rows: int, generators: Any) -> Trainer:
        ones = torch.ones_like(network.decoder.biases[-1])  # shape: (K, 1, d)
        return Trainer(
            network,
            EvidenceLowerBound(self.likelihood, float(self.beta), ones),
            lr=self.lr,
            batch_size=rows_a_batch(self.batch_size, n_rows),
            generators=generators,
        )

    def _learn(self, task: Task) -> Learnt:
        gaussian = self.likelihood == "gaussian"
        if not gaussian:
            self._check_unit_interval(task.rows)
        elif task.rows.sparse:
            self._check_sparse(task.scaler.method)
        warn_of_too_few(self.max_samples, len(task.rows))
        generators = member_generators(task.seeds)
        n_features, device = task.rows.shape[1], task.rows.device
        network = self._new_network(n_features, generators, device)
        rows, level = self._member_rows(task, generators, unit_scale=gaussian)
        n_rows = rows.shape[1]
        trainer = self._trainer(network, n_rows, generators)
        training = Epochs(trainer, rows)
        run(training, self.n_epochs, task.session)
        trainer.release()
        variance = trainer.objective.tensors()[0]
        if gaussian and self.n_samples == 0:
            if n_rows < len(task.rows):  # of which each member has seen a part
                places = rows_to_look_at(len(task.rows))[None]
                rows = task.rows.of_members(places, 1, self._in_units(task, level))
            variance = noise_variance(network, rows)
        # Copies draw: the state of the training is that of its end.
        draws = self._draws([same_generator(g) for g in generators], network)
        return self._scored(task, network, level, variance, draws, training.history)

    def _in_units(self, task: Task, level: float) -> Any:
        scorer: Any = ElboScorer(task.scaler.bound_, level, "gaussian", 1.0, *[torch.zeros(0)] * 2)
        return lambda rows: scorer.in_units(scorer.clip(rows))

    def _draws(self, generators: Sequence[torch.Generator], network: MemberVAE) -> torch.Tensor:
        shape = self.n_estimators, self.n_samples, network.latent_dim
        return normal(generators, torch.empty(shape, dtype=torch.float32, device=network.device))

    def _scored(
        self,
        task: Task,
        network: MemberVAE,
        level: float,
        variance: torch.Tensor,
        draws: torch.Tensor,
        history: list[Record],
    ) -> Learnt:
        beta = float(self.beta)
        scorer = ElboScorer(task.scaler.bound_, level, self.likelihood, beta, variance, draws)
        attributes: dict[str, Any] = {"history_": history}
        if self.likelihood == "gaussian":
            found = variance[:, 0].cpu().numpy().astype(np.float64)
            attributes["noise_variance_"] = found * level**2
        return Learnt(network, scorer, attributes)

    def _check_sparse(self, scaling: Scaling) -> None:
        if scaling not in ("robust", "standard"):
            raise ValueError(
                "With a sparse X and likelihood='gaussian' scaler must be 'robust', 'standard' or "
                f"'auto'; got {self.scaler!r}."
            )

    def _check_unit_interval(self, rows: Rows) -> None:
        low, high = rows.range()
        if low < -_ROUNDING or high > 1 + _ROUNDING:
            raise ValueError(
                f"likelihood='bernoulli' needs data in [0, 1], but with scaler={self.scaler!r} "
                f"they reach from {low:.3g} to {high:.3g}. Either set scaler='minmax', or set "
                "likelihood='gaussian'."
            )

    def _state_check(self, network: Any) -> Check:
        return variational_state(network)

    # ------------------------------------------------------------------------------ streaming

    def _can_stream(self) -> bool:
        return True

    def _train_chunk(self, task: Task, stream: Stream) -> list[Record]:
        state, gaussian = stream.extra, self.likelihood == "gaussian"
        if not gaussian:
            if state is not None and task.scaler.method == "minmax":
                # Beyond the range of the first chunk.
                task = replace(task, rows=HeldRows(task.rows.take(slice(None)).clamp(0, 1)))
            self._check_unit_interval(task.rows)
        before: Any = None if state is None else self.model_.scorer
        level = None if before is None else before.level
        return train_epochs(self, task, stream, unit_scale=gaussian, level=level)

    def _settled(self, task: Task, stream: Stream) -> Learnt:
        network = stream.network
        variance = stream.extra["tensors"][-1].to(network.device)
        if self.likelihood == "gaussian" and self.n_samples == 0:
            change = self._in_units(task, stream.level)
            variance = noise_variance(network, task.rows.of_members(None, 1, change))
        first = "model_" not in vars(self)
        before: Any = None if first else self.model_.scorer
        draws = self._draws(stream.generators, network) if first else before.draws
        return self._scored(task, network, stream.level, variance, draws, stream.history)

    def score_parts(self, X: MatrixLike) -> tuple[FloatArray, FloatArray]:
        """Return the two parts of each row's score.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        reconstruction : ndarray of shape (n_samples,)
            Error of the reconstruction.
        divergence : ndarray of shape (n_samples,)
            β × KL; zero with ``n_samples > 0``. The two add up to ``decision_function``, within
            the rounding of single precision.
        """
        return self._two_parts(X)
