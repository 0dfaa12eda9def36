"""What each detector makes of rows: scores and labels."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from skrdae.detectors.anogan import AnoGANDetector
from skrdae.detectors.base import BaseTorchDetector
from skrdae.detectors.decomposition import BaseDecomposition
from skrdae.detectors.encoding import GenerativeMixin
from skrdae.detectors.residual_scale import FAR, LARGEST_RATIO
from skrdae.detectors.vae import VAEDetector
from skrdae.networks.mlp import MemberMLP
from skrdae.networks.variational import MOST_LOG_VARIANCE
from skrdae.onnx.graph import Graph, as_array
from skrdae.onnx.perceptrons import perceptron
from skrdae.onnx.recurrent import recurrent
from skrdae.penalties import PENALTIES
from skrdae.preprocessing import CHANGED, LARGEST

#: The detectors that there are graphs for.
Exportable: TypeAlias = BaseDecomposition | VAEDetector | AnoGANDetector


def scores_and_labels(graph: Graph, detector: Exportable) -> tuple[str, str]:
    """Return the scores and the labels of the rows X: (n,) float64, (n,) int64."""
    rows = _scaled(graph, detector)
    members: tuple[str, str | None]
    if isinstance(detector, VAEDetector):
        members = _vae_scores(graph, detector, rows)
    elif isinstance(detector, AnoGANDetector):
        members = _gan_scores(graph, detector, rows)
    else:
        members = _residual_scores(graph, detector, rows)
    return _finish(graph, detector, *members)


def _scaled(graph: Graph, detector: BaseTorchDetector) -> str:
    """Rows as the networks' side sees them: (n, d), float32."""
    scaler = detector.scaler_
    wide = graph.cast("X", np.float64)
    wide = graph.op("Sub", wide, graph.constant(scaler.center_, np.float64))
    wide = graph.op("Div", wide, graph.constant(scaler.scale_, np.float64))
    if scaler.constant_.any():
        # Any change counts as one of CHANGED; what is the same in single precision is none.
        limit = np.where(scaler.constant_, CHANGED, LARGEST)
        wide = graph.op("Max", wide, graph.constant(-limit, np.float64))
        wide = graph.op("Min", wide, graph.constant(limit, np.float64))
        least = graph.constant(np.where(scaler.constant_, 1.0, 0.0), np.float64)
        same = graph.op("Less", graph.op("Abs", wide), least)  # and never where it is NaN
        wide = graph.op("Where", same, graph.constant(0.0, np.float64), wide)
    return graph.cast(graph.clip(wide, -LARGEST, LARGEST, np.float64), np.float32)


def _clipped(graph: Graph, detector: BaseTorchDetector, rows: str) -> str:
    bound = detector.scaler_.bound_
    return graph.clip(rows, -bound, bound)


# ------------------------------------------------------------------------- X = L + S


def _residual_scores(
    graph: Graph, detector: BaseDecomposition, rows: str
) -> tuple[str, str | None]:
    """Return each member's scores, (K, n), and what it flags, or None."""
    network, scale, by_vote = detector.network_, detector._residual_scale, detector._by_vote
    shown = _clipped(graph, detector, rows)
    if isinstance(network, MemberMLP):
        fit = perceptron(graph, network, shown)[-1]
    else:
        fit = recurrent(graph, network, shown)
    residual = graph.op("Sub", rows, fit)
    votes = _votes(graph, detector, residual) if by_vote else None
    if scale is None:
        return _row_values(graph, detector, residual), votes
    # In double precision, because ONNX has no logarithm of 1 + a.
    ratio = graph.op("Div", residual, graph.constant(as_array(scale)))
    ratio = graph.op("Min", graph.op("Abs", ratio), graph.constant(LARGEST_RATIO))
    ratio = graph.cast(ratio, np.float64)
    one = graph.constant(1.0, np.float64)
    logarithm = graph.op("Log", graph.op("Add", graph.op("Mul", ratio, ratio), one))
    far = graph.constant(FAR * np.sqrt(detector.n_features_in_), np.float64)
    return graph.sum(graph.op("Add", logarithm, graph.op("Mul", ratio, far)), -1), votes


def _penalty_name(detector: BaseDecomposition) -> str:
    """Return the name of the penalty that a detector was fitted with."""
    fitted = type(detector._penalty)
    for name, penalty in PENALTIES.items():
        if fitted is type(penalty):
            return name
    raise TypeError(
        f"A graph knows the penalties {', '.join(PENALTIES)}; {fitted.__name__} "
        "is one of your own. Scores by logarithms (score_function='log', contamination a share) "
        "do without it."
    )


def _row_values(graph: Graph, detector: BaseDecomposition, residual: str) -> str:
    if _penalty_name(detector) == "l21":
        return graph.op("ReduceL2", residual, axes=[-1], keepdims=0)
    return graph.sum(graph.op("Abs", residual), -1)


def _votes(graph: Graph, detector: BaseDecomposition, residual: str) -> str:
    """Return which rows each member's prox leaves a part of S: (K, n), bool."""
    lam, column_norms = as_array(detector._lam).reshape(-1, 1), detector._norms
    size = graph.op("Abs", residual)
    penalty = _penalty_name(detector)
    if penalty == "l21":
        norms = graph.op("ReduceL2", residual, axes=[-1], keepdims=0)
        return graph.op("Greater", norms, graph.constant(lam))
    if penalty == "l1":
        largest = graph.op("ReduceMax", size, axes=[-1], keepdims=0)
        return graph.op("Greater", largest, graph.constant(lam))
    # Only trainings with other penalties leave no norms.
    moved = as_array(column_norms) > lam[:, :, None]  # type: ignore[arg-type]  # columns
    size = graph.op("Mul", size, graph.constant(moved))
    largest = graph.op("ReduceMax", size, axes=[-1], keepdims=0)
    return graph.op("Greater", largest, graph.constant(0.0))


