"""Fits to Dask collections, on a cluster of two processes."""

import logging
import os
import signal

import numpy as np
import pytest
import torch
from optional import Optional
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError

import skrdae
from skrdae import (
    CalibratedDetector,
    ConvRobustAutoencoder,
    RobustDeepAutoencoder,
    RobustPCA,
    WindowedDetector,
)
from skrdae.merging import agree, merge

distributed = pytest.importorskip("distributed")
da = pytest.importorskip("dask.array")
dask = pytest.importorskip("dask")
cloudpickle = pytest.importorskip("cloudpickle")
import skrdae.dask  # noqa: E402
from skrdae.dask.cluster import client_of  # noqa: E402
from skrdae.dask.partitions import fold_numbers, look, sample_of, shared_out  # noqa: E402

dd = Optional("dask.dataframe")
pd = Optional("pandas")

SECONDS = 180


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    options = {
        "n_workers": 2,
        "processes": True,
        "threads_per_worker": 1,
        "dashboard_address": ":0",
        "local_directory": str(tmp_path_factory.mktemp("dask")),
        "silence_logs": logging.CRITICAL,
    }
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        yield client
    torch.set_num_threads(before)


@pytest.fixture
def client(cluster):
    cluster.wait_for_workers(2, timeout=SECONDS)  # one may be starting again
    return cluster


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 2)) @ rng.normal(size=(2, 6)) + 0.1 * rng.normal(size=(600, 6))
    X[:12] += rng.normal(scale=3, size=(12, 6))
    return X[rng.permutation(600)]


def _detector(**options):
    defaults = {"n_estimators": 3, "max_iter": 2, "device": "cpu", "random_state": 0}
    return RobustDeepAutoencoder(**defaults | options)


def _same(one, other, X):
    assert np.array_equal(one.decision_scores_, other.decision_scores_)
    assert np.array_equal(one.decision_function(X), other.decision_function(X))
    assert one.threshold_ == other.threshold_
    assert np.array_equal(one.lam_, other.lam_)


# --------------------------------------------------------------------------------- fitting


def test_one_partition_gives_what_a_fit_in_memory_gives(client, X):
    detector = _detector(max_samples=1.0)
    found = skrdae.dask.fit(detector, da.from_array(X, chunks=(-1, -1)))
    assert found.get_params() == detector.get_params()
    assert "model_" not in vars(detector)
    _same(found, clone(detector).fit(X), X)


def test_a_fit_equals_the_merge_of_members_fitted_one_after_another(client, X):
    # A partition for each member, so that none is drawn from.
    parts = np.array_split(X, 3)
    chunks = tuple(map(len, parts)), -1
    found = skrdae.dask.fit(_detector(max_samples=1.0), da.from_array(X, chunks=chunks))
    agreement = agree(_detector(max_samples=1.0), X)
    members = [agreement.fit_member(k, part) for k, part in enumerate(parts)]
    _same(found, merge(members, X), X)
    assert np.array_equal(found.decision_scores_, found.decision_function(X))


def test_a_fit_does_not_depend_on_the_workers(client, X):
    rows = da.from_array(X, chunks=(70, -1))
    found = skrdae.dask.fit(_detector(max_samples=50), rows)
    options = {"processes": False, "dashboard_address": ":0", "set_as_default": False}
    with distributed.Client(n_workers=1, **options) as alone:
        again = skrdae.dask.fit(_detector(max_samples=50), rows, client=alone)
    _same(found, again, X)
    # Chunks of unknown size, too: they are counted in the first pass.
    unknown = rows[rows[:, 0] > -100]
    assert np.isnan(unknown.chunks[0][0])
    _same(found, skrdae.dask.fit(_detector(max_samples=50), unknown), X)


def test_a_sample_sets_scales_and_threshold(client, X):
    rows = da.from_array(X, chunks=(70, -1))
    found = skrdae.dask.fit(_detector(scaler="minmax"), rows, sample_size=200)
    assert 195 <= len(found.decision_scores_) <= 210
    assert found.labels_.mean() == pytest.approx(0.1, abs=0.01)
    assert np.array_equal(found.scaler_.center_, X.min(axis=0))
    alone = RobustPCA().fit(X)
    by_sample = skrdae.dask.fit(RobustPCA(), rows)  # which has no members
    assert np.allclose(by_sample.decision_function(X), alone.decision_function(X))


