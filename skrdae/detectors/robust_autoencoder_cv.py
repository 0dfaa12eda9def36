"""RobustDeepAutoencoderCV: λ chosen by cross-validation, the whole path trained as one stack."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import field, replace
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils import Tags
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_consistent_length
from tqdm.auto import tqdm

from skrdae._device import plain_torch
from skrdae._random import member_generators, member_seeds
from skrdae._typing import (
    Activation,
    BoolArray,
    FloatArray,
    FloatRows,
    IntArray,
    MatrixLike,
    RandomStateLike,
)
from skrdae._validation import check_labels, refitting
from skrdae.detectors.base import Learnt, Task
from skrdae.detectors.decomposition import BaseDecomposition
from skrdae.detectors.device_memory import fits_in_memory
from skrdae.detectors.folds import Folds, Splitter, check_classes, folds_of
from skrdae.detectors.robust_autoencoder import RobustDeepAutoencoder
from skrdae.metrics import SCORERS, agreement
from skrdae.model import FittedModel
from skrdae.networks.mlp import MemberAutoencoder
from skrdae.penalties import PenaltyLike, penalty_of
from skrdae.registry import detector
from skrdae.rows import MemberRows, training_rows
from skrdae.scorers.residual_scale import rows_to_measure
from skrdae.training.alternating import alternate_path, plain_norms
from skrdae.training.rounds import Session
from skrdae.training.split import part_rows

#: What :class:`RobustDeepAutoencoderCV` takes as ``scoring``.
Scoring: TypeAlias = (
    Literal["roc_auc", "average_precision", "f1", "precision_at_n"] | Callable[..., float] | None
)
# What the matrices of the members trained at once may take: enough to fill a GPU, and on a CPU a
# bound on memory.
_STACK_BYTES = 2**28


@detector
class RobustDeepAutoencoderCV(BaseDecomposition):
    """Robust deep autoencoder with λ chosen by cross-validation.

    Every λ is trained on every fold and scored on the rows left out; the detector is then fitted to
    all data with the λ that scores best. The result is that of a ``GridSearchCV`` over ``lam`` with
    the same folds and `random_state`. It is faster, because all λ are trained together and the part
    of the training that does not depend on λ is done once.

    Once fitted, it is used like a :class:`RobustDeepAutoencoder`.

    Parameters
    ----------
    lams : int or array-like, default=20
        The λ to try. An int is how many: they are evenly spaced on a logarithmic scale from
        ``lam_max_``, which leaves S empty, down to the median norm of the groups. An array holds
        the values themselves, in increasing or decreasing order.
    cv : int, splitter, iterable or None, default=None
        The cross-validation folds. An int is the number of shuffled folds (``None`` means 5), which
        are drawn with `random_state` and stratified by y if `scoring` uses labels.
    scoring : str, callable or None, default=None
        How a λ is scored; larger is better, and the first in `lams` wins a tie. ``"roc_auc"``,
        ``"average_precision"``, ``"f1"`` and ``"precision_at_n"`` use the labels y. A callable has
        the signature ``scoring(detector, X, y)`` and is passed arrays. ``None`` needs no labels:
        the score is how well the ranking of the rows left out agrees with the average ranking over
        all λ, see :func:`~skrdae.metrics.agreement`; use at least three λ then.
    penalty, hidden_layer_sizes, activation, output_activation, max_iter, n_epochs, batch_size, \
