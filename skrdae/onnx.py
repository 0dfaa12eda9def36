"""Fitted detectors as ONNX graphs: raw rows in, scores and labels out."""

from __future__ import annotations

from os import PathLike
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

import numpy as np
import torch
from numpy.typing import ArrayLike, DTypeLike, NDArray
from sklearn.utils.validation import check_is_fitted

from skrdae._files import write_whole
from skrdae.detectors.anogan import AnoGANDetector
from skrdae.detectors.base import BaseTorchDetector
from skrdae.detectors.decomposition import BaseDecomposition
from skrdae.detectors.encoding import GenerativeMixin
from skrdae.detectors.residual_scale import FAR, LARGEST_RATIO
from skrdae.detectors.vae import VAEDetector
from skrdae.networks.mlp import MemberMLP
from skrdae.networks.recurrent import MemberRecurrentAutoencoder
from skrdae.networks.variational import MOST_LOG_VARIANCE
from skrdae.penalties import PENALTIES
from skrdae.preprocessing import CHANGED, LARGEST

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

#: The detectors that there are graphs for.
Exportable: TypeAlias = BaseDecomposition | VAEDetector | AnoGANDetector
#: Of ONNX's operators: old enough for any runtime in use, and with all that is needed.
_OPSET = 17
_ACTIVATIONS = {"tanh": "Tanh", "relu": "Relu", "sigmoid": "Sigmoid"}


