"""
Deploy a pipeline: joblib, safetensors, ONNX
============================================

A fitted pipeline is written to a file and read again in three ways: as a
pickle by joblib, as a file that holds numbers and no code, and as an ONNX
graph that runs without Python.
"""

# %%
# A fitted pipeline
# -----------------
#
# Rows near a plane, some of them off it. The pipeline scales the columns and
# detects. An ONNX graph takes single precision, so the data are cast before
# the training.

import tempfile
from pathlib import Path

import joblib
import matplotlib.pyplot as plt
import numpy as np
import onnxruntime
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrdae import RobustDeepAutoencoder, load, save, to_onnx
from skrdae.plotting import ScoreDisplay

rng = np.random.default_rng(0)
X = rng.normal(size=(1000, 2)) @ rng.normal(size=(2, 8)) + 0.1 * rng.normal(
    size=(1000, 8)
)
y = np.arange(len(X)) % 50 == 0
X[y] += rng.normal(scale=3, size=(y.sum(), 8))
X = X.astype(np.float32)
train, new = X[:600], X[600:]
pipeline = make_pipeline(
    StandardScaler(),
    RobustDeepAutoencoder(scaler=None, contamination=0.03, random_state=0),
).fit(train)
expected = pipeline.decision_function(new)
folder = tempfile.TemporaryDirectory()


def report(name, path, scores):
    """Say how large a file is, and how far scores are from those before."""
    difference = np.abs(scores / expected - 1).max()
    size = path.stat().st_size / 1024
    print(f"{name:<12} {size:4.0f} KiB, largest difference {difference:.1e}")


# %%
# joblib
# ------
#
# The usual way for scikit-learn's estimators. A pickle runs code when it is
# loaded, so load only files that you trust, with the versions of the libraries
# that it was written with.

path = Path(folder.name, "pipeline.joblib")
joblib.dump(pipeline, path)
report("joblib", path, joblib.load(path).decision_function(new))

# %%
# safetensors
# -----------
#
# :func:`~skrdae.save` writes arrays and names. Nothing in the file is
# executed, and :func:`~skrdae.load` checks all of it. Detectors can be saved,
# and pipelines with scikit-learn's scalers or a
# :class:`~skrdae.tables.TableEncoder` before the detector.

path = Path(folder.name, "pipeline.safetensors")
save(pipeline, path)
report("safetensors", path, load(path).decision_function(new))

# %%
# ONNX
# ----
#
# :func:`~skrdae.to_onnx` writes the detector alone, with its ensemble and its
# threshold. Scale the rows before, or leave the scaling to the detector: with
# ``scaler="standard"`` in place of the pipeline it is a part of the graph,
# which then takes the rows as they are. Where rows are scored, an ONNX runtime
# is all that is needed.

whole = RobustDeepAutoencoder(
    scaler="standard", contamination=0.03, random_state=0
).fit(train)
path = Path(folder.name, "detector.onnx")
to_onnx(whole, path)
session = onnxruntime.InferenceSession(path)
scores, labels = session.run(None, {"X": new})
expected = whole.decision_function(new)
report("ONNX", path, scores)
n_found = y[600:][labels == 1].sum()
print(f"{labels.sum()} of {len(new)} new rows flagged, {n_found} anomalies")
print(f"labels that differ: {(labels != whole.predict(new)).sum()}")

# %%
# Scores agree to single precision, so that only a row whose score is next to
# the threshold could be labelled otherwise.

figure, (left, right) = plt.subplots(
    1, 2, figsize=(9, 4), layout="constrained"
)
for label, name, colour in (
    (0, "not flagged", "tab:blue"),
    (1, "flagged", "tab:red"),
):
    part = labels == label
    left.scatter(expected[part], scores[part], s=12, color=colour, label=name)
ends = [expected.min(), expected.max()]
left.plot(ends, ends, color="0.6", lw=1, zorder=0)
left.axvline(whole.threshold_, color="0.3", ls="--", lw=1, label="threshold")
left.axhline(whole.threshold_, color="0.3", ls="--", lw=1)
left.set(
    xlabel="score by skrdae",
    ylabel="score by onnxruntime",
    xscale="log",
    yscale="log",
)
left.legend(frameon=False)
left.spines[["top", "right"]].set_visible(False)
ScoreDisplay.from_predictions(scores, whole.threshold_, y[600:], ax=right)
right.set_title("scores of the graph")

folder.cleanup()
plt.show()
