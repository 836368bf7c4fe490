"""Detections and the ground truth that they can match: a thread for each detection."""

from typing import Any, NamedTuple

import numpy as np

from evaluation.cuda.kernels.lookup import Located
from evaluation.formulas.matching import IGNORED, SHARED
from fusion.cuda.kernels.cells import Rows
from fusion.cuda.kernels.device import Kernel, cuda, device_function, empty, formula, number_at
from fusion.cuda.kernels.scan import offsets
from fusion.formulas import boxes

__all__ = [
    "INSIDE",
    "LEFT_OUT",
    "OUTSIDE",
    "GpuPairs",
    "GpuTruth",
    "Limits",
    "MaskPairs",
    "TruthCells",
    "box_pairs",
    "mask_pairs",
]

match = formula(boxes.match)

# What became of a row before matching: it may be right or wrong; it cannot be wrong, being outside of the area range or
# where not every object is annotated; it does not count.
INSIDE, OUTSIDE, LEFT_OUT = 0, 1, 2


class TruthCells(NamedTuple):
    """Where the ground truth of each (image, category) pair is of which something is known; c cells.

    Attributes:
        begin: int32 [c], first ground truth of each.
        end: int32 [c], one past its last; none where a category is known to be absent.
        partial: int8 [c], 1 where not every object is annotated, so that nothing is wrong (LVIS).
    """

    begin: Any
    end: Any
    partial: Any


class GpuTruth(NamedTuple):
    """Ground truth, as `evaluation.columns.Truth`; `flags` is uint8 [g]: `IGNORED`, `SHARED`, `LOST`."""

    x1: Any
    y1: Any
    x2: Any
    y2: Any
    box_area: Any
    flags: Any


class Limits(NamedTuple):
    """Rules of a protocol.

    Attributes:
        least: IoU that a pair must have.
        cap: Detections of a cell that count.
        federated: Whether only boxes that have an area count (LVIS).
        most: Largest area that is in the range "all".
    """

    least: float
    cap: int
    federated: bool
    most: float


class MaskPairs(NamedTuple):
    """What masks match, by the row of the session's tables that they come from; m pairs of r rows.

    Attributes:
        start: int32 [r + 1].
        truth: int32 [m].
        iou: float64 [m].
        state: int8 [r], as of `GpuPairs`, by the area of the mask; [0] where areas are those of boxes.
    """

    start: Any
    truth: Any
    iou: Any
    state: Any


class GpuPairs(NamedTuple):
    """Sorted rows and what they can match: what counts first, then by IoU descending, then the later ground truth.

    Attributes:
        state: int8 [n], `INSIDE`, `OUTSIDE` or `LEFT_OUT`.
        begin: int32 [n], first pair of each.
        end: int32 [n], one past its last.
        truth: int32 [m].
        iou: float64 [m].
    """

    state: Any
    begin: Any
    end: Any
    truth: Any
    iou: Any


def box_pairs(rows: Rows, located: Located, cells: TruthCells, truth: GpuTruth, limits: Limits) -> GpuPairs:
    """Find the pairs of boxes."""
    size = len(located.columns.row)
    state, count = empty(size, np.int8), empty(size, np.int32)
    none: Any = empty(0, np.int8)
    judge_rows(size, rows, located, cells, none, limits, state)
    count_pairs(size, rows, located, cells, truth, limits, state, count)
    start = offsets(count)
    found = number_at(start, size)
    pairs = GpuPairs(state, start[:size], start[1:], empty(found, np.int32), empty(found, np.float64))
    fill_pairs(size, rows, located, cells, truth, limits, pairs)
    return pairs


def mask_pairs(rows: Rows, located: Located, cells: TruthCells, known: MaskPairs, limits: Limits) -> GpuPairs:
    """Look up the pairs of masks, which no step changes."""
    size = len(located.columns.row)
    state, begin, end = empty(size, np.int8), empty(size, np.int32), empty(size, np.int32)
    judge_rows(size, rows, located, cells, known.state, limits, state)
    look_up_pairs(size, rows, located.columns, known, state, begin, end)
    return GpuPairs(state, begin, end, known.truth, known.iou)


@device_function
def overlap(rows, columns, truth, p, g, least):
    """Return how well row p matches ground truth g."""
    r = columns.row[p]
    return match(
        columns.x1[p],
        columns.y1[p],
        columns.x2[p],
        columns.y2[p],
        rows.w[r] * rows.h[r],
        truth.x1[g],
        truth.y1[g],
        truth.x2[g],
        truth.y2[g],
        truth.box_area[g],
        truth.flags[g] & SHARED != 0,
        least,
    )


@Kernel
def judge_rows(rows, located, cells, given, limits, state):
    """Write the state of each row; `given` is int8 by origin, of masks, or [0]: then areas are those of boxes."""
    for p in range(cuda.grid(1), len(state), cuda.gridsize(1)):
        c, r = located.columns.cell[p], located.columns.row[p]
        at = located.place[c]
        if located.category[c] < 0 or p - located.columns.start[c] >= limits.cap:
            state[p] = LEFT_OUT
        elif len(given) > 0:
            state[p] = given[rows.origin[r]]
        else:
            area = rows.w[r] * rows.h[r]
            if limits.federated and not (area > 0.0 and area < np.inf):
                state[p] = LEFT_OUT
            elif area < 0.0 or area > limits.most or (at >= 0 and cells.partial[at] != 0):
                state[p] = OUTSIDE
            else:
                state[p] = INSIDE


@Kernel
def count_pairs(rows, located, cells, truth, limits, state, count):
    """Count the ground truth of each row's cell that it overlaps enough."""
    for p in range(cuda.grid(1), len(count), cuda.gridsize(1)):
        at, number = located.place[located.columns.cell[p]], 0
        if at >= 0 and state[p] != LEFT_OUT:
            for g in range(cells.begin[at], cells.end[at]):
                if overlap(rows, located.columns, truth, p, g, limits.least) >= limits.least:
                    number += 1
        count[p] = number


@Kernel
def fill_pairs(rows, located, cells, truth, limits, pairs):
    """Write the pairs of each row in their order."""
    for p in range(cuda.grid(1), len(pairs.state), cuda.gridsize(1)):
        first = last = pairs.begin[p]
        if first < pairs.end[p]:
            at = located.place[located.columns.cell[p]]
            for g in range(cells.begin[at], cells.end[at]):
                share = overlap(rows, located.columns, truth, p, g, limits.least)
                if share >= limits.least:
                    ignored = truth.flags[g] & IGNORED
                    i = last
                    while i > first:
                        before = truth.flags[pairs.truth[i - 1]] & IGNORED
                        if before < ignored or (before == ignored and pairs.iou[i - 1] > share):
                            break
                        pairs.truth[i] = pairs.truth[i - 1]
                        pairs.iou[i] = pairs.iou[i - 1]
                        i -= 1
                    pairs.truth[i] = g
                    pairs.iou[i] = share
                    last += 1


@Kernel
def look_up_pairs(rows, columns, known, state, begin, end):
    """Write which pairs each row's mask has."""
    for p in range(cuda.grid(1), len(state), cuda.gridsize(1)):
        origin = rows.origin[columns.row[p]]
        begin[p] = known.start[origin]
        end[p] = known.start[origin + 1] if state[p] != LEFT_OUT else known.start[origin]
