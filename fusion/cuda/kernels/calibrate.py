"""Calibration: scores looked up in their maps, and kept apart where rounding would make them equal."""

from typing import Any, NamedTuple

import numpy as np

from fusion.cuda.kernels.cells import Rows
from fusion.cuda.kernels.device import Kernel, cuda, device_function, empty, filled, formula, number_at
from fusion.cuda.kernels.merge_sort import room_for_runs, sort_runs
from fusion.cuda.kernels.scan import offsets
from fusion.formulas import maps as lines
from fusion.formulas import odds
from fusion.score_maps import LEAST, LIMIT, MOST

__all__ = ["Maps", "calibrated"]

on_line, beyond, probability = map(formula, (lines.on_line, lines.beyond, odds.probability))

_TINY = float(np.finfo(np.float64).tiny)


class Maps(NamedTuple):
    """Score maps, one behind the other.

    Attributes:
        start: int32 [maps + 1], offsets of their knots.
        sigmoid: int8 [maps], 1 for a sigmoid: its second value is the rise per score, its first the log odds at its
            first knot.
        knot: float64 [knots], rising scores.
        value: float64 [knots].
    """

    start: Any
    sigmoid: Any
    knot: Any
    value: Any


def calibrated(rows: Rows, kind: Any, categories: int, maps: Maps) -> Any:
    """Return the rows' mapped scores, in the order of their scores within each group, float64 [n].

    Args:
        rows: The detections, at least one.
        kind: int32 [members * categories], the map of each member and category; those of one map are a group.
        categories: Number of categories.
        maps: What `kind` counts through.
    """
    size = len(rows.image)
    runs, mapped = room_for_runs(size, rows.score), empty(size, np.float64)
    map_scores(size, rows, kind, categories, maps, runs, mapped)
    bits = mapped.view(np.int64)
    runs = sort_runs(runs)
    above, broken = empty(size, np.int8), filled(1, np.int32)
    flag_rises(size, runs, bits, above, broken)
    if number_at(broken, 0) != 0:
        rank = offsets(above)
        bound, lower = empty(size, np.int64), empty(size, np.int64)
        first_bounds(size, runs, bits, rank, bound)
        reach = 1
        while reach < size:
            least_behind(size, runs, bound, reach, lower)
            bound, lower = lower, bound
            reach *= 2
        lower_bits(size, runs, bound, rank, bits)
    return mapped


@device_function
def straight(maps, first, last, s):
    """Return the value of knots first..last at score s: as `numpy.interp`, and rising beyond the ends."""
    low, high = first, last + 1
    while low < high:
        middle = (low + high) // 2
        if maps.knot[middle] <= s:
            low = middle + 1
        else:
            high = middle
    k = low - 1
    if k < first:
        value = maps.value[first]
    elif k == last or maps.knot[k] == s:
        value = maps.value[k]
    else:
        slope = (maps.value[k + 1] - maps.value[k]) / (maps.knot[k + 1] - maps.knot[k])
        value = on_line(s, maps.knot[k], maps.value[k], slope)
    span = maps.knot[last] - maps.knot[first]
    if span < _TINY:
        span = _TINY
    above, below = s - maps.knot[last], maps.knot[first] - s
    if not above > 0.0:
        above = 0.0
    if not below > 0.0:
        below = 0.0
    return beyond(value, maps.value[last], above, below, span)


@Kernel
def map_scores(rows, kind, categories, maps, runs, mapped):
    """Map the score of each row, and note its group and number."""
    for i in range(cuda.grid(1), len(rows.image), cuda.gridsize(1)):
        g = kind[np.int64(rows.member[i]) * categories + rows.category[i]]
        runs.group[i] = g
        runs.row[i] = i
        s = rows.score[i]
        first, last = maps.start[g], maps.start[g + 1] - 1
        if maps.sigmoid[g] != 0:
            value = on_line(s, maps.knot[first], maps.value[first], maps.value[last])
            value = probability(min(max(value, -LIMIT), LIMIT))
        else:
            value = straight(maps, first, last, s)
        if value < LEAST:
            value = LEAST
        elif value > MOST:
            value = MOST
        mapped[i] = value


@Kernel
def flag_rises(runs, bits, above, broken):
    """Flag the rows with a higher score than the one before them; `broken` tells if one has no higher value."""
    for p in range(cuda.grid(1), len(runs.row), cuda.gridsize(1)):
        rises = p > 0 and runs.group[p] == runs.group[p - 1] and runs.score[p] > runs.score[p - 1]
        above[p] = 1 if rises else 0
        if rises and bits[runs.row[p]] <= bits[runs.row[p - 1]]:
            broken[0] = 1


@Kernel
def first_bounds(runs, bits, rank, bound):
    """Write what each row's own value allows: its bits, less the number of lower scores.

    Positive floats sort as their bits do, so values rise strictly where these numbers do not fall.
    """
    for p in range(cuda.grid(1), len(bound), cuda.gridsize(1)):
        bound[p] = bits[runs.row[p]] - rank[p + 1]


@Kernel
def least_behind(runs, bound, reach, lower):
    """Take the lesser of a row's bound and that of the row `reach` places behind it in the group.

    After reaches of 1, 2, 4, ... it is the least of all rows behind: a minimum carried from the end, as the CPU has it,
    without a thread that waits for another.
    """
    size = len(bound)
    for p in range(cuda.grid(1), size, cuda.gridsize(1)):
        least = bound[p]
        if p + reach < size and runs.group[p + reach] == runs.group[p] and bound[p + reach] < least:
            least = bound[p + reach]
        lower[p] = least


@Kernel
def lower_bits(runs, bound, rank, bits):
    """Write the values back that the bounds leave."""
    for p in range(cuda.grid(1), len(bound), cuda.gridsize(1)):
        bits[runs.row[p]] = bound[p] + rank[p + 1]
