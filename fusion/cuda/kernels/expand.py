"""Rows copied to the ancestors of their category."""

from typing import Any, NamedTuple

import numpy as np

from fusion.cuda.kernels.cells import GpuColumns, Rows, copy_row, rows_like
from fusion.cuda.kernels.device import Kernel, cuda, device_function, empty, filled, number_at
from fusion.cuda.kernels.scan import offsets

__all__ = ["Reach", "expand"]


class Reach(NamedTuple):
    """What each category is copied to.

    Attributes:
        start: int32 [categories + 1].
        category: int32 [m], its own first, then its ancestors.
    """

    start: Any
    category: Any


def expand(rows: Rows, reach: Reach, alike: GpuColumns | None) -> Rows:
    """Return all rows with their copies, in the order of the rows.

    Args:
        rows: The detections, at least one.
        reach: What each of their categories is copied to.
        alike: The rows by image and x, so that those of one box are near each other: of one box, member and category
            the best is left. None keeps all.
    """
    size = len(rows.image)
    count = empty(size, np.int32)
    count_copies(size, rows.category, reach, count)
    begin = offsets(count)
    alive = filled(number_at(begin, size), np.int8, 1)
    if alike is not None:
        merge_copies(size, rows, reach, begin, alike, alive)
    place = offsets(alive)
    out = rows_like(rows, number_at(place, len(alive)), votes=len(rows.votes) > 0)
    copy_to_ancestors(size, rows, reach, begin, alive, place, out)
    return out


@device_function
def reaches(reach, category, kind):
    """Return whether a category is copied to another one."""
    found = False
    for at in range(reach.start[category], reach.start[category + 1]):
        found = found or reach.category[at] == kind
    return found


@Kernel
def count_copies(category, reach, count):
    """Count the copies of each row, itself included."""
    for i in range(cuda.grid(1), len(category), cuda.gridsize(1)):
        count[i] = reach.start[category[i] + 1] - reach.start[category[i]]


@device_function
def gives_way(rows, reach, r, s, kind):
    """Return whether row r is left out of a category for row s, of the same image and x."""
    same = rows.y[r] == rows.y[s] and rows.w[r] == rows.w[s] and rows.h[r] == rows.h[s]
    better = rows.score[s] > rows.score[r] or (rows.score[s] == rows.score[r] and s < r)
    return same and better and rows.member[r] == rows.member[s] and reaches(reach, rows.category[s], kind)


@Kernel
def merge_copies(rows, reach, begin, alike, alive):
    """Take out the copies that a better row of the same box, member and category stands for."""
    for p in range(cuda.grid(1), len(alike.row), cuda.gridsize(1)):
        c = alike.cell[p]
        r = alike.row[p]
        # rows of its image and x are at low..high-1: `alike` is sorted by x in the place of the score
        low, high = p, p + 1
        while low > alike.start[c] and alike.score[low - 1] == alike.score[p]:
            low -= 1
        while high < alike.start[c + 1] and alike.score[high] == alike.score[p]:
            high += 1
        own = reach.start[rows.category[r]]
        for at in range(own, reach.start[rows.category[r] + 1]):
            for q in range(low, high):
                if gives_way(rows, reach, r, alike.row[q], reach.category[at]):
                    alive[begin[r] + at - own] = 0


@Kernel
def copy_to_ancestors(rows, reach, begin, alive, place, out):
    """Write the copies that are left."""
    for i in range(cuda.grid(1), len(rows.image), cuda.gridsize(1)):
        own = reach.start[rows.category[i]]
        for e in range(begin[i], begin[i + 1]):
            if alive[e] != 0:
                copy_row(rows, i, reach.category[own + e - begin[i]], rows.score[i], out, place[e])
