"""Two sheets merged, and what a node of a tree does with them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from fusion.columns import Columns, Fused
from fusion.kernels.jit import chunks, run
from fusion.kernels.partners import pair_cells
from fusion.kernels.support import supported_rows
from fusion.steps.dropout import Dropout
from fusion.steps.support import Support
from search.genome import blended, with_sides
from search.kernels.sheets import lower_cells, merge_cells
from search.sheet import Boxes, Grid, Sheet, offsets

__all__ = ["Merged", "dropped", "fused", "merge", "pooled", "supported"]

_POSITION = np.int64(0xFFFFFFFF)
_NONE = np.zeros(0, np.int32)
# What the kernels of sheets read and write, in their order.
_ARRAYS = ("x1", "y1", "x2", "y2", "w", "h", "score", "member", "row", "source")


@dataclass(frozen=True, eq=False)
class Merged:
    """Sheets merged: what a step sees of a pool. Arrays are by position, in order of (cell, score descending, rank).

    Attributes:
        grid: Of the sheets.
        start: int64 [cells + 1], offsets of the grid's cells.
        x1: float64 [n], as are y1, x2, y2, w and h.
        y1: Top.
        x2: Right.
        y2: Bottom.
        w: Width.
        h: Height.
        score: float64 [n].
        member: int16 [n].
        row: int64 [n], the rank in the upper and the position in the lower 32 bits: steps break ties by row, and
            the rows they answer with lead to the position.
        source: int32 [n], as in `Sheet`.
        count: Number of members.
        first: Number of rows of the first sheet; their ranks come first.
        boxes: See `Metadata.boxes`.
        sides: As in `Sheet`.
    """

    grid: Grid
    start: np.ndarray
    x1: np.ndarray
    y1: np.ndarray
    x2: np.ndarray
    y2: np.ndarray
    w: np.ndarray
    h: np.ndarray
    score: np.ndarray
    member: np.ndarray
    row: np.ndarray
    source: np.ndarray
    count: int
    first: int
    boxes: str
    sides: np.ndarray

    def boxes_of(self, rows: Any) -> Boxes:
        """Return the boxes of some rows."""
        return Boxes(*(column[rows] for column in (self.x1, self.y1, self.x2, self.y2, self.w, self.h)))

    @property
    def members(self) -> tuple[str, ...]:
        """Names, as steps want them."""
        return tuple(map(str, range(self.count)))

    @property
    def voices(self) -> tuple[tuple[str, ...], np.ndarray]:
        """Whose weights the sides of boxes have, as `Pool.voices`: a member has others in each fold."""
        fold = np.repeat(self.grid.fold, np.diff(self.start))
        return _voices(self.sides), (fold * self.count + self.member).astype(np.int16)

    @property
    def rank(self) -> np.ndarray:
        """int32 [n], places of the rows in a pool of the recipe's tables."""
        ranks: np.ndarray = (self.row >> 32).astype(np.int32)
        return ranks

    @cached_property
    def cells(self) -> np.ndarray:
        """int64, the cells that have rows."""
        return np.flatnonzero(np.diff(self.start))

    @cached_property
    def columns(self) -> Columns:
        """The rows as kernels see them, without the cells that are empty."""
        start = np.append(self.start[self.cells], len(self.row))
        image, category = self.grid.image[self.cells], self.grid.category[self.cells]
        return Columns(self.x1, self.y1, self.x2, self.y2, self.score, self.member, self.row, start, image, category)

    def by_position(self) -> Columns:
        """The columns for kernels that index by row and break no ties by it."""
        return self.columns._replace(row=np.arange(len(self.row)))


def merge(grid: Grid, a: Sheet, b: Sheet) -> Merged:
    """Merge two sheets of a grid whose members are different ones; rows of `a` come before those of `b`."""
    start = a.start + b.start
    n = len(a) + len(b)
    numbers = tuple(np.empty(n) for _ in range(7))
    codes = np.empty(n, np.int16), np.empty(n, np.int64), np.empty(n if len(a.source) + len(b.source) else 0, np.int32)
    out = (*numbers, *codes)
    run(lambda low, high: merge_cells(low, high, a.arrays, b.arrays, a.members, start, out), chunks(start))
    boxes = a.boxes if a.boxes == b.boxes else "given"
    x1, y1, x2, y2, w, h, score = numbers
    member, row, source = codes
    count = a.members + b.members
    sides = np.concatenate((a.sides, b.sides), axis=1)
    return Merged(grid, start, x1, y1, x2, y2, w, h, score, member, row, source, count, len(a), boxes, sides)


