"""Detectors in files that hold numbers and names, and nothing that could run.

A file is one of safetensors: the arrays as they are, and in its header a JSON tree of everything
else. What a tree may name, and what the attributes of each class may be, stands in ``kinds`` and
the modules that fill it; a file that says anything else is refused, and so is a detector that no
such file could hold. So a file from a stranger can be wrong, but cannot do anything.
"""

from skrdae.persistence.files import FORMAT, _digest, load, save

__all__ = ["FORMAT", "_digest", "load", "save"]
