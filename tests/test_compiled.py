import contextlib
import io
import os
import subprocess
import sys

import pytest

from skrdae import _compiled
from skrdae.networks import compiled as loops
from skrdae.training.kernels import adam as loops_of_adam
from skrdae.training.kernels import adversarial_loops as loops_of_gan


def test_machine_code_older_than_a_source_is_forgotten(tmp_path):
    names = ("compiled.f-1", "adversarial_loops.f-1", "compiled.g-2", "else.h-3")
    old, old_too, new, other = (tmp_path / f"{name}.nbi" for name in names)
    modules = _compiled, loops, loops_of_gan
    newest = max(os.stat(module.__file__).st_mtime for module in modules)
    for path, age in ((old, -10), (old_too, -10), (new, 10**6), (other, -10)):
        path.touch()
        os.utime(path, (newest + age, newest + age))
    _compiled._forget_what_is_old(str(tmp_path))
    assert not old.exists()
    assert not old_too.exists()
    assert new.exists()
    assert other.exists()


def _run(script, **environment):
    return subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


FITS = """
import numpy as np
from skrdae import AnoGANDetector, RobustDeepAutoencoder, VAEDetector
X = np.random.default_rng(0).normal(size=(40, 3))
options = {"n_estimators": 1, "random_state": 0}
small = {"hidden_layer_sizes": (4, 2), "max_iter": 1}
print(RobustDeepAutoencoder(**options, **small).fit(X).decision_scores_.sum())
for likelihood in ("gaussian", "bernoulli"):
    vae = VAEDetector(likelihood=likelihood, n_epochs=2, hidden_layer_sizes=(4,), **options)
    print(vae.fit(X).decision_scores_.sum())
options |= {"hidden_layer_sizes": (4,), "discriminator_layer_sizes": (4,)}
gan = AnoGANDetector(n_epochs=2, n_encoder_epochs=2, **options)
print(gan.fit(X).decision_scores_.sum())
"""


@pytest.mark.slow
def test_without_a_compiler_the_loops_are_python():
    without = _run(FITS, NUMBA_DISABLE_JIT="1")
    assert without.returncode == 0, without.stderr
    with contextlib.redirect_stdout(io.StringIO()) as expected:
        exec(FITS, {})
    made, expected = (list(map(float, t.split())) for t in (without.stdout, expected.getvalue()))
    assert len(made) == 4
    assert made == pytest.approx(expected, rel=1e-4)


ONE_LOOP = """
import resource
from skrdae.training.kernels.adam import span
before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, most))
print(span(10, 3, 1))
resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))  # what watches the run writes at its end
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits on the size of files")
def test_a_disk_that_is_full_is_done_without(tmp_path):
    run = _run(ONE_LOOP, NUMBA_CACHE_DIR=str(tmp_path), JOBLIB_MULTIPROCESSING="0")
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout == f"{loops_of_adam.span(10, 3, 1)}\n"
    assert not [path for path in tmp_path.rglob("*.nb?") if path.stat().st_size]


def test_a_cache_that_cannot_be_written_to_is_done_without(monkeypatch):
    def njit(function=None, *, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda f: f

    monkeypatch.setattr(_compiled.numba, "njit", njit)

    def double(x):
        return 2 * x

    assert _compiled.compiled(double) is double
