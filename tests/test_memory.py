import errno
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

from skrdae import RobustDeepAutoencoder, _memory
from skrdae._memory import is_mapped, matrix, matrix_like, take_rows
from skrdae.preprocessing import ColumnScaler


@pytest.fixture
def mapped(tmp_path):
    """Rows in a file, a shared factor in them."""
    rng = np.random.default_rng(0)
    rows = np.memmap(tmp_path / "rows", dtype=np.float32, mode="w+", shape=(3000, 12))
    rows[:] = rng.normal(size=(3000, 1)) + 0.3 * rng.normal(size=(3000, 12))
    rows.flush()
    return np.memmap(tmp_path / "rows", dtype=np.float32, mode="r", shape=(3000, 12))


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """The folder for temporary files, with matrices of any size in it."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(_memory, "_SMALL", 0)
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture
def in_files(monkeypatch):
    """The shapes of the matrices that were made in files."""
    shapes, make = [], _memory.matrix

    def watched(shape, *, mapped):
        made = make(shape, mapped=mapped)
        if made.untyped_storage().filename is not None:
            shapes.append(tuple(shape))
        return made

    monkeypatch.setattr(_memory, "matrix", watched)
    monkeypatch.setattr("skrdae.rows.matrix", watched)
    return shapes


def test_what_lies_in_a_file_is_told(mapped):
    assert is_mapped(mapped)
    assert is_mapped(np.asarray(mapped)[5:, ::2])
    assert not is_mapped(mapped[[1, 2]])
    assert not is_mapped(np.array(mapped))


def test_a_matrix_in_a_file_leaves_none_behind(scratch):
    one = matrix((40, 5), mapped=True)
    other = matrix_like(one[None].expand(3, -1, -1), (3, 40, 5))
    other.fill_(2.0)
    assert other.untyped_storage().filename.startswith(str(scratch))
    assert not list(scratch.iterdir())
    assert other.sum() == 1200
    assert matrix((40, 5), mapped=False).untyped_storage().filename is None


@pytest.mark.parametrize(
    ("options", "shapes"),
    [
        ({}, [(3000, 12), (2, 3000, 12)]),
        ({"penalty": "l1"}, [(3000, 12), (2, 3000, 12)]),
        ({"penalty": "l21_features"}, [(3000, 12), (2, 3000, 12)]),
        ({"max_samples": 0.5}, [(3000, 12), (3000, 12), (2, 1500, 12)]),
        # λ = 0 takes all of one member at once, which leaves the other alone.
        ({"lam": 0.0, "tol": 1e-9}, [(3000, 12), (2, 3000, 12)]),
    ],
)
def test_training_on_a_file_is_training_on_what_it_holds(
    mapped, scratch, in_files, options, shapes
):
    detector = RobustDeepAutoencoder(
        n_estimators=2, max_iter=2, device="cpu", random_state=0, **options
    )
    from_file = detector.fit(mapped).decision_scores_
    assert in_files == shapes
    assert not list(scratch.iterdir())
    np.testing.assert_array_equal(detector.decision_function(mapped), from_file)
    from_memory = detector.fit(np.array(mapped)).decision_scores_
    np.testing.assert_array_equal(from_file, from_memory)
    assert in_files == shapes


def test_some_of_what_lies_in_a_file_lies_in_one(scratch):
    data = matrix((3, 4, 5), mapped=True).copy_(torch.arange(60.0).view(3, 4, 5))
    some = take_rows(data, torch.tensor([2, 0]))
    assert torch.equal(some, data[[2, 0]])
    assert some.untyped_storage().filename is not None
    assert take_rows(data.clone(), torch.tensor([1])).untyped_storage().filename is None


def test_no_room_for_the_file_is_an_error_that_says_what_to_do(mapped, scratch, monkeypatch):
    def refuse(handle, offset, length):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    detector = RobustDeepAutoencoder(device="cpu", random_state=0)
    with pytest.raises(OSError, match="TMPDIR"):
        detector.fit(mapped)
    assert not hasattr(detector, "scaler_")
    assert not list(scratch.iterdir())


@pytest.mark.parametrize("method", ["robust", "standard", "minmax"])
def test_scales_of_a_large_file_are_told_from_some_rows(tmp_path, method, monkeypatch):
    rng = np.random.default_rng(0)
    rows = rng.normal(loc=5, size=(4000, 3))
    rows[:, 1] = 0.0
    rows[[7, 1234], 1] = 0.001  # hardly ever anything else: a sample does not see it
    rows[:, 2] = 3.0
    mapped = np.memmap(tmp_path / "rows", dtype=np.float64, mode="w+", shape=rows.shape)
    mapped[:] = rows
    exact = ColumnScaler(method).fit(rows)
    monkeypatch.setattr("skrdae.preprocessing.scaler._LEAST_ROWS", 1000)
    monkeypatch.setattr("skrdae.preprocessing.scaler._PIECE", 100)
    found = ColumnScaler(method).fit(mapped)
    close = {"rtol": 0.15} if method == "robust" else {"rtol": 1e-9}
    np.testing.assert_allclose(found.scale_, exact.scale_, **close)
    np.testing.assert_allclose(found.center_, exact.center_, atol=0.1)
    assert found.constant_.tolist() == [False, False, True]


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux's /proc")
def test_memory_does_not_grow_with_the_rows_of_a_file(tmp_path):
    script = """
        import sys, threading, time, warnings
        import numpy as np, torch
        from skrdae import RobustDeepAutoencoder

        def used():
            with open("/proc/self/status") as status:
                line = next(line for line in status if line.startswith("RssAnon"))
            return int(line.split()[1]) * 1024

        torch.set_num_threads(1)
        rng = np.random.default_rng(0)
        detector = RobustDeepAutoencoder(
            n_estimators=1, max_iter=1, device="cpu", random_state=0
        )
        detector.fit(rng.normal(size=(500, 100)).astype(np.float32))
        n = 200_000
        X = np.memmap(sys.argv[1], dtype=np.float32, mode="w+", shape=(n, 100))
        block = rng.normal(size=(10_000, 100))
        for start in range(0, n, 10_000):
            X[start : start + 10_000] = block
        before, peak, done = used(), 0, threading.Event()

        def watch():
            global peak
            while not done.wait(0.002):
                peak = max(peak, used() - before)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        detector.decision_function(X)
        done.set()
        watcher.join()
        # Beside a block of some 16 MB, the scores and what they are made from take some dozens of
        # bytes a row; the rows would take 400.
        assert peak < 20e6 + 200 * n, peak
        """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "rows")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_a_gpu_tensor_asks_for_one_of_its_kind():
    like = torch.empty(2, 3, device="meta")
    assert matrix_like(like, (4, 5)).device.type == "meta"
