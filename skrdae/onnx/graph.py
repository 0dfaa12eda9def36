"""A graph as it is written: nodes and constants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

import numpy as np
import torch
from numpy.typing import ArrayLike, DTypeLike, NDArray

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

#: Of ONNX's operators: old enough for any runtime in use, and with all that is needed.
OPSET = 17

#: An output of a model: the value's name, its dtype, its shape (a text is a size that varies).
Output: TypeAlias = tuple[str, DTypeLike, Sequence[str | int]]


class Graph:
    """Nodes and constants as they are made; a value is known by its name.

    The rows that a model takes are the value ``"X"``.

    Parameters
    ----------
    onnx : module
        The package onnx, which is optional and so imported by the caller.
    """

    def __init__(self, onnx: ModuleType) -> None:
        self.onnx = onnx
        self._nodes: list[NodeProto] = []
        self._constants: list[TensorProto] = []
        self._n_merged = 0

    def constant(self, value: ArrayLike, dtype: DTypeLike = np.float32) -> str:
        """Add a constant and return its name."""
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
        """Add a node of one of ONNX's operators and return the name of its value, or the names."""
        names = [f"v{len(self._nodes)}_{i}" for i in range(n_outputs)]
        node = self.onnx.helper.make_node(kind, list(inputs), names, **attributes)
        self._nodes.append(node)
        return names[0] if n_outputs == 1 else names

    def cast(self, value: str, dtype: DTypeLike) -> str:
        """Convert a value to another dtype."""
        kind = self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.op("Cast", value, to=kind)

    def sum(self, value: str, axis: int) -> str:
        """Sum a value over an axis, which goes."""
        return self.op("ReduceSum", value, self.constant([axis], np.int64), keepdims=0)

    def clip(self, value: str, low: float, high: float, dtype: DTypeLike = np.float32) -> str:
        """Limit a value of the given dtype to [low, high]."""
        return self.op("Clip", value, self.constant(low, dtype), self.constant(high, dtype))

    def merge(self, other: GraphProto, x: str) -> str:
        """Add a copy of a graph of one input and one output.

        Parameters
        ----------
        other : onnx.GraphProto
            It stays as it is; the copy's names get a prefix of their own.
        x : str
            The value that takes the place of its input.

        Returns
        -------
        str
            The value that was its output.
        """
        prefix = f"m{self._n_merged}_"
        self._n_merged += 1
        copy = self.onnx.compose.add_prefix_graph(other, prefix)
        self._nodes.append(self.onnx.helper.make_node("Identity", [x], [copy.input[0].name]))
        self._nodes.extend(copy.node)
        self._constants.extend(copy.initializer)
        return copy.output[0].name

    def model(self, name: str, n_features: int, outputs: Mapping[str, Output]) -> ModelProto:
        """Make a model of what there is.

        Parameters
        ----------
        name : str
            Of the graph.
        n_features : int
            Columns of its input X, (n, n_features), float32.
        outputs : mapping
            Name → value, dtype and shape.

        Returns
        -------
        onnx.ModelProto
            Checked by onnx.
        """
        helper = self.onnx.helper
        infos = []
        for output, (value, dtype, shape) in outputs.items():
            self._nodes.append(helper.make_node("Identity", [value], [output]))
            kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
            infos.append(helper.make_tensor_value_info(output, kind, shape))
        rows = helper.make_tensor_value_info("X", self.onnx.TensorProto.FLOAT, ["n", n_features])
        graph = helper.make_graph(self._nodes, name, [rows], infos, self._constants)
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, producer_name="skrdae", opset_imports=opset, ir_version=8)
        self.onnx.checker.check_model(model)
        return model


def as_array(tensor: torch.Tensor) -> NDArray[Any]:
    """Return a tensor, wherever it is, as an array."""
    return tensor.detach().cpu().numpy()
