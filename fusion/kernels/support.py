"""Which boxes of a cell are supported by a box of another input."""

import numpy as np

from fusion.columns import Columns
from fusion.formulas import boxes
from fusion.kernels.filter import frame_of, hits, narrow, place, share_factor
from fusion.kernels.jit import chunks, formula, run, uncounted
from fusion.kernels.vectors import LANES, first_bit

__all__ = ["supported_rows"]

overlap = formula(boxes.overlap)


def supported_rows(columns: Columns, side: np.ndarray, threshold: float) -> np.ndarray:
    """Return which rows overlap a row of another side, in their cell, by at least a threshold.

    Args:
        columns: Sorted detections.
        side: Integer [n], by row.
        threshold: IoU in [0, 1].

    Returns:
        Bool [n], by row.
    """
    supported = np.zeros(len(side), bool)

    def task(low: int, high: int) -> None:
        largest = int(np.diff(columns.start[low : high + 1]).max())
        near = np.empty((-(-largest // LANES), 5, LANES), np.float32)
        supported_cells(columns, low, high, side, threshold, near, np.empty(largest, side.dtype), supported)

    run(task, chunks(columns.start))
    return supported


@uncounted
def supported_cells(columns, low, high, side, threshold, near, sides, supported):
    """Set `supported` at the rows of cells low..high-1 that have support; `near` and `sides` are scratch."""
    x1, y1, x2, y2, row, start = columns.x1, columns.y1, columns.x2, columns.y2, columns.row, columns.start
    factor = share_factor(threshold)
    for c in range(low, high):
        first, last = start[c], start[c + 1]
        mixed = False  # of one side alone: nothing is supported, and no box has to be looked at
        for i in range(first, last):
            sides[i - first] = side[row[i]]
            mixed |= sides[i - first] != sides[0]
        if not mixed:
            continue
        left, top, pad = frame_of(x1, y1, x2, y2, first, last)
        if threshold <= 0:
            pad = -1.0  # boxes that do not touch count as well: no test can tell
        origin = left, top, pad
        for i in range(first, last):
            place(near, i - first, narrow(x1[i], y1[i], x2[i], y2[i], origin, factor))
        for i in range(first, last):
            if supported[row[i]]:
                continue
            # the first supporter is enough, and supports its supporter too, so pairs are looked at until then alone
            own = sides[i - first]
            box = narrow(x1[i], y1[i], x2[i], y2[i], origin, factor)
            found = False
            for b in range((last - first + LANES - 1) // LANES):
                bits = hits(near[b], box)
                while bits and not found:
                    k = b * LANES + first_bit(bits)
                    j = first + k
                    bits = np.uint32(bits & (bits - np.uint32(1)))
                    if sides[k] != own and overlap(x1, y1, x2, y2, i, j) >= threshold:
                        supported[row[i]] = supported[row[j]] = True
                        found = True
                if found:
                    break
