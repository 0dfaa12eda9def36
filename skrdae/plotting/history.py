"""What a training did, iteration by iteration."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from skrdae._typing import Record
from skrdae.plotting.base import ManyAxes, axes, check_fitted, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class HistoryDisplay:
    """The numbers of a training history along its iterations.

    Parameters
    ----------
    history : list of dict
        As ``history_`` of a fitted detector.

    Attributes
    ----------
    ax_ : list of matplotlib Axes, one a number
    figure_ : matplotlib Figure

    Examples
    --------
    >>> import numpy as np
    >>> from skrdae import VAEDetector
    >>> from skrdae.plotting import HistoryDisplay
    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> display = HistoryDisplay.from_estimator(VAEDetector(n_epochs=3, random_state=0).fit(X))
    >>> [ax.get_title() for ax in display.ax_]
    ['error', 'kl', 'variance']
    """

    ax_: list[Axes]
    figure_: Figure

    def __init__(self, history: Sequence[Record]) -> None:
        self.history = history

    @classmethod
    def from_estimator(
        cls,
        estimator: object,
        *,
        names: Sequence[str] | None = None,
        ax: ManyAxes | None = None,
    ) -> Self:
        """Draw the history of a fitted detector.

        Parameters
        ----------
        estimator : detector with ``history_``
        names : sequence of str, optional
            Which numbers, all by default.
        ax : matplotlib Axes, or a sequence with one a number, optional

        Returns
        -------
        HistoryDisplay
        """
        history = check_fitted(estimator, "history_", "fit it first.")
        return cls.from_predictions(history, names=names, ax=ax)

    @classmethod
    def from_predictions(
        cls,
        history: Iterable[Record],
        *,
        names: Sequence[str] | None = None,
        ax: ManyAxes | None = None,
    ) -> Self:
        """Draw a history."""
        history = list(history)
        if not history:
            raise ValueError("The history is empty.")
        return cls(history).plot(ax, names=names)

    def plot(self, ax: ManyAxes | None = None, *, names: Sequence[str] | None = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, or a sequence with one a number, optional
        names : sequence of str, optional

        Returns
        -------
        self
        """
        count, *known = self.history[0]  # the first says which iteration
        names = known if names is None else [names] if isinstance(names, str) else list(names)
        unknown = sorted(set(names) - set(known))
        if unknown:
            raise ValueError(f"The history has no {unknown}; it has {known}.")
        self.figure_, self.ax_ = axes(ax, len(names), figsize=(2.6 * len(names), 2.6))
        at = [row[count] for row in self.history]
        for ax, name in zip(self.ax_, names, strict=True):
            values = np.array([row[name] for row in self.history], float)
            ax.plot(at, values, "o-", ms=3)
            ax.set(title=name, xlabel=count)
            locator: Any = ax.xaxis.get_major_locator()
            locator.set_params(integer=True)
            tidy(ax)
        return self
