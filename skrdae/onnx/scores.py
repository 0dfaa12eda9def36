"""What a fitted model makes of rows: scores and labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from skrdae.model import FittedModel
from skrdae.networks.denoiser import MemberDenoiser
from skrdae.networks.gan import MemberGAN
from skrdae.networks.member import MemberModule
from skrdae.networks.mlp import MemberMLP
from skrdae.networks.recurrent import MemberRecurrentAutoencoder
from skrdae.networks.stacked import StackedModule
from skrdae.networks.two_decoders import MemberTwoDecoders
from skrdae.networks.variational import MOST_LOG_VARIANCE, MemberVAE
from skrdae.onnx.graph import Graph, as_array
from skrdae.onnx.modules import member_nodes
from skrdae.onnx.perceptrons import denoiser, perceptron
from skrdae.onnx.recurrent import recurrent
from skrdae.penalties import PENALTIES
from skrdae.penalties.l20 import least_size
from skrdae.preprocessing import CHANGED, LARGEST, ColumnScaler
from skrdae.scorers.denoising import DenoisingScorer
from skrdae.scorers.generative import ElboScorer, UnitScorer
from skrdae.scorers.mismatch import MismatchScorer
from skrdae.scorers.residual import ResidualScorer
from skrdae.scorers.residual_scale import FAR, LARGEST_RATIO
from skrdae.scorers.smoothed import LEAST, POWER, SmoothedScorer, blur_matrices
from skrdae.scorers.two_decoders import TwoDecodersScorer


def scores_and_labels(graph: Graph, model: FittedModel, threshold: float) -> tuple[str, str]:
    """Return the scores and the labels of the rows X: (n,) float64, (n,) int64.

    Parameters
    ----------
    graph : Graph
        Whose rows X have as many columns as the model was fitted to.
    model : FittedModel
    threshold : float
        Above which a score is flagged, unless the members vote.

    Raises
    ------
    TypeError
        If there are no nodes for the model's scorer, network or penalty.
    ValueError
        If a network cannot be part of a graph; see :func:`~skrdae.onnx.modules.module_nodes`.
    """
    scorer, network = model.scorer, model.network
    rows = _scaled(graph, model.scaler)
    votes = None
    if isinstance(scorer, ResidualScorer):
        n_features = len(model.scaler.center_)
        residual = _residual(graph, scorer, network, rows, n_features)
        if isinstance(scorer, SmoothedScorer):
            members = _smoothed_scores(graph, scorer, residual, rows)
        else:
            members = _residual_scores(graph, scorer, residual, n_features)
        votes = _votes(graph, scorer, residual, rows, n_features) if model.by_vote else None
    elif isinstance(scorer, ElboScorer) and isinstance(network, MemberVAE):
        members = _vae_scores(graph, scorer, network, rows)
    elif isinstance(scorer, MismatchScorer) and isinstance(network, MemberGAN):
        members = _gan_scores(graph, scorer, network, rows)
    elif isinstance(scorer, TwoDecodersScorer) and isinstance(network, MemberTwoDecoders):
        members = _two_decoders_scores(graph, scorer, network, rows)
    elif isinstance(scorer, DenoisingScorer) and isinstance(network, MemberDenoiser):
        members = _denoising_scores(graph, scorer, network, rows)
    else:
        raise TypeError(
            f"There are no nodes for a {type(scorer).__name__} of a {type(network).__name__}: "
            "to_onnx takes detectors that score by a ResidualScorer, or as VAEDetector, "
            "AnoGANDetector, DenoisingDetector or USADDetector."
        )
    return _finish(graph, model, threshold, members, votes)


def _scaled(graph: Graph, scaler: ColumnScaler) -> str:
    """Return the rows as scorers see them: (n, d), float32."""
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


# ------------------------------------------------------------------------- X = L + S


def _residual(
    graph: Graph, scorer: ResidualScorer, network: MemberModule, rows: str, n_features: int
) -> str:
    """Return X − D(E(X)) of every member: (K, n, d)."""
    shown = graph.clip(rows, -scorer.bound, scorer.bound)
    if isinstance(network, MemberMLP):
        fit = perceptron(graph, network, shown)[-1]
    elif isinstance(network, MemberRecurrentAutoencoder):
        fit = recurrent(graph, network, shown)
    elif isinstance(network, StackedModule):
        fit = member_nodes(graph, network.modules_of_members(), shown, n_features)
    else:
        raise TypeError(
            f"There are no nodes for a {type(network).__name__}: let the detector return an "
            "ordinary nn.Module from _new_module, which PyTorch can export."
        )
    return graph.op("Sub", rows, fit)


def _residual_scores(graph: Graph, scorer: ResidualScorer, residual: str, n_features: int) -> str:
    """Return each member's scores: (K, n)."""
    if scorer.scale is None:
        if _penalty_name(scorer) in ("l21", "l20"):
            return graph.op("ReduceL2", residual, axes=[-1], keepdims=0)
        return graph.sum(graph.op("Abs", residual), -1)
    # In double precision, because ONNX has no logarithm of 1 + a.
    ratio = graph.op("Div", residual, graph.constant(as_array(scorer.scale)))
    ratio = graph.op("Min", graph.op("Abs", ratio), graph.constant(LARGEST_RATIO))
    ratio = graph.cast(ratio, np.float64)
    one = graph.constant(1.0, np.float64)
    logarithm = graph.op("Log", graph.op("Add", graph.op("Mul", ratio, ratio), one))
    far = graph.constant(FAR * np.sqrt(n_features), np.float64)
    return graph.sum(graph.op("Add", logarithm, graph.op("Mul", ratio, far)), -1)


