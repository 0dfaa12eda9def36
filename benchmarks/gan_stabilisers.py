"""What keeps AnoGANDetector's training steady: spectral normalisation beside WGAN-GP and nothing.

    python benchmarks/gan_stabilisers.py

The detector is fitted with its defaults to sets of ADBench, with the number of epochs it has by
default and five times as many, with three ways of training generator and discriminator: the
package's own (hinge loss, weights divided by their spectral norm), the same without the division,
and the Wasserstein loss with a gradient penalty, which is an
objective of its own here, with a step of each network a batch and the learning rate of the others
(its authors made five steps of the discriminator, and smaller ones).
"Spread" is the standard deviation of a set's ROC AUC over single members, averaged over the sets.
"""

import argparse
import math
import time
import warnings

import numpy as np
import torch
from datasets import add_data_argument, load_adbench
from report import write_csv
from sklearn.metrics import average_precision_score, roc_auc_score
from tqdm import tqdm

from skrdae import AnoGANDetector
from skrdae.detectors import anogan
from skrdae.networks.gan import MemberGAN, SpectralBound
from skrdae.objectives.adversarial import HingeGAN
from skrdae.training.kernels import adversarial, epochs_of

PENALTY = 10.0  # weight of the gradient penalty, its authors'
N_MEMBERS = 8
NEVER = 2**31 - 1  # steps between two bounds


class NoBound(SpectralBound):
    """In the place of SpectralBound."""

    def apply(self, n_rounds=0):
        """Leave the weights as they are."""


class UnboundedGAN(HingeGAN):
    """The hinge loss alone."""

    def __init__(self, network):
        self.spectral = NoBound(network.discriminator)

    def follows(self, part, n_steps):
        """Return that nothing follows a step."""
        return False


class WassersteinGAN(UnboundedGAN):
    """The Wasserstein loss with a gradient penalty, one step of each network a batch.

    I. Gulrajani et al., Improved Training of Wasserstein GANs, 2017.
    """

    def noise_size(self, network):
        """Return the size of z, and one: the last number says how rows are mixed."""
        return network.latent_dim + 1

    def loss(self, part, network, x, noise):
        """Return a part's loss, and the same added up over the rows."""
        noise, last = noise[..., :-1], noise[..., -1:]
        made, critic = network.generator(noise.contiguous()), network.discriminator
        if part == "maker":
            loss = -critic(made).mean(dim=(1, 2))
        else:
            made = made.detach()
            mix = 0.5 * (1 + torch.erf(last / math.sqrt(2)))  # uniform, of what is normal
            between = torch.lerp(x, made, mix).requires_grad_()
            (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
            slope = (slope.square().sum(dim=-1) + 1e-12).sqrt()
            loss = (critic(made) - critic(x)).mean(dim=(1, 2))
            loss = loss + PENALTY * (slope - 1).square().mean(dim=1)
        return loss, loss.detach()[None] * x.shape[1]


VARIANTS = {
    "hinge, spectral normalisation": (HingeGAN, adversarial.SPECTRAL_EVERY),
    "hinge, nothing": (UnboundedGAN, NEVER),
    "Wasserstein, gradient penalty": (WassersteinGAN, NEVER),
}
# The compiled epochs take the steps between two bounds from their module.
epochs_of(MemberGAN, UnboundedGAN)(adversarial.train_gans)


def run(X, y, n_epochs):
    start = time.perf_counter()
    detector = AnoGANDetector(n_estimators=N_MEMBERS, n_epochs=n_epochs, random_state=0).fit(X)
    seconds = time.perf_counter() - start
    model = detector.model_
    members = model.map(model.scorer.scores, model.rows(X))
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
        for name, (objective, every) in VARIANTS.items():
            anogan.HingeGAN, adversarial.SPECTRAL_EVERY = objective, every
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