lr, tol, n_estimators, max_samples, sparsity, scaler, contamination, store_decomposition, \
device, random_state, verbose, callbacks
        As in :class:`RobustDeepAutoencoder`. All fits use the same seeds; `callbacks` are called in
        the last fit only.

    Attributes
    ----------
    lam_ : float
        The λ chosen.
    lams_ : ndarray of shape (n_lams,)
        The λ tried.
    lam_max_ : float
        The smallest λ for which S stays empty throughout the training on all data. Only if `lams`
        is an int.
    scores_path_ : ndarray of shape (n_lams, n_folds)
        The score of each λ on each fold.
    n_iter_, decision_scores_, threshold_, labels_, … : as in :class:`RobustDeepAutoencoder`

    Notes
    -----
    Labels are used to choose λ only; no network is trained on them.

    A member takes ``4 * (2 * m * d + 2 * r * (u + d) + 8 * p + 4 * n + 4 * q * d)`` bytes: m is the
    rows it is trained on, n those of the fold, d `n_features_in_`, p its weights, u the units of
    all layers, output included, r the rows in work, at most 1024, on a GPU 4096, q the rows
    that residuals are measured on, at most ``max(2**17 / d, 1024)``. As many λ are trained at
    once as keep their members under 256 MiB, one λ at least. Beside them stand X, the rows of the
    fold, and the `n_estimators` members of the first iteration.

    References
    ----------
    Zhou, C. and R. C. Paffenroth, Anomaly Detection with Robust Deep Autoencoders, KDD 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from skrdae import RobustDeepAutoencoderCV
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(200, 2)) @ rng.normal(size=(2, 6)), np.arange(200) < 10
    >>> X[y] += rng.normal(size=(10, 6))
    >>> detector = RobustDeepAutoencoderCV(lams=5, cv=2, scoring="roc_auc", random_state=0)
    >>> detector.fit(X, y).scores_path_.shape
    (5, 2)
    >>> bool(detector.lam_ == detector.lams_[detector.scores_path_.mean(axis=1).argmax()])
    True
    """

    if TYPE_CHECKING:
        lams_: FloatArray = field(init=False)
        lam_max_: float = field(init=False)
        scores_path_: FloatArray = field(init=False)

    lams: ArrayLike = field(default=20, kw_only=False)
    cv: Splitter = None
    scoring: Scoring = None
    penalty: PenaltyLike = "l21"
    hidden_layer_sizes: Sequence[int] | Literal["auto"] = "auto"
    activation: Activation = "tanh"
    output_activation: Activation = "identity"
    max_iter: int = 5
    n_epochs: int = 1
    batch_size: int | Literal["auto"] = "auto"
    lr: float = 1e-3
    tol: float | None = None
    n_estimators: int = 8
    max_samples: float | Literal["auto"] | None = None
    sparsity: float = 0.0
    score_function: Literal["auto", "log", "norm"] = "auto"
    random_state: RandomStateLike = None

    _parameter_constraints = {
        "lams": "no_validation",  # by _given_lams, which says more
        "cv": ["cv_object"],
        "scoring": [StrOptions(set(SCORERS)), callable, None],
    } | {
        name: allowed
        for name, allowed in RobustDeepAutoencoder._parameter_constraints.items()
        if name not in ("lam", "warm_start", "checkpoint_path")
    }
    _bound = RobustDeepAutoencoder._bound
    _has_votes = True

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = self._scorer()[1]
        return tags

    def _scorer(self) -> tuple[Callable[..., float] | None, bool]:
        """Return the scorer, and whether it is one that compares with labels for certain."""
        scorer = self.scoring
        if isinstance(scorer, str):
            scorer = SCORERS.get(scorer)
        return scorer, any(scorer is known for known in SCORERS.values())

    def _get_estimator(self, lam: float, **parameters: Any) -> RobustDeepAutoencoder:
        """Return a detector with these parameters and a λ, not fitted."""
        mine = self.get_params(deep=False)
        for name in ("lams", "cv", "scoring"):
            del mine[name]
        return RobustDeepAutoencoder(lam, **mine | parameters)

    # ------------------------------------------------------------------------------ the path

    def _check_parameters(self) -> None:
        super()._check_parameters()
        self._given_lams()
        self._get_estimator(1.0)._check_parameters()

    @fits_in_memory
    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Choose λ and fit the detector with it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training data, which may contain anomalies.
        y : array-like of shape (n_samples,), optional
            Labels, 1 for anomalies and 0 for normal rows. Required if `scoring` uses labels. With
            ``scoring=None`` only a splitter passed as `cv` uses it.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If a parameter, X or y is invalid, or a fold has rows of one class only. The estimator
            is unchanged then.
        torch.OutOfMemoryError
            If the device has too little memory. The estimator is unchanged then, too.
        """
        with refitting(self) as draft:
            draft._fit(X, y)
        return self

    def _given_lams(self) -> FloatArray | None:
        """Return `lams` as an array, or None if it is a number of them."""
        lams = self.lams
        if isinstance(lams, Integral) and not isinstance(lams, bool):
            if lams < 1:
                raise ValueError(f"lams must be at least 1; got {lams!r}.")
            return None
        try:
            values = np.asarray(lams)
        except ValueError:  # rows of several lengths
            values = np.empty(0)
        if values.ndim != 1 or not len(values) or values.dtype.kind not in "iuf":
            raise ValueError(
                f"lams must be a number of λ to try, or a list of at least one; got {lams!r}."
            )
        if np.isnan(values).any() or values.min() < 0:
            raise ValueError(f"lams must hold λ ≥ 0; got {lams!r}.")
        values = values.astype(np.float64)
        steps = values[1:] > values[:-1], values[1:] < values[:-1]
        if not any(step.all() for step in steps):
            raise ValueError(
                f"lams must be sorted, rising or falling, and hold no value twice; got {lams!r}."
            )
        return values

    def _fit(self, X: MatrixLike, y: ArrayLike | None) -> None:
        self._forget()
        self._check_parameters()
        rows: FloatRows = self._check_data(X, reset=True)
        scoring, compares = self._scorer()
        if compares:
            y = labels = self._checked_labels(rows, y)
        seeds = member_seeds(self.random_state, self.n_estimators)
        given = self.random_state
        seed = int(given) if isinstance(given, Integral) else int(seeds[0])
        folds = folds_of(self.cv, rows, y, stratify=scoring is not None, seed=seed)
        if compares:
            check_classes(folds, labels)
        lams = self._given_lams()
        self.lams_ = self._grid(rows, seeds) if lams is None else lams
        self.scores_path_ = self._path(rows, y, folds, seeds, scoring)
        means = self.scores_path_.mean(axis=1)
        if np.isnan(means).all():
            raise ValueError(
                f"scoring={self.scoring!r} gave NaN on some fold for every λ, so that none can be "
                "chosen. Use fewer folds, or another scoring."
            )
        chosen = float(self.lams_[np.nanargmax(means)])
        names = {
            k: v for k, v in vars(self).items() if k in ("n_features_in_", "feature_names_in_")
        }
        inner = self._get_estimator(chosen)
        vars(inner).update(names)
        inner._fit_checked(rows, seeds, {}, type(self).__name__)
        vars(self).update({k: v for k, v in vars(inner).items() if k.endswith("_")})
        self.lam_ = chosen

    @property
    def _n_rounds(self) -> int:
        return self.max_iter

    def _learn(self, task: Task) -> Learnt:
        raise NotImplementedError  # the detectors of the path do

    def _checked_labels(self, X: FloatRows, y: ArrayLike | None) -> BoolArray:
        if y is None:
            raise ValueError(
                f"scoring={self.scoring!r} compares scores with labels, but y is None: pass y to "
                "fit (1 for anomalies, 0 for normal rows). Without labels set scoring=None, or a "
                "scorer that needs none: excess_mass_scorer or mass_volume_scorer of "
                "skrdae.metrics."
            )
        y = check_labels(y)
        check_consistent_length(X, y)
        return y

    def _grid(self, X: FloatRows, seeds: IntArray) -> FloatArray:
        """Return λ from the one that keeps S empty down to the one that half the groups exceed."""
        path = _Path(self, X, seeds)
        schedule = replace(path.schedule, tol=None)  # made in full
        largest, median = plain_norms(
            path.network, path.member_rows, path.penalty, schedule, path.generators
        )
        # A little more, because scoring rounds differently from training.
        self.lam_max_ = largest * (1 + 1e-6)
        # Where the network explains half of the groups, or all, to the last digit, any scale does.
        top = self.lam_max_ or 1.0
        least = min(max(median, 1e-3 * top), 0.99 * top)
        n_lams: Any = self.lams
        return np.geomspace(top, least, n_lams)

    def _path(
        self,
        X: FloatRows,
        y: ArrayLike | None,
        folds: Folds,
        seeds: IntArray,
        scoring: Callable[..., float] | None,
    ) -> FloatArray:
        """Return the score of each λ on each fold."""
        scores = np.empty((len(self.lams_), len(folds)))
        shown = {"desc": f"{type(self).__name__}, λ path", "disable": not self.verbose}
        with tqdm(total=scores.size, unit="fit", **shown) as bar:
            for fold, (train, test) in enumerate(folds):
                rows, rankings = X[test], []
                labels = () if y is None or scoring is None else (np.asarray(y)[test],)
                for place, detector in enumerate(_plainly(_Path(self, X[train], seeds).fits())):
                    if scoring is None:
                        rankings.append(detector._score(rows))
                    else:
                        score = scoring(detector, rows, *labels)
                        if not isinstance(score, Real):
                            raise TypeError(f"scoring must return a number; it returned {score!r}.")
                        scores[place, fold] = score
                        bar.set_postfix(lam=f"{self.lams_[place]:.3g}", score=f"{score:.3g}")
                    bar.update()
                if scoring is None:
                    scores[:, fold] = agreement(rankings)
        return scores


