"""A JSON file read piece by piece, so that a list of any length needs bounded memory."""

import json
import os
import re
from collections.abc import Callable
from typing import Any

from fusion.errors import InputError
from fusion.source import Source, kind_of

__all__ = ["JsonFile", "TruncatedError", "decode", "decode_list"]

# Where one object of a list ends and the next begins. It may also match inside a record, which then
# does not decode and is joined with what follows.
_BETWEEN = re.compile(rb"\}[ \t\r\n]*,[ \t\r\n]*\{")
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)
_BLANK = b" \t\r\n"
_SPACE = re.compile(r"[ \t\r\n]*")
_COMMA = re.compile(r"[ \t\r\n]*,")
_LARGEST = 256 << 20
_HEAD = 4096


class JsonFile:
    """An open JSON file.

    Args:
        path: The file.
        block: Bytes that are read at a time.
        progress: Called with the bytes read so far and in all.

    Attributes:
        name: The file, for messages.
        first: The first byte that is not white space, b"" where there is none.
        notes: What was odd about the file.

    Raises:
        InputError: If it cannot be opened, is empty, or is not a JSON text by its first bytes.
    """

    def __init__(self, path: str | os.PathLike[str], block: int, progress: Callable[[int, int], None] | None) -> None:
        self._file = Source(path, "a COCO results file")
        self.name = self._file.name
        self._block, self._progress = block, progress
        self._ahead = b""
        self._taken = 0
        self.notes: list[str] = []
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    @property
    def offset(self) -> int:
        """Place of the next byte in the text."""
        return self._taken

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
        offset = self._taken + 1
        self._read(1)
        pieces: list[bytes] = []
        size = enough = 0
        while more := self._read(self._block):
            pieces.append(more)
            size += len(more)
            if size < enough:
                continue
            text, enough = b"".join(pieces), 0
            cut = _last_cut(text)
            if cut and not take(text[: cut[0]], offset, False):
                # between two objects within a record: where records end is told by counting brackets
                cut = _counted_cut(text)
                cut = cut if cut and take(text[: cut[0]], offset, False) else None
            if cut is None:
                begun = text.lstrip(_BLANK)
                text, offset = begun, offset + len(text) - len(begun)
                if len(text) > _LARGEST:
                    raise InputError(
                        f"{self.name}, byte {offset}",
                        f"a single record is larger than {_LARGEST >> 20} MB",
                        "The file is damaged, or not a results file",
                    )
                # all of it is looked at again: only when it has doubled, so that the work grows with the file
                enough = min(2 * len(text), _LARGEST + 1)
            else:
                text, offset = text[cut[1] :], offset + cut[1]
            pieces, size = [text], len(text)
        text = b"".join(pieces)
        body = text.rstrip()
        # without its bracket the text is taken as it is: it is refused with the right message
        take(body[:-1] if body.endswith(b"]") else body + b" ", offset, True)
        if not body.endswith(b"]"):
            raise TruncatedError(
                f"{self.name}, byte {offset + len(text)}",
                "the file ends before its list does: it is truncated",
                "Copy or write it again",
            )

    def _read(self, count: int) -> bytes:
        data = self._ahead if count < 0 else self._ahead[:count]
        self._ahead = self._ahead[len(data) :]
        data += self._file.read(-1 if count < 0 else count - len(data))
        self._taken += len(data)
        if self._progress is not None:
            self._progress(min(self._file.done, self._file.size), self._file.size)
        return data

    def _begin(self) -> None:
        text = self._file.read(_HEAD)
        if not text:
            raise InputError(self.name, "the file is empty", "Results without detections are written as []")
        kind = kind_of(text, "results")
        if kind is not None:
            raise InputError(self.name, f"expected COCO results in a JSON file, but it is {kind[0]}", kind[1])
        if text.startswith(b"\xef\xbb\xbf"):
            text, self._taken = text[3:], 3
            self.notes.append("the file begins with a byte order mark, which JSON does not have")
        while not (begun := text.lstrip(_BLANK)) and text:
            self._taken += len(text)
            text = self._file.read(self._block)
        self._taken += len(text) - len(begun)
        self._ahead, self.first = begun, begun[:1]


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


def _counted_cut(text: bytes) -> tuple[int, int] | None:
    """Return where the last whole record ends and where the next begins, as its brackets say."""
    depth, last = 0, None
    for token in _TOKEN.finditer(text):
        kind = token[0]
        depth += (kind in (b"{", b"[")) - (kind in (b"}", b"]"))
        if depth == 0 and kind == b"}":
            last = _BETWEEN.match(text, token.start()) or last
    return None if last is None else (last.start() + 1, last.end() - 1)


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
