"""Files that are whole or not there."""

import contextlib
import glob
import os
import tempfile
from pathlib import Path

# How the names of files end that are not whole yet.
_UNFINISHED = ".skrdae-part"


def remove_unfinished(path: Path) -> None:
    """Remove what a process left beside a file that was killed while it wrote it."""
    for left in path.parent.glob(f".{glob.escape(path.name)}-????????{_UNFINISHED}"):
        with contextlib.suppress(OSError):
            left.unlink()


def write_whole(path: str | os.PathLike[str], data: bytes | memoryview) -> None:
    """Write bytes beside a place and move them there; a failure leaves what was there before.

    A link is followed. The file has the mode of the one it replaces, or that of any new file.

    Raises
    ------
    OSError
        If it cannot be written, or what is there is no file but a folder, a device or a pipe.
    """
    path = Path(os.path.realpath(path))
    check_target(path)
    handle, beside = tempfile.mkstemp(_UNFINISHED, f".{path.name}-", path.parent)
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


def check_target(path: str | os.PathLike[str]) -> None:
    """Raise OSError unless a file is at `path`, or could be."""
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {str(path.parent)!r}.")
    if path.exists() and not path.is_file():
        raise OSError(f"{str(path)!r} is no file, and is not written over.")


def _mode(path: Path) -> int:
    if path.exists():
        return path.stat().st_mode & 0o777
    mask = os.umask(0)  # which cannot be asked for without being set
    os.umask(mask)
    return 0o666 & ~mask
