"""Errors about tables, which name options as their reader writes them."""

import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

# Of a text that stands in a message.
_LONGEST_TEXT = 60


@dataclass(frozen=True)
class Option:
    """A parameter in a message: ``name='value'`` in Python, ``--name value`` in a shell.

    Parameters
    ----------
    name : str
        Of the parameter.
    value : str, int, list of str or None, default=None
        What to set it to, where the message says so.
    flag : str or None, default=None
        What the shell calls it, if not by its name.
    """

    name: str
    value: str | int | list[str] | None = None
    flag: str | None = None

    def in_python(self) -> str:
        """Return it as a keyword argument, or its name without a value."""
        return self.name if self.value is None else f"{self.name}={self.value!r}"

    def in_shell(self) -> str:
        """Return it as a flag; one for each entry of a list."""
        flag = "--" + (self.flag or self.name).replace("_", "-")
        if self.value is None:
            return flag
        values = self.value if isinstance(self.value, list) else [self.value]
        # What begins with a dash would be taken for a flag.
        return " ".join(
            f"{flag}{'=' if str(value).startswith('-') else ' '}{_quoted(str(value))}"
            for value in values
        )


def _quoted(text: str) -> str:
    if text == "'":
        return '"\'"'
    return "tab" if text == "\t" else shlex.quote(text)


@dataclass(frozen=True)
class PythonTerm:
    """What a message says in Python alone.

    Parameters
    ----------
    text : str
    """

    text: str

    def in_python(self) -> str:
        """Return it."""
        return self.text

    def in_shell(self) -> str:
        """Return nothing."""
        return ""


#: What messages are made of.
Part: TypeAlias = str | Option | PythonTerm


class TableError(ValueError):
    """A table that is not as it should be.

    Parameters
    ----------
    *parts : str, Option or PythonTerm
        The message, to be joined. `str` of the error is the one for Python.
    """

    def __init__(self, *parts: Part) -> None:
        self.parts = parts
        super().__init__("".join(p if isinstance(p, str) else p.in_python() for p in parts))

    def in_shell(self) -> str:
        """Return the message for a shell, with options as flags."""
        return "".join(p if isinstance(p, str) else p.in_shell() for p in self.parts)


def shown(value: object) -> str:
    """Return a value of a table as it stands in a message: quoted, and not too long."""
    value = value.item() if isinstance(value, np.generic) else value
    text = str(value)
    if len(text) > _LONGEST_TEXT:
        text = text[:_LONGEST_TEXT] + "…"
    return text if isinstance(value, int | float) else repr(text)


def listed(items: Iterable[Any], show: Callable[[Any], str] = shown, most: int = 5) -> str:
    """Return things as a list in a sentence, the first few of many.

    Examples
    --------
    >>> from skrdae.tables.errors import listed
    >>> listed(["a", "b", "c"])
    "'a', 'b' and 'c'"
    >>> listed(range(100), str)
    '0, 1, 2, 3, 4 and 95 others'
    """
    items = list(items)
    told = [show(item) for item in items[:most]]
    if len(items) > most:
        others = len(items) - most
        told.append("1 other" if others == 1 else f"{others} others")
    return told[0] if len(told) == 1 else f"{', '.join(told[:-1])} and {told[-1]}"
