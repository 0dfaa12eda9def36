"""Watch a training loop's gradients without letting it take a step."""

import torch

from skrdae.training.adam import MemberAdam


def record_gradients(monkeypatch, module, noise):
    """Make `module` record instead of step, and draw `noise`; return the list that fills.

    Each entry is a list of gradients in the order of the network's parameters.
    """
    recorded = []

    class Recorder(MemberAdam):
        def step(self):
            recorded.append([grad.clone() for grad in self.grads.values()])

    def draw(generators, out):
        return out.copy_(noise.expand(out.shape))

    monkeypatch.setattr(module, "MemberAdam", Recorder)
    monkeypatch.setattr(module, "normal", draw, raising=False)
    return recorded


def parameters(*networks):
    """Return copies of the networks' parameters that autograd follows, a list a network."""
    return [[p.detach().clone().requires_grad_() for p in n.parameters()] for n in networks]


def perceptron(x, parameters, last=lambda z: z, n_layers=None):
    """Apply tanh layers made of `parameters`, weights and biases by turns."""
    layers = list(zip(parameters[::2], parameters[1::2], strict=True))[:n_layers]
    for number, (weight, bias) in enumerate(layers):
        x = x @ weight + bias
        x = torch.tanh(x) if number + 1 < len(parameters) // 2 else last(x)
    return x
