"""The rows that each member is trained on: all of them, or a random part of its own."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from numbers import Integral
from typing import Any, Literal

import torch
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions

from skrdae._typing import Scaling
from skrdae._validation import outside
from skrdae.networks.mlp import OUTPUT_RANGES
from skrdae.rows import Rows

#: How many rows a member is trained on at most, by default. More rows mean more steps, and a
#: network that is trained for long learns the anomalies too.
MOST_ROWS = 10_000
# IsolationForest's.
_AUTO_ROWS = 256

#: What a ``max_samples`` parameter may be.
MAX_SAMPLES: list[Any] = [
    Interval(Integral, 1, None, closed="left"),
    Interval(RealNotInt, 0, 1, closed="right"),
    StrOptions({"auto"}),
    None,
]


def rows_a_member(max_samples: float | Literal["auto"] | None, n_samples: int) -> int:
    """Return how many of the rows each member is trained on."""
    if max_samples is None:
        return min(MOST_ROWS, n_samples)
    if isinstance(max_samples, str):
        return min(_AUTO_ROWS, n_samples)
    if isinstance(max_samples, Integral):
        return min(int(max_samples), n_samples)
    return max(1, int(max_samples * n_samples))


def member_places(
    n_rows: int, n_samples: int, generators: Sequence[torch.Generator]
) -> torch.Tensor | None:
    """Draw the places of each member's rows, (K, n_rows), or None for all rows."""
    if n_rows >= n_samples:
        return None
    return torch.stack(
        [torch.randperm(n_samples, generator=g, device="cpu")[:n_rows] for g in generators]
    )


def rows_to_look_at(n_samples: int) -> torch.Tensor:
    """Return the places of all rows, or of as many as a member is trained on by default.

    They are always the same for the same number.
    """
    generator = torch.Generator(device="cpu").manual_seed(0)
    places = member_places(rows_a_member(None, n_samples), n_samples, [generator])
    return torch.arange(n_samples, device="cpu") if places is None else places[0]


def warn_of_too_few(max_samples: float | Literal["auto"] | None, n_samples: int) -> None:
    """Warn if more rows are asked for than there are."""
    if isinstance(max_samples, Integral) and int(max_samples) > n_samples:
        warnings.warn(
            f"max_samples ({max_samples}) is greater than the number of samples ({n_samples}); "
            "every member is trained on all of them.",
            UserWarning,
            stacklevel=outside(),
        )


def rows_a_batch(batch_size: int | Literal["auto"], n_rows: int, least: int = 32) -> int:
    """Return the batch size for members that are trained on so many rows."""
    return min(max(n_rows // 24, least), 128) if batch_size == "auto" else batch_size


def warn_of_reach(rows: Rows, output_activation: str, scaler: Scaling) -> None:
    """Warn if the data lie where a network's last activation cannot go."""
    low, high = OUTPUT_RANGES[output_activation]
    if (low, high) == OUTPUT_RANGES["identity"]:
        return
    least, most = rows.range()
    if least < low - 1e-5 or most > high + 1e-5:
        warnings.warn(
            f"output_activation={output_activation!r} gives values from {low} to {high}, "
            f"but with scaler={scaler!r} the data reach from {least:.3g} to "
            f"{most:.3g}. Set scaler='minmax' or output_activation='identity'; or, if all "
            "columns have one unit, as pixels do, divide X by its largest value.",
            UserWarning,
            stacklevel=outside(),
        )
