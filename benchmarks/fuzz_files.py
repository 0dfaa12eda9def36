"""Files with a right checksum and a wrong content: what reading and using them comes to.

    python benchmarks/fuzz_files.py --edits 60000

A file of each kind (every detector in several configurations, wrappers, pipelines, streams, states
of ``warm_start``, checkpoints) is edited at one place drawn at random: an array's shape, type or
values, a number, a key, a node. Its checksum is made right again. A process of its own loads it
and, where that succeeds, scores with it, explains, decomposes and goes on training. It is watched
from outside: no edit may end it with a signal, keep it busy, let it take memory out of proportion,
raise anything but a ValueError or TypeError of one line, or be accepted although the file no
longer fits together. A plain value that becomes another legal one is no such edit.

``--seed`` and the number of an edit make it again: ``--only 1234 --keep folder``.
"""

import argparse
import collections
import multiprocessing
import os
import resource
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import numpy as np
import torch
from fuzz_edits import make
from fuzz_kinds import CHECKPOINTS, KINDS, LENGTHS, STREAMS, WARM, Content, data_of, fresh, write
from report import write_csv

from skrdae import load


class Finding(Exception):
    """Something that should not have happened."""


def check(what, fits):
    if not fits:
        raise Finding(what)


def use(kind, estimator):
    """Do with an estimator what can be done with one; raise a Finding if it gives no numbers."""
    X = data_of(kind)
    X = X.iloc[:20] if hasattr(X, "iloc") else X[:20]
    is_series = kind.startswith(("windows", "pipeline of a series", "pipeline of even steps"))
    scores = np.asarray(estimator.decision_function(X))
    # Other even steps, or steps that do not count the time, are other rows.
    n_rows = len(estimator[:-1].transform(X)) if kind == "pipeline of even steps" else 20
    check(f"scores of shape {scores.shape}", scores.shape == (n_rows,) and scores.dtype == float)
    check("scores that are not finite", np.isfinite(scores).all() or is_series)
    labels = np.asarray(estimator.predict(X))
    check(f"labels {labels[:5]}", labels.shape == (n_rows,) and {*labels.tolist()} <= {-1, 0, 1})
    for method in ("explain", "transform", "score_parts", "decompose"):
        if hasattr(estimator, method) and not (is_series and method == "transform"):
            found = getattr(estimator, method)(X)
            for part in found if isinstance(found, tuple) else (found,):
                part = np.asarray(part)
                check(f"{method} of shape {part.shape}", len(part) == n_rows)
                check(f"{method} that is not finite", np.isfinite(part).all())
    for method in ("linear", "unify"):
        if hasattr(estimator, "predict_proba"):
            found, sure = estimator.predict_proba(X, method=method, return_confidence=True)
            check("no probabilities", found.shape == (n_rows, 2) and sure.shape == (n_rows,))
            inside = (np.nan_to_num(found, nan=0.5) >= 0) & (np.nan_to_num(found, nan=0.5) <= 1)
            check("probabilities that are none", inside.all())
            check("probabilities that are NaN", np.isfinite(found).all() or is_series)


def go_on(kind, estimator):
    """Train on; the parameters are those of the file that was edited."""
    X = data_of(kind)
    if kind in STREAMS:
        parameters = STREAMS[kind].get_params()
        estimator.set_params(**parameters)
        estimator.partial_fit(X[:30])
        use(kind, estimator)
    if kind in WARM:
        longer = {name: LENGTHS[name] for name in WARM[kind]._lengths}
        estimator.set_params(**WARM[kind].get_params() | longer)
        estimator.fit(X)
        use(kind, estimator)


