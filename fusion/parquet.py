"""Parquet files in which every bit that a disk has lost is noticed.

Parquet's own checksums are those of pages, without their headers and without what stands at the file's end. So one
more is kept over all bytes up to there, and with it the number of rows.
"""

import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from fusion.errors import InputError
from fusion.places import Remote

__all__ = [
    "PART_KEY",
    "as_parquet",
    "check_bytes",
    "check_rows",
    "content_key",
    "opened",
    "parquet_writer",
    "part_key",
    "write_parquet",
]

PART_KEY = b"quorum-part"
"""In a file's schema: what the file was made of, for whoever would make it again."""

_KEY = b"quorum-bytes"
_FEW = ["image_id", "category_id", "member", "view", "votes"]  # columns in which values come again and again
_GROUP = 1 << 17  # rows of a row group, which are read at a time where only some are wanted
_BLOCK = 1 << 20
_CHECKED = {"page_checksum_verification": True}


@contextmanager
def as_parquet(path: Path) -> Iterator[None]:
    """Say in our words that a file cannot be read as Parquet."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if _begins_otherwise(path):
            remedy = "Make a table of a results file with `quorum import` or `quorum import`"
            raise InputError(path, "expected a Parquet file of detections, and it is none", remedy) from error
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            path, f"expected a Parquet file, but it cannot be read as one ({reason})", "Import the results again"
        ) from error


def _begins_otherwise(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) != b"PAR1"
    except OSError:
        return False


@contextmanager
def parquet_writer(path: Path, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """Give a function that appends tables of a schema to a new Parquet file with checksums."""
    rows = 0

    def write(arrow: pa.Table) -> None:
        nonlocal rows
        rows += len(arrow)
        writer.write_table(arrow, row_group_size=_GROUP)

    # floats with a dictionary take three times the time, and most often more room
    options = {"compression": "zstd", "write_page_checksum": True, "use_dictionary": _FEW}
    with path.open("wb") as file:
        sink = _Sink(file)
        with pq.ParquetWriter(pa.PythonFile(sink, mode="w"), schema, **options) as writer:
            yield write
            writer.add_key_value_metadata({_KEY.decode(): f"{sink.crc:08x} {sink.size} {rows}"})


def write_parquet(arrow: pa.Table, path: Path) -> None:
    """Write a table as a Parquet file with checksums."""
    with parquet_writer(path, arrow.schema) as write:
        write(arrow)


@contextmanager
def opened(path: Path, **options: Any) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file; its pages are compared with their checksums when they are read.

    Raises:
        InputError: If it is none, or damaged.
    """
    with as_parquet(path), _source(path) as source, pq.ParquetFile(source, **_CHECKED, **options) as file:
        check_rows(path, file.metadata)
        yield file


def check_rows(path: Path, metadata: pq.FileMetaData) -> None:
    """Require the number of rows that was written, where the file says it.

    Raises:
        InputError: If the file is damaged.
    """
    summary = _summary(path, metadata)
    if summary is not None and summary[2] != metadata.num_rows:
        raise _damaged(path)


def check_bytes(path: Path) -> None:
    """Require the bytes that were written, where the file says it.

    Raises:
        InputError: If it is no Parquet file, or damaged.
    """
    with as_parquet(path):
        summary = _summary(path, _footer(path))
        if summary is None:
            return
        crc, size, _ = summary
        found, left, block = 0, size, memoryview(bytearray(_BLOCK))
        with path.open("rb", buffering=0) as file:
            while left and (count := file.readinto(block[: min(left, _BLOCK)])):
                found = zlib.crc32(block[:count], found)
                left -= count
        if left or found != crc:
            raise _damaged(path)


def part_key(path: Path) -> str | None:
    """Return the key that a file was written under, by all that it was made of; None where it has none.

    Raises:
        InputError: If it cannot be read as Parquet.
    """
    with as_parquet(path):
        key = (_footer(path).schema.to_arrow_schema().metadata or {}).get(PART_KEY)
    return None if key is None else key.decode()


def content_key(path: Path) -> str:
    """Return what tells a file's content from any other's without reading all of it.

    Raises:
        InputError: If it cannot be read as Parquet.
    """
    with as_parquet(path):
        found = _footer(path)
        text = (found.metadata or {}).get(_KEY)
        state = path.stat()
        own = f"{state.st_size} {state.st_mtime_ns}" if text is None else text.decode()
        said = found.schema.to_arrow_schema().metadata or {}
        return f"{own} {b' '.join(said.get(name, b'') for name in sorted(said) if name != _KEY)!r}"


def _footer(path: Path) -> pq.FileMetaData:
    with _source(path) as source:
        return pq.read_metadata(source)


def _source(path: Path) -> AbstractContextManager[Any]:
    """Return what Arrow reads: the path itself on a disk, an open file in a store."""
    return path.open("rb") if isinstance(path, Remote) else nullcontext(path)


def _summary(path: Path, metadata: pq.FileMetaData) -> tuple[int, int, int] | None:
    """Return checksum, number of bytes and number of rows; None where a file, of an earlier version, has none."""
    text = (metadata.metadata or {}).get(_KEY)
    if text is None:
        return None
    try:
        crc, size, rows = text.split()
        return int(crc, 16), int(size), int(rows)
    except ValueError:
        raise _damaged(path) from None


def _damaged(path: Path) -> InputError:
    return InputError(path, "is damaged: it is not what was written", "Copy it again, or import the results again")


class _Sink:
    """A file that is written to, and the checksum of what was."""

    closed = False  # whoever opened the file closes it

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.crc = self.size = 0

    def write(self, data: Any) -> int:
        self.crc = zlib.crc32(data, self.crc)
        self.size += len(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def tell(self) -> int:
        return self.size

    def close(self) -> None:
        self.flush()
