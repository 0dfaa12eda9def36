"""Any network as nodes: what PyTorch's own exporter makes of an ``nn.Module``."""

from __future__ import annotations

import copy
import inspect
import io
import threading
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from skrdae.onnx.graph import OPSET, Graph

if TYPE_CHECKING:
    from onnx import GraphProto

# The exporter keeps what it is doing in variables of its module, and silencing its warnings changes
# the filters of the whole process: one export at a time.
_ONE_AT_A_TIME = threading.Lock()
# Two numbers of rows, neither of them one, which tracing may take for an axis to drop.
_TRACED_ROWS = (2, 3)
# Operators whose outputs change from run to run.
_RANDOM = {"Bernoulli", "Dropout", "Multinomial"}
_RANDOM |= {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}


def member_nodes(graph: Graph, modules: Sequence[nn.Module], x: str, n_inputs: int) -> str:
    """Add the networks of all members, each as a copy of its own.

    Parameters
    ----------
    graph : Graph
    modules : sequence of K nn.Module
        One a member, as for `module_nodes`.
    x : str
        The rows that each of them takes: (n, n_inputs), float32, for any n from 1.
    n_inputs : int

    Returns
    -------
    str
        Their outputs, stacked: (K, n, n_outputs), float32.

    Raises
    ------
    ValueError, TypeError
        As by `module_nodes`. The graph is then as it was.

    Examples
    --------
    >>> import onnx
    >>> import torch
    >>> from onnx.reference import ReferenceEvaluator
    >>> from skrdae.onnx.graph import Graph
    >>> members = [torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.GELU()) for _ in range(4)]
    >>> graph = Graph(onnx)
    >>> codes = member_nodes(graph, members, "X", 3)
    >>> model = graph.model("codes", 3, {"codes": (codes, "float32", [4, "n", 2])})
    >>> X = torch.ones(5, 3)
    >>> ReferenceEvaluator(model).run(None, {"X": X.numpy()})[0].shape
    (4, 5, 2)
    """
    if not modules:
        raise ValueError("modules is empty: give a network for each member.")
    parts = [_exported(graph.onnx, module, n_inputs) for module in modules]
    first = graph.constant([0], np.int64)
    made = [graph.op("Unsqueeze", graph.merge(part, x), first) for part in parts]
    return graph.op("Concat", *made, axis=0)


def module_nodes(graph: Graph, module: nn.Module, x: str, n_inputs: int) -> str:
    """Add a network as PyTorch's exporter writes it.

    What is exported is the network in eval mode, on a CPU. The module itself is left as it is.

    Parameters
    ----------
    graph : Graph
    module : nn.Module
        Its ``forward`` takes rows, (n, n_inputs), float32, and returns rows, (n, n_outputs). It
        has to take n from ``x.shape[0]`` or leave it to ``-1``: of ``len(x)`` a trace has only
        the number.
    x : str
        The rows, for any n from 1.
    n_inputs : int

    Returns
    -------
    str
        The output: (n, n_outputs), float32.

    Raises
    ------
    TypeError
        If `module` is no module, or returns something else than rows.
    ValueError
        If ONNX has no operator for a part of it, if its graph would hold for one number of rows
        only, or if it draws random numbers. The graph is then as it was.
    """
    return graph.merge(_exported(graph.onnx, module, n_inputs), x)


def _exported(onnx: ModuleType, module: nn.Module, n_inputs: int) -> GraphProto:
    """Return the graph of a module, which holds for any number of rows."""
    if not isinstance(module, nn.Module):
        raise TypeError(f"module has to be a torch.nn.Module, not a {type(module).__name__}.")
    name = repr(module).partition("(")[0]
    # In eval mode PyTorch replaces attention by a fused operator that ONNX does not know, but not
    # where gradients are asked for. Asking for them needs no setting of the whole process.
    with torch.inference_mode(False), torch.enable_grad():
        network = copy.deepcopy(module).cpu().eval()
        for parameter in network.parameters():
            if parameter.is_floating_point():
                parameter.requires_grad_(True)
        first, second = (_traced(onnx, network, name, n, n_inputs) for n in _TRACED_ROWS)
    # Whatever a trace has taken for a constant though it is not shows as a difference.
    if first.node != second.node or first.initializer != second.initializer:
        raise ValueError(
            f"The graph of {name} would hold for one number of rows only. Take the number from "
            "x.shape[0], not from len(x), or leave it to -1 in reshape, and let nothing else in "
            "forward depend on it."
        )
    random = sorted({node.op_type for node in first.node} & _RANDOM)
    if random:
        raise ValueError(
            f"{name} draws random numbers in eval mode ({', '.join(random)}), so that its graph "
            "would give other scores in each run. Draw them in training mode only."
        )
    return first


def _traced(onnx: ModuleType, network: nn.Module, name: str, n: int, n_inputs: int) -> GraphProto:
    """Return the graph of a network in eval mode, made with n rows."""
    rows = torch.linspace(-1, 1, n * n_inputs, dtype=torch.float32, device="cpu").reshape(
        n, n_inputs
    )
    made = network(rows)  # the network's own errors and warnings come as they are
    if not isinstance(made, torch.Tensor) or made.dtype != torch.float32:
        kind = made.dtype if isinstance(made, torch.Tensor) else type(made).__name__
        raise TypeError(f"{name} has to return one tensor of float32, not {kind}.")
    if made.ndim != 2 or len(made) != n:
        raise TypeError(
            f"{name} has to make rows of rows, (n, n_outputs) of (n, n_inputs); of "
            f"{tuple(rows.shape)} it makes {tuple(made.shape)}."
        )
    written = io.BytesIO()
    options: dict[str, Any] = {
        "f": written,
        "input_names": ["x"],
        "output_names": ["y"],
        "dynamic_axes": {"x": {0: "n"}, "y": {0: "n"}},
        "opset_version": OPSET,
    }
    if "dynamo" in inspect.signature(torch.onnx.export).parameters:
        # The other exporter needs a further package, and begins at a newer opset.
        options["dynamo"] = False
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        # It is deprecated, and warns of each number it takes for a constant; `_exported` sees to
        # those that matter.
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(network, (rows,), **options)
        except RuntimeError as error:  # as OnnxExporterError is
            reason = str(error).partition("\n")[0]  # a listing of all operators follows
            raise ValueError(
                f"PyTorch cannot export {name} to ONNX: {reason.rstrip('.')}. Build that part of "
                "the network of other operators."
            ) from error
    model = onnx.load_from_string(written.getvalue())
    opsets = {opset.domain: opset.version for opset in model.opset_import}
    if opsets != {"": OPSET} or model.functions:
        raise ValueError(
            f"{name} has operators of {opsets}, as PyTorch exports it; a graph can take those of "
            f"ONNX's own opset {OPSET} only."
        )
    return model.graph
