"""Checks of what comes out of a file, put together like types.

A check takes a value, its place for the message, and the sizes known so far. It returns nothing,
or raises a ValueError. Sizes have names: the first array with a size of a name settles it, and
all others must agree. So a size is what arrays in the file have, not what a number in it claims.
"""

import json
import math
from collections.abc import Callable, Collection, Mapping
from numbers import Integral, Real
from typing import Any, NoReturn, TypeAlias, get_type_hints

import numpy as np
import torch

#: Sizes by name, as far as they are known.
Sizes: TypeAlias = dict[str, int]
#: A function of a value, its place and the sizes; it raises a ValueError.
Check: TypeAlias = Callable[[Any, str, Sizes], None]

#: No number is larger, so that squares and sums of a few stay finite in double precision.
LARGEST = 1e100
#: But for those in the units of somebody's data.
LARGEST_OF_DATA = 1e300
#: No count is larger: in double precision every whole number up to here is exact.
MOST = 2**53

# Lists and objects take most of the memory that JSON takes. A file may have a few, and beyond them
# one in so many characters; what this package writes has one in about fifteen.
_FEW, _MANY, _CHARACTERS = 10_000, 1_000_000, 8
# Digits of a number of 64 bits.
_DIGITS = 20
# Characters of a value in a message.
_SHOWN = 60


def parse_json(text: str | bytes) -> Any:
    """Return what JSON holds, if its memory and time are bounded by its length.

    Raises
    ------
    ValueError
        If it is not JSON, has a key twice or a number of more than 64 bits, consists of little but
        brackets, or is nested too deeply.
    """
    check_text(text)
    try:
        return json.loads(text, object_pairs_hook=_object, parse_int=_integer)
    except RecursionError as error:
        raise ValueError("its JSON is nested too deeply") from error


