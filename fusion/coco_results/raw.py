"""The detections of a results file as they stand there: numbers in columns, ids and names not yet joined."""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from fusion.arrow_arrays import arrow_array
from fusion.coco_results.records import NamedResult, Problems, Result
from fusion.coco_results.stored import StoredColumns
from fusion.kernels.rle_check import fitting_runs
from fusion.table_columns import MASK_TYPE

__all__ = ["Keys", "RawColumns", "RawGatherer", "RecordKey", "counted"]

_IN_MEMORY = 1 << 22  # records, of more the columns are kept on disk
_SPAN = 1 << 13  # ids of a block that lie so near to one another are told apart by a table


class RecordKey(NamedTuple):
    """What a record says of its image or category: an id, a name, or both; never neither."""

    id: int | str | None
    name: str | None


class Keys:
    """The different keys of a file, numbered in the order in which they come.

    Attributes:
        all: The keys.
    """

    def __init__(self) -> None:
        self.all: list[RecordKey] = []
        self._place: dict[Any, int] = {}

    def codes(self, ids: list[Any], names: list[str | None] | None) -> np.ndarray:
        """Return the number of each record's key, int32 [n]."""
        if names is None and set(map(type, ids)) == {int}:
            column = np.array(ids, np.int64)
            low, span = int(column.min()), int(column.max()) - int(column.min())
            if span < _SPAN:
                column -= low
                there = np.flatnonzero(np.bincount(column))
                table = np.zeros(span + 1, np.int32)
                table[there] = [self._code(i + low, None) for i in there.tolist()]
                found: np.ndarray = table[column]
                return found
            # records are grouped by image: of a run of one id only the first is sorted
            new = np.concatenate(([True], column[1:] != column[:-1]))
            heads, place = np.unique(column[new], return_inverse=True)
            codes = np.array([self._code(i, None) for i in heads.tolist()], np.int32)[place]
            repeated: np.ndarray = codes[np.cumsum(new) - 1]
            return repeated
        return np.array(list(map(self._code, ids, names or [None] * len(ids))), np.int32)

    def _code(self, number: int | str | None, name: str | None) -> int:
        key: Any = number if name is None else (number, name)
        place = self._place.get(key)
        if place is None:
            place = self._place[key] = len(self.all)
            self.all.append(RecordKey(number, name))
        return place


class RawColumns(NamedTuple):
    """The records of a file.

    Attributes:
        images: The different images.
        image: int32 [n], index into them.
        categories: The different categories.
        category: int32 [n], index into them.
        score: float64 [n].
        box: float64 [n, 4], four numbers in the file's format; NaN where a record has no box.
        mask: [n] masks, null where a record has none; None where no record has one.
        number: int64 [n], number of the record in the file.
        forget: Lets go of the memory of what was read of columns on disk.
    """

    images: list[RecordKey]
    image: np.ndarray
    categories: list[RecordKey]
    category: np.ndarray
    score: np.ndarray
    box: np.ndarray
    mask: pa.ChunkedArray | None
    number: np.ndarray
    forget: Callable[[], None] = lambda: None

    def part(self, low: int, high: int) -> "RawColumns":
        """Return the records `low` to `high - 1`."""
        self.forget()
        rows = slice(low, high)
        mask = None if self.mask is None else self.mask.slice(low, high - low)
        columns = self.category[rows], self.score[rows], self.box[rows], mask, self.number[rows]
        return RawColumns(self.images, self.image[rows], self.categories, *columns)


def counted(codes: np.ndarray, count: int, of: np.ndarray | None = None, kept: np.ndarray | None = None) -> np.ndarray:
    """Return how often each of `count` codes occurs, int64, without a copy of a column that lies on disk.

    Args:
        codes: int32 [n].
        count: Number of different codes.
        of: int32 [n], another code of each; None counts all.
        kept: bool, which of those count.
    """
    found = np.zeros(count, np.int64)
    for low in range(0, len(codes), _IN_MEMORY):
        some = codes[low : low + _IN_MEMORY]
        if of is not None and kept is not None:
            some = some[kept[of[low : low + _IN_MEMORY]]]
        found += np.bincount(some, minlength=count)
    return found


