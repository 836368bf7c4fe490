"""Detections as the search passes them from node to node: columns that are sorted already, without a table around.

A recipe hands tables from step to step, and each step sorts what it pools. In a search that is most of the work.
A sheet keeps the rows of a node's answer in the order that the next node would sort them into, so two
sheets are merged instead of sorted. What comes out at the root is, to the last bit, the recipe's answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from fusion.columns import Columns, sort_columns
from fusion.corners import FAR, unlike_sum
from fusion.kernels.jit import chunks, run
from fusion.masks import taken
from fusion.table import DetectionTable, Metadata
from fusion.table_columns import MASK_TYPE
from search.kernels.sheets import settle_cells

__all__ = ["Boxes", "FoldSides", "Grid", "Leaves", "Sheet", "leaves_of", "offsets", "sorting", "table_of", "weighted"]

_NONE = np.zeros(0, np.int32)
_EQUAL = np.zeros((0, 0, 4))


class FoldSides(NamedTuple):
    """Weights of the sides of members' boxes in means, as learned without each fold of the images.

    Attributes:
        weight: float64 [folds, m, 4].
        image_id: [images], ascending.
        fold: int64 [images].
    """

    weight: np.ndarray
    image_id: np.ndarray
    fold: np.ndarray


@dataclass(frozen=True, eq=False)
class Grid:
    """The (image, category) cells in which any member has detections.

    Attributes:
        image_ids: Ids of the dense image indices, ascending: int64, or object array of str.
        category_ids: int32, ids of the dense category indices, ascending.
        image: int32 [cells], ascending.
        category: int32 [cells], ascending within an image.
        fold: int64 [cells], of the image; of size 0 where sides have no weights.
        masks: Of all members' rows, one member behind the other; None where no member has masks.
        corners: Whether a member has far sides that x + w does not give.
        metadata: Of the tables.
    """

    image_ids: np.ndarray
    category_ids: np.ndarray
    image: np.ndarray
    category: np.ndarray
    fold: np.ndarray
    masks: pa.StructArray | None
    corners: bool
    metadata: Metadata


class Boxes(NamedTuple):
    """Columns of boxes, in the order in which sheets have them; see `Sheet`."""

    x1: np.ndarray
    y1: np.ndarray
    x2: np.ndarray
    y2: np.ndarray
    w: np.ndarray
    h: np.ndarray


@dataclass(frozen=True, eq=False, slots=True)
class Sheet:
    """Rows by (cell, score descending, rank).

    Attributes:
        start: int64 [cells + 1], offsets of the grid's cells.
        x1: float64 [n], as are y1, x2, y2, w and h.
        y1: Top.
        x2: Right: x1 + w, but for rows whose source gave corners.
        y2: Bottom.
        w: Width.
        h: Height.
        score: float64 [n].
        member: int16 [n], from 0 to `members` - 1.
        rank: int32 [n], place of the row in the table that the recipe has here, as far as the order in cells goes;
            of size 0 where the rows are in that order.
        source: int32 [n], row of the grid's masks; of size 0 without masks.
        members: How many members the rows may come from.
        boxes: See `Metadata.boxes`.
        sides: float64 [folds, members, 4], weights of the sides of each member's boxes in means; of size 0 where all
            are equal.
    """

    start: np.ndarray
    x1: np.ndarray
    y1: np.ndarray
    x2: np.ndarray
    y2: np.ndarray
    w: np.ndarray
    h: np.ndarray
    score: np.ndarray
    member: np.ndarray
    rank: np.ndarray
    source: np.ndarray
    members: int
    boxes: str
    sides: np.ndarray

    def __len__(self) -> int:
        return len(self.score)

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """Its columns and offsets."""
        return (
            self.start, *self.boxes_of(slice(None)), self.score, self.member, self.rank, self.source,
        )  # fmt: skip

    def boxes_of(self, rows: Any) -> Boxes:
        """Return the boxes of some rows."""
        return Boxes(*(column[rows] for column in (self.x1, self.y1, self.x2, self.y2, self.w, self.h)))

    @property
    def nbytes(self) -> int:
        """Size of its columns."""
        return sum(array.nbytes for array in self.arrays)


@dataclass(frozen=True, eq=False)
class Leaves:
    """Members sorted: a grid and a sheet for each."""

    grid: Grid
    sheets: tuple[Sheet, ...]


def leaves_of(tables: Sequence[DetectionTable], sides: FoldSides | None = None) -> Leaves:
    """Sort members' tables into sheets of one grid.

    Args:
        tables: One per member.
        sides: Weights of the sides of their boxes in means; none where all are equal.
    """
    image_ids = np.unique(np.concatenate([t.image_ids for t in tables if len(t)] or [np.zeros(0, np.int64)]))
    category_ids = np.unique(np.concatenate([table.category_id for table in tables])).astype(np.int32)
    k = max(len(category_ids), 1)
    columns = [_sorted(table, image_ids, category_ids) for table in tables]
    keys = [part.image.astype(np.int64) * k + part.category for part in columns]
    cells = np.unique(np.concatenate(keys))
    has_masks = any(table.mask is not None for table in tables)
    sheets, begin = [], 0
    for number, (table, part, key) in enumerate(zip(tables, columns, keys, strict=True)):
        counts = np.zeros(len(cells), np.int64)
        counts[np.searchsorted(cells, key)] = np.diff(part.start)
        x2, y2 = (table.far(name)[part.row] for name in "xy")
        w, h = (table.column(name).astype(np.float64)[part.row] for name in "wh")
        rank = part.row.astype(np.int32)
        source = rank + np.int32(begin) if has_masks else _NONE
        begin += len(table)
        member = np.zeros(len(table), np.int16)
        boxes = Boxes(part.x1, part.y1, x2, y2, w, h)
        own = _EQUAL if sides is None else sides.weight[:, number : number + 1]
        sheets.append(Sheet(offsets(counts), *boxes, part.score, member, rank, source, 1, table.metadata.boxes, own))
    masks = None
    if has_masks:
        parts = [pa.nulls(len(t), MASK_TYPE) if t.mask is None else t.mask for t in tables]
        masks = pa.concat_arrays([part.cast(MASK_TYPE) for part in parts])
    image, category = np.divmod(cells, k)
    corners = any(table.known_far(near) is not None for table in tables for near in FAR)
    fold = _NONE if sides is None else sides.fold[np.searchsorted(sides.image_id, image_ids)][image]
    grid = Grid(
        image_ids,
        category_ids,
        image.astype(np.int32),
        category.astype(np.int32),
        fold,
        masks,
        corners,
        tables[0].metadata,
    )
    return Leaves(grid, tuple(sheets))


def _sorted(table: DetectionTable, image_ids: np.ndarray, category_ids: np.ndarray) -> Columns:
    image = np.repeat(np.searchsorted(image_ids, table.image_ids).astype(np.int32), np.diff(table.image_start))
    category = np.searchsorted(category_ids, table.category_id).astype(np.int32)
    x, y = table.column("x"), table.column("y")
    return sort_columns(image, category, table.score, x, y, x, y, np.zeros(len(table), np.int16))


def weighted(sheet: Sheet, weight: float) -> Sheet:
    """Return a sheet with its scores multiplied."""
    score = sheet.score * weight
    order = sorting(sheet.start, score, sheet.rank)
    if order is None:
        return replace(sheet, score=score)
    # scores that differed by a last bit have become equal
    member, rank = sheet.member[order], sheet.rank[order]
    source = sheet.source[order] if len(sheet.source) else _NONE
    boxes = sheet.boxes_of(order)
    return Sheet(sheet.start, *boxes, score[order], member, rank, source, sheet.members, sheet.boxes, sheet.sides)


def table_of(grid: Grid, sheet: Sheet) -> DetectionTable:
    """Return a sheet as the table that the recipe has here, without the columns that evaluation does not look at."""
    cell = np.repeat(np.arange(len(grid.image)), np.diff(sheet.start))
    image, category = grid.image[cell], grid.category_ids[grid.category[cell]]
    columns = {"score": sheet.score, "x": sheet.x1, "y": sheet.y1, "w": sheet.w, "h": sheet.h}
    if grid.corners:
        columns |= {"x2": unlike_sum(sheet.x1, sheet.w, sheet.x2), "y2": unlike_sum(sheet.y1, sheet.h, sheet.y2)}
    source = sheet.source
    if len(sheet.rank):
        order = np.lexsort((sheet.rank, image))
        image, category = image[order], category[order]
        columns = {name: column[order] for name, column in columns.items()}
        source = source[order] if len(source) else source
    if grid.image_ids.dtype == object:
        ids = pa.DictionaryArray.from_arrays(pa.array(image), pa.array(grid.image_ids, pa.string()))
    else:
        ids = pa.array(grid.image_ids[image] if len(image) else np.zeros(0, np.int64))
    arrays = {name: pa.array(column, from_pandas=name in FAR.values()) for name, column in columns.items()}
    data: dict[str, Any] = {"image_id": ids, "category_id": pa.array(category), **arrays}
    if grid.masks is not None:
        data["mask"] = taken(grid.masks, source)
    # the columns are of valid tables and operators: they need no check
    return DetectionTable(pa.table(data), msgspec.structs.replace(grid.metadata, boxes=sheet.boxes, member=None))


def offsets(counts: np.ndarray) -> np.ndarray:
    """Return where each cell begins, int64 [cells + 1]."""
    start = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=start[1:])
    return start


def sorting(start: np.ndarray, score: np.ndarray, rank: np.ndarray) -> np.ndarray | None:
    """Return the order of rows by (cell, score descending, rank); None where it is the one they have."""
    order = np.empty(len(score), np.int64)
    changed = run(lambda low, high: settle_cells(low, high, start, score, rank, order), chunks(start))
    return order if any(changed) else None
