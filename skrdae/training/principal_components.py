"""Principal component pursuit: X = L + S with L of low rank and S sparse, a convex problem."""

from __future__ import annotations

import torch

from skrdae._typing import Record
from skrdae.training.rounds import Training

# Any step leads to the solution. It is doubled or halved where one of the two criteria lags far
# behind the other, but not for ever, which is what convergence asks for.
_BALANCED, _BALANCE_EVERY, _IMBALANCE = 200, 5, 3.0
# How far L goes beyond the constraint at an iteration; above one it takes fewer of them.
_RELAXATION = 1.6
# Single precision is enough until both criteria are below _SINGLE_UNTIL, or three times the
# tolerance. It cannot tell singular values below the largest over _SINGLE_RANGE, and the squares of
# numbers beyond _SINGLE_SIZES, or of their reciprocals, would leave its range.
_SINGLE_UNTIL, _SINGLE_RANGE, _SINGLE_SIZES = 1e-4, 300.0, 1e12


class Pursuit(Training):
    r"""Minimises :math:`\|L\|_* + \lambda \|S\|_1` subject to X = L + S.

    The alternating direction method of multipliers: singular values are shrunk, then entries,
    then the multiplier takes a step along what is left of the constraint. It is over-relaxed, and
    takes the singular values in single precision at first. What that blurs, later iterations mend.

    Parameters
    ----------
    data : Tensor of shape (n, d)
        X, in double precision.
    lam : float
    tol : float
        It is finished when ‖X − L − S‖_F is below `tol` times ‖X‖_F, and the last change of S,
        times the step, below `tol` times the norm of the multiplier.

    Attributes
    ----------
    sparse : Tensor of shape (n, d)
        S. L is X − S.
    components : Tensor of shape (d, rank)
        Orthonormal directions that the rows of L lie in, the strongest first.
    step : float
        Of the last iteration, which shrank by λ / step.

    References
    ----------
    Candès, E. J., X. Li, Y. Ma and J. Wright, Robust Principal Component Analysis?, Journal of the
    ACM 58(3), 2011, algorithm 1. S. Boyd et al., Distributed Optimization and Statistical Learning
    via the Alternating Direction Method of Multipliers, 2011, section 3.4.3 (over-relaxation).
    """

    def __init__(self, data: torch.Tensor, *, lam: float, tol: float) -> None:
        self._data, self._lam, self._tol = data, lam, tol
        self._size = torch.linalg.vector_norm(data).item() or 1.0
        # To start with, the step of the reference.
        self.step = data.numel() / (4 * data.abs().sum().item() or 1.0)
        self.sparse, self._multiplier = torch.zeros_like(data), torch.zeros_like(data)
        self.components = data.new_zeros(data.shape[1], 0)
        self.history: list[Record] = []
        self._largest = self._size  # a bound on the singular values

    def advance(self) -> Record:
        """Make an iteration."""
        data, lam, multiplier = self._data, self._lam, self._multiplier
        self._balance()
        step, before = self.step, self.sparse
        matrix, single = data - before + multiplier / step, self._in_single()
        if single:
            matrix = matrix.float()
        low_rank, components, values = _shrink_singular_values(matrix, 1 / step)
        low_rank, self.components = low_rank.double(), components.double()
        if len(values):
            self._largest = values[0].item() + 1 / step
        rest = data - low_rank
        # What stands for L in the rest of the iteration lies beyond it, seen from the last.
        beyond = low_rank.mul_(_RELAXATION).add_(data - before, alpha=1 - _RELAXATION)
        self.sparse = _shrink(data - beyond + multiplier / step, lam / step)
        multiplier.add_(data - beyond - self.sparse, alpha=step)
        rest -= self.sparse
        row: Record = {
            "iteration": len(self.history) + 1,
            "objective": (values.double().sum() + lam * self.sparse.abs().sum()).item(),
            "rank": len(values),
            "sparse_share": (self.sparse != 0).double().mean().item(),
            "constraint": torch.linalg.vector_norm(rest).item() / self._size,
            "change": (
                step
                * torch.linalg.vector_norm(self.sparse - before).item()
                / (torch.linalg.vector_norm(multiplier).item() or 1.0)
            ),
        }
        self.finished = not single and max(row["constraint"], row["change"]) < self._tol
        return row

    def _in_single(self) -> bool:
        """Return whether the singular values of this iteration may be found in single precision."""
        fits = 1 / _SINGLE_SIZES < self._size < _SINGLE_SIZES
        if not fits or self._largest * self.step > _SINGLE_RANGE:
            return False
        last = self.history[-1] if self.history else {"constraint": 1.0, "change": 1.0}
        return max(last["constraint"], last["change"]) > max(_SINGLE_UNTIL, 3 * self._tol)

    def _balance(self) -> None:
        """Change the step where one of the two criteria lags far behind the other."""
        done = len(self.history)
        if 0 < done <= _BALANCED and done % _BALANCE_EVERY == 0:
            constraint, change = self.history[-1]["constraint"], self.history[-1]["change"]
            if constraint > _IMBALANCE * change:
                self.step *= 2
            elif change > _IMBALANCE * constraint:
                self.step /= 2


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
