"""Where text comes from: a file, compressed or not, or standard input; and what a file that is no JSON is."""

import bz2
import gzip
import io
import lzma
import os
import re
import sys
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

from fusion.errors import InputError

__all__ = ["STANDARD_INPUT", "Source", "kind_of"]

STANDARD_INPUT = "-"
_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zX": "xz"}
# How files begin that are given for a results file by mistake. A pickle is also seen written as Latin-1 text.
_BINARY = (
    (
        re.compile(rb"\x80[\x02-\x05]|\xc2\x80[\x02-\x05]"),
        "a pickle",
        "a pickle can run any code, so none is opened (mmdetection writes JSON with test_evaluator.outfile_prefix,"
        " detectron2 has coco_instances_results.json beside it)",
    ),
    (re.compile(rb"\x89HDF"), "an HDF5 file", ""),
    (re.compile(rb"PK\x03\x04.{26,}?\.npy", re.DOTALL), "an NPZ file of NumPy arrays", ""),
    (
        re.compile(rb"PK\x03\x04.{26,}?/data\.pkl", re.DOTALL),
        "a PyTorch file",
        "it holds a pickle, which can run any code",
    ),
    (re.compile(rb"PK\x03\x04"), "a zip archive", "unpack it"),
    (re.compile(rb"PAR1"), "a Parquet file", "if it is a detection table, give it to `quorum fuse` as it is"),
    (re.compile(rb"\xff\xfe|\xfe\xff|\s*[\[{]\0"), "UTF-16 text", "write it as UTF-8"),
    (re.compile(rb"\x1f\x8b|\x28\xb5\x2f\xfd|\xfd7zX"), "compressed twice", "unpack it once"),
    (re.compile(rb"\x04\"M\x18|\x5d\0\0"), "compressed by lz4 or lzma", "compress it by gzip, zstd, bzip2 or xz"),
    (
        re.compile(rb"version https://git-lfs"),
        "a Git LFS pointer to the file",
        "fetch the file itself with `git lfs pull`",
    ),
    (re.compile(rb"\x93NUMPY"), "a NumPy array", ""),
    (re.compile(rb"\x89PNG|\xff\xd8\xff"), "a picture", ""),
)
# How the values of JSON begin that are no lists or objects: those are refused by what they are.
_JSON = re.compile(rb"[\"0-9\-]|(?:true|false|null|NaN|Infinity)\b")
_NUMBER = rb"[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?"


class Source:
    """Bytes to read from the start to the end: of a file, which may be compressed, or of standard input.

    gzip, zstd, bzip2 and xz are told by how the file begins, whatever its name.

    Args:
        path: The file; "-" is standard input.
        what: What is expected, for messages: "a COCO results file".

    Attributes:
        name: The file, for messages.
        size: Bytes of the file as it stands on disk; 0 where that is not known.

    Raises:
        InputError: If it cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str], what: str) -> None:
        self.name, self.size = os.fspath(path), 0
        if self.name == STANDARD_INPUT:
            self.name = "standard input"
            self._raw = cast(io.BufferedReader, sys.stdin.buffer)
        else:
            place = Path(path)
            if place.is_dir():
                raise InputError(place, f"expected {what}, got a directory", "Name a file in it")
            try:
                self._raw = place.open("rb")
                self.size = os.fstat(self._raw.fileno()).st_size
            except OSError as error:
                raise InputError(place, _unreadable(error)) from error
        head = self._raw.peek(4)
        self.compression = next((name for magic, name in _COMPRESSED.items() if head.startswith(magic)), None)
        self._bytes = _opened(self._raw, self.compression)

    @property
    def done(self) -> int:
        """Bytes of the file, as it stands on disk, that have been read."""
        return self._raw.tell() if self.size else 0

    def read(self, count: int = -1) -> bytes:
        """Return that many bytes, or all that are left.

        Raises:
            InputError: If the file cannot be read, or its compressed content is damaged.
        """
        try:
            return self._bytes.read() if count < 0 else self._bytes.read(count)
        except (EOFError, zlib.error, lzma.LZMAError, pa.ArrowException) as error:
            raise self._damaged(error) from error
        except OSError as error:
            if self.compression is not None and error.errno is None:
                raise self._damaged(error) from error
            raise InputError(self.name, _unreadable(error)) from error

    def close(self) -> None:
        """Close the file."""
        if self._raw is not sys.stdin.buffer:
            self._raw.close()

    def _damaged(self, error: Exception) -> InputError:
        problem = f"is compressed by {self.compression} and damaged or cut off ({str(error).splitlines()[0]})"
        return InputError(self.name, problem, "Copy or compress it again")


def kind_of(head: bytes, wanted: str) -> tuple[str, str] | None:
    """Say what a file is that should be JSON, by how it begins.

    Args:
        head: The first bytes; a few hundred are enough.
        wanted: What it is given as: "results" or "ground truth".

    Returns:
        What it is and what to do with it; None where it may be JSON, or cannot be told.
    """
    export = f"let what made it write COCO {wanted} as JSON"
    for pattern, what, remedy in _BINARY:
        if pattern.match(head):
            return what, _sentence(remedy, export if not remedy or "pickle" in remedy else "")
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith(b"<"):
        return "XML or HTML", "Pascal VOC's and CVAT's files are read if they are named .xml, as they should be"
    line = text.splitlines()[0] if text else b""
    if text[:1] in (b"[", b"{") or not line:
        return None
    fields = line.split()
    if len(fields) >= 5 and all(re.fullmatch(_NUMBER, field) for field in fields[1:]):
        how = "a line is class, centre, size and confidence, all shares of the picture's sides"
        return "text with a box per line, such as YOLO's", f"It is read as such in a file or folder of its own if {how}"
    cells = max(line.count(mark) for mark in (b",", b";", b"\t"))
    if (cells >= 2 or line.lower().startswith(b"imageid,")) and not line.startswith(b'"{'):
        if wanted == "results":
            return "CSV", "`quorum import` reads CSV with a header that names columns of images, scores and boxes"
        return (
            "CSV",
            "As ground truth Open Images CSV is read: its columns are ImageID, LabelName, XMin, XMax, YMin, YMax",
        )
    if not _JSON.match(text):
        return f"no JSON: it begins with {line[:20]!r}", _sentence(export)
    return None


def _sentence(*parts: str) -> str:
    text = "; ".join(part for part in parts if part)
    return text[:1].upper() + text[1:]


def _opened(raw: io.BufferedReader, compression: str | None) -> BinaryIO:
    if compression == "gzip":
        return cast(BinaryIO, gzip.GzipFile(fileobj=raw))
    if compression == "bzip2":
        return cast(BinaryIO, bz2.BZ2File(raw))
    if compression == "xz":
        return cast(BinaryIO, lzma.LZMAFile(raw))
    if compression == "zstd":
        return cast(BinaryIO, pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd"))
    return cast(BinaryIO, raw)


def _unreadable(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    return f"cannot be read: {(error.strerror or str(error)).lower()}"
