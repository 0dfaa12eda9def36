"""
Remove noise from images
========================

With ``penalty="l1"`` single values are anomalous, not whole rows. S takes the
corrupted pixels out of an image, and L is the image without them. The training
sees no clean image.
"""

# %%
# Corruption
# ----------
#
# A fifth of the pixels of scikit-learn's digits is replaced by noise.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from skrdae import RobustDeepAutoencoder

clean = load_digits().data / 16
rng = np.random.default_rng(0)
broken = rng.random(clean.shape) < 0.2
corrupted = np.where(broken, rng.random(clean.shape), clean)


def error(images):
    """Return the mean square of what is left of the noise."""
    return np.mean((images - clean) ** 2)


# %%
# One network, several λ
# ----------------------
#
# With λ = ∞ nothing moves to S. This is a plain autoencoder, and its
# reconstruction is the best it can offer. A robust autoencoder offers L. Seed,
# layers and training are the same for all.

lams = np.array([0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.6])
network = RobustDeepAutoencoder(
    penalty="l1",
    hidden_layer_sizes=(64, 12),
    activation="relu",
    output_activation="sigmoid",
    scaler=None,
    contamination=0.2,
    max_iter=10,
    n_epochs=20,
    lr=2e-3,
    n_estimators=1,
    random_state=0,
)
network.set_params(lam=np.inf).fit(corrupted)
plain = network.inverse_transform(network.transform(corrupted))
parts = [
    network.set_params(lam=lam).fit(corrupted).decompose(corrupted)
    for lam in lams
]
errors = np.array([error(low_rank) for low_rank, _ in parts])
best = errors.argmin()

# %%
# The best λ is known here because the clean images are known. In practice they
# are not: then use ``lam="auto"`` and set ``contamination`` to the share of
# the pixels that are corrupted.

network.set_params(lam="auto").fit(corrupted)
low_rank, sparse = network.decompose(corrupted)
print(f"error of the corrupted images        {error(corrupted):.4f}")
print(f"of the plain network's               {error(plain):.4f}")
print(f"of L at the best λ, {lams[best]:.2f}             {errors[best]:.4f}")
print(
    f"of L with lam='auto', which is {network.lam_:.2f}  {error(low_rank):.4f}"
)

# %%
# The error along λ
# -----------------
#
# If λ is too small, strokes are taken for noise. If it is too large, noise
# stays in the image.

figure, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
ax.plot(lams, errors, "o-", ms=4, label="L of the robust network")
ax.plot(
    network.lam_,
    error(low_rank),
    "D",
    color="tab:green",
    label="the same, lam='auto'",
)
ax.axhline(
    error(plain),
    color="tab:orange",
    label="reconstruction of the plain network, λ = ∞",
)
ax.axhline(error(corrupted), color="0.5", ls=":", label="corrupted images")
ax.set(xlabel="λ", ylabel="mean squared error", ylim=(0, None))
ax.legend(frameon=False, loc="lower right")
ax.spines[["top", "right"]].set_visible(False)

# %%
# Images
# ------
#
# S is red where it takes ink away and blue where it adds some.

shown = rng.choice(len(clean), 6, replace=False)
lines = {
    "clean": clean,
    "corrupted, X": corrupted,
    "plain network": plain,
    "L, lam='auto'": low_rank,
    "S": sparse,
}
figure, axes = plt.subplots(
    len(lines), len(shown), figsize=(6.5, 5), layout="constrained"
)
for line, (name, images) in zip(axes, lines.items(), strict=True):
    style = {"cmap": "gray_r", "vmin": 0, "vmax": 1}
    if images is sparse:
        style = {"cmap": "RdBu_r", "vmin": -1, "vmax": 1}
    for ax, image in zip(line, images[shown], strict=True):
        ax.imshow(image.reshape(8, 8), **style)
        ax.set(xticks=[], yticks=[])
    line[0].set_ylabel(name, rotation=0, ha="right", va="center")

# %%
# Which pixels S takes
# --------------------
#
# The share of pixels at which S is not zero: among those that the noise
# changed by more than half of the range, those that it changed by less, and
# those that it did not change.

change = np.abs(corrupted - clean)
groups = {
    "changed by more than ½": change > 0.5,
    "changed by less": broken & (change <= 0.5),
    "not changed": ~broken,
}
for name, group in groups.items():
    print(f"{name:<23} {np.mean(sparse[group] != 0):.2f}")
# sphinx_gallery_thumbnail_number = 2
plt.show()
