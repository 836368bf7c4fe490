"""Detection tables on disk: one Parquet file, or a folder of parts; written atomically."""

import os
import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fusion.arrow_arrays import arrow_array, numpy_array
from fusion.atomic import replacing
from fusion.corners import FAR
from fusion.errors import InputError, Warned, option
from fusion.parquet import PART_KEY, check_bytes, opened, write_parquet
from fusion.places import Remote, manifest_of, place_of
from fusion.row_groups import WantedImages, read_groups
from fusion.table import VERSION, DetectionTable, Metadata, Part
from fusion.table_columns import OPTIONAL

__all__ = [
    "BY_ID",
    "check_parts",
    "image_ids_of",
    "part_name",
    "part_of",
    "part_paths",
    "read_metadata",
    "read_pieces",
    "read_table",
    "write_table",
]

BY_ID = "id"
"""The rule of `part_of`."""

_KEY = b"quorum"
_CHECKSUM = b"quorum-crc32"  # of the former, which no checksum of the file is over
_MOST_PARTS = 512
_BUFFER = 1 << 16  # bytes of a column that are read at a time, of files that are gone through in pieces
_SPARED = OPTIONAL.keys() - set(FAR.values())  # columns without which boxes are the same


def read_table(
    path: str | os.PathLike[str], *, images: npt.ArrayLike | None = None, columns: Collection[str] | None = None
) -> DetectionTable:
    """Read a table: one Parquet file, or a folder of parts.

    Args:
        path: The file or folder.
        images: [n] ids, to read the rows of these alone, some row groups at a time: memory is that of what is wanted
            and of one row group. Ids without detections are fine.
        columns: Which of the optional columns are wanted, such as `mask`; all by default. A table without one of them
            is fine.

    Raises:
        InputError: If it is not there, is not a detection table, is of a newer version, or breaks a rule.
    """
    paths = part_paths(path)
    wanted = None if images is None else WantedImages.of(images)
    tables = [_read_part(part, wanted, columns) for part in paths]
    metadata = _joined(path, paths, [table.metadata for table in tables])
    if len(tables) == 1:
        return tables[0].with_metadata(part=metadata.part)
    _check_once(paths, [table.image_ids for table in tables])
    arrow = pa.concat_tables([table.arrow for table in tables]).unify_dictionaries()
    return DetectionTable.from_arrow(arrow, metadata, path)


def read_metadata(path: str | os.PathLike[str]) -> tuple[Metadata, int]:
    """Return what a table on disk says about itself, and its number of rows, without reading these.

    Raises:
        InputError: As `read_table`, but for the rules that rows can break.
    """
    found, rows, paths = [], 0, part_paths(path)
    for part in paths:
        with opened(part) as file:
            found.append(_metadata_of(file.schema_arrow, part))
            rows += file.metadata.num_rows
    return _joined(path, paths, found), rows


def image_ids_of(path: Path) -> np.ndarray:
    """Return the images that one file has detections of, ascending, without reading more than their column.

    Raises:
        InputError: If the file cannot be read.
    """
    with opened(path) as file:
        column = file.read(["image_id"])["image_id"].combine_chunks()
        if pa.types.is_dictionary(column.type):
            return np.array(sorted(column.unique().to_pylist()), dtype=object)
        return np.unique(numpy_array(column))


def read_pieces(path: str | os.PathLike[str], rows: int = 65536) -> Iterator[DetectionTable]:
    """Yield a table on disk in pieces of whole images, in bounded memory.

    Args:
        path: A Parquet file or a folder of parts.
        rows: How many are read at a time; a piece has about as many, or those of one image.

    Raises:
        InputError: As `read_table`, and if an image is in several pieces.
    """
    metadata, _ = read_metadata(path)
    metadata = msgspec.structs.replace(metadata, part=None)
    seen: set[int | str] = set()
    for part in part_paths(path):
        for piece in _pieces(part, metadata, rows):
            ids = piece.image_ids.tolist()
            again = seen.intersection(ids)
            if again:
                raise InputError(
                    part,
                    f"image {next(iter(again))!r} occurs again after others: the rows are not sorted by image",
                    "Import the results again",
                )
            seen.update(ids)
            yield piece


