"""A JSON file seen through a buffer of bounded size."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fusion.coco_records import decode
from fusion.errors import InputError
from fusion.kernels.json_batch import PADDING
from fusion.kernels.json_scan import DEEP, MORE, skip_space, value_end

__all__ = ["JsonSource"]

_LARGEST = 256 << 20


class JsonSource:
    """Reads a JSON file piece by piece; only the piece under way is in memory.

    Args:
        path: The file.
        block: Size of the buffer in bytes; it grows where one value is larger.
        progress: Called with the bytes read so far and in all.

    Attributes:
        data: uint8, the buffer; zeros follow the text.
        at: Place of the next byte in the buffer.
        size: Length of the text in the buffer.
        reads: How often the buffer was filled.
        notes: What was odd about the file.

    Raises:
        InputError: If it cannot be opened, or is not a JSON text by its first bytes.
    """

    def __init__(self, path: Path, block: int, progress: Callable[[int, int], None] | None) -> None:
        if path.is_dir():
            raise InputError(path, "expected a JSON file, got a directory", "Name a file in it")
        try:
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            raise InputError(path, f"cannot be read: {(error.strerror or str(error)).lower()}") from error
        self._path, self._progress = path, progress
        self._total = os.fstat(self._file.fileno()).st_size
        self.data = np.zeros(block + PADDING, np.uint8)
        self.at = self.size = self._base = self.reads = 0
        self._over = False
        self.notes: list[str] = []
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def offset(self) -> int:
        """Place of the next byte in the file."""
        return self._base + self.at

    def more(self) -> bool:
        """Move what is left to the front of the buffer and read on; False at the end of the file."""
        if self._over:
            return False
        self.reads += 1
        left = self.size - self.at
        if left > (len(self.data) - PADDING) // 2:
            room = 2 * (len(self.data) - PADDING)
            if room > _LARGEST:
                raise InputError(
                    f"{self._path}, byte {self.offset}",
                    f"a single value is larger than {_LARGEST >> 20} MB",
                    "The file is damaged, or not a results file",
                )
            bigger = np.zeros(room + PADDING, np.uint8)
            bigger[:left] = self.data[self.at : self.size]
            self.data = bigger
        elif self.at:
            self.data[:left] = self.data[self.at : self.size].copy()
        self._base += self.at
        self.at, self.size = 0, left
        while self.size < len(self.data) - PADDING:
            try:
                count = self._file.readinto(self.data[self.size : len(self.data) - PADDING].data)
            except OSError as error:
                raise InputError(self._path, f"cannot be read: {(error.strerror or str(error)).lower()}") from error
            if not count:
                self._over = True
                break
            self.size += count
        self.data[self.size : self.size + PADDING] = 0
        if self._progress is not None:
            self._progress(min(self._base + self.size, self._total), self._total)
        return self.size > left

    def seek(self, offset: int) -> None:
        """Go to a place of the file."""
        self._file.seek(offset)
        self._base, self.at, self.size, self._over = offset, 0, 0, False
        self.data[:PADDING] = 0

    def peek(self) -> int:
        """Return the next byte that is not white space, -1 at the end of the file."""
        while True:
            self.at = skip_space(self.data, self.at, self.size)
            if self.at < self.size:
                return int(self.data[self.at])
            if not self.more():
                return -1

    def expect(self, characters: bytes, what: str) -> int:
        """Pass over the next character, which has to be one of some; return it.

        Raises:
            InputError: If it is another one, or the file ends.
        """
        byte = self.peek()
        if byte < 0:
            raise self.truncated(what)
        if byte not in characters:
            raise InputError(
                f"{self._path}, byte {self.offset}",
                f"is not JSON: expected {what}, got {self._preview()}",
                "The file is damaged; write it again",
            )
        self.at += 1
        return byte

    def value(self, what: str) -> tuple[bytes, int]:
        """Pass over one value and return its text, not decoded yet, and its place in the file.

        Raises:
            InputError: If the file ends before it does, or it is nested too deep.
        """
        if self.peek() < 0:
            raise self.truncated(what)
        while True:
            end, status = value_end(self.data, self.at, self.size)
            if status == DEEP:
                raise InputError(f"{self._path}, byte {self._base + end}", "is nested too deep to be results")
            if status != MORE:
                break
            if not self.more():
                end = self.size
                if self.data[self.at] in b'"[{':
                    raise self.truncated(what)
                break
        if end == self.at:
            self.expect(b"", what)
        text, place = self.data[self.at : end].tobytes(), self.offset
        self.at = end
        return text, place

    def decoded(self, what: str) -> Any:
        """Pass over one value and return it.

        Raises:
            InputError: If it is not JSON.
        """
        text, place = self.value(what)
        return decode(text, str(self._path), place)

    def truncated(self, what: str) -> InputError:
        """Return the error that the file ends too early."""
        end = self._base + self.size
        return InputError(
            f"{self._path}, byte {end}",
            f"the file ends where {what} should go on: it is truncated",
            "Copy or write it again",
        )

    def _preview(self) -> str:
        text = self.data[self.at : min(self.at + 20, self.size)].tobytes()
        return repr(text.decode("ascii", "backslashreplace"))

    def _begin(self) -> None:
        if not self.more():
            raise InputError(self._path, "the file is empty", "Results without detections are written as []")
        head = self.data[:4].tobytes()
        kinds = {
            b"\x1f\x8b": "is compressed by gzip",
            b"PK\x03\x04": "is a zip archive",
            b"BZh": "is compressed by bzip2",
            b"\xfd7zX": "is compressed by xz",
            b"\x28\xb5\x2f\xfd": "is compressed by zstd",
            b"PAR1": "is a Parquet file",
            b"\xff\xfe": "is UTF-16 text",
            b"\xfe\xff": "is UTF-16 text",
        }
        for magic, what in kinds.items():
            if head.startswith(magic):
                remedy = "Write it as UTF-8" if "UTF" in what else "Unpack it first" if "PAR1" not in str(magic) else ""
                raise InputError(self._path, f"expected a JSON file, but it {what}", remedy)
        if head.startswith(b"\xef\xbb\xbf"):
            self.at = 3
            self.notes.append("the file begins with a byte order mark, which JSON does not have")
