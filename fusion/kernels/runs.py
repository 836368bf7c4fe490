"""Masks as run boundaries: reading and writing COCO's compressed text, and how much two masks share.

A mask of `height` x `width` pixels, counted down the columns, is kept as ascending positions
[start, end, start, end, ...] of its pixels.
"""

import numpy as np

from fusion.kernels.jit import jit

__all__ = ["TEXT_BYTES", "bounds", "decode", "decode_all", "encode", "shared_pixels"]

_MOST = 2**31 - 1  # boundaries are int32
TEXT_BYTES = 7  # the most that `encode` writes per run, and there is one run more than boundaries


@jit
def decode(text, begin, end, pixels, runs):
    """Write the boundaries of one compressed RLE text into `runs`.

    The text holds run lengths in groups of 5 bits, low groups first, each byte 48 + group + 32 where
    another follows; the last group carries the sign, and from the fourth number on the number is
    the difference from the one two before.

    Returns (number of boundaries, area); the number is -1 where the text is no mask of `pixels` pixels.
    Pixels after the last run are background.
    """
    count = 0
    position = 0
    area = 0
    before = 0  # run lengths one and two back
    previous = 0
    wrong = 0
    p = begin
    while p < end:
        group = np.int64(text[p]) - 48
        p += 1
        wrong |= group >> 6
        if group & 32 == 0:
            length = (group ^ 16) - 16
        else:
            length = group & 31
            shift = 5
            while group & 32 and p < end and shift < 40:
                group = np.int64(text[p]) - 48
                p += 1
                wrong |= group >> 6
                length |= (group & 31) << shift
                shift += 5
            if group & 16:
                length |= np.int64(-1) << shift
            if group & 32:
                wrong = 1
        if count > 2:
            length += before
        before = previous
        previous = length
        wrong |= length >> 63
        position += length
        area += length * (count & 1)
        runs[count] = position
        count += 1
    if wrong != 0 or position > min(pixels, _MOST):
        return -1, 0
    return count - (count & 1), area


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
        more = True
        while more:
            group = number & 31
            number >>= 5
            more = number != (-1 if group & 16 else 0)
            text[at] = np.uint8(48 + group + (32 if more else 0))
            at += 1
    return at


@jit
def bounds(runs, low, high, height):
    """Return the pixel box (x1, y1, x2, y2) of a mask; all 0 for an empty one."""
    base = 0
    x1 = np.int64(1) << 40
    x2 = np.int64(0)
    y1 = np.int64(height)
    y2 = np.int64(0)
    for r in range(low, high, 2):
        start = np.int64(runs[r])
        end = np.int64(runs[r + 1])
        if start == end:
            continue
        while start >= base + height:
            base += height
        x1 = min(x1, base)
        if end <= base + height:
            y1 = min(y1, start - base)
            y2 = max(y2, end - base)
        else:
            y1 = np.int64(0)
            y2 = np.int64(height)
        x2 = end
    if x2 == 0:
        return 0, 0, 0, 0
    return x1 // height, y1, (x2 + height - 1) // height, y2


@jit
def _skip(runs, low, high, position):
    """Return the first pair of boundaries that ends after `position`."""
    while low < high:
        middle = low + (((high - low) >> 2) << 1)
        if runs[middle + 1] > position:
            high = middle
        else:
            low = middle + 2
    return low


@jit
def shared_pixels(a, i, a_end, b, j, b_end):
    """Return the number of pixels in both masks: boundaries i..a_end-1 of `a`, j..b_end-1 of `b`."""
    i = _skip(a, i, a_end, b[j])
    if i < a_end:
        j = _skip(b, j, b_end, a[i])
    shared = 0
    while i < a_end and j < b_end:
        end_a = a[i + 1]
        end_b = b[j + 1]
        shared += max(0, min(end_a, end_b) - max(a[i], b[j]))
        # both step without a branch: which one ends first is a coin toss to the processor
        step = 2 * (end_a < end_b)
        i += step
        j += 2 - step
    return shared


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
