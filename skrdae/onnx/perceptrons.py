"""Stacked perceptrons as nodes."""

from __future__ import annotations

from skrdae.networks.denoiser import MemberDenoiser
from skrdae.networks.mlp import MemberMLP
from skrdae.onnx.graph import Graph, as_array

_ACTIVATIONS = {"tanh": "Tanh", "relu": "Relu", "sigmoid": "Sigmoid"}


def perceptron(graph: Graph, network: MemberMLP, x: str, n_layers: int | None = None) -> list[str]:
    """Return the values of each layer of a stacked perceptron, input first."""
    values = [x]
    layers = list(zip(network.weights, network.biases, network.activations, strict=True))
    for weight, bias, kind in layers[:n_layers]:
        x = graph.op("MatMul", x, graph.constant(as_array(weight)))
        x = graph.op("Add", x, graph.constant(as_array(bias)))
        if kind != "identity":
            x = graph.op(_ACTIVATIONS[kind], x)
        values.append(x)
    return values


def denoiser(graph: Graph, network: MemberDenoiser, x: str) -> str:
    """Return what a stacked denoiser makes of rows with the noise level in a last column."""
    last = len(network.weights) - 1
    for layer, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        x = graph.op("MatMul", x, graph.constant(as_array(weight)))
        x = graph.op("Add", x, graph.constant(as_array(bias)))
        if layer < last:
            x = graph.op("Mul", x, graph.op("Sigmoid", x))
    return x
