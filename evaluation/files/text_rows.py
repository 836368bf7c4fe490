"""Text files with a box per line, a file per image or per category, read at once."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from evaluation.files.file_bytes import file_bytes
from fusion.errors import InputError

__all__ = ["TextRows"]

_MARKS = (b"\xff\xfe", b"\xfe\xff")
_UNEVEN = (b"\t", b"  ", b" \n", b"\n ", b"\n\n")


class TextRows:
    """The lines of some text files, words with spaces between; blank lines do not count.

    Args:
        folder: Where the files are.
        names: The files, relative to it.
        what: What a file is, for messages: "YOLO text".
        separator: What stands between words: a space (or several, or tabs), or a comma.

    Raises:
        InputError: If a file cannot be read, or is no text.
    """

    def __init__(self, folder: Path, names: Sequence[str], what: str, separator: str = " ") -> None:
        self.folder, self.names, self._what, self._separator = folder, tuple(names), what, separator
        texts = [_text(folder / name, what) for name in names]
        whole = b"\n".join(texts)
        mark = separator.encode()
        if whole.startswith(b"\n") or any(odd in whole for odd in (_UNEVEN if separator == " " else _UNEVEN[2:])):
            texts = [_even(text, mark) for text in texts]
            whole = b"\n".join(text for text in texts if text)
        elif b"" in texts:
            whole = b"\n".join(text for text in texts if text)
        self._whole = whole
        self.count = np.array([text.count(b"\n") + 1 if text else 0 for text in texts], np.int64)

    def __len__(self) -> int:
        return int(self.count.sum())

    @property
    def file(self) -> np.ndarray:
        """The file of each row: int32 [n]."""
        return np.repeat(np.arange(len(self.names), dtype=np.int32), self.count)

    @cached_property
    def width(self) -> int:
        """Number of words of the first row; 0 where there is none."""
        return len(self._words(self._whole.partition(b"\n")[0])) if len(self) else 0

    def columns(self, types: Sequence[pa.DataType]) -> list[pa.ChunkedArray] | None:
        """Return the columns of rows that all have so many words; None where a row has more or fewer.

        Raises:
            InputError: If a word is not of its type; the file and line are named.
        """
        if not len(self):
            return [pa.chunked_array([], kind) for kind in types]
        names = [str(place) for place in range(len(types))]
        read = arrow_csv.ReadOptions(column_names=names, block_size=1 << 22)
        parse = arrow_csv.ParseOptions(delimiter=self._separator, quote_char=False, double_quote=False)
        convert = arrow_csv.ConvertOptions(
            column_types=dict(zip(names, types, strict=True)), null_values=[], strings_can_be_null=False
        )
        try:
            table = arrow_csv.read_csv(pa.py_buffer(self._whole), read, parse, convert)
        except pa.ArrowInvalid as error:
            rows = list(self.rows())
            if any(len(words) != len(types) for _, words in rows):
                return None
            for row, words in rows:
                for number, (word, kind) in enumerate(zip(words, types, strict=True), 1):
                    if pa.types.is_floating(kind) and not _is_number(word):
                        where = f"{self.place(row)}, word {number}"
                        raise InputError(where, f"expected a number, got {word[:40]!r}", "Mend the line") from error
            raise InputError(self.folder, f"expected {self._what} ({str(error).splitlines()[0]})") from error
        return [table[name] for name in names]

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield number and words of each row."""
        for row, line in enumerate(self._whole.split(b"\n") if len(self) else ()):
            yield row, self._words(line)

    def place(self, row: int) -> str:
        """Say in which file and line a row stands: "a.txt, line 3"."""
        ends = np.cumsum(self.count)
        file = int(np.searchsorted(ends, row, side="right"))
        nth = row - int(ends[file] - self.count[file])
        lines = file_bytes(self.folder / self.names[file], self._what).replace(b"\r", b"").split(b"\n")
        filled = [number for number, line in enumerate(lines, 1) if line.strip(b"\xef\xbb\xbf \t")]
        return f"{self.folder / self.names[file]}, line {filled[nth]}"

    def within(self, row: int) -> str:
        """Say the same without the folder."""
        return self.place(row).removeprefix(f"{self.folder}/")

    def _words(self, line: bytes) -> list[str]:
        return [word.strip() for word in line.decode().split(self._separator)]


def _text(path: Path, what: str) -> bytes:
    data = file_bytes(path, what)
    if data.startswith(_MARKS):
        data = data.decode("utf-16").encode()
    data = data.removeprefix(b"\xef\xbb\xbf")
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    try:
        data.isascii() or data.decode()
    except UnicodeDecodeError as error:
        problem = f"expected {what}, got bytes that are no UTF-8 text"
        raise InputError(f"{path}, byte {error.start}", problem, "Write it as UTF-8") from error
    return data.strip(b"\n \t")


def _even(text: bytes, mark: bytes) -> bytes:
    """Return a text with one mark between words and no blank line."""
    if mark == b" ":
        return b"\n".join(b" ".join(words) for line in text.split(b"\n") if (words := line.split()))
    return b"\n".join(stripped for line in text.split(b"\n") if (stripped := line.strip()))


def _is_number(word: str) -> bool:
    try:
        pa.scalar(word).cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return True
