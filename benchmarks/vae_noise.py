"""What the learnt noise of VAEDetector's Gaussian likelihood is worth, on sets of ADBench.

    python benchmarks/vae_noise.py

The detector with its defaults, beside the same with one noise variance for all features, and with
the variance fixed at one.
"""

import argparse

import numpy as np
import torch
from datasets import add_data_argument, load_adbench
from report import write_csv
from sklearn.metrics import average_precision_score, roc_auc_score
from tqdm import tqdm

from skrdae import VAEDetector
from skrdae.detectors import vae
from skrdae.objectives import elbo


class Variant(elbo.EvidenceLowerBound):
    """The same bound, trained by automatic differentiation: no kernel is registered for it."""


learnt = elbo.noise_variance_of
VARIANTS = {
    "learnt, one a feature": learnt,
    "learnt, one for all": lambda e: learnt(e).mean(dim=2, keepdim=True).expand_as(e).clone(),
    "fixed at 1": torch.ones_like,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data_argument(parser)
    parser.add_argument("--max-rows", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    sets = list(load_adbench(arguments.data_dir, arguments.max_rows))
    rows = []
    for name, variance in VARIANTS.items():
        vae.EvidenceLowerBound, elbo.noise_variance_of = Variant, variance
        found = []
        for _, X, y in tqdm(sets, desc=name):
            for seed in range(arguments.seeds):
                scores = VAEDetector(random_state=seed).fit(X).decision_scores_
                found.append((roc_auc_score(y, scores), average_precision_score(y, scores)))
        auc, ap = np.mean(found, axis=0)
        rows.append(
            {"noise variance": name, "sets": len(sets), "seeds": arguments.seeds}
            | {"roc_auc": float(auc), "average_precision": float(ap)}
        )
        print(*rows[-1].values())
    write_csv("vae_noise", rows)


if __name__ == "__main__":
    main()
