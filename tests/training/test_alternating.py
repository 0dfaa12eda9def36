import numpy as np
import pytest
import torch

from skrdae._random import member_generators
from skrdae.networks.mlp import MemberAutoencoder
from skrdae.penalties import PENALTIES
from skrdae.rows import HeldMemberRows
from skrdae.training import split, trainer
from skrdae.training.alternating import Schedule, alternate
from skrdae.training.kernels.autoencoder import pieces
from skrdae.training.lam_path import alternate_path, largest_multiple
from skrdae.training.lam_rule import LamRule
from skrdae.training.rounds import Session

SEEDS = [5, 6, 7, 8]
SCHEDULE = {"bound": 10.0, "max_iter": 3, "n_epochs": 2, "batch_size": 32, "lr": 3e-3}


@pytest.fixture
def data(plane):
    return torch.from_numpy(plane.astype(np.float32))


def _fit(data, seeds, *, penalty="l21", lam=None, quantile=None, median=None, adam=None, **options):
    rules = {"data": lam, "quantile": quantile, "median": median}
    rule = next(LamRule(values, unit) for unit, values in rules.items() if values is not None)
    generators, sizes = member_generators(seeds), options.pop("sizes", (16, 2))
    network = MemberAutoencoder(data.shape[-1], sizes, "tanh", "identity", generators, data.device)
    if data.dim() == 2:
        data = data.expand(len(seeds), -1, -1)
    session = Session(*(options.pop(name, None) for name in ("tell", "keep", "state")))
    result = alternate(
        network,
        HeldMemberRows(data),
        PENALTIES[penalty],
        Schedule(**SCHEDULE | options),
        generators,
        session,
        rule,
        adam=adam,
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


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("n_members", [1, 4])
def test_the_fit_is_that_of_autograd(data, penalty, n_members, monkeypatch):
    options = {"penalty": penalty, "quantile": [0.8, 0.9, 0.95, 0.99][:n_members], "lr": 1e-3}
    found, result = _fit(data, SEEDS[:n_members], **options)
    for kernel in ("epoch_kernel", "step_kernel"):
        monkeypatch.setattr(trainer, kernel, lambda network, objective: None)
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
    assert pieces(300, 60 * 200) == 3
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
    assert len(whole[1].history) == 4
    assert not whole[1].converged
    for k in range(3):
        alone = _fit(data, [SEEDS[k]], lam=[lam[k]], **options)
        _assert_member(whole, k, alone)
        assert len(alone[1].history) == (1 if k == 1 else 4)
        assert alone[1].converged == (k == 1)


def test_the_history_holds_what_it_says(data):
    """Recompute every figure of the second iteration from the definitions."""
    rows = []
    lam, options = [1.5], {"max_iter": 1}
    first, _ = _fit(data, SEEDS[:1], lam=lam, tell=rows.append, **options)
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


def test_of_many_rows_the_change_is_that_of_some(data, monkeypatch):
    options = {"lam": [2.0, 0.0, 1.0], "tol": 1e-3, "max_iter": 3}  # one leaves at once
    network, result = _fit(data, SEEDS[:3], **options)
    monkeypatch.setattr(split, "_WATCHED", 200 * data.shape[1])
    monkeypatch.setattr(split, "_LEAST_WATCHED", 1)
    monkeypatch.setattr(split, "part_rows", lambda n_features, device: 64)  # some lie in each part
    states = []
    few, found = _fit(data, SEEDS[:3], keep=lambda of: states.append(of()), **options)
    for a, b in zip(few.parameters(), network.parameters(), strict=True):
        assert torch.equal(a, b)
    for mine, right in zip(found.history, result.history, strict=True):
        assert mine.pop("change") == pytest.approx(right.pop("change"), rel=0.15)
        assert mine == pytest.approx(right, rel=1e-5)
    again, goes_on = _fit(data, SEEDS[:3], state=states[1], **options)
    assert goes_on.history[2]["change"] == _fit(data, SEEDS[:3], **options)[1].history[2]["change"]
    for a, b in zip(again.parameters(), few.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_change_of_some_rows_is_what_the_definition_says(data, monkeypatch):
    monkeypatch.setattr(split, "_WATCHED", 40 * data.shape[1])
    monkeypatch.setattr(split, "_LEAST_WATCHED", 1)
    first, _ = _fit(data, SEEDS[:1], lam=[1.5], max_iter=1)
    second, result = _fit(data, SEEDS[:1], lam=[1.5], max_iter=2)
    watched = split._watched_rows(*data.shape)
    assert len(set(watched.tolist())) == 40
    penalty, X, threshold = PENALTIES["l21"], data[None], torch.tensor([1.5])
    fit1 = first(X.clamp(-10, 10))
    S1 = penalty.prox(X - fit1, threshold)
    fit2 = second((X - S1).clamp(-10, 10))
    S2 = penalty.prox(X - fit2, threshold)
    change = torch.linalg.vector_norm((fit2 + S2 - fit1 - S1)[0, watched])
    whole = torch.linalg.vector_norm(data[watched])
    assert result.history[1]["change"] == pytest.approx(float(change / whole), rel=1e-4)


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


def test_norms_of_groups_over_rows_are_those_of_the_last_residual(data):
    network, result = _fit(data, SEEDS[:2], penalty="l21_features", lam=[1.0, 2.0], max_iter=1)
    residual = data - network(data.clamp(-10, 10).expand(2, -1, -1))
    expected = torch.linalg.vector_norm(residual, dim=1, keepdim=True)
    torch.testing.assert_close(result.norms, expected, rtol=1e-4, atol=0)


# ---------------------------------------------------------------------- paths and whole trainings


def _begun(data, seeds):
    """Return networks that are not trained, the rows of each member and what they draw from."""
    generators = member_generators(seeds)
    network = MemberAutoencoder(data.shape[1], (16, 2), "tanh", "identity", generators, data.device)
    return network, HeldMemberRows(data.expand(len(seeds), -1, -1)), generators


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("tol", [None, 0.4])
@pytest.mark.parametrize("n_at_once", [1, 2, 4])
@pytest.mark.parametrize("unit", ["data", "median"])
def test_a_path_is_one_fit_after_another(data, penalty, tol, n_at_once, unit):
    lams = [float("inf") if unit == "data" else 9.0, 2.0, 0.5, 0.0]
    network, rows, generators = _begun(data, SEEDS[:2])
    path = alternate_path(
        network,
        rows,
        PENALTIES[penalty],
        Schedule(**SCHEDULE, tol=tol),
        generators,
        LamRule(lams, unit),
        n_at_once=n_at_once,
    )
    places = []
    for which, trained, found, norms in path:
        places += range(*which.indices(len(lams)))
        members = iter(range(trained.n_members))
        for lam in lams[which]:
            rule = {"lam" if unit == "data" else "median": [lam] * 2}
            alone, result = _fit(data, SEEDS[:2], penalty=penalty, tol=tol, **rule)
            for k in range(2):
                place = next(members)
                for mine, right in zip(trained.parameters(), alone.parameters(), strict=True):
                    assert torch.equal(mine[place], right[k])
                assert torch.equal(found[place], result.lam[k])
                if result.norms is None:
                    assert norms is None
                else:
                    assert torch.equal(norms[place], result.norms[k])
    assert places == [0, 1, 2, 3]
    untrained, _, _ = _begun(data, SEEDS[:2])
    for mine, right in zip(network.parameters(), untrained.parameters(), strict=True):
        assert torch.equal(mine, right)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_the_largest_multiple_is_that_of_the_residuals_of_plain_training(data, penalty):
    network, rows, generators = _begun(data / 10, SEEDS[:2])  # within the bound
    largest = largest_multiple(network, rows, PENALTIES[penalty], Schedule(**SCHEDULE), generators)
    multiples = []
    for n in (1, 2, 3):
        plain, _ = _fit(data / 10, SEEDS[:2], lam=[float("inf")] * 2, max_iter=n)
        residual = rows.tensor - plain(rows.tensor)
        norms = PENALTIES[penalty].measures(residual, rows.tensor).flatten(1)
        multiples.append(norms.amax(dim=1) / norms.median(dim=1).values)
    assert largest == pytest.approx(torch.stack(multiples).max().item(), rel=1e-4)


def test_a_multiple_of_the_median_of_the_residual(data):
    network, result = _fit(data, SEEDS[:2], median=[1.5, 3.0], max_iter=1)
    residual = data - network(data.clamp(-10, 10).expand(2, -1, -1))
    median = torch.linalg.vector_norm(residual, dim=-1).median(dim=1).values
    torch.testing.assert_close(result.lam / median, torch.tensor([1.5, 3.0]))


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize(
    ("options", "n_training"),
    [
        ({"quantile": [0.8, 0.9, 0.97]}, [3, 3, 3, 3]),
        ({"lam": [2.0, 0.0, 1.0], "tol": 1e-3}, [3, 2, 2, 2]),  # one leaves at once
        ({"quantile": [0.8, 0.9, 0.97], "tol": 1e9}, [3]),  # all do
    ],
)
def test_every_state_is_gone_on_from(data, penalty, options, n_training):
    options = options | {"penalty": penalty, "max_iter": 4}
    states = []
    network, result = _fit(data, SEEDS[:3], keep=lambda of: states.append(of()), **options)
    assert [row["n_training"] for row in result.history] == n_training
    assert len(states) == len(n_training)
    for done, state in enumerate(states, 1):
        rows = []
        other, again = _fit(data, SEEDS[:3], state=state, tell=rows.append, **options)
        assert rows == result.history[done:]
        _assert_same(other, again, network, result)


def test_an_optimiser_is_gone_on_with(data):
    _, first = _fit(data, SEEDS[:2], lam=[1.0] * 2, max_iter=1)
    moments = first.adam()
    fresh, _ = _fit(data, SEEDS[:2], lam=[1.0] * 2, max_iter=1)
    warm, _ = _fit(data, SEEDS[:2], lam=[1.0] * 2, max_iter=1, adam=moments)
    again, _ = _fit(data, SEEDS[:2], lam=[1.0] * 2, max_iter=1, adam=moments)
    differences = [
        (a - b).abs().max().item()
        for a, b in zip(fresh.parameters(), warm.parameters(), strict=True)
    ]
    assert max(differences) > 1e-4
    for a, b in zip(warm.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def _assert_same(network, result, right_network, right):
    for a, b in zip(network.parameters(), right_network.parameters(), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(result.lam, right.lam)
    assert (result.norms is None) == (right.norms is None)
    if result.norms is not None:
        assert torch.equal(result.norms, right.norms)
    assert result.history == right.history
    assert (len(result.history), result.converged) == (len(right.history), right.converged)
