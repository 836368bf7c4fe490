"""Test-time views: which one a row is of, what it is good for, and which ones vote on an instance."""

import math
from typing import Any, NamedTuple

import numpy as np

from fusion.cuda.kernels.cells import overlap
from fusion.cuda.kernels.device import Kernel, cuda
from fusion.cuda.kernels.masks import BAD, NONE

__all__ = ["Trust", "choose_rows", "find_levels", "find_views", "weigh_sizes"]


class Trust(NamedTuple):
    """What each view is good for; see `fusion.scales.Scales`.

    Attributes:
        sides: float64 [m], ascending bounds between size ranges.
        weight: float64 [views * (m + 1)], factor by view and size range.
        least, most: float64 [views], the sizes that count; NaN for no bound.
        boost: float64 [categories].
    """

    sides: Any
    weight: Any
    least: Any
    most: Any
    boost: Any


@Kernel
def find_views(origin, number, fixed, codes, view, used):
    """Write the view of each row, and flag the views that there are.

    Args:
        origin: int32 [n], of `Rows`.
        number: int16 [n], which input each row is of.
        fixed: int32 [inputs], the one view of an input; 0 where it has a column.
        codes: int32, view by origin; 0 for none.
        view: int32 [n], written.
        used: int8 [views], changed.
    """
    for i in range(cuda.grid(1), len(origin), cuda.gridsize(1)):
        own = fixed[number[i]]
        if own == 0:
            own = codes[origin[i]]
        view[i] = own
        used[own] = 1


@Kernel
def weigh_sizes(rows, view, trust, score, used):
    """Multiply scores by what the view is good for at that size and by the category's factor; 0 leaves a row out."""
    for i in range(cuda.grid(1), len(rows.image), cuda.gridsize(1)):
        v = view[i]
        side = math.sqrt(rows.w[i] * rows.h[i])
        sizes = len(trust.sides) + 1
        size = 0
        while size < sizes - 1 and trust.sides[size] <= side:
            size += 1
        factor = trust.weight[v * sizes + size]
        if side < trust.least[v] or side >= trust.most[v]:
            factor = 0.0
        factor *= trust.boost[rows.category[i]]
        score[i] = rows.score[i] * factor
        used[i] = 1 if factor > 0.0 else 0


@Kernel
def find_levels(rows, masks, square, ratio, doubled, levels, level, wrong):
    """Write the level of each instance; see `fusion.steps.select_views.SelectViews`.

    Args:
        rows: `Rows`, the instances first.
        masks: `Masks`, by origin.
        square: Area of a box from which it is above the first level.
        ratio: Part of its box from which a mask is above it.
        doubled: 1 where each doubling of a box's side is a level, 0 where each such area is.
        levels: Number of levels.
        level: int32 [instances], written.
        wrong: int32 [1]; becomes 1 where a mask cannot be read.
    """
    for i in range(cuda.grid(1), len(level), cuda.gridsize(1)):
        own = rows.origin[i]
        box = rows.w[i] * rows.h[i]
        # the least of the three, rounded down, is the least of the three rounded down
        value = box / square
        if doubled == 1:
            value, bound = 0.0, square * 4.0
            while value < levels - 1 and box >= bound:
                value += 1.0
                bound *= 4.0
        if masks.state[own] != NONE:
            if masks.state[own] == BAD or masks.height[own] < 0:
                wrong[0] = 1
            elif box > 0.0:
                value = min(value, masks.area[own] / (ratio * box))
        level[i] = np.int32(min(value, np.float64(levels - 1)))


@Kernel
def choose_rows(columns, level, view, votes, listed, used, wrong):
    """Flag, by row, the rows whose view votes on the instance that they overlap best.

    Args:
        columns: `GpuColumns` of instances and voters.
        level: int32 [instances].
        view: int32 [n], by row.
        votes: int8 [levels * views].
        listed: int8 [views], whether any level has the view.
        used: int8 [n], written.
        wrong: int32 [1]; becomes 1 where a row with an instance is of a view that no level has.
    """
    instances = len(level)
    for p in range(cuda.grid(1), len(columns.row), cuda.gridsize(1)):
        r, c = columns.row[p], columns.cell[p]
        used[r] = 0  # also of the instances, which do not vote
        if r >= instances:
            found, most = -1, 0.0
            for q in range(columns.start[c], columns.start[c + 1]):
                if columns.row[q] < instances:
                    u = overlap(columns, p, q)
                    if u > most:
                        found, most = columns.row[q], u
            if found >= 0:
                v = view[r]
                if listed[v] == 0:
                    wrong[0] = 1
                used[r] = votes[level[found] * len(listed) + v]
