"""
Find broken images with a convolutional network
===============================================

Colour images of a bar somewhere, in which a few have a bar that stands
upright, and one has a stain. :class:`~skrdae.ConvRobustAutoencoder` is fitted
to the mixture without labels.
"""

# %%
# Images in their shape
# ---------------------
#
# The detector takes images as they are: height, width and, last, channels.
# Pixels should lie in [0, 1].

import matplotlib.pyplot as plt
import numpy as np

from skrdae import ConvRobustAutoencoder
from skrdae.plotting import DecompositionDisplay

rng = np.random.default_rng(0)
lines = np.arange(16)[:, None]
places = rng.uniform(3, 13, size=(400, 1, 1))
bars = np.exp(-((lines - places) ** 2) / 4) * np.ones(16)
bars[:8] = bars[:8].transpose(0, 2, 1)
X = bars[..., None] * np.array([0.9, 0.5, 0.2])
X += 0.03 * rng.random(X.shape)
X[8, 4:8, 9:13, 2] += 0.6
print("X:", X.shape)

# %%
# The fit
# -------
#
# The images are few, so the training is longer than by default. Those of which
# the network can explain the least leave the training, twice as many as
# ``contamination`` says; the network learns from the others.

detector = ConvRobustAutoencoder(
    max_iter=20, contamination=9 / 400, random_state=0
).fit(X)
print("flagged:", np.flatnonzero(detector.labels_))

# %%
# What L and S show
# -----------------
#
# The nine flagged images and seven others. The display knows the shape of the
# images from the detector. S is the mean over the colours.

DecompositionDisplay.from_estimator(detector, X[:16])

# %%
# Where it is
# -----------
#
# ``explain`` gives maps in the shape of the images. For the image with the
# stain, the map in the third colour is bright where the stain is.

shares = detector.explain(X[8:9])[0]
figure, axes = plt.subplots(1, 2, figsize=(5, 2.6), layout="constrained")
axes[0].imshow(X[8].clip(0, 1))
axes[1].imshow(shares[..., 2])
for ax, title in zip(axes, ["image", "share of the score"], strict=True):
    ax.set(xticks=[], yticks=[], title=title)
plt.show()
