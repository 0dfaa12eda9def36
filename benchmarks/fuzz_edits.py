"""The edits that ``fuzz_files.py`` makes: one place of a file, drawn at random."""

import copy
import json

import numpy as np
from fuzz_kinds import FIRST

from skrdae.persistence.detectors import learn_detectors
from skrdae.persistence.kinds import KINDS

learn_detectors()  # those of fuzz_kinds


def walk(node, path=()):
    yield path, node
    if not isinstance(node, dict | list):
        return
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        yield from walk(value, (*path, key))


def get(node, path):
    for key in path:
        node = node[key]
    return node


def put(node, path, value):
    get(node, path[:-1])[path[-1]] = value


def draw(rng, options):
    return options[int(rng.integers(len(options)))]


NAN, INF = {"is": "float", "value": "nan"}, {"is": "float", "value": "inf"}
METHODS = (
    "decision_function",
    "__class__",
    "fit",
    "predict",
    "_score",
    "__dict__",
    "forward",
    "_parameters",
    "__reduce__",
    "n_members",
)


def huge(dtype):
    if dtype.kind == "f":
        return np.finfo(dtype).max
    return np.iinfo(dtype).max if dtype.kind in "iu" else True


def edit_shape(content, rng):
    key = draw(rng, [*content.arrays])
    array = content.arrays[key]
    ways = ["axis before", "axis after", "flat", "none"]
    if array.ndim:
        ways += ["one less", "one more", "none of it", "double", "huge", "first"] * 2
    if array.ndim > 1:
        ways += ["swapped", "transposed", "turned"]
    way, axis = draw(rng, ways), int(rng.integers(max(array.ndim, 1)))
    if way == "axis before":
        made = array[None]
    elif way == "axis after":
        made = array[..., None]
    elif way == "flat":
        made = array.ravel()
    elif way == "none":
        made = array.ravel()[:1].reshape(()) if array.size else np.zeros((), array.dtype)
    elif way == "one less":
        made = np.delete(array, -1, axis) if array.shape[axis] else array[None]
    elif way == "one more":
        made = np.concatenate([array, array.take([0], axis)], axis) if array.size else array[None]
    elif way == "none of it":
        made = array.take([], axis)
    elif way == "double":
        made = np.concatenate([array, array], axis)
    elif way == "huge":
        shape = [0] * max(array.ndim, 2)
        shape[axis] = 1 << 40
        made = np.zeros(shape, array.dtype)
    elif way == "first":
        made = array.take(0, axis) if array.shape[axis] else array[None]
    elif way == "swapped":
        made = np.swapaxes(array, axis, axis - 1)
    elif way == "transposed":
        made = array.T
    else:
        made = array.reshape(array.shape[::-1])
    content.arrays[key] = made
    return f"shape of {key}, {way}", key, made.shape != array.shape


def edit_dtype(content, rng):
    key = draw(rng, [*content.arrays])
    array = content.arrays[key]
    names = ["float64", "float32", "float16", "int64", "int32", "uint8", "uint64", "bool"]
    name = draw(rng, [n for n in names if n != array.dtype])
    with np.errstate(all="ignore"):
        content.arrays[key] = array.astype(name)
    return f"type of {key}, {name}", key, True


def edit_values(content, rng):
    key = draw(rng, [k for k, a in content.arrays.items() if a.size])
    array = content.arrays[key].copy()
    values = [huge(array.dtype), 0, 1]
    if array.dtype.kind in "if":
        values += [-1, -huge(array.dtype)]
    if array.dtype.kind == "f":
        values += [np.nan, np.inf, -np.inf, np.finfo(array.dtype).tiny]
    value, whole = draw(rng, values), rng.random() < 0.4
    if whole:
        array[...] = value
    else:
        array.reshape(-1)[int(rng.integers(array.size))] = value
    content.arrays[key] = array
    return f"values of {key}, {'all' if whole else 'one'} {value}", key, False