def try_one(kind, path):
    """Read a file and use what it holds; return the outcome in words."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        if kind in CHECKPOINTS:
            return _try_checkpoint(kind, path)
        try:
            estimator = load(path)
        except ValueError as error:
            _check_message(error, path)
            return "refused"
        try:
            use(kind, estimator)
            go_on(kind, estimator)
        except (ValueError, TypeError) as error:
            _check_message(error)
            return f"an error in use: {error}"
        return "accepted"


def _try_checkpoint(kind, path):
    detector = fresh(CHECKPOINTS[kind][0]).set_params(checkpoint_path=path)
    before, content = {**vars(detector)}, Path(path).read_bytes()
    try:
        detector.fit(data_of(kind))
    except ValueError as error:
        check("a detector that is changed", vars(detector) == before)
        if "diverged" in str(error):  # of numbers that are large, but numbers
            return f"an error in use: {error}"
        _check_message(error, path)
        check("a checkpoint that is changed", Path(path).read_bytes() == content)
        return "refused"
    use(kind, detector)
    return "accepted"


def _check_message(error, path=None):
    text = str(error)
    check(f"an error without a message: {error!r}", len(text) > 10)
    if path is not None:
        check(f"a message of {len(text)} characters", len(text) < 2000 and "\n" not in text)
        check(f"a message without the file: {text}", str(path) in text)


def child(connection, space):
    """Try files as they come, within an address space of so many bytes more than now."""
    torch.set_num_threads(1)
    if space is not None:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + space,) * 2)
    connection.send("ready")
    while True:
        kind, path = connection.recv()
        before = _resident(reset=True)
        try:
            outcome = try_one(kind, path)
        except Finding as finding:
            outcome = f"FOUND {finding}"
        except MemoryError:
            outcome = "FOUND a MemoryError"
        except BaseException:
            outcome = f"FOUND {traceback.format_exc()}"
        connection.send((outcome, _resident() - before))


def _resident(reset=False):
    """Return the most bytes that were resident since they were counted anew, or the bytes now."""
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


class Watched:
    """A child that is started anew when it is gone."""

    def __init__(self, seconds, space):
        self.seconds, self.space, self.process = seconds, space, None

    def start(self):
        """Start a child, and wait until it is ready."""
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=child, args=(theirs, self.space), daemon=True)
        self.process.start()
        theirs.close()
        self.connection.recv()

    def stop(self):
        """Kill the child."""
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.process = None

    def run(self, kind, path):
        """Return what comes of a file, and how many bytes it took."""
        if self.process is None:
            self.start()
        try:
            self.connection.send((kind, path))
            if self.connection.poll(self.seconds):
                return self.connection.recv()
            outcome = f"FOUND no end within {self.seconds} s"
        except (EOFError, OSError):
            self.process.join()
            outcome = f"FOUND an end with exit code {self.process.exitcode}"
        self.stop()
        return outcome, 0


# Memory beyond what a process has: of the first use of everything, and for each byte of a file.
SPARE, TIMES = 64 * 2**20, 20


def originals(folder, kinds=KINDS):
    """Return files as they should be, in parts."""
    contents = {}
    for kind in kinds:
        path = Path(folder) / "original"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            write(kind, path)
        contents[kind] = Content(kind, path)
        path.unlink()
    return contents


def run(n_edits, seed, seconds, space, only=None, keep=None):
    results, findings = collections.defaultdict(collections.Counter), []
    child_process = Watched(seconds, space)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as here:
        contents = originals(here)
        path = str(Path(here) / "file")
        started = time.perf_counter()
        for number in range(n_edits) if only is None else only:
            kind, data, told, structural = make(contents, seed, number)
            Path(path).write_bytes(data)
            outcome, grown = child_process.run(kind, path)
            if keep:
                (Path(keep) / f"{number}").write_bytes(data)
            if not outcome.startswith("FOUND"):
                if grown > SPARE + TIMES * len(data):
                    outcome = f"FOUND {grown / 2**20:.0f} MB for {len(data)} bytes"
                elif structural and outcome == "accepted":
                    outcome = "FOUND that it was accepted"
            name = "found" if outcome.startswith("FOUND") else outcome.split(":")[0]
            results[kind]["edits"] += 1
            results[kind][name] += 1
            if name == "found" or only is not None:
                findings.append((number, kind, told, outcome))
                print(f"{number} | {kind} | {told} | {outcome}", flush=True)
            if number % 1000 == 999:
                spent = time.perf_counter() - started
                print(f"{number + 1} edits, {len(findings)} findings, {spent:.0f} s", flush=True)
    child_process.stop()
    names = ("edits", "refused", "accepted", "an error in use", "found")
    return [{"kind": k, **{n: results[k][n] for n in names}} for k in KINDS], findings


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--edits", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=20, help="for one file, at most")
    parser.add_argument("--space", type=int, default=1024, help="MB of address space, at most")
    parser.add_argument("--only", type=int, nargs="+", help="numbers of edits to make again")
    parser.add_argument("--keep", help="a folder to keep the files in")
    arguments = parser.parse_args()
    counts, _ = run(
        arguments.edits,
        arguments.seed,
        arguments.seconds,
        arguments.space * 2**20,
        arguments.only,
        arguments.keep,
    )
    if arguments.only is None:
        total = {k: sum(row[k] for row in counts) for k in counts[0] if k != "kind"}
        counts.append({"kind": "all", **total})
        print(counts[-1])
        write_csv("fuzz_files", counts)