def part_paths(path: str | os.PathLike[str]) -> list[Path]:
    """Return the files of a table: itself, or the parts of a folder in order.

    Raises:
        InputError: If there is nothing at `path`, or a folder without parts.
    """
    place = place_of(path)
    if not place.exists():
        raise InputError(place, "there is no such file or folder")
    if not place.is_dir():
        return [place]
    if isinstance(place, Remote):
        return _stored_parts(place)
    parts = sorted(place.glob("part-*.parquet"))
    if not parts:
        raise InputError(
            place,
            "expected a Parquet file or a folder of part-*.parquet files, got a folder without any",
            "Name the tables in it one by one",
        )
    for number, part in enumerate(parts):
        if part.name != part_name(number):
            raise InputError(place, f"{part_name(number)} is missing", "Copy or make all of its parts again")
    return parts


def _stored_parts(place: Remote) -> list[Path]:
    """Return the parts of a folder in an object store, as its manifest has them."""
    names = manifest_of(place)
    if names is None:
        problem = "is no whole table: there is no manifest, which is written when all parts are there"
        raise InputError(place, problem, "Wait for what writes it, or copy a table with `quorum repart`")
    missing = set(names) - {part.name for part in place.glob("part-*.parquet")}
    if missing:
        raise InputError(place, f"{min(missing)} is missing", "Copy or make all of its parts again")
    return [place / name for name in names]


def write_table(
    table: DetectionTable,
    path: str | os.PathLike[str],
    *,
    parts: int | None = None,
    part: Part | None = None,
    key: str | None = None,
) -> None:
    """Write a table atomically: one Parquet file, or a folder of parts.

    The part of an image depends on its id and the number of parts only, so the same image is in the
    same part of every member's table.

    Args:
        table: What to write.
        path: A file; with `parts`, a folder that does not exist yet.
        parts: Number of parts, at most 512; None for one file.
        part: Which part of a folder a file is; None for a whole table.
        key: Stands for all that the file is made of, for whoever would make it again (`fusion.parquet.part_key`).

    Raises:
        InputError: If the place cannot be written to.
    """
    if parts is None:
        with replacing(path) as temporary:
            _write_part(table.with_metadata(part=part), temporary, key)
        return
    # 16 bits: sorted in linear time
    numbers = np.repeat(part_of(table.image_ids, parts).astype(np.uint16), np.diff(table.image_start))
    order = np.argsort(numbers, kind="stable")
    start = np.concatenate(([0], np.cumsum(np.bincount(numbers, minlength=parts))))
    with replacing(path, folder=True) as folder:
        for number in range(parts):
            rows = replace(table, arrow=table.arrow.take(arrow_array(order[start[number] : start[number + 1]])))
            part = Part(rule=BY_ID, count=parts, number=number)
            _write_part(rows.with_metadata(part=part), folder / part_name(number))


def check_parts(parts: int) -> None:
    """Require a number of parts that makes sense.

    Raises:
        InputError: If it does not.
    """
    if not 1 <= parts <= _MOST_PARTS:
        problem = f"expected a whole number from 1 to {_MOST_PARTS}, got {parts!r}"
        raise InputError(f"option {option('parts')}", problem, "Parts are for memory: one holds a share of all images")


def part_of(image_ids: np.ndarray, parts: int) -> np.ndarray:
    """Return the part number of each image, from its id alone: int64 [n]."""
    check_parts(parts)
    if image_ids.dtype == object:
        return np.array([zlib.crc32(str(name).encode()) % parts for name in image_ids], dtype=np.int64)
    with np.errstate(over="ignore"):
        mixed = image_ids.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return ((mixed >> np.uint64(32)) % np.uint64(parts)).astype(np.int64)


