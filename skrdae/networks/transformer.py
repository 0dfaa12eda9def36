"""A Transformer autoencoder of windows, an ordinary module: attention between patches of steps."""

from __future__ import annotations

import torch
from torch import nn


class PatchTransformer(nn.Module):
    """An encoder of windows to codes by self-attention, and a decoder.

    A window is cut into patches of steps. The encoder embeds each patch, with all its channels, as
    a token, adds a learnt position, and lets the tokens attend to each other; a layer of tanh units
    makes the code of all tokens. The decoder has a learnt query for each patch, to which it adds
    the patch's own projection of the code, and goes the same way back. (Attention of the queries to
    the code would do no more: it is one key, which then has all the weight.) The code is bounded,
    so that no level is passed on that is far from all those in training.

    Parameters
    ----------
    row_shape : tuple of int
        Steps and channels of a window.
    patch_size : int
        Steps of a patch. The last patch is filled up with zeros.
    code_size : int
    width : int
        Units of a token.
    n_heads : int
        It divides `width`.
    n_layers : int
        Of the encoder, and of the decoder.

    Examples
    --------
    >>> import torch
    >>> from skrdae.networks.transformer import PatchTransformer
    >>> network = PatchTransformer((20, 2), 6, code_size=3, width=8, n_heads=2, n_layers=1)
    >>> windows = torch.zeros(5, 40)  # all channels of a step side by side
    >>> network.encode(windows).shape, network.decode(network.encode(windows)).shape
    (torch.Size([5, 3]), torch.Size([5, 40]))
    >>> network.attention(windows).shape  # of one layer and four patches
    torch.Size([5, 1, 4, 4])
    """

    def __init__(
        self,
        row_shape: tuple[int, int],
        patch_size: int,
        code_size: int,
        width: int,
        n_heads: int,
        n_layers: int,
    ) -> None:
        super().__init__()
        self.row_shape, self.patch_size = row_shape, patch_size
        n_steps, n_channels = row_shape
        self.n_patches = -(-n_steps // patch_size)
        self.n_values, self.n_features = patch_size * n_channels, n_steps * n_channels
        self.embed = nn.Linear(_even(self.n_values), width)
        self.position = nn.Parameter(0.1 * torch.randn(self.n_patches, width))
        self.encoder = nn.ModuleList(AttentionLayer(width, n_heads) for _ in range(n_layers))
        self.to_code = nn.Linear(self.n_patches * width, code_size)
        self.from_code = nn.Linear(_even(code_size), self.n_patches * width)
        self.queries = nn.Parameter(0.1 * torch.randn(self.n_patches, width))
        self.decoder = nn.ModuleList(AttentionLayer(width, n_heads) for _ in range(n_layers))
        self.read_out = nn.Linear(width, self.n_values)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Return the codes of windows: (n, steps · channels) → (n, code_size)."""
        return torch.tanh(self.to_code(self._encoded(x)[0].flatten(1)))

    def attention(self, x: torch.Tensor) -> torch.Tensor:
        """Return the encoder's attention weights, averaged over the heads.

        Parameters
        ----------
        x : Tensor of shape (n, steps · channels)

        Returns
        -------
        Tensor of shape (n, n_layers, n_patches, n_patches)
            How much each patch (the third axis) takes from each patch (the last, which sums to
            one).
        """
        return torch.stack([weights.mean(dim=1) for weights in self._encoded(x)[1]], dim=1)

    def _encoded(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        n_missing = self.n_patches * self.n_values - self.n_features
        patches = nn.functional.pad(x, (0, n_missing)).reshape(-1, self.n_patches, self.n_values)
        tokens, all_weights = self.embed(_filled_up(patches, 2)) + self.position, []
        for layer in self.encoder:
            tokens, weights = layer(tokens)
            all_weights.append(weights)
        return tokens, all_weights

    def decode(self, code: torch.Tensor) -> torch.Tensor:
        """Return the windows that codes stand for: (n, code_size) → (n, steps · channels)."""
        tokens = self.from_code(_filled_up(code, 1)).reshape(-1, *self.queries.shape) + self.queries
        for layer in self.decoder:
            tokens, _ = layer(tokens)
        return self.read_out(tokens).flatten(1)[:, : self.n_features]


class AttentionLayer(nn.Module):
    """Self-attention and two dense layers, each of which is added to what it gets.

    Torch's own layer does not return its attention weights, and computes them in another way where
    it is asked for them.

    Parameters
    ----------
    width : int
        Units of a token.
    n_heads : int
    """

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads, self.head_size = n_heads, width // n_heads
        self.norm, self.dense_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_heads, self.from_heads = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.dense = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the tokens after the layer, (n, tokens, width), and the attention weights.

        The weights have the shape (n, n_heads, tokens, tokens).
        """
        n_tokens = tokens.shape[1]
        heads = _filled_up(self.to_heads(self.norm(tokens)), 1)
        heads = heads.reshape(-1, heads.shape[1], 3, self.n_heads, self.head_size)
        query, key, value = heads.permute(2, 0, 3, 1, 4).unbind()
        scores = (query @ key.transpose(2, 3))[..., :n_tokens]
        weights = (scores * self.head_size**-0.5).softmax(dim=-1)
        mixed = (_filled_up(weights, 3) @ value)[:, :, :n_tokens]
        tokens = tokens + self.from_heads(mixed.transpose(1, 2).flatten(2))
        return tokens + self.dense(self.dense_norm(tokens)), weights[:, :, :n_tokens]


def _even(size: int) -> int:
    """Return the next multiple of four.

    Small products over other sizes round differently in another place in memory, on a CPU.
    """
    return size + -size % 4


def _filled_up(values: torch.Tensor, axis: int) -> torch.Tensor:
    """Fill up an axis with zeros to an even size."""
    missing = _even(values.shape[axis]) - values.shape[axis]
    if not missing:
        return values
    return nn.functional.pad(values, (0, 0) * (values.ndim - 1 - axis) + (0, missing))
