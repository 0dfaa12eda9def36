import sys

import numpy as np
import pytest

from skrdae.cli import main
from skrdae.demo import one_class_digits


def test_demo_prints_the_table_and_draws(tmp_path, capsys):
    picture = tmp_path / "demo.png"
    assert main(["demo", "-o", str(picture)]) == 0
    out = capsys.readouterr().out
    rows = {line.split()[0]: line.split() for line in out.splitlines()}
    assert float(rows["RobustDeepAutoencoder"][2]) > 0.5  # F1
    assert float(rows["RobustDeepAutoencoder"][3]) > 0.95  # ROC AUC
    assert float(rows["IsolationForest"][3]) > 0.9
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 10_000


def test_errors_are_one_line_and_an_exit_status(tmp_path, capsys, monkeypatch):
    assert main(["demo", "-o", str(tmp_path / "nowhere" / "demo.png")]) == 1
    assert "not a file in a folder" in capsys.readouterr().err
    assert main(["demo", "-o", str(tmp_path / "demo.docx")]) == 1
    assert "png" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["demo"]) == 1
    assert "skrdae[plot]" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["demo", "--digit", "12"])
    assert stop.value.code == 2


def test_the_digits_hold_the_share_of_others():
    X, y = one_class_digits(3, seed=1)
    assert X.min() == 0
    assert X.max() == 1
    assert y.mean() == pytest.approx(0.05, abs=0.003)
    assert not np.array_equal(X, one_class_digits(3, seed=2)[0])
