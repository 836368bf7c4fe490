"""Kernel that finds which objects lie inside which others."""

import numpy as np

from fusion.formulas import boxes
from fusion.kernels.jit import formula, jit

__all__ = ["surrounding_images"]

intersection = formula(boxes.intersection)


@jit
def _push(keys, used, key):
    """Append a key, growing the array where it is full."""
    if used == len(keys):
        more = np.empty(2 * used, np.int64)
        more[:used] = keys
        keys = more
    keys[used] = key
    return keys


@jit
def surrounding_images(low, high, start, category, x1, y1, x2, y2, categories, ioa):
    """List the categories inside and around each object of images low..high-1.

    Args:
        low: First image.
        high: One past the last image.
        start: int64 [images + 1], offsets of the objects.
        category: int32 [n], ascending within an image.
        x1: float64 [n], corners, as are y1, x2, y2.
        y1: float64 [n].
        x2: float64 [n].
        y2: float64 [n].
        categories: Number of categories.
        ioa: Share of the inner object that must lie in the outer one, which must be larger and of another category.

    Returns:
        Two int64 arrays of keys inner * categories + outer: one per object and category that it lies inside
        of, one per object and category that it has inside.
    """
    inside = np.empty(1024, np.int64)
    around = np.empty(1024, np.int64)
    insides = 0
    arounds = 0
    for image in range(low, high):
        for a in range(start[image], start[image + 1]):
            area = (x2[a] - x1[a]) * (y2[a] - y1[a])
            last_outer = -1
            last_inner = -1
            for b in range(start[image], start[image + 1]):
                if category[b] == category[a] or (category[b] == last_outer and category[b] == last_inner):
                    continue
                other = (x2[b] - x1[b]) * (y2[b] - y1[b])
                if area == other or min(area, other) <= 0.0:
                    continue
                shared = intersection(x1[a], y1[a], x2[a], y2[a], x1[b], y1[b], x2[b], y2[b])
                if shared < ioa * min(area, other):
                    continue
                if area < other and category[b] != last_outer:
                    last_outer = category[b]
                    inside = _push(inside, insides, np.int64(category[a]) * categories + category[b])
                    insides += 1
                if area > other and category[b] != last_inner:
                    last_inner = category[b]
                    around = _push(around, arounds, np.int64(category[b]) * categories + category[a])
                    arounds += 1
    return inside[:insides].copy(), around[:arounds].copy()