def check_text(text: str | bytes) -> None:
    """Raise if JSON has more brackets than :func:`parse_json` takes."""
    if isinstance(text, bytes):
        n_brackets = text.count(b"[") + text.count(b"{")
    else:
        n_brackets = text.count("[") + text.count("{")
    if n_brackets > min(_FEW + len(text) // _CHARACTERS, _MANY):
        raise ValueError(f"its JSON has {n_brackets} lists and objects, more than a detector has")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("its JSON has a key twice")
    return found


def _integer(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise ValueError(f"its JSON holds a whole number of {len(digits)} digits")
    return int(digits)


# ------------------------------------------------------------------------------------- messages


def misfit(where: str, value: object, wanted: str) -> NoReturn:
    """Raise a ValueError: what is at a place, and what should be."""
    raise ValueError(f"{where} is {_shown(value)}, not {wanted}")


def one_line(error: BaseException) -> str:
    """Return what an error says in one line that can be read."""
    return shortened(str(error)) or type(error).__name__


def shortened(text: str, most: int = 400) -> str:
    """Return text in one line, at most so many characters of it, and none that cannot be seen."""
    text = "".join(c if c.isprintable() else " " for c in text[: 2 * most])
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[:most]} …"


def _shown(value: object) -> str:
    if isinstance(value, np.ndarray | torch.Tensor):
        kind = "an array" if isinstance(value, np.ndarray) else "a tensor"
        name = str(value.dtype).removeprefix("torch.")
        return f"{kind} of {name} of shape {tuple(value.shape)}"
    if value is None or isinstance(value, bool | int | float | str | np.generic):
        return shortened(repr(value[:_SHOWN] if isinstance(value, str) else value), _SHOWN)
    return f"a {type(value).__name__}"


# --------------------------------------------------------------------------------------- values


def anything(value: Any, where: str, sizes: Sizes) -> None:
    """Check nothing."""


def nothing(value: Any, where: str, sizes: Sizes) -> None:
    """Check that a value is None."""
    if value is not None:
        misfit(where, value, "None")


def boolean(value: Any, where: str, sizes: Sizes) -> None:
    """Check that a value is True or False."""
    if not isinstance(value, bool | np.bool_):
        misfit(where, value, "True or False")


def text(value: Any, where: str, sizes: Sizes) -> None:
    """Check that a value is a string."""
    if type(value) is not str:
        misfit(where, value, "text")


def choice(*values: Any) -> Check:
    """Return a check that a value is one of several."""
    wanted = " or ".join(map(repr, values))

    def check(value: Any, where: str, sizes: Sizes) -> None:
        if not any(type(value) is type(v) and value == v for v in values):
            misfit(where, value, wanted)

    return check


def number(low: float = -LARGEST, high: float = LARGEST, *, nan: bool = False) -> Check:
    """Return a check that a value is a number from `low` to `high`, or NaN where that may be."""

    def check(value: Any, where: str, sizes: Sizes) -> None:
        fits = isinstance(value, Real) and not isinstance(value, bool)
        if isinstance(value, Integral):  # larger ones are not what a float of their size is
            fits &= abs(int(value)) <= MOST
        if not fits or not (low <= value <= high or (nan and value != value)):
            misfit(where, value, f"a number from {low:g} to {high:g}")

    return check


def whole(low: int = 0, high: int = MOST) -> Check:
    """Return a check that a value is a whole number from `low` to `high`."""

    def check(value: Any, where: str, sizes: Sizes) -> None:
        fits = isinstance(value, Integral) and not isinstance(value, bool)
        if not fits or not low <= value <= high:
            misfit(where, value, f"a whole number from {low} to {high}")

    return check


def size(name: str, low: int = 1) -> Check:
    """Return a check that a value is a whole number, which is a size."""
    is_whole = whole(low)

    def check(value: Any, where: str, sizes: Sizes) -> None:
        is_whole(value, where, sizes)
        if sizes.setdefault(name, int(value)) != value:
            misfit(where, value, f"{sizes[name]}, the number of {name}")

    return check


def optional(check: Check) -> Check:
    """Return a check that a value is None, or passes another check."""

    def either(value: Any, where: str, sizes: Sizes) -> None:
        if value is not None:
            check(value, where, sizes)

    return either


def either(*checks: Check) -> Check:
    """Return a check that a value passes one of several; what is said is what the last one says."""

    def check(value: Any, where: str, sizes: Sizes) -> None:
        for one in checks[:-1]:
            found = sizes.copy()
            try:
                one(value, where, found)
            except ValueError:
                continue
            sizes.update(found)
            return
        checks[-1](value, where, sizes)

    return check


# ---------------------------------------------------------------------------------------- arrays


def array(
    dtypes: type | Collection[type],
    *shape: int | str,
    low: float = -LARGEST,
    high: float = LARGEST,
    nan: bool = False,
    empty: bool = False,
) -> Check:
    """Return a check of a NumPy array.

    Parameters
    ----------
    dtypes : type or collection of them
    *shape : int or str
        Sizes, or their names.
    low, high : float
        What its values lie between.
    nan : bool, default=False
        Whether they may be NaN.
    empty : bool, default=False
        Whether a size may be 0 that was not known before.
    """
    allowed = {np.dtype(d) for d in ([dtypes] if isinstance(dtypes, type) else dtypes)}
    return _block(np.ndarray, allowed, shape, low, high, nan, empty)


def tensor(
    dtypes: torch.dtype | Collection[torch.dtype],
    *shape: int | str,
    low: float = -LARGEST,
    high: float = LARGEST,
    empty: bool = False,
) -> Check:
    """Return a check of a tensor; see :func:`array`."""
    allowed = {dtypes} if isinstance(dtypes, torch.dtype) else set(dtypes)
    return _block(torch.Tensor, allowed, shape, low, high, False, empty)


def _block(
    kind: type[Any],
    allowed: set[Any],
    shape: tuple[int | str, ...],
    low: float,
    high: float,
    nan: bool,
    empty: bool,
) -> Check:
    names = "/".join(sorted(str(dtype).removeprefix("torch.") for dtype in allowed))

    def check(value: Any, where: str, sizes: Sizes) -> None:
        fits = isinstance(value, kind) and value.dtype in allowed and value.ndim == len(shape)
        found = _settled(tuple(value.shape), shape, sizes, empty) if fits else None
        if found is None:
            told = ", ".join(str(sizes.get(s, s) if isinstance(s, str) else s) for s in shape)
            misfit(where, value, f"one of {names} of shape ({told})")
        sizes.update(found)
        if math.prod(value.shape):
            least, most = _range(value, nan)
            if not (low <= least and most <= high):  # of NaN neither
                spot = f"values from {least:g} to {most:g}"
                raise ValueError(f"{where} holds {spot}, and not from {low:g} to {high:g}")

    return check


def _settled(
    found: tuple[int, ...], shape: tuple[int | str, ...], sizes: Sizes, empty: bool
) -> Sizes | None:
    """Return the sizes that a shape settles, or None if it does not agree with those known."""
    settled: Sizes = {}
    for n, length in zip(found, shape, strict=True):
        wanted = length
        if isinstance(length, str):
            if length not in sizes and n == 0 and not empty:
                return None
            wanted = sizes[length] if length in sizes else settled.setdefault(length, n)
        if n != wanted:
            return None
    return settled


def _range(values: Any, nan: bool) -> tuple[float, float]:
    if isinstance(values, torch.Tensor):
        if values.device.type == "mps":  # which does not compare whole numbers everywhere
            values = values.cpu()
        least, most = torch.aminmax(values)
        return least.item(), most.item()
    if not nan:
        return values.min(), values.max()
    least, most = np.fmin.reduce(values, axis=None), np.fmax.reduce(values, axis=None)
    return (least, most) if least == least else (0.0, 0.0)  # it holds nothing but NaN


# ------------------------------------------------------------------------------------ containers


def listed(*checks: Check) -> Check:
    """Return a check of a list: one check for each entry."""

    def check(value: Any, where: str, sizes: Sizes) -> None:
        if type(value) is not list or len(value) != len(checks):
            misfit(where, value, f"a list of {len(checks)}")
        for place, (entry, each_check) in enumerate(zip(value, checks, strict=True)):
            each_check(entry, f"{where}[{place}]", sizes)

    return check


def each(entry: Check, length: str | None = None) -> Check:
    """Return a check of a list: one check for all entries, and maybe the name of its length."""

    def check(value: Any, where: str, sizes: Sizes) -> None:
        if type(value) is not list:
            misfit(where, value, "a list")
        if length is not None:
            size(length, low=0)(len(value), f"the length of {where}", sizes)
        for place, found in enumerate(value):
            entry(found, f"{where}[{place}]", sizes)

    return check


def mapping(key: Check, entry: Check) -> Check:
    """Return a check of a dict: one check for all keys, another one for all values."""

    def check(value: Any, where: str, sizes: Sizes) -> None:
        if type(value) is not dict:
            misfit(where, value, "a dict")
        for name, found in value.items():
            key(name, f"a key of {where}", sizes)
            entry(found, f"{where}[{name!r}]", sizes)

    return check


def record(entries: Mapping[str, Check]) -> Check:
    """Return a check of a dict with the keys given."""

    def check(value: Any, where: str, sizes: Sizes) -> None:
        if type(value) is not dict:
            misfit(where, value, "a dict")
        check_names(value, entries, entries, where)
        for name, one in entries.items():  # in this order, because early ones settle sizes
            one(value[name], f"{where}.{name}", sizes)

    return check


def check_names(
    found: Collection[Any], required: Collection[str], known: Collection[str], where: str
) -> None:
    """Raise if a required name is not found, or one that is not known is."""
    for name in found:
        if name not in known:
            raise ValueError(f"{where} has {_shown(name)}, which is not known")
    for name in required:
        if name not in found:
            raise ValueError(f"{where} has no {name}")


def history(row: type | Mapping[str, Check], length: str | None = None) -> Check:
    """Return a check of a history: rows with the entries of a TypedDict, the first of which counts.

    Parameters
    ----------
    row : type or dict of checks
        The TypedDict, or what its entries would be.
    length : str, optional
        The name of the number of rows.
    """
    if isinstance(row, type):
        measure = number(-math.inf, math.inf, nan=True)
        row = {k: whole() if t is int else measure for k, t in get_type_hints(row).items()}
    counter, names = next(iter(row)), row.keys()
    rows = each(anything, length)

    def check(value: Any, where: str, sizes: Sizes) -> None:
        rows(value, where, sizes)
        places = {name: f"{where}, {name}" for name in names}  # made once: there may be many rows
        for number_, found in enumerate(value, start=1):
            if type(found) is not dict or found.keys() != names:
                misfit(f"{where}[{number_ - 1}]", found, f"a dict of {', '.join(names)}")
            for name, one in row.items():
                one(found[name], places[name], sizes)
            if found[counter] != number_:
                misfit(f"{where}[{number_ - 1}].{counter}", found[counter], str(number_))

    return check
