"""X = L + S, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike

from skrdae._typing import FloatArray
from skrdae.plotting.base import ManyAxes, axes, check_fitted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Where the colours of scaled values end, in scales.
_MOST_SCALES = 6.0
# More names than this cannot be read beside each other.
_MOST_NAMES = 40


class DecompositionDisplay:
    """Rows, what the network explains of them, and what is sparse: X, L and S.

    Parameters
    ----------
    X, low_rank, sparse : ndarray of shape (n_samples, n_features)
    image_shape : tuple of int or None
        Height and width, if rows are images, and channels, the last axis, if there are several.
        Three channels are drawn as red, green and blue, other numbers as their mean, and so are
        those of S.
    names : sequence of str or None
        Names of the columns of a table.
    scaled : bool, default=False
        Whether the values are in units of each column's scale. X, L and S then have the same
        colours, white at zero.

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

    ax_: list[Axes]
    figure_: Figure

    def __init__(
        self,
        X: FloatArray,
        low_rank: FloatArray,
        sparse: FloatArray,
        image_shape: tuple[int, ...] | None = None,
        *,
        names: Sequence[str] | None = None,
        scaled: bool = False,
    ) -> None:
        self.X, self.low_rank, self.sparse = X, low_rank, sparse
        self.image_shape = image_shape
        self.names, self.scaled = names, scaled

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        *,
        image_shape: tuple[int, ...] | None = None,
        ax: ManyAxes | None = None,
        **options: Any,
    ) -> Self:
        """Draw what a fitted detector decomposes rows into.

        Rows of a table are drawn as the detector sees them, less the centre of each column and
        in units of its scale (``scaler_``), so that columns in different units can be compared.
        With ``scaler=None`` they are drawn as they are, and so are images. For a table in its
        own units pass ``X, *detector.decompose(X)`` to :meth:`from_predictions`.

        Parameters
        ----------
        estimator : detector with ``decompose``
        X : array-like of shape (n_samples, n_features)
            The rows to draw; some dozens. Or images, as the detector takes them.
        image_shape : tuple of int, optional
            Height and width, and channels if there are several, if rows are images. By default
            ``image_shape_`` of a detector of images, such as
            :class:`~skrdae.ConvRobustAutoencoder`.
        ax : sequence of three matplotlib Axes, optional
        **options
            Of :meth:`plot`.

        Returns
        -------
        DecompositionDisplay
        """
        decompose = check_fitted(estimator, "decompose", "it takes no sparse part out of rows.")
        if np.ndim(X) > 2:  # windows of several channels, or images
            shaped = np.asarray(X, float)
            X = shaped.reshape(len(shaped), -1)
        known = getattr(estimator, "image_shape_", (1,))
        if image_shape is None and known[0] > 1:  # a line of pixels is drawn as a row
            image_shape = known
        low_rank, sparse = decompose(X)
        names = getattr(X, "columns", getattr(estimator, "feature_names_in_", None))
        names = None if names is None else [str(name) for name in names]
        scaled = image_shape is None and estimator.scaler_.method is not None
        rows: ArrayLike = X
        if scaled:
            rows = np.asarray(X, float)
            unit = estimator.scaler_.unscale(np.ones_like(rows), rows)
            rows, sparse = np.asarray(estimator.scaler_.transform(rows), float), sparse / unit
            low_rank = rows - sparse
        return cls.from_predictions(
            rows,
            low_rank,
            sparse,
            image_shape=image_shape,
            names=names,
            scaled=scaled,
            ax=ax,
            **options,
        )

    @classmethod
    def from_predictions(
        cls,
        X: ArrayLike,
        low_rank: ArrayLike,
        sparse: ArrayLike,
        *,
        image_shape: tuple[int, ...] | None = None,
        names: Sequence[str] | None = None,
        scaled: bool = False,
        ax: ManyAxes | None = None,
        **options: Any,
    ) -> Self:
        """Draw a decomposition; the parameters are those of the class.

        Where `names` is not given, the columns of a DataFrame are the names.
        """
        if names is None and hasattr(X, "columns"):
            names = [str(name) for name in X.columns]
        parts = [np.asarray(part, float) for part in (X, low_rank, sparse)]
        shapes = [part.shape for part in parts]
        if parts[0].ndim != 2 or len(set(shapes)) > 1:
            raise ValueError(
                "X, low_rank and sparse must have one shape (n_samples, n_features); got "
                f"{', '.join(map(str, shapes))}."
            )
        n_features = parts[0].shape[1]
        if image_shape is not None and np.prod(image_shape) != n_features:
            raise ValueError(
                f"image_shape={image_shape!r} has {np.prod(image_shape)} pixels; rows have "
                f"{n_features} values."
            )
        if names is not None and len(names) != n_features:
            raise ValueError(f"X has {n_features} columns, but there are {len(names)} names.")
        display = cls(parts[0], parts[1], parts[2], image_shape, names=names, scaled=scaled)
        return display.plot(ax, **options)

    def plot(self, ax: ManyAxes | None = None, *, n_columns: int | None = None) -> Self:
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
        images = self.image_shape is not None
        self.figure_, self.ax_ = axes(ax, 3, figsize=(9, 3.2 if images else 4))
        pictures = [self._picture(part, n_columns) for part in (self.X, self.low_rank, self.sparse)]
        if pictures[0].ndim > 2:
            pictures[2] = pictures[2].mean(axis=-1)
            if pictures[0].shape[-1] != 3:
                pictures[:2] = [picture.mean(axis=-1) for picture in pictures[:2]]
        shown = np.concatenate([picture.ravel() for picture in pictures[:2]])
        low, high = np.nanmin(shown), np.nanmax(shown)
        reach = np.nanmax(np.abs(pictures[2])) or 1.0
        if self.scaled:  # one scale of colours for all three; a wild cell must not pale the others
            reach = min(max(reach, -low, high), _MOST_SCALES)
        for ax, picture, title in zip(self.ax_, pictures, "XLS", strict=True):
            limits: dict[str, Any]
            limits = {"vmin": low, "vmax": high, "cmap": "gray" if images else "viridis"}
            if title == "S" or self.scaled:  # white where it is zero
                limits = {"vmin": -reach, "vmax": reach, "cmap": "RdBu_r"}
            if picture.ndim > 2:  # red, green and blue from 0 to 1, white between the images
                span = (high - low) or 1.0
                picture = np.nan_to_num((picture - low) / span, nan=1.0)
            drawn = ax.imshow(
                picture, aspect="equal" if images else "auto", interpolation="none", **limits
            )
            ax.set_title(title)
            if images:
                ax.set(xticks=[], yticks=[])
                ax.spines[:].set_visible(False)
            else:
                self._name_columns(ax)
                if not self.scaled:
                    self.figure_.colorbar(drawn, ax=ax)
        if not images:
            self.ax_[0].set_ylabel("row")
            self.ax_[0].locator_params(axis="y", integer=True)
            for ax in self.ax_[1:]:
                ax.set_yticks([])
        if self.scaled:
            beyond = [np.nanmin(pictures) < -reach, np.nanmax(pictures) > reach]
            extend = ("neither", "max", "min", "both")[2 * beyond[0] + beyond[1]]
            label = "units of the column's scale"
            self.figure_.colorbar(drawn, ax=self.ax_, extend=extend, label=label)
        return self

    def _name_columns(self, ax: Axes) -> None:
        """Write the columns' names below them, if there is room for all."""
        n_features = self.X.shape[1]
        if self.names is None or n_features > _MOST_NAMES:
            ax.set_xlabel("column")
            return
        size = "small" if n_features <= _MOST_NAMES / 2 else "x-small"
        ax.set_xticks(range(n_features))
        for label in ax.set_xticklabels(self.names, rotation=90, fontsize=size):
            label.set_parse_math(False)  # what is in a name is no formula

    def _picture(self, part: FloatArray, n_columns: int | None) -> FloatArray:
        if self.image_shape is None:
            return part
        height, width, *channels = self.image_shape
        n = len(part)
        n_columns = n_columns or int(np.ceil(np.sqrt(n)))
        n_rows = -(-n // n_columns)
        size = n_rows * (height + 1) - 1, n_columns * (width + 1) - 1
        grid = np.full((*size, *channels), np.nan)
        for i, row in enumerate(part):
            top, left = i // n_columns * (height + 1), i % n_columns * (width + 1)
            grid[top : top + height, left : left + width] = row.reshape(self.image_shape)
        return grid