def edit_leaf(content, rng):
    sites = [p for p, v in walk(content.tree) if p and not isinstance(v, dict | list)]
    path = draw(rng, sites)
    old = get(content.tree, path)
    values = [None, True, False, 0, -1, 1, 2, 10**12, 2**31, 2**63, 2**64, 10**30, -(10**12)]
    values += [0.5, -0.5, 1e308, -1e308, 1e-300, NAN, INF, "", "x", "x" * 3000, [], [1], {}]
    values += [{"is": "dict", "items": []}, {"is": "tuple", "items": []}]
    values += [{"is": "object", "class": "L21", "state": {}}]
    if isinstance(old, int | float) and not isinstance(old, bool):
        values += [old + 1, old - 1, -old, 2 * old, float(old), int(old)]
    if isinstance(old, str):
        values += [old + " ", old[:-1], old.upper(), "tanh", "relu", "gaussian", "minmax", "0", "1"]
    value = draw(rng, values)
    put(content.tree, path, value)
    numbers = {type(old), type(value)} == {int, float}  # one stands for the other
    changes = type(value) is not type(old) and not numbers
    return f"{path} from {old!r} to {str(value)[:40]!r}", path, changes


def edit_keys(content, rng):
    sites = [p for p, v in walk(content.tree) if isinstance(v, dict) and v]
    path = draw(rng, sites)
    node = get(content.tree, path)
    key, way = draw(rng, [*node]), draw(rng, ["removed", "renamed", "added", "twice", "method"])
    if way == "twice":
        value = json.dumps(node[key], ensure_ascii=False)
        node["@twice"] = None
        content.text_edits.append(('"@twice": null', f'"{key}": {value}'))
        return f"{path} has {key} twice", (*path, key), True
    if way == "added":
        name = draw(rng, ["x", "_x", "x_", *METHODS])
        node[name] = draw(rng, [None, 1, "x", []])
        return f"{path} has {name} added", (*path, name), True
    value = node.pop(key)
    if way == "renamed":
        node[draw(rng, [f"{key}x", key[:-1], f"_{key}"])] = value
    elif way == "method":
        node[draw(rng, METHODS)] = value
    return f"{path} has {key} {way}", (*path, key), True


def edit_entries(content, rng):
    sites = [p for p, v in walk(content.tree) if isinstance(v, list) and v]
    path = draw(rng, sites)
    node = get(content.tree, path)
    place, way = int(rng.integers(len(node))), draw(rng, ["removed", "twice", "moved", "none"])
    if way == "removed":
        del node[place]
    elif way == "twice":
        node.insert(place, copy.deepcopy(node[place]))
    elif way == "moved":
        node.insert(0, node.pop())
    else:
        del node[:]
    return f"{path} has entry {place} {way}", path, way != "moved"


def edit_nodes(content, rng):
    sites = [p for p, v in walk(content.tree) if p and isinstance(v, dict)]
    if len(sites) < 2:
        return edit_leaf(content, rng)
    for _ in range(50):
        one, other = draw(rng, sites), draw(rng, sites)
        if one[: len(other)] != other and other[: len(one)] != one:
            break
    else:
        return edit_leaf(content, rng)
    a, b = get(content.tree, one), get(content.tree, other)
    if rng.random() < 0.5:  # one twice
        put(content.tree, one, copy.deepcopy(b))
        return f"{one} is {other}", one, a != b
    put(content.tree, one, b)
    put(content.tree, other, a)
    return f"{one} and {other} swapped", one, _told(a) != _told(b)


def _told(node):
    return (
        {k: v for k, v in node.items() if k not in ("key", "array")}
        if isinstance(node, dict)
        else node
    )


def edit_arrays(content, rng):
    keys = [*content.arrays]
    way = draw(rng, ["removed", "added", "swapped"])
    if way == "removed":
        del content.arrays[draw(rng, keys)]
    elif way == "added":
        content.arrays["extra"] = np.zeros(3, np.float32)
    else:
        one, other = draw(rng, keys), draw(rng, keys)
        a, b = content.arrays[one], content.arrays[other]
        content.arrays[one], content.arrays[other] = b, a
        return f"arrays {one} and {other} swapped", one, (a.shape, a.dtype) != (b.shape, b.dtype)
    return f"an array {way}", None, True


