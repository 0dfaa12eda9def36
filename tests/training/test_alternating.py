import numpy as np
import pytest
import torch

from skrdae._random import member_generators
from skrdae.networks.mlp import ACTIVATIONS, MemberAutoencoder
from skrdae.penalties import PENALTIES
from skrdae.training import minibatch, stack
from skrdae.training.alternating import alternate
from skrdae.training.minibatch import gather, shuffled_batches

SEEDS = [5, 6, 7, 8]


@pytest.fixture
def data(plane):
    return torch.from_numpy(plane.astype(np.float32))


def _fit(data, seeds, *, penalty="l21", lam=None, quantile=None, sizes=(16, 2), **options):
    activation = options.pop("activation", "tanh")
    generators = member_generators(seeds)
    network = MemberAutoencoder(
        data.shape[-1], sizes, activation, "identity", generators, data.device
    )
    if data.dim() == 2:
        data = data.expand(len(seeds), -1, -1)
    settings = {
        "bound": 10.0,
        "max_iter": 3,
        "n_epochs": 2,
        "batch_size": 32,
        "lr": 3e-3,
        "tol": None,
    } | options
    result = alternate(
        network,
        data,
        PENALTIES[penalty],
        lam=lam,
        quantile=quantile,
        generators=generators,
        **settings,
    )
    return network, result


def _assert_member(whole, k, alone):
    network, result = whole
    single, single_result = alone
    for a, b in zip(network.parameters(), single.parameters(), strict=True):
        assert torch.equal(a[k : k + 1], b)
    assert torch.equal(result.lam[k : k + 1], single_result.lam)
    if result.norms is not None:
        assert torch.equal(result.norms[k : k + 1], single_result.norms)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_member_equals_the_same_member_fitted_alone(data, penalty):
    quantile = [0.8, 0.9, 0.95, 0.99]
    whole = _fit(data, SEEDS, penalty=penalty, quantile=quantile)
    for k, seed in enumerate(SEEDS):
        alone = _fit(data, [seed], penalty=penalty, quantile=[quantile[k]])
        _assert_member(whole, k, alone)


def _train_by_autograd(network, optimiser, data, *, bound, n_epochs, batch_size, generators, **_):
    """Do what train_epochs does, with the gradients of autograd."""
    plain = {
        "identity": lambda z: z,
        "relu": torch.relu,
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
    }
    parameters = list(network.parameters())
    for _ in range(n_epochs):
        for batch in shuffled_batches(data.shape[1], batch_size, generators, data.device):
            x = gather(data, batch).clamp(-bound, bound)
            for parameter in parameters:
                parameter.requires_grad_()
            with torch.enable_grad():
                h = x
                for w, b, name in zip(
                    network.weights, network.biases, network.activations, strict=True
                ):
                    h = plain[name](h @ w + b)
                loss = (h - x).square().sum() / x.shape[1]
            grads = torch.autograd.grad(loss, parameters)
            for parameter, grad in zip(parameters, grads, strict=True):
                parameter.requires_grad_(False)
                optimiser.grads[id(parameter)].copy_(grad)
            optimiser.step()


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("n_members", [1, 4])
def test_the_fit_is_that_of_autograd(data, penalty, activation, n_members, monkeypatch):
    options = {"penalty": penalty, "quantile": [0.8, 0.9, 0.95, 0.99][:n_members]}
    options |= {"activation": activation, "lr": 1e-3}
    found, result = _fit(data, SEEDS[:n_members], **options)
    monkeypatch.setattr(stack, "train_epochs", _train_by_autograd)
    expected, right = _fit(data, SEEDS[:n_members], **options)
    for a, b in zip(found.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=2e-5)
    torch.testing.assert_close(result.lam, right.lam, rtol=1e-4, atol=0)


