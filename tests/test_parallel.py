import threading

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from skrdae import RobustDeepAutoencoder, VAEDetector
from skrdae._parallel import in_parallel, one_blas_thread, one_openmp_thread


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


def _n_blas_threads():
    return {lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"}


@pytest.mark.parametrize("first_leaves_first", [True, False])
def test_the_blas_has_its_threads_back_when_the_last_has_left(first_leaves_first):
    inside, go_on = threading.Event(), threading.Event()

    def other():
        with one_blas_thread:
            inside.set()
            assert go_on.wait(20)

    with threadpool_limits(2, user_api="blas"):
        before = _n_blas_threads()
        thread = threading.Thread(target=other)
        if first_leaves_first:
            with one_blas_thread:
                thread.start()
                assert inside.wait(20)
        else:
            thread.start()
            assert inside.wait(20)
            with one_blas_thread:
                pass
        assert _n_blas_threads() == {1}
        go_on.set()
        thread.join()
        assert _n_blas_threads() == before == {2}


def test_a_limit_on_openmp_is_a_threads_own():
    before = torch.get_num_threads()
    with one_openmp_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


DETECTORS = {
    "l21": RobustDeepAutoencoder(n_estimators=2, random_state=0),
    "l1": RobustDeepAutoencoder(penalty="l1", n_estimators=3, random_state=0),
    "l21_features": RobustDeepAutoencoder(penalty="l21_features", n_estimators=1, random_state=0),
    "large batches": RobustDeepAutoencoder(
        hidden_layer_sizes=(300, 10), batch_size=400, n_estimators=1, max_iter=2, random_state=0
    ),
    "vae": VAEDetector(n_estimators=2, n_epochs=3, random_state=0),
}


@pytest.mark.parametrize("name", DETECTORS)
def test_a_fit_does_not_depend_on_the_number_of_threads(name, two_threads):
    rng = np.random.default_rng(0)
    d = 100 if name == "large batches" else 9
    X = rng.normal(size=(1300, 3)) @ rng.normal(size=(3, d)) + 0.1 * rng.normal(size=(1300, d))
    detector = DETECTORS[name]
    on_two = detector.fit(X).decision_scores_
    torch.set_num_threads(1)
    assert np.array_equal(detector.fit(X).decision_scores_, on_two)
    assert np.array_equal(detector.decision_function(X), on_two)