def to_onnx(detector: Exportable, path: str | PathLike[str]) -> None:
    """Write a fitted detector as an ONNX model.

    Its input ``X`` is of shape (n, n_features), float32, rows as they come, for any n from 1. Its
    outputs are ``scores``, (n,), float64, what ``decision_function`` gives, and ``labels``,
    (n,), int64, what ``predict`` gives. Nothing is checked: a row with a NaN has the score NaN and
    the label 1 (or, with ``contamination="auto"``, any).

    Parameters
    ----------
    detector : estimator
        A fitted detector whose scoring is a forward pass: ``RobustDeepAutoencoder`` (and its CV),
        ``LSTMRobustAutoencoder``, ``RobustPCA``, ``VAEDetector``, ``AnoGANDetector`` with
        ``inference="encoder"``.
    path : str or path-like
        Of the file. It is moved to its place when it is whole.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the detector is not fitted.
    TypeError
        If it is of another kind.
    ValueError
        If it searches for codes.
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
    if not isinstance(detector, BaseDecomposition | VAEDetector | AnoGANDetector):
        raise TypeError(
            f"to_onnx takes a detector of this package that scores rows, not a "
            f"{type(detector).__name__}. Of a pipeline or an adapter export the detector in it."
        )
    check_is_fitted(detector)
    if isinstance(detector, AnoGANDetector) and detector._searches:
        raise ValueError(
            f"inference={detector.inference!r} searches for a code for each row, which is no "
            "forward pass. Fit with inference='encoder' to export it."
        )
    graph = _Graph(onnx)
    rows = _scaled(graph, detector)
    members: tuple[str, str | None]
    if isinstance(detector, VAEDetector):
        members = _vae_scores(graph, detector, rows)
    elif isinstance(detector, AnoGANDetector):
        members = _gan_scores(graph, detector, rows)
    else:
        members = _residual_scores(graph, detector, rows)
    model = graph.model(detector, *_finish(graph, detector, members))
    write_whole(path, model.SerializeToString())


class _Graph:
    """Nodes and constants as they are made; a value is known by its name."""

    def __init__(self, onnx: ModuleType) -> None:
        self.onnx = onnx
        self._nodes: list[NodeProto] = []
        self._constants: list[TensorProto] = []

    def constant(self, value: ArrayLike, dtype: DTypeLike = np.float32) -> str:
        name = f"c{len(self._constants)}"
        array = np.ascontiguousarray(np.asarray(value, dtype))
        array = array.reshape(np.shape(value))  # which ascontiguousarray makes of 0 axes one
        self._constants.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    @overload
    def op(self, kind: str, *inputs: str, n_outputs: Literal[1] = 1, **attributes: Any) -> str: ...

    @overload
    def op(
        self, kind: str, *inputs: str, n_outputs: Literal[2], **attributes: Any
    ) -> list[str]: ...

    def op(self, kind: str, *inputs: str, n_outputs: int = 1, **attributes: Any) -> str | list[str]:
        names = [f"v{len(self._nodes)}_{i}" for i in range(n_outputs)]
        node = self.onnx.helper.make_node(kind, list(inputs), names, **attributes)
        self._nodes.append(node)
        return names[0] if n_outputs == 1 else names

    def cast(self, value: str, dtype: DTypeLike) -> str:
        kind = self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.op("Cast", value, to=kind)

    def sum(self, value: str, axis: int) -> str:
        return self.op("ReduceSum", value, self.constant([axis], np.int64), keepdims=0)

    def clip(self, value: str, low: float, high: float, dtype: DTypeLike = np.float32) -> str:
        return self.op("Clip", value, self.constant(low, dtype), self.constant(high, dtype))

    def model(self, detector: BaseTorchDetector, scores: str, labels: str) -> ModelProto:
        helper, kinds = self.onnx.helper, self.onnx.TensorProto
        for name, value in (("scores", scores), ("labels", labels)):
            self._nodes.append(helper.make_node("Identity", [value], [name]))
        graph = helper.make_graph(
            self._nodes,
            type(detector).__name__,
            [helper.make_tensor_value_info("X", kinds.FLOAT, ["n", detector.n_features_in_])],
            [
                helper.make_tensor_value_info("scores", kinds.DOUBLE, ["n"]),
                helper.make_tensor_value_info("labels", kinds.INT64, ["n"]),
            ],
            self._constants,
        )
        opset = [helper.make_opsetid("", _OPSET)]
        model = helper.make_model(graph, producer_name="skrdae", opset_imports=opset, ir_version=8)
        self.onnx.checker.check_model(model)
        return model


def _array(tensor: torch.Tensor) -> NDArray[Any]:
    return tensor.detach().cpu().numpy()


def _scaled(graph: _Graph, detector: BaseTorchDetector) -> str:
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


def _clipped(graph: _Graph, detector: BaseTorchDetector, rows: str) -> str:
    bound = detector.scaler_.bound_
    return graph.clip(rows, -bound, bound)


def _perceptron(
    graph: _Graph, network: MemberMLP, x: str, n_layers: int | None = None
) -> list[str]:
    """Return the values of each layer of a stacked perceptron, input first."""
    values = [x]
    layers = list(zip(network.weights, network.biases, network.activations, strict=True))
    for weight, bias, kind in layers[:n_layers]:
        x = graph.op("MatMul", x, graph.constant(_array(weight)))
        x = graph.op("Add", x, graph.constant(_array(bias)))
        if kind != "identity":
            x = graph.op(_ACTIVATIONS[kind], x)
        values.append(x)
    return values


# ------------------------------------------------------------------------- X = L + S


def _residual_scores(
    graph: _Graph, detector: BaseDecomposition, rows: str
) -> tuple[str, str | None]:
    """Return each member's scores, (K, n), and what it flags, or None."""
    shown, network = _clipped(graph, detector, rows), detector.network_
    if isinstance(network, MemberMLP):
        fit = _perceptron(graph, network, shown)[-1]
    else:
        fit = _recurrent(graph, network, shown)
    residual = graph.op("Sub", rows, fit)
    votes = _votes(graph, detector, residual) if detector._by_vote else None
    if detector._residual_scale is None:
        return _row_values(graph, detector, residual), votes
    # In double precision, because ONNX has no logarithm of 1 + a.
    ratio = graph.op("Div", residual, graph.constant(_array(detector._residual_scale)))
    ratio = graph.op("Min", graph.op("Abs", ratio), graph.constant(LARGEST_RATIO))
    ratio = graph.cast(ratio, np.float64)
    one = graph.constant(1.0, np.float64)
    logarithm = graph.op("Log", graph.op("Add", graph.op("Mul", ratio, ratio), one))
    far = graph.constant(FAR * np.sqrt(detector.n_features_in_), np.float64)
    return graph.sum(graph.op("Add", logarithm, graph.op("Mul", ratio, far)), -1), votes


