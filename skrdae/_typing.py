"""Names of the types that many signatures share.

Modules postpone their annotations, so that ``help`` shows these names and not what they stand for,
which for NumPy's ``ArrayLike`` alone is some hundred characters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, csr_matrix, sparray, spmatrix

#: Rows where a sparse matrix is taken, too.
MatrixLike: TypeAlias = ArrayLike | sparray | spmatrix
#: A series, or a list of several.
SeriesLike: TypeAlias = ArrayLike | Sequence[ArrayLike]
#: Scores and all that is in their units: always of double precision.
FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
BoolArray: TypeAlias = NDArray[np.bool_]
#: Rows once they are checked: of single or double precision.
FloatRows: TypeAlias = NDArray[np.float64] | NDArray[np.float32]
#: The same of a detector that takes sparse matrices.
FloatRowsOrSparse: TypeAlias = FloatRows | csr_matrix | csr_array

#: What scikit-learn calls ``random_state``.
RandomStateLike: TypeAlias = int | np.integer[Any] | RandomState | None
#: A row of a training's ``history_``.
Record: TypeAlias = dict[str, Any]
#: What is called with each row of a history as it is made.
OnRecord: TypeAlias = Callable[[Record], object]
#: What a detector's ``callbacks`` holds: called with each row, True ends the training.
Callbacks: TypeAlias = OnRecord | Sequence[OnRecord] | None
#: How a detector scales columns.
Scaling: TypeAlias = Literal["robust", "standard", "minmax"] | None
#: What units of a network compute.
Activation: TypeAlias = Literal["tanh", "relu", "sigmoid", "identity"]


class Thresholder(Protocol):
    """What a detector takes as its ``contamination`` in place of a share: pythresh's objects."""

    def fit(self, scores: Any, /) -> Any:
        """Learn from training scores."""

    def predict(self, scores: Any, /) -> Any:
        """Label scores."""
