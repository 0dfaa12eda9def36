"""Small trainings of every network and objective that the package has."""

import torch
from torch import nn

from skrdae._random import member_generators
from skrdae.networks.denoiser import MemberDenoiser
from skrdae.networks.gan import MemberGAN
from skrdae.networks.mlp import MemberAutoencoder
from skrdae.networks.recurrent import MemberRecurrentAutoencoder
from skrdae.networks.sequential import MemberLSTMVAE, MemberOmniAnomaly
from skrdae.networks.stacked import StackedModule
from skrdae.networks.two_decoders import MemberTwoDecoders
from skrdae.networks.variational import MemberVAE
from skrdae.objectives.adversarial import BidirectionalGAN, GeneratorInversion, HingeGAN
from skrdae.objectives.denoising import Denoising
from skrdae.objectives.elbo import EvidenceLowerBound
from skrdae.objectives.reconstruction import Reconstruction, SparseReconstruction
from skrdae.objectives.sequences import ProgressBound, StateSpaceBound
from skrdae.objectives.two_decoders import TwoDecodersLoss
from skrdae.rows import HeldMemberRows
from skrdae.training.trainer import Trainer

CPU = torch.device("cpu")
KINDS = (
    *("autoencoder", "sparse", "lstm", "gru", "module"),
    *("gaussian", "bernoulli", "gan", "pairs", "encoder", "two decoders"),
    *("lstm vae", "omni anomaly", "denoiser"),
)


class Module(nn.Module):
    """An ordinary autoencoder of rows, one member."""

    def __init__(self, n_features=5, units=2, activation=nn.Tanh):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(n_features, 7), activation(), nn.Linear(7, units))
        self.decoder = nn.Linear(units, n_features)

    def encode(self, x):
        return self.encoder(x)

    def decode(self, code):
        return self.decoder(code)


def plane(n=50, d=5, size=1.0):
    """Return rows near a plane, always the same."""
    generator = torch.Generator().manual_seed(1)
    X = torch.randn(n, 2, generator=generator) @ torch.randn(2, d, generator=generator)
    return size * (X + 0.1 * torch.randn(n, d, generator=generator))


def rows_for(kind, n=50, d=5):
    """Return rows that a kind of training is for."""
    size = {"gan": 6.0, "pairs": 6.0, "encoder": 6.0}.get(kind, 2.0)
    rows = plane(n, d, size)
    return rows.sigmoid() if kind == "bernoulli" else rows


def member_rows(data, n_members):
    return HeldMemberRows(data.expand(n_members, -1, -1))


def trainer_of(
    kind,
    seeds,
    d=5,
    *,
    activation="tanh",
    output="identity",
    sizes=None,
    device=CPU,
    **options,
):
    """Return a trainer whose members have these seeds."""
    generators = member_generators(seeds)
    settings = {"lr": 3e-3, "batch_size": 16}
    beta, bound = options.pop("beta", 0.7), options.pop("bound", 3.0)
    # With 2, too, a gradient vanishes for pairs, of a unit that is on for all: see below.
    latent_dim = options.pop("latent_dim", 3 if kind == "pairs" else 2)
    critic = options.pop("critic", (6, 4))
    if kind in ("autoencoder", "sparse"):
        sizes = (7, 3) if sizes is None else sizes
        network = MemberAutoencoder(d, sizes, activation, output, generators, device)
    elif kind in ("lstm", "gru"):
        network = MemberRecurrentAutoencoder(d, 1, sizes or (4,), kind, generators, device)
    elif kind == "module":
        network = StackedModule(lambda: Module(d), 2, generators, device)
    elif kind in ("gaussian", "bernoulli"):
        network = MemberVAE(d, sizes or (8, 4), latent_dim, activation, generators, device)
    elif kind == "lstm vae":
        network = MemberLSTMVAE(d, 1, sizes or (4,), latent_dim, generators, device)
    elif kind == "omni anomaly":
        network = MemberOmniAnomaly(d, 1, sizes or (4,), latent_dim, 2, generators, device)
    elif kind == "denoiser":
        network = MemberDenoiser(d, sizes or (8, 4), generators, device)
    elif kind == "two decoders":
        network = MemberTwoDecoders(d, 1, sizes or (8,), latent_dim, activation, generators, device)
    else:
        sizes = (8,) if sizes is None else sizes
        joint = kind == "pairs"
        shape = d, sizes, latent_dim, critic, activation, output, True
        network = MemberGAN(*shape, generators, device, joint)
    if kind in ("gan", "pairs"):
        objective = (BidirectionalGAN if joint else HingeGAN)(network)
        # So that the data lie on both sides of the hinge: otherwise gradients of biases that should
        # vanish are rounding errors, along which Adam steps as far as along any other.
        data = rows_for(kind, 90, d).expand(len(seeds), -1, -1).to(device)
        seen = network.seen(data, network.encoder(data))
        middle = network.discriminator(seen).quantile(0.5, dim=1, keepdim=True)
        network.discriminator.biases[-1].add_(1 - middle)
        settings["lr"] = 1e-3
    elif kind == "encoder":
        objective = GeneratorInversion()
    elif kind == "lstm vae":
        objective = ProgressBound(network, 1.0)
    elif kind == "omni anomaly":
        objective = StateSpaceBound(network)
    elif kind == "denoiser":
        objective = Denoising(network, torch.tensor([0.1, 0.5], device=device))
    elif kind == "two decoders":
        objective = TwoDecodersLoss(torch.zeros(len(seeds), device=device))
    elif kind in ("gaussian", "bernoulli"):
        objective = EvidenceLowerBound(kind, beta, torch.ones(len(seeds), 1, d, device=device))
    elif kind == "sparse":
        objective = SparseReconstruction(bound, 0.5)
    else:
        objective = Reconstruction(bound)
    return Trainer(network, objective, generators=generators, **settings | options)


def assert_member(stacked, k, alone):
    """Compare the parameters of a member with those of a network of one."""
    for a, b in zip(stacked.parameters(), alone.parameters(), strict=True):
        assert torch.equal(a[k], b[0])