def _penalty_name(detector: BaseDecomposition) -> str:
    """Return the name of the penalty that a detector was fitted with."""
    for name, penalty in PENALTIES.items():
        if type(detector._penalty) is type(penalty):
            return name
    raise TypeError(
        f"A graph knows the penalties {', '.join(PENALTIES)}; {type(detector._penalty).__name__} "
        "is one of your own. Scores by logarithms (score_function='log', contamination a share) "
        "do without it."
    )


def _row_values(graph: _Graph, detector: BaseDecomposition, residual: str) -> str:
    if _penalty_name(detector) == "l21":
        return graph.op("ReduceL2", residual, axes=[-1], keepdims=0)
    return graph.sum(graph.op("Abs", residual), -1)


def _votes(graph: _Graph, detector: BaseDecomposition, residual: str) -> str:
    """Return which rows each member's prox leaves a part of S: (K, n), bool."""
    lam = _array(detector._lam).reshape(-1, 1)
    size = graph.op("Abs", residual)
    penalty = _penalty_name(detector)
    if penalty == "l21":
        norms = graph.op("ReduceL2", residual, axes=[-1], keepdims=0)
        return graph.op("Greater", norms, graph.constant(lam))
    if penalty == "l1":
        largest = graph.op("ReduceMax", size, axes=[-1], keepdims=0)
        return graph.op("Greater", largest, graph.constant(lam))
    # Only trainings with other penalties leave no norms.
    moved = _array(detector._norms) > lam[:, :, None]  # type: ignore[arg-type]  # columns
    size = graph.op("Mul", size, graph.constant(moved))
    largest = graph.op("ReduceMax", size, axes=[-1], keepdims=0)
    return graph.op("Greater", largest, graph.constant(0.0))


def _recurrent(graph: _Graph, network: MemberRecurrentAutoencoder, rows: str) -> str:
    """Return what the members make of windows: (n, T·c) → (K, n, T·c)."""
    shape = graph.constant([-1, network.n_steps, network.n_channels], np.int64)
    sequence = graph.op("Transpose", graph.op("Reshape", rows, shape), perm=[1, 0, 2])
    n_steps = graph.constant([network.n_steps, 1, 1], np.int64)
    first = graph.constant([0], np.int64)
    made = []
    for member in range(network.n_members):
        layers = network._layer_weights(member)
        x = sequence
        for weights in layers[: network.n_encoder_layers]:
            x, code = _layer(graph, network.cell, x, weights)
        x = graph.op("Tile", code, n_steps)  # (1, n, units) → (T, n, units)
        for weights in layers[network.n_encoder_layers :]:
            x, _ = _layer(graph, network.cell, x, weights)
        x = graph.op("MatMul", x, graph.constant(_array(network.readout_weight[member])))
        x = graph.op("Add", x, graph.constant(_array(network.readout_bias[member])))
        x = graph.op("Transpose", x, perm=[1, 0, 2])
        flat = graph.constant([0, network.n_steps * network.n_channels], np.int64)
        made.append(graph.op("Unsqueeze", graph.op("Reshape", x, flat), first))
    return graph.op("Concat", *made, axis=0)


def _layer(graph: _Graph, cell: str, x: str, weights: list[torch.Tensor]) -> tuple[str, str]:
    """Run a recurrent layer: the states, (T, n, units), and the last one, (1, n, units)."""
    w_in, w_state, b_in, b_state = (_gates(_array(w), cell) for w in weights)
    bias = np.concatenate([b_in, b_state])
    constants = [graph.constant(a[None]) for a in (w_in, w_state, bias)]
    options = {"hidden_size": w_state.shape[1]}
    if cell == "gru":
        options["linear_before_reset"] = 1
    states, last = graph.op(cell.upper(), x, *constants, n_outputs=2, **options)
    return graph.op("Squeeze", states, graph.constant([1], np.int64)), last


def _gates(values: NDArray[Any], cell: str) -> NDArray[Any]:
    """Bring gates from torch's order to ONNX's: i f g o → i o f g, r z n → z r n."""
    order = (0, 3, 1, 2) if cell == "lstm" else (1, 0, 2)
    gates = np.split(values, len(order))
    return np.concatenate([gates[i] for i in order])


# ----------------------------------------------------------------- codes with a prior


def _in_units(graph: _Graph, detector: GenerativeMixin, rows: str) -> str:
    scaled = graph.op("Div", rows, graph.constant(detector._level))
    return graph.clip(scaled, -LARGEST, LARGEST)


