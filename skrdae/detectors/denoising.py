"""DenoisingDetector: how far a network that removes noise moves a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, replace
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from skrdae._random import member_generators
from skrdae._schema import Check
from skrdae._typing import Record, Scaling
from skrdae._validation import check_layer_sizes
from skrdae.detectors.base import Learnt, Task
from skrdae.detectors.epochs import EpochsDetector
from skrdae.detectors.samples import rows_a_batch, warn_of_too_few
from skrdae.detectors.streaming import Stream, partial_fit, train_epochs
from skrdae.networks.denoiser import MemberDenoiser
from skrdae.objectives.denoising import Denoising, averaged
from skrdae.registry import detector
from skrdae.scorers.denoising import DenoisingScorer
from skrdae.training.rounds import run
from skrdae.training.schemas import denoising_state
from skrdae.training.trainer import Epochs, Trainer

# Of a batch, by default: with noise of its own each time, few rows are worth many steps.
_LEAST_ROWS = 8


@detector
class DenoisingDetector(EpochsDetector):
    r"""Denoising network with several noise levels, for training data that are clean.

    A network D is told how large the noise is that was added to a row, and learns to remove it:

    .. math:: E\,\|D(x + \sigma\varepsilon, \sigma) - x\|^2 / \sigma^2

    is minimised, where ε is standard normal and σ one of `noise_levels`. It moves a row to where
    rows like it are: :math:`D(x, \sigma) - x` is σ² times the gradient of the log-density of the
    data with noise of size σ. The score of a row is how far it is moved,

    .. math:: \max_\sigma \|D(x, \sigma) - x\| / s_\sigma,

    where :math:`s_\sigma` is the median of the training rows. So rows that break the
    structure of the data score high as well as rows far from all others.

    The detector is for data without anomalies, fitted to ordinary rows to score new ones, like
    scikit-learn's ``LocalOutlierFactor(novelty=True)``. Its training is long, and learns what is
    rare. If X holds anomalies, use :class:`RobustDeepAutoencoder`.

    Parameters
    ----------
    noise_levels : sequence of float, default=(0.1, 0.3, 1.0)
        The sizes σ of the noise, in units of the scaled columns. Small ones look at the closest
        surroundings of a row, large ones at the shape of the data as a whole.
    hidden_layer_sizes : sequence of int, default=(256, 256, 256)
        Units of the hidden layers, whose activation is SiLU.
    n_epochs : int, default=50
        Number of passes over the data.
    batch_size : int or "auto", default="auto"
        Largest number of rows in a gradient step; batches are of equal size within one row.
        ``"auto"`` is n / 24, but at least 8 and at most 128, where n is the number of rows a
        member is trained on.
    lr : float, default=1e-3
        Learning rate of Adam.
    n_estimators : int, default=1
        Number of members of the ensemble, which are trained together; they differ in seed and rows.
        Their scores are brought to one scale and averaged.
    max_samples : int, float, "auto" or None, default=None
        Rows each member is trained on, drawn without replacement: a number, a share,
        ``"auto"`` for min(256, n_samples), or ``None`` for all rows, but 10,000 at most.
    scaler : {"robust", "standard", "minmax"} or None, default="standard"
        Scaling of the columns inside the detector, see
        :class:`~skrdae.preprocessing.ColumnScaler`.
    contamination : float, PeaksOverThreshold or pythresh object, default=0.1
        How rows are flagged. A float is the share of the training rows to flag, in (0, 0.5]: of
        clean data, the share of false alarms. :class:`~skrdae.thresholds.PeaksOverThreshold` or a
        pythresh object sets the threshold; a copy of it is fitted. A network is better at the rows
        that it has seen, so more new rows are flagged than this; :class:`CalibratedDetector`
        flags new rows at the share asked for.
    device : str or torch.device, default="auto"
        ``"auto"`` takes the first that is available of CUDA, MPS and the CPU.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial weights, the order of the rows and the noise. Pass an int for
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
        Scores of the training data, in multiples of how far an ordinary row is moved.
    threshold_ : float
        Rows with a higher score are flagged.
    labels_ : ndarray of shape (n_samples,)
        1 for the training rows that are flagged, 0 for the others.
    history_ : list of dict
        One dict for each epoch; see :class:`~skrdae.history.DenoisingRecord`.
    model_ : FittedModel
        What scoring needs, see :class:`~skrdae.model.FittedModel`; the next three are its parts.
    network_ : MemberDenoiser
        The networks, with their weights averaged over the last tenth or so of the training; the
        weights have the member axis first.
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
    ``transform`` gives the scaled rows from which each member has removed noise of the smallest
    size, ``inverse_transform`` of them the rows in the units of X, averaged over the members.

    Where the density has a maximum or a minimum, as midway between two equal clusters, its gradient
    vanishes, and so does the score at that level.

    ``explain`` splits the score by the squares of the entries of D(x, σ) − x at the level σ that
    decides.

    With ``scaler=None`` or ``"minmax"`` the data are divided by their mean scale for the network,
    so that σ has the same meaning.

    References
    ----------
    Mahmood, A., J. Oliva and M. Styner, Multiscale Score Matching for Out-of-Distribution
    Detection, ICLR 2021. Vincent, P., A Connection Between Score Matching and Denoising
    Autoencoders, Neural Computation 23(7), 2011. Livernoche, V. et al., On Diffusion Modeling for
    Anomaly Detection, ICLR 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from skrdae import DenoisingDetector
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 1)) + 0.1 * rng.normal(size=(500, 4))  # four sensors agree
    >>> detector = DenoisingDetector(contamination=0.01, random_state=0).fit(X)
    >>> new = [[0.5, 0.5, 0.6, 0.5], [0.5, 0.5, -0.5, 0.5], [-1.0, -1.1, -0.9, -1.0]]
    >>> detector.predict(new).tolist()
    [0, 1, 0]
    >>> int(detector.explain(new)[1].argmax())  # the sensor that disagrees
    2
    """

    if TYPE_CHECKING:
        n_samples_seen_: int = field(init=False)

    noise_levels: Sequence[float] = (0.1, 0.3, 1.0)
    hidden_layer_sizes: Sequence[int] = (256, 256, 256)
    n_epochs: int = 50
    n_estimators: int = 1
    scaler: Scaling = "standard"

    _parameter_constraints = {
        **EpochsDetector._parameter_constraints,
        "noise_levels": "no_validation",  # by _checked_levels
    }
    #: What the rows of the history are numbered by.
    _history_counter = "epoch"

    partial_fit = partial_fit

    # ------------------------------------------------------------------------------ training

    def _check_parameters(self) -> None:
        super()._check_parameters()
        n_levels = len(_checked_levels(self.noise_levels))
        if self.batch_size != "auto" and self.batch_size < n_levels:
            raise ValueError(
                f"batch_size must be at least {n_levels}, the number of noise_levels, which the "
                f"rows of a batch take in turn; got {self.batch_size!r}."
            )

    def _new_network(
        self, n_features: int, generators: Sequence[torch.Generator], device: torch.device
    ) -> MemberDenoiser:
        sizes = check_layer_sizes(self.hidden_layer_sizes)
        return MemberDenoiser(n_features, sizes, generators, device)

    def _trainer(self, network: MemberDenoiser, n_rows: int, generators: Any) -> Trainer:
        levels = network.weights[0].new_tensor(_checked_levels(self.noise_levels))
        return Trainer(
            network,
            Denoising(network, levels),
            lr=self.lr,
            batch_size=rows_a_batch(self.batch_size, n_rows, _LEAST_ROWS),
            generators=generators,
        )

    def _learn(self, task: Task) -> Learnt:
        warn_of_too_few(self.max_samples, len(task.rows))
        generators = member_generators(task.seeds)
        network = self._new_network(task.rows.shape[1], generators, task.rows.device)
        rows, level = self._member_rows(task, generators, unit_scale=True)
        trainer = self._trainer(network, rows.shape[1], generators)
        training = Epochs(trainer, rows)
        run(training, self.n_epochs, task.session)
        trainer.release()
        learnt = averaged(network, trainer.objective.tensors()[:-1])
        return self._scored(task, learnt, level, training.history)

    def _scored(
        self, task: Task, network: MemberDenoiser, level: float, history: list[Record]
    ) -> Learnt:
        levels = _checked_levels(self.noise_levels)
        ones = network.weights[0].new_ones(network.n_members, 1, len(levels))
        scorer = DenoisingScorer(task.scaler.bound_, level, levels, ones)
        scorer = replace(scorer, scale=scorer.measured(network, task.rows))
        return Learnt(network, scorer, {"history_": history})

    def _state_check(self, network: Any) -> Check:
        return denoising_state(network)

    # ------------------------------------------------------------------------------ streaming

    def _can_stream(self) -> bool:
        return True

    def _train_chunk(self, task: Task, stream: Stream) -> list[Record]:
        before: Any = None if stream.extra is None else self.model_.scorer
        level = None if before is None else before.level
        return train_epochs(self, task, stream, unit_scale=True, level=level)

    def _settled(self, task: Task, stream: Stream) -> Learnt:
        network = stream.network
        averages = stream.extra["tensors"][len(list(network.parameters())) : -1]
        return self._scored(task, averaged(network, averages), stream.level, stream.history)


# Beyond these, squares of numbers of that size leave single precision.
_LEAST, _MOST = 1e-6, 1e6


def _checked_levels(levels: Any) -> tuple[float, ...]:
    """Return noise levels as a tuple of floats, or raise a TypeError or ValueError."""
    advice = "noise_levels must be a sequence of numbers such as (0.1, 0.3, 1.0)"
    # Not by NumPy, which makes no array of sequences of different length.
    one_axis = isinstance(levels, Sequence) or np.ndim(levels) == 1
    if isinstance(levels, str | bytes) or not one_axis or not len(levels):
        raise TypeError(f"{advice}; got {levels!r}.")
    if not all(isinstance(s, Real) and not isinstance(s, bool | np.bool_) for s in levels):
        raise TypeError(f"{advice}; got {levels!r}.")
    found = tuple(float(s) for s in levels)
    if not all(_LEAST <= s <= _MOST for s in found):
        raise ValueError(f"{advice}, each from {_LEAST:g} to {_MOST:g}; got {levels!r}.")
    return found
