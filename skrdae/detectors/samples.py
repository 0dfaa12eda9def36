"""The rows that each member is trained on: all of them, or a random part of its own."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from numbers import Integral
from typing import Any, Literal

import torch
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions

from skrdae._memory import taken
from skrdae._validation import outside

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


def member_rows(
    data: torch.Tensor, n_rows: int, generators: Sequence[torch.Generator]
) -> torch.Tensor:
    """Return the rows each member is trained on: (n, d) → (K, n_rows, d), a view if all."""
    places = member_places(n_rows, len(data), generators)
    if places is None:
        return data.expand(len(generators), -1, -1)
    return taken(data, places.flatten().to(data.device)).view(*places.shape, data.shape[1])


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
