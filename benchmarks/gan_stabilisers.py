"""What keeps AnoGANDetector's training steady: spectral normalisation beside WGAN-GP and nothing.

    python benchmarks/gan_stabilisers.py

The detector is fitted with its defaults to sets of ADBench, with the number of epochs it has by
default and five times as many, with three ways of training generator and discriminator: the
package's own (hinge loss, weights divided by their spectral norm), the same without the division,
and the Wasserstein loss with a gradient penalty, for which a loop by way of autograd stands here,
with a step of each network a batch and the learning rate of the others (its authors made five
steps of the discriminator, and smaller ones).
"Spread" is the standard deviation of a set's ROC AUC over single members, averaged over the sets.
"""

import argparse
import time
import warnings

import numpy as np
import torch
from datasets import add_data_argument, load_adbench
from report import write_csv
from sklearn.metrics import average_precision_score, roc_auc_score
from skrdae.training.minibatch import gather, normal, shuffled_batches
from tqdm import tqdm

from skrdae import AnoGANDetector
from skrdae.detectors import anogan
from skrdae.networks.gan import SpectralBound
from skrdae.training import adversarial

PENALTY = 10.0  # weight of the gradient penalty, its authors'
N_MEMBERS = 8


NEVER = 10**9  # steps between two bounds


class NoBound(SpectralBound):
    """In the place of SpectralBound."""

    def apply(self, n_rounds=0):
        """Leave the weights as they are."""


def _layers(x, network, parameters):
    pairs = list(zip(parameters[::2], parameters[1::2], strict=True))
    for number, (weight, bias) in enumerate(pairs):
        x = torch.baddbmm(bias, x, weight)
        x = torch.tanh(x) if number + 1 < len(pairs) else x
    return x


@torch.enable_grad()
def train_wgan_gp(network, rows, *, n_epochs, batch_size, lr, generators, **_):
    """Train by the Wasserstein loss with a gradient penalty, one step of each network a batch.

    I. Gulrajani et al., Improved Training of Wasserstein GANs, 2017.
    """
    maker = [p.detach().clone().requires_grad_() for p in network.generator.parameters()]
    critic = [p.detach().clone().requires_grad_() for p in network.discriminator.parameters()]
    optimisers = [torch.optim.Adam(p, lr=lr, betas=(0.5, 0.9)) for p in (maker, critic)]
    for _ in range(n_epochs):
        for batch in shuffled_batches(rows.shape[1], batch_size, generators, rows.device):
            real = gather(rows, batch)
            z = normal(generators, rows.new_empty(*batch.shape, network.latent_dim))
            made = _layers(z, network, maker)
            mix = torch.stack([torch.rand(batch.shape[1], 1, generator=g) for g in generators])
            between = torch.lerp(real, made.detach(), mix).requires_grad_()
            value = _layers(between, network, critic).sum()
            (slope,) = torch.autograd.grad(value, between, create_graph=True)
            slope = (slope.square().sum(dim=-1) + 1e-12).sqrt()
            loss = _layers(made.detach(), network, critic) - _layers(real, network, critic)
            loss = loss.mean(dim=1).sum() + PENALTY * (slope - 1).square().mean(dim=1).sum()
            optimisers[1].zero_grad()
            loss.backward()
            optimisers[1].step()
            loss = -_layers(made, network, critic).mean(dim=1).sum()
            optimisers[0].zero_grad()
            loss.backward()
            optimisers[0].step()
    with torch.no_grad():
        for mine, trained in zip(
            [*network.generator.parameters(), *network.discriminator.parameters()],
            [*maker, *critic],
            strict=True,
        ):
            mine.copy_(trained)
    return []


VARIANTS = {
    "hinge, spectral normalisation": (
        SpectralBound,
        adversarial._SPECTRAL_EVERY,
        adversarial.train_adversarial,
    ),
    "hinge, nothing": (NoBound, NEVER, adversarial.train_adversarial),
    "Wasserstein, gradient penalty": (SpectralBound, NEVER, train_wgan_gp),
}


def run(X, y, n_epochs):
    start = time.perf_counter()
    detector = AnoGANDetector(n_estimators=N_MEMBERS, n_epochs=n_epochs, random_state=0).fit(X)
    seconds = time.perf_counter() - start
    members = detector._map(detector._member_scores, X)
    return {
        "roc_auc": float(roc_auc_score(y, detector.decision_scores_)),
        "average_precision": float(average_precision_score(y, detector.decision_scores_)),
        "spread": float(np.std([roc_auc_score(y, scores) for scores in members])),
        "seconds": seconds,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data_argument(parser)
    parser.add_argument("--max-rows", type=int, default=2000)
    parser.add_argument("--epochs", type=int, nargs="+", default=[50, 250])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    sets = list(load_adbench(arguments.data_dir, arguments.max_rows))
    rows = []
    for n_epochs in arguments.epochs:
        for name, (bound, every, train) in VARIANTS.items():
            adversarial.SpectralBound, adversarial._SPECTRAL_EVERY = bound, every
            anogan.train_adversarial = train
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                found = [run(X, y, n_epochs) for _, X, y in tqdm(sets, desc=name)]
            means = {key: float(np.mean([r[key] for r in found])) for key in found[0]}
            collapsed = sum("collapsed" in str(w.message) for w in caught)
            rows.append(
                {"training": name, "epochs": n_epochs, "sets": len(sets)}
                | means
                | {"sets_with_a_collapse": collapsed}
            )
            print(*rows[-1].values())
            write_csv("gan_stabilisers", rows)


if __name__ == "__main__":
    main()
