"""
Compare networks for windows of a series
========================================

Two sensors whose values repeat with a period of 48 steps. Where one sensor
runs late, each value is usual by itself: only the pattern is wrong.
:class:`~skrdae.TransformerRobustAutoencoder`,
:class:`~skrdae.LSTMVAEDetector` and :class:`~skrdae.USADDetector` score
windows of both sensors, and :class:`~skrdae.WindowedDetector` turns their
scores into scores of steps.
"""

# %%
# The series
# ----------

import matplotlib.pyplot as plt
import numpy as np

from skrdae import (
    LSTMVAEDetector,
    TransformerRobustAutoencoder,
    USADDetector,
    WindowedDetector,
)

rng = np.random.default_rng(0)
phase = 2 * np.pi * np.arange(1500) / 48
late = phase.copy()
late[900:960] -= 1.5  # the second sensor is twelve steps late for a while
series = np.column_stack(
    [np.sin(phase), np.cos(late) + 0.3 * np.sin(2 * late)]
)
series += 0.1 * rng.normal(size=series.shape)

# %%
# Scores of steps
# ---------------
#
# All detectors of windows take ``n_channels``, and have the methods of every
# detector here. No label is used.

detectors = {
    "Transformer": TransformerRobustAutoencoder,
    "LSTM-VAE": LSTMVAEDetector,
    "USAD": USADDetector,
}
fitted = {
    name: WindowedDetector(
        cls(n_channels=2, random_state=0), window_size=48, max_windows=256
    ).fit(series)
    for name, cls in detectors.items()
}

figure, axes = plt.subplots(
    4, sharex=True, figsize=(8, 6), layout="constrained"
)
axes[0].plot(series, lw=0.8)
axes[0].set(title="both sensors", xlim=(700, 1150))
for ax, (name, detector) in zip(axes[1:], fitted.items(), strict=True):
    ax.plot(detector.decision_scores_, color="C3", lw=1)
    ax.axvspan(900, 960, color="C2", alpha=0.2, lw=0)
    ax.set(title=f"{name}: score of a step", yticks=[])
for ax in axes:
    ax.spines[["top", "right"]].set_visible(False)

# %%
# The sensor to blame
# -------------------
#
# ``explain`` splits the score of a window over steps and sensors.

window = series[None, 910:958]
for name, detector in fitted.items():
    shares = detector.detector_.explain(window)[0].sum(axis=0)
    share = shares[1] / shares.sum()
    print(f"{name:<12} the second sensor has {share:.0%} of the score")

# %%
# Attention
# ---------
#
# ``attention`` says from which patches of a window the Transformer's encoder
# took what it made of each patch. It shows where the network looked; what made
# a score high is what ``explain`` shows.

transformer = fitted["Transformer"].detector_
usual = series[None, 48:96]
figure, axes = plt.subplots(1, 2, figsize=(7, 3.3), layout="constrained")
for ax, name, X in zip(
    axes, ("usual", "the sensor is late"), (usual, window), strict=True
):
    ax.imshow(transformer.attention(X)[0, 0], cmap="Blues", vmin=0)
    ax.set(title=name, xlabel="patch looked at", ylabel="patch")

# %%
# USAD: α after the training
# --------------------------
#
# USAD adds the errors of two decoders, weighted by α. ``set_alpha`` sets α of
# a fitted detector, and the threshold with it, so that the same share of the
# training windows is flagged. Here it is fitted to windows before the fault.

windows = np.lib.stride_tricks.sliding_window_view(series, 48, axis=0)
windows = windows.transpose(0, 2, 1)
usad = USADDetector(n_channels=2, contamination=0.02, random_state=0)
usad.fit(windows[:840:4])
for alpha in (0.1, 0.5, 0.9):
    usad.set_alpha(alpha)
    found = usad.predict(windows[880:940]).mean()
    false = usad.predict(windows[1000:]).mean()
    print(f"alpha={alpha}: flags {found:.0%} at the fault, {false:.1%} later")
plt.show()
