import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from skrdae.penalties import PENALTIES

names = pytest.mark.parametrize("name", PENALTIES)
norms = pytest.mark.parametrize("name", [n for n in PENALTIES if n != "l20"])  # sums of norms


def _omega(name, S):
    """The definitions, written down once more in NumPy."""
    if name == "l1":
        return np.abs(S).sum()
    if name == "l20":
        return (S != 0).any(axis=1).sum()
    return np.sqrt((S**2).sum(axis=1 if name == "l21" else 0)).sum()


def _residual(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


@norms
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("lam", [0.0, 0.3, 1.0, 2.5])
def test_prox_is_the_numerical_minimiser(name, seed, lam):
    R = _residual(seed, 1, 3, 4)
    target = R[0].numpy()

    def objective(flat, smooth=0.0):
        S = flat.reshape(3, 4)
        if not smooth:
            return 0.5 * ((S - target) ** 2).sum() + lam * _omega(name, S)
        if name == "l1":
            omega = np.sqrt(S**2 + smooth).sum()
        else:
            omega = np.sqrt((S**2).sum(axis=1 if name == "l21" else 0) + smooth).sum()
        return 0.5 * ((S - target) ** 2).sum() + lam * omega

    found = target.ravel()
    for smooth in (1e-2, 1e-4, 1e-6, 1e-8):  # ever closer to the kinks
        found = minimize(objective, found, args=(smooth,), method="BFGS", tol=1e-10).x
    S = PENALTIES[name].prox(R, torch.tensor([lam], dtype=R.dtype))[0].numpy()
    assert objective(S.ravel()) <= objective(found) + 1e-9
    np.testing.assert_allclose(S.ravel(), found, atol=2e-3)


@names
def test_value_is_the_definition(name):
    S = _residual(0, 3, 5, 4)
    expected = [_omega(name, member.numpy()) for member in S]
    np.testing.assert_allclose(PENALTIES[name].value(S).numpy(), expected)


@names
def test_value_after_prox_is_the_value_of_the_prox(name):
    penalty, R = PENALTIES[name], _residual(7, 2, 6, 5)
    lam = torch.tensor([0.4, 1.5], dtype=R.dtype)
    found = penalty.value_after_prox(penalty.norms(R), lam)
    torch.testing.assert_close(found, penalty.value(penalty.prox(R, lam)))


@names
def test_members_do_not_meet(name):
    penalty, R = PENALTIES[name], _residual(1, 3, 6, 5)
    lam = torch.tensor([0.1, 1.0, 3.0], dtype=R.dtype)
    together = penalty.prox(R, lam)
    for k in range(3):
        assert torch.equal(together[k : k + 1], penalty.prox(R[k : k + 1], lam[k : k + 1]))


@names
def test_lam_max_is_the_smallest_that_gives_zero(name):
    penalty, R = PENALTIES[name], _residual(2, 2, 7, 3)
    top = penalty.lam_max(R)
    assert not penalty.prox(R, top).any()
    assert all(member.any() for member in penalty.prox(R, top * (1 - 1e-9)))


@names
def test_extreme_lam(name):
    penalty, R = PENALTIES[name], _residual(3, 1, 5, 4)
    R[0, 0] = 0  # a group without content must not become 0 / 0
    assert torch.equal(penalty.prox(R, torch.zeros(1, dtype=R.dtype)), R)
    assert not penalty.prox(R, torch.tensor([torch.inf], dtype=R.dtype)).any()
    assert not penalty.prox(torch.zeros_like(R), torch.zeros(1, dtype=R.dtype)).any()


@names
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_lam_quantile_leaves_the_share_at_zero(name, share):
    penalty, R = PENALTIES[name], _residual(4, 2, 40, 30)
    norms = penalty.norms(R)
    lam = penalty.lam_quantile(norms, [share, share])
    norms = norms.flatten(1)
    zero = (norms <= lam[:, None]).sum(dim=1)
    assert (zero == max(round(share * norms.shape[1]), 1)).all()
    few = torch.tensor([[[1.0, 3.0, 2.0]]])
    assert penalty.lam_quantile(few, [0.9]).tolist() == [2.0]  # of three groups one moves
    assert penalty.lam_quantile(few[:, :, :1], [0.9]).tolist() == [1.0]


@norms
def test_row_shares_add_up_to_the_penalty_of_the_row_alone(name):
    penalty, R = PENALTIES[name], _residual(5, 2, 6, 4)
    R[0, 0] = 0
    values = penalty.row_values(R)
    torch.testing.assert_close(penalty.row_shares(R).sum(dim=-1), values)
    for k in range(2):
        for i in range(6):
            np.testing.assert_allclose(values[k, i], _omega(name, R[k, i : i + 1].numpy()))


@names
def test_small_residuals_are_split_like_large_ones(name):
    penalty, R = PENALTIES[name], _residual(5, 1, 6, 4)
    R[0, 0, 1:] = 0
    large, small = penalty.row_shares(R), penalty.row_shares(1e-6 * R)
    torch.testing.assert_close(small, 1e-6 * large)


def test_the_value_at_which_half_of_few_groups_move():
    norms = torch.tensor([[[4.0], [1.0], [3.0], [2.0]]])
    penalty = PENALTIES["l21"]
    found = [penalty.lam_quantile(norms, [q]).item() for q in (0.0, 0.25, 0.5, 0.75, 0.99, 1.0)]
    assert found == [1.0, 1.0, 2.0, 3.0, 3.0, 4.0]


def test_new_rows_are_shrunk_by_known_column_norms():
    penalty, R = PENALTIES["l21_features"], _residual(6, 1, 50, 4)
    lam = torch.tensor([6.5], dtype=R.dtype)
    together = penalty.prox(R, lam)
    alone = penalty.prox(R[:, :1], lam, norms=penalty.norms(R))
    assert torch.equal(alone, together[:, :1])


def _counted(S, R, rows, lam):
    """½‖S − R‖² and what each row of S that is not zero costs with ℓ2,0, (…,)."""
    size, least = np.linalg.norm(rows, axis=-1), 0.05 * np.sqrt(rows.shape[-1])
    cost = 0.5 * np.square(lam * np.where(size < least, least**2 / size, size))
    return (0.5 * ((S - R) ** 2).sum(axis=-1) + cost * (S != 0).any(axis=-1)).sum(axis=-1)


@pytest.mark.parametrize("lam", [0.0, 0.4, 1.0])
def test_l20_keeps_the_rows_that_minimise_the_count(lam):
    rows, R = _residual(0, 1, 5, 4), 0.6 * _residual(1, 1, 5, 4)
    rows[0, 4] = 1e-3  # nearly black
    penalty = PENALTIES["l20"]
    measures = penalty.measures(R, rows)
    S = penalty.prox(R, torch.tensor([lam], dtype=R.dtype), measures)[0].numpy()
    R, rows = R[0].numpy(), rows[0].numpy()
    # A row of S is free or zero: all of these, and some that are near the one found.
    which = np.array(list(itertools.product([0, 1], repeat=5)))[..., None]
    others = [which * R, S + 0.1 * np.random.default_rng(2).normal(size=(200, 5, 4)) * (S != 0)]
    least = _counted(S, R, rows, lam)
    assert (least <= _counted(np.concatenate(others), R, rows, lam) + 1e-12).all()


def test_l20_measures_what_is_left_of_rows():
    penalty, rows = PENALTIES["l20"], torch.ones(1, 5, 9)
    rows[0, 1:] *= torch.tensor([[0.05], [0.005], [1e-42], [0.0]])
    shares = penalty.measures(torch.full_like(rows, 0.01), rows)[0, :, 0]
    assert shares.tolist() == pytest.approx([0.01, 0.2, 0.02, 0.0, 0.0])
    R = _residual(5, 1, 6, 4)
    values = PENALTIES["l21"].row_values(R)
    assert torch.equal(penalty.row_values(R), values)
    torch.testing.assert_close(penalty.row_shares(R).sum(dim=-1), values)
