"""The rows of a detector's ``history_``: one for each outer iteration or epoch."""

from __future__ import annotations

from typing import TypedDict


class IterationRecord(TypedDict):
    """One outer iteration of a robust autoencoder, averaged over the members still in training.

    Attributes
    ----------
    iteration : int
        From 1.
    objective : float
        ``‖L − D(E(L))‖²_F + λ·Ω(S)`` after the training of the network, at the S of that training.
        The penalty of `sparsity` is not in it.
    sparse_share : float
        ``‖S‖_F / ‖X‖_F`` after the prox.
    constraint : float
        ``‖X − D(E(L)) − S‖_F / ‖X‖_F``, which `tol` is compared with.
    change : float
        ``‖(D(E(L)) + S) − (D(E(L)) + S)_previous‖_F / ‖X‖_F``, which `tol` is compared with, too.
    lam : float
        λ of the prox.
    n_training : int
        Members still in training; the others have converged.
    """

    iteration: int
    objective: float
    sparse_share: float
    constraint: float
    change: float
    lam: float
    n_training: int


class VariationalRecord(TypedDict):
    """One epoch of a variational autoencoder, averaged over rows and members.

    Attributes
    ----------
    epoch : int
        From 1.
    error : float
        Squared error of a row, or its cross-entropy in nats for Bernoulli, with z sampled.
    kl : float
        Divergence of q(z|x) from the prior, in nats.
    variance : float
        Noise variance of a Gaussian likelihood at the end of the epoch, averaged over the
        features; 1 for Bernoulli.
    """

    epoch: int
    error: float
    kl: float
    variance: float


class AdversarialRecord(TypedDict):
    """One epoch of generator against discriminator, averaged over rows and members.

    Attributes
    ----------
    epoch : int
        From 1.
    discriminator_loss : float
        E max(0, 1 − D(x)) + E max(0, 1 + D(G(z))), of pairs with ``inference="bidirectional"``; 2
        if D distinguishes nothing.
    generator_loss : float
        −E D(G(z)); with ``inference="bidirectional"`` E D(x, E(x)) − E D(G(z), z), which generator
        and encoder share.
    """

    epoch: int
    discriminator_loss: float
    generator_loss: float


class EncoderRecord(TypedDict):
    """One epoch of an encoder for a frozen generator, averaged over rows and members.

    Attributes
    ----------
    epoch : int
        From 1.
    error : float
        ‖x − G(E(x))‖².
    feature_error : float
        ‖f(x) − f(G(E(x)))‖².
    """

    epoch: int
    error: float
    feature_error: float


class TwoDecodersRecord(TypedDict):
    """One epoch of :class:`~skrdae.USADDetector`, averaged over windows and members.

    Errors are in units of the values that the networks see, which lie in [−1, 1].

    Attributes
    ----------
    epoch : int
        From 1.
    first_error : float
        ‖W − AE₁(W)‖².
    second_error : float
        ‖W − AE₂(W)‖².
    both_error : float
        ‖W − AE₂(AE₁(W))‖².
    """

    epoch: int
    first_error: float
    second_error: float
    both_error: float


class DenoisingRecord(TypedDict):
    """One epoch of :class:`~skrdae.DenoisingDetector`, averaged over rows, levels and members.

    Attributes
    ----------
    epoch : int
        From 1.
    error : float
        ‖x − D(x + σε, σ)‖² / σ². A network that leaves rows as they are has the number of features.
    """

    epoch: int
    error: float


class SequenceRecord(TypedDict):
    """One epoch of a recurrent variational autoencoder, averaged over windows and members.

    Attributes
    ----------
    epoch : int
        From 1.
    nll : float
        −log p(x|z), with z sampled, in nats.
    divergence : float
        log q(z|x) − log p(z), in nats. The two add up to the negative evidence lower bound.
    """

    epoch: int
    nll: float
    divergence: float
