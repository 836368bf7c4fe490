"""Masks as run boundaries (see `fusion.formulas.runs`): reading and writing many."""

import numpy as np

from fusion.formulas import runs
from fusion.kernels.jit import formula, jit

__all__ = ["TEXT_BYTES", "bounds", "decode", "decode_all", "encode", "shared_pixels"]

TEXT_BYTES = 7  # the most that `encode` writes per run, and there is one run more than boundaries

bounds, decode, shared_pixels, write_number = map(
    formula, (runs.bounds, runs.decode, runs.shared_pixels, runs.write_number)
)


@jit
def encode(runs, count, pixels, text, at):
    """Write the first `count` boundaries as compressed text from text[at] on, as pycocotools does; return its end.

    The boundaries are strictly ascending but may start with 0; an empty mask is one run of background.
    """
    position = np.int64(0)
    before = np.int64(0)  # run lengths one and two back
    previous = np.int64(0)
    for r in range(count + 1):
        end = np.int64(runs[r]) if r < count else np.int64(pixels)
        if r == count and r > 0 and end == position:
            break  # the mask reaches the last pixel
        length = end - position
        number = length - before if r > 2 else length
        before = previous
        previous = length
        position = end
        at = write_number(number, text, at)
    return at


@jit
def decode_all(low, high, text, offset, height, width, runs, start, area, box):
    """Decode masks low..high-1: boundaries into `runs` from `start`, which has room for every byte.

    Fills the second column of `start` [n, 2] with their ends, `area` [n], and `box` [n, 4] with
    x1, y1, x2, y2. Returns the first mask that cannot be read, or -1.
    """
    for m in range(low, high):
        begin = start[m, 0]
        pixels = np.int64(height[m]) * width[m]
        count, pixels_in = decode(text, offset[m], offset[m + 1], pixels, runs[begin:])
        if count < 0:
            return m
        start[m, 1] = begin + count
        area[m] = pixels_in
        box[m] = bounds(runs, begin, begin + count, height[m])
    return -1
