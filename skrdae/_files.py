"""Files that are whole or not there."""

import contextlib
import os
import tempfile
from pathlib import Path


def write_whole(path, data):
    """Write bytes beside a place and move them there; a failure leaves what was there before.

    A link is followed. The file has the mode of the one it replaces, or that of any new file.
    """
    path = Path(os.path.realpath(path))
    handle, beside = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(OSError):  # where files have no modes
            os.chmod(beside, _mode(path))
        os.replace(beside, path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


def _mode(path):
    if path.exists():
        return path.stat().st_mode & 0o777
    mask = os.umask(0)  # which cannot be asked for without being set
    os.umask(mask)
    return 0o666 & ~mask
