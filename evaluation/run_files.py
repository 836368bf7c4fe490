"""Files of sorted runs: records of matched detections, and at the end what the file says about itself.

Every byte is covered by a checksum: of each category's records, and of the end.
"""

import contextlib
import itertools
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec
import numpy as np

from fusion.atomic import replacing
from fusion.errors import InputError

__all__ = ["FOLDER", "RunContent", "StoredRun", "kept_runs", "write_runs"]

FOLDER = ".quorum"
"""In the folder of a table, for what can be made again."""

_END = 12  # bytes of a file after what it says about itself: the length of that, and a checksum


class RunContent(NamedTuple):
    """Records of some images.

    Attributes:
        records: [n] structs for each block of thresholds, by (category, score descending, image, row).
        start: int64 [k + 1] for each block, offsets of the categories.
        images: int32 [i], images that there are rows of, ascending.
        rows: int64 [i], rows of each.
        beyond: int32 [c, 3]: image, category and number of the detections that are looked at and have no record.
        noticed: Numbers to add up.
    """

    records: tuple[np.ndarray, ...]
    start: tuple[np.ndarray, ...]
    images: np.ndarray
    rows: np.ndarray
    beyond: np.ndarray
    noticed: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class StoredRun:
    """A piece on disk.

    Attributes:
        place: A file's path, or an open file without a name.
        offset: Where each block begins, in bytes.
        crc: uint32 [k] for each block, of the records of each category.
        piece: All of it but the records.
    """

    place: Path | IO[bytes]
    offset: tuple[int, ...]
    crc: tuple[np.ndarray, ...]
    piece: RunContent

    def read(self, block: int, low: int, high: int, record: np.dtype[Any]) -> np.ndarray:
        """Return the records of the categories `low` to `high - 1`.

        Raises:
            InputError: If the file is gone or damaged.
        """
        start = self.piece.start[block][low : high + 1]
        found = np.empty(int(start[-1] - start[0]), record)
        if not len(found):
            return found
        with self._opened() as file:
            file.seek(self.offset[block] + int(start[0]) * record.itemsize)
            count = file.readinto(found.view(np.uint8).data)  # type: ignore[attr-defined]
        places = (start - start[0]).tolist()
        crc = [zlib.crc32(found[a:b].data) for a, b in itertools.pairwise(places)]
        if count != found.nbytes or crc != self.crc[block][low:high].tolist():
            raise self._damaged("is damaged")
        return found

    @contextlib.contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        if not isinstance(self.place, Path):
            yield self.place
            return
        try:
            with self.place.open("rb") as file:
                yield file
        except OSError as error:
            raise self._damaged(f"cannot be read: {error.strerror}") from error

    def _damaged(self, problem: str) -> InputError:
        where = "matches" if not isinstance(self.place, Path) else self.place
        return InputError(where, problem, f"Remove the folder {FOLDER} of the table; its matches are found again")


def write_runs(pieces: list[RunContent], place: Path | IO[bytes], content: str) -> list[StoredRun]:
    """Write the records of a part, atomically where the file has a name.

    Args:
        pieces: In order of the images.
        place: A file's path, or an open file without a name.
        content: Stands for the part.
    """
    if not isinstance(place, Path):
        return _append(place, place, pieces)
    with replacing(place) as temporary, temporary.open("wb") as file:
        runs = _append(place, file, pieces)
        _say(file, runs, content)
    return runs


def _append(place: Path | IO[bytes], file: IO[bytes], pieces: list[RunContent]) -> list[StoredRun]:
    runs = []
    for piece in pieces:
        offset, crc = [], []
        for records, start in zip(piece.records, piece.start, strict=True):
            offset.append(file.tell())
            file.write(np.ascontiguousarray(records).data)
            places = start.tolist()
            sums = [zlib.crc32(records[a:b].data) for a, b in itertools.pairwise(places)]
            crc.append(np.array(sums, np.uint32))
        runs.append(StoredRun(place, tuple(offset), tuple(crc), piece._replace(records=())))
    file.flush()
    return runs


class _Said(msgspec.Struct, array_like=True):
    """What a file says of a run; arrays are bytes."""

    offset: list[int]
    crc: list[bytes]
    start: list[bytes]
    images: bytes
    rows: bytes
    beyond: bytes
    noticed: dict[str, int]


class _AllSaid(msgspec.Struct, array_like=True):
    content: str
    size: int  # bytes of records before
    runs: list[_Said]


def _say(file: IO[bytes], runs: list[StoredRun], content: str) -> None:
    said = []
    for run in runs:
        piece = run.piece
        crc, start = ([column.tobytes() for column in columns] for columns in (run.crc, piece.start))
        images, rows, beyond = (column.tobytes() for column in (piece.images, piece.rows, piece.beyond))
        said.append(_Said(list(run.offset), crc, start, images, rows, beyond, dict(piece.noticed)))
    text = msgspec.msgpack.encode(_AllSaid(content, file.tell(), said))
    file.write(text + len(text).to_bytes(8, "little") + zlib.crc32(text).to_bytes(4, "little"))


def kept_runs(place: Path | IO[bytes], content: str) -> list[StoredRun] | None:
    """Return the runs that are kept of a part; None where there are none, or they are not of its content."""
    if not isinstance(place, Path) or not place.is_file():
        return None
    try:
        with place.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - _END, 0))
            end = file.read()
            length = int.from_bytes(end[:8], "little")
            if size < _END + length:
                return None
            file.seek(size - _END - length)
            text = file.read(length)
        if zlib.crc32(text) != int.from_bytes(end[8:], "little"):
            return None
        all_said = msgspec.msgpack.decode(text, type=_AllSaid)
    except (OSError, msgspec.MsgspecError):
        return None
    if all_said.content != content or all_said.size != size - _END - length:
        return None
    runs = []
    for said in all_said.runs:
        start = tuple(np.frombuffer(column, np.int64) for column in said.start)
        images, rows = np.frombuffer(said.images, np.int32), np.frombuffer(said.rows, np.int64)
        beyond = np.frombuffer(said.beyond, np.int32).reshape(-1, 3)
        crc = tuple(np.frombuffer(column, np.uint32) for column in said.crc)
        runs.append(
            StoredRun(place, tuple(said.offset), crc, RunContent((), start, images, rows, beyond, said.noticed))
        )
    return runs
