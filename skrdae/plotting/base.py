"""What the displays share."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ManyAxes: TypeAlias = "Axes | Sequence[Axes] | NDArray[np.object_]"

#: Of rows that are flagged and of those that are not, and of thresholds.
FLAGGED, ORDINARY, LINE = "tab:red", "tab:blue", "0.3"


def axes(
    ax: "ManyAxes | None", n: int = 1, *, stacked: bool = False, **options: Any
) -> "tuple[Figure, list[Axes]]":
    """Return figure and axes to draw on: those given, or new ones.

    Parameters
    ----------
    ax : matplotlib Axes, sequence of them, or None
    n : int
        How many are needed.
    stacked : bool, default=False
        Whether new ones lie below each other and share their abscissa, and not side by side.
    **options
        Of ``plt.subplots``.

    Raises
    ------
    ImportError
        Without matplotlib.
    ValueError
        If there are more or fewer.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "skrdae.plotting needs matplotlib: pip install 'skrdae[plot]'."
        ) from error
    if ax is None:
        shape = (n, 1) if stacked else (1, n)
        figure, made = plt.subplots(
            *shape, squeeze=False, sharex=stacked, layout="constrained", **options
        )
        return figure, list(made.ravel())
    given = list(np.asanyarray(ax).ravel())
    if len(given) != n:
        raise ValueError(f"ax must be {n} axes; got {len(given)}.")
    return given[0].figure, given


def tidy(ax: "Axes") -> None:
    """Leave out the lines that say nothing."""
    ax.spines[["top", "right"]].set_visible(False)


def check_fitted(estimator: object, attribute: str, hint: str) -> Any:
    """Raise unless an estimator has what a picture shows."""
    if not hasattr(estimator, attribute):
        raise ValueError(f"{type(estimator).__name__} has no {attribute}: {hint}")
    return getattr(estimator, attribute)


def shorten_dates(axis: "Axes") -> None:
    """Leave out of dates what the ticks have in common."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = axis.xaxis.get_major_locator()
    if isinstance(locator, AutoDateLocator):
        formatter: Any = ConciseDateFormatter  # not annotated
        axis.xaxis.set_major_formatter(formatter(locator))
