"""Hold a change of the code to the same results, to the last bit, on the same machine.

    python benchmarks/golden.py write FILE      # with the code as it was
    python benchmarks/golden.py compare FILE    # with the code as it is

Write a file before a change that should not alter any result, and compare after each step. A case
(``golden_cases.py``) is a detector, fitted to data that NumPy draws from a seed. For each of its
results, such as ``decision_scores_``, ``explain`` of new rows or ``history_``, the file holds a
line: SHA-256, type, shape and mean. ``compare`` prints the lines that differ, are missing or are
new, and ends with status 1 if there is one. The means tell a last bit from another result.

Some cases have to equal others: two trainings in turn (``warm_start``), for instance, and one of
the whole length. Both commands check these pairs, and end with status 1 if two results differ.

Only the public interface of the package is used. Last bits depend on the processor and on the
versions of libraries, so a file is good for the machine that wrote it, and for no other.
``PYTHONPATH`` says which source tree is used:

    PYTHONPATH=BEFORE python benchmarks/golden.py write golden.json
    PYTHONPATH=AFTER python benchmarks/golden.py compare golden.json --only "rda *" --skip-history

The number of threads changes no result. Where other programs run, set ``OMP_NUM_THREADS=1``:
threads that wait for each other make the GAN ten times as slow.
"""

import argparse
import fnmatch
import hashlib
import json
import platform
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from golden_cases import CASES, EQUAL

import skrdae

HISTORIES = ("history_", "encoder_history_")
ATTRIBUTES = (
    *("decision_scores_", "labels_", "threshold_", "lam_", "n_iter_", "low_rank_", "sparse_"),
    *("rank_", "noise_variance_", "n_samples_seen_", "lams_", "lam_max_", "scores_path_"),
    *("window_size_", "window_scores_", "window_threshold_", "offset_"),
)
METHODS = {
    "decision_function": lambda d, X: d.decision_function(X),
    "predict": lambda d, X: d.predict(X),
    "predict_proba": lambda d, X: d.predict_proba(X),
    "predict_proba unify": lambda d, X: d.predict_proba(X, method="unify"),
    "predict_confidence": lambda d, X: d.predict_confidence(X),
    "explain": lambda d, X: d.explain(X),
    "decompose": lambda d, X: d.decompose(X.toarray() if sp.issparse(X) else X),
    "transform": lambda d, X: d.transform(X),
    "inverse_transform": lambda d, X: d.inverse_transform(d.transform(X)),
    "score_parts": lambda d, X: d.score_parts(X),
    "sample": lambda d, X: d.sample(5, random_state=0),
    "score_new": lambda d, X: d.score_new(X),
}


def told(value):
    """Return a line about a value: the hash of its bits, and its type, shape and mean."""
    if value is None:
        return "None"
    if isinstance(value, tuple):
        return " | ".join(told(part) for part in value)
    array = value.toarray() if sp.issparse(value) else np.array(value)
    if array.dtype.kind == "f":
        array[np.isnan(array)] = np.nan  # of whose bits only some count
    text = hashlib.sha256(f"{array.dtype} {array.shape} ".encode() + array.tobytes()).hexdigest()
    with np.errstate(all="ignore"):
        mean = np.mean(array, dtype=np.float64)
    return f"{text} {array.dtype} {array.shape} mean {mean:.12g}"


def told_history(records):
    """Return a line about a history: the hash of its JSON, and its last row."""
    rows = [{k: np.asarray(v).tolist() for k, v in row.items()} for row in records]
    text = json.dumps(rows, sort_keys=True)
    return f"{hashlib.sha256(text.encode()).hexdigest()} {len(rows)} rows, last {rows[-1:]}"


def results(name):
    """Return the lines of a case, field → line."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        detector, new = CASES[name]()
        lines = {}
        for field in (*ATTRIBUTES, *HISTORIES):
            if hasattr(detector, field):
                tell = told_history if field in HISTORIES else told
                lines[field] = tell(getattr(detector, field))
        for field, method in METHODS.items():
            if hasattr(detector, field.split()[0]):
                lines[field] = told(method(detector, new))
    return lines


def measured(pattern):
    """Return the results of the cases that a pattern names, case → field → line."""
    found, begin = {}, time.perf_counter()
    for name in fnmatch.filter(CASES, pattern):
        try:
            found[name] = results(name)
        except Exception as error:  # those of the other cases are wanted all the same
            found[name] = {"error": f"{type(error).__name__}: {error}"}
    seconds = time.perf_counter() - begin
    print(f"{len(found)} cases, {sum(map(len, found.values()))} results, {seconds:.0f} s")
    return found


def differences(before, after, what, now, skip=()):
    """Print which lines of two dicts, field → line, differ, and return how many."""
    fields = [field for field in {**before, **after} if field not in skip]
    differing = [field for field in fields if before.get(field) != after.get(field)]
    for field in differing:
        print(f"{what}: {field}\n  {before.get(field, 'missing')}", end="")
        print(f"\n  {after.get(field, 'missing')}{now}")
    return len(differing)


def unequal(found, skip=()):
    """Print which results of cases that have to be equal are not, and return how many."""
    pairs = [pair for pair in EQUAL if all(name in found for name in pair)]
    return sum(
        differences(found[first], found[second], f"{first} = {second}", "", skip)
        for first, second in pairs
    )


def environment():
    packages = ("numpy", "scipy", "torch", "numba", "scikit-learn", "pyod")
    return {p: version(p) for p in packages} | {
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}",
    }


def write(arguments):
    cases = measured("*")
    failed = {name: lines["error"] for name, lines in cases.items() if "error" in lines}
    for name, error in failed.items():
        print(f"{name}: {error}")
    if failed:
        sys.exit(f"{len(failed)} cases failed: nothing is written.")
    arguments.file.write_text(
        json.dumps({"environment": environment(), "cases": cases}, indent=1, ensure_ascii=False)
    )
    if n_unequal := unequal(cases):
        sys.exit(f"{n_unequal} results differ between cases that have to be equal.")


def compare(arguments):
    golden = json.loads(arguments.file.read_text())
    for what, before in golden["environment"].items():
        if before != (now := environment()[what]):
            print(f"The file was written with {what} {before}; here it is {now}.")
    skip = HISTORIES if arguments.skip_history else ()
    found = measured(arguments.only)
    names = [n for n in {**golden["cases"], **found} if fnmatch.fnmatch(n, arguments.only)]
    if not names:
        sys.exit(f"No case is named {arguments.only!r}.")
    n_different = 0
    for name in names:
        n_different += differences(
            golden["cases"].get(name, {}), found.get(name, {}), name, " (now)", skip
        )
    n_unequal = unequal(found, skip)
    if n_different or n_unequal:
        sys.exit(f"{n_different} results differ; {n_unequal} between cases that have to be equal.")
    print("No result differs.")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    for function, does in ((write, "write the results"), (compare, "print what differs")):
        command = commands.add_parser(function.__name__, help=does)
        command.add_argument("file", type=Path, metavar="FILE")
        command.set_defaults(function=function)
    command.add_argument("--only", default="*", metavar="PATTERN", help="cases, such as 'rda *'")
    command.add_argument("--skip-history", action="store_true", help="leave out history_")
    arguments = parser.parse_args()
    print(f"skrdae of {Path(skrdae.__file__).parent.parent}")
    arguments.function(arguments)


if __name__ == "__main__":
    main()
