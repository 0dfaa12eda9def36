"""What the robust autoencoders share: X = L + S, whatever the network."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions

from skrdae._random import member_generators
from skrdae._typing import IntArray, Record
from skrdae._validation import listed, outside
from skrdae.detectors.base import BaseTorchDetector
from skrdae.detectors.decomposition import BaseDecomposition
from skrdae.detectors.residual_scale import rows_to_measure
from skrdae.detectors.resuming import ResumingMixin
from skrdae.detectors.samples import MAX_SAMPLES, member_rows, rows_a_member, warn_of_too_few
from skrdae.networks.workspace import Workspace
from skrdae.penalties import L21, PENALTIES, GroupPenalty, penalty_of
from skrdae.training.alternating import alternate
from skrdae.training.sparse import SparseRows

if TYPE_CHECKING:
    from skrdae.networks.mlp import MemberAutoencoder
    from skrdae.networks.recurrent import MemberRecurrentAutoencoder


# A network that starts near zero reaches values of about 1 in a training of the usual length. More
# than a tenth of a column's values beyond 5 is never found after a StandardScaler, whatever the
# tails: that would be a mean square above 2.5.
_SHARE, _LARGE = 0.9, 5.0


class BaseRobustAutoencoder(ResumingMixin, BaseDecomposition):
    """Base class of the detectors that split X = L + S with an autoencoder for L.

    A subclass supplies the network, by :meth:`_new_network`, and the constructor. A network encodes
    and decodes stacked rows, writes the gradient of their errors (``error_gradient``), and has the
    parameters of its members first along an axis.
    """

    lam: float | Literal["auto"]
    max_iter: int
    n_epochs: int
    lr: float
    tol: float | None
    max_samples: float | Literal["auto"] | None

    _parameter_constraints: dict[str, Any] = {
        **BaseTorchDetector._parameter_constraints,
        **ResumingMixin._parameter_constraints,
        "contamination": [
            *BaseTorchDetector._parameter_constraints["contamination"],
            StrOptions({"auto"}),
        ],
        "lam": [Interval(Real, 0, None, closed="both"), StrOptions({"auto"})],
        "penalty": [StrOptions(set(PENALTIES)), GroupPenalty],
        "hidden_layer_sizes": "no_validation",  # by check_layer_sizes, which says more
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "n_epochs": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left"), None],
        "max_samples": MAX_SAMPLES,
        "store_decomposition": ["boolean"],
    }
    _boolean_parameters = (
        *BaseDecomposition._boolean_parameters,
        *ResumingMixin._boolean_parameters,
    )
    _lengths = ("max_iter",)

    @abstractmethod
    def _new_network(
        self, n_features: int, generators: Sequence[torch.Generator]
    ) -> MemberAutoencoder | MemberRecurrentAutoencoder:
        """Return a network with a member for each generator, not trained."""

    @property
    def _n_rounds(self) -> int:
        return self.max_iter

    def _train(
        self, data: torch.Tensor, seeds: IntArray, on_iteration: Callable[[Record], object]
    ) -> None:
        self._warn_of_reach(data)
        self._warn_of_size(data)
        warn_of_too_few(self.max_samples, len(data))
        generators = member_generators(seeds)
        self.network_ = self._new_network(data.shape[1], generators)
        rows = member_rows(data, rows_a_member(self.max_samples, len(data)), generators)
        lam, quantile = self._thresholds()
        result = alternate(
            self.network_,
            rows,
            penalty_of(self.penalty),
            lam=lam,
            quantile=quantile,
            generators=generators,
            on_iteration=on_iteration,
            **self._resuming(),
            **self._schedule(rows.shape[1]),
        )
        if not result.converged:
            warnings.warn(
                f"{self.max_iter} iterations did not bring the members below tol={self.tol!r}: "
                "raise max_iter, n_epochs or tol. history_ shows how far they came.",
                ConvergenceWarning,
                stacklevel=outside(),
            )
        self._freeze(self.network_, result.lam, result.norms)
        self._residual_scale = self._measure(data)
        self.n_iter_, self.history_ = result.n_iter, result.history

    def _warn_of_size(self, data: torch.Tensor | SparseRows) -> None:
        """Warn of unscaled columns that are too large for so short a training.

        By column, because an image with a wide empty border has small values on average.
        """
        if self.scaler is not None:
            return
        places = rows_to_measure(*data.shape)
        if isinstance(data, SparseRows):
            rows = data.rows(places.numpy())
        else:
            rows = data[places.to(data.device)].cpu().numpy()
        sizes = np.quantile(np.abs(rows), _SHARE, axis=0, method="lower")
        names = getattr(self, "feature_names_in_", np.arange(self.n_features_in_))
        large = names[sizes > _LARGE].tolist()
        if large:
            warnings.warn(
                f"scaler=None, but {len(large)} of {len(names)} columns of X hold values far "
                f"beyond 1 (up to {np.abs(rows).max():.3g}): {listed(large)}. The larger they are, "
                "the less of X the network can reconstruct, and the worse it detects. If all "
                "columns have one unit, divide X by its largest value: pixels from 0 to 255 by "
                "255. If not, leave scaler at its default, 'robust', or scale X yourself.",
                UserWarning,
                stacklevel=outside(),
            )

    def _schedule(self, n_rows: int) -> dict[str, Any]:
        """How members are trained on so many rows each."""
        return {
            "bound": self.scaler_.bound_,
            "max_iter": self.max_iter,
            "n_epochs": self.n_epochs,
            "batch_size": self._rows_a_batch(n_rows),
            "lr": self.lr,
            "tol": self.tol,
        }

    def _thresholds(self) -> tuple[list[float] | None, list[float] | None]:
        """Return each member's λ and None, or None and each member's quantile."""
        k = self.n_estimators
        if self.lam != "auto":
            return [float(self.lam)] * k, None
        share = float(self.contamination) if isinstance(self.contamination, Real) else 0.1
        shares = [share] if k == 1 else share * np.geomspace(0.5, 2, k)
        return None, [1 - min(float(s), 0.5) for s in shares]

    # -------------------------------------------------------------------------------- flags

    def _member_votes(self, rows: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        sparse = self._prox(self._residual(rows, rows, workspace))
        return (sparse != 0).any(dim=-1).to(rows.dtype)

    def _vote_threshold(self) -> float:
        # One member's ℓ2,1 prox compares the norm, where that is the score, with λ.
        one_norm = type(self._penalty) is L21 and self._residual_scale is None
        if one_norm and self.n_estimators == 1:
            return self.lam_  # type: ignore[return-value]  # with one member it is a number
        return super()._vote_threshold()
