"""What became of the detections of a table in parts, as sorted runs on disk that are kept beside the parts.

Matching is local to an image; only the order of a category is not. So each piece of a part leaves a run: records in
order of (category, score descending, image, row). The runs of a part are one file, in the folder `.quorum/<key>` of the
table: the key stands for ground truth and protocol, and the file says of which part it is, so that the same evaluation
reads it again and another part's is made anew.
"""

import contextlib
import itertools
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec
import numpy as np

from fusion.atomic import replacing
from fusion.errors import InputError
from fusion.in_turn import in_turn
from fusion.parquet import content_key
from fusion.row_groups import rows_of
from fusion.storage import part_paths, read_metadata
from fusion.unnamed_files import unnamed_files

__all__ = ["RunContent", "StoredRun", "StoredRuns", "key_of", "runs_of"]

_FOLDER = ".quorum"
_VERSION = 1  # of the records and of what they mean: matching by other rules is another version
_MOST = 1 << 22  # rows of parts that are matched at a time
_KEPT, _DAY = 8, 86400  # evaluations whose runs are kept of a table; none that was read within a day is removed
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
        return InputError(where, problem, f"Remove the folder {_FOLDER} of the table; its matches are found again")


class StoredRuns:
    """The runs of a table.

    Attributes:
        runs: In order of the parts.
        images: int32 [i], images that there are rows of, in no order.
        rows: int64 [i], rows of each.
    """

    def __init__(self) -> None:
        self.runs: list[StoredRun] = []

    @cached_property
    def images(self) -> np.ndarray:
        """See the class."""
        return np.concatenate([np.zeros(0, np.int32), *(run.piece.images for run in self.runs)])

    @cached_property
    def rows(self) -> np.ndarray:
        """See the class."""
        return np.concatenate([np.zeros(0, np.int64), *(run.piece.rows for run in self.runs)])

    @cached_property
    def beyond(self) -> np.ndarray:
        """int32 [c, 3], see `RunContent`."""
        return np.concatenate([np.zeros((0, 3), np.int32), *(run.piece.beyond for run in self.runs)])

    def noticed(self) -> dict[str, int]:
        """Return the numbers of all pieces, added up."""
        total: dict[str, int] = {}
        for run in self.runs:
            for name, count in run.piece.noticed.items():
                total[name] = total.get(name, 0) + count
        return total

    def sizes(self, categories: int) -> np.ndarray:
        """Return the number of records of each category, int64 [k]; every block has as many."""
        return sum((np.diff(run.piece.start[0]) for run in self.runs), np.zeros(categories, np.int64))

    def batches(self, categories: int, most: int) -> Iterator[tuple[int, int]]:
        """Yield the first category and one past the last of batches of at most so many records, or one category."""
        sizes = self.sizes(categories)
        low = 0
        while low < categories:
            fitting = int(np.searchsorted(np.cumsum(sizes[low:]), most, side="right"))
            high = min(low + max(fitting, 1), categories)
            yield low, high
            low = high

    def merged(
        self, block: int, low: int, high: int, record: np.dtype[Any], number: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Merge the records of some categories: by category, score descending; of equals by image, then as in a run.

        Args:
            block: Which block of thresholds.
            low: First category.
            high: One past the last.
            record: Has the fields "score" and "image".
            number: int32 [images], new number of each image, in the same order; -1 to leave it out. None for all.

        Returns:
            [n] records and int64 [high - low + 1], offsets of the categories.
        """
        pieces = [run.read(block, low, high, record) for run in self.runs]
        records = np.concatenate([np.zeros(0, record), *pieces])
        sizes = [np.diff(run.piece.start[block][low : high + 1]) for run in self.runs]
        repeated = np.tile(np.arange(high - low, dtype=np.int32), len(sizes))
        category = np.repeat(repeated, np.concatenate([np.zeros(0, np.int64), *sizes]))
        if number is not None:
            image = number[records["image"]]
            records["image"] = image
            records, category = records[image >= 0], category[image >= 0]
        order = np.lexsort((records["image"], -records["score"], category))
        start = np.concatenate(([0], np.cumsum(np.bincount(category, minlength=high - low))))
        return records[order], start


def key_of(*things: object) -> str:
    """Return what stands for arrays, numbers, texts, and tuples and dataclasses of them."""
    digest = blake2b(digest_size=16)
    _add(digest, (_VERSION, *things))
    return digest.hexdigest()


def _add(digest: Any, thing: object) -> None:
    if isinstance(thing, np.ndarray):
        digest.update(f"{thing.dtype.str}{thing.shape}".encode())
        digest.update(repr(thing.tolist()).encode() if thing.dtype == object else np.ascontiguousarray(thing).data)
    elif isinstance(thing, tuple):
        digest.update(f"({len(thing)}".encode())
        for one in thing:
            _add(digest, one)
    elif is_dataclass(thing):
        _add(digest, tuple(getattr(thing, field.name) for field in fields(thing)))
    else:
        digest.update(f"{thing!r};".encode())


def runs_of(
    path: str | os.PathLike[str],
    key: str,
    make: Callable[[Path], Iterable[RunContent]],
    image_ids: np.ndarray,
    progress: Callable[[str, int, int], None] | None = None,
) -> StoredRuns:
    """Return the runs of a table: those that are kept, and new ones of parts that have none.

    Several parts are matched at a time, as long as they have few rows. Where nothing can be written beside the parts,
    the runs are in an unnamed file.

    Args:
        path: A table on disk.
        key: Stands for all that the runs depend on but the parts.
        make: Matches a part.
        image_ids: [images] ids, for messages.
        progress: Called with (what, done, total) before each part.

    Raises:
        InputError: As `make`; if an image is in two parts.
    """
    read_metadata(path)  # requires that all parts are there
    parts = part_paths(path)
    folder = _folder(Path(path), key)
    runs = StoredRuns()
    contents = [content_key(part) for part in parts]
    spare = unnamed_files(runs, 1 if folder is None else 0)
    places = [spare[0] if folder is None else folder / f"{part.name}.run" for part in parts]
    found = [_kept(place, content) for place, content in zip(places, contents, strict=True)]
    missing = [number for number, one in enumerate(found) if one is None]
    most = max(1, _MOST // max([1, *(rows_of(parts[number]) for number in missing)]))
    made = in_turn(lambda number: list(make(parts[number])), missing, most)
    seen = np.zeros(len(image_ids), np.bool_)
    for number, part in enumerate(parts):
        if progress is not None:
            progress("matching", number, len(parts))
        own = found[number]
        pieces = next(made) if own is None else [run.piece for run in own]
        _check_once(seen, pieces, image_ids, part)
        runs.runs += _written(pieces, places[number], contents[number]) if own is None else own
    return runs


def _check_once(seen: np.ndarray, pieces: Iterable[RunContent], image_ids: np.ndarray, part: Path) -> None:
    for piece in pieces:
        twice = piece.images[seen[piece.images]]
        if len(twice):
            problem = f"image {image_ids[twice[0]]!r} is in another part, too"
            raise InputError(part, problem, "Write the table again in parts")
        seen[piece.images] = True


def _folder(table: Path, key: str) -> Path | None:
    """Return the folder for runs of a key, made where it is not there; None where it cannot be."""
    if not table.is_dir():
        return None
    folder = table / _FOLDER / key
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        if not os.access(folder, os.W_OK):
            return None
        others = sorted(folder.parent.iterdir(), key=lambda one: one.stat().st_mtime, reverse=True)
        for old in others[_KEPT:]:
            if old.stat().st_mtime < time.time() - _DAY:
                shutil.rmtree(old, ignore_errors=True)
    except OSError:
        return None
    return folder


def _written(pieces: list[RunContent], place: Path | IO[bytes], content: str) -> list[StoredRun]:
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


def _kept(place: Path | IO[bytes], content: str) -> list[StoredRun] | None:
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
