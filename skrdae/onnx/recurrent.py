"""Stacked recurrent autoencoders as nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from skrdae.networks.recurrent import MemberRecurrentAutoencoder
from skrdae.onnx.graph import Graph, as_array


def recurrent(graph: Graph, network: MemberRecurrentAutoencoder, rows: str) -> str:
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
        x = graph.op("MatMul", x, graph.constant(as_array(network.readout_weight[member])))
        x = graph.op("Add", x, graph.constant(as_array(network.readout_bias[member])))
        x = graph.op("Transpose", x, perm=[1, 0, 2])
        flat = graph.constant([0, network.n_steps * network.n_channels], np.int64)
        made.append(graph.op("Unsqueeze", graph.op("Reshape", x, flat), first))
    return graph.op("Concat", *made, axis=0)


def _layer(graph: Graph, cell: str, x: str, weights: list[torch.Tensor]) -> tuple[str, str]:
    """Run a recurrent layer: the states, (T, n, units), and the last one, (1, n, units)."""
    w_in, w_state, b_in, b_state = (_gates(as_array(w), cell) for w in weights)
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
