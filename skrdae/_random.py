"""Random numbers: one ``random_state`` in, one independent torch generator a member out."""

from collections.abc import Iterable

import numpy as np
import torch
from sklearn.utils import check_random_state

from skrdae._typing import IntArray, RandomStateLike


def member_seeds(random_state: RandomStateLike, n_members: int) -> IntArray:
    """Draw the seed of each member.

    The seeds are drawn in order, so the first members of a larger ensemble are the members of a
    smaller one with the same `random_state`.

    Parameters
    ----------
    random_state : int, numpy.random.RandomState or None
        ``None`` takes fresh entropy from the operating system. Unlike in scikit-learn it does
        not read NumPy's global generator: that state is left as it is.
    n_members : int
        Number of members.

    Returns
    -------
    ndarray of shape (n_members,), int64
    """
    random = np.random.RandomState() if random_state is None else check_random_state(random_state)
    return random.randint(np.iinfo(np.int32).max, size=n_members).astype(np.int64)


def member_generators(seeds: Iterable[int]) -> list[torch.Generator]:
    """Return a CPU :class:`torch.Generator` for each seed.

    The generators stay on the CPU whatever the device, so that a fit draws the same numbers
    everywhere.
    """
    return [torch.Generator(device="cpu").manual_seed(int(seed)) for seed in seeds]
