"""From rows to scores: checked, scaled, a few at a time, all members on one scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.sparse import issparse
from sklearn.metrics import roc_auc_score
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
)

from skrdae._device import plain_torch
from skrdae._typing import FloatArray, FloatRows, FloatRowsOrSparse, MatrixLike
from skrdae._validation import check_data, check_labels_given, snapshot
from skrdae.networks.workspace import RowFunction, Workspace
from skrdae.preprocessing import ColumnScaler
from skrdae.training.minibatch import map_chunks

if TYPE_CHECKING:
    from skrdae.networks.gan import MemberGAN
    from skrdae.networks.member import MemberModule
    from skrdae.networks.variational import MemberVAE

# Values that are scaled and moved to the device at once when scoring, and of how many rows the
# number is a multiple.
_BLOCK, _BLOCK_ROWS, _SPARSE_ROWS = 2**22, 2**12, 2**8


class ScoringMixin:
    """Scores of a fitted detector, which supplies ``_member_scores`` and ``_member_shares``."""

    network_: MemberModule | MemberVAE | MemberGAN
    scaler_: ColumnScaler
    device_: torch.device
    _weights: FloatArray
    _accepts_sparse: bool

    if TYPE_CHECKING:

        def _member_scores(self, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor: ...
        def _member_shares(self, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor: ...

    def _to_device(self, X: FloatRowsOrSparse) -> torch.Tensor:
        return torch.from_numpy(self.scaler_.transform(dense(X))).to(self.device_)

    def _validated(self, X: MatrixLike) -> FloatRowsOrSparse:
        check_is_fitted(self)
        return self._check_data(X, reset=False)

    def _check_data(self, X: MatrixLike, *, reset: bool) -> FloatRowsOrSparse:
        """Return X as rows of floats; see :func:`~skrdae._validation.check_data`."""
        return check_data(self, X, reset=reset, sparse=self._accepts_sparse)

    def _map(self, function: RowFunction, X: FloatRowsOrSparse) -> FloatArray:
        """Apply a function of scaled rows and a workspace to validated X; give NumPy float64.

        Otherwise `function` is as in :func:`~skrdae.training.minibatch.map_chunks`.
        """
        pieces = []
        multiple = _SPARSE_ROWS if issparse(X) else _BLOCK_ROWS
        rows = max(1, _BLOCK // (X.shape[1] * multiple)) * multiple
        with plain_torch():
            for start in range(0, X.shape[0], rows):
                block = self._to_device(X[start : start + rows])
                pieces.append(self._map_tensor(function, block))
        return np.concatenate(pieces, axis=1) if len(pieces) > 1 else pieces[0]

    def _map_tensor(self, function: RowFunction, data: torch.Tensor) -> FloatArray:
        """Do the same for data that are scaled, on the device."""
        found = map_chunks(function, data, apart=self.network_.rows_apart)
        return found.cpu().numpy().astype(np.float64)

    def _weighted(self, values: FloatArray) -> FloatArray:
        """Average over the members, (K, …) → (…), each weighted to one scale."""
        # Added up one by one: NumPy's sum goes about it differently for one row than for many.
        total = values[0] * self._weights[0]
        for value, weight in zip(values[1:], self._weights[1:], strict=True):
            total += value * weight
        return total

    def _score(self, X: FloatRowsOrSparse) -> FloatArray:
        return self._weighted(self._map(self._member_scores, X))

    def decision_function(self, X: MatrixLike) -> FloatArray:
        """Return the anomaly score of each row; the higher, the more anomalous.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), float64
            On the training data it equals ``decision_scores_``. The score of a row is bit for bit
            the same, whatever other rows are scored in the same call (for recurrent networks this
            holds on a CPU).
        """
        self = snapshot(self)
        return self._score(self._validated(X))

    def score(self, X: MatrixLike, y: ArrayLike | None = None) -> float:
        """Return the area under the ROC curve of the scores.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
            Labels, as numbers or booleans: 0 for normal rows, anything else for anomalies.

        Returns
        -------
        float
            NaN, with an ``UndefinedMetricWarning``, if y holds one class only.

        Raises
        ------
        ValueError
            If there is no y, as in a search that is fitted without labels and given no
            ``scoring``.
        """
        y = check_labels_given(y, f"{type(self).__name__}.score")
        scores = self.decision_function(X)
        y = column_or_1d(check_array(y, ensure_2d=False, dtype="numeric", input_name="y"))
        check_consistent_length(scores, y)
        if set(np.unique(y)) == {-1, 1}:
            raise ValueError(
                "y holds -1 and 1; here 0 is normal and anything else an anomaly. Of "
                "scikit-learn's outlier labels pass y == -1."
            )
        return float(roc_auc_score(y != 0, scores))

    def explain(self, X: MatrixLike) -> FloatArray:
        """Return the contribution of each feature to the score of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_features), float64
            Non-negative. The contributions to a row add up to its ``decision_function``, within the
            rounding of single precision.
        """
        self = snapshot(self)
        return self._weighted(self._map(self._member_shares, self._validated(X)))


def dense(X: Any) -> FloatRows:
    """Return rows that may be sparse as an array."""
    return X.toarray() if issparse(X) else X
