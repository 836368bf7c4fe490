"""Parquet files in which every bit that a disk has lost is noticed.

Parquet's own checksums are those of pages, without their headers and without what stands at the file's end. So one
more is kept over all bytes up to there, and with it the number of rows.
"""

import mmap
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from fusion.errors import InputError

__all__ = ["as_parquet", "check_bytes", "check_rows", "opened", "parquet_writer", "write_parquet"]

_KEY = b"quorum-bytes"


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
        writer.write_table(arrow)

    options = {"compression": "zstd", "write_page_checksum": True}
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
    with as_parquet(path), pq.ParquetFile(path, page_checksum_verification=True, **options) as file:
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
        summary = _summary(path, pq.read_metadata(path))
        if summary is None:
            return
        crc, size, _ = summary
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            view = memoryview(content)
            with view, view[:size] as written:
                found = zlib.crc32(written)
            if size > len(content) or found != crc:
                raise _damaged(path)


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
