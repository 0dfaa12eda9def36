import threading
import warnings

import numpy as np
import pytest
import torch
from optional import Optional
from torch import nn
from torch.nn import functional as F

from skrdae.onnx.graph import Graph
from skrdae.onnx.modules import member_nodes, module_nodes

onnx = Optional("onnx")
onnxruntime = Optional("onnxruntime")

N_STEPS, N_CHANNELS, PATCH, WIDTH, CODE = 24, 2, 4, 16, 5
N_FEATURES = N_STEPS * N_CHANNELS


class Perceptron(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(N_FEATURES, 32), nn.LayerNorm(32), nn.GELU(), nn.Linear(32, CODE)
        )
        self.decoder = nn.Sequential(
            nn.Linear(CODE, 32), nn.GELU(), nn.Dropout(0.5), nn.Linear(32, N_FEATURES)
        )

    def forward(self, x):
        return self.decoder(self.encoder(x))


class Convolution(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv1d(N_CHANNELS, 6, 3, padding=1),
            nn.BatchNorm1d(6),
            nn.ReLU(),
            nn.MaxPool1d(2),
            nn.Conv1d(6, 3, 3, padding=1),
        )
        self.decoder = nn.ConvTranspose1d(3, N_CHANNELS, 2, stride=2)

    def forward(self, x):
        x = x.reshape(x.shape[0], N_STEPS, N_CHANNELS).transpose(1, 2)
        return self.decoder(self.encoder(x)).transpose(1, 2).flatten(1)


