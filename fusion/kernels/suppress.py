"""Kernels of hard suppression: one pass over each (image, category) cell."""

from typing import NamedTuple

import numpy as np

from fusion import geometry
from fusion.columns import Columns
from fusion.kernels.filter import LANES, first_bit, frame_of, hits, narrow, place, share_factor
from fusion.kernels.jit import jit, uncounted

__all__ = ["Picked", "all_cells", "nms_cells", "overlap", "scratch"]

iou = jit(geometry.iou)


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


def scratch(columns: Columns, low: int, high: int) -> np.ndarray:
    """Allocate what the filter needs for cells low..high-1: float32 [blocks, 5, 16]."""
    largest = int(np.diff(columns.start[low : high + 1]).max())
    return np.empty((-(-largest // LANES), 5, LANES), np.float32)


@uncounted
def overlap(x1, y1, x2, y2, i, j):
    """Return the exact IoU of boxes i and j."""
    left, top, right, bottom = x1[i], y1[i], x2[i], y2[i]
    u1, v1, u2, v2 = x1[j], y1[j], x2[j], y2[j]
    return iou(left, top, right, bottom, (right - left) * (bottom - top), u1, v1, u2, v2, (u2 - u1) * (v2 - v1))


@uncounted
def nms_cells(columns, low, high, threshold, near, out):
    """Hard-suppress cells low..high-1 and return how many boxes are left.

    One function for all cells: a call per cell costs as much as suppressing three boxes, as Numba counts references
    to every array of its arguments.
    """
    x1, y1, x2, y2, start = columns.x1, columns.y1, columns.x2, columns.y2, columns.start
    cell, position, owner = out.cell, out.position, out.owner
    factor = share_factor(threshold)
    base, total, traced = start[low], 0, len(owner) > 0
    for c in range(low, high):
        origin = frame_of(x1, y1, x2, y2, start[c], start[c + 1])
        count = 0
        for i in range(start[c], start[c + 1]):
            box = narrow(x1[i], y1[i], x2[i], y2[i], origin, factor)
            above = i
            for b in range((count + LANES - 1) // LANES):
                bits = hits(near[b], box)
                while bits:
                    j = position[total + b * LANES + first_bit(bits)]
                    if overlap(x1, y1, x2, y2, j, i) > threshold:
                        above = j
                        break
                    bits = np.uint32(bits & (bits - np.uint32(1)))
                if above != i:
                    break
            if traced:
                owner[i - base] = above
            if above == i:
                place(near, count, box)
                cell[total + count] = c
                position[total + count] = i
                count += 1
        total += count
    finish(columns, total, out)
    return total


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
