"""Columns of a CSV file, with their names and values checked."""

import csv
import io
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from fusion.errors import InputError
from fusion.source import STANDARD_INPUT, Source
from fusion.text import encoding_of, open_text

__all__ = ["TEXT", "CsvFile", "codes_of", "read_csv"]

_AS_UTF8 = "Write it as UTF-8"
TEXT = pa.dictionary(pa.int32(), pa.string())
"""Type of a column in which the same words come back."""


@dataclass(frozen=True, eq=False)
class CsvFile:
    """Columns of one file.

    Attributes:
        path: The file, for messages.
        table: Its columns, one chunk each.
        lines: int64 [n], line of each row in the file; the header is line 1.
    """

    path: Path
    table: pa.Table
    lines: np.ndarray

    @classmethod
    def of(cls, path: Path, table: pa.Table, lines: np.ndarray) -> "CsvFile":
        """Make each column one chunk."""
        return cls(path, table.unify_dictionaries().combine_chunks(), lines)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __contains__(self, name: str) -> bool:
        return name in self.table.column_names

    def numbers(self, name: str) -> np.ndarray:
        """Return a column of numbers, float64; NaN where a field is empty."""
        return np.asarray(self.table[name].to_numpy(), dtype=np.float64)

    def texts(self, name: str) -> pa.DictionaryArray:
        """Return a column of words."""
        column = self.table[name]
        return column.chunk(0) if column.num_chunks else pa.array([], pa.string()).dictionary_encode()

    def filled(self, name: str) -> np.ndarray:
        """Return where a column is not empty, bool [n]."""
        return np.asarray(self.table[name].is_valid().to_numpy(), dtype=bool)

    def select(self, rows: np.ndarray) -> "CsvFile":
        """Return some rows; their lines are still those of the file."""
        return CsvFile.of(self.path, self.table.take(pa.array(rows)), self.lines[rows])

    def require(self, good: np.ndarray, name: str, expected: str, remedy: str = "Mend or drop the row") -> None:
        """Check a column.

        Raises:
            InputError: If `good`, bool [n], is not true everywhere; the first such line is named.
        """
        wrong = np.flatnonzero(~good)
        if len(wrong):
            value = self.table[name][int(wrong[0])].as_py()
            more = f"; {len(wrong)} rows are so" if len(wrong) > 1 else ""
            where = f"{self.path}, line {self.lines[wrong[0]]}, column {name}"
            raise InputError(
                where, f"expected {expected}, got {'nothing' if value is None else repr(value)}{more}", remedy
            )


def read_csv(
    path: str | os.PathLike[str],
    required: Mapping[str, pa.DataType],
    optional: Mapping[str, pa.DataType] | None = None,
    delimiter: str = ",",
) -> CsvFile:
    """Read some columns of a file; all others are left alone.

    Args:
        path: The file, which may be compressed by gzip, zstd, bzip2 or xz, and UTF-8 or UTF-16; numbers may have
            decimal commas.
        required: Type of each column that there must be.
        optional: Type of each column that is read where there is one.
        delimiter: What stands between fields.

    Raises:
        InputError: If the file is not there, a column is missing, or a field is not of its type.
    """
    place = Path(path)
    types = dict(required) | dict(optional or {})
    source = _plain(place)
    header = _header(place if isinstance(source, Path) else io.StringIO(_first_line(source)), place, delimiter)
    missing = [name for name in required if name not in header]
    if missing:
        raise InputError(
            place,
            f"column {', '.join(missing)} is missing; it has {', '.join(header[:20]):.300}",
            "The columns needed are " + ", ".join(required),
        )
    doubled = sorted({name for name in types if header.count(name) > 1})
    if doubled:
        raise InputError(place, f"column {', '.join(doubled)} occurs twice", "Remove one of them")
    wanted = [name for name in types if name in header]
    parse = arrow_csv.ParseOptions(delimiter=delimiter)

    def read(decimal: str, threads: bool) -> pa.Table:
        convert = arrow_csv.ConvertOptions(
            include_columns=wanted,
            column_types={name: types[name] for name in wanted},
            strings_can_be_null=True,
            null_values=[""],
            decimal_point=decimal,
        )
        return arrow_csv.read_csv(source, arrow_csv.ReadOptions(use_threads=threads), parse, convert)

    try:
        table = read(".", True)
    except pa.ArrowInvalid as wrong:
        try:
            if "conversion error" not in str(wrong) or "," not in str(wrong).rpartition("invalid value")[2]:
                raise
            table = read(",", True)
        except pa.ArrowInvalid:
            try:  # once more, slowly: without threads it says which row is wrong
                read(".", False)
            except pa.ArrowInvalid as error:
                raise _named(place, error, header) from error
            raise
    return CsvFile.of(place, table, np.arange(2, 2 + table.num_rows))