def test_no_loaded_partition_is_a_task_of_its_own(client, X, monkeypatch):
    # It might be moved to another worker then, however few of its rows are wanted.
    rows = da.from_array(X, chunks=(70, -1)).map_blocks(np.negative)
    graphs, compute = [], client.compute

    def seen(tasks):
        graphs.append({k: v for task in tasks for k, v in task.__dask_graph__().items()})
        return compute(tasks)

    monkeypatch.setattr(client, "compute", seen)
    skrdae.dask.fit(_detector(max_samples=50), rows, client=client)
    for graph in graphs:
        assert not {key for key in graph if isinstance(key, tuple)}  # those of rows
    loading = [task for task in graphs[0].values() if not task.dependencies]
    assert len(graphs) == 2
    assert len(loading) == 9


def test_partitions_in_memory_or_with_tasks_in_common_are_fitted_like_others(client, X):
    rows = da.from_array(X, chunks=(150, -1))
    fits = [
        skrdae.dask.fit(_detector(), given)
        for given in (rows, rows.persist(), -(-rows).persist(), rows + 0 * rows.mean(axis=0))
    ]
    for fitted in fits[1:]:
        _same(fits[0], fitted, X)


def test_frames_of_all_kinds_are_fitted_alike(client, X):
    frame = pd.DataFrame(X, columns=list("abcdef"))
    parts = [frame[k : k + 150] for k in range(0, 600, 150)]
    plain = dd.from_pandas(frame, npartitions=4)
    told = dd.from_delayed([dask.delayed(p) for p in parts], meta=frame[:0], verify_meta=False)
    halves = [dd.from_pandas(part, npartitions=2) for part in (frame[:300], frame[300:])]
    fits = [
        skrdae.dask.fit(_detector(), given, sample_size=200)
        for given in (plain, plain.persist(), told, dd.concat(halves))
    ]
    fewer = skrdae.dask.fit(_detector(), plain.repartition(npartitions=2))
    assert len(fewer.decision_scores_) == 600
    assert len(fits[0].decision_scores_) == 200
    for fitted in fits[1:]:
        _same(fits[0], fitted, frame)


def test_warnings_of_workers_are_told_once(client, X):
    rows = da.from_array(X, chunks=(200, -1))
    with pytest.warns(ConvergenceWarning, match="2 iterations did not bring") as caught:
        skrdae.dask.fit(_detector(tol=1e-9), rows)
    assert len(caught) == 1


# ----------------------------------------------------------------------------------- scoring


@pytest.mark.filterwarnings("ignore:Running on a single-machine:UserWarning")
def test_scores_of_arrays_are_arrays(client, X):
    detector = skrdae.dask.fit(_detector(), da.from_array(X, chunks=(70, -1)))
    rows = da.from_array(X, chunks=((100, 0, 500), -1))
    scores = skrdae.dask.decision_function(detector, rows)
    assert scores.chunks == rows.chunks[:1]
    assert np.array_equal(scores.compute(), detector.decision_function(X))
    assert np.array_equal(skrdae.dask.predict(detector, rows).compute(), detector.predict(X))
    explained = skrdae.dask.explain(detector, rows)
    assert explained.chunks == rows.chunks
    assert np.array_equal(explained.compute(scheduler="threads"), detector.explain(X))


def test_scores_are_those_of_the_detector_as_it_was(X):
    detector = _detector().fit(X)
    rows = da.from_array(X, chunks=(100, -1))
    wanted, flagged = detector.decision_function(X), detector.predict(X)
    scores, labels = (
        skrdae.dask.decision_function(detector, rows),
        skrdae.dask.predict(detector, rows),
    )
    detector.threshold_ = 0.0
    assert np.array_equal(labels.compute(scheduler="synchronous"), flagged)
    detector.set_params(random_state=1).fit(X[:300])
    assert np.array_equal(scores.compute(scheduler="synchronous"), wanted)


@pytest.mark.parametrize("frame", [False, True])
def test_no_task_of_a_chunk_holds_the_detector(X, frame):
    detector = _detector().fit(X)
    rows = da.zeros((600, 6), chunks=(100, -1))
    rows = dd.from_dask_array(rows) if frame else rows
    scores = skrdae.dask.decision_function(detector, rows)
    graph = dask.optimize(scores)[0].__dask_graph__()
    sizes = sorted(len(cloudpickle.dumps(task)) for task in dict(graph).values())
    assert sizes[-1] > 10_000  # the detector, once
    assert sizes[-2] < 4000


