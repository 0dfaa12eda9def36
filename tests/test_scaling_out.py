"""Searches and scoring that other processes do give what one process gives, to the last bit."""

import logging
import os
import pickle
import signal
import threading
import time
from itertools import chain

import joblib
import numpy as np
import pytest
import torch
from joblib.externals.loky import get_reusable_executor
from sklearn.model_selection import GridSearchCV, StratifiedKFold

from skrdae import AnoGANDetector, RobustDeepAutoencoder, VAEDetector

distributed = pytest.importorskip("distributed")
da = pytest.importorskip("dask.array")

SECONDS = 180  # a search that takes longer hangs

# Older versions of Dask warn where threads are asked for beside a cluster.
beside_a_cluster = pytest.mark.filterwarnings("ignore:Running on a single-machine:UserWarning")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """One thread everywhere: the last bits of a fit may depend on how many there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            patch.setenv(name, "1")
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def cluster(one_thread, tmp_path_factory):
    options = {
        "n_workers": 2,
        "processes": True,
        "threads_per_worker": 1,
        "dashboard_address": ":0",  # any port: one may be taken
        "local_directory": str(tmp_path_factory.mktemp("dask")),
        "silence_logs": logging.CRITICAL,  # a killed worker is an error to the scheduler
    }
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        client.amm.stop()  # or it would remove the copies that `scatter` makes
        yield client


@pytest.fixture
def client(cluster):
    cluster.wait_for_workers(2, timeout=SECONDS)  # one may be starting again
    return cluster


@pytest.fixture(scope="module")
def data():
    """301 rows (a prime number times 7) of 8 features, and y = 1 for the first 12."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(301, 2)) @ rng.normal(size=(2, 8)) + 0.05 * rng.normal(size=(301, 8))
    X[:12] += rng.normal(scale=2, size=(12, 8))
    return X, (np.arange(301) < 12).astype(int)


@pytest.fixture(scope="module")
def folds(data):
    return list(StratifiedKFold(2, shuffle=True, random_state=0).split(*data))


def _detector(**options):
    return RobustDeepAutoencoder(
        n_estimators=2, contamination="auto", device="cpu", random_state=0, **options
    )


