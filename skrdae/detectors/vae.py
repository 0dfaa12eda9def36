"""VAEDetector: reconstruction error and divergence of a variational autoencoder."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions

from skrdae._random import member_generators
from skrdae._typing import (
    Activation,
    Callbacks,
    FloatArray,
    IntArray,
    MatrixLike,
    RandomStateLike,
    Record,
    Scaling,
    Thresholder,
)
from skrdae._validation import check_layer_sizes
from skrdae.detectors.base import BaseTorchDetector
from skrdae.detectors.encoding import GenerativeMixin
from skrdae.detectors.resuming import ResumingMixin
from skrdae.detectors.samples import (
    MAX_SAMPLES,
    member_places,
    rows_a_member,
    rows_to_look_at,
    warn_of_too_few,
)
from skrdae.detectors.streaming import Stream, StreamingMixin
from skrdae.networks.mlp import ACTIVATIONS, sigmoid_
from skrdae.networks.variational import (
    MemberVAE,
    bernoulli_error,
    gaussian_kl,
    gaussian_spread,
)
from skrdae.networks.workspace import Workspace
from skrdae.training.minibatch import normal
from skrdae.training.sparse import SparseRows, range_of
from skrdae.training.variational import noise_variance, train_variational

# How far min-max scaling in single precision may miss the ends of [0, 1].
_ROUNDING = 1e-5


class VAEDetector(StreamingMixin, ResumingMixin, GenerativeMixin, BaseTorchDetector):
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
    contamination : float or pythresh object, default=0.1
        How rows are flagged. A float is the share of the training rows to flag, in (0, 0.5]. A
        pythresh object sets the threshold; a copy of it is fitted.
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
        One dict for each epoch; see :class:`~skrdae.training.history.VariationalRecord`.
    noise_variance_ : ndarray of shape (n_estimators, n_features)
        Variance of p(x|z), in units of the scaled data. Only with a Gaussian likelihood.
    network_ : MemberVAE
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

    noise_variance_: FloatArray
    network_: MemberVAE

    # Elsewhere there is no "auto"; _scaling says what it stands for.
    scaler: Scaling | Literal["auto"]  # type: ignore[assignment]

    _parameter_constraints = {
        **BaseTorchDetector._parameter_constraints,
        **ResumingMixin._parameter_constraints,
        "latent_dim": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "beta": [Interval(Real, 0, None, closed="left")],
        "likelihood": [StrOptions({"gaussian", "bernoulli"})],
        "n_samples": [Interval(Integral, 0, None, closed="left")],
        "hidden_layer_sizes": "no_validation",  # by check_layer_sizes, which says more
        "activation": [StrOptions(set(ACTIVATIONS))],
        "n_epochs": [Interval(Integral, 1, None, closed="left")],
        "max_samples": MAX_SAMPLES,
        "scaler": [*BaseTorchDetector._parameter_constraints["scaler"], StrOptions({"auto"})],
    }
    _boolean_parameters = (
        *BaseTorchDetector._boolean_parameters,
        *ResumingMixin._boolean_parameters,
    )
    _lengths = ("n_epochs",)

    def __init__(
        self,
        *,
        latent_dim: int | Literal["auto"] = "auto",
        beta: float = 1.0,
        likelihood: Literal["gaussian", "bernoulli"] = "gaussian",
        n_samples: int = 0,
        hidden_layer_sizes: Sequence[int] = (64,),
        activation: Activation = "tanh",
        n_epochs: int = 20,
        batch_size: int | Literal["auto"] = "auto",
        lr: float = 1e-3,
        n_estimators: int = 8,
        max_samples: float | Literal["auto"] | None = None,
        scaler: Scaling | Literal["auto"] = "auto",
        contamination: float | Thresholder = 0.1,
        device: str | torch.device = "auto",
        random_state: RandomStateLike = None,
        verbose: int = 0,
        callbacks: Callbacks = None,
        warm_start: bool = False,
        checkpoint_path: str | os.PathLike[str] | None = None,
    ) -> None:
        self.latent_dim = latent_dim
        self.beta = beta
        self.likelihood = likelihood
        self.n_samples = n_samples
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.n_epochs = n_epochs
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
        return self.n_epochs

    @property
    def _scaling(self) -> Scaling:
        if self.scaler != "auto":
            return self.scaler
        return "minmax" if self.likelihood == "bernoulli" else "robust"

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_layer_sizes(self.hidden_layer_sizes)

    def _new_network(self, n_features: int, generators: Sequence[torch.Generator]) -> MemberVAE:
        return MemberVAE(
            n_features,
            check_layer_sizes(self.hidden_layer_sizes),
            self._latent_units(n_features),
            self.activation,
            generators,
            self.device_,
        )

    def _train(
        self,
        data: torch.Tensor | SparseRows,
        seeds: IntArray,
        on_iteration: Callable[[Record], object],
    ) -> None:
        self._likelihood, self._beta = self.likelihood, float(self.beta)
        if self._likelihood == "bernoulli":
            self._check_unit_interval(data)
        warn_of_too_few(self.max_samples, len(data))
        n_rows = rows_a_member(self.max_samples, len(data))
        generators = member_generators(seeds)
        self.network_ = self._new_network(data.shape[1], generators)
        rows: torch.Tensor | list[SparseRows]
        # A Gaussian model is trained on data of unit scale, whatever the columns were scaled to:
        # learning rate, ε and the floor of the noise are made for that.
        if isinstance(data, SparseRows):
            places = member_places(n_rows, len(data), generators)
            rows = self._sparse_training_data(data).of_members(places, len(generators))
        else:
            rows = self._member_data(data, generators, free=self._likelihood == "gaussian")
        self.history_, variance = train_variational(
            self.network_,
            rows,
            likelihood=self.likelihood,
            beta=self._beta,
            n_epochs=self.n_epochs,
            batch_size=self._rows_a_batch(n_rows),
            lr=self.lr,
            generators=generators,
            noise_of_samples=self.n_samples > 0 or n_rows < len(data),
            on_iteration=on_iteration,
            **self._resuming(),
        )
        if n_rows < len(data) and self.n_samples == 0 and self._likelihood == "gaussian":
            variance = self._noise_of(data)
        self._keep_noise(variance)
        self._draw(generators)

    def _noise_of(self, data: torch.Tensor | SparseRows) -> torch.Tensor:
        """Estimate the noise from scaled rows of which each member has seen a part."""
        places = rows_to_look_at(len(data))
        if isinstance(data, SparseRows):
            some = self._sparse_training_data(data).of_members(places[None], 1)
            return noise_variance(self.network_, some * self.n_estimators)
        rows = self._in_units(self._clip(data[places.to(data.device)]))
        return noise_variance(self.network_, rows)

    def _keep_noise(self, variance: torch.Tensor) -> None:
        self._variance = variance
        if self._likelihood == "gaussian":
            found = variance[:, 0].cpu().numpy().astype(np.float64)
            self.noise_variance_ = found * self._level**2

    def _draw(self, generators: Sequence[torch.Generator]) -> None:
        # The same draws for every row, so that a row's score does not depend on its company.
        shape = self.n_estimators, self.n_samples, self.network_.latent_dim
        self._draws = normal(
            generators, torch.empty(shape, dtype=torch.float32, device=self.device_)
        )

    def _train_on(
        self, data: torch.Tensor, stream: Stream, on_iteration: Callable[[Record], object]
    ) -> list[Record]:
        if self.likelihood == "bernoulli":
            if stream.extra is not None and self.scaler_.method == "minmax":
                data = data.clamp(0, 1)  # beyond the range of the first chunk
            self._check_unit_interval(data)
        if stream.network is None:
            stream.network = self._new_network(data.shape[1], stream.generators)
        if stream.extra is None:
            self._likelihood, self._beta = self.likelihood, float(self.beta)
            rows = self._member_data(data, stream.generators, free=self._likelihood == "gaussian")
            self.__dict__.pop("_draws", None)  # of an earlier fit
        else:
            rows = self._member_data(data, stream.generators)
        n_so_far = rows_a_member(self.max_samples, stream.n_seen + len(data))
        states: list[dict[str, Any]] = []
        train_variational(
            stream.network,
            rows,
            likelihood=self._likelihood,
            beta=self._beta,
            n_epochs=self.n_epochs,
            batch_size=self._rows_a_batch(n_so_far),
            lr=self.lr,
            generators=stream.generators,
            noise_of_samples=True,
            on_iteration=on_iteration,
            state=stream.extra and stream.extra | {"history": []},
            on_state=lambda make: states.append(make()),
        )
        stream.extra = states[-1]
        return states[-1]["history"]

    def _settle(self, stream: Stream, remembered: torch.Tensor) -> None:
        self.network_ = stream.network
        variance = stream.extra["tensors"][-1].to(self.device_)
        if self._likelihood == "gaussian" and self.n_samples == 0:
            data = self._in_units(self._clip(remembered))
            variance = noise_variance(self.network_, data)
        self._keep_noise(variance)
        if not hasattr(self, "_draws"):
            self._draw(stream.generators)

    _accepts_sparse = True
    _history_counter = "epoch"

    def _sparse_training_data(self, data: SparseRows) -> SparseRows:
        if self._likelihood == "gaussian" and self.scaler_.method not in ("robust", "standard"):
            raise ValueError(
                "With a sparse X and likelihood='gaussian' scaler must be 'robust', 'standard' or "
                f"'auto'; got {self.scaler!r}."
            )
        self._level = 1.0
        return data.clipped(self.scaler_.bound_)

    def _check_unit_interval(self, data: torch.Tensor | SparseRows) -> None:
        low, high = range_of(data)
        if low < -_ROUNDING or high > 1 + _ROUNDING:
            raise ValueError(
                f"likelihood='bernoulli' needs data in [0, 1], but with scaler={self.scaler!r} "
                f"they reach from {low:.3g} to {high:.3g}. Either set scaler='minmax', or set "
                "likelihood='gaussian'."
            )

    # ------------------------------------------------------------------------------- scoring

    def _error_at(self, z: torch.Tensor, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        """−log p(x|z) of each entry, up to a constant: (K, n, latent_dim) → (K, n, d)."""
        decoded = self.network_.decode(z, workspace)
        if self._likelihood == "gaussian":
            error = torch.sub(self._in_units(rows), decoded, out=decoded)
            return error.square_().div_(2 * self._variance)
        inside = rows.clamp(0, 1)
        return bernoulli_error(decoded, inside).add_((rows - inside).square())

    def _member_parts(
        self, rows: torch.Tensor, workspace: Workspace
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Errors (K, n, d) and β × divergence (K, n) of rows; the score is their sum."""
        mean, log_variance = self.network_.encode(self._shown(rows), workspace)
        mean = mean.contiguous()
        n_samples = self._draws.shape[1]
        if n_samples == 0:
            divergence = gaussian_kl(mean, log_variance).sum(dim=-1).mul_(self._beta)
            return self._error_at(mean, rows, workspace), divergence
        spread, draws = gaussian_spread(log_variance), self._draws
        total: Any = 0.0
        for sample in range(n_samples):
            z = torch.addcmul(mean, spread, draws[:, sample : sample + 1])
            total = total + self._error_at(z, rows, workspace)
        return total / n_samples, mean.new_zeros(mean.shape[:2])

    def _member_scores(self, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        error, divergence = self._member_parts(rows, workspace)
        return error.sum(dim=-1).add_(divergence)

    def _member_shares(self, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        error, divergence = self._member_parts(rows, workspace)
        space = workspace.part("encoder")
        values = self.network_.encoder.values(self._shown(rows), space)
        mean, log_variance = self.network_.moments(values[-1])
        grad = torch.cat([mean, torch.expm1(log_variance).mul_(0.5)], dim=-1)
        grad = self.network_.encoder.backward_from(values, grad, None, space, to_input=True)
        # The divergence belongs to z. A feature's part in it is taken to first order.
        part = grad.mul_(values[0]).abs_().add_(torch.finfo(grad.dtype).tiny)
        part.div_(part.amax(dim=-1, keepdim=True))
        part.div_(part.sum(dim=-1, keepdim=True))
        return error.add_(part.mul_(divergence[..., None]))

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

    def _member_score_parts(self, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        error, divergence = self._member_parts(rows, workspace)
        return torch.stack([error.sum(dim=-1), divergence], dim=-1)

    # ------------------------------------------------------------------------- codes and samples

    def _member_codes(self, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        return self.network_.encode(self._shown(rows), workspace)[0]

    def _member_decode(self, codes: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        decoded = self.network_.decode(codes, workspace)
        return sigmoid_(decoded) if self._likelihood == "bernoulli" else decoded * self._level
