"""Sorting any number of rows, by runs that are merged, twice as long each time; and places in what is sorted."""

from typing import Any, NamedTuple

import numpy as np

from fusion.cuda.kernels.device import Kernel, cuda, device_function, empty

__all__ = ["Runs", "first_not_before", "lower_bound", "room_for_runs", "sort_runs"]


class Runs(NamedTuple):
    """Rows in runs that are sorted by (group, score, row).

    Attributes:
        group: int32 [n].
        score: float64 [n].
        row: int32 [n].
    """

    group: Any
    score: Any
    row: Any


def room_for_runs(size: int, score: Any = None) -> Runs:
    """Return room for rows; with their scores, where there are some."""
    own = empty(size, np.float64) if score is None else score
    return Runs(empty(size, np.int32), own, empty(size, np.int32))


def sort_runs(runs: Runs) -> Runs:
    """Sort rows by (group, score, their order) by merging runs; those given are left as they are."""
    size = len(runs.row)
    spare, other = room_for_runs(size), room_for_runs(size)
    width = 1
    while width < size:
        merge_runs(size, runs, width, spare)
        runs, spare, other = spare, other, spare
        width *= 2
    return runs


@device_function
def lower_bound(values, value):
    """Return the first place of ascending values that is not below one."""
    low, high = 0, len(values)
    while low < high:
        middle = (low + high) // 2
        if values[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@device_function
def first_not_before(runs, first, last, score, row):
    """Return the first place of rows sorted by (score, row) that is not before another row; `last` if all are."""
    low, high = first, last
    while low < high:
        middle = (low + high) // 2
        if runs.score[middle] < score or (runs.score[middle] == score and runs.row[middle] < row):
            low = middle + 1
        else:
            high = middle
    return low


@Kernel
def merge_runs(runs, width, merged):
    """Merge each two neighbouring runs of a width: a row goes behind those of the other run that come before it."""
    size = len(runs.row)
    for p in range(cuda.grid(1), size, cuda.gridsize(1)):
        second = p // width % 2
        first = p - p % width
        other = first - width if second == 1 else first + width
        g, s = runs.group[p], runs.score[p]
        low, high = min(other, size), min(other + width, size)
        while low < high:
            middle = (low + high) // 2
            h, t = runs.group[middle], runs.score[middle]
            if h < g or (h == g and (t < s or (t == s and second == 1))):
                low = middle + 1
            else:
                high = middle
        q = p + low - min(other, size) - second * width
        merged.group[q] = g
        merged.score[q] = s
        merged.row[q] = runs.row[p]
