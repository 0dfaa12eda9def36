"""What `help` prints of public classes and functions: names of types that fit on a line."""

import importlib
import inspect
import pydoc

import pytest

import skrdae

# Of those who use detectors, and of those who write one.
MODULES = [
    "skrdae.detectors.base",
    "skrdae.detectors.decomposition",
    "skrdae.detectors.robust",
    "skrdae.dask",
    "skrdae.merging",
    "skrdae.metrics",
    "skrdae.monitoring",
    "skrdae.penalties",
    "skrdae.persistence",
    "skrdae.plotting",
    "skrdae.preprocessing",
    "skrdae.tables",
    "skrdae.thresholds",
    "skrdae.history",
    "skrdae.model",
    "skrdae.objectives.base",
    "skrdae.registry",
    "skrdae.rows",
    "skrdae.scorers.base",
]
LONGEST = len("FloatArray | tuple[FloatArray, FloatArray]") + 2  # and quotes


def public_objects():
    """Return the public classes and functions by their full names."""
    found = {f"skrdae.{name}": getattr(skrdae, name) for name in skrdae.__all__}
    for path in MODULES:
        module = importlib.import_module(path)
        for name in getattr(module, "__all__", vars(module)):
            value = getattr(module, name)
            # Modules without `__all__` hold what they import, too.
            ours = hasattr(module, "__all__") or getattr(value, "__module__", "") == path
            kinds = inspect.isclass(value) or inspect.isroutine(value)
            if ours and kinds and not name.startswith("_"):
                found.setdefault(f"{path}.{name}", value)
    return found


def signatures(value):
    """Yield names and signatures of a function, or of a class's own public methods."""
    if not inspect.isclass(value):
        yield value.__name__, inspect.signature(value)
        return
    for name in dir(value):
        method = inspect.getattr_static(value, name)
        method = getattr(method, "__func__", getattr(method, "fget", method))
        ours = getattr(method, "__module__", "") or ""
        public = name == "__init__" or not name.startswith("_")
        if public and inspect.isfunction(method) and ours.startswith("skrdae."):
            yield name, inspect.signature(method)


@pytest.mark.parametrize("name", sorted(public_objects()))
def test_annotations_are_short(name):
    for method, signature in signatures(public_objects()[name]):
        shown = {p.name: p.annotation for p in signature.parameters.values()}
        shown["return"] = signature.return_annotation
        for argument, annotation in shown.items():
            if annotation is not inspect.Signature.empty:
                text = inspect.formatannotation(annotation)
                assert len(text) <= LONGEST, (method, argument, text)


def test_all_kinds_of_objects_are_looked_at():
    found = public_objects()
    assert {"skrdae.WindowedDetector", "skrdae.monitoring.Monitor"} <= set(found)
    methods = dict(signatures(skrdae.RobustDeepAutoencoder))
    assert {"__init__", "fit", "decision_function", "decompose"} <= set(methods)


def test_help_of_fit_fits_on_a_line():
    text = pydoc.plain(pydoc.render_doc(skrdae.RobustDeepAutoencoder.fit))
    signature = next(line for line in text.splitlines() if line.startswith("fit("))
    assert "X: 'MatrixLike', y: 'ArrayLike | None' = None" in signature
    assert len(signature) < 90
