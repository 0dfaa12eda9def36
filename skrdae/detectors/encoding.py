"""``transform`` and ``inverse_transform`` of the detectors that encode rows, and new rows drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_array, check_is_fitted

from skrdae._bases import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from skrdae._columns import numbers_only
from skrdae._device import plain_torch
from skrdae._random import member_seeds
from skrdae._typing import FloatArray, MatrixLike, RandomStateLike
from skrdae._validation import snapshot
from skrdae.detectors.samples import member_places, rows_a_member
from skrdae.preprocessing import LARGEST
from skrdae.training.minibatch import map_chunks

if TYPE_CHECKING:
    from skrdae.detectors.base import BaseTorchDetector as _Detector
    from skrdae.networks.gan import MemberGAN
    from skrdae.networks.variational import MemberVAE
    from skrdae.networks.workspace import Workspace
else:
    _Detector = object


def code_size(n_features: int) -> int:
    """Return the default number of latent units: √n_features, rounded and at least 2."""
    return max(2, round(math.sqrt(n_features)))


class EncoderMixin(ClassNamePrefixFeaturesOutMixin, TransformerMixin, _Detector):
    """Encode rows to the members' codes, and decode them.

    A detector supplies ``_member_codes(rows, workspace)``, (n, d) → (K, n, units), and
    ``_member_decode(codes, workspace)``, (K, n, units) → (K, n, d) in scaled units, and the number
    ``_code_size`` of units a member.
    """

    if TYPE_CHECKING:

        @property
        def _code_size(self) -> int: ...
        def _member_codes(self, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor: ...
        def _member_decode(self, codes: torch.Tensor, workspace: Workspace) -> torch.Tensor: ...

    def transform(self, X: MatrixLike) -> FloatArray:
        """Encode rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_estimators × code size)
            The members' codes side by side.
        """
        self = snapshot(self)
        codes = self._map(self._member_codes, self._validated(X))  # shape: (K, n, units)
        return np.concatenate(list(codes), axis=1)

    def inverse_transform(self, X: ArrayLike) -> FloatArray:
        """Decode codes to data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_estimators × code size)
            Codes, as returned by :meth:`transform`.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            In the units of the training data, averaged over the members.
        """
        self = snapshot(self)
        check_is_fitted(self)
        codes = check_array(numbers_only(X), dtype=np.float32)
        if codes.shape[1] != self._n_features_out:
            raise ValueError(
                f"X has {codes.shape[1]} columns, but transform gives {self._n_features_out}."
            )
        n_members = len(self._weights)
        parts = np.stack(np.split(codes, n_members, axis=1))
        decoded = self._decoded(parts)
        total = sum(member.astype(np.float64) for member in decoded)
        return self.scaler_.inverse_transform(total / n_members)

    def _decoded(self, codes: NDArray[Any]) -> NDArray[np.float32]:
        """Decode each member's codes: (K, n, units) → (K, n, d), NumPy in and out."""
        with plain_torch():
            decoded = map_chunks(
                self._member_decode,
                torch.tensor(codes, dtype=torch.float32, device=self.device_),
                apart=self.network_.rows_apart,
            )
            return decoded.cpu().numpy()

    @property
    def _n_features_out(self) -> int:
        return len(self._weights) * self._code_size


class GenerativeMixin(EncoderMixin):
    """What detectors have in common whose codes have a prior, N(0, I).

    Beside what :class:`EncoderMixin` needs a detector supplies a parameter ``latent_dim``, a
    ``network_`` of that many latent units, and ``_member_score_parts(rows, workspace)``,
    (n, d) → (K, n, 2).
    """

    latent_dim: int | Literal["auto"]
    max_samples: float | Literal["auto"] | None
    network_: MemberVAE | MemberGAN
    _level: float

    if TYPE_CHECKING:

        def _member_score_parts(self, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor: ...

    def _latent_units(self, n_features: int) -> int:
        return code_size(n_features) if self.latent_dim == "auto" else int(self.latent_dim)

    def _member_data(
        self, data: torch.Tensor, generators: Sequence[torch.Generator], free: bool | None = None
    ) -> torch.Tensor:
        """Return what each network is trained on: (n, d) → (K, n_rows, d).

        With `free` the networks are trained on data of unit scale, which learning rates and Adam's
        ε are made for: where the scaler did not see to it, the data are divided by one number, the
        root mean variance of the columns. None takes the number found before.
        """
        places = member_places(rows_a_member(self.max_samples, len(data)), len(data), generators)
        if places is not None:
            data = data[places.flatten().to(data.device)]
        data = self._clip(data)
        if free is not None:
            self._level = 1.0
        if free and self.scaler_.method not in ("robust", "standard"):
            largest = data.abs().amax()  # keeps the squares of tiny numbers from vanishing
            level = (data / largest).var(dim=0, correction=0).mean().sqrt().mul(largest).item()
            self._level = level if 0 < level < math.inf else 1.0
        data.div_(self._level)
        if places is None:
            return data.expand(len(generators), -1, -1)
        return data.view(*places.shape, data.shape[1])

    def _in_units(self, rows: torch.Tensor) -> torch.Tensor:
        return rows.div(self._level).clamp_(-LARGEST, LARGEST)

    def _shown(self, rows: torch.Tensor) -> torch.Tensor:
        """Return what the K networks see of rows: (n, d) → (K, n, d)."""
        shown = self._in_units(self._clip(rows))
        return shown.expand(self.network_.n_members, *rows.shape)

    @property
    def _code_size(self) -> int:
        return self.network_.latent_dim

    def sample(self, n_samples: int = 1, random_state: RandomStateLike = None) -> FloatArray:
        """Draw new rows by decoding codes drawn from the prior.

        Parameters
        ----------
        n_samples : int, default=1
        random_state : int, RandomState instance or None, default=None

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            In the units of the training data, without the noise of the likelihood. Each row comes
            from a member chosen at random.
        """
        self = snapshot(self)
        check_is_fitted(self)
        if isinstance(n_samples, bool | np.bool_):
            raise TypeError(f"n_samples must be an integer, not {n_samples!r}.")
        n_samples = check_scalar(n_samples, "n_samples", Integral, min_val=1)
        random = np.random.RandomState(member_seeds(random_state, 1)[0])
        n_members = len(self._weights)
        member = random.randint(n_members, size=n_samples)
        z = random.standard_normal((n_samples, self._code_size))
        decoded = self._decoded(np.broadcast_to(z, (n_members, *z.shape)))
        return self.scaler_.inverse_transform(decoded[member, np.arange(n_samples)])

    def _two_parts(self, X: MatrixLike) -> tuple[FloatArray, FloatArray]:
        self = snapshot(self)
        both = self._weighted(self._map(self._member_score_parts, self._validated(X)))
        return both[:, 0], both[:, 1]
