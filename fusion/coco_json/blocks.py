"""A JSON file read piece by piece, so that a list of any length needs bounded memory."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fusion.errors import InputError

__all__ = ["JsonFile", "TruncatedError", "decode", "decode_list"]

# Where one object of a list ends and the next begins. It may also match inside a record, which then
# does not decode and is joined with what follows.
_BETWEEN = re.compile(rb"\}[ \t\r\n]*,[ \t\r\n]*\{")
_SPACE = re.compile(r"[ \t\r\n]*")
_COMMA = re.compile(r"[ \t\r\n]*,")
_LARGEST = 256 << 20
_MAGIC = {
    b"\x1f\x8b": "is compressed by gzip",
    b"PK\x03\x04": "is a zip archive",
    b"BZh": "is compressed by bzip2",
    b"\xfd7zX": "is compressed by xz",
    b"\x28\xb5\x2f\xfd": "is compressed by zstd",
    b"PAR1": "is a Parquet file",
    b"\xff\xfe": "is UTF-16 text",
    b"\xfe\xff": "is UTF-16 text",
}


class JsonFile:
    """An open JSON file.

    Args:
        path: The file.
        block: Bytes that are read at a time.
        progress: Called with the bytes read so far and in all.

    Attributes:
        first: The first byte that is not white space, b"" where there is none.
        notes: What was odd about the file.

    Raises:
        InputError: If it cannot be opened, is empty, or is not a JSON text by its first bytes.
    """

    def __init__(self, path: Path, block: int, progress: Callable[[int, int], None] | None) -> None:
        if path.is_dir():
            raise InputError(path, "expected a JSON file, got a directory", "Name a file in it")
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise InputError(path, f"cannot be read: {(error.strerror or str(error)).lower()}") from error
        self._path, self._block, self._progress = path, block, progress
        self._total = os.fstat(self._file.fileno()).st_size
        self.notes: list[str] = []
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    @property
    def offset(self) -> int:
        """Place of the next byte in the file."""
        return self._file.tell()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def whole(self) -> bytes:
        """Return the rest of the file."""
        return self._read(-1)

    def blocks(self, take: Callable[[bytes, int, bool], bool]) -> None:
        """Hand the text between the brackets of a list over, cut between its objects.

        Args:
            take: Called with (text, its place in the file, whether it is the last); False says that
                the text ends inside a record, and that it wants it again with what follows.

        Raises:
            InputError: If the file ends before the list, or goes on after it.
        """
        offset = self._file.tell() + 1
        text = self._read(1)[1:]
        while True:
            more = self._read(self._block)
            text += more
            if not more:
                break
            cut = _last_cut(text)
            if cut and take(text[: cut[0]], offset, False):
                text, offset = text[cut[1] :], offset + cut[1]
            elif len(text) > _LARGEST:
                raise InputError(
                    f"{self._path}, byte {offset}",
                    f"a single record is larger than {_LARGEST >> 20} MB",
                    "The file is damaged, or not a results file",
                )
        body = text.rstrip()
        # without its bracket the text is taken as it is: it is refused with the right message
        take(body[:-1] if body.endswith(b"]") else body + b" ", offset, True)
        if not body.endswith(b"]"):
            raise TruncatedError(
                f"{self._path}, byte {offset + len(text)}",
                "the file ends before its list does: it is truncated",
                "Copy or write it again",
            )

    def _read(self, count: int) -> bytes:
        try:
            data = self._file.read(count)
        except OSError as error:
            raise InputError(self._path, f"cannot be read: {(error.strerror or str(error)).lower()}") from error
        if self._progress is not None:
            self._progress(min(self._file.tell(), self._total), self._total)
        return data

    def _begin(self) -> None:
        head = self._file.read(4)
        if not head:
            raise InputError(self._path, "the file is empty", "Results without detections are written as []")
        for magic, what in _MAGIC.items():
            if head.startswith(magic):
                raise InputError(
                    self._path, f"expected a JSON file, but it {what}", "Give the JSON text itself, as UTF-8"
                )
        if head.startswith(b"\xef\xbb\xbf"):
            self._file.seek(3)
            self.notes.append("the file begins with a byte order mark, which JSON does not have")
        else:
            self._file.seek(0)
        while (byte := self._file.read(1)) and byte in b" \t\r\n":
            pass
        self.first = byte
        if byte:
            self._file.seek(-1, os.SEEK_CUR)


def _last_cut(text: bytes) -> tuple[int, int] | None:
    """Return where the last whole object ends and where the next begins."""
    # the last match is looked for near the end first: records are short
    for low in (max(len(text) - 65536, 0), 0):
        last = None
        for match in _BETWEEN.finditer(text, low):
            last = match
        if last is not None:
            return last.start() + 1, last.end() - 1
    return None


class TruncatedError(InputError):
    """The text ends before its JSON value does."""


def decode(text: bytes, where: str, offset: int) -> Any:
    """Decode JSON text with the standard library, which also takes NaN and Infinity.

    Args:
        text: The text.
        where: The file.
        offset: Place of its first byte in the file.

    Raises:
        TruncatedError: If it ends too early.
        InputError: If it is not JSON; the byte is named.
    """
    try:
        return json.loads(text.decode())
    except UnicodeDecodeError as error:
        raise InputError(
            f"{where}, byte {offset + error.start}", "expected UTF-8 text, got other bytes", "Write the file as UTF-8"
        ) from error
    except json.JSONDecodeError as error:
        byte = offset + len(error.doc[: error.pos].encode("utf-8", "surrogatepass"))
        problem = error.msg[0].lower() + error.msg[1:]
        if byte >= offset + len(text.rstrip()) or error.msg.startswith("Unterminated"):
            raise TruncatedError(
                f"{where}, byte {byte}",
                f"the file is truncated: {problem}",
                "Copy or write it again",
            ) from error
        remedy = "Write the file again"
        if error.msg == "Extra data":
            remedy = "Write one list; one record on each line is not a COCO results file"
        raise InputError(f"{where}, byte {byte}", f"is not JSON: {problem}", remedy) from error
    except RecursionError as error:
        raise InputError(f"{where}, byte {offset}", "is nested too deep to be results") from error
    except ValueError as error:  # an integer of more digits than Python converts
        raise InputError(f"{where}, byte {offset}", "holds a number of thousands of digits") from error


def decode_list(body: bytes, where: str, offset: int, first: int) -> list[Any]:
    """Decode what stands between the brackets of a list; see `decode`.

    Args:
        body: The text.
        where: The file.
        offset: Place of its first byte in the file.
        first: Number of its first record, for messages.
    """
    try:
        records: list[Any] = decode(b"[" + body + b"]", where, offset - 1)
    except InputError as error:
        # find the record: those before it decode one by one
        text, at, number = body.decode(errors="replace"), 0, first
        scan = json.JSONDecoder().raw_decode
        try:
            while True:
                at = _COMMA.match(text, scan(text, _SPACE.match(text, at).end())[1]).end()  # type: ignore[union-attr]
                number += 1
        except (ValueError, AttributeError, RecursionError):
            place = error.where.replace(where, f"{where}, record {number}", 1)
            ends = error.where.endswith(f" {offset + len(body)}")  # at the bracket that is not the file's
            raise (TruncatedError if ends else type(error))(place, error.problem, error.remedy) from error
    return records
