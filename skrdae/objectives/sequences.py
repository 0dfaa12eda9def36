"""Evidence lower bounds of models that have a latent variable for each step of a window."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from skrdae._typing import Record
from skrdae.history import SequenceRecord
from skrdae.networks.sequential import Inferred, MemberSequenceVAE
from skrdae.objectives.base import Objective

_LOG_2PI = math.log(2 * math.pi)


class SequenceBound(Objective):
    r"""The negative of :math:`E_{q(z|x)}[\log p(x|z) + \log p(z) - \log q(z|x)]`, with one z each.

    A subclass supplies log q − log p of z.
    """

    def noise_size(self, network: Any) -> int:
        return network.code_size

    @abstractmethod
    def divergence(self, found: Inferred) -> torch.Tensor:
        """Return log q(z|x) − log p(z), or what it is on average: (K, n)."""

    def loss(
        self, part: str, network: Any, x: torch.Tensor, noise: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        found = network.infer(x, noise)
        error = (x.view_as(found.mean) - found.mean).square() * torch.exp(-found.log_variance)
        nll = 0.5 * (error + found.log_variance + _LOG_2PI).sum(dim=(1, 2, 3))
        divergence = self.divergence(found).sum(dim=1)
        return (nll + divergence) / x.shape[1], torch.stack([nll, divergence]).detach()

    def record(self, epoch: int, means: Sequence[float]) -> Record:
        nll, divergence = means
        return dict(SequenceRecord(epoch=epoch, nll=nll, divergence=divergence))


class ProgressBound(SequenceBound):
    """The bound of an LSTM-VAE, whose prior moves with the progress through the window.

    z_t has the prior N(μ_t, I), where μ_t is zero but for the last entry, which goes from
    −progress at the first step to progress at the last one.

    Parameters
    ----------
    network : MemberSequenceVAE
    progress : float

    References
    ----------
    Park, D., Y. Hoshi and C. C. Kemp, A Multimodal Anomaly Detector for Robot-Assisted Feeding
    Using an LSTM-Based Variational Autoencoder, IEEE RA-L 3(3), 2018.
    """

    def __init__(self, network: MemberSequenceVAE, progress: float) -> None:
        like = next(network.parameters())
        self._prior = like.new_zeros(network.n_steps, network.latent_dim)
        if network.n_steps > 1:
            way = np.linspace(-progress, progress, network.n_steps)
            self._prior[:, -1] = like.new_tensor(way)

    def divergence(self, found: Inferred) -> torch.Tensor:
        mean, log_variance = found.posterior.chunk(2, dim=-1)
        squares = (mean - self._prior).square() + torch.exp(log_variance)
        return 0.5 * (squares - 1 - log_variance).sum(dim=(2, 3))


class StateSpaceBound(SequenceBound):
    r"""The bound of OmniAnomaly, whose z are observations of a linear Gaussian state space.

    Each latent dimension is a random walk with noise: :math:`s_1 = v_1`,
    :math:`s_t = s_{t-1} + v_t`, :math:`z_t = s_t + \varepsilon_t`, all noises standard normal. So
    the prior of a window is normal with covariance :math:`\min(t, t') + [t = t']`.

    Parameters
    ----------
    network : MemberSequenceVAE

    References
    ----------
    Su, Y. et al., Robust Anomaly Detection for Multivariate Time Series through Stochastic
    Recurrent Neural Network, KDD 2019.
    """

    def __init__(self, network: MemberSequenceVAE) -> None:
        steps = np.arange(1.0, network.n_steps + 1)
        factor = np.linalg.cholesky(np.minimum(steps[:, None], steps) + np.eye(len(steps)))
        whitening = torch.from_numpy(np.linalg.inv(factor)).float()
        self._whitening = whitening.to(network.device)
        log_det = float(np.log(np.diag(factor)).sum())
        self._constant = network.latent_dim * (log_det + 0.5 * network.n_steps * _LOG_2PI)

    def divergence(self, found: Inferred) -> torch.Tensor:
        # One matrix for all windows: what a Kalman filter finds step by step.
        white = torch.matmul(self._whitening, found.z)
        log_prior = -0.5 * white.square().sum(dim=(2, 3)) - self._constant
        return found.posterior.sum(dim=(2, 3)) - log_prior
