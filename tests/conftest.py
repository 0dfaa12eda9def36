import gc
import importlib.util
import os
import sys

import numpy as np
import pytest
import torch
from _pytest.doctest import DoctestModule
from sklearn.datasets import load_breast_cancer, load_digits

torch.set_num_threads(min(2, torch.get_num_threads()))

# What cannot even be imported where a library is missing. Other tests skip themselves, see
# optional.py.
_NEEDING = {
    "hypothesis": ["test_cli_files.py", "test_properties.py"],
    "prometheus_client": ["monitoring/test_prometheus.py"],
    "safetensors": ["test_hostile_files.py", "test_hostile_limits.py", "test_persistence.py"],
}
_MISSING = [name for name in _NEEDING if importlib.util.find_spec(name) is None]
collect_ignore = [path for name in _MISSING for path in _NEEDING[name]]

if "hypothesis" not in _MISSING:
    from hypothesis import settings

    settings.register_profile("short", max_examples=15, derandomize=True)
    settings.register_profile("long", max_examples=700)
    settings.load_profile("short")


def pytest_addoption(parser):
    parser.addoption(
        "--device",
        choices=("cpu", "cuda"),
        default="cpu",
        help="what device='auto' stands for: cpu hides GPUs, cuda runs the tests on one",
    )


def pytest_configure(config):
    if config.getoption("--device") == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # CUDA has not been asked for anything yet
    elif not torch.cuda.is_available():
        raise pytest.UsageError("--device cuda: PyTorch finds no CUDA device here.")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Let a process that has nothing left take over half of what another has.

    Tests of a file stay together, mostly, and with them what its fixtures hold.
    """
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_collect_file():
    """Look for no doctests in tests: there are none."""
    return [found for found in (yield) if not isinstance(found, DoctestModule)]


def pytest_collection_finish():
    # What has been imported and collected stays: the garbage collector need not look through a
    # million objects each time. Early versions of Hypothesis ask it who holds an object.
    hypothesis = sys.modules.get("hypothesis")
    if hypothesis is None or hypothesis.__version_info__ >= (6, 170):
        gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call():
    """Skip a test for which a library is missing that the package can do without."""
    try:
        return (yield)
    except ImportError as error:
        cause = error.__cause__ or error
        library = (getattr(cause, "name", None) or "skrdae").split(".")[0]
        if isinstance(cause, ModuleNotFoundError) and library not in ("skrdae", "torch"):
            pytest.skip(f"needs {library}")
        raise


def pytest_report_header():
    return [f"{', '.join(_NEEDING[name])} left out: no {name} here" for name in _MISSING]


@pytest.fixture(scope="session")
def digits():
    """All fours among scikit-learn's digits, and ten others: X in [0, 1], y = 1 for the others."""
    images, labels = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    others = rng.choice(np.flatnonzero(labels != 4), 10, replace=False)
    rows = rng.permutation(np.concatenate([np.flatnonzero(labels == 4), others]))
    return images[rows] / 16, (labels[rows] != 4).astype(int)


@pytest.fixture(scope="session")
def cancer():
    """Benign breast tumours and twenty malignant ones: X of 30 features, y = 1 for malignant."""
    X, target = load_breast_cancer(return_X_y=True)
    rng = np.random.default_rng(0)
    malignant = rng.choice(np.flatnonzero(target == 0), 20, replace=False)
    rows = rng.permutation(np.concatenate([np.flatnonzero(target == 1), malignant]))
    return X[rows], (target[rows] == 0).astype(int)


@pytest.fixture(scope="session")
def plane():
    """300 rows near a plane in 8 dimensions, the first 6 far off it."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 8)) + 0.05 * rng.normal(size=(300, 8))
    X[:6] += rng.normal(scale=4, size=(6, 8))
    return X
