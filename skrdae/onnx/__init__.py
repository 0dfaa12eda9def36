"""Fitted detectors as ONNX graphs: raw rows in, scores and labels out."""

from __future__ import annotations

from os import PathLike

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skrdae._files import write_whole
from skrdae.detectors.base import BaseTorchDetector
from skrdae.onnx.graph import Graph
from skrdae.onnx.scores import scores_and_labels

__all__ = ["to_onnx"]


def to_onnx(detector: BaseTorchDetector, path: str | PathLike[str]) -> None:
    """Write a fitted detector as an ONNX model.

    Its input ``X`` is of shape (n, n_features), float32, rows as they come, for any n from 1. Its
    outputs are ``scores``, (n,), float64, what ``decision_function`` gives, and ``labels``,
    (n,), int64, what ``predict`` gives. Nothing is checked: a row with a NaN has the score NaN and
    the label 1 (or, with ``contamination="auto"``, any).

    Parameters
    ----------
    detector : estimator
        A fitted detector whose scoring is a forward pass: ``RobustDeepAutoencoder`` (and its CV),
        ``LSTMRobustAutoencoder``, ``TransformerRobustAutoencoder``, ``ConvRobustAutoencoder``,
        ``RobustPCA``, ``VAEDetector``, ``DenoisingDetector``, ``USADDetector``, ``AnoGANDetector``
        with ``inference="encoder"`` or ``"bidirectional"``, or a robust autoencoder of your own
        whose network PyTorch can export.
    path : str or path-like
        Of the file. It is moved to its place when it is whole.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the detector is not fitted.
    TypeError
        If it is of another kind, or scores by a penalty of your own.
    ValueError
        If it searches for codes, or PyTorch cannot export its network.
    ImportError
        Without the package onnx, which comes with the extra ``export``.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> import onnxruntime
    >>> from skrdae import RobustDeepAutoencoder, to_onnx
    >>> X = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    >>> detector = RobustDeepAutoencoder(random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_onnx(detector, os.path.join(folder, "detector.onnx"))
    ...     session = onnxruntime.InferenceSession(os.path.join(folder, "detector.onnx"))
    >>> scores, labels = session.run(None, {"X": X})
    >>> np.allclose(scores, detector.decision_function(X), rtol=1e-5)
    True
    """
    try:
        import onnx
    except ImportError as error:
        raise ImportError("skrdae.to_onnx needs onnx: pip install 'skrdae[export]'.") from error
    if not isinstance(detector, BaseTorchDetector):
        raise TypeError(
            f"to_onnx takes a detector of this package that scores rows, not a "
            f"{type(detector).__name__}. Of a pipeline or an adapter export the detector in it."
        )
    check_is_fitted(detector)
    graph = Graph(onnx)
    scores, labels = scores_and_labels(graph, detector.model_, detector.threshold_)
    model = graph.model(
        type(detector).__name__,
        detector.n_features_in_,
        {"scores": (scores, np.float64, ["n"]), "labels": (labels, np.int64, ["n"])},
    )
    write_whole(path, model.SerializeToString())
