"""Soft masks on pixels: pasting probability maps, adding run-length masks, and back to runs.

A canvas is a rectangle x1, y1, x2, y2 of the image's pixels, kept column behind column.
"""

import math

import numpy as np

from fusion.formulas import masks
from fusion.kernels.jit import formula, jit

__all__ = ["add_runs", "add_soft", "soft_frame", "threshold_canvas"]


placed, map_side, span, on_map, bilinear = map(
    formula, (masks.placed, masks.map_side, masks.span, masks.on_map, masks.bilinear)
)


@jit
def soft_frame(j, columns, soft, normalized):
    """Return the pixel rectangle outside of which the row at position j casts no vote."""
    row = columns.row[j]
    x1, y1, x2, y2 = placed(columns, j, soft.width[row], soft.height[row], normalized)
    side = map_side(soft.offset[row + 1] - soft.offset[row])
    left, right = span(x1, x2, side, soft.width[row])
    top, bottom = span(y1, y2, side, soft.height[row])
    return left, top, right, bottom


@jit
def add_soft(j, columns, soft, normalized, weight, canvas, area):
    """Add weight times the pasted map to the canvas.

    Pixel centres are mapped onto the map, whose cells' centres are half a cell inside the box; values are
    bilinear between them, and fall to 0 over one cell beyond the outermost.
    """
    row = columns.row[j]
    x1, y1, x2, y2 = placed(columns, j, soft.width[row], soft.height[row], normalized)
    side = map_side(soft.offset[row + 1] - soft.offset[row])
    left, top, right, bottom = soft_frame(j, columns, soft, normalized)
    base = soft.offset[row]
    tall = area[3] - area[1]
    for x in range(left, right):
        u = on_map(x, x1, x2, side)
        if not (-1 < u < side):
            continue
        column = np.int64(math.floor(u))
        for y in range(top, bottom):
            v = on_map(y, y1, y2, side)
            if not (-1 < v < side):
                continue
            line = np.int64(math.floor(v))
            value = bilinear(soft.values, base, side, column, line, u - column, v - line)
            canvas[(x - area[0]) * tall + y - area[1]] += weight * value


@jit
def add_runs(runs, low, high, height, weight, canvas, area):
    """Add the weight to the canvas on the pixels of a mask that lies in it."""
    tall = area[3] - area[1]
    for r in range(low, high, 2):
        p = np.int64(runs[r])
        while p < runs[r + 1]:
            x = p // height
            stop = min(np.int64(runs[r + 1]), (x + 1) * height)
            at = (x - area[0]) * tall - x * height - area[1]
            for q in range(p, stop):
                canvas[at + q] += weight
            p = stop


@jit
def threshold_canvas(canvas, area, height, least, out):
    """Write the boundaries of the canvas's pixels of at least `least`; returns how many."""
    x1, y1, x2, y2 = area
    written = 0
    inside = False
    at = 0
    for x in range(x1, x2):
        for y in range(y1, y2):
            if (canvas[at] >= least) != inside:
                out[written] = x * height + y
                written += 1
                inside = not inside
            at += 1
        if inside and (y1 > 0 or y2 < height or x == x2 - 1):
            out[written] = x * height + y2
            written += 1
            inside = False
    return written
