#!/usr/bin/env python
"""Hold the pins against what is installed, and against what pyproject.toml says.

To be run where all extras are installed, by constraints.txt. Says what is wrong, exit status 1, if

- a package is installed that is not pinned, or in another version, or pinned and not installed;
- a pin lies outside the range that pyproject.toml gives to users;
- a lower bound there is not what constraints-lowest.txt tests, as far as it is told: of scipy>=1.11
  that is some 1.11 (torch is only tested as pinned).

Whether a pin has a known vulnerability is another question, which needs a network:
`pip-audit --no-deps -r constraints.txt`.
"""

import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
# Not installed by constraints: what installs them, and the project itself.
INSTALLERS = {"pip", "setuptools", "wheel"}
# Tools that only the pinned versions are run with.
TOOLS = {"coverage", "import-linter", "mypy", "pre-commit", "ruff"}


def pins(name):
    """Return the versions that a file of constraints pins."""
    lines = (line.partition("#")[0].strip() for line in (ROOT / name).read_text().splitlines())
    pairs = (line.split("==") for line in lines if line)
    return {canonicalize_name(package): Version(version) for package, version in pairs}


def _same(tested, floor):
    n_told = len(floor.release)
    return (*tested.release, 0, 0)[:n_told] == floor.release


def complaints():
    """Yield a line for all that is wrong."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned, lowest = pins("constraints.txt"), pins("constraints-lowest.txt")

    installed = {canonicalize_name(d.name): Version(d.version) for d in distributions()}
    for name in INSTALLERS | {project["name"]}:
        installed.pop(name, None)
    for name in sorted(installed.keys() | (pinned.keys() - INSTALLERS)):
        if name not in pinned:
            yield f"{name} {installed[name]} is installed, but constraints.txt does not pin it"
        elif name not in installed:
            yield f"constraints.txt pins {name}, which nothing installs"
        elif installed[name].public != pinned[name].public:
            yield f"{name} {installed[name]} is installed; constraints.txt pins {pinned[name]}"

    extras = project["optional-dependencies"]
    tested = {name for extra in extras if extra != "docs" for name in extras[extra]}
    for text in sorted({*project["dependencies"], *(r for e in extras.values() for r in e)}):
        asked = Requirement(text)
        name = canonicalize_name(asked.name)
        if name == project["name"]:
            continue
        floor = next((Version(s.version) for s in asked.specifier if s.operator == ">="), None)
        if name not in pinned or pinned[name] not in asked.specifier:
            yield f"pyproject.toml asks for {text}; constraints.txt pins {pinned.get(name)}"
        if floor is None:
            yield f"pyproject.toml gives {name} no lower bound"
        elif name == "torch" or name in TOOLS or text not in {*project["dependencies"], *tested}:
            continue
        elif name not in lowest or not _same(lowest[name], floor):
            yield f"pyproject.toml asks for {text}; constraints-lowest.txt tests {lowest.get(name)}"


found = list(complaints())
print("\n".join(found) or "all that is installed is pinned, all lower bounds are tested")
sys.exit(bool(found))