def test_frames_keep_their_index_and_names(client, X):
    names = [f"f{j}" for j in range(6)]
    frame = pd.DataFrame(X, columns=names, index=np.arange(600) * 2)
    rows = dd.from_pandas(frame, npartitions=4)
    detector = skrdae.dask.fit(_detector(), rows)
    assert detector.feature_names_in_.tolist() == names
    scores = skrdae.dask.decision_function(detector, rows)
    assert scores.divisions == rows.divisions
    assert scores.dtype == np.float64
    scores = scores.compute()
    assert np.array_equal(scores, detector.decision_function(frame))
    assert scores.index.tolist() == frame.index.tolist()
    explained = skrdae.dask.explain(detector, rows).compute()
    assert explained.columns.tolist() == names
    assert np.array_equal(explained, detector.explain(frame))


def test_calibrated_on_rows_that_members_have_not_seen(client, X):
    rows = da.from_array(X, chunks=(70, -1))
    calibrated = CalibratedDetector(_detector(), cv=2, random_state=0)
    found = skrdae.dask.fit(calibrated, rows)
    p_values = skrdae.dask.p_values(found, rows).compute()
    assert np.array_equal(p_values, found.p_values(X))
    _same(found.detector_, skrdae.dask.fit(_detector(), rows), X)
    assert len(found.decision_scores_) == 600
    # By members that have seen half of the rows, and not these.
    assert np.corrcoef(found.decision_scores_, found.detector_.decision_scores_)[0, 1] > 0.8
    assert (found.decision_scores_ != found.detector_.decision_scores_).all()


def test_scales_of_a_clone_are_those_of_the_rows_outside_of_its_fold(X):
    looks = [look(_detector(), part, k, 20, 3)[0] for k, part in enumerate((X[:400], X[400:]))]
    sample = sample_of(looks, 40)
    folds = np.concatenate([fold_numbers(0, 400, 3), fold_numbers(1, 200, 3)])
    for fold in (-1, 0, 1, 2):
        places, moments = sample.outside(fold)
        assert (sample.folds[places] != fold).all()
        rows = X[folds != fold]
        assert moments.n_rows == len(rows)
        assert np.array_equal(moments.largest, rows.max(axis=0))
        assert np.allclose(moments.deviation, rows.std(axis=0), rtol=1e-12)


def test_series_are_sampled_and_scored_whole(client):
    rng = np.random.default_rng(0)
    series = [np.sin(np.arange(n) / 4) + 0.1 * rng.normal(size=n) for n in (300, 200, 250)]
    detector = WindowedDetector(_detector(), window_size=12)
    given = [
        da.from_array(series[0], chunks=100),
        dask.delayed(series[1]),
        dd.from_pandas(pd.DataFrame({0: series[2]}), npartitions=2),
    ]
    found = skrdae.dask.fit(detector, given[:2])
    assert np.array_equal(found.decision_scores_, clone(detector).fit(series[:2]).decision_scores_)
    for scores, one in zip(skrdae.dask.decision_function(found, given), series, strict=True):
        assert np.array_equal(scores.compute(), found.decision_function(one))
    assert len(skrdae.dask.fit(detector, given[:2], sample_size=300).decision_scores_) in (200, 300)
    with pytest.raises(TypeError, match="list of series"):
        skrdae.dask.fit(detector, given[0])
    with pytest.raises(ValueError, match=r"Series 1 of X: .*NaN"):
        skrdae.dask.fit(detector, [given[0], dask.delayed(np.full(50, np.nan))])


def test_images_keep_their_shape(client):
    images = da.random.default_rng(0).random((120, 6, 5), chunks=(40, -1, -1))
    options = {"n_estimators": 2, "max_iter": 1, "channels": (4,), "random_state": 0}
    found = skrdae.dask.fit(ConvRobustAutoencoder(**options), images)
    assert found.image_shape_ == (6, 5)
    explained = skrdae.dask.explain(found, images)
    assert explained.shape == explained.compute().shape == (120, 6, 5)


# -------------------------------------------------------------------------------- bad input


def _blocks(*blocks):
    """Return an array of these chunks, of which some may be empty."""
    chunks = tuple(map(len, blocks)), (6,)
    return da.map_blocks(lambda block_id: blocks[block_id[0]], chunks=chunks, dtype=float)


