"""Text files read line by line: compressed or not, in UTF-8 or UTF-16."""

import io
import os
from typing import TextIO

from fusion.source import Source

__all__ = ["encoding_of", "open_text"]


def encoding_of(head: bytes) -> str:
    """Tell UTF-16 from UTF-8 by how a text begins."""
    return "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"


def open_text(path: str | os.PathLike[str], what: str, errors: str = "strict") -> TextIO:
    """Open a text, with its line ends as they are.

    Args:
        path: The file, which may be compressed by gzip, zstd, bzip2 or xz.
        what: What is expected, for messages: "a CSV file".
        errors: What becomes of bytes that are no text, as for Python's `open`.

    Raises:
        InputError: If it cannot be opened; while it is read, if it cannot be read or its compressed content is damaged.
    """
    stream = io.BufferedReader(_Raw(Source(path, what)))
    try:
        encoding = encoding_of(stream.peek(2))
    except BaseException:
        stream.close()
        raise
    return io.TextIOWrapper(stream, encoding=encoding, errors=errors, newline="")


class _Raw(io.RawIOBase):
    """A source as Python's streams want it."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        data = self._source.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._source.close()
        super().close()
