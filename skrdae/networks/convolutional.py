"""A convolutional autoencoder of images: an ordinary module for one member."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import nn

from skrdae._typing import Activation

# Of all convolutions; with padding _KERNEL // 2 a stride of two halves an axis, rounded up.
_KERNEL = 3

_ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "identity": lambda x: x,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}


class ConvAutoencoder(nn.Module):
    """An autoencoder of images, which come and go as rows: height, width, channels.

    Each convolution of the encoder halves height and width; a dense layer makes the code of what
    is left. The decoder mirrors it with transposed convolutions. Without activations it is linear:
    an image is a weighted sum of learnt ones. With activations in between it can put together parts
    of images to others that it has never seen, and reconstructs those as well.

    Parameters
    ----------
    image_shape : tuple of int
        Height, width and channels of an image, (h, w, c), or height and width only.
    channels : sequence of int
        Channels that each convolution of the encoder makes.
    code_size : int
        Units of the code.
    decoder_activation, output_activation : str
        Between the layers of the decoder, and after its last.

    Examples
    --------
    >>> import torch
    >>> from skrdae.networks.convolutional import ConvAutoencoder
    >>> network = ConvAutoencoder((9, 12, 3), channels=(8, 16), code_size=5)
    >>> rows = torch.zeros(10, 9 * 12 * 3)
    >>> network.encode(rows).shape, network.decode(network.encode(rows)).shape
    (torch.Size([10, 5]), torch.Size([10, 324]))
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        channels: Sequence[int],
        code_size: int,
        decoder_activation: Activation = "identity",
        output_activation: Activation = "identity",
    ) -> None:
        super().__init__()
        #: Of a row, as it is shown to users.
        self.row_shape = tuple(image_shape)
        height, width, n_channels = (*image_shape, 1)[:3]
        self._image = height, width, n_channels
        sizes = halved((height, width), len(channels))
        layers = list(pairwise([n_channels, *channels]))
        self.down = nn.ModuleList(
            nn.Conv2d(a, b, _KERNEL, stride=2, padding=_KERNEL // 2) for a, b in layers
        )
        self._smallest = channels[-1], *sizes[-1]
        n_units = math.prod(self._smallest)
        self.to_code = nn.Linear(n_units, code_size)
        self.from_code = nn.Linear(code_size, n_units)
        # An axis of n becomes 2n − 1 and what is added, so that each size of the encoder returns.
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(
                b,
                a,
                _KERNEL,
                stride=2,
                padding=_KERNEL // 2,
                output_padding=((height + 1) % 2, (width + 1) % 2),
            )
            for (a, b), (height, width) in zip(layers[::-1], sizes[-2::-1], strict=True)
        )
        self._activations = [decoder_activation] * len(channels) + [output_activation]

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Return the codes of rows: (n, h·w·c) → (n, code_size)."""
        x = x.reshape(-1, *self._image).permute(0, 3, 1, 2)
        for layer in self.down:
            x = torch.relu(layer(x))
        return self.to_code(x.flatten(1))

    def decode(self, code: torch.Tensor) -> torch.Tensor:
        """Return the rows that codes stand for: (n, code_size) → (n, h·w·c)."""
        first, *others = (_ACTIVATIONS[name] for name in self._activations)
        x = first(self.from_code(code)).reshape(-1, *self._smallest)
        for layer, activation in zip(self.up, others, strict=True):
            x = activation(layer(x))
        return x.permute(0, 2, 3, 1).flatten(1)


def halved(size: tuple[int, int], n_times: int) -> list[tuple[int, int]]:
    """Return height and width before and after each of `n_times` convolutions."""
    sizes = [size]
    for _ in range(n_times):
        height, width = sizes[-1]
        sizes.append((-(-height // 2), -(-width // 2)))
    return sizes
