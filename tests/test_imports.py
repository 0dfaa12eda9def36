"""``import skrdae``, ``--help`` and ``--version`` load none of the large libraries."""

import pickle
import subprocess
import sys

import pytest

import skrdae
from skrdae.detectors.base import BaseTorchDetector

LARGE = {"torch", "pyod", "sklearn", "numba", "numpy", "pandas", "scipy", "matplotlib"}


def _python(code):
    """Run code in a process of its own; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _loaded(code):
    """Return which large libraries are loaded after some code."""
    told = f"; import sys; print('loaded:', *({LARGE!r} & sys.modules.keys()))"
    last = _python(code.rstrip() + told if "\n" not in code else f"{code}\n{told[2:]}")
    return set(last.splitlines()[-1].split()[1:])


def test_the_package_alone_loads_nothing():
    assert _loaded("import skrdae; dir(skrdae); skrdae.__version__; skrdae.__all__") == set()


@pytest.mark.parametrize(
    "call", [["--help"], ["--version"], ["detect", "--help"], ["score", "--help"]]
)
def test_the_command_loads_nothing_to_tell_of_itself(call):
    code = (
        "from skrdae.cli import main\n"
        f"try: main({call!r})\n"
        "except SystemExit as error: assert not error.code"
    )
    assert _loaded(code) == set()


def test_a_new_process_has_what_pickles_and_files_need_and_everything_else(tmp_path):
    # In one process: to load the large libraries takes seconds.
    path = str(tmp_path / "detector.pickle")
    with open(path, "wb") as file:
        pickle.dump(skrdae.RobustPCA(lam=2.0), file)
    names = ["metrics", "monitoring", "plotting", "tables", "demo", "onnx", "detectors"]
    code = f"""
import pickle
with open({path!r}, "rb") as file:
    print(pickle.load(file))
import sys, skrdae
print(*({LARGE!r} & sys.modules.keys()))
skrdae.load
from skrdae.registry import DETECTORS
print(*DETECTORS)
print(*(getattr(skrdae, name).__name__ for name in {names}))
before = set(dir())
from skrdae import *
print(*sorted(set(dir()) - before - {{"before"}}))
"""
    read, loaded, known, modules, star = _python(code).splitlines()
    assert read == "RobustPCA(lam=2.0)"
    assert {"torch", "pyod", "sklearn"} <= set(loaded.split())
    # What files may name: every detector, though only one of them has been asked for.
    public = (getattr(skrdae, name) for name in skrdae.__all__ if name[0].isupper())
    detectors = {cls.__name__ for cls in public if issubclass(cls, BaseTorchDetector)}
    assert detectors <= set(known.split())
    assert modules.split() == [f"skrdae.{name}" for name in names]
    assert star.split() == sorted(skrdae.__all__)


def test_the_package_takes_less_than_a_third_of_a_second():
    code = (
        "import time; start = time.process_time(); import skrdae; "
        "print(time.process_time() - start)"
    )
    assert float(_python(code)) < 0.3


def test_all_names_are_there():
    for name in skrdae.__all__:
        assert getattr(skrdae, name).__name__ == name
        assert getattr(skrdae, name) is getattr(skrdae, name)
    assert {*skrdae.__all__, "metrics", "monitoring", "plotting"} <= {*dir(skrdae)}
    with pytest.raises(AttributeError, match="no attribute 'RobustDeepAutoencode'"):
        skrdae.RobustDeepAutoencode  # noqa: B018


def test_without_dask_everything_else_is_there():
    code = """
import importlib.util, inspect
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name == "distributed" else find(name, *a)
import skrdae
assert "dask" not in dict(inspect.getmembers(skrdae))
try:
    skrdae.dask
except ImportError as error:
    print(error)
"""
    assert "skrdae[dask]" in _python(code)


def test_threads_that_import_at_once_get_the_same_classes():
    code = """
import threading, skrdae
names = skrdae.__all__ * 2
found, ready = {}, threading.Barrier(len(names))
def ask(place, name):
    ready.wait()
    found[place] = getattr(skrdae, name)
threads = [threading.Thread(target=ask, args=pair) for pair in enumerate(names)]
for thread in threads: thread.start()
for thread in threads: thread.join(60)
assert all(found[place] is getattr(skrdae, name) for place, name in enumerate(names))
print(len(found))
"""
    assert int(_python(code)) == 2 * len(skrdae.__all__)