def edit_header(content, rng):
    if content.is_checkpoint:
        return edit_leaf(content, rng)
    key = draw(rng, ["device", "format", "versions", "extra"])
    content.header[key] = draw(rng, [None, 0, 2, "1", [], {}, {"scikit-learn": 1}, True])
    return f"header's {key} is {content.header[key]!r}", None, False


EDITS = {
    edit_shape: 24,
    edit_dtype: 8,
    edit_values: 18,
    edit_leaf: 26,
    edit_keys: 10,
    edit_entries: 5,
    edit_nodes: 8,
    edit_arrays: 3,
    edit_header: 1,
}

# Attributes that may be left out, be None, or have another length or type of number, and still fit.
FREE = {
    "callbacks",
    "checkpoint_path",
    "feature_names_in_",
    "lam_max_",
    "_kept",
    "history_",
    "encoder_history_",
    "history",
    "scores_path_",
    "window_scores_",
    "window_threshold_",
    "draws",
    "_spacing",
    "scale",
    "steps",
    "memory",
    "dropped_columns_",
    "time_format_",
    "settings",
    "mean_",
    "var_",
    "n_samples_seen_",
    "transform_input",
}
for _cls, _kind in KINDS.items():  # files of earlier versions do not have these
    FREE |= {*_kind.later} if _cls.__module__.startswith("skrdae") else set()
OTHER_NUMBERS = {"labels_", "classes_", "rows", "mean_", "var_", "scale_", "center_", "min_"}
OTHER_NUMBERS |= {"data_min_", "data_max_", "data_range_", "max_abs_"}


def is_free(content, place, edit):
    """Whether what is at a place may be other than it was in a file that fits together."""
    if place is None:
        return False
    if isinstance(place, str):
        of = [p for p, v in walk(content.tree) if p and p[-1] in ("key", "array") and v == place]
        place = of[0] if of else ()
    node, owner, inner = content.tree, None, place
    for step, key in enumerate(place):
        if key == "state" and isinstance(node, dict) and node.get("is") == "object":
            owner, inner = node["class"], place[step + 1 :]
        try:
            node = node[key]
        except (LookupError, TypeError):  # what was added
            node = None
    names = [key for key in inner if isinstance(key, str)]
    if names and names[0] in PARAMETERS.get(owner, ()):
        return True
    # The charge of a penalty is of single precision where a device has no other.
    other = OTHER_NUMBERS & {*names} or place[-3:-1] == ("tensors", 3)
    return bool(FREE & {*names}) or (edit is edit_dtype and bool(other))


PARAMETERS = {
    cls.__name__: cls._get_param_names() if hasattr(cls, "_get_param_names") else vars(cls())
    for cls in KINDS
    if hasattr(cls, "get_params") or hasattr(cls, "split")
}


def make(contents, seed, number):
    """Return the kind, the bytes and the description of an edited file, and what may be."""
    rng = np.random.default_rng([seed, number])
    original = contents[draw(rng, [*contents])]
    if rng.random() < 0.02:  # damaged, not edited
        data = bytearray(original.raw)
        if rng.random() < 0.5:
            data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        else:
            del data[int(rng.integers(len(data))) :]
        return original.kind, bytes(data), "damaged", not original.is_checkpoint
    shares = np.array([*EDITS.values()])
    content, structural = original.copy(), False
    for _ in range(2 if rng.random() < 0.05 else 1):
        edit = [*EDITS][int(rng.choice(len(EDITS), p=shares / shares.sum()))]
        try:
            told, place, changes = edit(content, rng)
        except (KeyError, IndexError, TypeError, ValueError):  # the first edit left no such place
            told, place, changes = "nothing", None, False
        # An earlier format holds what is left out now, and checked by nobody.
        fits_not = changes and not is_free(original, place, edit)
        structural |= fits_not and original.kind not in FIRST
    return original.kind, content.data(), f"{edit.__name__}: {told}", structural