def _vae_scores(graph: _Graph, detector: VAEDetector, rows: str) -> tuple[str, None]:
    network, units = detector.network_, detector.network_.latent_dim
    shown = _in_units(graph, detector, _clipped(graph, detector, rows))
    encoded = _perceptron(graph, network.encoder, shown)[-1]
    halves = graph.constant([units, units], np.int64)
    mean, log_variance = graph.op("Split", encoded, halves, n_outputs=2, axis=-1)
    log_variance = graph.op("Min", log_variance, graph.constant(MOST_LOG_VARIANCE))
    draws = _array(detector._draws)
    if draws.shape[1] == 0:
        error = _vae_error(graph, detector, rows, mean)
        wide, log_wide = (graph.cast(v, np.float64) for v in (mean, log_variance))
        half, one = graph.constant(0.5, np.float64), graph.constant(1.0, np.float64)
        excess = graph.op("Sub", graph.op("Sub", graph.op("Exp", log_wide), one), log_wide)
        terms = graph.op("Mul", graph.op("Add", excess, graph.op("Mul", wide, wide)), half)
        terms = graph.op("Max", terms, graph.constant(0.0, np.float64))
        weight = graph.constant(detector._beta, np.float64)
        return graph.op("Add", error, graph.op("Mul", graph.sum(terms, -1), weight)), None
    spread = graph.op("Exp", graph.op("Mul", log_variance, graph.constant(0.5)))
    total = ""
    for sample in range(draws.shape[1]):
        drawn = graph.constant(draws[:, sample : sample + 1])
        z = graph.op("Add", mean, graph.op("Mul", spread, drawn))
        error = _vae_error(graph, detector, rows, z)
        total = graph.op("Add", total, error) if total else error
    return graph.op("Div", total, graph.constant(float(draws.shape[1]), np.float64)), None


def _vae_error(graph: _Graph, detector: VAEDetector, rows: str, z: str) -> str:
    """Return −log p(x|z) of each row, up to a constant: (K, n), float64."""
    decoded = graph.cast(_perceptron(graph, detector.network_.decoder, z)[-1], np.float64)
    if detector._likelihood == "gaussian":
        x = graph.cast(_in_units(graph, detector, rows), np.float64)
        error = graph.op("Sub", x, decoded)
        twice = graph.constant(2.0 * _array(detector._variance), np.float64)
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


def _gan_scores(graph: _Graph, detector: AnoGANDetector, rows: str) -> tuple[str, None]:
    network = detector.network_
    shown = _in_units(graph, detector, _clipped(graph, detector, rows))
    # Without an encoder it searches, which is refused before.
    z = _perceptron(graph, network.encoder, shown)[-1]  # type: ignore[arg-type]
    made = _perceptron(graph, network.generator, z)[-1]
    inner = len(network.discriminator.weights) - 1
    real, fake = (_perceptron(graph, network.discriminator, x, inner)[-1] for x in (shown, made))
    residual = graph.op("Sub", _in_units(graph, detector, rows), made)
    parts = []
    for difference, weight in (
        (residual, 1 - detector._lam),
        (graph.op("Sub", real, fake), detector._lam),
    ):
        total = graph.sum(graph.op("Abs", difference), -1)
        parts.append(graph.op("Mul", total, graph.constant(weight)))
    return graph.op("Add", *parts), None


# --------------------------------------------------------------------- scores and labels


def _finish(
    graph: _Graph, detector: BaseTorchDetector, found: tuple[str, str | None]
) -> tuple[str, str]:
    members, votes = found
    weights = graph.constant(detector._weights.reshape(-1, 1), np.float64)
    scores = graph.sum(graph.op("Mul", graph.cast(members, np.float64), weights), 0)
    if votes is None:
        # Not "greater": a row with a missing value has no score, and is no ordinary row.
        threshold = graph.constant(detector.threshold_, np.float64)
        flagged = graph.op("Not", graph.op("LessOrEqual", scores, threshold))
    else:
        share = graph.op("ReduceMean", graph.cast(votes, np.float64), axes=[0], keepdims=0)
        flagged = graph.op("Greater", share, graph.constant(0.5, np.float64))
    return scores, graph.cast(flagged, np.int64)
