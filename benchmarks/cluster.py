"""Fits to Dask collections: quality beside one fit, bytes moved, time, memory, and merging.

    python benchmarks/cluster.py quality
    python benchmarks/cluster.py traffic
    python benchmarks/cluster.py workers
    python benchmarks/cluster.py merge
    python benchmarks/cluster.py parquet
    python benchmarks/cluster.py recipes

Workers are processes of this machine with one thread each, all detectors have their defaults, and
only the seed changes.

- ``quality``: ROC AUC over all rows of the ADBench sets of more than 3,000 rows, by one fit in
  memory and by a fit to 16 chunks on two workers: chunks of the file as it lies, and of shuffled
  rows.
- ``traffic``: bytes that workers send, to each other and to the client, in the two passes of a fit
  to chunks of 100,000 rows of 30 features, and bytes that client and scheduler send to them.
- ``workers``: seconds that a fit to 2 million rows of 30 features in a file takes, and scoring
  them, with one worker and with two, by turns.
- ``merge``: members of 1,000 partitions, one for each or fewer: what they weigh, and what it costs
  to merge them and to score with them.
- ``parquet``: 20 million rows of 30 features in Parquet files, fitted and scored by two workers of
  2 GB; in a second run one of them is killed in the middle of the fit and one while rows are
  scored, and the scores have to be the same.
- ``recipes``: those of docs/scaling_out.md for Spark and Ray, as they stand there, in local mode,
  if the package is installed; ROC AUC beside that of one fit.
"""

import argparse
import contextlib
import importlib.metadata
import importlib.util
import os
import pickle
import re
import signal
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path
from statistics import median

# Dask would take the script of that name beside this one for a library.
sys.modules["sparse"] = None

import dask
import dask.array as da
import numpy as np
import pandas as pd
import psutil
from datasets import add_data_argument, load_adbench
from distributed import Client, LocalCluster
from distributed.comm import tcp
from report import write_csv
from sklearn.metrics import roc_auc_score

import skrdae.dask
from skrdae import RobustDeepAutoencoder, merge
from skrdae.merging import agree, without_rows

HOW = ("one fit", "as it lies", "shuffled")


def cluster(n_workers, **options):
    """Return a context in which there is a client of so many processes, which are warm."""
    return _Cluster(n_workers, options)


class _Cluster:
    def __init__(self, n_workers, options):
        self._options = {
            "n_workers": n_workers,
            "threads_per_worker": 1,
            "processes": True,
            "dashboard_address": None,  # it would draw on the processor that a worker has
            **options,
        }

    def __enter__(self):
        self._cluster = LocalCluster(**self._options)
        self._client = Client(self._cluster)
        # Imports take seconds, and are none of the fit's.
        rows = da.random.default_rng(0).normal(size=(1000 * len(self._cluster.workers), 4))
        small = RobustDeepAutoencoder(n_estimators=4, random_state=0)
        skrdae.dask.fit(small, rows.rechunk((250, -1)))
        return self._client

    def __exit__(self, *error):
        self._client.close()
        self._cluster.close()


# --------------------------------------------------------------------------------- quality