class _Path:
    """The fits of every λ to the same rows, from one beginning."""

    def __init__(self, cv: RobustDeepAutoencoderCV, X: FloatRows, seeds: IntArray) -> None:
        self._cv, self._X = cv, X
        stem = self._estimator(np.inf)
        # The fit to all rows tells of constants.
        stem.warns_of_constants = False
        self.scaler, device = stem._learn_scale(X)
        rows: Any = training_rows(X, self.scaler, device)
        self.task = Task(rows, self.scaler, seeds, Session(), np.arange(X.shape[1]))
        self.generators = member_generators(seeds)
        self.network = stem._new_network(X.shape[1], self.generators, device)
        self.member_rows: Any = stem._member_rows(self.task, self.generators)
        self.schedule = stem._schedule(self.task, self.member_rows.shape[1])
        self.penalty = penalty_of(cv.penalty)
        self._stem = stem

    def _estimator(self, lam: float) -> RobustDeepAutoencoder:
        estimator = self._cv._get_estimator(lam, verbose=0, callbacks=None)
        estimator.n_features_in_ = self._X.shape[1]
        return estimator

    def fits(self) -> Iterator[RobustDeepAutoencoder]:
        """Yield a fitted detector for each λ."""
        n_members, lams_ = len(self.generators), self._cv.lams_
        one = _member_bytes(self.network, self.member_rows, len(self._X)) * n_members
        path = alternate_path(
            self.network,
            self.member_rows,
            self.penalty,
            self.schedule,
            self.generators,
            lams=lams_.tolist(),
            n_at_once=max(1, _STACK_BYTES // one),
        )
        for places, networks, norms in path:
            lams = torch.tensor(lams_[places], dtype=torch.float32, device="cpu")
            lam = lams.repeat_interleave(n_members).to(networks.device)
            learnt = self._stem._scored(self.task, networks, lam, norms, [])
            stack = FittedModel(self.scaler, networks, learnt.scorer, np.ones(1))
            scores = stack.map(learnt.scorer.scores, self.task.rows)
            for i, value in enumerate(lams.tolist()):
                mine = torch.arange(i * n_members, (i + 1) * n_members, device="cpu")
                model = stack.select(mine)
                found = mine.numpy()
                estimator = self._estimator(value)
                lam_ = value if n_members == 1 else lam[mine].cpu().numpy()
                estimator._judge(
                    model,
                    Learnt(model.network, model.scorer, {"lam_": lam_}),
                    scores[found],
                    self._X,
                )
                yield estimator


def _plainly(path: Iterator[RobustDeepAutoencoder]) -> Iterator[RobustDeepAutoencoder]:
    """Yield the same, with torch in the caller's mode only where it is used."""
    while True:
        with plain_torch():
            detector = next(path, None)
        if detector is None:
            return
        yield detector


def _member_bytes(network: MemberAutoencoder, rows: MemberRows, n_scored: int) -> int:
    """Return how much memory one more member takes; the formula of the class's notes."""
    n_rows, n_features = rows.shape[1:]
    units = sum(bias.shape[2] for bias in network.biases)
    n_weights = sum(p[0].numel() for p in network.parameters())
    at_once = min(n_rows, part_rows(n_features, rows.device))
    matrices, work = 2 * n_rows * n_features, 2 * at_once * (units + n_features)
    n_measured = len(rows_to_measure(n_scored, n_features)) * n_features
    return 4 * (matrices + work + 8 * n_weights + 4 * n_scored + 4 * n_measured)