def _write_part(table: DetectionTable, path: Path, key: str | None = None) -> None:
    text = msgspec.json.encode(table.metadata, enc_hook=Warned.plain)
    metadata = {_KEY: text, _CHECKSUM: b"%08x" % zlib.crc32(text)}
    if key is not None:
        metadata[PART_KEY] = key.encode()
    write_parquet(table.arrow.replace_schema_metadata(metadata), path)


def part_name(number: int) -> str:
    """Return the name of the file of a part."""
    return f"part-{number:05d}.parquet"


def _pieces(path: Path, metadata: Metadata, rows: int) -> Iterator[DetectionTable]:
    rest: pa.Table | None = None
    check_bytes(path)
    with opened(path, pre_buffer=False, buffer_size=_BUFFER) as file:
        for batch in file.iter_batches(rows):
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


def _read_part(path: Path, wanted: WantedImages | None, columns: Collection[str] | None) -> DetectionTable:
    if wanted is None and columns is None:
        check_bytes(path)  # of less, the pages' own checksums are looked at
    with opened(path) as file:
        schema = file.schema_arrow
        metadata = _metadata_of(schema, path)
        part = metadata.part
        if wanted is not None and part is not None and part.rule == BY_ID:
            wanted = wanted.of_part(part_of(wanted.ids, part.count) == part.number)
        names = None if columns is None else [name for name in schema.names if name not in _SPARED or name in columns]
        arrow = read_groups(file, wanted, names)
        table = DetectionTable.from_arrow(arrow, metadata, path)
    if part is not None and part.rule == BY_ID:
        wrong = table.image_ids[part_of(table.image_ids, part.count) != part.number]
        if len(wrong):
            problem = f"image {wrong.tolist()[0]!r} belongs in another part than number {part.number} of {part.count}"
            raise InputError(path, problem, "Do not mix parts of different tables in a folder")
    return table


def _metadata_of(schema: pa.Schema, path: Path) -> Metadata:
    stored = schema.metadata or {}
    text = stored.get(_KEY)
    if text is None:
        raise InputError(
            path,
            f"is a Parquet file but not a detection table; its columns are {', '.join(schema.names[:12])}",
            "Make one with `quorum import`",
        )
    if _CHECKSUM in stored and stored[_CHECKSUM] != b"%08x" % zlib.crc32(text):
        raise InputError(path, "what it says about itself is damaged", "Copy it again, or import the results again")
    return _decode_metadata(text, path)


def _joined(path: str | os.PathLike[str], paths: Sequence[Path], found: Sequence[Metadata]) -> Metadata:
    """Return what a table says about itself by what its files say; all parts of a folder must be there, each once.

    Raises:
        InputError: If a part is missing, is another one than its name says, or is of another table.
    """
    if not place_of(path).is_dir():
        return found[0]
    whole = [msgspec.structs.replace(metadata, part=None) for metadata in found]
    counts = {None if metadata.part is None else (metadata.part.rule, metadata.part.count) for metadata in found}
    if len(counts) > 1 or any(other != whole[0] for other in whole):
        raise InputError(
            path, "its parts disagree in their metadata", "Do not mix parts of different tables in a folder"
        )
    for number, (own, metadata) in enumerate(zip(paths, found, strict=True)):
        part = metadata.part
        if part is None:
            continue  # of an earlier version
        if part.count != len(paths):
            missing = f": {part_name(len(paths))} is missing" if part.count > len(paths) else ""
            problem = f"it is a table in {part.count} parts, but has {len(paths)}{missing}"
            raise InputError(path, problem, "Copy or make all of its parts again")
        if part.number != number:
            problem = f"is part number {part.number} of its table, not {number} as its name says"
            raise InputError(own, problem, "Copy or make all of its parts again")
    return whole[0]


def _check_once(paths: Sequence[Path], ids: Sequence[np.ndarray]) -> None:
    """Require that no image is in two parts."""
    owner: dict[int | str, Path] = {}
    for path, images in zip(paths, ids, strict=True):
        for image in images.tolist():
            if owner.setdefault(image, path) != path:
                problem = f"image {image!r} is in {owner[image].name}, too"
                raise InputError(path, problem, "Do not mix parts of different tables in a folder")


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
