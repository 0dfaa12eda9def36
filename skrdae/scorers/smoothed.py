"""Scores of images by what is left of them once it is blurred."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch

from skrdae.networks.workspace import Workspace
from skrdae.scorers.residual import ResidualScorer

#: The standard deviation of the blur, as a share of an image's longer side.
BLUR = 1 / 28
#: A residual counts less in an image that is larger by a power of its size, ...
POWER = 0.75
#: ... which is taken for this share of the usual one at least.
LEAST = 0.25


def blur_matrix(n: int, deviation: float) -> torch.Tensor:
    """Return the matrix that blurs a line of n pixels, whose rows have the sum 1."""
    places = torch.arange(n, dtype=torch.float64, device="cpu")
    weights = torch.exp(-((places[:, None] - places) ** 2) / (2 * deviation**2))
    return (weights / weights.sum(dim=1, keepdim=True)).float()


@functools.lru_cache(maxsize=8)
def blur_matrices(image_shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return A and B with A X B blurred, for X of shape (height, width · channels)."""
    height, width, channels = (*image_shape, 1)[:3]
    deviation = BLUR * max(height, width)
    of_channels = torch.eye(channels, dtype=torch.float32, device="cpu")
    between = torch.kron(blur_matrix(width, deviation).T.contiguous(), of_channels)
    return blur_matrix(height, deviation), between


def smooth(rows: torch.Tensor, image_shape: tuple[int, ...]) -> torch.Tensor:
    """Return images blurred by a Gaussian: (…, d) → (…, d)."""
    down, across = (matrix.to(rows.device) for matrix in blur_matrices(image_shape))
    images = rows.reshape(-1, len(down), len(across))
    return torch.matmul(torch.matmul(down, images), across).view(rows.shape)


def sizes(rows: torch.Tensor, image_shape: tuple[int, ...]) -> torch.Tensor:
    """Return the norms of blurred images: (…, d) → (…)."""
    return torch.linalg.vector_norm(smooth(rows, image_shape), dim=-1)


@dataclass(frozen=True, eq=False)
class SmoothedScorer(ResidualScorer):
    """Scores images by the norm of their blurred residuals, relative to their size.

    The score is ‖G (x − D(E(x)))‖ · (level / ‖G x‖)^¾, where G blurs. A stroke beside its place
    leaves a positive and a negative residual, most of which cancel; and a bold or bright image
    leaves more than a thin one.

    Attributes
    ----------
    image_shape : tuple of int
        Height, width and, if there is a third axis, channels.
    level : float
        The usual ‖G x‖.
    """

    image_shape: tuple[int, ...] = ()
    level: float = 1.0

    def _smoothed(
        self, network: Any, rows: torch.Tensor, workspace: Workspace
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return blurred residuals, (K, n, d), and what their norms are multiplied by, (n, 1)."""
        residual = smooth(self.residual(network, rows, workspace), self.image_shape)
        size = sizes(rows, self.image_shape).div_(self.level).clamp_(min=LEAST)
        return residual, size.pow_(-POWER)[:, None]

    def scores(self, network: Any, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        residual, factor = self._smoothed(network, rows, workspace)
        return torch.linalg.vector_norm(residual, dim=-1) * factor[:, 0]

    def shares(self, network: Any, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        residual, factor = self._smoothed(network, rows, workspace)
        norms = torch.linalg.vector_norm(residual, dim=-1, keepdim=True)
        return residual.square() / torch.where(norms > 0, norms, 1.0) * factor
