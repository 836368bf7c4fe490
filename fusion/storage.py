"""Detection tables on disk: one Parquet file, or a folder of parts; written atomically."""

import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fusion.atomic import replacing
from fusion.errors import InputError, option
from fusion.table import VERSION, DetectionTable, Metadata

__all__ = ["part_of", "part_paths", "read_metadata", "read_pieces", "read_table", "write_table"]

_KEY = b"quorum"


def read_table(path: str | os.PathLike[str]) -> DetectionTable:
    """Read a table: one Parquet file, or a folder of parts.

    Raises:
        InputError: If it is not there, is not a detection table, is of a newer version, or breaks a rule.
    """
    tables = [_read_part(part) for part in part_paths(path)]
    if len(tables) == 1:
        return tables[0]
    _check_agree(path, [table.metadata for table in tables])
    arrow = pa.concat_tables([table.arrow for table in tables]).unify_dictionaries()
    return DetectionTable.from_arrow(arrow, tables[0].metadata, path)


def read_metadata(path: str | os.PathLike[str]) -> tuple[Metadata, int]:
    """Return what a table on disk says about itself, and its number of rows, without reading these.

    Raises:
        InputError: As `read_table`, but for the rules that rows can break.
    """
    found, rows = [], 0
    for part in part_paths(path):
        with _as_parquet(part):
            file = pq.ParquetFile(part)
        found.append(_metadata_of(file.schema_arrow, part))
        rows += file.metadata.num_rows
    _check_agree(path, found)
    return found[0], rows


def read_pieces(path: str | os.PathLike[str], rows: int = 65536) -> Iterator[DetectionTable]:
    """Yield a table on disk in pieces of whole images, in bounded memory.

    Args:
        path: A Parquet file or a folder of parts.
        rows: How many are read at a time; a piece has about as many, or those of one image.

    Raises:
        InputError: As `read_table`, and if an image is in several pieces.
    """
    metadata, _ = read_metadata(path)
    seen: set[int | str] = set()
    for part in part_paths(path):
        for piece in _pieces(part, metadata, rows):
            ids = piece.image_ids.tolist()
            again = seen.intersection(ids)
            if again:
                raise InputError(
                    part,
                    f"image {next(iter(again))!r} occurs again after others: the rows are not sorted by image",
                    "Read it with fusion.read_table and write it again",
                )
            seen.update(ids)
            yield piece


def part_paths(path: str | os.PathLike[str]) -> list[Path]:
    """Return the files of a table: itself, or the parts of a folder in order.

    Raises:
        InputError: If there is nothing at `path`, or a folder without parts.
    """
    place = Path(path)
    if not place.exists():
        raise InputError(place, "there is no such file or folder")
    if not place.is_dir():
        return [place]
    parts = sorted(place.glob("part-*.parquet"))
    if not parts:
        raise InputError(
            place,
            "expected a Parquet file or a folder of part-*.parquet files, got a folder without any",
            "Name the tables in it one by one",
        )
    return parts


def write_table(table: DetectionTable, path: str | os.PathLike[str], *, parts: int | None = None) -> None:
    """Write a table atomically: one Parquet file, or a folder of parts.

    The part of an image depends on its id and the number of parts only, so the same image is in the
    same part of every member's table.

    Args:
        table: What to write.
        path: A file; with `parts`, a folder that does not exist yet.
        parts: Number of parts; None for one file.

    Raises:
        InputError: If the place cannot be written to.
    """
    if parts is None:
        with replacing(path) as temporary:
            _write_part(table, temporary)
        return
    part = np.repeat(part_of(table.image_ids, parts), np.diff(table.image_start))
    with replacing(path, folder=True) as folder:
        for number in range(parts):
            rows = replace(table, arrow=table.arrow.filter(pa.array(part == number)).combine_chunks())
            _write_part(rows, folder / f"part-{number:05d}.parquet")


def part_of(image_ids: np.ndarray, parts: int) -> np.ndarray:
    """Return the part number of each image, from its id alone: int64 [n]."""
    if parts < 1:
        raise InputError(f"option {option('parts')}", f"expected a whole number of at least 1, got {parts!r}")
    if image_ids.dtype == object:
        return np.array([zlib.crc32(str(name).encode()) % parts for name in image_ids], dtype=np.int64)
    with np.errstate(over="ignore"):
        mixed = image_ids.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return ((mixed >> np.uint64(32)) % np.uint64(parts)).astype(np.int64)


def _write_part(table: DetectionTable, path: Path) -> None:
    metadata = {_KEY: msgspec.json.encode(table.metadata)}
    pq.write_table(table.arrow.replace_schema_metadata(metadata), path, compression="zstd")


def _pieces(path: Path, metadata: Metadata, rows: int) -> Iterator[DetectionTable]:
    rest: pa.Table | None = None
    with _as_parquet(path):
        for batch in pq.ParquetFile(path, pre_buffer=False).iter_batches(rows):
            arrow = pa.Table.from_batches([batch])
            if rest is not None:
                arrow = pa.concat_tables([rest, arrow]).unify_dictionaries()
            table = DetectionTable.from_arrow(arrow, metadata, path)
            if not len(table):
                continue
            last = int(table.image_start[-2])  # the last image may go on in the next batch
            rest = table.arrow.slice(last)
            if last:
                yield replace(table, arrow=table.arrow.slice(0, last))
    if rest is not None and len(rest):
        yield DetectionTable.from_arrow(rest, metadata, path)


def _read_part(path: Path) -> DetectionTable:
    with _as_parquet(path):
        arrow = pq.read_table(path)
    return DetectionTable.from_arrow(arrow, _metadata_of(arrow.schema, path), path)


@contextmanager
def _as_parquet(path: Path) -> Iterator[None]:
    """Say in our words that a file cannot be read as Parquet."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            path, f"expected a Parquet file, but it cannot be read as one ({reason})", "Import the results again"
        ) from error


def _metadata_of(schema: pa.Schema, path: Path) -> Metadata:
    text = (schema.metadata or {}).get(_KEY)
    if text is None:
        raise InputError(
            path,
            f"is a Parquet file but not a detection table; its columns are {', '.join(schema.names[:12])}",
            "Make one with `quorum import`",
        )
    return _decode_metadata(text, path)


def _check_agree(path: str | os.PathLike[str], metadata: Sequence[Metadata]) -> None:
    if any(other != metadata[0] for other in metadata):
        raise InputError(
            path, "its parts disagree in their metadata", "Do not mix parts of different tables in a folder"
        )


def _decode_metadata(text: bytes, path: Path) -> Metadata:
    try:
        version = msgspec.json.decode(text)["version"]
        if version > VERSION:
            raise InputError(
                path,
                f"is a table of version {version}, this software knows versions up to {VERSION}",
                "Update quorum-detection",
            )
        return msgspec.structs.replace(msgspec.json.decode(text, type=Metadata), version=VERSION)
    except (msgspec.MsgspecError, TypeError, KeyError) as error:
        raise InputError(path, f"its table metadata cannot be read ({error})", "Import the results again") from error
