"""Names of the types that many signatures share."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, csr_matrix, sparray, spmatrix

#: Rows as users hand them in: lists, arrays, tables of pandas and polars.
Rows: TypeAlias = ArrayLike
#: The same where a sparse matrix is taken, too.
RowsOrSparse: TypeAlias = ArrayLike | sparray | spmatrix
#: Scores and all that is in their units: always of double precision.
Floats: TypeAlias = NDArray[np.float64]
#: Rows once they are checked: of single or double precision.
FloatRows: TypeAlias = NDArray[np.float64] | NDArray[np.float32]
#: The same of a detector that takes sparse matrices.
FloatRowsOrSparse: TypeAlias = FloatRows | csr_matrix | csr_array
Integers: TypeAlias = NDArray[np.int64]
Booleans: TypeAlias = NDArray[np.bool_]

#: What scikit-learn calls ``random_state``.
RandomStateLike: TypeAlias = int | np.integer[Any] | RandomState | None
#: A row of a training's ``history_``.
Record: TypeAlias = dict[str, Any]
#: What a detector's ``callbacks`` holds: called with each row, True ends the training.
Callbacks: TypeAlias = Callable[[Record], object] | Sequence[Callable[[Record], object]] | None


class Thresholder(Protocol):
    """What a detector takes as its ``contamination`` in place of a share: pythresh's objects."""

    def fit(self, scores: Any, /) -> Any:
        """Learn from training scores."""

    def predict(self, scores: Any, /) -> Any:
        """Label scores."""
