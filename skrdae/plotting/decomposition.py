"""X = L + S, side by side."""

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from skrdae._typing import Floats, Rows
from skrdae.plotting.base import ManyAxes, axes, check_fitted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class DecompositionDisplay:
    """Rows, what the network explains of them, and what is sparse: X, L and S.

    Parameters
    ----------
    X, low_rank, sparse : ndarray of shape (n_samples, n_features)
    image_shape : tuple of two ints or None
        Height and width, if rows are images.

    Attributes
    ----------
    ax_ : list of three matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> import numpy as np
    >>> from skrdae import RobustDeepAutoencoder
    >>> from skrdae.plotting import DecompositionDisplay
    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> detector = RobustDeepAutoencoder(random_state=0).fit(X)
    >>> display = DecompositionDisplay.from_estimator(detector, X[:20])
    >>> [ax.get_title() for ax in display.ax_]
    ['X', 'L', 'S']
    """

    ax_: "list[Axes]"
    figure_: "Figure"

    def __init__(
        self,
        X: Floats,
        low_rank: Floats,
        sparse: Floats,
        image_shape: tuple[int, int] | None = None,
    ) -> None:
        self.X, self.low_rank, self.sparse = X, low_rank, sparse
        self.image_shape = image_shape

    @classmethod
    def from_estimator(
        cls,
        estimator: object,
        X: Rows,
        *,
        image_shape: tuple[int, int] | None = None,
        ax: "ManyAxes | None" = None,
        **options: Any,
    ) -> Self:
        """Draw what a fitted detector decomposes rows into.

        Parameters
        ----------
        estimator : detector with ``decompose``
        X : array-like of shape (n_samples, n_features)
            The rows to draw; some dozens.
        image_shape : tuple of two ints, optional
        ax : sequence of three matplotlib Axes, optional
        **options
            Of :meth:`plot`.

        Returns
        -------
        DecompositionDisplay
        """
        decompose = check_fitted(estimator, "decompose", "it takes no sparse part out of rows.")
        low_rank, sparse = decompose(X)
        return cls.from_predictions(X, low_rank, sparse, image_shape=image_shape, ax=ax, **options)

    @classmethod
    def from_predictions(
        cls,
        X: Rows,
        low_rank: Rows,
        sparse: Rows,
        *,
        image_shape: tuple[int, int] | None = None,
        ax: "ManyAxes | None" = None,
        **options: Any,
    ) -> Self:
        """Draw a decomposition."""
        parts = [np.asarray(part, float) for part in (X, low_rank, sparse)]
        if image_shape is not None and np.prod(image_shape) != parts[0].shape[1]:
            raise ValueError(
                f"image_shape={image_shape!r} has {np.prod(image_shape)} pixels; rows have "
                f"{parts[0].shape[1]} values."
            )
        return cls(parts[0], parts[1], parts[2], image_shape).plot(ax, **options)

    def plot(self, ax: "ManyAxes | None" = None, *, n_columns: int | None = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : sequence of three matplotlib Axes, optional
        n_columns : int, optional
            Images in a row; as many as rows of images by default.

        Returns
        -------
        self
        """
        self.figure_, self.ax_ = axes(ax, 3, figsize=(9, 3.2))
        pictures = [self._picture(part, n_columns) for part in (self.X, self.low_rank, self.sparse)]
        shown = np.concatenate([picture.ravel() for picture in pictures[:2]])
        low, high = np.nanmin(shown), np.nanmax(shown)
        reach = np.nanmax(np.abs(pictures[2])) or 1.0
        images = self.image_shape is not None
        for ax, picture, title in zip(self.ax_, pictures, "XLS", strict=True):
            limits: dict[str, Any]
            limits = {"vmin": low, "vmax": high, "cmap": "gray" if images else "viridis"}
            if title == "S":  # white where it is zero
                limits = {"vmin": -reach, "vmax": reach, "cmap": "RdBu_r"}
            drawn = ax.imshow(picture, aspect="equal" if images else "auto", **limits)
            ax.set_title(title)
            if images:
                ax.set(xticks=[], yticks=[])
                ax.spines[:].set_visible(False)
            else:
                ax.set_xlabel("feature")
                self.figure_.colorbar(drawn, ax=ax)
        if not images:
            self.ax_[0].set_ylabel("row")
        return self

    def _picture(self, part: Floats, n_columns: int | None) -> Floats:
        if self.image_shape is None:
            return part
        height, width = self.image_shape
        n = len(part)
        n_columns = n_columns or int(np.ceil(np.sqrt(n)))
        n_rows = -(-n // n_columns)
        grid = np.full((n_rows * (height + 1) - 1, n_columns * (width + 1) - 1), np.nan)
        for i, row in enumerate(part):
            top, left = i // n_columns * (height + 1), i % n_columns * (width + 1)
            grid[top : top + height, left : left + width] = row.reshape(height, width)
        return grid
