"""What is in a file, told by its first bytes and not by its name."""

import bz2
import codecs
import gzip
import io
import lzma
import os
import re
import stat
import string
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import IO

from skrdae.tables.errors import Option, TableError, shown

# What files begin with, what they are then, and how a CSV file is made of them.
_SAVE_AS = "open it in a spreadsheet program and save it as CSV in UTF-8"
_UNPACK = "unpack it first"
_KINDS = (
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "an Excel workbook or another document",
        _SAVE_AS,
    ),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (b"\x1f\x9d", "compressed with compress", _UNPACK),
    (b"SQLite format 3\0", "an SQLite database", "export the table as CSV"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", "export the table as CSV or Parquet"),
    (b"CDF\x01", "a NetCDF file", "export the table as CSV or Parquet"),
    (b"CDF\x02", "a NetCDF file", "export the table as CSV or Parquet"),
    (b"ARROW1", "an Arrow (Feather) file", "save it as Parquet"),
    (b"FEA1", "a Feather file", "save it as Parquet"),
    (b"ORC", "an ORC file", "save it as Parquet"),
    (b"Obj\x01", "an Avro file", "save it as Parquet"),
    (b"\x93NUMPY", "a NumPy array", "save it with numpy.savetxt, delimiter=','"),
    (b"MATLAB 5.0", "a MATLAB file", "export the table as CSV"),
    (b"%PDF", "a PDF document", "it needs a table"),
    (b"\x89PNG", "a picture", "it needs a table"),
    (b"\xff\xd8\xff", "a picture", "it needs a table"),
    (b"GIF8", "a picture", "it needs a table"),
    (b"\x7fELF", "a program", "it needs a table"),
    (b"{\\rtf", "a text document (RTF)", _SAVE_AS),
    (b"version https://git-lfs", "a pointer of Git LFS", "fetch the file with: git lfs pull"),
)
_JSON = re.compile(rb"\s*(\[\s*)*[\[{]\s*([\[\]{}\"]|-?\d)")
# A compressed file may hold so many bytes, and so many times its own size.
_LARGEST, _MOST_TIMES = 2**30, 200
_LATIN = frozenset(string.ascii_letters.encode())
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Return what is in a file, or comes through a pipe; ``"-"`` is standard input.

    Raises
    ------
    OSError
        If it cannot be read.
    TableError
        If it is no file and no pipe.
    """
    if os.fspath(path) == "-":
        if sys.stdin is None:
            raise TableError("it is closed.")
        return sys.stdin.buffer.read()
    with Path(path).open("rb") as file:
        kind = os.fstat(file.fileno()).st_mode
        # Some devices never end. A terminal is one that does.
        if (stat.S_ISCHR(kind) and not file.isatty()) or stat.S_ISBLK(kind):
            raise TableError("it is a device, not a file.")
        return file.read()


def unpacked(content: bytes) -> bytes:
    """Return the file that is in a compressed one, or in an archive of one file.

    Raises
    ------
    TableError
        If it is damaged, or holds something else.
    """
    for _ in range(2):  # an archive may be compressed
        try:
            file = _inner_file(content)
            if file is None:
                break
            with file:
                most = max(_LARGEST, _MOST_TIMES * len(content))
                content = file.read(most + 1)
        except (TableError, MemoryError):
            raise
        except Exception as error:  # each kind has some of its own
            raise TableError("it is compressed, and damaged or cut off.") from error
        if len(content) > most:
            raise TableError(
                f"it is compressed, and holds more than {_MOST_TIMES} times its size: unpack it "
                "first, if it is what it should be."
            )
    return content


def _inner_file(content: bytes) -> IO[bytes] | gzip.GzipFile | None:
    """Return what is in a compressed file, or in an archive of one; None for any other file."""
    packed = io.BytesIO(content)
    if content.startswith(b"\x1f\x8b"):
        return gzip.open(packed)
    if content.startswith(b"BZh"):
        return bz2.open(packed)
    if content.startswith(b"\xfd7zXZ\0"):
        return lzma.open(packed)
    if content.startswith(b"\x28\xb5\x2f\xfd"):
        return _zstd(packed)
    if content.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        archive = zipfile.ZipFile(packed)
        names = [n for n in archive.namelist() if not n.endswith("/") and n[:2] != "__"]
        if "[Content_Types].xml" in names or "mimetype" in names:
            raise TableError(f"it is an Excel workbook or another document: {_SAVE_AS}.")
        return archive.open(_only(names))
    if content[257:262] == b"ustar":
        members = tarfile.TarFile(fileobj=packed)
        files = {member.name: member for member in members if member.isfile()}
        return members.extractfile(files[_only(list(files))])
    return None


def _only(names: list[str]) -> str:
    if len(names) != 1:
        raise TableError(
            f"it is an archive of {len(names)} files: unpack it, and give one of them."
        )
    return names[0]


def _zstd(packed: IO[bytes]) -> IO[bytes]:
    try:
        import zstandard
    except ImportError as error:
        raise TableError("it is compressed with zstd: unpack it first, with zstd -d.") from error
    return zstandard.ZstdDecompressor().stream_reader(packed)


def refuse_other_kinds(content: bytes) -> None:
    """Raise if a file is known not to be CSV.

    Raises
    ------
    TableError
        It says what the file is, and how to make CSV of it.
    """
    if not content.strip():
        raise TableError("it is empty.")
    for magic, kind, remedy in _KINDS:
        if content.startswith(magic):
            raise TableError(f"it is {kind}, not CSV or Parquet: {remedy}.")
    start = content[:1000].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        raise TableError("it is a web page, not CSV: was the download refused?")
    if start.startswith((b"<?xml", b"<!doctype")):
        raise TableError("it is XML, not CSV: convert it, say in a spreadsheet program.")
    if start.startswith(b"@relation"):
        raise TableError("it is ARFF, not CSV: keep the lines below @data.")
    if _JSON.match(content):
        lines = b"" if start.startswith(b"[") else b"s"
        raise TableError(
            "it is JSON, not CSV: convert it, say with jq"
            f" -{lines.decode()}r '(.[0] | keys_unsorted) as $k | $k, (.[] | [.[$k[]]]) | @csv'."
        )


def decoded(content: bytes, encoding: str) -> tuple[bytes, str]:
    """Return text in UTF-8 without a mark at its beginning, and how it was encoded.

    Raises
    ------
    TableError
        If it is not encoded like that, or no text.
    """
    mark, found = next(((m, e) for m, e in _MARKS if content.startswith(m)), (b"", encoding))
    if found == "utf-8-sig":
        content = content[len(mark) :]
    name = codecs.lookup(found).name
    if name in ("utf-8", "utf-8-sig"):
        _check_utf8(content)
    else:
        try:
            content = content.decode(found).removeprefix("\ufeff").encode()
        except UnicodeError as error:
            raise TableError(
                f"it is not written in {found}: set ", Option("encoding"), " to what it is."
            ) from error
    if b"\0" in content:
        line = content.count(b"\n", 0, content.index(b"\0")) + 1
        if mark == b"" and content[:100].count(b"\0") >= 25:
            little = content[1:2] == b"\0"
            raise TableError(
                "it seems to be text in UTF-16: set ",
                Option("encoding", "utf-16-le" if little else "utf-16-be"),
                ".",
            )
        raise TableError(f"it is no text: a zero byte is in line {line}. Is the file damaged?")
    return content, found


def _check_utf8(content: bytes) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    size = 2**20
    for start in range(0, len(content), size):
        try:
            decoder.decode(content[start : start + size], start + size >= len(content))
        except UnicodeDecodeError:
            break
    else:
        return
    try:
        content.decode()
    except UnicodeDecodeError as error:
        place = error.start
    begin, end = content.rfind(b"\n", 0, place) + 1, content.find(b"\n", place)
    line = content.count(b"\n", 0, place) + 1
    text = content[begin : end if end >= 0 else len(content)].rstrip(b"\r")
    if sum(byte < 9 or 13 < byte < 32 for byte in content[:1000]) > 50:
        raise TableError("it is neither text nor Parquet.")
    letters = sum(byte >= 0xC0 for byte in text), sum(byte in _LATIN for byte in text)
    guess = "cp1251" if letters[0] > letters[1] else "cp1252"
    try:
        text.decode(guess)
    except UnicodeDecodeError:
        guess = "latin-1"
    around = text[max(0, place - begin - 20) : place - begin + 20].decode(guess)
    raise TableError(
        f"it is not written in UTF-8: byte {content[place]:02X} in line {line}. Set ",
        Option("encoding", guess),
        f" if that line reads {shown(around)}, or another encoding.",
    )
