"""Votes of soft masks, pixel by pixel: a thread for each column of the rectangle that an instance's voters cover.

No canvas is kept: a thread adds up the votes on a pixel, best score first as the CPU does, and notes where the new mask
begins and ends. Those boundaries then go into the text as those of a run-length mask.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from fusion.cuda.kernels.cells import GpuColumns
from fusion.cuda.kernels.device import Kernel, cuda, device_function, empty, filled, formula, number_at, to_host
from fusion.cuda.kernels.masks import SOFT, Masks
from fusion.cuda.kernels.scan import offsets
from fusion.formulas import masks as formulas

__all__ = ["Frames", "paint", "soft_frame"]

_MOST = 2**31 - 1  # columns, and boundaries, that can be counted
_SUMS = 1024  # places at which columns add up their boundaries, so that they do not wait for each other


class Frames(NamedTuple):
    """What there is to paint of n instances.

    Attributes:
        voters: int32, how many vote where one has a soft mask; 0 elsewhere, which leaves an instance out.
        least: float64, votes that a pixel needs.
        x1, y1, x2, y2: int32, rectangle of pixels that the voters cover.
        wide: int32, its columns; 0 where there is nothing to paint.
        height, width: int32, pixels of the image.
        drawn: int32, 1 where there are voters, -1 elsewhere.
    """

    voters: Any
    least: Any
    x1: Any
    y1: Any
    x2: Any
    y2: Any
    wide: Any
    height: Any
    width: Any
    drawn: Any


def paint(columns: GpuColumns, masks: Masks, first: Any, voters: Any, frames: Frames, normalized: bool) -> Masks | None:
    """Return the new masks by instance; only `runs`, `start`, `end`, `height` and `width` are meant.

    None if there are more columns, or boundaries, than can be counted.

    Args:
        columns: The rows that vote, sorted.
        masks: Their masks.
        first: int32 [n + 1], first voter of each instance.
        voters: `mask_vote.MaskVoters`.
        frames: What to paint.
        normalized: Whether boxes are in [0, 1] instead of pixels.
    """
    instances = len(frames.wide)
    start, runs, sums = filled(instances + 1, np.int64), empty(0, np.int32), filled(_SUMS, np.int64)
    if int(to_host(frames.wide).sum(dtype=np.int64)) > _MOST:
        return None
    begin = offsets(frames.wide)
    wide = number_at(begin, instances)
    if wide:
        count, none = empty(wide, np.int32), empty(0, np.int32)
        paint_columns(wide, columns, masks, first, voters, frames, normalized, begin, none, none, count, sums)
        if int(to_host(sums).sum()) > _MOST:
            return None
        before = offsets(count)
        runs = empty(number_at(before, wide), np.int32)
        if len(runs):
            paint_columns(wide, columns, masks, first, voters, frames, normalized, begin, before, runs, count, sums)
        bound_runs(instances + 1, begin, before, start)
    return masks._replace(runs=runs, start=start, end=start[1:], height=frames.height, width=frames.width)


placed, map_side, span, on_map, bilinear = map(
    formula, (formulas.placed, formulas.map_side, formulas.span, formulas.on_map, formulas.bilinear)
)


@device_function
def soft_frame(columns, masks, j, mask, normalized):
    """Return the pixel rectangle outside of which the row at position j casts no vote."""
    x1, y1, x2, y2 = placed(columns, j, masks.width[mask], masks.height[mask], normalized)
    side = map_side(masks.soft_start[mask + 1] - masks.soft_start[mask])
    left, right = span(x1, x2, side, masks.width[mask])
    top, bottom = span(y1, y2, side, masks.height[mask])
    return left, top, right, bottom


@device_function
def pasted(columns, masks, j, mask, normalized, x, y):
    """Return the map's value at a pixel's centre, as `fusion.kernels.soft_mask.add_soft` has it; 0 outside."""
    value = 0.0
    x1, y1, x2, y2 = placed(columns, j, masks.width[mask], masks.height[mask], normalized)
    side = map_side(masks.soft_start[mask + 1] - masks.soft_start[mask])
    left, top, right, bottom = soft_frame(columns, masks, j, mask, normalized)
    if x1 < x2 and y1 < y2 and left <= x < right and top <= y < bottom:
        u, v = on_map(x, x1, x2, side), on_map(y, y1, y2, side)
        if -1.0 < u < float(side) and -1.0 < v < float(side):
            column, line = np.int64(math.floor(u)), np.int64(math.floor(v))
            across, down = u - float(column), v - float(line)
            value = bilinear(masks.soft, masks.soft_start[mask], side, column, line, across, down)
    return value


@device_function
def covers(masks, mask, position):
    """Tell if a mask has the pixel at a position: an odd number of its boundaries is not behind it."""
    low, high = masks.start[mask], masks.end[mask]
    while low < high:
        middle = (low + high) // 2
        if masks.runs[middle] <= position:
            low = middle + 1
        else:
            high = middle
    return (low - masks.start[mask]) & 1 == 1


@device_function
def votes_on(columns, masks, voters, low, high, normalized, x, y, height):
    """Return the votes of voters low..high-1 on a pixel."""
    total = 0.0
    for k in range(low, high):
        mask, j = voters.mask[k], voters.place[k]
        if voters.state[k] == SOFT:
            total += float(voters.weight[k]) * pasted(columns, masks, j, mask, normalized, x, y)
        elif covers(masks, mask, x * height + y):
            total += float(voters.weight[k])
    return total


@Kernel
def paint_columns(columns, masks, first, voters, frames, normalized, begin, before, runs, count, sums):
    """Write the boundaries of the new mask in each column, or how many there are if `runs` has no room yet.

    `sums` gets how many there are in all, added up at many places.

    A boundary is where a pixel is not as the one before it, which is the one above, or the last of the column before.
    """
    for q in range(cuda.grid(1), len(count), cuda.gridsize(1)):
        low, high = 0, len(frames.wide)  # the instance: the last whose columns begin at q or before
        while low < high:
            middle = (low + high) // 2
            if begin[middle + 1] <= q:
                low = middle + 1
            else:
                high = middle
        r = low
        x = np.int64(frames.x1[r]) + q - begin[r]
        height = np.int64(frames.height[r])
        voter, end, least = first[r], first[r] + frames.voters[r], frames.least[r]
        whole = frames.y1[r] == 0 and frames.y2[r] == frames.height[r]
        inside = False
        if whole and x > frames.x1[r]:
            inside = votes_on(columns, masks, voters, voter, end, normalized, x - 1, height - 1, height) >= least
        found = 0
        for y in range(frames.y1[r], frames.y2[r]):
            covered = votes_on(columns, masks, voters, voter, end, normalized, x, np.int64(y), height) >= least
            if covered != inside:
                if len(runs) > 0:
                    runs[before[q] + found] = x * height + y
                found += 1
                inside = covered
        if inside and (not whole or x == frames.x2[r] - 1):
            if len(runs) > 0:
                runs[before[q] + found] = x * height + frames.y2[r]
            found += 1
        if len(runs) == 0:
            count[q] = found
            cuda.atomic.add(sums, q % _SUMS, found)


@Kernel
def bound_runs(begin, before, start):
    """Write the first boundary of each instance, and behind them the number of all."""
    for r in range(cuda.grid(1), len(start), cuda.gridsize(1)):
        start[r] = before[begin[r]]
