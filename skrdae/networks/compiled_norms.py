"""Spectral norms of weight matrices on a CPU, as compiled loops."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skrdae._compiled import compiled
from skrdae.networks.compiled import ONE, ZERO

# Added to a norm before dividing by it.
_EPS = np.float32(1e-12)


@compiled
def bound_norm(weight: NDArray[np.float32], vector: NDArray[np.float32], n_rounds: int) -> None:
    """Divide a matrix by its spectral norm, where this exceeds one.

    Parameters
    ----------
    weight : ndarray of shape (in, out), float32
        Changed in place.
    vector : ndarray of shape (out,), float32
        From which power iteration starts; changed in place to the one it reaches.
    n_rounds : int
        Of power iteration.
    """
    n_in, n_out = weight.shape
    other = np.empty(n_in, np.float32)
    norm = ZERO
    for _ in range(n_rounds):
        square = ZERO
        for i in range(n_in):
            total = ZERO
            for j in range(n_out):
                total += weight[i, j] * vector[j]
            other[i] = total
            square += total * total
        share = ONE / (np.sqrt(square) + _EPS)
        vector[:] = ZERO
        for i in range(n_in):
            value = other[i] * share
            for j in range(n_out):
                vector[j] += value * weight[i, j]
        square = ZERO
        for j in range(n_out):
            square += vector[j] * vector[j]
        norm = np.sqrt(square)
        share = ONE / (norm + _EPS)
        for j in range(n_out):
            vector[j] *= share
    if norm > ONE:
        share = ONE / norm
        for i in range(n_in):
            for j in range(n_out):
                weight[i, j] *= share
