"""How residuals become a score that a few wild values do not rule: each on its feature's scale."""

from __future__ import annotations

import math

import torch

# The share of the residuals of a feature that are taken for ordinary, and where it ends for normal
# ones, in standard deviations.
_ORDINARY, _NORMAL_END = 0.9, 1.645
# A feature that the network explains far better than the others is not measured by what little is
# left of it: no scale is less than this much of the median feature's, nor of the mean size of the
# data, below which there is little but rounding.
_LEAST_SHARE, _LEAST_OF_DATA = 0.1, 1e-3
# Of a residual's ratio to its scale, times √n_features, how much is added to the logarithm.
FAR = 0.01
# Beyond these a square is no longer a number in single precision, or a scale no longer one.
LARGEST_RATIO, _LEAST_SCALE = 1e18, 1e-12
# Values looked at, and rows at least: beyond that a quantile's error is of no account.
_VALUES, _LEAST_ROWS = 2**17, 1024


def rows_to_measure(n_rows: int, n_features: int) -> torch.Tensor:
    """Return the numbers of the rows that :func:`residual_scale` is measured on.

    Returns
    -------
    LongTensor
        All rows, or a random sample, which is the same for every X of this shape.
    """
    n_measured = max(_VALUES // n_features, _LEAST_ROWS)
    if n_rows <= n_measured:
        return torch.arange(n_rows, device="cpu")
    generator = torch.Generator(device="cpu").manual_seed(0)
    return torch.randperm(n_rows, generator=generator, device="cpu")[:n_measured]


def residual_scale(residual: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Return the scale of each feature's ordinary residuals.

    It is where the smaller nine tenths of the absolute residuals end, in units that make it the
    standard deviation for normal ones. Up to a tenth of the rows may be anything. A feature that is
    the same in all rows has no ordinary residual; its unit is taken for one.

    Parameters
    ----------
    residual : Tensor of shape (K, n, d)
    rows : Tensor of shape (n, d)
        The scaled data, clipped.

    Returns
    -------
    Tensor of shape (K, 1, d)
        On the CPU.
    """
    rank = max(1, round(_ORDINARY * residual.shape[1]))
    sizes = residual.abs().transpose(1, 2).contiguous()
    if sizes.device.type == "cpu":
        # NumPy's sort works on whole registers, and is faster than torch's search for one value.
        sizes.numpy().sort(axis=-1)
    else:
        sizes = sizes.sort(dim=-1).values
    # The rest is little, and rounds the same everywhere.
    scale, rows = sizes[:, :, rank - 1].cpu().unsqueeze(1) / _NORMAL_END, rows.cpu()
    constant = (rows == rows[:1]).all(dim=0)
    others = scale.masked_fill(constant, math.nan)
    least = _LEAST_SHARE * others.nanmedian(dim=2, keepdim=True).values
    least = least.nan_to_num(0.0).clamp_(min=_LEAST_OF_DATA * rows.abs().mean().item())
    scale = torch.maximum(scale, least).clamp_(min=_LEAST_SCALE)
    return torch.where(constant, scale.clamp(min=1.0), scale)


def log_terms(residual: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Return log(1 + a²) + a √d / 100, where a = |r| / scale, in the place of each residual r.

    The logarithm is that of a Cauchy density, negative and but for a constant. The other term is
    small beside it within a dozen scales, but lets no number of small oddities outvote a value that
    is far beyond them all. √d is what ordinary rows grow by with the number of features.
    """
    ratio = residual.div_(scale).abs_().clamp_(max=LARGEST_RATIO)
    return ratio.square().log1p_().add_(ratio, alpha=FAR * math.sqrt(residual.shape[-1]))
