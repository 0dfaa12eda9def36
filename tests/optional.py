"""Libraries that a machine may lack: a test that uses one that is missing is skipped."""

from typing import Any

import pytest


class Optional:
    """A module, imported when one of its attributes is first used.

    Parameters
    ----------
    name : str
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(pytest.importorskip(self._name), attribute)