class RawGatherer:
    """Takes records block by block, checks what can be checked of each by itself, and gathers the columns.

    Args:
        problems: Where faults of records go.
    """

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._images, self._categories = Keys(), Keys()
        self._image: list[np.ndarray] = []
        self._category: list[np.ndarray] = []
        self._score: list[np.ndarray] = []
        self._box: list[np.ndarray] = []
        self._mask: list[pa.Array] = []
        self._number: list[np.ndarray] = []
        self._masked = False
        self._rows, self._stored = 0, StoredColumns()

    def take(self, results: Sequence[Result] | Sequence[NamedResult], number: np.ndarray) -> None:
        """Take over records, all of one of the two types.

        Args:
            results: The records.
            number: int64 [n], their numbers in the file.
        """
        if not results:
            return
        images, categories = None, None
        if isinstance(results[0], NamedResult):
            images = [result.image for result in results]  # type: ignore[union-attr]
            categories = [result.category_name for result in results]  # type: ignore[union-attr]
            images = images if any(images) else None
            categories = categories if any(categories) else None
        self._image.append(self._images.codes([result.image_id for result in results], images))
        self._category.append(self._categories.codes([result.category_id for result in results], categories))
        self._score.append(np.array([result.score for result in results], dtype=np.float64))
        self._mask.append(self._masks_of(results, number))
        self._box.append(self._boxes(results, number))
        self._number.append(number)
        self._rows += len(number)
        if self._rows >= _IN_MEMORY:
            self._store()

    def columns(self) -> RawColumns:
        """Return what was gathered; of many records the columns lie on disk and are mapped into memory."""
        if self._stored:
            self._store()
            image, category, score, box, number = self._stored.arrays()
            mask = self._stored.masks() if self._masked else None
            columns = category, score, box, mask, number, self._stored.forget
            return RawColumns(self._images.all, image, self._categories.all, *columns)
        return RawColumns(
            self._images.all,
            np.concatenate([np.zeros(0, np.int32), *self._image]),
            self._categories.all,
            np.concatenate([np.zeros(0, np.int32), *self._category]),
            np.concatenate([np.zeros(0), *self._score]),
            np.concatenate([np.zeros((0, 4)), *self._box]),
            pa.chunked_array(self._mask) if self._masked else None,
            np.concatenate([np.zeros(0, np.int64), *self._number]),
        )

    def _store(self) -> None:
        lists = self._image, self._category, self._score, self._box, self._number
        self._stored.append([np.concatenate(column) for column in lists if column], self._mask)
        for column in (*lists, self._mask):
            column.clear()
        self._rows = 0

    def _masks_of(self, results: Sequence[Any], number: np.ndarray) -> pa.StructArray:
        """Return the mask column, null where a mask is missing or damaged."""
        masks = [result.segmentation for result in results]
        if masks.count(None) == len(masks):
            return pa.nulls(len(masks), MASK_TYPE)
        counts = pa.array([None if mask is None else mask.counts for mask in masks], pa.string()).cast(pa.binary())
        size = np.array([(0, 0) if mask is None else mask.size for mask in masks], dtype=np.int64).clip(0, 2**31 - 1)
        there = np.array([mask is not None for mask in masks])
        _, ends, text = counts.buffers()
        fits = fitting_runs(
            np.frombuffer(text, np.uint8) if text is not None else np.zeros(0, np.uint8),
            np.frombuffer(ends, np.int32)[: len(masks) + 1],
            there,
            size,
        )
        for row in np.flatnonzero(~fits).tolist():
            got = f"runs that do not, for size {size[row].tolist()}"
            remedy = "Encode these masks again"
            self._problems.add(int(number[row]), "segmentation", "a mask whose runs fill its size", got, remedy)
        there &= fits
        self._masked |= bool(there.any())
        sides = [arrow_array(np.ascontiguousarray(side), pa.int32()) for side in size.T.astype(np.int32)]
        return pa.StructArray.from_arrays(
            [*sides, counts.cast(pa.large_binary())], fields=list(MASK_TYPE), mask=arrow_array(~there)
        )

    def _boxes(self, results: Sequence[Any], number: np.ndarray) -> np.ndarray:
        given = [result.bbox for result in results]
        if None in given:
            missing = (np.nan,) * 4
            for row, result in enumerate(results):
                if result.bbox is None and result.segmentation is None:
                    wanted = "a bbox or a segmentation in every record"
                    self._problems.add(int(number[row]), "bbox", wanted, "neither", "Mend these records")
            given = [missing if box is None else box for box in given]
        return np.fromiter(chain.from_iterable(given), np.float64, 4 * len(given)).reshape(-1, 4)
