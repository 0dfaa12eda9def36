import numpy as np
import torch

from skrdae._random import member_generators, member_seeds


def test_seeds_nest_and_repeat():
    assert np.array_equal(member_seeds(7, 5)[:2], member_seeds(7, 2))
    assert len(set(member_seeds(7, 100))) == 100
    state = np.random.RandomState(7)
    assert np.array_equal(member_seeds(state, 5), member_seeds(7, 5))
    assert not np.array_equal(member_seeds(state, 5), member_seeds(7, 5))


def test_none_is_fresh_and_leaves_numpy_alone():
    before = np.random.get_state()[1].copy()
    assert not np.array_equal(member_seeds(None, 3), member_seeds(None, 3))
    assert np.array_equal(before, np.random.get_state()[1])


def test_generators_are_torchs_own_and_apart():
    before = torch.get_rng_state()
    a, b = member_generators([1, 2])
    assert not torch.equal(torch.rand(5, generator=a), torch.rand(5, generator=b))
    assert torch.equal(before, torch.get_rng_state())
