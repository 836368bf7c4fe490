"""Detection tables on disk: one Parquet file, or a folder of parts; written atomically."""

import os
import zlib
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fusion.atomic import replacing
from fusion.errors import InputError
from fusion.table import VERSION, DetectionTable, Metadata

__all__ = ["part_of", "part_paths", "read_table", "write_table"]

_KEY = b"quorum"


def read_table(path: str | os.PathLike[str]) -> DetectionTable:
    """Read a table: one Parquet file, or a folder of parts.

    Raises:
        InputError: If it is not there, is not a detection table, is of a newer version, or breaks a rule.
    """
    tables = [_read_part(part) for part in part_paths(path)]
    if len(tables) == 1:
        return tables[0]
    if any(table.metadata != tables[0].metadata for table in tables):
        raise InputError(
            path, "its parts disagree in their metadata", "Do not mix parts of different tables in a folder"
        )
    arrow = pa.concat_tables([table.arrow for table in tables]).unify_dictionaries()
    return DetectionTable.from_arrow(arrow, tables[0].metadata, path)


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
        raise InputError("option parts", f"expected a whole number of at least 1, got {parts!r}")
    if image_ids.dtype == object:
        return np.array([zlib.crc32(str(name).encode()) % parts for name in image_ids], dtype=np.int64)
    with np.errstate(over="ignore"):
        mixed = image_ids.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return ((mixed >> np.uint64(32)) % np.uint64(parts)).astype(np.int64)


def _write_part(table: DetectionTable, path: Path) -> None:
    metadata = {_KEY: msgspec.json.encode(table.metadata)}
    pq.write_table(table.arrow.replace_schema_metadata(metadata), path, compression="zstd")


def _read_part(path: Path) -> DetectionTable:
    try:
        arrow = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            path, f"expected a Parquet file, but it cannot be read as one ({reason})", "Import the results again"
        ) from error
    text = (arrow.schema.metadata or {}).get(_KEY)
    if text is None:
        raise InputError(
            path,
            f"is a Parquet file but not a detection table; its columns are {', '.join(arrow.column_names[:12])}",
            "Make one with `quorum import`",
        )
    return DetectionTable.from_arrow(arrow, _decode_metadata(text, path), path)


def _decode_metadata(text: bytes, path: Path) -> Metadata:
    try:
        version = msgspec.json.decode(text)["version"]
        if version > VERSION:
            raise InputError(
                path,
                f"is a table of version {version}, this software knows versions up to {VERSION}",
                "Update quorum-detection",
            )
        return msgspec.json.decode(text, type=Metadata)
    except (msgspec.MsgspecError, TypeError, KeyError) as error:
        raise InputError(path, f"its table metadata cannot be read ({error})", "Import the results again") from error
