"""Training on one chunk of rows after another."""

import copy
from abc import abstractmethod

import numpy as np
import torch
from sklearn.utils.metaestimators import available_if

from skrdae._random import member_generators, member_seeds
from skrdae._validation import check_data, unchanged_on_failure
from skrdae.detectors.progress import watched
from skrdae.training.state import generator_states, set_generators

# Rows that are remembered, a uniform sample of all that came.
_MEMORY = 4096


class StreamingMixin:
    """``partial_fit``, for detectors that can go on with further rows.

    The detector supplies :meth:`_train_on`.
    """

    @abstractmethod
    def _train_on(self, data, stream, on_iteration):
        """Train on scaled rows of a chunk.

        Parameters
        ----------
        data : Tensor of shape (n, d)
        stream : Stream
            What is known from earlier chunks; to be brought up to date. Its network is a copy.
        on_iteration : callable
        """

    @abstractmethod
    def _settle(self, stream, remembered):
        """Set what scoring needs, given the rows that are remembered, scaled.

        Parameters
        ----------
        stream : Stream
        remembered : Tensor of shape (n, d)
        """

    def _can_stream(self):
        """Whether there is a ``partial_fit``; an AttributeError says why there is none."""
        return True

    @available_if(lambda self: self._can_stream())
    def partial_fit(self, X, y=None):
        """Train on a chunk of rows, after those that came before.

        Every chunk is trained on as `fit` would train on it, from where the last one ended, and
        forgotten but for a sample: of all rows that ever came some thousand are remembered,
        each with equal odds. λ (with ``lam="auto"``), the scales of residuals and the threshold are
        those of the rows remembered, and so are ``decision_scores_`` and ``labels_``; for the rows
        of a chunk there are `decision_function` and `predict`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            In random order over the chunks, as far as can be. The first chunk decides the scaling:
            some hundred rows, at least, that are like those to come.
        y : Ignored
            Not used; present by scikit-learn's convention.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If a parameter or X is not as it should be. The estimator is then as it was before.
        """
        with unchanged_on_failure(self):
            self._partial_fit(X)
        return self

    def _fit(self, X, y):
        vars(self).pop("_stream", None)
        super()._fit(X, y)

    def _partial_fit(self, X):
        self._check_parameters()
        stream = vars(self).get("_stream")
        begins = stream is None and not hasattr(self, "network_")
        X = check_data(self, X, reset=begins)
        if begins:
            self._learn_scale(X)
        if stream is None:
            seeds = member_seeds(self.random_state, self.n_estimators)
            stream = Stream(seeds, getattr(self, "network_", None))
        stream = stream.opened()
        data = self._to_device(X)
        options = {"shows": self.verbose, "n_rounds": self._n_rounds, "n_done": 0}
        with torch.no_grad():
            with watched(self.callbacks, name=type(self).__name__, **options) as progress:
                self._train_on(data, stream, progress)
            stream.remember(X)
            remembered = self._to_device(stream.rows)
            self._settle(stream, remembered)
        self._weigh(self._map_tensor(self._member_scores, remembered))
        self._set_threshold(stream.rows)
        self.history_ = stream.history
        self.n_samples_seen_ = stream.n_seen
        self._stream = stream.closed()
        vars(self).pop("_kept", None)  # of a training that this one is not


class Stream:
    """What goes from one chunk to the next.

    Attributes
    ----------
    network, adam, extra
        Networks, state of their optimiser, and what else a training needs; None at first.
    generators : list of torch.Generator, or of their states
        The former while a chunk is trained on.
    rows : ndarray of shape (n, d) or None
        The rows remembered.
    history : list of dict
    n_seen : int
        Rows that came.
    """

    def __init__(self, seeds, network):
        self.network, self.adam, self.extra = network, None, None
        self.generators = generator_states(member_generators(seeds))
        self.rows, self.history, self.n_seen = None, [], 0
        self.random = np.random.RandomState(int(seeds[0]))

    def opened(self):
        """Return a copy that can be trained without changing this one."""
        other = copy.copy(self)
        other.network, other.random = copy.deepcopy(self.network), copy.deepcopy(self.random)
        other.generators = [torch.Generator(device="cpu") for _ in self.generators]
        set_generators(other.generators, self.generators)
        other.history = list(self.history)
        other.rows = None if self.rows is None else self.rows.copy()
        return other

    def closed(self):
        """Put the states of generators in their place, which can be kept in files."""
        self.generators = generator_states(self.generators)
        return self

    def remember(self, X):
        """Take a chunk into the sample of all rows (Vitter's algorithm R)."""
        n_free = _MEMORY if self.rows is None else _MEMORY - len(self.rows)
        parts = [X[:n_free]] if self.rows is None else [self.rows, X[:n_free]]
        self.rows, rest = np.concatenate(parts), X[n_free:]
        # The row that comes as the k-th takes the place of one of k drawn, if that is remembered.
        order = np.arange(self.n_seen + len(X) - len(rest), self.n_seen + len(X)) + 1
        places = (self.random.random_sample(len(rest)) * order).astype(np.int64)
        kept = places < _MEMORY
        self.rows[places[kept]] = rest[kept]
        self.n_seen += len(X)