def codes_of(words: pa.DictionaryArray, known: Mapping[str, int]) -> np.ndarray:
    """Return the number of each word, int32 [n]; -1 where it is empty or not known."""
    table = np.array([known.get(word, -1) for word in words.dictionary.to_pylist()] + [-1], dtype=np.int32)
    return np.asarray(table[words.indices.fill_null(len(words.dictionary)).to_numpy()])


def _plain(place: Path) -> Path | pa.Buffer:
    """Return a file as it is where pyarrow can read it so, else its text in memory."""
    source = Source(place, "a CSV file")
    try:
        head = source.read(2)
        encoding = encoding_of(head)
        if source.compression is None and encoding != "utf-16" and str(place) != STANDARD_INPUT:
            return place
        data = head + source.read()
    finally:
        source.close()
    if encoding == "utf-16":
        try:
            data = data.decode(encoding).encode()
        except UnicodeError as error:
            raise InputError(place, f"is not UTF-16 text, although it begins so ({error})", _AS_UTF8) from error
    return pa.py_buffer(data)


def _first_line(data: pa.Buffer) -> str:
    line: bytes = data.to_pybytes().partition(b"\n")[0]
    return line.decode("utf-8-sig", errors="replace")


def _header(given: Path | io.StringIO, place: Path, delimiter: str) -> list[str]:
    try:
        with open_text(given, "a CSV file", errors="replace") if isinstance(given, Path) else given as file:
            names = next(csv.reader(file, delimiter=delimiter), [])  # reading the rows says which one is no text
    except csv.Error as error:
        raise InputError(place, f"expected a CSV file ({error})", "Is it the right file?") from error
    if any("\ufffd" in name for name in names):
        raise InputError(f"{place}, line 1", f"is not UTF-8 text, it begins with {','.join(names)!r:.60}", _AS_UTF8)
    if not names:
        raise InputError(place, "expected a CSV file, got nothing in its first line", "Is it the right file?")
    return names


def _named(place: Path, error: Exception, header: Sequence[str]) -> InputError:
    """Turn pyarrow's message into ours."""
    text = str(error).splitlines()[0]
    row = re.search(r"Row #(\d+)", text)
    column = re.search(r"column #(\d+)", text)
    where = str(place) + (f", line {row[1]}" if row else "")
    where += f", column {header[int(column[1])]}" if column and int(column[1]) < len(header) else ""
    value = re.search(r"conversion error to (\w+).*?: invalid value '(.*)'", text)
    if value:
        kind = "a whole number" if "int" in value[1] else "a number"
        return InputError(where, f"expected {kind}, got {value[2]!r:.60}", "Mend or drop the row")
    if "invalid UTF8" in text:
        return InputError(where, "is not UTF-8 text", _AS_UTF8)
    problem = re.sub(r"^CSV parse error: (Row #\d+: )?", "", text)
    return InputError(where, problem[0].lower() + problem[1:], "Mend or drop the row")
