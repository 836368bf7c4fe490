"""What became of the detections of a table in parts, as sorted runs on disk that are kept beside the parts.

Matching is local to an image; only the order of a category is not. So each piece of a part leaves a run: records in
order of (category, score descending, image, row). The runs of a part are one file, in the folder `.quorum/<key>` of the
table: the key stands for ground truth and protocol, and the file says of which part it is, so that the same evaluation
reads it again and another part's is made anew.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, is_dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.run_files import FOLDER, RunContent, StoredRun, kept_runs, write_runs
from fusion.errors import InputError, option
from fusion.in_order import cut
from fusion.in_turn import in_turn
from fusion.parquet import content_key
from fusion.places import Remote, place_of
from fusion.row_groups import rows_of
from fusion.shards import Shard
from fusion.storage import part_paths, read_metadata
from fusion.table import DetectionTable
from fusion.unnamed_files import unnamed_files

__all__ = ["SharesLeft", "StoredRuns", "key_of", "pieces_of", "runs_of"]

_VERSION = 1  # of the records and of what they mean: matching by other rules is another version
_ROWS = 1 << 20  # rows that are matched at a time
_MOST = 1 << 22  # rows of parts that are matched at a time
_KEPT, _DAY = 8, 86400  # evaluations whose runs are kept of a table; none that was read within a day is removed


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

    def rows_on(self, number: np.ndarray | None) -> int:
        """Return the number of rows of images that are not left out, which have -1 in `number`; None for all."""
        return int(self.rows.sum() if number is None else self.rows[number[self.images] >= 0].sum())

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


class SharesLeft(Exception):  # noqa: N818 - nothing is wrong
    """Not all parts are matched yet: the shares of others are left."""


def runs_of(
    path: str | os.PathLike[str],
    key: str,
    make: Callable[[Path], Iterable[RunContent]],
    image_ids: np.ndarray,
    progress: Callable[[str, int, int], None] | None = None,
    shard: Shard | None = None,
) -> StoredRuns:
    """Return the runs of a table: those that are kept, and new ones of parts that have none.

    Several parts are matched at a time, as long as they have few rows. Where nothing can be written beside the parts,
    or they lie in an object store, the runs are in an unnamed file.

    Args:
        path: A table on disk.
        key: Stands for all that the runs depend on but the parts.
        make: Matches a part.
        image_ids: [images] ids, for messages.
        progress: Called with (what, done, total) before each part.
        shard: Match only this share of the parts; the others are those of others.

    Raises:
        SharesLeft: If others have not matched all of their parts.
        InputError: As `make`; if an image is in two parts; if a share cannot be kept.
    """
    read_metadata(path)  # requires that all parts are there
    parts = part_paths(path)
    folder = _folder(place_of(path), key)
    runs = StoredRuns()
    contents = [content_key(part) for part in parts]
    spare = unnamed_files(runs, 1 if folder is None else 0)
    places = [spare[0] if folder is None else folder / f"{part.name}.run" for part in parts]
    found = [kept_runs(place, content) for place, content in zip(places, contents, strict=True)]
    own = (shard or Shard(0, 1)).of(len(parts))
    if folder is None and len(own) < len(parts):
        problem = "the matches of a share are kept beside the parts, and nothing can be written there"
        raise InputError(
            path, problem, f"Leave out {option('shard')}, or copy the table to a place that can be written"
        )
    missing = [number for number in own if found[number] is None]
    most = max(1, _MOST // max([1, *(rows_of(parts[number]) for number in missing)]))
    made = in_turn(lambda number: list(make(parts[number])), missing, most)
    seen = np.zeros(len(image_ids), np.bool_)
    for done, number in enumerate(own):
        if progress is not None:
            progress("matching", done, len(own))
        there = found[number]
        pieces = next(made) if there is None else [run.piece for run in there]
        _check_once(seen, pieces, image_ids, parts[number])
        found[number] = write_runs(pieces, places[number], contents[number]) if there is None else there
    for number in sorted({*range(len(parts))} - {*own}):
        found[number] = kept = kept_runs(places[number], contents[number])
        if kept is None:
            raise SharesLeft(f"{len(own)} of {len(parts)} parts are matched")
        _check_once(seen, [run.piece for run in kept], image_ids, parts[number])
    runs.runs += [run for kept in found for run in kept or ()]
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
    if isinstance(table, Remote) or not table.is_dir():
        return None
    folder = table / FOLDER / key
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


def pieces_of(table: DetectionTable) -> Iterator[DetectionTable]:
    """Yield a part in pieces of whole images that are matched at a time."""
    return cut(table, _ROWS)