class Transformer(nn.Module):
    """Patches, attention between them, a code, and back."""

    def __init__(self, n_layers=1, **options):
        super().__init__()
        n_patches = N_STEPS // PATCH
        self.embed = nn.Linear(PATCH * N_CHANNELS, WIDTH)
        self.position = nn.Parameter(torch.randn(1, n_patches, WIDTH) / 10)
        layer = nn.TransformerEncoderLayer(WIDTH, 2, 32, batch_first=True, **options)
        self.attend = layer if n_layers == 1 else nn.TransformerEncoder(layer, n_layers)
        self.encoder = nn.Linear(n_patches * WIDTH, CODE)
        self.decoder = nn.Sequential(nn.Linear(CODE, 64), nn.Tanh(), nn.Linear(64, N_FEATURES))

    def forward(self, x):
        patches = self.embed(x.reshape(-1, N_STEPS // PATCH, PATCH * N_CHANNELS))
        attended = self.attend(patches + self.position)
        return self.decoder(self.encoder(attended.flatten(1)))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.states = nn.GRU(N_CHANNELS, 5, batch_first=True, bidirectional=True)
        self.readout = nn.Linear(10, N_CHANNELS)

    def forward(self, x):
        states, _ = self.states(x.reshape(x.shape[0], N_STEPS, N_CHANNELS))
        return self.readout(states).flatten(1)


NETWORKS = {
    "perceptron": Perceptron,
    "convolution": Convolution,
    "transformer": Transformer,
    "transformer, two layers": lambda: Transformer(2, activation="gelu"),
    "transformer, norm first": lambda: Transformer(norm_first=True),
    "recurrent": Recurrent,
}


def _random(make, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = make().eval()
        for parameter in network.parameters():  # biases and norms, too, which start at 0 and 1
            parameter.data += 0.1 * torch.randn_like(parameter)
        for name, buffer in network.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer += torch.rand_like(buffer)
    return network


def _rows(n):
    return torch.from_numpy(np.random.default_rng(n).normal(size=(n, N_FEATURES))).float()


def _run(graph, value, rows, shape):
    model = graph.model("networks", N_FEATURES, {"made": (value, np.float32, shape)})
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return [session.run(None, {"X": part.numpy()})[0] for part in rows]


def _error(made, right):
    """Return how far values are off, relative to the size of those of their row."""
    size = np.linalg.norm(right, axis=-1, keepdims=True)
    return (np.linalg.norm(made - right, axis=-1, keepdims=True) / size).max()


@pytest.mark.parametrize("name", NETWORKS)
def test_members_are_what_torch_makes_of_them(name):
    members = [_random(NETWORKS[name], seed) for seed in range(2)]
    parts = [_rows(n) for n in (1, 7, 1000)]
    graph = Graph(onnx)
    value = member_nodes(graph, members, "X", N_FEATURES)
    for rows, made in zip(parts, _run(graph, value, parts, [2, "n", N_FEATURES]), strict=True):
        with torch.no_grad():
            right = torch.stack([member(rows) for member in members]).numpy()
        assert made.shape == right.shape
        assert made.dtype == np.float32
        assert _error(made, right) < 1e-5
    assert _error(right[0], right[1]) > 0.01  # the members differ


def test_a_part_may_follow_another():
    network = _random(Perceptron)
    graph, rows = Graph(onnx), _rows(7)
    code = module_nodes(graph, network.encoder, "X", N_FEATURES)
    shifted = graph.op("Add", code, graph.constant(1.0))
    value = module_nodes(graph, network.decoder, shifted, CODE)
    made = _run(graph, value, [rows], ["n", N_FEATURES])[0]
    with torch.no_grad():
        assert _error(made, network.decoder(network.encoder(rows) + 1).numpy()) < 1e-5


@pytest.mark.parametrize(
    ("fast", "context", "frozen"),
    [
        (True, torch.no_grad, False),
        (True, torch.inference_mode, False),
        (True, torch.enable_grad, True),
        (False, torch.no_grad, True),
    ],
)
def test_the_fast_path_of_attention_makes_no_difference(fast, context, frozen):
    network = _random(Transformer).requires_grad_(not frozen)
    expected = Graph(onnx)
    module_nodes(expected, network, "X", N_FEATURES)
    graph, before = Graph(onnx), torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(fast)
        with context():
            module_nodes(graph, network, "X", N_FEATURES)
        assert torch.backends.mha.get_fastpath_enabled() is fast
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
    assert graph._nodes == expected._nodes
    assert graph._constants == expected._constants


def test_nothing_else_changes():
    network = _random(Transformer).train()
    network.embed.weight.requires_grad_(False)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    asked = [parameter.requires_grad for parameter in network.parameters()]
    draws, filters = torch.get_rng_state(), list(warnings.filters)
    module_nodes(Graph(onnx), network, "X", N_FEATURES)
    assert all(module.training for module in network.modules())
    assert [parameter.requires_grad for parameter in network.parameters()] == asked
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), draws)
    assert warnings.filters == filters


def test_threads_export_at_once():
    network, graphs = _random(Transformer), [Graph(onnx) for _ in range(3)]
    threads = [
        threading.Thread(target=module_nodes, args=(graph, network, "X", N_FEATURES))
        for graph in graphs
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert graphs[0]._nodes
    assert all(graph._nodes == graphs[0]._nodes for graph in graphs)


class Lambda(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function
        self.linear = nn.Linear(N_FEATURES, N_FEATURES)

    def forward(self, x):
        return self.function(self.linear(x))


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda x: x.reshape(len(x), 2, -1).flip(1).flatten(1), ValueError, r"x\.shape\[0\]"),
        (lambda x: x / len(x), ValueError, "one number of rows only"),
        (lambda x: x[:, 0] if x.sum() > 1e9 else x + torch.randn_like(x), ValueError, "RandomNorm"),
        (lambda x: F.dropout(x, 0.5, training=True), ValueError, "Dropout"),
        (lambda x: torch.special.bessel_j0(x), ValueError, "cannot export Lambda to ONNX.*bessel"),
        (lambda x: (x, x), TypeError, "one tensor of float32, not tuple"),
        (lambda x: x.double(), TypeError, "not torch.float64"),
        (lambda x: x.sum(1), TypeError, r"of \(2, 48\) it makes \(2,\)"),
        (lambda x: x[:1], TypeError, r"it makes \(1, 48\)"),
    ],
)
def test_what_cannot_be_a_graph_is_refused(function, error, message):
    network, graph = Lambda(function), Graph(onnx)
    with pytest.raises(error, match=message):
        module_nodes(graph, network, "X", N_FEATURES)
    with pytest.raises(error, match=message):
        member_nodes(graph, [network.linear, network], "X", N_FEATURES)
    assert not graph._nodes
    assert not graph._constants


def test_bad_arguments():
    graph = Graph(onnx)
    with pytest.raises(TypeError, match=r"module has to be a torch\.nn\.Module, not a function"):
        module_nodes(graph, _random, "X", N_FEATURES)
    with pytest.raises(ValueError, match="modules is empty"):
        member_nodes(graph, [], "X", N_FEATURES)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):  # torch's own
        module_nodes(graph, nn.Linear(3, 3), "X", N_FEATURES)


def test_operators_of_others_are_refused():
    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return 2 * x

        @staticmethod
        def symbolic(g, x):
            return g.op("own::Twice", x).setType(x.type())

    with pytest.raises(ValueError, match=r"Lambda has operators of .*'own': 1.*opset 17 only"):
        module_nodes(Graph(onnx), Lambda(Twice.apply), "X", N_FEATURES)