def _smoothed_scores(graph: Graph, scorer: SmoothedScorer, residual: str, rows: str) -> str:
    """Return each member's scores: (K, n)."""

    def size(value: str) -> str:
        """Return norms of blurred images: (m, n, d) → (m, n)."""
        shape = graph.op("Shape", value)
        lines = graph.constant([-1, len(down), len(across)], np.int64)
        value = graph.op("Reshape", value, lines)
        value = graph.op("MatMul", graph.constant(as_array(down)), value)
        value = graph.op("MatMul", value, graph.constant(as_array(across)))
        return graph.op("ReduceL2", graph.op("Reshape", value, shape), axes=[-1], keepdims=0)

    down, across = blur_matrices(scorer.image_shape)
    shares = graph.op("Div", size(rows), graph.constant(scorer.level))
    shares = graph.op("Max", shares, graph.constant(LEAST))
    return graph.op("Mul", size(residual), graph.op("Pow", shares, graph.constant(-POWER)))


def _penalty_name(scorer: ResidualScorer) -> str:
    """Return the name of the penalty that a model was fitted with."""
    fitted = type(scorer.penalty)
    for name, penalty in PENALTIES.items():
        if fitted is type(penalty):
            return name
    raise TypeError(
        f"A graph knows the penalties {', '.join(PENALTIES)}; {fitted.__name__} "
        "is one of your own. Scores by logarithms (score_function='log', contamination a share) "
        "do without it."
    )


def _votes(graph: Graph, scorer: ResidualScorer, residual: str, rows: str, n_features: int) -> str:
    """Return which rows each member's prox leaves a part of S: (K, n), bool."""
    lam = as_array(scorer.lam).reshape(-1, 1)
    size = graph.op("Abs", residual)
    penalty = _penalty_name(scorer)
    if penalty in ("l21", "l20"):
        norms = graph.op("ReduceL2", residual, axes=[-1], keepdims=0)
        if penalty == "l20":
            of_rows = graph.op("ReduceL2", rows, axes=[-1], keepdims=0)
            least = least_size(n_features)
            small = graph.op("Less", of_rows, graph.constant(least))
            inverse = graph.op("Div", graph.constant(least**2), of_rows)
            norms = graph.op("Div", norms, graph.op("Where", small, inverse, of_rows))
        return graph.op("Greater", norms, graph.constant(lam))
    if penalty == "l1":
        largest = graph.op("ReduceMax", size, axes=[-1], keepdims=0)
        return graph.op("Greater", largest, graph.constant(lam))
    # Only trainings with other penalties leave no norms.
    of_columns: Any = scorer.norms
    moved = as_array(of_columns) > lam[:, :, None]
    size = graph.op("Mul", size, graph.constant(moved))
    largest = graph.op("ReduceMax", size, axes=[-1], keepdims=0)
    return graph.op("Greater", largest, graph.constant(0.0))


# ----------------------------------------------------------------- codes with a prior


def _in_units(graph: Graph, scorer: UnitScorer, rows: str) -> str:
    scaled = graph.op("Div", rows, graph.constant(scorer.level))
    return graph.clip(scaled, -LARGEST, LARGEST)


def _shown(graph: Graph, scorer: UnitScorer, rows: str) -> str:
    return _in_units(graph, scorer, graph.clip(rows, -scorer.bound, scorer.bound))


def _vae_scores(graph: Graph, scorer: ElboScorer, network: MemberVAE, rows: str) -> str:
    """Return each member's scores: (K, n)."""
    draws, units = as_array(scorer.draws), network.latent_dim
    shown = _shown(graph, scorer, rows)
    encoded = perceptron(graph, network.encoder, shown)[-1]
    halves = graph.constant([units, units], np.int64)
    mean, log_variance = graph.op("Split", encoded, halves, n_outputs=2, axis=-1)
    log_variance = graph.op("Min", log_variance, graph.constant(MOST_LOG_VARIANCE))
    if draws.shape[1] == 0:
        error = _vae_error(graph, scorer, network, rows, mean)
        wide, log_wide = (graph.cast(v, np.float64) for v in (mean, log_variance))
        half, one = graph.constant(0.5, np.float64), graph.constant(1.0, np.float64)
        excess = graph.op("Sub", graph.op("Sub", graph.op("Exp", log_wide), one), log_wide)
        terms = graph.op("Mul", graph.op("Add", excess, graph.op("Mul", wide, wide)), half)
        terms = graph.op("Max", terms, graph.constant(0.0, np.float64))
        weight = graph.constant(scorer.beta, np.float64)
        return graph.op("Add", error, graph.op("Mul", graph.sum(terms, -1), weight))
    spread = graph.op("Exp", graph.op("Mul", log_variance, graph.constant(0.5)))
    total = ""
    for sample in range(draws.shape[1]):
        drawn = graph.constant(draws[:, sample : sample + 1])
        z = graph.op("Add", mean, graph.op("Mul", spread, drawn))
        error = _vae_error(graph, scorer, network, rows, z)
        total = graph.op("Add", total, error) if total else error
    return graph.op("Div", total, graph.constant(float(draws.shape[1]), np.float64))


