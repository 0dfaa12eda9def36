import os
import subprocess
import sys

import pytest

from skrdae import _compiled
from skrdae.networks import compiled as loops


def test_machine_code_older_than_a_source_is_forgotten(tmp_path):
    old, new, other = (tmp_path / f"{n}.nbi" for n in ("compiled.f-1", "compiled.g-2", "else.h-3"))
    newest = max(os.stat(module.__file__).st_mtime for module in (_compiled, loops))
    for path, age in ((old, -10), (new, 10**6), (other, -10)):
        path.touch()
        os.utime(path, (newest + age, newest + age))
    _compiled._forget_what_is_old(str(tmp_path))
    assert not old.exists()
    assert new.exists()
    assert other.exists()


def _run(script, **environment):
    return subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )


def test_without_a_compiler_the_loops_are_python():
    script = """
import numpy as np
from skrdae import RobustDeepAutoencoder
X = np.random.default_rng(0).normal(size=(40, 3))
options = {"hidden_layer_sizes": (4, 2), "n_estimators": 1, "max_iter": 1, "random_state": 0}
scores = RobustDeepAutoencoder(**options).fit(X).decision_scores_
print(float(scores.sum()))
"""
    found = [_run(script), _run(script, NUMBA_DISABLE_JIT="1")]
    assert [run.returncode for run in found] == [0, 0], found[1].stderr
    assert float(found[1].stdout) == pytest.approx(float(found[0].stdout), rel=1e-4)


def test_a_cache_that_cannot_be_written_to_is_done_without(monkeypatch):
    def njit(function=None, *, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda f: f

    monkeypatch.setattr(_compiled.numba, "njit", njit)

    def double(x):
        return 2 * x

    assert _compiled.compiled(double) is double
