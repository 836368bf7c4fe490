"""A float32 test for "may these boxes overlap by more than the threshold", 16 boxes at a time.

Suppression and clustering ask of every pair of boxes whether its IoU is above a threshold, and mostly it is not. The
test here needs no division (5 G pairs/s against 0.4 for the exact IoU, one by one); what passes is decided by the
exact float64 formula. It never misses a pair: boxes are moved to the cell's corner and widened by 2^-22 of the cell's
extent on each side, more than the rounding of the float32 arithmetic on them, and areas are taken 2^-20 too small.
Results are therefore those of the exact loop, to the last bit.
"""

import numpy as np

from fusion.kernels.jit import uncounted

__all__ = ["ALWAYS", "LANES", "first_bit", "frame", "frame_of", "hits", "narrow", "place", "share_factor"]

LANES = 16
# The share of a box that passes every test, and of a place without a box, which passes none.
ALWAYS, _NEVER = np.float32(-np.inf), np.float32(np.nan)
_ZERO, _ONE = np.float32(0), np.float32(1)
_PAD = 2.0**-22
_LESS = 1 - 2.0**-20
# Extents whose squares, and those of 2^-22 of them, are normal numbers in float32.
_SMALLEST, _LARGEST = 1e-9, 1e15
# Place of the lowest set bit of b: _DE_BRUIJN[(b & -b) * 0x077CB531 >> 27], in uint32.
_DE_BRUIJN = np.array([((0x077CB531 << i) & 0xFFFFFFFF) >> 27 for i in range(32)]).argsort()


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
            block[b, 4, i] = _NEVER
    for r in range(5):
        block[b, r, lane] = box[r]


@uncounted
def hits(row, box):
    """Return a bit for each of the 16 boxes of a block whose IoU with the box may exceed the threshold."""
    x1, y1, x2, y2, share = box
    bits = np.uint32(0)
    for i in range(LANES):
        left, top, right, bottom = row[0, i], row[1, i], row[2, i], row[3, i]
        width = (right if right < x2 else x2) - (left if left > x1 else x1)
        height = (bottom if bottom < y2 else y2) - (top if top > y1 else y1)
        width = width if width > _ZERO else _ZERO
        bits = np.uint32(bits | (np.uint32(width * height > share + row[4, i]) << np.uint32(i)))
    return bits


@uncounted
def first_bit(bits):
    """Return the place of the lowest set bit of a uint32 that is not 0."""
    lowest = np.uint32(bits & np.uint32(~bits + np.uint32(1)))
    return _DE_BRUIJN[np.uint32(lowest * np.uint32(0x077CB531)) >> np.uint32(27)]