@pytest.mark.parametrize("sizes", [(64, 10), (200, 10), (1,), (33, 17, 5)])
@pytest.mark.parametrize("n_features", [3, 64, 300])
def test_a_member_equals_itself_alone_in_any_architecture(sizes, n_features):
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(130, n_features, generator=generator)
    lam = [0.5, 3.0, float("inf")]
    whole = _fit(data, SEEDS[:3], lam=lam, sizes=sizes, max_iter=2)
    for k in range(3):
        alone = _fit(data, [SEEDS[k]], lam=[lam[k]], sizes=sizes, max_iter=2)
        _assert_member(whole, k, alone)


def test_a_member_equals_itself_alone_where_batches_are_learnt_in_pieces():
    data = torch.randn(600, 60, generator=torch.Generator().manual_seed(0))
    options = {"lam": [1.0, 5.0], "sizes": (200, 4), "batch_size": 300, "max_iter": 2}
    assert minibatch.pieces(300, 60 * 200) == 3
    whole = _fit(data, SEEDS[:2], **options)
    for k in range(2):
        alone = _fit(data, [SEEDS[k]], **options | {"lam": [options["lam"][k]]})
        _assert_member(whole, k, alone)


def test_a_member_that_converges_leaves_the_others_undisturbed(data):
    # With λ = 0 the sparse part takes all, which meets the criterion at once.
    lam = [2.0, 0.0, 1.0]
    options = {"tol": 1e-3, "max_iter": 4}
    whole = _fit(data, SEEDS[:3], lam=lam, **options)
    assert [row["n_training"] for row in whole[1].history] == [3, 2, 2, 2]
    assert whole[1].n_iter == 4
    assert not whole[1].converged
    for k in range(3):
        alone = _fit(data, [SEEDS[k]], lam=[lam[k]], **options)
        _assert_member(whole, k, alone)
        assert alone[1].n_iter == (1 if k == 1 else 4)
        assert alone[1].converged == (k == 1)


def test_the_history_holds_what_it_says(data):
    """Recompute every figure of the second iteration from the definitions."""
    rows = []
    lam, options = [1.5], {"max_iter": 1}
    first, _ = _fit(data, SEEDS[:1], lam=lam, on_iteration=rows.append, **options)
    second, result = _fit(data, SEEDS[:1], lam=lam, max_iter=2)
    assert rows == result.history[:1]
    penalty, X = PENALTIES["l21"], data[None]
    threshold = torch.tensor(lam)
    norm = torch.linalg.vector_norm
    fit1 = first(X.clamp(-10, 10))
    S1 = penalty.prox(X - fit1, threshold)
    fit2 = second((X - S1).clamp(-10, 10))
    S2 = penalty.prox(X - fit2, threshold)
    row = result.history[1]
    expected = {
        "iteration": 2,
        "objective": float(((X - S1 - fit2) ** 2).sum() + 1.5 * penalty.value(S1)),
        "sparse_share": float(norm(S2) / norm(X)),
        "constraint": float(norm(X - fit2 - S2) / norm(X)),
        "change": float(norm(fit2 + S2 - fit1 - S1) / norm(X)),
        "lam": 1.5,
        "n_training": 1,
    }
    assert row == pytest.approx(expected, rel=1e-4)


def test_an_infinite_lam_is_plain_training(data):
    network, result = _fit(data, SEEDS[:1], lam=[float("inf")], max_iter=3, n_epochs=2)
    plain, _ = _fit(data, SEEDS[:1], lam=[float("inf")], max_iter=1, n_epochs=6)
    for a, b in zip(network.parameters(), plain.parameters(), strict=True):
        assert torch.equal(a, b)
    assert all(row["sparse_share"] == 0 for row in result.history)


def test_the_quantile_sets_the_share(data):
    network, result = _fit(data, SEEDS[:2], quantile=[0.9, 0.5], max_iter=1)
    residual = data - network(data.clamp(-10, 10).expand(2, -1, -1))
    flagged = (torch.linalg.vector_norm(residual, dim=-1) > result.lam[:, None]).sum(dim=1)
    assert flagged.tolist() == [30, 150]
