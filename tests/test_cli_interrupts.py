"""Ctrl-C at any moment ends a command with status 130, and nothing half-done is left."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from optional import Optional

from skrdae import RobustPCA
from skrdae.cli import main
from skrdae.commands.console import Console
from skrdae.detectors.progress import Progress

pytestmark = pytest.mark.slow

pd = Optional("pandas")

OPTIONS = ("-o", "o.csv", "--plot", "p.png", "--save", "m")


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 3)), columns=list("abc"))
    table.to_csv("t.csv", index=False)
    return "t.csv"


def _press():
    signal.raise_signal(signal.SIGINT)


def _check_interrupted(capsys, status, written="nothing"):
    out, err = capsys.readouterr()
    assert (status, out) == (130, "")
    assert err.splitlines()[-1] == f"skrdae detect: interrupted; {written} was written"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    files = [] if written == "nothing" else written.split(", ")
    assert sorted(os.listdir()) == sorted([*files, "t.csv"])


@pytest.mark.parametrize(
    "place",
    [
        "skrdae.commands.detecting.read",
        "skrdae.tables.encoder.TableEncoder.fit",
        "skrdae.detectors.robust_autoencoder.RobustDeepAutoencoder.fit",
        "skrdae.commands.detecting.write_results",
    ],
)
def test_before_anything_is_written(place, data, capsys, monkeypatch):
    monkeypatch.setattr(place, lambda *a, **k: _press())
    _check_interrupted(capsys, main(["detect", data, *OPTIONS]))


@pytest.mark.parametrize("model", ["robust-autoencoder", "robust-pca", "vae"])
def test_in_the_middle_of_a_training(model, data, capsys, monkeypatch):
    whole = Progress.__call__

    def pressed(self, row):
        _press()
        return whole(self, row)

    monkeypatch.setattr(Progress, "__call__", pressed)
    _check_interrupted(capsys, main(["detect", data, "--model", model, *OPTIONS]))


def test_a_library_that_swallows_it_or_makes_something_else_of_it(data, capsys, monkeypatch):
    whole = RobustPCA.fit

    def swallows(self, X):
        try:
            _press()
        except KeyboardInterrupt:
            return whole(self, X)

    def converts(self, X):
        try:
            _press()
        except KeyboardInterrupt:
            raise RuntimeError("raised an unreported exception") from None

    for fit in (swallows, converts):
        monkeypatch.setattr(RobustPCA, "fit", fit)
        _check_interrupted(capsys, main(["detect", data, "--model", "robust-pca", *OPTIONS]))


@pytest.mark.parametrize(
    ("n_written", "written"), [(1, "o.csv"), (2, "o.csv, p.png"), (3, "o.csv, p.png, m")]
)
def test_a_file_that_is_being_written_is_written_to_its_end(
    n_written, written, data, capsys, monkeypatch
):
    whole, calls = os.fsync, []

    def pressed(handle):
        calls.append(handle)
        if len(calls) == n_written:
            _press()
        whole(handle)

    monkeypatch.setattr("os.fsync", pressed)
    status = main(["detect", data, "--model", "robust-pca", *OPTIONS])
    _check_interrupted(capsys, status, written)


def test_pressed_twice_it_does_not_wait_for_a_file(data, capsys, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda handle: (_press(), _press()))
    _check_interrupted(capsys, main(["detect", data, "--model", "robust-pca", *OPTIONS]))


def test_pressed_again_while_the_command_ends_it_is_not_heeded(data, capsys, monkeypatch):
    say = Console.say

    def pressed(self, text):
        _press()
        say(self, text)

    monkeypatch.setattr("skrdae.commands.detecting.read", lambda *a, **k: _press())
    monkeypatch.setattr(Console, "say", pressed)
    _check_interrupted(capsys, main(["detect", data, *OPTIONS]))


def test_handlers_of_others_are_left_in_peace(data, capsys):
    heard = []
    before = signal.signal(signal.SIGINT, lambda *a: heard.append(1))
    try:
        with Console("skrdae"):
            _press()
        assert heard == [1]
    finally:
        signal.signal(signal.SIGINT, before)


def _start(folder, slow_module):
    """Start a command in a process that waits in the import of a module."""
    module = folder / f"{slow_module}.py"
    module.write_text("import time\nprint('importing', flush=True)\ntime.sleep(60)\n")
    environment = os.environ | {
        "PYTHONPATH": f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    }
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from skrdae.cli import main; sys.argv[0] = 'skrdae'; sys.exit(main())"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, "detect", "t.csv"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
    )


@pytest.mark.parametrize("module", ["argparse", "torch", "pandas"])
def test_while_libraries_are_imported(module, data, tmp_path):
    with _start(tmp_path, module) as running:
        assert running.stdout.readline() == "importing\n"
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=60) == 130
        name = "skrdae" if module == "argparse" else "skrdae detect"
        assert running.stderr.read() == f"{name}: interrupted; nothing was written\n"


def test_help_is_in_ascii(capsys):
    for command, option in (("detect", "--resample"), ("score", "--model"), ("demo", "-o")):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        out = capsys.readouterr().out
        assert out.isascii()
        assert option in out