def pooled(merged: Merged) -> Sheet:
    """Return all rows as they are: a concat."""
    part = merged
    boxes = part.boxes_of(slice(None))
    return Sheet(
        part.start, *boxes, part.score, part.member, part.rank, part.source, part.count, part.boxes, part.sides
    )


def fused(merged: Merged, step: Any) -> Sheet:
    """Run a step that answers with `Fused`."""
    if merged.sides.size:
        # in each fold 1 is the largest of a side, as it is where the fold is fused by itself
        shares = (merged.sides / merged.sides.max(axis=1, keepdims=True)).reshape(-1, 4)
        step = with_sides(step, dict(zip(_voices(merged.sides), map(tuple, shares.tolist()), strict=True)))
    answer: Fused = step.fuse(merged)
    counts = np.zeros(len(merged.start) - 1, np.int64)
    counts[merged.cells] = np.bincount(answer.cell, minlength=len(merged.cells))
    start = offsets(counts)
    place = answer.row & _POSITION
    source = merged.source[place] if len(merged.source) else _NONE
    if answer.corners is None:
        kept = merged.boxes_of(place)
        member = merged.member[place]
        return Sheet(start, *kept, answer.score, member, _NONE, source, merged.count, merged.boxes, merged.sides)
    x1, y1, x2, y2 = answer.corners.T
    # new boxes come from several members: the answer is a member of its own
    member = np.zeros(len(place), np.int16)
    left, top, w, h = np.ascontiguousarray(x1), np.ascontiguousarray(y1), x2 - x1, y2 - y1
    # the table of new boxes has x and w alone
    sides = np.array([[blended(own)] for own in merged.sides.tolist()]) if merged.sides.size else merged.sides
    return Sheet(start, left, top, left + w, top + h, w, h, answer.score, member, _NONE, source, 1, "given", sides)


def _voices(sides: np.ndarray) -> tuple[str, ...]:
    return tuple(map(str, range(sides.size // 4)))


def supported(merged: Merged, step: Support) -> Merged:
    """Run `Support` on two merged sheets."""
    side = (merged.row >= merged.first << 32).view(np.int8)
    lowered = ~supported_rows(merged.by_position(), side, float(step.iou))
    given = tuple(getattr(merged, name) for name in _ARRAYS)
    out = tuple(np.empty_like(array) for array in given)
    start, factor = merged.start, float(step.factor)
    run(lambda low, high: lower_cells(low, high, start, lowered, factor, given, out), chunks(start))
    return replace(merged, **dict(zip(_ARRAYS, out, strict=True)))


def dropped(grid: Grid, left: Sheet, right: Sheet, step: Dropout) -> Sheet:
    """Run `Dropout`: return what `left` still contributes."""
    merged = merge(grid, left, right)
    rank = merged.rank
    seeking = rank < merged.first
    partner, taken = np.empty(len(rank), np.int64), np.zeros(len(rank), bool)
    columns = merged.by_position()
    run(
        lambda low, high: pair_cells(columns, low, high, seeking, float(step.iou), True, taken, partner),
        chunks(columns.start),
    )
    own = np.flatnonzero(partner >= 0)
    other = partner[own]
    box, score = (other, merged.score[own]) if step.part == "scores" else (own, merged.score[other])
    cell = np.repeat(np.arange(len(merged.start) - 1), np.diff(merged.start))[box]
    order = np.lexsort((rank[box], -score, cell))
    box = box[order]
    place = np.argsort(np.argsort(rank[box])).astype(np.int32)
    return Sheet(
        offsets(np.bincount(cell, minlength=len(merged.start) - 1)),
        *merged.boxes_of(box),
        score[order],
        merged.member[own][order],
        place,
        merged.source[box] if len(merged.source) else _NONE,
        left.members,
        (right if step.part == "scores" else left).boxes,
        left.sides,
    )
