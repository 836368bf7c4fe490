"""Masks: what two can share, their IoU, votes on pixels, and soft masks laid on pixels."""

import math
from typing import Any

import numpy as np

__all__ = [
    "SCALE",
    "bilinear",
    "map_side",
    "most_shared",
    "needed",
    "on_map",
    "placed",
    "span",
    "union",
    "whole_weight",
]

SCALE = 2.0**40  # the weight of an instance's heaviest voter


def most_shared(area: int, other: int, across: int, down: int) -> Any:
    """Return the most pixels that two masks can share whose bounds share a rectangle.

    Every quotient that masks are compared by grows with what they share, so what is not enough with this needs no look
    at the runs.
    """
    return min(min(area, other), np.int64(across) * down)


def union(area: int, other: int, shared: int) -> int:
    """Return the pixels of two masks together."""
    return area + other - shared


def whole_weight(weight: float, heaviest: float) -> Any:
    """Return a voter's weight as a whole number: votes are counted exactly then, in any order."""
    return np.int64(round(weight / heaviest * SCALE))


def needed(threshold: float, total: int) -> Any:
    """Return the votes that a pixel needs: a share of all, more than none."""
    return max(np.int64(math.ceil(threshold * float(total))), 1)


def placed(columns: Any, j: int, width: int, height: int, normalized: bool) -> tuple[float, float, float, float]:
    """Return the box at position j in pixels of its image."""
    across = float(width) if normalized else 1.0
    down = float(height) if normalized else 1.0
    return columns.x1[j] * across, columns.y1[j] * down, columns.x2[j] * across, columns.y2[j] * down


def map_side(cells: int) -> Any:
    """Return the side of a square map."""
    return np.int64(round(math.sqrt(float(cells))))


def span(low: float, high: float, side: int, pixels: int) -> tuple[Any, Any]:
    """Return the pixels whose centres may lie within half a cell of a map laid on low..high: first, one past the last.

    Args:
        low: Side of the box.
        high: Other side.
        side: Cells of the map between them.
        pixels: Of the image.
    """
    margin = (high - low) / float(2 * side)
    first = math.floor(min(max(low - margin - 1.0, 0.0), float(pixels)))
    last = math.ceil(max(min(high + margin + 1.0, float(pixels)), 0.0))
    return np.int64(first), np.int64(last)


def on_map(pixel: int, low: float, high: float, side: int) -> float:
    """Return where the centre of a pixel lies on a map laid on low..high: 0 is the centre of its first cell."""
    return (float(pixel) + 0.5 - low) * float(side) / (high - low) - 0.5


def bilinear(values: Any, first: int, side: int, column: int, line: int, across: float, down: float) -> float:
    """Return the value of a map between cells, 0 one cell beyond its outermost.

    Args:
        values: float32, maps.
        first: Where this one begins.
        side: Its side.
        column: Of the cell to the upper left, from -1 on.
        line: Its line.
        across: Part of a cell to the right of its centre.
        down: Part below.
    """
    above = below = 0.0
    at = first + line * side + column
    if line >= 0:
        if column >= 0:
            above += (1.0 - across) * values[at]
        if column + 1 < side:
            above += across * values[at + 1]
    if line + 1 < side:
        if column >= 0:
            below += (1.0 - across) * values[at + side]
        if column + 1 < side:
            below += across * values[at + side + 1]
    return (1.0 - down) * above + down * below
