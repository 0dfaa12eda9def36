"""Save and load detectors without pickle: files hold numbers and names, no code.

A file is safetensors: the arrays as they are, and a JSON tree of everything else in the header.
``kinds``, and the modules that fill it, list what a tree may name and what the attributes of each
class may be. Anything else is refused, in reading and in writing, so a file from a stranger can be
wrong but cannot do anything.
"""

from skrdae.persistence.files import FORMAT, _digest, load, save

__all__ = ["FORMAT", "_digest", "load", "save"]
