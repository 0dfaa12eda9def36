"""Warnings and devices, as a user of a shell needs to know them."""

import contextlib
import warnings
from collections.abc import Iterator

from skrdae._device import resolve_device
from skrdae.commands.console import CommandError, Console


@contextlib.contextmanager
def heard(console: Console) -> Iterator[list[type[Warning]]]:
    """Collect the kinds of warnings given; print them if the console is verbose."""
    kinds: list[type[Warning]] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield kinds
    for warning in caught:
        kinds.append(warning.category)
        if console.verbose:
            console.say(f"{warning.category.__name__}: {warning.message}")


def check_device(name: str) -> None:
    """Raise if a device is not there."""
    try:
        resolve_device(name)
    except ValueError as error:
        raise CommandError(f"--device {name} is not available here; use auto or cpu") from error