# ----------------------------------------------------------------- codes with a prior


def _in_units(graph: Graph, detector: GenerativeMixin, rows: str) -> str:
    scaled = graph.op("Div", rows, graph.constant(detector._level))
    return graph.clip(scaled, -LARGEST, LARGEST)


def _vae_scores(graph: Graph, detector: VAEDetector, rows: str) -> tuple[str, None]:
    network, beta, draws = detector.network_, detector._beta, as_array(detector._draws)
    units = network.latent_dim
    shown = _in_units(graph, detector, _clipped(graph, detector, rows))
    encoded = perceptron(graph, network.encoder, shown)[-1]
    halves = graph.constant([units, units], np.int64)
    mean, log_variance = graph.op("Split", encoded, halves, n_outputs=2, axis=-1)
    log_variance = graph.op("Min", log_variance, graph.constant(MOST_LOG_VARIANCE))
    if draws.shape[1] == 0:
        error = _vae_error(graph, detector, rows, mean)
        wide, log_wide = (graph.cast(v, np.float64) for v in (mean, log_variance))
        half, one = graph.constant(0.5, np.float64), graph.constant(1.0, np.float64)
        excess = graph.op("Sub", graph.op("Sub", graph.op("Exp", log_wide), one), log_wide)
        terms = graph.op("Mul", graph.op("Add", excess, graph.op("Mul", wide, wide)), half)
        terms = graph.op("Max", terms, graph.constant(0.0, np.float64))
        weight = graph.constant(beta, np.float64)
        return graph.op("Add", error, graph.op("Mul", graph.sum(terms, -1), weight)), None
    spread = graph.op("Exp", graph.op("Mul", log_variance, graph.constant(0.5)))
    total = ""
    for sample in range(draws.shape[1]):
        drawn = graph.constant(draws[:, sample : sample + 1])
        z = graph.op("Add", mean, graph.op("Mul", spread, drawn))
        error = _vae_error(graph, detector, rows, z)
        total = graph.op("Add", total, error) if total else error
    return graph.op("Div", total, graph.constant(float(draws.shape[1]), np.float64)), None


def _vae_error(graph: Graph, detector: VAEDetector, rows: str, z: str) -> str:
    """Return −log p(x|z) of each row, up to a constant: (K, n), float64."""
    decoder, likelihood = detector.network_.decoder, detector._likelihood
    variance = detector._variance
    decoded = graph.cast(perceptron(graph, decoder, z)[-1], np.float64)
    if likelihood == "gaussian":
        x = graph.cast(_in_units(graph, detector, rows), np.float64)
        error = graph.op("Sub", x, decoded)
        twice = graph.constant(2.0 * as_array(variance), np.float64)
        return graph.sum(graph.op("Div", graph.op("Mul", error, error), twice), -1)
    inside = graph.clip(rows, 0.0, 1.0)
    beyond = graph.cast(graph.op("Sub", rows, inside), np.float64)
    product = graph.op("Mul", graph.cast(inside, np.float64), decoded)
    # log(1 + exp z), by operators that runtimes have in double precision.
    one, zero = graph.constant(1.0, np.float64), graph.constant(0.0, np.float64)
    small = graph.op("Exp", graph.op("Neg", graph.op("Abs", decoded)))
    small = graph.op("Log", graph.op("Add", small, one))
    softplus = graph.op("Add", graph.op("Max", decoded, zero), small)
    entropy = graph.op("Sub", softplus, product)
    entropy = graph.op("Max", entropy, zero)
    return graph.sum(graph.op("Add", entropy, graph.op("Mul", beyond, beyond)), -1)


def _gan_scores(graph: Graph, detector: AnoGANDetector, rows: str) -> tuple[str, None]:
    network, lam = detector.network_, detector._lam
    shown = _in_units(graph, detector, _clipped(graph, detector, rows))
    # Without an encoder it searches, which is refused before.
    z = perceptron(graph, network.encoder, shown)[-1]  # type: ignore[arg-type]
    made = perceptron(graph, network.generator, z)[-1]
    inner = len(network.discriminator.weights) - 1
    real, fake = (perceptron(graph, network.discriminator, x, inner)[-1] for x in (shown, made))
    residual = graph.op("Sub", _in_units(graph, detector, rows), made)
    parts = []
    for difference, weight in ((residual, 1 - lam), (graph.op("Sub", real, fake), lam)):
        total = graph.sum(graph.op("Abs", difference), -1)
        parts.append(graph.op("Mul", total, graph.constant(weight)))
    return graph.op("Add", *parts), None


# --------------------------------------------------------------------- scores and labels


def _finish(
    graph: Graph, detector: BaseTorchDetector, members: str, votes: str | None
) -> tuple[str, str]:
    weights = graph.constant(detector._weights.reshape(-1, 1), np.float64)
    limit = detector.threshold_
    scores = graph.sum(graph.op("Mul", graph.cast(members, np.float64), weights), 0)
    if votes is None:
        # Not "greater": a row with a missing value has no score, and is no ordinary row.
        threshold = graph.constant(limit, np.float64)
        flagged = graph.op("Not", graph.op("LessOrEqual", scores, threshold))
    else:
        share = graph.op("ReduceMean", graph.cast(votes, np.float64), axes=[0], keepdims=0)
        flagged = graph.op("Greater", share, graph.constant(0.5, np.float64))
    return scores, graph.cast(flagged, np.int64)