def _scorer(folder=None, killer=None):
    """Make a scorer that waits for a second place of work, and may then kill its process once.

    What workers call has to be made in a function: it then travels by value, and they need not
    import this file.
    """

    def score(detector, X, y):
        if folder is not None:
            (folder / f"{os.getpid()}-{threading.get_ident()}").touch()
            deadline = time.monotonic() + 60
            while len(os.listdir(folder)) < 2 and time.monotonic() < deadline:
                time.sleep(0.01)
        if killer is not None:
            try:
                os.close(os.open(killer, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                pass  # one has been killed
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        # Of the labels, because λ decides them, and of the scores, because each bit counts.
        return (detector.predict(X) == y).mean() + detector.decision_function(X).mean()

    return score


def _search(data, folds, **scorer):
    search = GridSearchCV(
        _detector(),
        {"lam": [0.5, 2.0]},
        scoring=_scorer(**scorer),
        cv=folds,
        error_score="raise",
    )
    return search.fit(*data)


@pytest.fixture(scope="module")
def serial(data, folds, one_thread):
    search = _search(data, folds)
    assert search.n_splits_ == len(folds) == 2
    assert len(set(search.cv_results_["mean_test_score"])) == 2  # λ matters
    return search


def _assert_equal(search, serial, X):
    for name, values in serial.cv_results_.items():
        if "_test_" in name:
            assert np.array_equal(search.cv_results_[name], values), name
    assert search.best_params_ == serial.best_params_
    assert np.array_equal(search.decision_function(X), serial.decision_function(X))


def _within(seconds, function):
    """Call a function, and fail where it takes too long."""
    found = {}

    def call():
        try:
            found["value"] = function()
        except BaseException as error:
            found["error"] = error

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), f"still running after {seconds} s"
    if "error" in found:
        raise found["error"]
    return found["value"]


def _kill_workers():
    # The executor as it is: with other settings a new one would wait until the workers have ended.
    executor = get_reusable_executor(reuse=True)
    _within(SECONDS, lambda: executor.shutdown(wait=True, kill_workers=True))


def _places(folder):
    """Return the processes and the threads that left their names."""
    names = [tuple(map(int, name.split("-"))) for name in os.listdir(folder)]
    return {process for process, _ in names}, {thread for _, thread in names}


# -------------------------------------------------------------------------------- searches


def test_a_search_in_threads_equals_the_serial_one(data, folds, serial, tmp_path):
    def run():
        with joblib.parallel_config("threading", n_jobs=2):
            return _search(data, folds, folder=tmp_path)

    _assert_equal(_within(SECONDS, run), serial, data[0])
    processes, threads = _places(tmp_path)
    assert processes == {os.getpid()}
    assert len(threads) == 2


def _threads_of_a_fit(X):
    """Make a function that tells PyTorch's threads after a fit, and how many are the package's."""

    def threads(_):
        _detector().fit(X)
        own = sum(thread.name.startswith("skrdae") for thread in threading.enumerate())
        return torch.get_num_threads(), own

    return threads


@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_search_in_loky_processes_equals_the_serial_one(
    n_threads, data, folds, serial, tmp_path, monkeypatch
):
    # Or MKL allows one thread for two hyperthreads of a core.
    monkeypatch.setenv("MKL_DYNAMIC", "FALSE")

    def run():
        with joblib.parallel_config("loky", n_jobs=2, inner_max_num_threads=n_threads):
            # First what imports everything: loky takes a worker's memory after its first call for
            # what it needs, and ends one that grows by 300 MB as leaking.
            search = _search(data, folds, folder=tmp_path)
            allowed = joblib.Parallel()(joblib.delayed(torch.get_num_threads)() for _ in range(2))
            threads = joblib.delayed(_threads_of_a_fit(np.resize(data[0], (500, 8))))
            return allowed, search, joblib.Parallel()(threads(k) for k in range(2))

    # Workers that are there already were started with another number of threads.
    _kill_workers()
    try:
        allowed, search, found = _within(SECONDS, run)
    finally:
        _kill_workers()
    _assert_equal(search, serial, data[0])
    processes, _ = _places(tmp_path)
    assert len(processes - {os.getpid()}) == len(processes) == 2
    # With one thread the worker's own does everything; two wait for what two others do.
    assert found == [(n, 0 if n == 1 else n) for n in allowed]


def test_a_search_in_a_cluster_equals_the_serial_one(client, data, folds, serial, tmp_path):
    def run():
        with joblib.parallel_config("dask"):
            return _search(data, folds, folder=tmp_path)

    _assert_equal(_within(SECONDS, run), serial, data[0])
    processes, _ = _places(tmp_path)
    assert processes == set(client.run(os.getpid).values())
    assert len(processes - {os.getpid()}) == 2


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_a_search_outlives_a_killed_worker(client, data, folds, serial, tmp_path):
    folder, killer = tmp_path / "places", tmp_path / "killed"
    folder.mkdir()
    before = set(client.run(os.getpid).values())

    def run():
        # What only the killed worker holds is lost, and the search with it: hence the copies.
        copied = [*data, *chain.from_iterable(folds)]
        with joblib.parallel_config("dask", scatter=copied):
            return _search(data, folds, folder=folder, killer=killer)

    _assert_equal(_within(SECONDS, run), serial, data[0])
    assert killer.exists()
    assert before <= _places(folder)[0]
    client.wait_for_workers(2, timeout=SECONDS)
    assert len(before & set(client.run(os.getpid).values())) == 1


# --------------------------------------------------------------------------- single detectors


@beside_a_cluster
@pytest.mark.parametrize("rows", [7, 64, 97, 300, 301])
@pytest.mark.parametrize("where", ["threads", "cluster"])
def test_scores_do_not_depend_on_the_chunk(where, rows, data, request):
    X, _ = data
    detector = _detector().fit(X)
    chunked = da.from_array(X, chunks=(rows, -1))
    scores = chunked.map_blocks(
        detector.decision_function, drop_axis=1, dtype=float, meta=np.empty(0)
    )
    assert scores.shape == (301,)
    assert scores.chunks == chunked.chunks[:1]
    if where == "cluster":
        found = request.getfixturevalue("client").compute(scores).result(timeout=SECONDS)
    else:
        found = scores.compute(scheduler="threads", num_workers=2)
    assert found.dtype == np.float64
    assert np.array_equal(found, detector.decision_scores_)


@beside_a_cluster
@pytest.mark.parametrize(
    "detector",
    [
        _detector(),
        VAEDetector(n_estimators=2, n_epochs=3, device="cpu", random_state=0),
        AnoGANDetector(n_estimators=2, n_epochs=20, device="cpu", random_state=0),
    ],
    ids=lambda detector: type(detector).__name__,
)
def test_a_file_is_scored_where_it_lies(detector, client, data, tmp_path):
    path = tmp_path / "rows.dat"
    written = np.memmap(path, dtype=np.float32, mode="w+", shape=data[0].shape)
    written[:] = data[0]
    written.flush()
    expected = detector.fit(data[0]).decision_function(np.array(written))
    options = {"dtype": float, "meta": np.empty(0)}

    # In this process Dask reads the parts of the file as it needs them.
    there = np.memmap(path, dtype=np.float32, mode="r", shape=data[0].shape)
    assert np.array_equal(detector.decision_function(there), expected)
    scores = da.from_array(there, chunks=(97, -1)).map_blocks(
        detector.decision_function, drop_axis=1, **options
    )
    assert np.array_equal(scores.compute(scheduler="threads"), expected)

    # Another process opens the file itself.
    shape = data[0].shape

    def score(block_info):
        (rows,) = block_info[None]["array-location"]
        X = np.memmap(path, dtype=np.float32, mode="r", shape=shape)
        return detector.decision_function(X[slice(*rows)])

    scores = da.map_blocks(score, chunks=((97, 97, 97, 10),), **options)
    assert np.array_equal(client.compute(scores).result(timeout=SECONDS), expected)


def test_a_detector_fitted_by_a_worker_comes_back(client, data):
    X, _ = data
    expected = _detector().fit(X)
    future = client.submit(_detector().fit, X, pure=False)
    there = client.submit(lambda detector: detector.decision_function(X[:99]), future)
    returned = future.result(timeout=SECONDS)
    for detector in (returned, pickle.loads(pickle.dumps(returned))):
        assert detector.get_params() == expected.get_params()
        assert np.array_equal(detector.decision_scores_, expected.decision_scores_)
        assert np.array_equal(detector.decision_function(X), expected.decision_scores_)
        assert np.array_equal(detector.predict(X), expected.labels_)
    assert np.array_equal(there.result(timeout=SECONDS), expected.decision_scores_[:99])