def quality(arguments):
    rows = []
    with cluster(2):
        sets = load_adbench(arguments.data_dir, min_rows=3001)
        for name, X, y in sorted(sets, key=lambda found: len(found[1])):
            for seed in range(arguments.seeds):
                order = np.random.default_rng(seed).permutation(len(X))
                detector = RobustDeepAutoencoder(random_state=seed)
                scores = {"one fit": detector.fit(X).decision_scores_}
                for how, places in (("as it lies", slice(None)), ("shuffled", order)):
                    chunks = da.from_array(X[places], chunks=(-(-len(X) // 16), -1))
                    scores[how] = skrdae.dask.fit(detector, chunks).decision_function(X)
                row = {"set": name, "n_rows": len(X), "seed": seed}
                rows.append(row | {how: roc_auc_score(y, found) for how, found in scores.items()})
                print(rows[-1], flush=True)
            write_csv("cluster_quality", rows)
            write_csv("cluster_quality_summary", summarised(rows, arguments.seeds))


def summarised(rows, n_seeds):
    """Return means over the seeds, and over all sets."""
    summary = []
    for name in [*dict.fromkeys(row["set"] for row in rows), "mean"]:
        mine = [row for row in rows if name in ("mean", row["set"])]
        found = {how: float(np.mean([row[how] for row in mine])) for how in HOW}
        apart = float("nan")
        if n_seeds > 1:
            first, second = ([r["one fit"] for r in mine if r["seed"] == k] for k in (0, 1))
            apart = float(np.abs(np.subtract(first, second)).mean())
        summary.append({"set": name, **found, "two seeds apart": apart})
    return summary


# --------------------------------------------------------------------------------- traffic


def _count():
    """Count what this process writes to sockets from now on."""
    write = tcp.TCP.write
    tcp.sent = 0

    async def counted(*arguments, **options):
        n_bytes = await write(*arguments, **options)
        tcp.sent += n_bytes
        return n_bytes

    tcp.TCP.write = counted


def _sent():
    return tcp.sent


def _sent_by_all(client):
    """Return the bytes that workers have sent, and those that client and scheduler have."""
    return np.array([sum(client.run(_sent).values()), tcp.sent])


def traffic(arguments):
    rows = []
    steps, results = [], skrdae.dask.fitting.results

    def measured(client, tasks):
        before = _sent_by_all(client)
        found = results(client, tasks)
        steps.append(_sent_by_all(client) - before)
        return found

    _count()
    with cluster(2) as client:
        client.run(_count)
        skrdae.dask.fitting.results = measured
        for n_rows in (100_000, 1_000_000, 10_000_000):
            X = da.random.default_rng(0).normal(size=(n_rows, 30), chunks=(100_000, -1))
            steps.clear()
            start = time.perf_counter()
            fitted = skrdae.dask.fit(RobustDeepAutoencoder(random_state=0), X)
            rows.append(
                {
                    "n_rows": n_rows,
                    "partitions": X.numblocks[0],
                    "sample": len(fitted.decision_scores_),
                    "megabytes_of_X": X.nbytes / 1e6,
                    "first_pass_megabytes": steps[0][0] / 1e6,
                    "training_megabytes": steps[1][0] / 1e6,
                    "client_and_scheduler_megabytes": (steps[0][1] + steps[1][1]) / 1e6,
                    "seconds": time.perf_counter() - start,
                }
            )
            print(rows[-1], flush=True)
    skrdae.dask.fitting.results = results
    write_csv("cluster_traffic", rows)


# --------------------------------------------------------------------------------- workers


def workers(arguments):
    n_rows, found = arguments.rows, {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "rows.npy")
        X = np.lib.format.open_memmap(path, "w+", np.float32, (n_rows, 30))
        rng = np.random.default_rng(0)
        mix = rng.normal(size=(6, 30))
        for start in range(0, n_rows, 100_000):
            part = X[start : start + 100_000]
            part[:] = rng.normal(size=(len(part), 6)) @ mix + 0.3 * rng.normal(size=part.shape)
        X.flush()

        def load(block_info):
            (start, stop), _ = block_info[None]["array-location"]
            return np.array(np.load(path, mmap_mode="r")[start:stop])

        chunks = da.core.normalize_chunks((50_000, -1), (n_rows, 30))
        rows = da.map_blocks(load, chunks=chunks, dtype=np.float32, meta=np.empty((0, 0)))
        for _ in range(arguments.repeats):
            for n_workers in (1, 2):
                with cluster(n_workers):
                    start = time.perf_counter()
                    fitted = skrdae.dask.fit(RobustDeepAutoencoder(random_state=0), rows)
                    middle = time.perf_counter()
                    float(skrdae.dask.decision_function(fitted, rows).max().compute())
                    end = time.perf_counter()
                found[n_workers].append((middle - start, end - middle, end - start))
                print(n_workers, found[n_workers][-1], flush=True)
    table = []
    for n_workers, times in found.items():
        fit, score, both = (median(column) for column in zip(*times, strict=True))
        row = {"workers": n_workers, "n_rows": n_rows, "repeats": len(times)}
        table.append(row | {"fit_seconds": fit, "score_seconds": score, "seconds": both})
    for row in table:
        row["times_as_fast"] = table[0]["seconds"] / row["seconds"]
    write_csv("cluster_workers", table)


# ----------------------------------------------------------------------------------- merge


def _size(value):
    return len(pickle.dumps(value))


def merging(arguments):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200_000, 10)).astype(np.float32)
    parts, sample, table = np.array_split(X, 1000), X[::20], []
    for n_members in (10, 30, 100, 300, 1000):
        detector = RobustDeepAutoencoder(n_estimators=n_members, max_iter=1, random_state=0)
        agreement = agree(detector, sample)
        start = time.perf_counter()
        members = [without_rows(agreement.fit_member(k, parts[k])) for k in range(n_members)]
        trained = time.perf_counter()
        merged = merge(members, sample)
        done = time.perf_counter()
        merged.decision_function(X[:20_000])
        scored = time.perf_counter()
        size = int(n_members**0.5)
        groups = [members[i : i + size] for i in range(0, n_members, size)]
        two = time.perf_counter()
        twice = merge([merge(group, sample) for group in groups], sample)
        two = time.perf_counter() - two
        assert np.array_equal(twice.decision_scores_, merged.decision_scores_)
        table.append(
            {
                "members": n_members,
                "training_seconds_a_member": (trained - start) / n_members,
                "kilobytes_a_member": sum(map(_size, members)) / n_members / 1e3,
                "merge_seconds": done - trained,
                "two_level_seconds": two,
                "megabytes_of_scores": n_members * len(sample) * 8 / 1e6,
                "microseconds_to_score_a_row": (scored - done) / 20_000 * 1e6,
                "merged_kilobytes": _size(merged) / 1e3,
            }
        )
        print(table[-1], flush=True)
    write_csv("cluster_merge", table)


# --------------------------------------------------------------------------------- parquet


class _Peaks:
    """The most memory that this process and each below it has had, in GB, while it lasts.

    Also those that are killed: the system's own mark is read ten times a second.
    """

    def __enter__(self):
        self.of = {}  # by process
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._ended.set()
        self._thread.join()

    def _watch(self):
        me = psutil.Process()
        while not self._ended.wait(0.1):
            for process in [me, *me.children(recursive=True)]:
                with contextlib.suppress(OSError):
                    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
                        if line.startswith("VmHWM"):
                            self.of[process.pid] = int(line.split()[1]) * 1024 / 1e9


def _kill_one(client, killed):
    killed.append(next(iter(client.run(os.getpid).values())))
    os.kill(killed[-1], signal.SIGKILL)


def _write(folder, n_rows, n_files):
    names, mix = [f"f{j}" for j in range(30)], np.random.default_rng(0).normal(size=(6, 30))
    sizes = [len(part) for part in np.array_split(np.empty(n_rows, bool), n_files)]
    for number, size in enumerate(sizes):
        rng = np.random.default_rng(number)
        values = rng.standard_normal((size, 6), np.float32) @ mix.astype(np.float32)
        values += 0.3 * rng.standard_normal((size, 30), np.float32)
        frame = pd.DataFrame(values, columns=names)
        frame.to_parquet(folder / f"{number:04d}.parquet", compression=None)


def parquet(arguments):
    import dask.dataframe as dd

    table, found = [], []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        _write(Path(folder), arguments.rows * 10, 200)
        size = sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e9
        print("written", size, flush=True)
        for kills in (False, True):
            with _Peaks() as peaks, cluster(2, memory_limit="2GB") as client:
                X = dd.read_parquet(folder)
                killed = []

                def in_the_middle(step, here=client, killed=killed, kills=kills):
                    if kills:  # at a third of what the step took before: it may be faster now
                        seconds = table[0][step] / 3
                        threading.Timer(seconds, _kill_one, [here, killed]).start()
                    return time.perf_counter()

                start = in_the_middle("fit_seconds")
                fitted = skrdae.dask.fit(RobustDeepAutoencoder(random_state=0), X)
                assert len(killed) == kills
                middle = in_the_middle("score_seconds")
                scores = skrdae.dask.decision_function(fitted, X)
                flagged = int((scores > fitted.threshold_).sum().compute())
                assert len(killed) == 2 * kills
                end = time.perf_counter()
                client.wait_for_workers(2)
                pids = [*killed, *client.run(os.getpid).values()]
            found.append((fitted.decision_scores_, fitted.threshold_, flagged))
            table.append(
                {
                    "workers_killed": len(killed),
                    "n_rows": arguments.rows * 10,
                    "gigabytes": size,
                    "partitions": X.npartitions,
                    "fit_seconds": middle - start,
                    "score_seconds": end - middle,
                    "worker_peak_gigabytes": max(peaks.of[pid] for pid in pids),
                    "client_peak_gigabytes": peaks.of[os.getpid()],
                    "flagged": flagged,
                }
            )
            print(table[-1], flush=True)
    for one, other in zip(*found, strict=True):
        assert np.array_equal(one, other)
    write_csv("cluster_parquet", table)


# --------------------------------------------------------------------------------- recipes


@contextlib.contextmanager
def _spark(frame):
    from pyspark.sql import SparkSession

    options = {
        "spark.ui.enabled": "false",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.driver.memory": "2g",
    }
    session = SparkSession.builder.master("local[2]").config(map=options).getOrCreate()
    yield {"rows": session.createDataFrame(frame)}
    session.stop()


@contextlib.contextmanager
def _ray(frame):
    import ray
    import ray.data

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield {"dataset": ray.data.from_pandas(frame).repartition(8)}
    ray.shutdown()


def recipes(arguments):
    page = (Path(__file__).parents[1] / "docs" / "scaling_out.md").read_text(encoding="utf-8")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500_000, 2)) @ rng.normal(size=(2, 6))
    X += 0.1 * rng.normal(size=X.shape)
    y = np.arange(len(X)) < len(X) // 100
    X[y] += rng.normal(scale=2, size=(y.sum(), 6))
    frame = pd.DataFrame(X, columns=[f"f{j}" for j in range(6)])
    alone = roc_auc_score(y, RobustDeepAutoencoder(random_state=0).fit(X).decision_scores_)
    table = []
    for package, engine in (("pyspark", _spark), ("ray", _ray)):
        if importlib.util.find_spec(package) is None:
            print(f"{package} is not installed", flush=True)
            continue
        import_of = "from pyspark" if package == "pyspark" else "dataset.random_sample"
        (code,) = (c for c in re.findall(r"```python\n(.*?)```", page, re.S) if import_of in c)
        with engine(frame) as given:
            names = {"RobustDeepAutoencoder": RobustDeepAutoencoder, "agree": agree, "merge": merge}
            names |= {"detector": RobustDeepAutoencoder(random_state=0), **given}
            start = time.perf_counter()
            exec(code, names)  # as it stands on the page
            scored = names["scored"]
            found = scored.toPandas() if package == "pyspark" else scored.to_pandas()
            seconds = time.perf_counter() - start
        assert len(found) == len(frame)
        merged = found.merge(frame.assign(y=y))  # the engines may change the order
        row = {"engine": package, "version": importlib.metadata.version(package)}
        row |= {"n_rows": len(X), "roc_auc": roc_auc_score(merged["y"], merged["score"])}
        table.append(row | {"one_fit": alone, "seconds": seconds})
        print(table[-1], flush=True)
    write_csv("cluster_recipes", table)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "what", choices=["quality", "traffic", "workers", "merge", "parquet", "recipes"]
    )
    add_data_argument(parser)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows", type=int, default=2_000_000, help="of parquet ten times as many")
    parser.add_argument("--folder", type=Path, help="where Parquet files are written")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning, module="distributed")
    dask.config.set({"distributed.comm.timeouts.connect": "120s"})
    functions = {
        "quality": quality,
        "traffic": traffic,
        "workers": workers,
        "merge": merging,
        "parquet": parquet,
        "recipes": recipes,
    }
    functions[arguments.what](arguments)


if __name__ == "__main__":
    main()