def _vae_error(graph: Graph, scorer: ElboScorer, network: MemberVAE, rows: str, z: str) -> str:
    """Return −log p(x|z) of each row, up to a constant: (K, n), float64."""
    decoded = graph.cast(perceptron(graph, network.decoder, z)[-1], np.float64)
    if scorer.likelihood == "gaussian":
        x = graph.cast(_in_units(graph, scorer, rows), np.float64)
        error = graph.op("Sub", x, decoded)
        twice = graph.constant(2.0 * as_array(scorer.variance), np.float64)
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


def _gan_scores(graph: Graph, scorer: MismatchScorer, network: MemberGAN, rows: str) -> str:
    """Return each member's scores: (K, n)."""
    if network.encoder is None or scorer.n_search_iter:
        raise ValueError(
            "The detector searches for a code for each row, which is no forward pass. Fit with "
            "inference='encoder' or 'bidirectional' to export it."
        )
    shown = _shown(graph, scorer, rows)
    z = perceptron(graph, network.encoder, shown)[-1]
    made = perceptron(graph, network.generator, z)[-1]
    inner = len(network.discriminator.weights) - 1
    seen = [shown, made]
    if network.joint:
        apart = graph.op("Expand", shown, graph.op("Shape", made))  # rows are those of all members
        seen = [graph.op("Concat", x, z, axis=-1) for x in (apart, made)]
    real, fake = (perceptron(graph, network.discriminator, x, inner)[-1] for x in seen)
    residual = graph.op("Sub", _in_units(graph, scorer, rows), made)
    parts = []
    weighted = (residual, 1 - scorer.lam), (graph.op("Sub", real, fake), scorer.lam)
    for difference, weight in weighted:
        total = graph.sum(graph.op("Abs", difference), -1)
        parts.append(graph.op("Mul", total, graph.constant(weight)))
    return graph.op("Add", *parts)


# ------------------------------------------------------------------------ two decoders


def _two_decoders_scores(
    graph: Graph, scorer: TwoDecodersScorer, network: MemberTwoDecoders, rows: str
) -> str:
    """Return each member's scores: (K, n)."""
    shown, whole = _shown(graph, scorer, rows), _in_units(graph, scorer, rows)
    first = perceptron(graph, network.first, perceptron(graph, network.encoder, shown)[-1])[-1]
    both = perceptron(graph, network.second, perceptron(graph, network.encoder, first)[-1])[-1]
    parts = []
    for made, weight in ((first, scorer.alpha), (both, 1 - scorer.alpha)):
        residual = graph.op("Sub", whole, made)
        total = graph.sum(graph.op("Mul", residual, residual), -1)
        parts.append(graph.op("Mul", total, graph.constant(weight)))
    return graph.op("Add", *parts)


# ---------------------------------------------------------------------------- denoising


def _denoising_scores(
    graph: Graph, scorer: DenoisingScorer, network: MemberDenoiser, rows: str
) -> str:
    """Return each member's scores: (K, n)."""
    shown, whole = _shown(graph, scorer, rows), _in_units(graph, scorer, rows)
    column = graph.op("ReduceSum", shown, graph.constant([-1], np.int64), keepdims=1)
    nothing = graph.op("Mul", column, graph.constant(0.0))
    largest = ""
    for level, sigma in enumerate(scorer.noise_levels):
        told = graph.op("Add", nothing, graph.constant(0.5 * np.log(sigma)))
        made = denoiser(graph, network, graph.op("Concat", shown, told, axis=-1))
        moved = graph.op("ReduceL2", graph.op("Sub", made, whole), axes=[-1], keepdims=0)
        ratio = graph.op("Div", moved, graph.constant(as_array(scorer.scale)[:, :, level]))
        largest = graph.op("Max", largest, ratio) if largest else ratio
    return largest


# --------------------------------------------------------------------- scores and labels


def _finish(
    graph: Graph, model: FittedModel, threshold: float, members: str, votes: str | None
) -> tuple[str, str]:
    weights = graph.constant(model.weights.reshape(-1, 1), np.float64)
    scores = graph.sum(graph.op("Mul", graph.cast(members, np.float64), weights), 0)
    if votes is None:
        # Not "greater": a row with a missing value has no score, and is no ordinary row.
        limit = graph.constant(threshold, np.float64)
        flagged = graph.op("Not", graph.op("LessOrEqual", scores, limit))
    else:
        share = graph.op("ReduceMean", graph.cast(votes, np.float64), axes=[0], keepdims=0)
        flagged = graph.op("Greater", share, graph.constant(0.5, np.float64))
    return scores, graph.cast(flagged, np.int64)
