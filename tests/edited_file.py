"""Saved files that are edited and get a right checksum again."""

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from safetensors import safe_open

from skrdae import load, save
from skrdae.persistence import _digest


class EditedFile:
    """A saved file in parts, which can be written again with a right checksum.

    Of a detector, or with None the file that is there.
    """

    def __init__(self, detector, path):
        self.path = path
        if detector is not None:
            save(detector, path)
        with safe_open(str(path), framework="np") as file:
            self.header = json.loads(file.metadata()["skrdae"])
            self.arrays = {key: file.get_tensor(key) for key in list(file.keys())}
        self.tree = json.loads(self.header["tree"])

    def at(self, *place):
        """Return the node at a place, told by names of attributes, keys and numbers."""
        node = self.tree
        for name in place:
            node = self._inside(node)[name]
        return node

    @staticmethod
    def _inside(node):
        if isinstance(node, dict) and node["is"] == "object":
            state = node["state"]
            return (
                {k: v for part in state.values() for k, v in part.items()}
                if ({*state} == {"plain", "parameters", "modules"})
                else state
            )
        if isinstance(node, dict) and node["is"] == "dict":
            return dict(node["items"])
        return node["items"] if isinstance(node, dict) else node

    def put(self, value, *place):
        """Put a node, or an array for the one that is there."""
        old = self.at(*place)
        if isinstance(value, np.ndarray):
            self.arrays[old["key"]] = np.ascontiguousarray(value)
            return
        node = self.at(*place[:-1])
        if isinstance(node, dict) and node["is"] == "dict":
            next(pair for pair in node["items"] if pair[0] == place[-1])[1] = value
            return
        inside = node["state"] if isinstance(node, dict) and node["is"] == "object" else node
        for part in ("plain", "parameters", "modules"):
            if "plain" in inside and place[-1] in inside[part]:
                inside = inside[part]
        (inside["items"] if isinstance(inside, dict) and "items" in inside else inside)[
            place[-1]
        ] = value

    def array(self, *place):
        return self.arrays[self.at(*place)["key"]]

    def write(self, text=None):
        header = {k: v for k, v in self.header.items() if k != "digest"}
        header["tree"] = json.dumps(self.tree) if text is None else text
        header["digest"] = _digest(header, self.arrays)
        metadata = {"skrdae": json.dumps(header)}
        Path(self.path).write_bytes(safetensors.numpy.save(self.arrays, metadata))


def refused(file, words=None):
    """Hold that a file is refused with one line that names it."""
    with pytest.raises(ValueError, match=words) as caught:
        load(file.path)
    text = str(caught.value)
    assert str(file.path) in text
    assert "\n" not in text
    assert len(text) < 1000
