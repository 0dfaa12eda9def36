"""Principal component pursuit: X = L + S with L of low rank and S sparse, a convex problem."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from skrdae._typing import Record

# Any step leads to the solution. It is doubled or halved where one of the two criteria lags far
# behind the other, but not for ever, which is what convergence asks for.
_BALANCED, _BALANCE_EVERY, _IMBALANCE = 200, 5, 3.0


@dataclass
class PursuitResult:
    """What :func:`pursue` found.

    Attributes
    ----------
    sparse : Tensor of shape (n, d)
        S. L is X − S.
    components : Tensor of shape (d, rank)
        Orthonormal directions that the rows of L lie in, the strongest first.
    step : float
        Of the last iteration, which shrank by λ / step.
    n_iter : int
    converged : bool
    history : list of dict
    """

    sparse: torch.Tensor
    components: torch.Tensor
    step: float
    n_iter: int
    converged: bool
    history: list[Record]


def pursue(
    data: torch.Tensor,
    *,
    lam: float,
    max_iter: int,
    tol: float,
    on_iteration: Callable[[Record], object] | None = None,
) -> PursuitResult:
    r"""Minimise :math:`\|L\|_* + \lambda \|S\|_1` subject to X = L + S.

    The alternating direction method of multipliers: singular values are shrunk, then entries,
    then the multiplier takes a step along what is left of the constraint.

    Parameters
    ----------
    data : Tensor of shape (n, d)
        X, in double precision.
    lam : float
    max_iter : int
    tol : float
        Stop when ‖X − L − S‖_F is below `tol` times ‖X‖_F, and the last change of S, times the
        step, below `tol` times the norm of the multiplier.
    on_iteration : callable, optional
        Called with each row of the history.

    Returns
    -------
    PursuitResult

    References
    ----------
    Candès, E. J., X. Li, Y. Ma and J. Wright, Robust Principal Component Analysis?, Journal of the
    ACM 58(3), 2011, algorithm 1.
    """
    size = torch.linalg.vector_norm(data).item() or 1.0
    # To start with, the step of the reference.
    step = data.numel() / (4 * data.abs().sum().item() or 1.0)
    sparse, multiplier = torch.zeros_like(data), torch.zeros_like(data)
    components, converged = data.new_zeros(data.shape[1], 0), False
    history: list[Record] = []
    for iteration in range(1, max_iter + 1):
        low_rank, components, values = _shrink_singular_values(
            data - sparse + multiplier / step, 1 / step
        )
        before = sparse
        sparse = _shrink(data - low_rank + multiplier / step, lam / step)
        rest = data - low_rank - sparse
        multiplier.add_(rest, alpha=step)
        row: Record = {
            "iteration": iteration,
            "objective": (values.sum() + lam * sparse.abs().sum()).item(),
            "rank": len(values),
            "sparse_share": (sparse != 0).double().mean().item(),
            "constraint": torch.linalg.vector_norm(rest).item() / size,
            "change": (
                step
                * torch.linalg.vector_norm(sparse - before).item()
                / (torch.linalg.vector_norm(multiplier).item() or 1.0)
            ),
        }
        history.append(row)
        stopped = on_iteration is not None and bool(on_iteration(row))
        converged = stopped or max(row["constraint"], row["change"]) < tol
        if converged:
            break
        if iteration <= _BALANCED and iteration % _BALANCE_EVERY == 0:
            if row["constraint"] > _IMBALANCE * row["change"]:
                step *= 2
            elif row["change"] > _IMBALANCE * row["constraint"]:
                step /= 2
    return PursuitResult(sparse, components, step, iteration, converged, history)


def _shrink(values: torch.Tensor, threshold: float) -> torch.Tensor:
    return values.sign() * (values.abs() - threshold).clamp_(min=0)


def _shrink_singular_values(
    matrix: torch.Tensor, threshold: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the matrix with smaller singular values, its right directions and those values."""
    # By way of the smaller Gram matrix, which is many times faster than the decomposition of a
    # tall matrix. It blurs singular values under a hundred-millionth of the largest; they are
    # far below the threshold.
    tall = matrix.shape[0] >= matrix.shape[1]
    gram = matrix.T @ matrix if tall else matrix @ matrix.T
    squares, vectors = torch.linalg.eigh(gram)
    values, vectors = squares.clamp_(min=0).sqrt_().flip(0), vectors.flip(1)
    kept = values > threshold
    values, vectors = values[kept], vectors[:, kept]
    factors = (values - threshold) / values
    if tall:
        return (matrix @ (vectors * factors)) @ vectors.T, vectors, values - threshold
    right = matrix.T @ vectors
    low_rank = (vectors * factors) @ right.T
    return low_rank, right / values, values - threshold
