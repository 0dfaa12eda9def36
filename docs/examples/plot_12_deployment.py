"""
Save, load, export to ONNX
==========================

A fitted detector is written to a file and read again, and exported as a graph that gives scores and
labels wherever an ONNX runtime goes, without Python or PyTorch.
"""

# %%
# A detector
# ----------
#
# Rows near a plane, some of them off it. A graph takes single precision, so the data are cast
# before the training.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import onnxruntime

from skrdae import RobustDeepAutoencoder, load, save, to_onnx
from skrdae.plotting import ScoreDisplay

rng = np.random.default_rng(0)
X = rng.normal(size=(1000, 2)) @ rng.normal(size=(2, 8)) + 0.1 * rng.normal(size=(1000, 8))
y = np.arange(len(X)) % 50 == 0
X[y] += rng.normal(scale=3, size=(y.sum(), 8))
X = X.astype(np.float32)
train, new = X[:600], X[600:]
detector = RobustDeepAutoencoder(contamination=0.03, random_state=0).fit(train)

# %%
# A file that runs nothing
# ------------------------
#
# The file holds arrays and names, and no code. What is read from it scores as before, to the last
# bit.

folder = tempfile.TemporaryDirectory()
path = Path(folder.name, "detector.safetensors")
save(detector, path)
again = load(path)
same = np.array_equal(again.decision_function(new), detector.decision_function(new))
print(f"{path.stat().st_size / 1024:.0f} KiB; scores equal to the last bit: {same}")

# %%
# A graph
# -------
#
# Scaling, the members of the ensemble and the threshold are inside. ``session`` is all that has to
# be there where rows are scored.

model = Path(folder.name, "detector.onnx")
to_onnx(detector, model)
session = onnxruntime.InferenceSession(model)
scores, labels = session.run(None, {"X": new})
expected = detector.decision_function(new)
print(f"{model.stat().st_size / 1024:.0f} KiB")
print(f"largest relative difference of scores: {np.abs(scores / expected - 1).max():.1e}")
print(f"labels equal: {np.array_equal(labels, detector.predict(new))}")
print(f"{labels.sum()} of {len(new)} new rows flagged, {y[600:][labels == 1].sum()} anomalies")

# %%
# New rows as both see them: on the diagonal scores agree, and both flag what lies beyond the lines.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
for label, name, colour in ((0, "not flagged", "tab:blue"), (1, "flagged", "tab:red")):
    part = labels == label
    left.scatter(expected[part], scores[part], s=12, color=colour, label=name)
ends = [expected.min(), expected.max()]
left.plot(ends, ends, color="0.6", lw=1, zorder=0)
left.axvline(detector.threshold_, color="0.3", ls="--", lw=1, label="threshold")
left.axhline(detector.threshold_, color="0.3", ls="--", lw=1)
left.set(xlabel="score by skrdae", ylabel="score by onnxruntime", xscale="log", yscale="log")
left.legend(frameon=False)
left.spines[["top", "right"]].set_visible(False)
ScoreDisplay.from_predictions(scores, detector.threshold_, y[600:], ax=right)
right.set_title("scores of the graph")

folder.cleanup()
plt.show()
