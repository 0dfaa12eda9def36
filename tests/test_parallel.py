import threading

import pytest
import torch

from skrdae._parallel import in_parallel


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_results_come_in_order_whatever_takes_long(two_threads):
    last = threading.Event()

    def work(piece):
        if piece == 0:
            assert last.wait(timeout=20)  # the first is done when all others are
        if piece == 9:
            last.set()
        return piece**2

    assert in_parallel(work, list(range(10))) == [i**2 for i in range(10)]
    assert in_parallel(work, []) == []


def test_pieces_run_at_once_on_one_thread_each(two_threads):
    both = threading.Barrier(2, timeout=20)  # broken if one waits for the other to end

    def work(piece):
        both.wait()
        return torch.get_num_threads(), threading.get_ident()

    (a, first), (b, second) = in_parallel(work, [0, 1])
    assert (a, b) == (1, 1)
    assert first != second
    assert torch.get_num_threads() == 2  # outside nothing has changed


def test_an_error_reaches_the_caller(two_threads):
    def work(piece):
        raise ValueError(f"piece {piece}")

    with pytest.raises(ValueError, match="piece 0"):
        in_parallel(work, [0, 1])
    assert in_parallel(abs, [-1, -2]) == [1, 2]  # and the threads go on
