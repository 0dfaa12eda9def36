"""The codes of rows, in two dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.decomposition import PCA

from skrdae._typing import FloatArray
from skrdae.plotting.base import FLAGGED, ORDINARY, axes, check_fitted, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class LatentSpaceDisplay:
    """Codes of rows in the plane, anomalies in red.

    Parameters
    ----------
    codes : ndarray of shape (n_samples, 2)
    labels : ndarray of shape (n_samples,) or None
        1 for rows to be drawn as anomalies.
    names : tuple of two str
        Of the axes.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> import numpy as np
    >>> from skrdae import VAEDetector
    >>> from skrdae.plotting import LatentSpaceDisplay
    >>> X = np.random.default_rng(0).normal(size=(100, 5))
    >>> detector = VAEDetector(n_epochs=3, n_estimators=1, random_state=0).fit(X)
    >>> LatentSpaceDisplay.from_estimator(detector, X).ax_.get_xlabel()
    'vaedetector0'
    """

    ax_: Axes
    figure_: Figure

    def __init__(
        self,
        codes: FloatArray,
        labels: NDArray[Any] | None = None,
        names: Sequence[str] = ("first", "second"),
    ) -> None:
        self.codes, self.labels, self.names = codes, labels, names

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        ax: Axes | None = None,
        **options: Any,
    ) -> Self:
        """Draw the codes of rows.

        Parameters
        ----------
        estimator : detector with ``transform``
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,), optional
            0 and 1; what the detector predicts, if not given.
        ax : matplotlib Axes, optional
        **options
            Of :meth:`plot`.

        Returns
        -------
        LatentSpaceDisplay
        """
        transform = check_fitted(estimator, "transform", "it does not encode rows.")
        codes = np.asarray(transform(X))
        labels = estimator.predict(X) if y is None else y
        if y is None:
            options = {"kinds": ("not flagged", "flagged")} | options
        names = tuple(estimator.get_feature_names_out()) if codes.shape[1] == 2 else None
        return cls.from_predictions(codes, labels, names=names, ax=ax, **options)

    @classmethod
    def from_predictions(
        cls,
        codes: ArrayLike,
        labels: ArrayLike | None = None,
        *,
        names: Sequence[str] | None = None,
        ax: Axes | None = None,
        **options: Any,
    ) -> Self:
        """Draw codes; more than two dimensions by their first two principal components."""
        points = np.asarray(codes, float)
        if points.shape[1] > 2 and len(points) == 1:
            points, names = np.zeros((1, 2)), ("first component", "second component")
        elif points.shape[1] > 2:
            points, names = PCA(2).fit_transform(points), ("first component", "second component")
        elif points.shape[1] == 1:
            points, names = np.c_[points, np.zeros(len(points))], ("code", "")
        labels = None if labels is None else np.asarray(labels)
        if labels is not None and len(labels) != len(points):
            raise ValueError(f"There are {len(labels)} labels for {len(points)} rows.")
        return cls(points, labels, names or ("first", "second")).plot(ax, **options)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        kinds: tuple[str, str] = ("normal", "anomaly"),
        s: float = 12,
    ) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, optional
        kinds : tuple of two str, default=("normal", "anomaly")
            What 0 and 1 are called; "not flagged" and "flagged" where they are predictions.
        s : float, default=12
            Size of a point, as matplotlib's.

        Returns
        -------
        self
        """
        self.figure_, (self.ax_,) = axes(ax)
        flagged = np.zeros(len(self.codes), bool) if self.labels is None else self.labels != 0
        parts = [(kinds[0], ~flagged, ORDINARY), (kinds[1], flagged, FLAGGED)]
        for label, part, color in parts if flagged.any() else parts[:1]:
            x, y = self.codes[part].T
            self.ax_.scatter(x, y, s=s, c=color, label=label, linewidths=0, alpha=0.7)
        # Names are of columns, or anybody's, and no formulas.
        self.ax_.set_xlabel(self.names[0], parse_math=False)
        self.ax_.set_ylabel(self.names[1], parse_math=False)
        if flagged.any():
            for text in self.ax_.legend(frameon=False).get_texts():
                text.set_parse_math(False)
        tidy(self.ax_)
        return self
