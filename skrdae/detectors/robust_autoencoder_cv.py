"""RobustDeepAutoencoderCV: λ chosen by cross-validation, the whole path trained as one stack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import Tags
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_consistent_length
from tqdm.auto import tqdm

from skrdae._device import plain_torch
from skrdae._random import member_seeds
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
from skrdae.detectors.lam import as_multiple, lams_of
from skrdae.detectors.path_fits import Beginning, path_fits
from skrdae.detectors.robust_autoencoder import RobustDeepAutoencoder
from skrdae.metrics import SCORERS, agreement
from skrdae.penalties import PenaltyLike
from skrdae.registry import detector

#: What :class:`RobustDeepAutoencoderCV` takes as ``scoring``.
Scoring: TypeAlias = (
    Literal["roc_auc", "average_precision", "f1", "precision_at_n"] | Callable[..., float] | None
)


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
        The λ to try. An int is how many: they are multiples of the median norm, evenly spaced on a
        logarithmic scale from ``lam_max_``, which leaves S empty, down to the median itself. A list
        holds the λ, in increasing or decreasing order: multiples such as ``"1.5*median"``, or
        numbers. What is chosen is the multiple, so it carries over from the folds, which have fewer
        rows and larger residuals, to the fit to all rows; a number does not.
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
    best_lam_ : str or float
        The λ chosen, as `lam` of :class:`RobustDeepAutoencoder` takes it.
    lam_ : float, or ndarray of shape (n_estimators,) with several members and multiples
        λ of the last iteration, in units of the scaled data.
    lams_ : ndarray of shape (n_lams,)
        The λ tried: multiples of the median norm, or numbers if `lams` holds numbers.
    lam_max_ : float
        The smallest multiple for which S stays empty throughout the training on all data. Only if
        `lams` is an int.
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
    fold, and the `n_estimators` members of the first iteration. On a GPU the bound is a quarter of
    its free memory, and folds with as many rows are trained beside each other, too.

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
    >>> best = detector.lams_[detector.scores_path_.mean(axis=1).argmax()]
    >>> detector.best_lam_ == f"{best}*median"
    True
    """

    if TYPE_CHECKING:
        lams_: FloatArray = field(init=False)
        lam_max_: float = field(init=False)
        best_lam_: float | str = field(init=False)
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

    def _get_estimator(self, lam: float | str, **parameters: Any) -> RobustDeepAutoencoder:
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

    def _given_lams(self) -> tuple[FloatArray | None, bool]:
        """Return the values in `lams`, and whether they are multiples of the median.

        None for the values if `lams` is a number of them.
        """
        lams = self.lams
        if isinstance(lams, Integral) and not isinstance(lams, bool):
            if lams < 1:
                raise ValueError(f"lams must be at least 1; got {lams!r}.")
            return None, True
        return lams_of(lams)

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
        values, relative = self._given_lams()
        self.lams_ = self._grid(rows, seeds) if values is None else values
        numbers: list[float] = self.lams_.tolist()
        lams = [as_multiple(number) for number in numbers] if relative else numbers
        self.scores_path_ = self._path(rows, y, folds, seeds, scoring, lams)
        means = self.scores_path_.mean(axis=1)
        if np.isnan(means).all():
            raise ValueError(
                f"scoring={self.scoring!r} gave NaN on some fold for every λ, so that none can be "
                "chosen. Use fewer folds, or another scoring."
            )
        best = int(np.nanargmax(means))
        self.best_lam_ = lams[best]
        names = {
            k: v for k, v in vars(self).items() if k in ("n_features_in_", "feature_names_in_")
        }
        inner = self._get_estimator(self.best_lam_)
        vars(inner).update(names)
        with plain_torch():
            inner._fit_checked(rows, seeds, {}, type(self).__name__)
        vars(self).update({k: v for k, v in vars(inner).items() if k.endswith("_")})
        if not relative:  # the same for all members
            self.lam_ = numbers[best]

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
        """Return multiples from the one that keeps S empty down to the median itself."""
        stem = self._get_estimator(np.inf, tol=None, verbose=0, callbacks=None)  # made in full
        with plain_torch():
            largest = Beginning(stem, X, seeds).largest_multiple()
        # A little more, because scoring rounds differently from training.
        self.lam_max_ = largest * (1 + 1e-6)
        # Where the network explains half of the groups, or all, to the last digit, any scale does.
        top = self.lam_max_ if 0 < self.lam_max_ < np.inf else 1.0
        least = min(max(1.0, 1e-3 * top), 0.99 * top)
        n_lams: Any = self.lams
        return np.geomspace(top, least, n_lams)

    def _path(
        self,
        X: FloatRows,
        y: ArrayLike | None,
        folds: Folds,
        seeds: IntArray,
        scoring: Callable[..., float] | None,
        lams: Sequence[float | str],
    ) -> FloatArray:
        """Return the score of each λ on each fold."""
        scores = np.empty((len(self.lams_), len(folds)))
        shown = {"desc": f"{type(self).__name__}, λ path", "disable": not self.verbose}
        with tqdm(total=scores.size, unit="fit", **shown) as bar:
            stem = self._get_estimator(np.inf, verbose=0, callbacks=None)
            rankings: list[list[FloatArray]] = [[] for _ in folds]
            training = (X[train] for train, _ in folds)
            for fold, place, detector in path_fits(stem, training, seeds, lams):
                test = folds[fold][1]
                if scoring is None:
                    rankings[fold].append(detector._score(X[test]))
                else:
                    labels = () if y is None else (np.asarray(y)[test],)
                    score = scoring(detector, X[test], *labels)
                    if not isinstance(score, Real):
                        raise TypeError(f"scoring must return a number; it returned {score!r}.")
                    scores[place, fold] = score
                    bar.set_postfix(lam=f"{self.lams_[place]:.3g}", score=f"{score:.3g}")
                bar.update()
            if scoring is None:
                scores[:] = np.transpose([agreement(found) for found in rankings])
        return scores
