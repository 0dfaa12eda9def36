"""README is short, its commands are those that CI runs, and no relative link is broken."""

import re

import pytest
from pages import ROOT, anchors, broken, labels, tables

README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


BROKEN = """\
# A `b` [c](page.md)

## λ, and

[1](page.md#a-b-c) [2](#λ-and) [3](#none) ![4](5.png) `[6](no.md)` [7](https://example.com/no)

```
[8](no.md)
```
"""
TABLE = """\
text

| a | b |
|---|---|
| 1 | |

```
| no |
|---|
```
"""


def test_length():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 140


def test_first_screen():
    """What it is, for whom, how to install it, and the first result begin within 40 lines."""
    screen = "\n".join(README.read_text(encoding="utf-8").splitlines()[:40])
    for needed in (
        "anomalies",
        "scikit-learn and PyOD",
        "docs/images/",
        "pip install",
        "38 flagged,",
    ):
        assert needed in screen


def test_two_commands():
    """The expression is that of .ci/run."""
    text = README.read_text(encoding="utf-8")
    commands = re.findall(r"^    (python -m pip install .*)$", text, re.MULTILINE)
    assert [command.split(" && ")[1] for command in commands] == [
        "python -m skrdae demo",
        "python -m pytest -n 2",
    ]
    assert all("-c constraints.txt" in command for command in commands)
    for extra in re.findall(r"\.\[(\w+)\]", "".join(commands)):
        assert f"\n{extra} = [" in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links(page):
    assert broken(page) == []


def test_broken_links_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(BROKEN, encoding="utf-8")
    assert anchors(page) == {"a-b-c", "λ-and"}
    assert broken(page) == ["#none: no such heading", "5.png: no such file"]
    assert "examples" in labels()


def test_tables_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(TABLE, encoding="utf-8")
    assert tables(page) == [(["a", "b"], [["1", ""]])]
