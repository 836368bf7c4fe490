"""A float32 test for "may, or must, these boxes overlap by more than the threshold", 16 boxes at a time.

Suppression and clustering ask of every pair of boxes whether its IoU is above a threshold. The test here needs no
division (5 G pairs/s against 0.4 for the exact IoU, one by one); the exact float64 formula decides what is in doubt.
Results are therefore those of the exact loop, to the last bit:

- A pair that may not overlap does not: boxes are moved to the corner of all and widened by a pad, 2^-22 of their
  extent, on each side, more than the rounding of the float32 arithmetic on them, and areas are taken 2^-20 too small.
- A pair that must overlap does. The sides of its intersection are at most 2.75 pads too long (two pads, and three
  roundings of a quarter at most), and no longer than a box's sides. So 8 pads times the sum of a box's sides is more
  than the intersection is too large by, and more than it is where a true side is 0; 2^-17 of the box's area is more
  than what the areas taken too small come to.
"""

import numpy as np

from fusion.kernels.jit import uncounted
from fusion.kernels.vectors import LANES, verdicts

__all__ = [
    "ALWAYS",
    "NEVER",
    "frame",
    "frame_of",
    "hits",
    "margin",
    "narrow",
    "place",
    "share_factor",
]

# The share of a box that passes every test, and of a place without a box, which passes none.
ALWAYS, NEVER = np.float32(-np.inf), np.float32(np.nan)
_ZERO, _ONE = np.float32(0), np.float32(1)
_PAD = 2.0**-22
_LESS = 1 - 2.0**-20
# Extents whose squares, and those of 2^-22 of them, are normal numbers in float32.
_SMALLEST, _LARGEST = 1e-9, 1e15
# Part of its area by which a box that must overlap does more than the threshold asks.
_MORE = np.float32(2.0**-17)


@uncounted
def frame_of(x1, y1, x2, y2, first, last):
    """Return the corner of boxes first..last-1 and how much they are widened; less than 0 where float32 will not do."""
    left, top, right, bottom = x1[first], y1[first], x2[first], y2[first]
    for i in range(first + 1, last):
        left, top = min(left, x1[i]), min(top, y1[i])
        right, bottom = max(right, x2[i]), max(bottom, y2[i])
    extent = max(right - left, bottom - top)
    return left, top, extent * _PAD if _SMALLEST <= extent <= _LARGEST else -1.0


@uncounted
def frame(columns, first, last):
    """Return `frame_of` the columns' boxes; passing all columns costs 3 ns per box where cells are small."""
    return frame_of(columns.x1, columns.y1, columns.x2, columns.y2, first, last)


@uncounted
def share_factor(threshold):
    """Return the part of both areas' sum that the intersection exceeds where IoU > threshold."""
    return threshold / (1 + threshold) * _LESS


@uncounted
def narrow(x1, y1, x2, y2, origin, factor):
    """Return a box for the test: widened corners and its share of the least intersection that counts."""
    left, top, pad = origin
    if pad < 0:
        return _ZERO, _ZERO, _ONE, _ONE, ALWAYS
    return (
        np.float32(x1 - left - pad),
        np.float32(y1 - top - pad),
        np.float32(x2 - left + pad),
        np.float32(y2 - top + pad),
        np.float32((x2 - x1) * (y2 - y1) * factor),
    )


@uncounted
def place(block, k, box):
    """Put a box at place k of blocks of 16; the other places of a new block are marked empty."""
    b, lane = k // LANES, k % LANES
    if lane == 0:
        for i in range(LANES):
            block[b, 4, i] = NEVER
    for r in range(5):
        block[b, r, lane] = box[r]


@uncounted
def margin(x1, y1, x2, y2, pad):
    """Return by how much more than may a narrowed box must overlap; infinite where float32 will not do."""
    width, height = x2 - x1, y2 - y1
    return (width + height) * np.float32(8 * pad) + width * height * _MORE if pad > 0 else np.float32(np.inf)


@uncounted
def hits(row, box):
    """Return a bit for each of the 16 boxes of a block whose IoU with the box may exceed the threshold."""
    x1, y1, x2, y2, share = box
    return np.uint32(verdicts(row, 0, x1, y1, x2, y2, share, _ZERO) & np.uint32(0xFFFF))
