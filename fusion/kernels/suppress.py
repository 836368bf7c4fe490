"""Kernels of hard suppression: one pass over each (image, category) cell."""

from typing import NamedTuple

import numpy as np

from fusion.formulas import boxes
from fusion.kernels.filter import NEVER, frame_of, margin, narrow, share_factor
from fusion.kernels.jit import formula, jit, uncounted
from fusion.kernels.vectors import LANES, first_bit, verdicts

__all__ = ["NmsScratch", "Picked", "all_cells", "nms_cells", "nms_scratch"]

overlap = formula(boxes.overlap)


class Picked(NamedTuple):
    """What is left of a run of cells, in order; arrays as long as the run's detections.

    Attributes:
        cell: int32, index of the cell.
        position: int64, index into the columns.
        row: int64, the columns' row there.
        score: float64.
        owner: int64, for every detection of the run the position of the box that suppressed it, or its own; empty
            where nobody asks.
    """

    cell: np.ndarray
    position: np.ndarray
    row: np.ndarray
    score: np.ndarray
    owner: np.ndarray


class NmsScratch(NamedTuple):
    """Working memory of one task.

    Attributes:
        thin: float32 [6, largest image + 16], boxes of an image as the filter sees them, with their margins.
        verdict: uint32 [16], what the filter says of each of 16 boxes and all of them.
    """

    thin: np.ndarray
    verdict: np.ndarray


@jit
def nms_scratch(columns, low, high):
    """Allocate working memory for cells low..high-1."""
    largest, first = 0, low
    for c in range(low, high):
        if columns.image[c] != columns.image[first]:
            first = c
        largest = max(largest, columns.start[c + 1] - columns.start[first])
    return NmsScratch(np.empty((6, largest + LANES), np.float32), np.empty(LANES, np.uint32))


@uncounted
def _narrow_all(x1, y1, x2, y2, threshold, thin):
    """Write the boxes of an image as the filter sees them, and 16 places without a box behind them."""
    size = len(x1)
    origin, factor = frame_of(x1, y1, x2, y2, 0, size), share_factor(threshold)
    for i in range(size):
        left, top, right, bottom, share = narrow(x1[i], y1[i], x2[i], y2[i], origin, factor)
        thin[0, i], thin[1, i], thin[2, i], thin[3, i], thin[4, i] = left, top, right, bottom, share
        thin[5, i] = margin(left, top, right, bottom, origin[2])
    for i in range(size, size + LANES):
        thin[4, i] = NEVER


@uncounted
def _judge(thin, first, i):
    """Return the filter's verdicts on box i of an image and the 16 boxes from `first` on."""
    return verdicts(thin, first, thin[0, i], thin[1, i], thin[2, i], thin[3, i], thin[4, i], thin[5, i])


@uncounted
def nms_cells(columns, low, high, threshold, work, out):
    """Hard-suppress cells low..high-1 and return how many boxes are left.

    An image's boxes are gone through 16 at a time, whatever cells they are of. Those that the boxes kept before must
    suppress go without a branch; so do those that one of the 16 must, in the order of the boxes. Where owners are asked
    for, every pair that may overlap is looked at.
    """
    x1, y1, x2, y2, start = columns.x1, columns.y1, columns.x2, columns.y2, columns.start
    cell, position, owner = out.cell, out.position, out.owner
    thin, verdict = work.thin, work.verdict
    base, total, traced = start[low], 0, len(owner) > 0
    after = low
    while after < high:
        c = after
        while after < high and columns.image[after] == columns.image[c]:
            after += 1
        first, last, end = start[c], start[after], start[c + 1]
        _narrow_all(x1[first:last], y1[first:last], x2[first:last], y2[first:last], threshold, thin)
        count = 0  # boxes kept of cell c, which ends before `end`
        for begin in range(first, last, LANES):
            if begin >= end:
                c, count = c + 1, 0
                end = start[c + 1]
            for i in range(min(LANES, last - begin)):
                verdict[i] = _judge(thin, begin - first, begin - first + i)
            left = _low_bits(last - begin)  # a bit for each of the 16 that is not suppressed yet
            if count > 0:
                seen = np.uint32(0)
                for k in range(total - count, total):
                    seen |= _judge(thin, begin - first, position[k] - first)
                left, doubtful = _part(left, seen, _low_bits(end - begin), traced)
                if doubtful:
                    for k in range(total - count, total):
                        bits = np.uint32(_judge(thin, begin - first, position[k] - first) & doubtful)
                        while bits:
                            i = begin + first_bit(bits)
                            if overlap(x1, y1, x2, y2, position[k], i) > threshold:
                                bit = np.uint32(bits & -bits)
                                left ^= bit
                                doubtful ^= bit
                                if traced:
                                    owner[i - base] = position[k]
                            bits = np.uint32(bits & (bits - np.uint32(1)))
            while left:
                lead = begin + first_bit(left)
                while lead >= end:
                    c, count = c + 1, 0
                    end = start[c + 1]
                cell[total], position[total] = c, lead
                total += 1
                count += 1
                if traced:
                    owner[lead - base] = lead
                left = np.uint32(left & (left - np.uint32(1)))
                left, doubtful = _part(left, verdict[lead - begin], _low_bits(end - begin), traced)
                while doubtful:
                    i = begin + first_bit(doubtful)
                    if overlap(x1, y1, x2, y2, lead, i) > threshold:
                        left ^= np.uint32(doubtful & -doubtful)
                        if traced:
                            owner[i - base] = lead
                    doubtful = np.uint32(doubtful & (doubtful - np.uint32(1)))
    finish(columns, total, out)
    return total


@uncounted
def _low_bits(count):
    """Return a uint32 with the lowest bits set: `count` of them, 16 at most."""
    return np.uint32((1 << min(count, LANES)) - 1)


@uncounted
def _part(left, seen, mates, traced):
    """Return the boxes left, less those that must be suppressed, and those of them that may be."""
    mates = np.uint32(left & mates)
    gone = np.uint32(0) if traced else np.uint32((seen >> np.uint32(LANES)) & mates)
    return np.uint32(left ^ gone), np.uint32(seen & mates & ~gone)


@uncounted
def all_cells(columns, low, high, out):
    """Pass on all boxes of cells low..high-1."""
    first, traced = columns.start[low], len(out.owner) > 0
    for c in range(low, high):
        for i in range(columns.start[c], columns.start[c + 1]):
            out.cell[i - first] = c
            out.position[i - first] = i
            if traced:
                out.owner[i - first] = i
    return columns.start[high] - first


@uncounted
def finish(columns, total, out):
    """Copy the rows and scores of the boxes that are left."""
    for k in range(total):
        out.row[k] = columns.row[out.position[k]]
        out.score[k] = columns.score[out.position[k]]