def test_what_is_wrong_with_a_partition_is_named(client, X):
    holed = X.copy()
    holed[450, 2] = np.nan
    with pytest.raises(ValueError, match="Partition 2 of X: X contains NaN in 1 of 6 columns: 2"):
        skrdae.dask.fit(_detector(), da.from_array(holed, chunks=(200, -1)))
    ragged = _blocks(X[:100], X[100:200, :5])
    with pytest.raises(ValueError, match="Partition 1 of X has 5 columns, and partition 0 has 6"):
        skrdae.dask.fit(_detector(), ragged)
    with pytest.raises(ValueError, match="each of its 2 partitions is empty"):
        skrdae.dask.fit(_detector(), _blocks(X[:0], X[:0]))
    sparse = da.from_array(X, chunks=(300, -1)).map_blocks(csr_array)
    with pytest.raises(TypeError, match=r"Partition \d of X: it is sparse.*block\.toarray\(\)"):
        skrdae.dask.fit(_detector(), sparse)
    few = _blocks(X[:200], X[:0], X[:9], X[:50])  # an empty partition alone does no harm
    with pytest.raises(ValueError, match="Member 1, with partition 2 of X, has 9 rows"):
        skrdae.dask.fit(_detector(max_samples=1.0), few)
    # The members get as many rows as in one fit: all of them, from wherever they are.
    found = skrdae.dask.fit(_detector(), few)
    _same(found, clone(_detector()).fit(np.concatenate([X[:200], X[:9], X[:50]])), X)


def test_collections_that_are_none(client, X):
    rows = da.from_array(X, chunks=(100, -1))
    with pytest.raises(TypeError, match="Dask array or a Dask DataFrame; got ndarray"):
        skrdae.dask.fit(_detector(), X)
    with pytest.raises(ValueError, match=r"rechunk\(\{1: -1\}\)"):
        skrdae.dask.fit(_detector(), rows.rechunk((100, 3)))
    with pytest.raises(ValueError, match=r"X\[:, None\]"):
        skrdae.dask.fit(_detector(), rows[:, 0])
    with pytest.raises(ValueError, match="lr"):
        skrdae.dask.fit(_detector(lr=0), rows)
    for wrong in (0, True, 10.0):
        with pytest.raises(ValueError, match="sample_size"):
            skrdae.dask.fit(_detector(), rows, sample_size=wrong)
    with pytest.raises(ValueError, match="X has 20 rows, fewer than 32"):
        skrdae.dask.fit(_detector(), rows[:20])
    with pytest.raises(TypeError, match="detector of rows"):
        skrdae.dask.fit("detector", rows)
    with pytest.raises(ValueError, match="number of folds"):
        skrdae.dask.fit(CalibratedDetector(_detector(), cv=[]), rows)
    with pytest.raises(NotFittedError):
        skrdae.dask.predict(_detector(), rows)
    fitted = clone(_detector()).fit(X)
    with pytest.raises(TypeError, match="no p_values: fit a CalibratedDetector"):
        skrdae.dask.p_values(fitted, rows)
    with pytest.raises(TypeError, match="got ndarray"):
        skrdae.dask.decision_function(fitted, X)


class _Client:
    """A client of workers with packages of some versions."""

    asynchronous = False

    def __init__(self, **workers):
        self._workers = {k: {"packages": v} for k, v in workers.items()}

    def get_versions(self, packages):
        here = {"packages": {"skrdae": skrdae.__version__, "torch": "2.6.0+cpu"}}
        return {"client": here, "workers": self._workers}


def test_clusters_that_cannot_train(monkeypatch):
    same = {"skrdae": skrdae.__version__, "torch": "2.6.0+cu124"}
    client_of(_Client(a=same, b=same))
    with pytest.raises(ValueError, match="no workers"):
        client_of(_Client())
    with pytest.raises(ValueError, match="worker at b cannot import skrdae"):
        client_of(_Client(a=same, b=same | {"skrdae": None}))
    with pytest.raises(ValueError, match=r"worker at a has torch 2\.5\.0, and this process has"):
        client_of(_Client(a=same | {"torch": "2.5.0"}))

    def none():
        raise ValueError

    monkeypatch.setattr(distributed, "get_client", none)
    with pytest.raises(ValueError, match="no Dask client"):
        client_of(None)


def test_rows_are_shared_out_in_proportion():
    sizes = np.array([10, 0, 25, 15])
    assert shared_out(10, sizes).tolist() == [2, 0, 5, 3]
    assert shared_out(50, sizes).tolist() == sizes.tolist()
    assert shared_out(1, sizes).sum() == 1


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_a_killed_worker_changes_nothing(client, X, tmp_path):
    expected = skrdae.dask.fit(_detector(), da.from_array(X, chunks=(70, -1)))
    marker = str(tmp_path / "killed")

    def loaded(block, block_id):
        if block_id[0] == 5 and len(block):
            try:
                os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return block

    rows = da.from_array(X, chunks=(70, -1)).map_blocks(loaded, meta=np.empty((0, 0)))
    found = skrdae.dask.fit(_detector(), rows)
    assert os.path.exists(marker)
    _same(found, expected, X)
