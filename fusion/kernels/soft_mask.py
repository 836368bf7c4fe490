"""Soft masks on pixels: pasting probability maps, adding run-length masks, and back to runs.

A canvas is a rectangle x1, y1, x2, y2 of the image's pixels, kept column behind column.
"""

import math

import numpy as np

from fusion.kernels.jit import jit

__all__ = ["add_runs", "add_soft", "soft_frame", "threshold_canvas"]


@jit
def _placed(j, columns, soft, normalized):
    """Return the box in pixels, and the side of the map, of the row at position j."""
    row = columns.row[j]
    across = float(soft.width[row]) if normalized else 1.0
    down = float(soft.height[row]) if normalized else 1.0
    side = np.int64(np.rint(np.sqrt(soft.offset[row + 1] - soft.offset[row])))
    return columns.x1[j] * across, columns.y1[j] * down, columns.x2[j] * across, columns.y2[j] * down, side


@jit
def _span(low, high, side, pixels):
    """Return the pixels whose centres may lie within half a cell of the map around low..high."""
    margin = (high - low) / (2 * side)
    first = math.floor(min(max(low - margin - 1, 0.0), float(pixels)))
    last = math.ceil(max(min(high + margin + 1, float(pixels)), 0.0))
    return np.int64(first), np.int64(last)


@jit
def soft_frame(j, columns, soft, normalized):
    """Return the pixel rectangle outside of which the row at position j casts no vote."""
    x1, y1, x2, y2, side = _placed(j, columns, soft, normalized)
    row = columns.row[j]
    left, right = _span(x1, x2, side, soft.width[row])
    top, bottom = _span(y1, y2, side, soft.height[row])
    return left, top, right, bottom


@jit
def add_soft(j, columns, soft, normalized, weight, canvas, area):
    """Add weight times the pasted map to the canvas.

    Pixel centres are mapped onto the map, whose cells' centres are half a cell inside the box; values are
    bilinear between them, and fall to 0 over one cell beyond the outermost.
    """
    x1, y1, x2, y2, side = _placed(j, columns, soft, normalized)
    left, top, right, bottom = soft_frame(j, columns, soft, normalized)
    base = soft.offset[columns.row[j]]
    values = soft.values
    tall = area[3] - area[1]
    for x in range(left, right):
        u = (x + 0.5 - x1) * side / (x2 - x1) - 0.5
        if not (-1 < u < side):
            continue
        column = np.int64(math.floor(u))
        fx = u - column
        for y in range(top, bottom):
            v = (y + 0.5 - y1) * side / (y2 - y1) - 0.5
            if not (-1 < v < side):
                continue
            line = np.int64(math.floor(v))
            fy = v - line
            value = 0.0
            above = 0.0
            if line >= 0:
                at = base + line * side + column
                if column >= 0:
                    above += (1 - fx) * values[at]
                if column + 1 < side:
                    above += fx * values[at + 1]
            below = 0.0
            if line + 1 < side:
                at = base + (line + 1) * side + column
                if column >= 0:
                    below += (1 - fx) * values[at]
                if column + 1 < side:
                    below += fx * values[at + 1]
            value = (1 - fy) * above + fy * below
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
