"""``transform`` and ``inverse_transform`` of the detectors that encode rows."""

import math
from numbers import Integral

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_array, check_is_fitted

from skrdae._random import member_seeds
from skrdae.training.minibatch import map_chunks


def code_size(n_features):
    """Return the default number of latent units: √n_features, rounded and at least 2."""
    return max(2, round(math.sqrt(n_features)))


class EncoderMixin(ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """Codes of the members side by side, and the way back.

    A detector supplies ``_member_codes(rows, workspace)``, (n, d) → (K, n, units), and
    ``_member_decode(codes)``, (K, n, units) → (K, n, d) in scaled units, and the number
    ``_code_size`` of units a member.
    """

    def transform(self, X):
        """Encode rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_estimators × code size)
            The members' codes side by side.
        """
        codes = self._map(self._member_codes, self._validated(X))  # shape: (K, n, units)
        return np.concatenate(list(codes), axis=1)

    def inverse_transform(self, X):
        """Decode codes to data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_estimators × code size)
            As :meth:`transform` returns them.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            In the units of the training data; the mean of what the members decode.
        """
        check_is_fitted(self)
        codes = check_array(X, dtype=np.float32)
        if codes.shape[1] != self._n_features_out:
            raise ValueError(
                f"X has {codes.shape[1]} columns, but transform gives {self._n_features_out}."
            )
        n_members = len(self._weights)
        parts = np.stack(np.split(codes, n_members, axis=1))
        decoded = self._decoded(parts)
        total = sum(member.astype(np.float64) for member in decoded)
        return self.scaler_.inverse_transform(total / n_members)

    def _decoded(self, codes):
        """Decode each member's codes: (K, n, units) → (K, n, d), NumPy in and out."""
        with torch.no_grad():
            codes = torch.tensor(codes, dtype=torch.float32, device=self.device_)
            return map_chunks(self._member_decode, codes).cpu().numpy()

    @property
    def _n_features_out(self):
        return len(self._weights) * self._code_size


class SamplingMixin:
    """New rows from codes drawn from N(0, I), and scores of two parts.

    Beside what :class:`EncoderMixin` needs a detector supplies
    ``_member_score_parts(rows, workspace)``, (n, d) → (K, n, 2).
    """

    def sample(self, n_samples=1, random_state=None):
        """Draw new rows: decode codes from the prior.

        Parameters
        ----------
        n_samples : int, default=1
        random_state : int, RandomState instance or None, default=None

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            In the units of the training data, without noise added. Each row is from a member
            chosen at random.
        """
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

    def _two_parts(self, X):
        both = self._weighted(self._map(self._member_score_parts, self._validated(X)))
        return both[:, 0], both[:, 1]
