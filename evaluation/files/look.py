"""A first look at what was given, by which formats are told apart."""

import bz2
import lzma
import os
import sys
import zlib
from dataclasses import dataclass
from functools import cached_property
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import cast

import pyarrow as pa

from fusion.errors import InputError
from fusion.source import STANDARD_INPUT, Source
from fusion.text import encoding_of

__all__ = ["Look", "stem_of"]

_HEAD = 1 << 16
_DEPTH = 4
_MOST = 200_000


@dataclass(frozen=True)
class Look:
    """A file or folder as it looks before it is read.

    Attributes:
        path: The file or folder; "-" is standard input.
        names: Of a folder, its files and those of its folders, relative and sorted, hidden ones left out; of a file
            its own name.
        folder: Whether it is one.
        wanted: What it is read for: "results" or "truth".
    """

    path: Path
    names: tuple[str, ...]
    folder: bool
    wanted: str = "results"

    @classmethod
    def at(cls, path: str | os.PathLike[str], wanted: str = "results") -> "Look":
        """Look at a path.

        Raises:
            InputError: If there is nothing.
        """
        place = Path(path)
        if place.is_dir():
            return cls(place, tuple(sorted(_below(str(place), "", _DEPTH))), True, wanted)
        return cls(place, (place.name,), False, wanted)

    @cached_property
    def head(self) -> bytes:
        """The first bytes of a file, unpacked; of a folder b""."""
        if self.folder:
            return b""
        if str(self.path) == STANDARD_INPUT:
            return _unpacked(cast(BufferedReader, sys.stdin.buffer).peek(_HEAD))
        source = Source(self.path, "a file with detections or annotations")
        try:
            return source.read(_HEAD)
        finally:
            source.close()

    @property
    def text(self) -> str:
        """The first bytes as text; "" where they are none."""
        try:
            return self.head.decode(encoding_of(self.head), errors="ignore")
        except UnicodeError:
            return ""

    @property
    def lines(self) -> list[str]:
        """The first lines that are not blank, whole ones."""
        text = self.text
        lines = text.splitlines()
        if len(self.head) >= _HEAD and len(lines) > 1:
            lines = lines[:-1]
        return [line for line in lines if line.strip()]

    def ending(self, *suffixes: str) -> list[str]:
        """Return the files with one of some suffixes (".xml"), compressed or not."""
        return [name for name in self.names if _plain(name).lower().endswith(suffixes)]

    def into(self, name: str) -> "Look":
        """Look at a file of the folder."""
        return Look.at(self.path / name)


def stem_of(name: str) -> str:
    """Return a file's name without suffix, that of compression neither; folders stay."""
    return str(PurePosixPath(_plain(name)).with_suffix(""))


def _plain(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and suffix.lower() in ("gz", "zst", "bz2", "xz") and "." in stem else name


def _below(folder: str, before: str, depth: int) -> list[str]:
    found: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    found += _below(entry.path, f"{before}{entry.name}/", depth - 1) if depth else []
                else:
                    found.append(before + entry.name)
                if len(found) > _MOST:
                    raise InputError(folder, f"has more than {_MOST:,} files", "Name the folder of the results in it")
    except OSError as error:
        raise InputError(folder, f"cannot be read: {(error.strerror or str(error)).lower()}") from error
    return found


def _unpacked(head: bytes) -> bytes:
    """Unpack what has come of a compressed stream, as far as it goes."""
    try:
        if head.startswith(b"\x1f\x8b"):
            return zlib.decompressobj(31).decompress(head, _HEAD)
        if head.startswith(b"BZh"):
            return bz2.BZ2Decompressor().decompress(head, _HEAD)
        if head.startswith(b"\xfd7zX"):
            return lzma.LZMADecompressor().decompress(head, _HEAD)
        if head.startswith(b"\x28\xb5\x2f\xfd"):
            stream, out = pa.CompressedInputStream(pa.BufferReader(head), "zstd"), b""
            while len(out) < _HEAD and (more := stream.read(512)):
                out += more
            return out
    except (OSError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowException):
        return b""
    return head
