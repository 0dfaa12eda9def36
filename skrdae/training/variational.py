"""Training of the stacked variational autoencoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from skrdae._parallel import in_parallel, one_blas_thread
from skrdae._typing import Record
from skrdae.networks.mlp import sigmoid_
from skrdae.networks.variational import MemberVAE, gaussian_kl
from skrdae.networks.workspace import Workspace
from skrdae.training.adam import MemberAdam
from skrdae.training.compiled import train_variational_autoencoder
from skrdae.training.history import VariationalRecord
from skrdae.training.minibatch import gather, normal, shuffled_batches
from skrdae.training.sparse import SPARSE_PART, SparseRows
from skrdae.training.state import copied, fill, generator_states, set_generators

# The noise of a Gaussian likelihood starts at one, that of data of unit scale, and follows the
# errors of the batches at this rate.
_FOLLOW = 0.05
# It is kept above this: the square of a tenth of the scale. A column that is constant, or nearly,
# would otherwise outweigh all others with its first surprise.
_VARIANCE_FLOOR = 1e-2
# Values a member's widest layer has at once in the last pass over the rows.
_PART_SIZE = 2**18
_CONSTANTS = np.float32(_FOLLOW), np.float32(_VARIANCE_FLOOR)


def train_variational(
    network: MemberVAE,
    rows: torch.Tensor | Sequence[SparseRows],
    *,
    likelihood: Literal["gaussian", "bernoulli"],
    beta: float,
    n_epochs: int,
    batch_size: int,
    lr: float,
    generators: Sequence[torch.Generator],
    noise_of_samples: bool = False,
    on_iteration: Callable[[Record], object] | None = None,
    state: Mapping[str, Any] | None = None,
    on_state: Callable[[Callable[[], dict[str, Any]]], object] | None = None,
) -> tuple[list[Record], torch.Tensor]:
    r"""Maximise the evidence lower bound of every member.

    .. math:: E_{q(z|x)}[\log p(x|z)] - \beta\,KL(q(z|x) \| N(0, I)),

    with one sample of z a row and step. The noise variance of a Gaussian likelihood, one value a
    feature, is estimated along with the weights.

    Parameters
    ----------
    network : MemberVAE
        K members; its weights are trained in place.
    rows : Tensor of shape (K, n, d), or list of K SparseRows
        Of each member; an expanded view if all see the same. For a Gaussian likelihood of about
        unit scale.
    likelihood : {"gaussian", "bernoulli"}
    beta : float
    n_epochs, batch_size : int
    lr : float
    generators : list of K torch.Generator
        Give each member's order of rows and samples.
    noise_of_samples : bool, default=False
        Return the noise variance of errors with z drawn, not at z = μ.
    on_iteration : callable, optional
        Called with each row of the history; where it says True, this epoch is the last.
    state : dict, optional
        Of another call with the same arguments, to go on from.
    on_state : callable, optional
        Called after each epoch with a function that returns the state.

    Returns
    -------
    history : list of dict
        The rows of :class:`~skrdae.training.history.VariationalRecord`.
    variance : Tensor of shape (K, 1, d)
        Noise variance of a Gaussian likelihood; ones for Bernoulli.

    References
    ----------
    Kingma, D. P. and M. Welling, Auto-Encoding Variational Bayes, ICLR 2014. O. Rybkin et al.,
    Simple and Effective VAE Training with Calibrated Decoders, ICML 2021 (the variance).
    """
    optimiser = MemberAdam(network, lr)
    device = next(network.parameters()).device
    workspace = Workspace(device)
    n_rows, n_features = rows[0].shape
    variance = torch.ones(len(generators), 1, n_features, dtype=torch.float32, device=device)
    run: Callable[..., torch.Tensor] = _run_compiled if device.type == "cpu" else _run
    history: list[Record] = []
    if state is not None:
        history = list(state["history"])
        fill([*network.parameters(), variance], state["tensors"])
        optimiser.restore(state["adam"])
        set_generators(generators, state["generators"])

    def reached() -> dict[str, Any]:
        return {
            "history": list(history),
            "tensors": copied([*network.parameters(), variance]),
            "adam": optimiser.state(),
            "generators": generator_states(generators),
        }

    for epoch in range(len(history) + 1, n_epochs + 1):
        losses = run(
            network,
            optimiser,
            rows,
            variance,
            gaussian=likelihood == "gaussian",
            beta=beta,
            batch_size=batch_size,
            generators=generators,
            workspace=workspace,
        )
        error, kl = (losses / n_rows).mean(dim=1).tolist()
        record = VariationalRecord(epoch, error, kl, variance.mean().item())
        history.append(record.row())
        if on_state is not None:
            made = reached()  # now, because what follows draws from the generators
            on_state(made.copy)
        if on_iteration is not None and on_iteration(history[-1]):
            break
    optimiser.release()
    if likelihood == "gaussian" and not noise_of_samples:
        variance = noise_variance(network, rows)
    return history, variance


def _run(
    network: MemberVAE,
    optimiser: MemberAdam,
    rows: torch.Tensor,
    variance: torch.Tensor,
    *,
    gaussian: bool,
    beta: float,
    batch_size: int,
    generators: Sequence[torch.Generator],
    workspace: Workspace,
) -> torch.Tensor:
    """Train for an epoch; return the errors and divergences of each member, added up, (2, K)."""
    n_members, n_samples, n_features = rows.shape
    latent_dim = network.latent_dim
    encoder_grads = optimiser.grads_of(network.encoder)
    decoder_grads = optimiser.grads_of(network.decoder)
    encoder_space, decoder_space = workspace.part("encoder"), workspace.part("decoder")
    losses = rows.new_zeros(2, n_members)
    for batch in shuffled_batches(n_samples, batch_size, generators, rows.device):
        n_rows = batch.shape[1]
        x = gather(rows, batch, out=workspace.take("batch", *batch.shape, n_features))
        noise = workspace.take("noise", n_members, n_rows, latent_dim)
        normal(generators, noise)
        encoded = network.encoder.values(x, encoder_space)
        mean, log_variance = torch.split(encoded[-1], latent_dim, dim=-1)
        spread = torch.exp(0.5 * log_variance)
        decoded = network.decoder.values(torch.addcmul(mean, spread, noise), decoder_space)
        out = decoded[-1]
        # Gradients are those of the negative ELBO averaged over the rows, for a Gaussian times
        # twice the mean variance: squared errors and their gradients then keep the scale that
        # Adam's ε is made for.
        grad = workspace.take("grad", *out.shape)
        weight: torch.Tensor | float
        if gaussian:
            torch.sub(out, x, out=grad)
            square = grad.square().mean(dim=1, keepdim=True)
            variance.lerp_(_variance(square), _FOLLOW)
            level = variance.mean(dim=2, keepdim=True)
            losses[0] += square.sum(dim=(1, 2)) * n_rows
            weight = 2 * beta * level
            grad.mul_(level / variance).mul_(2 / n_rows)
        else:
            sigmoid_(grad.copy_(out))
            losses[0] += binary_cross_entropy_with_logits(out, x, reduction="none").sum(dim=(1, 2))
            weight = beta
            grad.sub_(x).mul_(1 / n_rows)
        losses[1] += gaussian_kl(mean, log_variance).sum(dim=(1, 2))
        from_z = network.decoder.backward_from(
            decoded, grad, decoder_grads, decoder_space, to_input=True
        )
        weight = weight / n_rows
        grad = workspace.take("grad of code", *encoded[-1].shape)
        torch.add(from_z, mean * weight, out=grad[..., :latent_dim])
        by_noise = (from_z * noise).mul_(spread).mul_(0.5)
        by_kl = spread.square().sub_(1).mul_(weight * 0.5)
        torch.add(by_noise, by_kl, out=grad[..., latent_dim:])
        network.encoder.backward_from(encoded, grad, encoder_grads, encoder_space)
        optimiser.step()
    return losses


def _run_compiled(
    network: MemberVAE,
    optimiser: MemberAdam,
    rows: torch.Tensor | Sequence[SparseRows],
    variance: torch.Tensor,
    *,
    gaussian: bool,
    beta: float,
    batch_size: int,
    generators: Sequence[torch.Generator],
    workspace: Workspace,
) -> torch.Tensor:
    """Do the same on a CPU."""
    n_members, n_samples = len(generators), len(rows[0])
    n_batches = -(-n_samples // batch_size)
    encoders = optimiser.compiled(network.encoder)
    decoders = optimiser.compiled(network.decoder)
    losses = torch.zeros(2, n_members, dtype=torch.float64, device="cpu")

    def train(k: int) -> None:
        generator = generators[k]
        order = torch.randperm(n_samples, generator=generator, device="cpu").numpy()
        space = torch.empty(1, n_samples, network.latent_dim, dtype=torch.float32, device="cpu")
        for part in space.tensor_split(n_batches, dim=1):  # as they are drawn elsewhere
            normal([generator], part)
        (adam, encoder), (_, decoder) = encoders[k], decoders[k]
        rest = np.float32(beta), gaussian, variance[k, 0].numpy(), *_CONSTANTS
        noise = space[0].numpy()
        mine = rows[k]
        if not isinstance(mine, SparseRows):
            found = train_variational_autoencoder(
                adam, encoder, decoder, mine.numpy(), order, noise, n_batches, *rest
            )
            losses[0, k], losses[1, k] = map(float, found)
            return
        first = 0
        for number, batch in enumerate(np.array_split(order, n_batches)):
            drawn, first = noise[first : first + len(batch)], first + len(batch)
            state = adam._replace(n_done=adam.n_done + number)
            found = train_variational_autoencoder(
                state, encoder, decoder, mine.rows(batch), np.arange(len(batch)), drawn, 1, *rest
            )
            losses[0, k] += float(found[0])
            losses[1, k] += float(found[1])

    with one_blas_thread:
        in_parallel(train, range(n_members))
    optimiser.count(n_batches)
    return losses


def _variance(mean_square: torch.Tensor) -> torch.Tensor:
    """Return the noise variance of greatest likelihood for errors of this mean square."""
    return mean_square.clamp(min=_VARIANCE_FLOOR)


def noise_variance(network: MemberVAE, rows: torch.Tensor | Sequence[SparseRows]) -> torch.Tensor:
    """Estimate the noise of each feature from the errors at z = μ.

    Parameters
    ----------
    network : MemberVAE
    rows : Tensor of shape (n, d) or (K, n, d), or list of K SparseRows

    Returns
    -------
    Tensor of shape (K, 1, d)
    """
    device = next(network.parameters()).device
    workspace = Workspace(device)
    n_members = network.n_members
    n_rows, n_features = rows.shape[-2:] if torch.is_tensor(rows) else rows[0].shape
    total = torch.zeros(n_members, 1, n_features, dtype=torch.float32, device=device)
    for part in _parts(network, rows):
        part = part.expand(n_members, -1, -1)
        mean, _ = network.encode(part, workspace)
        error = network.decode(mean.contiguous(), workspace).sub_(part)
        total += error.square_().sum(dim=1, keepdim=True)
    return _variance(total / n_rows)


def _parts(network: MemberVAE, rows: torch.Tensor | Sequence[SparseRows]) -> Iterator[torch.Tensor]:
    """Yield a few rows after another, (n, d) or (K, n, d)."""
    if torch.is_tensor(rows):
        layers = [*network.encoder.weights, *network.decoder.weights]
        widest = max(weight.shape[2] for weight in layers)
        yield from torch.split(rows, max(_PART_SIZE // widest, 1), dim=-2)
        return
    if all(mine is rows[0] for mine in rows):
        for places in rows[0].parts():
            yield torch.from_numpy(rows[0].rows(places))
        return
    at_once = max(1, SPARSE_PART // len(rows))
    for start in range(0, len(rows[0]), at_once):
        places = slice(start, start + at_once)
        yield torch.from_numpy(np.stack([mine.rows(places) for mine in rows]))
