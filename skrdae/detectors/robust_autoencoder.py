"""RobustDeepAutoencoder: X = L + S with a deep autoencoder for L and a sparse S."""

import warnings
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions

from skrdae._random import member_generators
from skrdae._validation import check_layer_sizes
from skrdae.detectors.base import BaseTorchDetector
from skrdae.detectors.encoding import EncoderMixin, code_size
from skrdae.networks.mlp import ACTIVATIONS, MemberAutoencoder
from skrdae.penalties import PENALTIES
from skrdae.training.alternating import alternate

# Alternations between prox and network in `decompose`. S settles geometrically; ten leave
# changes far below the noise of any training.
_DECOMPOSE_ITER = 10


class RobustDeepAutoencoder(EncoderMixin, BaseTorchDetector):
    r"""Robust deep autoencoder: X = L + S, deep low-rank part plus sparse anomalies.

    Solves

    .. math:: \min_{\theta, S} \|L - D(E(L))\|_F^2 + \lambda\,\Omega(S)
              \quad\text{subject to}\quad X = L + S

    by turns: the autoencoder D(E(·)) is trained on L = X − S, then S becomes the prox of
    X − D(E(L)). What the network cannot explain by more than λ moves to S, and so stops
    teaching the network.

    A *larger* λ makes S sparser and finds *fewer* anomalies; ``lam=inf`` keeps S at zero and is
    the plain autoencoder.

    Parameters
    ----------
    lam : float or "auto", default="auto"
        λ ≥ 0, the threshold of the prox, in units of the scaled data. ``"auto"`` sets it anew in
        each iteration so that a share `contamination` of the groups (rows for ``"l21"``, entries
        for ``"l1"``, columns for ``"l21_features"``) has a non-zero S; the value reached is
        ``lam_``. With several members their shares lie between half and twice that, evenly on a
        logarithmic scale, and none above one half.
    penalty : {"l21", "l1", "l21_features"}, default="l21"
        Ω. ``"l21"`` sums the norms of rows (whole samples are anomalous), ``"l1"`` absolute values
        (single entries), ``"l21_features"`` the norms of columns (whole features).
    hidden_layer_sizes : sequence of int or "auto", default="auto"
        Units of the encoder's layers, bottleneck last; the decoder mirrors them. ``"auto"`` is
        (64, √n_features), the bottleneck rounded and at least 2.
    activation : {"tanh", "relu", "sigmoid", "identity"}, default="tanh"
        Of the hidden layers.
    output_activation : {"identity", "sigmoid", "tanh", "relu"}, default="identity"
        Of the last layer; ``"sigmoid"`` suits data in [0, 1].
    max_iter : int, default=4
        Outer iterations, each `n_epochs` of training and a prox. Few, by default: a network
        trained for long on contaminated data learns the anomalies too.
    n_epochs : int, default=1
        Passes over the data within an outer iteration.
    batch_size : int or "auto", default="auto"
        Rows a gradient step, at most: they are dealt out evenly. ``"auto"`` is a 24th of the rows
        a member is trained on, but from 32 to 256.
    lr : float, default=1e-3
        Learning rate of Adam.
    tol : float or None, default=None
        Stop when, relative to ‖X‖_F, what neither L nor S explains, or the change of
        D(E(L)) + S in an iteration, is below `tol`; a ``ConvergenceWarning`` says when `max_iter`
        came first. ``None`` makes `max_iter` iterations.
    n_estimators : int, default=8
        Members of the ensemble, trained together; they differ in seed, rows and λ. Scores are
        brought to one scale and averaged.
    max_samples : int, float or "auto", default=1.0
        Rows each member is trained on, drawn without replacement: a number, a share, or
        ``"auto"`` for min(256, n_samples), as in ``IsolationForest``. ``n_estimators=1`` with 1.0
        is the published method.
    scaler : {"robust", "standard", "minmax"} or None, default="robust"
        Scaling of the columns inside the detector, see
        :class:`~skrdae.preprocessing.ColumnScaler`.
    contamination : float, "auto" or pythresh object, default=0.1
        What the threshold is made from. A share in (0, 0.5] of the training rows; or ``"auto"``:
        a row is flagged exactly where the prox leaves a part of its S non-zero (in more than
        half of the members); or an object of pythresh, of which a copy is fitted. With
        ``lam="auto"`` it also sets λ; anything but a float counts as 0.1 there. ``"auto"`` is
        meant for ``"l21"``: with ``"l1"`` one entry is enough to flag its row, and with
        ``"l21_features"`` one column is enough to flag every row.
    store_decomposition : bool, default=False
        Keep the decomposition of the training data in ``low_rank_`` and ``sparse_``.
    device : str or torch.device, default="auto"
        ``"auto"`` is CUDA, then MPS, then the CPU, whichever is there first.
    random_state : int, RandomState instance or None, default=None
        Initial weights, order of the rows and the members' samples. Global random state is
        neither read nor changed; ``None`` takes fresh entropy.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    decision_scores_ : ndarray of shape (n_samples,)
        Scores of the training data, in units of a residual of the scaled data.
    threshold_ : float
        Rows that score above are flagged (with ``contamination="auto"`` and one ``"l21"`` member
        it is ``lam_``; with several members they vote, and it is the nearest such score).
    labels_ : ndarray of shape (n_samples,)
        1 for the training rows that are flagged, 0 for the others.
    lam_ : float, or ndarray of shape (n_estimators,) with several members
        λ at the last iteration.
    n_iter_ : int
        Outer iterations made.
    history_ : list of dict
        An outer iteration each; see :class:`~skrdae.training.history.IterationRecord`.
    network_ : MemberAutoencoder
        The trained networks; their weights have the member axis first.
    scaler_ : ColumnScaler
    device_ : torch.device
    thresholder_ : object
        The fitted copy, where `contamination` is a pythresh object.
    low_rank_, sparse_ : ndarray of shape (n_samples, n_features)
        ``decompose`` of the training data, with ``store_decomposition=True``.
    classes_ : ndarray of shape (2,)
        0 and 1, what the columns of ``predict_proba`` stand for.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Where X has names that are all strings.

    Notes
    -----
    Training holds three float32 matrices of the size of the rows trained on, for each member.

    ``transform`` encodes the cleaned rows: the codes are those of L, not of X.

    The score of a row is Ω of its residual alone: the norm ‖x − D(E(x))‖ for ``"l21"``, the sum
    of absolute values for the other two.

    References
    ----------
    C. Zhou and R. C. Paffenroth, Anomaly Detection with Robust Deep Autoencoders, KDD 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from skrdae import RobustDeepAutoencoder
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 2)) @ rng.normal(size=(2, 6))  # on a plane
    >>> X[:5] += rng.normal(scale=8, size=(5, 6))  # five rows off it
    >>> detector = RobustDeepAutoencoder(contamination=0.025, random_state=0).fit(X)
    >>> np.flatnonzero(detector.labels_).tolist()
    [0, 1, 2, 3, 4]
    """

    _parameter_constraints = {
        **BaseTorchDetector._parameter_constraints,
        "contamination": [
            *BaseTorchDetector._parameter_constraints["contamination"],
            StrOptions({"auto"}),
        ],
        "lam": [Interval(Real, 0, None, closed="both"), StrOptions({"auto"})],
        "penalty": [StrOptions(set(PENALTIES))],
        "hidden_layer_sizes": "no_validation",  # by check_layer_sizes, which says more
        "activation": [StrOptions(set(ACTIVATIONS))],
        "output_activation": [StrOptions(set(ACTIVATIONS))],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "n_epochs": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left"), None],
        "max_samples": [
            Interval(Integral, 1, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="right"),
            StrOptions({"auto"}),
        ],
        "store_decomposition": ["boolean"],
    }
    _boolean_parameters = (*BaseTorchDetector._boolean_parameters, "store_decomposition")

    def __init__(
        self,
        lam="auto",
        *,
        penalty="l21",
        hidden_layer_sizes="auto",
        activation="tanh",
        output_activation="identity",
        max_iter=4,
        n_epochs=1,
        batch_size="auto",
        lr=1e-3,
        tol=None,
        n_estimators=8,
        max_samples=1.0,
        scaler="robust",
        contamination=0.1,
        store_decomposition=False,
        device="auto",
        random_state=None,
        verbose=0,
    ):
        self.lam = lam
        self.penalty = penalty
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.output_activation = output_activation
        self.max_iter = max_iter
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.tol = tol
        self.n_estimators = n_estimators
        self.max_samples = max_samples
        self.scaler = scaler
        self.contamination = contamination
        self.store_decomposition = store_decomposition
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    # ------------------------------------------------------------------------------ training

    @property
    def _n_rounds(self):
        return self.max_iter

    def _train(self, data, seeds, on_iteration):
        self._warn_of_reach(data)
        n_samples = len(data)
        if isinstance(self.max_samples, Integral) and self.max_samples > n_samples:
            warnings.warn(
                f"max_samples ({self.max_samples}) is greater than the number of samples "
                f"({n_samples}); every member is trained on all of them.",
                UserWarning,
                stacklevel=5,
            )
        generators = member_generators(seeds)
        self.network_ = self._new_network(data.shape[1], generators)
        rows = self._member_rows(data, generators)
        lam, quantile = self._thresholds()
        result = alternate(
            self.network_,
            rows,
            PENALTIES[self.penalty],
            lam=lam,
            quantile=quantile,
            generators=generators,
            on_iteration=on_iteration,
            **self._schedule(rows.shape[1]),
        )
        if not result.converged:
            warnings.warn(
                f"{self.max_iter} iterations did not bring the members below tol={self.tol!r}: "
                "raise max_iter, n_epochs or tol. history_ shows how far they came.",
                ConvergenceWarning,
                stacklevel=5,
            )
        self._freeze(self.network_, result.lam, result.norms)
        self.n_iter_, self.history_ = result.n_iter, result.history

    def _new_network(self, n_features, generators):
        return MemberAutoencoder(
            n_features,
            self._layer_sizes(n_features),
            self.activation,
            self.output_activation,
            generators,
            self.device_,
        )

    def _schedule(self, n_rows):
        """How members are trained on so many rows each."""
        return {
            "bound": self.scaler_.bound_,
            "max_iter": self.max_iter,
            "n_epochs": self.n_epochs,
            "batch_size": self._rows_a_batch(n_rows),
            "lr": self.lr,
            "tol": self.tol,
        }

    def _freeze(self, network, lam, norms):
        """Keep what scoring needs: the networks, their λ and the norms of groups over rows."""
        self.network_, self._lam, self._norms = network, lam, norms
        self.lam_ = lam.item() if len(lam) == 1 else lam.cpu().numpy()
        self._penalty = PENALTIES[self.penalty]

    def _check_parameters(self):
        super()._check_parameters()
        if not self._automatic_sizes():
            check_layer_sizes(self.hidden_layer_sizes)

    def _automatic_sizes(self):
        return isinstance(self.hidden_layer_sizes, str) and self.hidden_layer_sizes == "auto"

    def _layer_sizes(self, n_features):
        if self._automatic_sizes():
            return 64, code_size(n_features)
        return check_layer_sizes(self.hidden_layer_sizes)

    def _thresholds(self):
        """Return each member's λ and None, or None and each member's quantile."""
        k = self.n_estimators
        if self.lam != "auto":
            return [float(self.lam)] * k, None
        share = float(self.contamination) if isinstance(self.contamination, Real) else 0.1
        shares = [share] if k == 1 else share * np.geomspace(0.5, 2, k)
        return None, [1 - min(float(s), 0.5) for s in shares]

    def _member_rows(self, data, generators):
        """Return the rows each member is trained on: (n, d) → (K, m, d)."""
        n_samples = len(data)
        if self.max_samples == "auto":
            n_rows = min(256, n_samples)
        elif isinstance(self.max_samples, Integral):
            n_rows = int(self.max_samples)
        else:
            n_rows = max(1, int(self.max_samples * n_samples))
        if n_rows >= n_samples:
            return data.expand(len(generators), -1, -1)
        rows = [torch.randperm(n_samples, generator=g, device="cpu")[:n_rows] for g in generators]
        return data[torch.stack(rows).to(data.device)]

    def _conclude(self, X):
        if self.store_decomposition:
            self.low_rank_, self.sparse_ = self.decompose(X)

    # ------------------------------------------------------------------------------- scoring

    def _residual(self, rows, low_rank, workspace):
        """X − D(E(L)) of every member: (n, d), and (K, n, d) or (n, d) → (K, n, d)."""
        shown = self._clip(low_rank).expand(self.network_.n_members, *rows.shape)
        out = workspace.take("residual", *shown.shape)
        return torch.sub(rows, self.network_(shown, workspace), out=out)

    def _member_scores(self, rows, workspace):
        return self._penalty.row_values(self._residual(rows, rows, workspace))

    def _member_shares(self, rows, workspace):
        return self._penalty.row_shares(self._residual(rows, rows, workspace))

    def _prox(self, residual):
        lam = self._lam.to(residual.device)
        norms = None if self._norms is None else self._norms.to(residual.device)
        return self._penalty.prox(residual, lam, norms)

    def _member_votes(self, rows, workspace):
        sparse = self._prox(self._residual(rows, rows, workspace))
        return (sparse != 0).any(dim=-1).to(rows.dtype)

    def _vote_threshold(self):
        # One member's ℓ2,1 prox compares the score itself with λ.
        if self.penalty == "l21" and self.n_estimators == 1:
            return self.lam_
        return super()._vote_threshold()

    def _member_sparse(self, rows, workspace):
        """S of every member with the network as it is: (n, d) → (K, n, d)."""
        sparse = self._prox(self._residual(rows, rows, workspace))
        for _ in range(_DECOMPOSE_ITER - 1):
            again = self._prox(self._residual(rows, rows - sparse, workspace))
            # A row whose cleaned version the network explains within λ would go back to S = 0
            # and from there to where it was, for ever: it keeps the S it has.
            vanished = (again == 0).all(dim=-1, keepdim=True)
            sparse = torch.where(vanished, sparse, again)
        return sparse

    def decompose(self, X):
        """Split data into what the network explains and what is sparse, X = L + S.

        With the network frozen, S starts at zero and is replaced by the prox of X − D(E(X − S))
        until it settles. For ``penalty="l21_features"`` columns are shrunk as in training.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        low_rank : ndarray of shape (n_samples, n_features)
            L, in X's own units; the members' mean.
        sparse : ndarray of shape (n_samples, n_features)
            S = X − L, exactly zero where no member's prox leaves anything.
        """
        X = self._validated(X)
        sparse = self._map(self._member_sparse, X).mean(axis=0) * self.scaler_.scale_
        return X - sparse, sparse

    def _member_codes(self, rows, workspace):
        cleaned = self._clip(rows - self._member_sparse(rows, workspace))
        return self.network_.encode(cleaned, workspace)

    def _member_decode(self, codes):
        return self.network_.decode(codes)

    @property
    def _code_size(self):
        return self.network_.weights[self.network_.n_encoder_layers - 1].shape[2]
